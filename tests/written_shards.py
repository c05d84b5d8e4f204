"""Shards of a few rows, as a build writes them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Features

from dataset_scripts.durable_files import file_sha256
from dataset_scripts.ordered_parquet import write_ordered
from dataset_scripts.steps.write_step import ROW_GROUP_ROWS, image_columns, shard_name


def write_shards(
    rows: Iterator[Mapping[str, Any]],
    folder: Path,
    *,
    split: str,
    row_count: int,
    rows_per_shard: int,
    features: Features,
) -> list[dict[str, Any]]:
    """Write rows in their order, and return what a manifest says of every shard."""
    whole = list(rows)
    assert len(whole) == row_count
    shards = max(1, -(-row_count // rows_per_shard))
    facts = []
    for number in range(shards):
        own = whole[number * rows_per_shard : (number + 1) * rows_per_shard]
        path = folder / shard_name(split, number, shards)
        write_ordered(
            path,
            ({**row, "place": place} for place, row in enumerate(own)),
            features.arrow_schema,
            order_by="place",
            row_group_rows=ROW_GROUP_ROWS,
            uncompressed=image_columns(features),
        )
        facts.append(
            {
                "file": f"{folder.name}/{path.name}",
                "split": split,
                "rows": len(own),
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
        )
    return facts
