"""Trains the tri-modal CLIP.

accelerate launch -m train.train_clip debug --data.path fusionrs --output runs/clip
"""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from .clip.adapters import AdaptedClip
from .clip.build import build_clip
from .clip.config import ClipConfig, ClipModelConfig
from .clip.data import ClipBatches
from .clip.freezing import check_trainable, count_parameters, freeze_parts, freeze_unreached
from .clip.presets import CLIP_PRESETS
from .clip.rows import check_rows, load_clip_rows
from .clip.step import ContrastiveObjective, contrastive_step
from .clip.validation import RETRIEVAL
from .engine.loop import fit


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    run(tyro.extras.overridable_config_cli(named_presets(arguments), args=arguments, description=__doc__))


def named_presets(arguments: Sequence[str]) -> dict[str, tuple[str, ClipConfig]]:
    """The preset that is named first, or all of them for `--help`: errors then speak of what was asked for.

    Raises:
        SystemExit: there is no such preset.
    """
    if not arguments or arguments[0].startswith("-"):
        return CLIP_PRESETS
    name = arguments[0]
    if name not in CLIP_PRESETS:
        close = difflib.get_close_matches(name, CLIP_PRESETS, n=3)
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        raise SystemExit(f"there is no preset {name!r}; {meant}--help lists all {len(CLIP_PRESETS)}.")
    return {name: CLIP_PRESETS[name]}


def run(config: ClipConfig) -> None:
    """Trains on the pairs that the configuration names; negatives come from the rows of all processes."""
    clip = TrainedClip(config)

    def batches_of(processor: Any) -> ClipBatches:
        return ClipBatches.of(processor, config)

    fit(
        config,
        clip.build,
        batches_of,
        ContrastiveObjective,
        _step,
        load_clip_rows,
        clip.save,
        measure=RETRIEVAL,
    )


class TrainedClip:
    """The model of a run: built, partly frozen or adapted, and saved with what was trained of it."""

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        self.adapted: AdaptedClip | None = None
        self.facts: dict[str, Any] = {}

    def build(self, config: ClipModelConfig, rows: Dataset) -> tuple[RSCLIPModel, RSCLIPProcessor]:
        """The model to train, on rows that it can be trained on, and its processor."""
        check_rows(rows, self.config)
        model, processor = build_clip(config, rows)
        freeze_parts(model, config)
        if self.config.adapter.kind != "none":
            self.adapted = AdaptedClip(model, self.config.adapter, str(config.source))
            model = self.adapted.model
            self.facts["adapter"] = self.adapted.facts()
        unreached = freeze_unreached(model, config.pairs)
        check_trainable(model)
        self.facts["parameters"] = {**count_parameters(model), "frozen_as_unreached": unreached}
        return model, processor

    def save(self, model: RSCLIPModel, processor: RSCLIPProcessor, output: Path) -> dict[str, Any]:
        """Writes `model/`, and `adapter/` where there is one; returns what was trained."""
        if self.adapted is not None:
            model = self.adapted.save(output / "adapter")
        model.save_pretrained(output / "model")
        processor.save_pretrained(output / "model")
        return self.facts


def _step(
    accelerator: Accelerator, objective: nn.Module, batch: dict[str, torch.Tensor], chunks: int
) -> dict[str, torch.Tensor]:
    result = contrastive_step(accelerator, objective, batch, chunks)
    shortened = batch["text_shortened"].float().mean()
    return {
        "loss": result.loss,
        **{f"loss_{name}": value for name, value in result.losses.items()},
        "text_shortened": shortened,
    }


if __name__ == "__main__":
    main()
