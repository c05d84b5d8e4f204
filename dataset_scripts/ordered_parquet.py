"""Writes rows that come in any order into one Parquet file in a given order, in little memory.

Rows are spooled into an Arrow file beside the target, which is mapped and read back in order; so memory does not grow
with the number of rows, however large the images.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .durable_files import named_disk_errors, write_durably

# Rows are spooled in batches of this many, and read back in row groups.
_SPOOL_ROWS = 64


def write_ordered(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    schema: pa.Schema,
    *,
    order_by: str,
    row_group_rows: int,
    uncompressed: Sequence[str] = (),
) -> int:
    """Write rows sorted by a column of integers (ties in the order they came), and return their number.

    Args:
        path: the file; it is whole or absent.
        rows: rows with the columns of the schema, and `order_by`.
        schema: columns of the file. Where `order_by` is not one of them, it only orders.
        order_by: the column to sort by.
        row_group_rows: rows in a row group.
        uncompressed: columns of bytes that are compressed already.
    """
    spool_schema = schema if order_by in schema.names else schema.append(pa.field(order_by, pa.uint64()))
    written = 0

    def write(temporary: Path) -> None:
        nonlocal written
        batches = (pa.RecordBatch.from_pylist(batch, schema=spool_schema) for batch in _batches(rows))
        with spooled(temporary, batches, spool_schema) as spool:
            order = np.argsort(spool.column(order_by), kind="stable")
            with pq.ParquetWriter(temporary, schema, **parquet_options(schema, uncompressed)) as writer:
                for start in range(0, len(order), row_group_rows):
                    group = spool.take(order[start : start + row_group_rows]).select(schema.names)
                    writer.write_table(group.replace_schema_metadata(schema.metadata), row_group_size=row_group_rows)
            written = len(order)

    write_durably(path, write)
    return written


class Spool:
    """Rows of a mapped Arrow file, to be taken in any order."""

    def __init__(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = batches
        self._schema = schema
        self._starts = np.concatenate([[0], np.cumsum([batch.num_rows for batch in batches], dtype=np.int64)])

    def column(self, name: str) -> NDArray[Any]:
        """The values of a column of numbers."""
        table = pa.Table.from_batches(self._batches, self._schema)
        return table.column(name).to_numpy()

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return some rows as one table.

        Arrow's own `take` would join all batches first: all images in memory, and more bytes than it can count.
        """
        places = np.searchsorted(self._starts, rows, side="right") - 1
        slices = [
            self._batches[place].slice(row - self._starts[place], 1)
            for place, row in zip(places.tolist(), rows.tolist(), strict=True)
        ]
        return pa.Table.from_batches(slices, self._schema).combine_chunks()


@contextmanager
def spooled(beside: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[Spool]:
    """Write batches into a temporary Arrow file beside a path, and map it."""
    path = beside.with_name(f"{beside.name.removesuffix('.part')}.spool.part")
    try:
        with named_disk_errors(path), pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        with pa.memory_map(str(path)) as mapped:
            reader = pa.ipc.open_file(mapped)
            yield Spool([reader.get_batch(number) for number in range(reader.num_record_batches)], schema)
    finally:
        path.unlink(missing_ok=True)


def parquet_options(schema: pa.Schema, uncompressed: Sequence[str]) -> dict[str, Any]:
    """Image bytes are compressed already; compressing them again costs time at every read."""
    leaves = {leaf for name in uncompressed for leaf in _leaves(schema.field(name))}
    others = {leaf for field in schema if field.name not in uncompressed for leaf in _leaves(field)}
    return {
        "compression": {**dict.fromkeys(sorted(leaves), "none"), **dict.fromkeys(sorted(others), "zstd")},
        "use_dictionary": sorted(others),
        "write_statistics": sorted(others),
        "write_page_checksum": True,
    }


def _leaves(field: pa.Field) -> list[str]:
    """Paths of the Parquet columns of an Arrow field."""
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{leaf}" for inner in field.type for leaf in _leaves(inner)]
    if pa.types.is_list(field.type):
        return [f"{field.name}.list.{leaf}" for leaf in _leaves(field.type.value_field.with_name("element"))]
    return [field.name]


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _SPOOL_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
