"""A user's machine: the Hub, transformers, datasets, and none of our packages, however the project is installed.

Run `python -I published_worker.py JOB.json`. Cards are read from the Hub and their code is run; what it prints and
what loads is written as JSON to `results`.
"""

import contextlib
import importlib.abc
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("modeling_rsclip", "processing", "dataset_scripts", "train", "evaluation", "model_cards")


class RefusePackages(importlib.abc.MetaPathFinder):
    """Our packages cannot be imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}: refused by the test", name=fullname)


def run_card(repo: str) -> dict[str, Any]:
    """What the code of a card prints, block after block, as a reader would run it."""
    from huggingface_hub import hf_hub_download

    card = Path(hf_hub_download(repo, "README.md")).read_text()
    names: dict[str, Any] = {}
    printed = []
    for block in re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(block, names)
        printed.append(out.getvalue())
    return {"printed": printed, "module": type(names["model"]).__module__}


def run_dataset(repo: str) -> dict[str, Any]:
    """Rows of a dataset by its name."""
    from datasets import load_dataset

    rows = load_dataset(repo)
    return {
        "rows": {name: len(split) for name, split in rows.items()},
        "modes": sorted({row["infrared"].mode for row in rows["test"]}),
    }


def main(job_path: str) -> None:
    sys.meta_path.insert(0, RefusePackages())
    import torch

    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text())
    found: dict[str, Any] = {repo: run_card(repo) for repo in job.get("models", [])}
    found |= {repo: run_dataset(repo) for repo in job.get("datasets", [])}
    found["imported"] = sorted(set(PACKAGES) & set(sys.modules))
    Path(job["results"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
