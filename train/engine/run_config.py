"""What the engine reads of a program's configuration."""

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from ..data.config import DataConfig
from .config import LogConfig, OptimConfig, SaveConfig, ValidationConfig

# What may change when a run is resumed; the weights do not depend on it.
FREE = ("output", "overwrite", "save.", "log.", "validation.", "data.workers", "data.stream_gigabytes")


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


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration as names with dots and values that every tracker takes."""
    fields = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    found: dict[str, Any] = {}
    for name, inner in fields.items():
        if isinstance(inner, dict):
            found |= flat(inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = inner if isinstance(inner, int | float | str) else str(inner)
    return found


def settings(config: RunConfig) -> dict[str, Any]:
    """What the weights of a run depend on, by names with dots."""
    return {name: value for name, value in flat(config).items() if not name.startswith(FREE)}


def inputs_inside(config: RunConfig) -> dict[str, str]:
    """Paths that a run reads and that lie in its own folder, by names of settings."""
    output = config.output.resolve()
    paths = {name: value for name, value in settings(config).items() if isinstance(value, str) and value}
    return {
        name: path
        for name, path in paths.items()
        if Path(path).exists() and Path(path).resolve().is_relative_to(output)
    }
