"""What the engine reads of a program's configuration."""

from pathlib import Path
from typing import Any, Protocol

from ..data.config import DataConfig
from .config import LogConfig, OptimConfig, SaveConfig, ValidationConfig


class RunConfig(Protocol):
    """A frozen dataclass with these fields, and any others."""

    @property
    def output(self) -> Path:
        """Folder of the run."""

    @property
    def seed(self) -> int:
        """Seed of everything that is drawn."""

    @property
    def overwrite(self) -> bool:
        """Whether an earlier run in the folder is replaced."""

    @property
    def data(self) -> DataConfig:
        """What to train on."""

    @property
    def model(self) -> Any:
        """What `build` is given."""

    @property
    def optim(self) -> OptimConfig:
        """How to train."""

    @property
    def save(self) -> SaveConfig:
        """What is kept."""

    @property
    def log(self) -> LogConfig:
        """Trackers beside `log.jsonl`."""

    @property
    def validation(self) -> ValidationConfig:
        """When to measure, and on which rows."""
