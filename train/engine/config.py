"""What the training programs configure alike; a field's text is its help on the command line."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How to train."""

    steps: int = 1000
    """Optimizer steps; the data is repeated as often as that takes."""
    batch_size: int = 64
    """Rows per step, of all processes together."""
    rows_at_once: int | None = None
    """Rows per process that go through the towers together; the step is the same, in less memory and more time."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the matrices of the layers and AdamW for the rest, at the same learning rate and decay; for
    weights that start random. Adapters take AdamW."""
    learning_rate: float = 5e-4
    """Peak learning rate, reached after the warm-up and lowered along a cosine to zero."""
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
    part_rates: dict[str, float] = field(default_factory=dict)
    """Parts of the model (beginnings of parameter names, such as vision_model) and what multiplies their learning rate;
    the longest that fits counts, and parts that are not named have 1."""
    average_decay: float | None = None
    """Decay of a moving average of the weights, such as 0.999; the average is validated and saved as the model."""
    wise_alpha: float = 1.0
    """Saved weights are this share of the way from the initial to the trained ones (WiSE-FT); 1 saves the trained."""
    compile_layers: bool = False
    """Compile the layers of the towers with torch.compile: faster on a GPU after a first step of a minute or so."""
    shard: bool = False
    """Share parameters, gradients and optimizer state out among the processes (FSDP2), for models that do not fit."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "rows_at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"optim.{name} must be at least 1, got {value}.")
        for name in ("learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"optim.{name} must be positive, got {getattr(self, name)}.")
        if not (self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                f"optim.learning_rate={self.learning_rate} must be finite, optim.weight_decay={self.weight_decay} too "
                "and not negative."
            )
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(f"optim.warmup_steps={self.warmup_steps} must be from 0 to below the {self.steps} steps.")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise ValueError(f"optim.average_decay must lie between 0 and 1, got {self.average_decay}.")
        if not 0 <= self.wise_alpha <= 1:
            raise ValueError(f"optim.wise_alpha must lie in [0, 1], got {self.wise_alpha}.")
        if not all(0 <= rate < math.inf for rate in self.part_rates.values()):
            raise ValueError(f"optim.part_rates are {self.part_rates}; they must be finite, and none may be negative.")


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
class LogConfig:
    """Where the numbers of a step go beside `log.jsonl`."""

    to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    """Trackers, each of which must be installed; TensorBoard writes below the run's folder."""
    project: str = "rsclip"
    """Project that trackers file the run under."""

    def __post_init__(self) -> None:
        if not self.project or "/" in self.project or self.project in (".", ".."):
            raise ValueError(f"log.project is {self.project!r}, wanted a name: TensorBoard makes a folder of it.")


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is measured on held-out rows while a run goes on."""

    every_steps: int = 0
    """Optimizer steps between validations; there is one more of the final weights. 0 never validates."""
    path: str | None = None
    """Folder or Hub dataset of FusionRS to validate on; that of the training when not given."""
    split: str = "validation"
    """Split to validate on."""
    rows: int = 1024
    """Rows of it, from its beginning."""
    batch_size: int = 64
    """Rows that go through the model at once."""

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.rows < 1 or self.batch_size < 1:
            raise ValueError(
                f"validation.every_steps={self.every_steps} must not be negative; validation.rows={self.rows} and "
                f"validation.batch_size={self.batch_size} must be at least 1."
            )
