"""Loads `handler.py` as the endpoint's toolkit does, where nothing of ours is installed, for `test_handler.py`.

Run `python -I handler_worker.py JOB.json`.
"""

import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("modeling_rsclip", "processing", "model_cards", "evaluation")


class RefusePackages(importlib.abc.MetaPathFinder):
    """Our packages cannot be imported, however the project is installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}: refused by the test", name=fullname)


def answer_like_the_toolkit(handler: Any, request: Any) -> dict[str, Any]:
    """The toolkit answers 200 with what is returned, and 400 with the text of whatever is raised."""
    try:
        return {"status": 200, "body": handler(request)}
    except Exception as error:
        return {"status": 400, "body": {"error": str(error)}}


def main(job_path: str) -> None:
    sys.meta_path.insert(0, RefusePackages())
    job = json.loads(Path(job_path).read_text())
    answers = {}
    for name, (folder, requests) in job["handlers"].items():
        spec = importlib.util.spec_from_file_location("handler", Path(folder) / "handler.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["handler"] = module
        spec.loader.exec_module(module)
        handler = module.EndpointHandler(folder)
        answers[name] = [answer_like_the_toolkit(handler, request) for request in requests]
    Path(job["results"]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
