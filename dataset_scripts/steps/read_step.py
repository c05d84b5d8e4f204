"""Reads the parts of the sources: keyword selection of web rows, decode check, metadata stripped, hashes."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..engine import Result, Task
from ..ordered_parquet import write_ordered
from ..rights import license_text
from ..sources.source_row import Part, Source, SourceRow
from ..stages.caption_key import caption_key
from ..stages.decode_check import DEFAULT_LIMITS, DecodeLimits
from ..stages.image_facts import infrared_facts, rgb_facts
from ..stages.keyword_selection import find_keyword
from ..stages.rejects import RefusedError, Reject
from ..step import ShardCount, ShardTask, shard_result, task_json
from .staged_rows import IMAGE_BYTES, READ_SCHEMA, STAGED_ROW_GROUP_ROWS, shuffle_key

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ReadStep:
    """Parts of sources in, staged rows out."""

    sources: tuple[Source, ...]
    work: Path
    """Folder of the build's own files."""
    salt: str
    """Decides the order of the rows."""
    limits: DecodeLimits = DEFAULT_LIMITS
    needs_caption: bool = True
    """Whether a row without a caption is left out."""
    needs_image: bool = False
    """Whether a row with an address only is left out."""
    name: str = "read"
    on_gpu: bool = False

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content."""
        return {
            "version": _VERSION,
            "salt": self.salt,
            "limits": asdict(self.limits),
            "needs_caption": self.needs_caption,
            "needs_image": self.needs_image,
        }

    def tasks(self, rows_per_part: int) -> list[ShardTask]:
        """List a task for every part of every source."""
        return [
            ShardTask(
                shard=f"{number}-{part.name}",
                inputs={"source": number, "settings": _settings(source), "part": asdict(part)},
                rows=part.rows,
            )
            for number, source in enumerate(self.sources)
            for part in source.parts(rows_per_part)
        ]

    def open(self) -> Callable[[Task], Result]:
        """Return the function that reads a part."""
        return partial(_read_part, self)


def _read_part(step: ReadStep, task: Task) -> Result:
    source = step.sources[task["inputs"]["source"]]
    part = Part(**task["inputs"]["part"])
    count = ShardCount()
    path = step.work / step.name / f"{task['shard']}.parquet"
    rows = write_ordered(
        path,
        _staged_rows(step, source, part, count),
        READ_SCHEMA,
        order_by="shuffle_key",
        row_group_rows=STAGED_ROW_GROUP_ROWS,
        uncompressed=IMAGE_BYTES,
    )
    return {"shard": task["shard"], **shard_result(path, step.work, rows, count.facts())}


def _staged_rows(step: ReadStep, source: Source, part: Part, count: ShardCount) -> Iterator[dict[str, Any]]:
    for item in source.read(part):
        count.rows_in += 1
        if isinstance(item, Reject):
            count.reject(f"{part.name}, row {item.row}", item.reason, item.detail)
            continue
        try:
            yield _staged_row(step, item)
        except RefusedError as refusal:
            count.reject(f"{item.source}:{item.source_id}", refusal.reason, refusal.detail)


def _staged_row(step: ReadStep, row: SourceRow) -> dict[str, Any]:
    row_id = f"{row.source}:{row.source_id}"
    if step.needs_caption and not row.captions:
        raise RefusedError("no_caption", "")
    if row.image is None and row.url is None:
        raise RefusedError("no_image", "neither bytes nor an address")
    if row.image is None and step.needs_image:
        raise RefusedError("no_image", "an address only; build rs5m of it first, and take that as a source")
    # Whoever wrote the captions: the sets of addresses are too large to download for their few images from above.
    if row.image is None and not any(map(find_keyword, row.captions)):
        raise RefusedError("no_keyword", " | ".join(row.captions)[:200])
    return {
        "id": row_id,
        "source": row.source,
        "source_id": row.source_id,
        "url": row.url,
        "published_sha256": row.sha256,
        **_images(row, step.limits),
        "captions": list(row.captions),
        "caption_kind": row.caption_kind,
        "infrared_captions": list(row.infrared_captions),
        "has_infrared_captions": bool(row.infrared_captions),
        "class_name": row.class_name,
        "license": license_text(row.license, row.caption_license or row.license),
        "attribution": row.attribution,
        "split": row.split,
        "metadata": task_json(row.metadata) if row.metadata else None,
        "caption_key": caption_key(row.captions[0]) if row.captions else None,
        "shuffle_key": shuffle_key(step.salt, row_id),
    }


def _images(row: SourceRow, limits: DecodeLimits) -> dict[str, Any]:
    if row.image is None:
        return {}
    rgb = rgb_facts(row.image, limits)
    if row.infrared is None:
        return rgb
    infrared = infrared_facts(row.infrared, limits, rgb_size=(rgb["width"], rgb["height"]))
    return {**rgb, **infrared, "infrared_origin": row.infrared_origin, "infrared_band": row.infrared_band}


def _settings(source: Source) -> Any:
    """What of a source decides its rows, beside the part: all its fields."""
    return task_json({name: str(value) for name, value in asdict(source).items()})  # type: ignore[call-overload]
