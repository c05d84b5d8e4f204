"""Writes captions: from metadata where a row has facts, by a machine where it has no caption of its own."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..engine import Result, Task
from ..ordered_parquet import write_ordered
from ..rs5m_rows import all_captions, preferred_caption
from ..stages.caption_key import caption_key
from ..stages.machine_captions import MachineCaptionSettings, caption_images
from ..stages.metadata_captions import MetadataCaptionSettings, write_metadata_captions
from ..stages.token_limit import estimate_offsets
from ..step import ShardCount, shard_result
from .model_identity import model_identity
from .relevance_step import decoded_rgb
from .staged_rows import STAGED_ROW_GROUP_ROWS, joined_rows

CAPTION_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        (
            "written_captions",
            pa.list_(pa.struct([("text", pa.string()), ("kind", pa.string()), ("score", pa.float32())])),
        ),
        ("caption_key", pa.string()),
    ]
)
_VERSION = 1
_COLUMNS = ("id", "image", "captions", "caption_kind", "metadata")

Written = dict[int, list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class CaptionStep:
    """Staged rows in, the captions that were written for them out."""

    work: Path
    metadata: MetadataCaptionSettings
    machine: MachineCaptionSettings | None = None
    """What captions rows without a caption; None leaves them without."""
    name: str = "captions"

    @property
    def on_gpu(self) -> bool:
        """Only the machine needs one."""
        return self.machine is not None

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        weights = []
        if self.machine is not None:
            scorers = [self.machine.first_scorer, *([self.machine.second_scorer] if self.machine.second_scorer else [])]
            weights = [model_identity(settings.model) for settings in (self.machine.captioner, *scorers)]
        machine = asdict(self.machine) if self.machine is not None else None
        return {"version": _VERSION, "metadata": asdict(self.metadata), "machine": machine, "weights": weights}

    def open(self) -> Callable[[Task], Result]:
        """Return the function that captions a shard; models are loaded by the first batch, and stay."""
        return partial(_caption_shard, self)


def _caption_shard(step: CaptionStep, task: Task) -> Result:
    inputs = task["inputs"]
    count = ShardCount(rows_in=len(inputs["rows"]))
    path = step.work / step.name / f"{task['shard']}.parquet"
    rows = write_ordered(
        path,
        _captioned_rows(step, inputs, count),
        CAPTION_SCHEMA,
        order_by="position",
        row_group_rows=len(inputs["rows"]),
    )
    return {"shard": task["shard"], **shard_result(path, step.work, rows, count.facts())}


def _captioned_rows(step: CaptionStep, inputs: Mapping[str, Any], count: ShardCount) -> Iterator[dict[str, Any]]:
    columns = _COLUMNS if step.machine is not None else [name for name in _COLUMNS if name != "image"]
    rows = zip(inputs["rows"], joined_rows(step.work, inputs["files"], inputs["rows"], columns), strict=True)
    while batch := list(islice(rows, STAGED_ROW_GROUP_ROWS)):
        staged = [row for _, row in batch]
        written = _machine_captions(step, staged)
        for number, captions in _metadata_captions(step, staged).items():
            written.setdefault(number, []).extend(captions)
        for number, (position, row) in enumerate(batch):
            captions = written.get(number, [])
            caption = preferred_caption(all_captions({**row, "written_captions": captions}))
            if caption is None:
                count.reject(row["id"], "no_caption", "its source has none, and none could be written")
                continue
            yield {"position": position, "written_captions": captions, "caption_key": caption_key(caption)}


def _machine_captions(step: CaptionStep, rows: Sequence[Mapping[str, Any]]) -> Written:
    """Captions of the rows that have none."""
    lacking = [number for number, row in enumerate(rows) if not row["captions"]]
    if step.machine is None or not lacking:
        return {}
    images = [decoded_rgb(rows[number]["image"]) for number in lacking]
    # Rejects need no name of their own here: a row that ends without any caption is counted as such.
    captioned, _ = caption_images(images, [rows[number]["id"] for number in lacking], step.machine)
    return {lacking[made.row]: [dict(entry) for entry in made.entries()] for made in captioned}


def _metadata_captions(step: CaptionStep, rows: Sequence[Mapping[str, Any]]) -> Written:
    """Captions of the rows whose metadata say something."""
    known = [number for number, row in enumerate(rows) if row["metadata"]]
    facts = [json.loads(rows[number]["metadata"]) for number in known]
    ids = [rows[number]["id"] for number in known]
    # Estimates are high, so what fits by them fits by any tokenizer of a CLIP.
    written, _ = write_metadata_captions(
        ids, facts, step.metadata, count_tokens=lambda text: len(estimate_offsets(text))
    )
    return {known[made.row]: [{"text": made.text, "kind": "metadata", "score": None}] for made in written}
