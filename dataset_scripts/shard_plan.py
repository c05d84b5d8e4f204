"""Decides which row goes to which output shard: equal shards, rows in the order of their shuffle key."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .durable_files import write_text_durably
from .journal import ShardRecord
from .row_table import RowTable
from .stages.splits import SPLITS, number_values
from .step import ShardTask
from .steps.write_step import PLAN_FOLDER, ROW_GROUP_ROWS


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


def remove_stale_plans(work: Path, tasks: Sequence[ShardTask]) -> None:
    """Remove the plans of an earlier run that had other shards."""
    wanted = {work / task.inputs["plan"]["file"] for task in tasks}
    for path in sorted((work / PLAN_FOLDER).glob("*/*.json")):
        if path not in wanted:
            path.unlink()


def write_tasks(
    table: RowTable,
    folders: pa.Array,
    splits: Sequence[str],
    leak_groups: pa.DictionaryArray,
    files: Sequence[Mapping[int, ShardRecord]],
    *,
    work: Path,
    target_bytes: int,
    multiple: int,
    row_bytes: NDArray[np.int64],
) -> list[ShardTask]:
    """List a task for every output shard of every folder and split, and write the plan of each to the work folder.

    A plan names every row of its shard, so it travels as a file: the driver holds one at a time, and the message to a
    worker is short.

    Args:
        table: rows that are written, with `shuffle_key`.
        folders: for every row the folder of its images.
        splits: for every row its split.
        leak_groups: for every row its group.
        files: for the first step and each later one, the record of what it made of a staged shard.
        work: the work folder.
        target_bytes: size that a shard should not exceed.
        multiple: a number of shards that divides well among common numbers of processes.
        row_bytes: for every row about how many bytes it takes.
    """
    keys = table.numbers("shuffle_key")
    folder_codes, folder_names = number_values(folders)
    split_codes, split_names = number_values(splits)
    folder_names = folder_names.to_pylist()
    tasks = []
    for folder in sorted(folder_names):
        for split in SPLITS:
            if split not in split_names:
                continue
            chosen = (folder_codes == folder_names.index(folder)) & (split_codes == split_names.index(split))
            rows = np.flatnonzero(chosen)
            order = rows[np.argsort(keys[rows], kind="stable")]
            count = number_of_shards(
                len(order), int(row_bytes[order].sum()), target_bytes=target_bytes, multiple=multiple
            )
            for number, shard in enumerate(cut_shards(order, count)):
                name = f"{folder}/{split}-{number:05d}-of-{count:05d}"
                plan = _write_plan(work, name, _pieces(table, shard, leak_groups, files))
                inputs = {"folder": folder, "split": split, "number": number, "shards": count, "plan": plan}
                tasks.append(ShardTask(shard=name, inputs=inputs, rows=len(shard)))
    return tasks


def _write_plan(work: Path, name: str, pieces: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    path = work / PLAN_FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(pieces)
    if not path.exists() or path.read_text() != text:
        write_text_durably(path, text)
    return {"file": path.relative_to(work).as_posix(), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _pieces(
    table: RowTable,
    rows: NDArray[np.int64],
    leak_groups: pa.DictionaryArray,
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
            "leak_groups": leak_groups.take(pa.array(part)).to_pylist(),
        }
        for shard, part in zip(shards.tolist(), np.split(rows, starts[1:]), strict=False)
    ]
