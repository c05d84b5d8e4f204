"""Trains the captioner of RGB, infrared, or both.

accelerate launch -m train.train_captioner debug --model.clip runs/clip/model --output runs/captioner
"""

from collections.abc import Sequence

import tyro

from .build import build_captioner
from .config import CaptionerConfig
from .data import CaptionerBatches
from .loop import fit
from .presets import CAPTIONER_PRESETS


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(CAPTIONER_PRESETS, args=argv, description=__doc__))


def run(config: CaptionerConfig) -> None:
    """Trains on captions of what each row shows: RGB, infrared, or the pair."""
    fit(config, build_captioner, lambda processor: CaptionerBatches(processor, config.seed, config.inputs))


if __name__ == "__main__":
    main()
