"""Downloads the images of rows that have an address only; checks them as the read step checks what is on disk.

A shard notes every outcome. When the build is run again, rows that failed for a reason that may pass are asked for
again, all others are taken over; so an outage costs no finished work, and a dead address is asked for once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..engine import Result, Task
from ..journal import ShardRecord
from ..ordered_parquet import write_ordered
from ..stages.decode_check import DEFAULT_LIMITS, DecodeLimits
from ..stages.download import TRANSIENT_REASONS, Downloaded, DownloadRequest, download_images
from ..stages.download_limits import DownloadLimits
from ..stages.image_facts import rgb_facts
from ..stages.rejects import RefusedError
from ..step import ShardCount, shard_result
from .staged_rows import STAGED_ROW_GROUP_ROWS, iterate_rows, joined_rows

DOWNLOAD_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("id", pa.string()),
        ("image", pa.binary()),
        ("image_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("perceptual_hash", pa.uint64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
_VERSION = 1
# A batch is in memory at once.
_BATCH_ROWS = 64
_COLUMNS = ("id", "url", "published_sha256")


@dataclass(frozen=True, kw_only=True)
class DownloadStep:
    """Staged rows with addresses in, their images out."""

    work: Path
    limits: DownloadLimits = field(default_factory=DownloadLimits)
    decode_limits: DecodeLimits = DEFAULT_LIMITS
    name: str = "download"
    on_gpu: bool = False

    def identity(self) -> dict[str, Any]:
        """Settings that decide the content. How fast and how often we ask does not."""
        return {"version": _VERSION, "decode_limits": asdict(self.decode_limits), "max_bytes": self.limits.max_bytes}

    def open(self) -> Callable[[Task], Result]:
        """Return the function that downloads a shard."""
        return partial(_download_shard, self)


def may_pass(record: ShardRecord) -> bool:
    """Whether rows of a finished shard failed for a reason that another try may mend."""
    return any(record.facts["rejected"].get(reason) for reason in TRANSIENT_REASONS)


def _download_shard(step: DownloadStep, task: Task) -> Result:
    inputs = task["inputs"]
    count = ShardCount(rows_in=len(inputs["rows"]))
    path = step.work / step.name / f"{task['shard']}.parquet"
    write_ordered(
        path,
        _outcomes(step, inputs, task["previous"], count),
        DOWNLOAD_SCHEMA,
        order_by="position",
        row_group_rows=STAGED_ROW_GROUP_ROWS,
        uncompressed=("image",),
    )
    kept = count.rows_in - count.rejected.total()
    return {"shard": task["shard"], **shard_result(path, step.work, kept, count.facts())}


def _outcomes(
    step: DownloadStep, inputs: Mapping[str, Any], previous: str | None, count: ShardCount
) -> Iterator[dict[str, Any]]:
    wanted = zip(inputs["rows"], joined_rows(step.work, inputs["files"], inputs["rows"], _COLUMNS), strict=True)
    rows = {row["id"]: {**row, "position": position} for position, row in wanted}
    for outcome in _taken_over(step.work, previous):
        row = rows.pop(outcome["id"], None)
        if row is not None:
            if outcome["reason"] is not None:
                count.reject(row["id"], outcome["reason"], outcome["detail"])
            yield {**outcome, "position": row["position"]}
    left = iter(rows.values())
    while batch := list(islice(left, _BATCH_ROWS)):
        yield from _downloaded(step, batch, count)


def _taken_over(work: Path, previous: str | None) -> Iterator[dict[str, Any]]:
    """Outcomes of an earlier try that stand."""
    if previous is None or not (work / previous).exists():
        return
    for outcome in iterate_rows(work / previous):
        if outcome["reason"] not in TRANSIENT_REASONS:
            yield outcome


def _downloaded(step: DownloadStep, rows: Sequence[dict[str, Any]], count: ShardCount) -> Iterator[dict[str, Any]]:
    found, rejects = download_images([DownloadRequest(url=row["url"]) for row in rows], step.limits)
    failures = [(rows[reject.row], reject.reason, reject.detail) for reject in rejects]
    for download in found:
        row = rows[download.row]
        try:
            yield {"position": row["position"], "id": row["id"], **_checked(step, download, row)}
        except RefusedError as refusal:
            failures.append((row, refusal.reason, refusal.detail))
    for row, reason, detail in failures:
        count.reject(row["id"], reason, f"{row['url'][:200]}: {detail}")
        yield {"position": row["position"], "id": row["id"], "reason": reason, "detail": detail}


def _checked(step: DownloadStep, download: Downloaded, row: Mapping[str, Any]) -> dict[str, Any]:
    """Check the image, and that it is the one which the source has seen: before or after metadata were taken out."""
    facts = rgb_facts(download.data, step.decode_limits)
    published = row["published_sha256"]
    if published is not None and published not in (download.sha256, facts["sha256"]):
        raise RefusedError("content_changed", f"sha256 is {download.sha256}, the source published {published}")
    return facts
