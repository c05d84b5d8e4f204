"""Typed configurations of the training programs; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to train on."""

    path: str = "fusionrs"
    """Folder the dataset builder wrote, or a dataset id on the Hub."""
    train_split: str = "train"
    """Split to train on."""
    workers: int = 1
    """Processes that decode images beside the training process; 0 decodes inside it."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How to train."""

    steps: int = 1000
    """Optimizer steps; the data is repeated as often as that takes."""
    batch_size: int = 64
    """Rows per step, of all processes together."""
    rows_at_once: int | None = None
    """Rows per process that go through the towers together; the step is the same, in less memory and more time."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW, reached after the warm-up and lowered along a cosine to zero."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decay of matrices; biases, norms, embeddings of one dimension and the logit scale are never decayed."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the forward pass; losses are float32 in any case."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, to save memory."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "rows_at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"optim.{name} must be at least 1, got {value}.")
        if self.warmup_steps >= self.steps:
            raise ValueError(f"optim.warmup_steps={self.warmup_steps} leaves none of the {self.steps} steps.")


@dataclass(frozen=True, kw_only=True)
class SaveConfig:
    """What is kept while a run goes on."""

    every_steps: int = 0
    """Optimizer steps between checkpoints; 0 saves on SIGTERM only."""
    keep: int = 2
    """Whole checkpoints to keep."""
    resume: bool = False
    """Go on from the newest whole checkpoint of the output folder, or begin where there is none."""
    deterministic: bool = False
    """A resumed run equals the uninterrupted one bit for bit on a CPU, with any number of processes; it is slower."""

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.keep < 1:
            raise ValueError(
                f"save.every_steps={self.every_steps} must not be negative, save.keep={self.keep} positive."
            )


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
