"""Writes rows into Parquet shards that stream well: small row groups, image bytes left as they are.

A shard is written beside its place and renamed when it is complete, so a shard that exists is whole.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image

ROW_GROUP_ROWS = 100


def shard_name(split: str, number: int, shards: int) -> str:
    """File name of one shard, such as `train-00000-of-00004.parquet`."""
    return f"{split}-{number:05d}-of-{shards:05d}.parquet"


def write_shards(
    rows: Iterable[Mapping[str, Any]],
    folder: Path,
    *,
    split: str,
    row_count: int,
    rows_per_shard: int,
    features: Features,
) -> list[dict[str, Any]]:
    """Write the rows of a split as they come, and return name, rows, bytes and SHA-256 of every shard."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, -(-row_count // rows_per_shard))
    source = iter(rows)
    facts = []
    for number in range(shards):
        count = min(rows_per_shard, row_count - number * rows_per_shard)
        path = folder / shard_name(split, number, shards)
        _write_shard(source, path, rows=count, features=features)
        facts.append(
            {
                "file": f"{folder.name}/{path.name}",
                "split": split,
                "rows": count,
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
        )
    return facts


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_shard(source: Iterator[Mapping[str, Any]], path: Path, *, rows: int, features: Features) -> None:
    schema: pa.Schema = features.arrow_schema
    images = [name for name, kind in features.items() if isinstance(kind, Image)]
    temporary = path.with_name(path.name + ".part")
    with pq.ParquetWriter(temporary, schema, **_writer_options(schema, images)) as writer:
        for start in range(0, rows, ROW_GROUP_ROWS):
            count = min(ROW_GROUP_ROWS, rows - start)
            batch = list(islice(source, count))
            if len(batch) < count:
                raise ValueError(f"{path.name} should hold {rows} rows, but the rows ended after {start + len(batch)}.")
            writer.write_table(pa.Table.from_pylist(batch, schema=schema), row_group_size=ROW_GROUP_ROWS)
    temporary.rename(path)


def _writer_options(schema: pa.Schema, images: Sequence[str]) -> dict[str, Any]:
    """Image bytes are compressed already; compressing them again costs time at every read."""
    leaves = [f"{name}.{part}" for name in images for part in ("bytes", "path")]
    texts = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
        if field.name not in images
    ]
    return {
        "compression": {**dict.fromkeys(leaves, "none"), **dict.fromkeys(texts, "zstd")},
        "use_dictionary": [name for name in ("class_name", "source", "license", "attribution") if name in texts],
        "write_statistics": texts,
    }
