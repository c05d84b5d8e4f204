"""What the training programs configure alike; a field's text is its help on the command line."""

from dataclasses import dataclass
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
