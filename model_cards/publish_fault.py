"""What a check before publishing can find: where, what kind, and what exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that keeps a folder from being published."""

    place: str
    """Path in the folder, with the line where there is one."""
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}: {self.detail}"


class UnfitError(RuntimeError):
    """A model or a Space must not be published as it is."""

    def __init__(self, what: Path, faults: Sequence[Fault]) -> None:
        lines = [*map(str, faults), f"{what} is not fit to be published: {len(faults)} faults."]
        super().__init__("\n".join(lines))
        self.faults = list(faults)
