"""Checks the rows of one shard, a row group in memory at a time, and returns a few numbers of each row.

The numbers, 8 bytes each, are what is compared over all shards: ids, contents, leak groups and captions.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..rights import IMAGE_COLUMNS, withhold
from ..stages.caption_key import caption_key
from ..steps.write_step import INDEX_FOLDER, Dataset, features_of
from .folder_problem import Problem
from .row_images import count_images, image_problems

# Of one kind in one shard this many are described, and the others counted.
_DESCRIBED = 10
# What PyArrow raises on damaged pages, footers and strings.
READ_ERRORS = (pa.ArrowException, OSError, ValueError)


# Shapes: N rows
@dataclass(frozen=True, kw_only=True)
class RowNumbers:
    """Hashes of what identifies rows; columns of shape (N,)."""

    ids: NDArray[np.int64]
    contents: NDArray[np.int64]
    """Of the row as the index should show it."""
    leak_groups: NDArray[np.int64]
    caption_keys: NDArray[np.int64]
    """0 where there is no caption."""


@dataclass(frozen=True, kw_only=True)
class ShardFindings:
    """What was seen in a shard."""

    shard: Mapping[str, Any]
    problems: list[Problem]
    numbers: RowNumbers
    images: int


@dataclass
class _Problems:
    """Problems of a shard, not more than can be read."""

    file: str
    described: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, detail: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= _DESCRIBED:
            self.described.append(Problem(self.file, kind, detail))

    def all(self) -> list[Problem]:
        more = [
            Problem(self.file, kind, f"and {count - _DESCRIBED} more")
            for kind, count in self.counts.items()
            if count > _DESCRIBED
        ]
        return [*self.described, *more]


def check_shard_rows(folder: Path, dataset: Dataset, shard: Mapping[str, Any]) -> ShardFindings:
    """Check every row of a shard by itself."""
    place = shard["file"].partition("/")[0]
    problems = _Problems(shard["file"])
    numbers: list[tuple[int, int, int, int]] = []
    images = 0
    for row in _rows(folder / shard["file"], dataset, place, shard["rows"], problems):
        numbers.append(_numbers(row))
        for kind, detail in _row_problems(row, dataset, place):
            problems.add(kind, f"{row['id']}: {detail}")
        images += 0 if place == INDEX_FOLDER else count_images(row, dataset)
    table = np.array(numbers, dtype=np.int64).reshape(-1, 4)
    return ShardFindings(
        shard=shard,
        problems=problems.all(),
        numbers=RowNumbers(
            ids=table[:, 0].copy(),
            contents=table[:, 1].copy(),
            leak_groups=table[:, 2].copy(),
            caption_keys=table[:, 3].copy(),
        ),
        images=images,
    )


def text_number(text: str) -> int:
    """Hash of a text in 64 bits, with a sign, as NumPy keeps it."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def columns_problem(schema: pa.Schema, dataset: Dataset, place: str) -> str:
    """How the columns of a shard differ from those of the dataset; nothing if they do not."""
    wanted: pa.Schema = features_of(dataset, place).arrow_schema
    if schema.names != wanted.names:
        differing = sorted(set(schema.names) ^ set(wanted.names))
        return f"columns {', '.join(differing)} are missing or too many" if differing else "another order of columns"
    for name in wanted.names:
        if schema.field(name).type != wanted.field(name).type:
            return f"column {name} is {schema.field(name).type}; it should be {wanted.field(name).type}"
    key = b"huggingface"
    if (schema.metadata or {}).get(key) != wanted.metadata[key]:
        return "the features that `datasets` reads from the file are others"
    return ""


def _rows(path: Path, dataset: Dataset, place: str, rows: int, problems: _Problems) -> Iterator[dict[str, Any]]:
    """Rows of all row groups that can be read."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if difference := columns_problem(file.schema_arrow, dataset, place):
                problems.add("columns", difference)
                return
            if file.metadata.num_rows != rows:
                problems.add("counts", f"{file.metadata.num_rows} rows; the manifest says {rows}")
            for group in range(file.num_row_groups):
                try:
                    read = file.read_row_group(group).to_pylist()
                except READ_ERRORS as error:
                    problems.add("unreadable", f"row group {group}: {type(error).__name__}: {str(error)[:200]}")
                    continue
                yield from read
    except READ_ERRORS as error:
        problems.add("unreadable", f"{type(error).__name__}: {str(error)[:200]}")


def _row_problems(row: Mapping[str, Any], dataset: Dataset, place: str) -> Iterator[tuple[str, str]]:
    if place == INDEX_FOLDER:
        return
    yield from image_problems(row, dataset)
    expected = _caption_key(row, dataset)
    if row["caption_key"] != expected:
        yield "caption_key", f"{row['caption_key']}; that of the first caption is {expected}"


def _caption_key(row: Mapping[str, Any], dataset: Dataset) -> str | None:
    first = next(iter(row["captions"] or ()), None)
    if first is None:
        return None
    return caption_key(first if dataset == "fusionrs" else first["text"])


def _numbers(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    shown = withhold({name: value for name, value in row.items() if name not in IMAGE_COLUMNS})
    content = json.dumps(shown, sort_keys=True, ensure_ascii=True)
    group = row["leak_group"] if row["leak_group"] is not None else row["id"]
    key = 0 if row["caption_key"] is None else text_number(row["caption_key"])
    return text_number(str(row["id"])), text_number(content), text_number(str(group)), key
