"""Gives an infrared partner to rows that have none: RGB to infrared by a translator."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from ..engine import Result, Task
from ..ordered_parquet import write_ordered
from ..stages.decode_check import DEFAULT_LIMITS, DecodeLimits
from ..stages.image_facts import infrared_facts, upright
from ..stages.rejects import RefusedError
from ..stages.translate import TranslationInput, Translator, TranslatorSettings, open_translator
from ..step import ShardCount, shard_result
from .model_identity import model_identity
from .staged_rows import STAGED_ROW_GROUP_ROWS, joined_rows

INFRARED_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("infrared", pa.binary()),
        ("infrared_bytes", pa.int64()),
        ("infrared_sha256", pa.string()),
        ("infrared_hash", pa.uint64()),
        ("infrared_origin", pa.string()),
        ("infrared_band", pa.string()),
    ]
)
_VERSION = 1
_COLUMNS = ("id", "image", "width", "height", "captions")


@dataclass(frozen=True, kw_only=True)
class InfraredStep:
    """Staged rows in, their translated infrared images out."""

    work: Path
    translator: TranslatorSettings
    band: str
    """The band that the translator imitates."""
    limits: DecodeLimits = DEFAULT_LIMITS
    name: str = "infrared"

    @property
    def on_gpu(self) -> bool:
        """A translator with a model may hold a GPU."""
        return self.translator.name != "luminance"

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        weights = model_identity(self.translator.checkpoint) if self.translator.checkpoint else None
        return {"version": _VERSION, "translator": asdict(self.translator), "band": self.band, "weights": weights}

    def open(self) -> Callable[[Task], Result]:
        """Load the translator, and return the function that translates a shard."""
        translator = open_translator(self.translator)
        if translator.band not in (None, self.band):
            raise ValueError(
                f"the translator {self.translator.checkpoint} makes {translator.band} images, and the rows would say "
                f"{self.band}; give --translator.band {translator.band}."
            )
        return lambda task: _translate_shard(self, translator, task)


def _translate_shard(step: InfraredStep, translator: Translator, task: Task) -> Result:
    inputs = task["inputs"]
    count = ShardCount(rows_in=len(inputs["rows"]))
    path = step.work / step.name / f"{task['shard']}.parquet"
    rows = write_ordered(
        path,
        _translated_rows(step, translator, inputs, count),
        INFRARED_SCHEMA,
        order_by="position",
        row_group_rows=STAGED_ROW_GROUP_ROWS,
        uncompressed=("infrared",),
    )
    return {"shard": task["shard"], **shard_result(path, step.work, rows, count.facts())}


def _translated_rows(
    step: InfraredStep, translator: Translator, inputs: Mapping[str, Any], count: ShardCount
) -> Iterator[dict[str, Any]]:
    positions = inputs["rows"]
    batch: list[dict[str, Any]] = []
    for position, row in zip(positions, joined_rows(step.work, inputs["files"], positions, _COLUMNS), strict=True):
        batch.append({**row, "position": position})
        if len(batch) == STAGED_ROW_GROUP_ROWS:
            yield from _translated_batch(step, translator, batch, count)
            batch = []
    if batch:
        yield from _translated_batch(step, translator, batch, count)


def _translated_batch(
    step: InfraredStep, translator: Translator, rows: Sequence[dict[str, Any]], count: ShardCount
) -> Iterator[dict[str, Any]]:
    inputs = [TranslationInput(row["id"], _rgb(row["image"]), next(iter(row["captions"]), None)) for row in rows]
    translated, rejects = translator.translate(inputs)
    for reject in rejects:
        count.reject(rows[reject.row]["id"], reject.reason, reject.detail)
    for made in translated:
        row = rows[made.row]
        try:
            facts = infrared_facts(made.png, step.limits, rgb_size=(row["width"], row["height"]))
        except RefusedError as refusal:
            count.reject(row["id"], refusal.reason, refusal.detail)
            continue
        yield {
            "position": row["position"],
            **facts,
            "infrared_origin": translator.origin,
            "infrared_band": step.band,
        }


def _rgb(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return upright(image).convert("RGB")
