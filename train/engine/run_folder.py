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

from ..data.row_ids import NOT_FINITE
from .loss_curve import LOSS_CURVE
from .run_config import RunConfig, inputs_inside
from .run_log import LOG
from .run_state import FOLDER

WRITTEN = (FOLDER, "model", "adapter", "run.json", LOG, LOSS_CURVE, NOT_FINITE)
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "peft", "tokenizers", "numpy", "pillow")


def check_folder(config: RunConfig) -> None:
    """Refuses a folder that this run may not write to, before anything is read or removed.

    Raises:
        FileExistsError: it holds a run that is neither to be replaced nor gone on with.
        ValueError: what the run reads lies in what it replaces, or it shall both replace and resume.
    """
    output, resume = config.output, config.save.resume
    if resume and config.overwrite:
        raise ValueError("save.resume goes on with a run, overwrite replaces it; pass one of the two.")
    if (output / "run.json").exists():
        if resume:
            raise FileExistsError(f"{output} holds a finished run; there is nothing to resume.")
        if not config.overwrite:
            raise FileExistsError(f"{output} already holds a finished run. Choose another --output, or --overwrite.")
    elif (output / FOLDER).exists() and not resume and not config.overwrite:
        raise FileExistsError(
            f"{output} already holds a run. Choose another --output, or pass --overwrite, or --save.resume to go on "
            "with it."
        )
    if config.overwrite and (inside := inputs_inside(config)):
        listed = ", ".join(f"{name}={value!r}" for name, value in inside.items())
        raise ValueError(f"{listed} lies in {output}, which --overwrite replaces; choose another --output.")


def prepare_folder(output: Path, resume: bool) -> None:
    """Makes the run's folder; what an earlier run wrote is removed, unless it is gone on with. Other files stay."""
    output.mkdir(parents=True, exist_ok=True)
    for name in (NOT_FINITE,) if resume else WRITTEN:
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


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
