"""The configuration of `train.train_clip`; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data.config import DataConfig
from ..engine.config import LogConfig, OptimConfig, SaveConfig, ValidationConfig

Pair = Literal["rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared", "fused_text"]
CaptionKind = Literal["preferred", "web", "human", "rotation_invariant", "machine", "metadata"]
TextChoice = Literal["conventional", "infrared_aware", "mixed"]
InfraredView = Literal["rows", "rgb_duplicate", "luminance"]
JpegDecoding = Literal["exact", "scaled"]
Tower = Literal["text", "rgb", "infrared"]
InfraredTower = Literal["shared", "adapted", "separate"]
Fusion = Literal["none", "mean", "gated", "attention"]
Loss = Literal["softmax", "sigmoid"]
Activation = Literal["quick_gelu", "gelu"]
AdapterKind = Literal["none", "lora", "dora", "ia3", "bottleneck", "prefix", "unipelt"]
Projection = Literal["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
MERGED_ADAPTERS = ("lora", "dora", "ia3")


@dataclass(frozen=True, kw_only=True)
class ClipDataConfig(DataConfig):
    """What to train on: rows of `fusionrs` or of `rs5m`."""

    also: tuple[str, ...] = ()
    """More folders or Hub datasets to train on together; where rows have no infrared, they take part without it."""
    share: float = 1.0
    """Share of the rows to train on, chosen by their ids alone: a smaller share is part of every larger one."""
    caption_kinds: tuple[CaptionKind, ...] = ("preferred",)
    """Captions of `rs5m` rows to draw from; `preferred` is the row's one caption to train on."""
    infrared_view: InfraredView = "rows"
    """What stands for infrared: the rows' own, or as a control the RGB image itself or its luminance."""
    jpeg_decoding: JpegDecoding = "exact"
    """`scaled` decodes large RGB JPEGs at the 1/2, 1/4 or 1/8 that the model still needs: faster, other pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"data.share={self.share} must be above 0 and at most 1.")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Which texts a row shows; one is drawn per row and epoch, repeated entries are drawn more often."""

    scene: tuple[TextChoice, ...] = ("conventional",)
    """For the pairs with `text`. `mixed` is a scene caption and an infrared caption (of `rs5m`: a metadata caption) in
    one text, as many whole sentences as the tokens allow."""
    infrared: tuple[TextChoice, ...] = ("infrared_aware",)
    """For the pair with `infrared_text`; rows without an infrared caption take part in `conventional` and `mixed`."""
    equal_texts: Literal["positives", "negatives"] = "positives"
    """What rows of equal caption_key, or of equal infrared-aware or mixed words, are to each other; as negatives, the
    official FusionRS trainer's way, a row is told that its own words are wrong."""

    def __post_init__(self) -> None:
        for name in ("scene", "infrared"):
            if not getattr(self, name):
                raise ValueError(f"text.{name} is empty; give at least one of conventional, infrared_aware, mixed.")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How images are varied, by seed, epoch and row; the defaults vary nothing."""

    orientation: Literal["none", "mirror", "all"] = "none"
    """Mirror half of the rows, or show each in one of its eight turns and mirror images; a pair is turned together."""
    crop_area: float = 1.0
    """Smallest share of the image that a random crop keeps, the same for both images of a pair; 1 crops nothing."""
    crop_aspect: float = 4 / 3
    """Most that a random crop is longer than wide, or wider than long."""
    infrared_gamma: float = 1.0
    """Infrared is raised to a power between 1/gamma and gamma; 1 leaves it."""
    infrared_contrast: float = 0.0
    """Infrared is stretched about its mean by a factor between 1 - contrast and 1 + contrast."""
    infrared_noise: float = 0.0
    """Largest standard deviation of noise that is added to infrared, as a share of its range."""
    infrared_inversion: float = 0.0
    """Share of rows whose infrared is inverted, as if hot were black."""

    def __post_init__(self) -> None:
        limits = {
            "crop_area": (0.0, 1.0, "above 0 and at most 1", self.crop_area > 0),
            "crop_aspect": (1.0, 8.0, "from 1 to 8", True),
            "infrared_gamma": (1.0, 10.0, "from 1 to 10", True),
            "infrared_contrast": (0.0, 1.0, "at least 0 and below 1", self.infrared_contrast < 1),
            "infrared_noise": (0.0, 1.0, "from 0 to 1", True),
            "infrared_inversion": (0.0, 1.0, "from 0 to 1", True),
        }
        for name, (low, high, wanted, also) in limits.items():
            if not (low <= getattr(self, name) <= high and also):
                raise ValueError(f"augmentation.{name} must be {wanted}, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True)
class TowerSize:
    """Towers that start from random weights."""

    tower: Literal["clip", "siglip"] = "clip"
    """Image tower: CLIP's, which is pooled at a class token, or SigLIP's, which attends to all patches in the end; a
    captioner finds more in patches of the latter."""
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
class AdapterConfig:
    """Parameter-efficient training: the towers stay as they are, small parts are added to them."""

    kind: AdapterKind = "none"
    """`lora`, `dora` and `ia3` are PEFT's and are merged in the end; `bottleneck` (Pfeiffer), `prefix` and `unipelt`
    stay in the saved model."""
    towers: tuple[Tower, ...] | None = None
    """Towers that get adapters; each that has weights of its own when not given."""
    rank: int = 8
    """Rank of LoRA, DoRA and UniPELT's LoRA."""
    alpha: float = 8.0
    """LoRA's change is scaled by alpha / rank."""
    dropout: float = 0.0
    """Dropout before LoRA and DoRA."""
    target_modules: tuple[Projection, ...] | None = None
    """Layers that LoRA, DoRA and IA3 adapt; q_proj and v_proj, for IA3 k_proj, v_proj and fc2, when not given."""
    reduction: int = 16
    """How many times narrower a bottleneck is than its tower."""
    prefix_length: int = 30
    """Keys and values that a prefix adds to each attention layer."""
    also_train: tuple[Literal["logit_scale", "fusion", "norms", "projections", "infrared_input"], ...] = (
        "logit_scale",
        "fusion",
    )
    """Parts of the model that are trained beside the adapters, as far as it has them."""

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "reduction", "prefix_length"):
            if getattr(self, name) <= 0:
                raise ValueError(f"adapter.{name} must be above zero, got {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"adapter.dropout must lie in [0, 1), got {self.dropout}.")
        if self.target_modules is not None and self.kind not in MERGED_ADAPTERS:
            raise ValueError(
                f"adapter.target_modules is for {', '.join(MERGED_ADAPTERS)}; {self.kind!r} adapts whole layers."
            )
        if self.target_modules == ():
            raise ValueError("adapter.target_modules is empty; leave it out, or name a projection.")


@dataclass(frozen=True, kw_only=True)
class ClipModelConfig:
    """What to train."""

    source: str | Path | None = None
    """CLIP to start from: a folder, a Hub id, an open_clip file, or a file of a Hub repository as ORG/NAME/FILE.pt;
    an RSCLIP folder keeps its towers, fusion and loss. Nothing starts small random towers."""
    activation: Activation | None = None
    """Activation of an open_clip checkpoint, which does not carry it."""
    tokenizer: str | None = None
    """Folder or id of the tokenizer, for an open_clip checkpoint."""
    size: TowerSize = field(default_factory=TowerSize)
    """Size of random towers; unused with a source."""
    infrared_tower: InfraredTower = "adapted"
    """How much the infrared tower shares with the RGB tower."""
    infrared_channels: Literal[1, 3] = 1
    """Channels that an infrared tower of its own reads."""
    fusion: Fusion = "gated"
    """How the pair becomes one embedding."""
    loss: Loss = "softmax"
    """Contrastive loss."""
    pairs: tuple[Pair, ...] = ("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared", "fused_text")
    """Pairs of modalities in the loss, all of weight 1."""
    freeze_text_tower: bool = False
    """Keep the text tower and its projection as they are."""
    freeze_rgb_tower: bool = False
    """Keep the RGB tower and its projection as they are, and with them what the infrared tower shares."""
    freeze_infrared_tower: bool = False
    """Keep what the infrared tower has of its own as it is."""
    freeze_logit_scale: bool = False
    """Keep the temperature, and the bias of a sigmoid loss, as they are."""
    frozen_text_layers: int = 0
    """Keep the text embeddings and this many first layers as they are."""
    frozen_image_layers: int = 0
    """Keep the patch embeddings and this many first layers of the image towers as they are."""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("model.pairs is empty; name at least one pair of modalities.")
        if "fused_text" in self.pairs and self.fusion == "none":
            raise ValueError("model.pairs has fused_text, which needs a fusion; fusion is 'none'.")
        if self.freeze_infrared_tower and self.infrared_tower == "shared":
            raise ValueError("A shared infrared tower has nothing of its own to freeze; use model.freeze-rgb-tower.")
        if min(self.frozen_text_layers, self.frozen_image_layers) < 0:
            raise ValueError("model.frozen-text-layers and model.frozen-image-layers must not be negative.")

    @property
    def freezes_parts(self) -> bool:
        """Whether anything in the towers is named to stay as it is."""
        towers = self.freeze_text_tower or self.freeze_rgb_tower or self.freeze_infrared_tower
        return towers or self.frozen_text_layers > 0 or self.frozen_image_layers > 0


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """A run of `train.train_clip`."""

    output: Path = Path("runs/clip")
    """Folder of the run: model/, log.jsonl, run.json."""
    seed: int = 0
    """Seed of weights, order, captions, augmentation and modality dropout."""
    modality_dropout: float = 0.0
    """Share of rows that lose one image, RGB or infrared at random, so that fusion learns to do without."""
    data: ClipDataConfig = field(default_factory=ClipDataConfig)
    text: TextConfig = field(default_factory=TextConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: ClipModelConfig = field(default_factory=ClipModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    log: LogConfig = field(default_factory=LogConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    overwrite: bool = False
    """Replace an earlier run in the same folder."""

    def __post_init__(self) -> None:
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout must lie in [0, 1), got {self.modality_dropout}.")
        if self.data.infrared_view == "rgb_duplicate":
            self._check_duplicate()
        if self.adapter.kind != "none":
            self._check_adapter()

    def _check_duplicate(self) -> None:
        if self.model.infrared_tower != "shared" and self.model.infrared_channels != 3:
            raise ValueError(
                "data.infrared_view='rgb_duplicate' needs an infrared tower that reads three channels: "
                "model.infrared-tower shared, or model.infrared-channels 3."
            )
        varied = self.augmentation
        if varied.infrared_gamma > 1 or varied.infrared_contrast or varied.infrared_noise or varied.infrared_inversion:
            raise ValueError(
                "data.infrared_view='rgb_duplicate' shows the RGB image twice, as it is; infrared augmentation would "
                "make it another image. Set gamma to 1 and contrast, noise and inversion to 0."
            )

    def _check_adapter(self) -> None:
        if self.optim.optimizer == "muon":
            raise ValueError(f"adapter.kind={self.adapter.kind!r} is trained by AdamW; set optim.optimizer adamw.")
        if self.model.source is None:
            raise ValueError(
                f"adapter.kind={self.adapter.kind!r} adapts trained towers; give --model.source (random towers have "
                "nothing to keep)."
            )
        if self.model.freezes_parts:
            raise ValueError(
                "An adapter leaves all towers as they are; name those to adapt with adapter.towers instead of freezing."
            )
        if "infrared" in (self.adapter.towers or ()) and self.model.infrared_tower != "separate":
            raise ValueError(
                f"adapter.towers has infrared, but model.infrared_tower={self.model.infrared_tower!r} has the "
                "attention of the RGB tower; adapt rgb, or use a separate infrared tower."
            )
