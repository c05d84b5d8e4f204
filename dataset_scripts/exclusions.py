"""Rows that were asked to be taken out: a list of ids, addresses and SHA-256 values that every build obeys."""

import hashlib
from pathlib import Path

from .row_table import RowTable
from .stages.rejects import Reject

REASONS = ("excluded",)
_COLUMNS = ("id", "url", "sha256")


def read_exclusions(path: Path | None) -> frozenset[str]:
    """Read a text file of one id, address or SHA-256 a line; `#` begins a remark."""
    if path is None:
        return frozenset()
    lines = (line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def exclusions_hash(excluded: frozenset[str]) -> str | None:
    """What tells one list from another; None for an empty one."""
    return hashlib.sha256("\n".join(sorted(excluded)).encode()).hexdigest() if excluded else None


def leave_out(table: RowTable, excluded: frozenset[str]) -> tuple[list[int], list[Reject]]:
    """Split rows into those that may stay and those that the list names."""
    columns = [table.values(name) for name in _COLUMNS if name in table.table.column_names]
    named = [next((value for value in values if value in excluded), None) for values in zip(*columns, strict=True)]
    kept = [row for row, value in enumerate(named) if value is None]
    return kept, [Reject(row, "excluded", str(value)) for row, value in enumerate(named) if value is not None]
