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
from ..journal import ShardRecord, content_key
from ..ordered_parquet import write_ordered
from ..stages.decode_check import DEFAULT_LIMITS, DecodeLimits
from ..stages.download import TRANSIENT_REASONS, Downloaded, DownloadRequest, download_images
from ..stages.download_limits import DownloadLimits
from ..stages.image_facts import rgb_facts
from ..stages.rejects import RefusedError
from ..step import ShardCount, shard_result
from .staged_rows import STAGED_ROW_GROUP_ROWS, column_names, iterate_rows, joined_rows

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
        # Hash of the address, the published hash and the settings; an outcome stands for as long as these do.
        ("asked", pa.string()),
    ]
)
_VERSION = 2
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
        return {
            "version": _VERSION,
            "decode_limits": asdict(self.decode_limits),
            **download_rules(self.limits),
            "allowed_private_networks": self.limits.allowed_private_networks,
        }

    def open(self) -> Callable[[Task], Result]:
        """Return the function that downloads a shard."""
        return partial(_download_shard, self)


def download_rules(limits: DownloadLimits) -> dict[str, Any]:
    """What decides which images are kept, and not only how they are asked for."""
    return {name: getattr(limits, name) for name in ("max_bytes", "max_redirects", "honours_robots_txt")}


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
    """Yield an outcome for every row, and count the failures in the order of the rows."""
    failures: list[dict[str, Any]] = []
    for outcome in _all_outcomes(step, _wanted(step, inputs), previous):
        if outcome.get("reason") is not None:
            failures.append({name: outcome[name] for name in ("position", "id", "reason", "detail")})
        yield outcome
    for failure in sorted(failures, key=lambda one: one["position"]):
        count.reject(failure["id"], failure["reason"], failure["detail"])


def _wanted(step: DownloadStep, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = zip(inputs["rows"], joined_rows(step.work, inputs["files"], inputs["rows"], _COLUMNS), strict=True)
    rules = step.identity()
    return {
        row["id"]: {**row, "position": position, "asked": content_key(rules, row["url"], row["published_sha256"])}
        for position, row in rows
    }


def _all_outcomes(
    step: DownloadStep, rows: dict[str, dict[str, Any]], previous: str | None
) -> Iterator[dict[str, Any]]:
    for outcome in _standing(step.work, previous):
        row = rows.get(outcome["id"])
        if row is not None and row["asked"] == outcome["asked"]:
            del rows[outcome["id"]]
            yield {**outcome, "position": row["position"]}
    left = iter(rows.values())
    while batch := list(islice(left, _BATCH_ROWS)):
        yield from _downloaded(step, batch)


def _standing(work: Path, previous: str | None) -> Iterator[dict[str, Any]]:
    """Outcomes of an earlier try that another try would not change."""
    if previous is None or column_names(work / previous) != DOWNLOAD_SCHEMA.names:
        return
    for outcome in iterate_rows(work / previous):
        if outcome["reason"] not in TRANSIENT_REASONS:
            yield outcome


def _downloaded(step: DownloadStep, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    found, rejects = download_images([DownloadRequest(url=row["url"]) for row in rows], step.limits)
    failures = [(reject.row, reject.reason, reject.detail) for reject in rejects]
    for download in found:
        try:
            facts = _checked(step, download, rows[download.row])
        except RefusedError as refusal:
            failures.append((download.row, refusal.reason, refusal.detail))
        else:
            yield {**_named(rows[download.row]), **facts}
    for number, reason, detail in failures:
        yield {**_named(rows[number]), "reason": reason, "detail": f"{rows[number]['url'][:200]}: {detail}"}


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("position", "id", "asked")}


def _checked(step: DownloadStep, download: Downloaded, row: Mapping[str, Any]) -> dict[str, Any]:
    """Check the image, and that it is the one which the source has seen: before or after metadata were taken out."""
    facts = rgb_facts(download.data, step.decode_limits)
    published = row["published_sha256"]
    if published is not None and published not in (download.sha256, facts["sha256"]):
        raise RefusedError("content_changed", f"sha256 is {download.sha256}, the source published {published}")
    return facts
