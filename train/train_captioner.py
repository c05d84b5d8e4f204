"""Trains the captioner of RGB, infrared, or both.

accelerate launch -m train.train_captioner debug --model.clip runs/clip/model --output runs/captioner
"""

from collections.abc import Sequence
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from torch import nn

from .captioner.adapter import save_captioner
from .captioner.build import build_captioner
from .captioner.config import CaptionerConfig
from .captioner.data import CaptionerBatches
from .captioner.presets import CAPTIONER_PRESETS
from .captioner.step import captioning_step
from .captioner.validation import answer_loss
from .data.loader import open_rows
from .engine.loop import fit


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(CAPTIONER_PRESETS, args=argv, description=__doc__))


def run(config: CaptionerConfig) -> None:
    """Trains on what each row shows, RGB, infrared, or the pair, and on what is asked of it."""
    classes = scene_classes(config) if config.task.question else ()

    def plain_batches_of(processor: Any) -> CaptionerBatches:
        return CaptionerBatches(processor, config.seed, config.inputs, config.task, classes)

    def batches_of(processor: Any) -> CaptionerBatches:
        return CaptionerBatches(
            processor, config.seed, config.inputs, config.task, classes, augmentation=config.augmentation
        )

    fit(
        config,
        build_captioner,
        batches_of,
        lambda model: model,
        _step,
        save=save_captioner,
        measure=answer_loss(plain_batches_of),
    )


def scene_classes(config: CaptionerConfig) -> tuple[str, ...]:
    """The classes of the training split, in lower case."""
    rows = open_rows(config.data.path, config.data.train_split, config.data.streaming)
    if "class_name" not in rows.column_names:
        raise ValueError(
            f"{config.data.path} has the columns {rows.column_names}; a captioner learns from rows of fusionrs, which "
            "name a class."
        )
    names = rows["class_name"]
    return tuple(sorted({name.lower() for name in names if name}))


def _step(
    accelerator: Accelerator, model: nn.Module, batch: dict[str, torch.Tensor], chunks: int
) -> dict[str, torch.Tensor]:
    return {"loss": captioning_step(accelerator, model, batch, chunks)}


if __name__ == "__main__":
    main()
