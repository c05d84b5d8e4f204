"""Saves checkpoints without end, and says which are saved; killed by test_checkpoint."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from train.checkpoint import newest_checkpoint, save_checkpoint, step_of


def main(folder: Path) -> None:
    """Go on from the newest checkpoint; the content of step N is a function of N."""
    newest = newest_checkpoint(folder)
    step = 0 if newest is None else step_of(newest)
    print("begin", step, flush=True)
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
    main(Path(sys.argv[1]))
