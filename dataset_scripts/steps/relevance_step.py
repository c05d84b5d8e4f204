"""Scores how much every image is one of remote sensing. Both scores are kept; what passes is decided over all rows."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from ..engine import Result, Task
from ..ordered_parquet import write_ordered
from ..stages.image_facts import upright
from ..stages.relevance import RelevanceSettings, score_relevance
from ..step import ShardCount, shard_result
from .model_identity import model_identity
from .staged_rows import STAGED_ROW_GROUP_ROWS, joined_rows

RELEVANCE_SCHEMA = pa.schema(
    [("position", pa.int64()), ("relevance_score", pa.float32()), ("classifier_score", pa.float32())]
)
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RelevanceStep:
    """Staged rows in, their scores out."""

    work: Path
    settings: RelevanceSettings
    name: str = "relevance_scores"
    on_gpu: bool = True

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        models = [self.settings.clip, *([self.settings.classifier] if self.settings.classifier else [])]
        weights = [model_identity(settings.model) for settings in models]
        return {"version": _VERSION, **asdict(self.settings), "weights": weights}

    def open(self) -> Callable[[Task], Result]:
        """Return the function that scores a shard; the models are loaded by the first batch, and stay."""
        return partial(_score_shard, self)


def _score_shard(step: RelevanceStep, task: Task) -> Result:
    inputs = task["inputs"]
    count = ShardCount(rows_in=len(inputs["rows"]))
    path = step.work / step.name / f"{task['shard']}.parquet"
    rows = write_ordered(
        path,
        _scores(step, inputs),
        RELEVANCE_SCHEMA,
        order_by="position",
        row_group_rows=len(inputs["rows"]),
    )
    return {"shard": task["shard"], **shard_result(path, step.work, rows, count.facts())}


def _scores(step: RelevanceStep, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rows = zip(inputs["rows"], joined_rows(step.work, inputs["files"], inputs["rows"], ("image",)), strict=True)
    while batch := list(islice(rows, STAGED_ROW_GROUP_ROWS)):
        scores = score_relevance([decoded_rgb(row["image"]) for _, row in batch], step.settings)
        for number, (position, _) in enumerate(batch):
            yield {
                "position": position,
                "relevance_score": float(scores.relevance[number]),
                "classifier_score": None if scores.classifier is None else float(scores.classifier[number]),
            }


def decoded_rgb(data: bytes) -> Image.Image:
    """The upright RGB image of checked bytes."""
    with Image.open(io.BytesIO(data)) as image:
        return upright(image).convert("RGB")
