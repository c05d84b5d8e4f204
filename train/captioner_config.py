"""The configuration of `train.train_captioner`; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .engine_config import DataConfig, OptimConfig, SaveConfig


@dataclass(frozen=True, kw_only=True)
class LanguageModelSize:
    """A language model that starts from random weights."""

    width: int = 128
    """Width."""
    layers: int = 3
    """Layers."""
    heads: int = 4
    """Attention heads."""
    vocabulary: int = 1000
    """Size of the byte-pair vocabulary that is learnt from the training captions."""
    tokens: int = 256
    """Longest sequence, images included."""


@dataclass(frozen=True, kw_only=True)
class CaptionerModelConfig:
    """What to train."""

    clip: Path = Path("runs/clip/model")
    """RSCLIP folder whose image towers the captioner starts from."""
    language_model: str | None = None
    """Causal language model to start from, a folder or id; nothing starts a small random one."""
    size: LanguageModelSize = field(default_factory=LanguageModelSize)
    """Size of a random language model; unused with `language_model`."""
    projector_reduction: int = 2
    """Side of the square of patches that becomes one token."""
    freeze_towers: bool = True
    """Keep the image towers as they are."""
    freeze_language_model: bool = False
    """Keep the language model as it is, and train the projector only."""


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """A run of `train.train_captioner`."""

    output: Path = Path("runs/captioner")
    """Folder of the run: model/, log.jsonl, run.json."""
    seed: int = 0
    """Seed of weights, order, captions and image choice."""
    inputs: tuple[Literal["rgb", "infrared", "pair"], ...] = ("pair", "pair", "rgb", "infrared")
    """What a row shows the captioner, drawn at random; repeated entries are drawn more often."""
    data: DataConfig = field(default_factory=DataConfig)
    model: CaptionerModelConfig = field(default_factory=CaptionerModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    overwrite: bool = False
    """Replace an earlier run in the same folder."""
