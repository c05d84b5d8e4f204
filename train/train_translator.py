"""Trains the translator from RGB to infrared on measured pairs.

accelerate launch -m train.train_translator naip --data.path naip_pairs --output runs/translator
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import tyro
from datasets import Dataset

from .engine.loop import fit
from .translator.build import build_translator
from .translator.config import TranslatorConfig, TranslatorModelConfig
from .translator.data import TranslatorBatches
from .translator.features import FeatureDistance
from .translator.presets import TRANSLATOR_PRESETS
from .translator.step import translator_step
from .translator.validation import CLOSENESS


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(TRANSLATOR_PRESETS, args=argv, description=__doc__))


def run(config: TranslatorConfig) -> None:
    """Trains on squares of pairs, by absolute error, edges, structure and, where asked, features of an RSCLIP."""
    images, loss = config.images, config.loss

    def build(model: TranslatorModelConfig, rows: Dataset) -> tuple[Any, Any]:
        return build_translator(model, rows, images)

    def batches_of(processor: Any) -> TranslatorBatches:
        return TranslatorBatches(processor, config.seed, images.crop, images.turn_and_flip)

    distance = None if loss.clip is None else FeatureDistance(loss.clip)
    step = partial(translator_step, loss=loss, distance=distance)
    fit(
        config,
        build,
        batches_of,
        lambda model: model,
        step,
        measure=CLOSENESS,
    )


if __name__ == "__main__":
    main()
