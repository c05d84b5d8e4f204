"""Tries an assembled model in a fresh process: offline, in an empty folder, without any package of this repository."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .publish_fault import Fault, UnfitError

WORKER = Path(__file__).with_name("publish_worker.py")
MOST_SECONDS = 1800


def try_model(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Run the examples, and return what came out.

    Raises:
        UnfitError: the folder does not load, or what it computes is wrong; with the file and line where it failed.
    """
    with tempfile.TemporaryDirectory() as place:
        empty = Path(place) / "empty"
        empty.mkdir()
        (Path(place) / "job.json").write_text(json.dumps(job))
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH") if name in os.environ}
        environment = {**kept, "HF_HOME": f"{place}/home", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-I", "-B", str(WORKER), str(folder.resolve()), f"{place}/job.json"]
        done = subprocess.run(
            command,
            cwd=empty,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise UnfitError(folder, [_fault(done.stderr, folder)])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _fault(stderr: str, folder: Path) -> Fault:
    """The innermost line of the folder's own code, and what was raised."""
    ours = {path.name for path in folder.glob("*.py")}
    frames = [
        (Path(name).name, line)
        for name, line in re.findall(r'File "([^"]+)", line (\d+)', stderr)
        if Path(name).name in ours
    ]
    place = f"{frames[-1][0]}:{frames[-1][1]}" if frames else "the folder"
    lines = stderr.strip().splitlines()
    return Fault(place, "does not load in a fresh process", lines[-1] if lines else "it ended without a word")
