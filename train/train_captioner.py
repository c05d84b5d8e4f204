"""Trains the captioner of RGB, infrared, or both.

accelerate launch -m train.train_captioner debug --model.clip runs/clip/model --output runs/captioner
"""

from collections.abc import Sequence
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from torch import nn

from .captioner_build import build_captioner
from .captioner_config import CaptionerConfig
from .captioner_data import CaptionerBatches
from .captioner_presets import CAPTIONER_PRESETS
from .captioning_step import captioning_step
from .loop import fit


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(CAPTIONER_PRESETS, args=argv, description=__doc__))


def run(config: CaptionerConfig) -> None:
    """Trains on captions of what each row shows: RGB, infrared, or the pair."""

    def batches_of(processor: Any) -> CaptionerBatches:
        return CaptionerBatches(processor, config.seed, config.inputs)

    fit(config, build_captioner, batches_of, lambda model: model, _step)


def _step(
    accelerator: Accelerator, model: nn.Module, batch: dict[str, torch.Tensor], chunks: int
) -> dict[str, torch.Tensor]:
    return {"loss": captioning_step(accelerator, model, batch, chunks)}


if __name__ == "__main__":
    main()
