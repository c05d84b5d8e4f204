"""A step makes one shard for every task; what is finished is in the journal, and is not made again."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from .durable_files import file_sha256
from .engine import EngineConfig, Result, Task, run_tasks
from .journal import Journal, ShardRecord, content_key

SAMPLE_OF_REJECTS = 5


class Step(Protocol):
    """One kind of work on shards: a frozen dataclass that can be sent to another process."""

    @property
    def name(self) -> str:
        """Name in the journal and in the funnel."""

    @property
    def on_gpu(self) -> bool:
        """Whether its workers hold the GPUs of the engine's configuration."""

    def identity(self) -> Mapping[str, Any]:
        """Settings that decide the content of its shards; JSON-able. Whatever is in no identity may not matter."""

    def open(self) -> Callable[[Task], Result]:
        """Load what is needed once in a worker, and return the function that makes a shard."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to make."""

    shard: str
    """Name of the shard, unique in its step."""
    inputs: Mapping[str, Any]
    """What the worker needs; JSON-able. Part of the key: files of earlier steps are named with their SHA-256."""
    rows: int | None = None
    """Rows that go in, for the progress bar."""
    previous: str | None = None
    """File of an earlier attempt whose good rows are taken over; not part of the key."""


@dataclass
class ShardCount:
    """Counts rejects of one shard and keeps a few of each reason."""

    rows_in: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, str]] = field(default_factory=list)

    def reject(self, row_id: str, reason: str, detail: str = "") -> None:
        """Count a row that is left out."""
        self.rejected[reason] += 1
        if self.rejected[reason] <= SAMPLE_OF_REJECTS:
            self.sample.append({"id": row_id, "reason": reason, "detail": detail[:300]})

    def facts(self) -> dict[str, Any]:
        """JSON-able, for the journal."""
        return {"rows_in": self.rows_in, "rejected": dict(sorted(self.rejected.items())), "sample": self.sample}


def shard_result(path: Path, relative_to: Path, rows: int, facts: Mapping[str, Any]) -> Result:
    """What a worker returns of a shard that it wrote."""
    return {
        "file": path.relative_to(relative_to).as_posix(),
        "rows": rows,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "facts": dict(facts),
    }


def run_step(
    step: Step,
    tasks: Sequence[ShardTask],
    *,
    folder: Path,
    journal: Journal,
    engine: EngineConfig,
    redo: Callable[[ShardRecord], bool] = lambda record: False,
) -> list[ShardRecord]:
    """Make every shard that is not there yet, and return the records of all, in the order of the tasks.

    Args:
        step: what to do.
        tasks: a task for each shard.
        folder: where the files of the step are.
        journal: what is finished, and where it is noted.
        engine: where to run.
        redo: says of a finished shard that it is to be tried again.
    """
    identity = step.identity()
    keys = {task.shard: content_key(step.name, identity, task.inputs) for task in tasks}
    records: dict[str, ShardRecord] = {}
    for task in tasks:
        record = journal.find(step.name, task.shard, keys[task.shard], folder)
        if record is not None and not redo(record):
            records[task.shard] = record
    missing = [task for task in tasks if task.shard not in records]
    with _progress(step.name, tasks, missing) as bar:
        for result in run_tasks(step, [_message(task) for task in missing], engine, on_gpu=step.on_gpu):
            shard = result.pop("shard")
            record = ShardRecord(step=step.name, shard=shard, key=keys[shard], **result)
            journal.append(record)
            records[shard] = record
            bar.update(record.facts["rows_in"])
    return [records[task.shard] for task in tasks]


def stage_facts(name: str, records: Iterable[ShardRecord]) -> dict[str, Any]:
    """The manifest's account of a stage, summed over its shards."""
    return stage_account(name, [(record.facts["rows_in"], record.rows, record.facts) for record in records])


def stage_account(name: str, shards: Iterable[tuple[int, int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Sum (rows in, rows out, {rejected, sample}) of shards into one line of the funnel."""
    rejected: Counter[str] = Counter()
    sample: dict[str, list[dict[str, str]]] = {}
    rows_in = rows_out = 0
    for shard_rows_in, shard_rows_out, facts in shards:
        rows_in += shard_rows_in
        rows_out += shard_rows_out
        rejected.update(facts["rejected"])
        for reject in facts["sample"]:
            sample.setdefault(reject["reason"], []).append(reject)
    return {
        "stage": name,
        "rows_in": rows_in,
        "rows_out": rows_out,
        "rejected": dict(sorted(rejected.items())),
        "rejected_sample": [reject for reason in sorted(sample) for reject in sample[reason][:SAMPLE_OF_REJECTS]],
    }


def funnel_table(stages: Sequence[Mapping[str, Any]]) -> str:
    """The stages as a table for people, a line for each, and below it a line for each reason."""
    lines = [f"{'stage':<28}{'rows in':>12}{'rows out':>12}{'kept':>9}"]
    for stage in stages:
        share = f"{stage['rows_out'] / stage['rows_in']:.1%}" if stage["rows_in"] else "-"
        lines.append(f"{stage['stage']:<28}{stage['rows_in']:>12,}{stage['rows_out']:>12,}{share:>9}")
        lines += [f"    {reason:<24}{-count:>24,}" for reason, count in stage["rejected"].items()]
    return "\n".join(lines)


def _message(task: ShardTask) -> dict[str, Any]:
    return {"shard": task.shard, "inputs": task.inputs, "previous": task.previous}


def _progress(name: str, tasks: Sequence[ShardTask], missing: Sequence[ShardTask]) -> Any:
    """A bar over rows where their number is known before they are read, with what is done already."""
    known = all(task.rows is not None for task in tasks)
    total = sum(task.rows or 0 for task in tasks) if known else None
    done = total - sum(task.rows or 0 for task in missing) if total is not None else 0
    return tqdm(total=total, initial=done, unit=" rows", desc=name, disable=not missing)


def task_json(value: Any) -> str:
    """JSON text of a value that is kept in a column."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
