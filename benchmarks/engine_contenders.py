"""Runs the read step of the builds under one engine, in this process: `benchmarks/engine.py` starts one for each run.

Every engine is given the same tasks, and the same function that makes a shard of one.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tyro

from dataset_scripts.engine import EngineConfig, Result, Task, Work, run_tasks
from dataset_scripts.sources.image_folder import ImageFolder
from dataset_scripts.steps.read_step import ReadStep

Run = Callable[[Work, Sequence[Task], int], list[Result]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one engine."""

    name: str
    """A name of CONTENDERS."""
    images: Path
    """Folder of images with captions."""
    work: Path
    """Folder for the staged shards."""
    output: Path
    """JSON file to write."""
    workers: int = 2
    rows_per_part: int = 100


@dataclass(frozen=True)
class NoWork:
    """A step whose tasks take no time, to time the engine alone."""

    def open(self) -> Callable[[Task], Result]:
        """Return the function of a task."""
        return _same


def main(job: Job) -> None:
    """Time two steps without work, the first of which starts the engine, then the read step."""
    run = CONTENDERS[job.name]
    nothing = [{"shard": str(number)} for number in range(job.workers)]
    step = ReadStep(sources=(ImageFolder(folder=job.images),), work=job.work, salt="rsclip-1")
    tasks = [{"shard": task.shard, "inputs": task.inputs} for task in step.tasks(job.rows_per_part)]
    seconds = []
    for work, these in ((NoWork(), nothing), (NoWork(), nothing), (step, tasks)):
        start = time.perf_counter()
        results = run(work, these, job.workers)
        seconds.append(time.perf_counter() - start)
    facts = {
        "start_up_seconds": seconds[0],
        "next_step_seconds": seconds[1],
        "seconds": seconds[2],
        "rows": sum(result["rows"] for result in results),
        "sha256": {result["shard"]: result["sha256"] for result in sorted(results, key=lambda result: result["shard"])},
    }
    job.output.write_text(json.dumps(facts))


def run_daft_native(work: Work, tasks: Sequence[Task], workers: int) -> list[Result]:
    """Our engine on this machine."""
    return list(run_tasks(work, tasks, EngineConfig(workers=workers)))


def run_daft_ray(work: Work, tasks: Sequence[Task], workers: int) -> list[Result]:
    """Our engine on a Ray that it starts."""
    return list(run_tasks(work, tasks, EngineConfig(engine="ray", workers=workers)))


def run_ray_data(work: Work, tasks: Sequence[Task], workers: int) -> list[Result]:
    """Ray Data with a pool of actors."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=max(workers, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"task": json.dumps(task)} for task in tasks]
    worker: Any = _RayWorker  # the types of `map` know functions only
    rows = ray.data.from_items(items, override_num_blocks=len(items)).map(
        worker, fn_constructor_args=(work,), compute=ray.data.ActorPoolStrategy(size=workers)
    )
    return [json.loads(row["result"]) for row in rows.iter_rows()]


def run_process_pool(work: Work, tasks: Sequence[Task], workers: int) -> list[Result]:
    """The standard library: no cluster, no account of lost workers; the floor of what an engine costs."""
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_open, initargs=(work,)) as pool:
        return list(pool.map(_call, tasks))


CONTENDERS: dict[str, Run] = {
    "daft_native": run_daft_native,
    "daft_ray": run_daft_ray,
    "ray_data": run_ray_data,
    "process_pool": run_process_pool,
}


class _RayWorker:
    def __init__(self, work: Work) -> None:
        self._function = work.open()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": json.dumps(self._function(json.loads(row["task"])))}


# What the processes of the pool have opened.
_opened: list[Callable[[Task], Result]] = []


def _open(work: Work) -> None:
    _opened.append(work.open())


def _call(task: Task) -> Result:
    return _opened[0](task)


def _same(task: Task) -> Result:
    return dict(task)


if __name__ == "__main__":
    # By its name, so that what is sent to other processes can be found there.
    from benchmarks.engine_contenders import Job as NamedJob
    from benchmarks.engine_contenders import main as named_main

    named_main(tyro.cli(NamedJob, description=__doc__))
