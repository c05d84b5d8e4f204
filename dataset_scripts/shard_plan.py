"""Decides which row goes to which output shard: equal shards, rows in the order of their shuffle key."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .journal import ShardRecord
from .row_table import RowTable
from .stages.splits import SPLITS
from .step import ShardTask
from .steps.write_step import ROW_GROUP_ROWS


# Shapes: N rows
def number_of_shards(rows: int, total_bytes: int, *, target_bytes: int, multiple: int) -> int:
    """Return how many shards a split has.

    As many as keep each below the target, rounded up to a multiple; a small split has the largest divisor of the
    multiple that leaves a whole row group in each.
    """
    if not rows:
        return 0
    needed = max(1, -(-total_bytes // target_bytes))
    shards = -(-needed // multiple) * multiple
    if shards * ROW_GROUP_ROWS <= rows:
        return shards
    divisors = (divisor for divisor in range(multiple, 0, -1) if multiple % divisor == 0)
    fitting = next((divisor for divisor in divisors if divisor * ROW_GROUP_ROWS <= rows), 1)
    return min(rows, max(needed, fitting))


def cut_shards(order: NDArray[np.int64], shards: int) -> list[NDArray[np.int64]]:
    """Cut rows into shards that differ by one row at most."""
    return np.array_split(order, shards) if shards else []


def write_tasks(
    table: RowTable,
    folders: Sequence[str],
    splits: Sequence[str],
    leak_groups: Sequence[str],
    files: Sequence[Mapping[int, ShardRecord]],
    *,
    target_bytes: int,
    multiple: int,
    row_bytes: NDArray[np.int64],
) -> list[ShardTask]:
    """List a task for every output shard of every folder and split.

    Args:
        table: rows that are written, with `shuffle_key`.
        folders: for every row the folder of its images.
        splits: for every row its split.
        leak_groups: for every row its group.
        files: for the first step and each later one, the record of what it made of a staged shard.
        target_bytes: size that a shard should not exceed.
        multiple: a number of shards that divides well among common numbers of processes.
        row_bytes: for every row about how many bytes it takes.
    """
    keys = table.numbers("shuffle_key")
    folder_of, split_of = np.array(folders), np.array(splits)
    tasks = []
    for folder in sorted(set(folders)):
        for split in SPLITS:
            rows = np.flatnonzero((folder_of == folder) & (split_of == split))
            order = rows[np.argsort(keys[rows], kind="stable")]
            count = number_of_shards(
                len(order), int(row_bytes[order].sum()), target_bytes=target_bytes, multiple=multiple
            )
            for number, shard in enumerate(cut_shards(order, count)):
                pieces = _pieces(table, shard, leak_groups, files)
                inputs = {"folder": folder, "split": split, "number": number, "shards": count, "pieces": pieces}
                tasks.append(
                    ShardTask(shard=f"{folder}/{split}-{number:05d}-of-{count:05d}", inputs=inputs, rows=len(shard))
                )
    return tasks


def _pieces(
    table: RowTable,
    rows: NDArray[np.int64],
    leak_groups: Sequence[str],
    files: Sequence[Mapping[int, ShardRecord]],
) -> list[dict[str, Any]]:
    """The rows of an output shard by staged shard, with the files that hold their columns."""
    rows = rows[np.lexsort((table.position[rows], table.shard[rows]))]
    shards, starts = np.unique(table.shard[rows], return_index=True)
    return [
        {
            "files": [
                {"file": records[shard].file, "sha256": records[shard].sha256} for records in files if shard in records
            ],
            "positions": table.position[part].tolist(),
            "leak_groups": [leak_groups[row] for row in part.tolist()],
        }
        for shard, part in zip(shards.tolist(), np.split(rows, starts[1:]), strict=False)
    ]
