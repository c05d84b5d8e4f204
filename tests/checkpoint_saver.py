"""Saves checkpoints without end, and says which are saved; killed by test_checkpoint.

python tests/checkpoint_saver.py FOLDER     for every line on standard input a child saves until it is killed

The child prints `begin STEP PID` and `saved STEP`, the parent `ended`. A fork spares the import of torch at each kill.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from train.engine.checkpoint import newest_checkpoint, remove_leftovers, save_checkpoint, step_of


def main(folder: Path) -> None:
    """Start a child for each line, one after another."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            save_without_end(folder)
        os.waitpid(child, 0)
        print("ended", flush=True)


def save_without_end(folder: Path) -> None:
    """Go on from the newest checkpoint; the content of step N is a function of N."""
    remove_leftovers(folder)
    newest = newest_checkpoint(folder)
    step = 0 if newest is None else step_of(newest)
    print("begin", step, os.getpid(), flush=True)
    while True:
        step += 1
        weights = {"weight": torch.full((512, 512), float(step))}
        save_checkpoint(
            folder,
            step,
            {
                "model.safetensors": lambda path, weights=weights: save_file(weights, path),
                "optimizer.pt": lambda path, weights=weights: torch.save(weights, path),
                "position.txt": lambda path, step=step: path.write_text(str(step)),
            },
            keep=1,
        )
        print("saved", step, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
