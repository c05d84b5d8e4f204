"""One rank of a run that saves on its way, and of a run resumed from each save, for test_train_engine_runs.

python tests/train_engine_ranks.py DATA FOLDER WORKERS SAVES PORTS     (RANK and WORLD_SIZE in the environment)
"""

import os
import shutil
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from launched_runs import arguments

from train import train_clip

EXACT = ("--save.deterministic", "--optim.steps", "11")


def cut_at(step: int, whole: Path, output: Path) -> None:
    """A run folder as a kill after that save leaves it: later checkpoints and results never were, the log goes on."""
    output.mkdir()
    shutil.copy(whole / "log.jsonl", output)
    for path in (whole / "checkpoints").iterdir():
        if int(path.name.split("-")[1]) <= step:
            shutil.copytree(path, output / "checkpoints" / path.name)


def main(data: Path, folder: Path, workers: int, saves: list[int], ports: list[str]) -> None:
    """Every run has a process group of its own; what rank 0 prepares is there before any other joins it."""
    torch.set_num_threads(1)
    whole = folder / "whole"
    runs = [(whole, ("--save.every-steps", "2", "--save.keep", "9"))]
    runs += [(folder / f"cut-{step}", ("--save.resume",)) for step in saves]
    for (output, options), port in zip(runs, ports, strict=True):
        os.environ["MASTER_PORT"] = port
        if os.environ["RANK"] == "0" and output != whole:
            cut_at(int(output.name.split("-")[1]), whole, output)
        AcceleratorState._reset_state(reset_partial_state=True)
        train_clip.main(arguments(data, output, *EXACT, *options, workers=workers))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        [int(step) for step in sys.argv[4].split(",")],
        sys.argv[5].split(","),
    )
