"""Trains the tri-modal CLIP.

accelerate launch -m train.train_clip debug --data.path fusionrs --output runs/clip
"""

from collections.abc import Sequence
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from torch import nn

from .clip_build import build_clip
from .clip_config import ClipConfig
from .clip_data import ClipBatches
from .clip_presets import CLIP_PRESETS
from .contrastive_step import ContrastiveObjective, contrastive_step
from .loop import fit


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(CLIP_PRESETS, args=argv, description=__doc__))


def run(config: ClipConfig) -> None:
    """Trains on the pairs that the configuration names; negatives come from the rows of all processes."""
    dropout, pairs = config.modality_dropout, config.model.pairs

    def batches_of(processor: Any) -> ClipBatches:
        return ClipBatches(processor, config.seed, dropout, pairs)

    fit(config, build_clip, batches_of, ContrastiveObjective, _step)


def _step(
    accelerator: Accelerator, objective: nn.Module, batch: dict[str, torch.Tensor], chunks: int
) -> dict[str, torch.Tensor]:
    result = contrastive_step(accelerator, objective, batch, chunks)
    return {"loss": result.loss, **{f"loss_{name}": value for name, value in result.losses.items()}}


if __name__ == "__main__":
    main()
