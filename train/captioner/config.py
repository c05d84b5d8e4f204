"""The configuration of `train.train_captioner`; a field's text is its help on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ..clip.config import AugmentationConfig
from ..data.config import DataConfig
from ..engine.config import LogConfig, OptimConfig, SaveConfig, ValidationConfig

QuestionType = Literal["scene_class", "scene_presence", "time_of_day", "region_brightness", "object_state"]
QUESTION_TYPES: tuple[QuestionType, ...] = get_args(QuestionType)


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
class LoraConfig:
    """Low-rank adapters of every linear layer of the language model."""

    rank: int = 16
    """Rank."""
    alpha: int = 32
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = 0.05
    """Dropout before the adapters."""

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"lora.rank={self.rank} must be at least 1, lora.dropout={self.dropout} in [0, 1).")


@dataclass(frozen=True, kw_only=True)
class CaptionerModelConfig:
    """What to train."""

    captioner: Path | None = None
    """Captioner to go on from, such as the model/ of a first stage; its clip, language_model, size and
    projector_reduction stay as they are."""
    clip: Path = Path("runs/clip/model")
    """RSCLIP folder whose image towers the captioner starts from."""
    language_model: str | None = None
    """Causal language model to start from, a folder or id; nothing starts a small random one."""
    size: LanguageModelSize = field(default_factory=LanguageModelSize)
    """Size of a random language model; unused with `language_model`."""
    projector_reduction: int = 2
    """Side of the square of patches that becomes one token."""
    tune: Literal["full", "lora", "qlora", "none"] = "full"
    """What of the language model is trained, beside the projector: all of it, adapters, adapters on weights of four
    bits (needs bitsandbytes), or nothing."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """The adapters."""
    feature_layer: int = -2
    """Hidden state of the towers that is projected: the last but one, as Llava's; -1 is the last, for towers that are
    trained."""
    freeze_towers: bool = True
    """Keep the image towers as they are."""

    def __post_init__(self) -> None:
        if self.tune in ("lora", "qlora") and not self.freeze_towers:
            raise ValueError(
                f"model.tune={self.tune!r} trains adapters and the projector; the image towers stay as they are. Leave "
                "model.freeze-towers on, or choose model.tune full."
            )


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """How often a row becomes which task; weights of a row's possible tasks add up to one."""

    scene: float = 1.0
    """Describe the scene: a caption of the row."""
    infrared: float = 1.0
    """Describe what the infrared shows: an infrared caption of the row, where it has one."""
    question: float = 0.0
    """Answer a question that the row proves: scene class, time of day, what is bright or dark."""
    question_types: tuple[QuestionType, ...] = QUESTION_TYPES
    """Which questions: of the scene, or of what the infrared shows."""
    instruction: float = 0.0
    """Replay a row of `instructions` in place of the row, so that the language model keeps what it knew."""
    instructions: Path | None = None
    """JSON-lines file of text: {"prompt": …, "answer": …} or {"messages": [{"role": …, "content": …}, …]}."""
    infrared_of_rgb: bool = False
    """Ask for what the infrared shows where only RGB is shown too: a control, whose answers are guesses."""

    def __post_init__(self) -> None:
        weights = (self.scene, self.infrared, self.question, self.instruction)
        if min(weights) < 0 or not self.scene + self.question + self.instruction:
            raise ValueError(
                f"task weights are scene={self.scene}, infrared={self.infrared}, question={self.question}, "
                f"instruction={self.instruction}; none may be negative, and one that every row can be must be positive."
            )
        if not self.question_types:
            raise ValueError(f"task.question_types is empty; name at least one of {', '.join(QUESTION_TYPES)}.")
        if (self.instruction > 0) != (self.instructions is not None):
            raise ValueError(
                f"task.instruction={self.instruction} and task.instructions={self.instructions}: a weight needs a "
                "file, and a file a weight."
            )


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """A run of `train.train_captioner`."""

    output: Path = Path("runs/captioner")
    """Folder of the run: model/, log.jsonl, run.json, and adapter/ where adapters were trained."""
    seed: int = 0
    """Seed of weights, order, captions and image choice."""
    inputs: tuple[Literal["rgb", "infrared", "pair"], ...] = ("pair", "pair", "rgb", "infrared")
    """What a row shows the captioner, drawn at random; repeated entries are drawn more often."""
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How images are varied; texts that say left or upper are then wrong of an image that was turned."""
    model: CaptionerModelConfig = field(default_factory=CaptionerModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    log: LogConfig = field(default_factory=LogConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    overwrite: bool = False
    """Replace an earlier run in the same folder."""

    def __post_init__(self) -> None:
        if self.optim.optimizer == "muon" and self.model.tune in ("lora", "qlora"):
            raise ValueError(f"model.tune={self.model.tune!r} is trained by AdamW; set optim.optimizer adamw.")
