"""Trains the tri-modal CLIP.

accelerate launch -m train.train_clip debug --data.path fusionrs --output runs/clip
"""

from collections.abc import Sequence

import tyro
from accelerate import PartialState

from .build import build_clip
from .config import ClipConfig
from .data import ClipBatches
from .loop import fit
from .presets import CLIP_PRESETS


def main(argv: Sequence[str] | None = None) -> None:
    """Reads a preset and its changes from the command line, and trains."""
    run(tyro.extras.overridable_config_cli(CLIP_PRESETS, args=argv, description=__doc__))


def run(config: ClipConfig) -> None:
    """Trains on the pairs that the configuration names.

    Raises:
        ValueError: More than one process. Each would contrast with its own rows only, which is another, weaker loss.
    """
    processes = PartialState().num_processes
    if processes > 1:
        raise ValueError(
            f"train_clip runs in one process, got {processes}: texts and images are not gathered across processes yet. "
            "Launch with --num_processes 1; more rows per step come from --optim.batch-size."
        )
    dropout, pairs = config.modality_dropout, config.model.pairs
    fit(config, build_clip, lambda processor: ClipBatches(processor, config.seed, dropout, pairs))


if __name__ == "__main__":
    main()
