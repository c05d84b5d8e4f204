"""Whole builds as a user runs them: a command in a process of its own, timed, its memory sampled."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .process_memory import run_sampled
from .record import REPOSITORY

# One thread a process: workers are the way to more cores, and the times of two builds stay comparable.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def simulator_options(rows: int, side: int) -> list[str]:
    """Options of a build of simulated scenes."""
    return ["--source", "simulator", "--num-scenes", str(rows), "--sources.scene-size", str(side)]


def folder_options(folder: Path) -> list[str]:
    """Options of a build of one's own images, each with a caption in a text file, infrared by luminance."""
    return ["--source", f"folder:{folder}", "--translator.name", "luminance"]


def measure_build(options: Sequence[str], *, rows: int, workers: int, folder: Path) -> dict[str, Any]:
    """Build `fusionrs` in a sub-folder that is deleted again; rows a second, CPU and memory."""
    place = folder / "build"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "dataset_scripts", "build", "fusionrs", *options]
    command += ["--output", str(place / "fusionrs"), "--workers", str(workers)]
    run = run_sampled(command, log=folder / "build.log", environment=_ENVIRONMENT, folder=REPOSITORY)
    disk = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    shutil.rmtree(place)
    return {
        "rows": rows,
        "workers": workers,
        "rows_per_second": round(rows / run.wall_seconds, 1),
        "rows_per_cpu_second": round(rows / run.cpu_seconds, 1),
        "disk_megabytes": round(disk / 1e6, 1),
        **run.facts(),
    }
