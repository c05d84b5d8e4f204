"""Shards between the steps of a build: their columns, and reading some of their rows.

Rows of a shard lie in the order of `shuffle_key`, so a range of keys, which is what an output shard takes, is a few
neighbouring row groups of every staged shard.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

STAGED_ROW_GROUP_ROWS = 32

READ_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("url", pa.string()),
        ("published_sha256", pa.string()),
        ("image", pa.binary()),
        ("image_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("perceptual_hash", pa.uint64()),
        ("infrared", pa.binary()),
        ("infrared_bytes", pa.int64()),
        ("infrared_sha256", pa.string()),
        ("infrared_hash", pa.uint64()),
        ("infrared_origin", pa.string()),
        ("infrared_band", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("caption_kind", pa.string()),
        ("infrared_captions", pa.list_(pa.string())),
        ("has_infrared_captions", pa.bool_()),
        ("class_name", pa.string()),
        ("license", pa.string()),
        ("attribution", pa.string()),
        ("split", pa.string()),
        ("metadata", pa.string()),
        ("caption_key", pa.string()),
        ("shuffle_key", pa.uint64()),
    ]
)
IMAGE_BYTES = ("image", "infrared")
# Columns of later steps of the RS5M build.
STAGED_COLUMNS = (*READ_SCHEMA.names, "relevance_score", "classifier_score", "written_captions")


def shuffle_key(salt: str, row_id: str) -> int:
    """A number that orders rows as if shuffled, and the same way on every machine."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{row_id}".encode()).digest()[:8])


def column_names(path: Path) -> list[str]:
    """Columns of a staged shard."""
    return pq.read_schema(path).names


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a staged shard; pages are checked against their checksums."""
    return pq.read_table(path, columns=list(columns), use_threads=False, page_checksum_verification=True)


def iterate_rows(
    path: Path, positions: Sequence[int] | NDArray[np.int64] | None = None, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield rows of a staged shard in its order, a row group in memory at a time.

    Args:
        path: the shard.
        positions: ascending positions of the rows wanted; all where not given.
        columns: columns wanted; all where not given.
    """
    for batch in iterate_batches(path, positions, columns):
        yield from batch.to_pylist()


def iterate_batches(
    path: Path, positions: Sequence[int] | NDArray[np.int64] | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """As `iterate_rows`, a batch for each row group that holds a wanted row."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        wanted = None if positions is None else np.asarray(positions, dtype=np.int64)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            inside = None if wanted is None else wanted[(wanted >= first) & (wanted < first + rows)] - first
            first += rows
            if inside is not None and not inside.size:
                continue
            table = file.read_row_group(group, columns=None if columns is None else list(columns))
            if inside is not None and inside.size < rows:
                table = table.take(pa.array(inside))
            yield from table.combine_chunks().to_batches()


def joined_rows(
    folder: Path, files: Sequence[Mapping[str, str]], positions: Sequence[int], columns: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield rows of a staged shard, with the columns that later steps made of them.

    Args:
        folder: where the files are.
        files: `{"file": ...}` of the first step, then of later ones. Those have a column `position`, the row's place
            in the first, ascending, and need not have every row; a value that is there replaces the earlier one.
        positions: ascending positions of the rows wanted.
        columns: columns wanted, of any of the files.
    """
    first, *later = [folder / file["file"] for file in files]
    additions = [_additions(path, positions, columns) for path in later]
    waiting = [next(rows, None) for rows in additions]
    wanted = [name for name in column_names(first) if name in columns]
    for position, row in zip(positions, iterate_rows(first, positions, wanted), strict=True):
        for number, addition in enumerate(waiting):
            if addition is not None and addition["position"] == position:
                row = {**row, **{name: value for name, value in addition.items() if name != "position"}}
                waiting[number] = next(additions[number], None)
        yield row


def _additions(path: Path, positions: Sequence[int], columns: Collection[str]) -> Iterator[dict[str, Any]]:
    there = read_columns(path, ["position"]).column("position").to_numpy()
    at = np.flatnonzero(np.isin(there, np.asarray(positions, dtype=np.int64)))
    yield from iterate_rows(path, at, [name for name in column_names(path) if name in columns or name == "position"])
