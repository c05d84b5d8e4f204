"""Writes the shards of the dataset: rows gathered from staged shards, in the order of their shuffle key."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datasets import Features, Image

from ..engine import Result, Task
from ..fusionrs_rows import fusionrs_features, fusionrs_row
from ..ordered_parquet import write_ordered
from ..rights import withhold
from ..rs5m_rows import rs5m_features, rs5m_row
from ..step import ShardCount, shard_result
from .staged_rows import IMAGE_BYTES, STAGED_COLUMNS, joined_rows

Dataset = Literal["fusionrs", "rs5m"]
# `datasets` reads a row group at a time, and so do shuffles that mix row groups.
ROW_GROUP_ROWS = 100
INDEX_FOLDER = "index"
PLAN_FOLDER = "plan"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class WriteStep:
    """Staged rows and decisions in, Parquet shards out."""

    dataset: Dataset
    work: Path
    output: Path
    name: str = "write"
    on_gpu: bool = False

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        return {"version": _VERSION, "dataset": self.dataset}

    def open(self) -> Callable[[Task], Result]:
        """Return the function that writes a shard."""
        return partial(_write_shard, self)


def shard_name(split: str, number: int, shards: int) -> str:
    """File name of one shard, such as `train-00000-of-00004.parquet`."""
    return f"{split}-{number:05d}-of-{shards:05d}.parquet"


def image_columns(features: Features) -> tuple[str, ...]:
    """Names of the columns that hold images."""
    return tuple(name for name, kind in features.items() if isinstance(kind, Image))


def features_of(dataset: Dataset, folder: str) -> Features:
    """Columns of the shards in a folder of the dataset; those of `index` have no images."""
    features = fusionrs_features() if dataset == "fusionrs" else rs5m_features()
    if folder != INDEX_FOLDER:
        return features
    return Features({name: kind for name, kind in features.items() if not isinstance(kind, Image)})


def _write_shard(step: WriteStep, task: Task) -> Result:
    inputs = task["inputs"]
    pieces = json.loads((step.work / inputs["plan"]["file"]).read_bytes())
    count = ShardCount(rows_in=sum(len(piece["positions"]) for piece in pieces))
    features = features_of(step.dataset, inputs["folder"])
    path = step.output / inputs["folder"] / shard_name(inputs["split"], inputs["number"], inputs["shards"])
    rows = write_ordered(
        path,
        _rows(step, inputs["folder"], pieces),
        features.arrow_schema,
        order_by="shuffle_key",
        row_group_rows=ROW_GROUP_ROWS,
        uncompressed=image_columns(features),
    )
    return {"shard": task["shard"], **shard_result(path, step.output, rows, count.facts())}


def _rows(step: WriteStep, folder: str, pieces: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    make = fusionrs_row if step.dataset == "fusionrs" else rs5m_row
    is_index = folder == INDEX_FOLDER
    # The bytes of images are not even read for the index.
    columns = [name for name in STAGED_COLUMNS if not (is_index and name in IMAGE_BYTES)]
    for piece in pieces:
        rows = joined_rows(step.work, piece["files"], piece["positions"], columns)
        for staged, leak_group in zip(rows, piece["leak_groups"], strict=True):
            row = make(staged, leak_group)
            yield {**(withhold(row) if is_index else row), "shuffle_key": staged["shuffle_key"]}
