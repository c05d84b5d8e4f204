"""The folder of a run: opened once, and a record in it that says what made the model."""

import json
import platform
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "peft", "tokenizers", "numpy", "pillow")


def open_run(output: Path, overwrite: bool, resume: bool = False) -> None:
    """Makes the run's folder; an earlier run in it is refused, removed when asked, or gone on with."""
    if resume:
        if (output / "run.json").exists():
            raise FileExistsError(f"{output} holds a finished run; there is nothing to resume.")
    elif (output / "run.json").exists() or (output / "checkpoints").exists():
        if not overwrite:
            raise FileExistsError(
                f"{output} already holds a run. Choose another --output, or pass --overwrite, or --save.resume to go "
                "on with it."
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)


def write_run(output: Path, config: Any, result: dict[str, Any], started: float) -> None:
    """Writes `run.json`: the resolved configuration, what it gave, and what it ran on."""
    record = {
        "config": asdict(config),
        **result,
        "seconds": round(time.time() - started, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "versions": {name: version(name) for name in LIBRARIES},
    }
    (output / "run.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
