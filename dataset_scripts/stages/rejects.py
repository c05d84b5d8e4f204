"""What a stage says of a row that it does not keep: which row, the named reason, and what was seen."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that a stage left out."""

    row: int
    """Position in the batch."""
    reason: str
    """A name from the stage's list of reasons; the manifest counts these."""
    detail: str = ""
    """What was seen in this row, for the sample of rejects."""


class RefusedError(ValueError):
    """Raised for one row that is left out; `reason` is a name from the list of the stage that refuses."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """Rejects per reason, in the order of the names."""
    return dict(sorted(Counter(reject.reason for reject in rejects).items()))
