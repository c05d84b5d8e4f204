"""The configuration of `train.train_clip`; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .engine_config import DataConfig, OptimConfig, SaveConfig


@dataclass(frozen=True, kw_only=True)
class TowerSize:
    """Towers that start from random weights."""

    image_size: int = 96
    """Side of the images in pixels."""
    patch_size: int = 16
    """Side of a patch in pixels."""
    width: int = 128
    """Width of both towers."""
    vision_layers: int = 3
    """Layers of the image tower."""
    text_layers: int = 2
    """Layers of the text tower."""
    heads: int = 4
    """Attention heads of both towers."""
    vocabulary: int = 1000
    """Size of the byte-pair vocabulary that is learnt from the training captions."""
    text_tokens: int = 64
    """Longest text in tokens."""

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size={self.image_size} is no multiple of patch_size={self.patch_size}.")


@dataclass(frozen=True, kw_only=True)
class ClipModelConfig:
    """What to train."""

    source: Path | None = None
    """CLIP to start from: anything `import_clip` reads, or an RSCLIP folder, which keeps its towers, fusion and loss.
    Nothing starts small random towers."""
    activation: Literal["quick_gelu", "gelu"] | None = None
    """Activation of an open_clip checkpoint, which does not carry it."""
    tokenizer: str | None = None
    """Folder or id of the tokenizer, for an open_clip checkpoint."""
    size: TowerSize = field(default_factory=TowerSize)
    """Size of random towers; unused with a source."""
    infrared_tower: Literal["shared", "adapted", "separate"] = "adapted"
    """How much the infrared tower shares with the RGB tower."""
    fusion: Literal["none", "mean", "gated", "attention"] = "gated"
    """How the pair becomes one embedding."""
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """Contrastive loss."""
    pairs: tuple[str, ...] = ("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared", "fused_text")
    """Pairs of modalities in the loss, all of weight 1."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """A run of `train.train_clip`."""

    output: Path = Path("runs/clip")
    """Folder of the run: model/, log.jsonl, run.json."""
    seed: int = 0
    """Seed of weights, order, captions and modality dropout."""
    modality_dropout: float = 0.0
    """Share of rows that lose one image, RGB or infrared at random, so that fusion learns to do without."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ClipModelConfig = field(default_factory=ClipModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    overwrite: bool = False
    """Replace an earlier run in the same folder."""

    def __post_init__(self) -> None:
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout must lie in [0, 1), got {self.modality_dropout}.")
