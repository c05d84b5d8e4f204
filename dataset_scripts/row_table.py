"""What the driver of a build knows of all rows: small columns of staged shards, and which rows are still in.

Images stay in the shards. A row is named by its shard and its position there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .journal import ShardRecord
from .stages.rejects import Reject, count_reasons
from .step import SAMPLE_OF_REJECTS
from .steps.staged_rows import read_columns


# Shapes: N rows
class RowTable:
    """Columns of the rows of a build, in the order of their shards."""

    def __init__(self, table: pa.Table, shard: NDArray[np.int32], position: NDArray[np.int64]) -> None:
        self.table = table
        self.shard = shard  # (N,)
        self.position = position  # (N,)

    @classmethod
    def load(cls, folder: Path, records: Sequence[ShardRecord], columns: Sequence[str]) -> "RowTable":
        """Read columns of the staged shards of a step."""
        tables = [read_columns(folder / record.file, columns) for record in records]
        rows = [table.num_rows for table in tables]
        joined = pa.concat_tables(tables).combine_chunks() if tables else pa.table({name: [] for name in columns})
        del tables
        release_freed_memory()
        return cls(
            joined,
            np.repeat(np.arange(len(rows), dtype=np.int32), rows),
            np.concatenate([np.arange(count, dtype=np.int64) for count in rows] or [np.zeros(0, dtype=np.int64)]),
        )

    def __len__(self) -> int:
        return len(self.shard)

    def values(self, column: str) -> list[Any]:
        """A column as Python values."""
        return self.table.column(column).to_pylist()

    def text(self, column: str) -> "TextColumn":
        """A column of strings whose values become Python's one by one, as they are asked for."""
        return TextColumn(self.table.column(column))

    def numbers(self, column: str) -> NDArray[Any]:
        """A column of numbers without nulls."""
        return self.table.column(column).to_numpy()

    def is_null(self, column: str) -> NDArray[np.bool_]:
        """Where a column has no value."""
        return pc.is_null(self.table.column(column)).to_numpy()

    def keep(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "RowTable":
        """The table of some rows, in their order."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        if len(chosen) == len(self) and np.array_equal(chosen, np.arange(len(self))):
            return self
        return RowTable(self.table.take(pa.array(chosen)), self.shard[chosen], self.position[chosen])

    def with_column(self, name: str, values: Sequence[Any] | NDArray[Any] | pa.Array) -> "RowTable":
        """The table with one more column, or one replaced."""
        array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
        names = self.table.column_names
        table = (
            self.table.set_column(names.index(name), name, array)
            if name in names
            else self.table.append_column(name, array)
        )
        return RowTable(table, self.shard, self.position)

    def positions_by_shard(self) -> dict[int, list[int]]:
        """Positions of the rows in each of their shards, ascending."""
        order = np.lexsort((self.position, self.shard))
        shards, starts = np.unique(self.shard[order], return_index=True)
        parts = np.split(self.position[order], starts[1:])
        return {int(shard): part.tolist() for shard, part in zip(shards, parts, strict=False)}

    def join(self, folder: Path, records: Mapping[int, ShardRecord], columns: Sequence[str]) -> "RowTable":
        """Add columns of a later step, found by shard and `position`; a row that is not there gets nulls.

        Args:
            folder: the folder of staged shards.
            records: for a shard of this table, the record of the shard that the later step made of it.
            columns: columns to add, or to replace where the later step has a value.
        """
        parts = [read_columns(folder / record.file, ["position", *columns]) for record in records.values()]
        if not parts:
            return self
        shards = np.repeat(np.array(list(records), dtype=np.int64), [part.num_rows for part in parts])
        found = pa.concat_tables(parts).combine_chunks()
        keys = shards << 40 | found.column("position").to_numpy()
        order = np.argsort(keys)
        wanted = self.shard.astype(np.int64) << 40 | self.position
        place = np.searchsorted(keys[order], wanted).clip(max=max(len(keys) - 1, 0))
        is_there = keys[order][place] == wanted if len(keys) else np.zeros(len(self), dtype=np.bool_)
        indices = pa.array(order[place] if len(keys) else place, mask=~is_there)
        joined: RowTable = self
        for name in columns:
            values = found.column(name).take(indices)
            if name in self.table.column_names:
                values = pc.coalesce(values, self.table.column(name))
            joined = joined.with_column(name, values)
        return joined


class TextColumn(Sequence[str]):
    """Strings in Arrow's memory, a fifth of Python's."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.arrow = column.combine_chunks()

    def __len__(self) -> int:
        return len(self.arrow)

    def __getitem__(self, row: Any) -> Any:
        return self.arrow[row].as_py()


def driver_stage(
    name: str, table: RowTable, decide: Callable[[RowTable], tuple[Sequence[int] | NDArray[Any], Iterable[Reject]]]
) -> tuple[RowTable, dict[str, Any]]:
    """Apply a decision over all rows; return the rows that stay, and the manifest's account of the stage."""
    kept, rejects = decide(table)
    rejects = list(rejects)
    sample: dict[str, list[dict[str, str]]] = {}
    ids = table.table.column("id")
    for reject in rejects:
        seen = sample.setdefault(reject.reason, [])
        if len(seen) < SAMPLE_OF_REJECTS:
            seen.append({"id": ids[reject.row].as_py(), "reason": reject.reason, "detail": reject.detail[:300]})
    account = {
        "stage": name,
        "rows_in": len(table),
        "rows_out": len(kept),
        "rejected": count_reasons(rejects),
        "rejected_sample": [reject for reason in sorted(sample) for reject in sample[reason]],
    }
    kept_table = table.keep(np.asarray(kept, dtype=np.int64))
    release_freed_memory()
    return kept_table, account


@contextmanager
def frugal_memory() -> Iterator[None]:
    """Let Arrow take memory from the system: its own allocator keeps what is freed, several times the tables."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def release_freed_memory() -> None:
    """Give back to the system what Arrow has freed."""
    pa.default_memory_pool().release_unused()
