"""The configuration of `train.train_translator`; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, Literal

from processing import Scaling

from ..data.config import DataConfig
from ..engine.config import LogConfig, OptimConfig, SaveConfig, ValidationConfig

SMALLEST_CROP = 16


@dataclass(frozen=True, kw_only=True)
class TranslatorModelConfig:
    """What to train."""

    source: Path | None = None
    """RSTranslator folder to go on from; its sizes are kept, and the sizes below unused."""
    base_channels: int = 16
    """Width of the first level; it doubles at each level."""
    max_channels: int = 128
    """Width at which it stops to double."""
    depth: int = 4
    """How often the image is halved."""
    blocks_per_level: int = 1
    """Residual blocks of each level, on the way down and on the way up."""
    norm_groups: int = 8
    """Groups of each group normalisation."""
    output_bits: Literal[8, 16] = 8
    """Bits of the pixels that a translated image is saved with."""


@dataclass(frozen=True, kw_only=True)
class TranslatorImages:
    """Which pairs are learnt from, and how their images become numbers."""

    origins: tuple[Literal["sensor", "simulated"], ...] = ("sensor",)
    """What `infrared_origin` may say; a row of another origin stops the run."""
    crop: int = 128
    """Side in pixels of the square that is cut from each pair, anew in each epoch."""
    turn_and_flip: bool = True
    """Turn and mirror each square at random, RGB and infrared alike."""
    scaling: Literal["dtype_range", "percentile", "window"] = "dtype_range"
    """Rule that brings infrared pixels to [0, 1]. `window` and `dtype_range` are undone on output."""
    low: float | None = None
    """Pixel value, or percentile, that becomes 0; for `window` and `percentile`."""
    high: float | None = None
    """Pixel value, or percentile, that becomes 1."""
    bits: int | None = None
    """Bits that the sensor uses of a 16-bit image, for `dtype_range`."""
    nodata: float | None = None
    """Value of infrared pixels without data, or nan; they are left out of the loss."""

    def __post_init__(self) -> None:
        if not self.origins:
            raise ValueError("images.origins is empty; name at least one origin, such as sensor.")
        if self.crop < SMALLEST_CROP:
            raise ValueError(f"images.crop is {self.crop}; it must be at least {SMALLEST_CROP}.")
        Scaling.parse(self.infrared_scaling)

    @property
    def infrared_scaling(self) -> dict[str, Any]:
        """The rule in the form that processors save."""
        limits = {"low": self.low, "high": self.high, "bits": self.bits}
        return {"rule": self.scaling, **{name: value for name, value in limits.items() if value is not None}}

    @property
    def saved_nodata(self) -> float | str | None:
        """The nodata value in the form that processors save."""
        return "nan" if self.nodata is not None and isnan(self.nodata) else self.nodata


@dataclass(frozen=True, kw_only=True)
class TranslatorLoss:
    """Weights of what is minimised; a term of weight 0 is not computed."""

    absolute: float = 1.0
    """Mean absolute error."""
    gradient: float = 1.0
    """Mean absolute error of the differences between neighbours, averaged over scales: edges where edges are."""
    gradient_scales: int = 3
    """Scales of it; each halves the image."""
    structure: float = 0.1
    """1 - SSIM."""
    features: float = 0.0
    """1 - cosine between patch features of the translated and the true infrared in a frozen RSCLIP."""
    clip: Path | None = None
    """RSCLIP folder whose infrared tower gives them; with `features`."""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("absolute", "gradient", "structure", "features")}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(f"loss weights are {weights}; none may be negative, and one must be positive.")
        if self.gradient_scales < 1:
            raise ValueError(f"loss.gradient_scales is {self.gradient_scales}; it must be at least 1.")
        if (self.clip is None) != (self.features == 0):
            raise ValueError(
                f"loss.features is {self.features:g} and loss.clip is {self.clip}; give a weight and a folder, or "
                "neither."
            )


@dataclass(frozen=True, kw_only=True)
class TranslatorConfig:
    """A run of `train.train_translator`."""

    output: Path = Path("runs/translator")
    """Folder of the run: model/, log.jsonl, run.json."""
    seed: int = 0
    """Seed of weights, order, crops and turns."""
    data: DataConfig = field(default_factory=DataConfig)
    images: TranslatorImages = field(default_factory=TranslatorImages)
    model: TranslatorModelConfig = field(default_factory=TranslatorModelConfig)
    loss: TranslatorLoss = field(default_factory=TranslatorLoss)
    optim: OptimConfig = field(default_factory=OptimConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    log: LogConfig = field(default_factory=LogConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    overwrite: bool = False
    """Replace an earlier run in the same folder."""

    def __post_init__(self) -> None:
        coarsest = self.images.crop // 2 ** (self.loss.gradient_scales - 1)
        if self.loss.gradient and coarsest < 2:
            raise ValueError(
                f"loss.gradient_scales={self.loss.gradient_scales} leave {coarsest} pixels of a crop of "
                f"{self.images.crop}; the coarsest scale needs 2."
            )
