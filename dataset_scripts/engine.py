"""Runs the tasks of a step in worker processes, on this machine or on a Ray cluster.

The engine is Daft: one program runs natively (processes of this machine, no service to start) and on Ray, where the
workers are actors that may hold a GPU. `benchmarks/engine.py` compares it with Ray Data on our own stages.
"""

import json
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast

Task = Mapping[str, Any]
Result = dict[str, Any]

# Errors that a user can act on keep their message; any other comes with its traceback.
_PLAIN_ERRORS = ("DiskFullError", "ValueError", "FileNotFoundError", "PermissionError", "ImportError")

_QUIET = {"DAFT_ANALYTICS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0", "RAY_USAGE_STATS_ENABLED": "0"}


# How long threads of the engine may take to leave Python; they need milliseconds.
_LEAVING_SECONDS = 5.0


class Work(Protocol):
    """What a worker process is given; it must pickle."""

    def open(self) -> Callable[[Task], Result]:
        """Load what is needed once (such as a model), and return the function of one task."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where the work is done. The result does not depend on it."""

    engine: Literal["local", "ray"] = "local"
    """`local`: worker processes on this machine. `ray`: actors on a Ray cluster that shares the file system."""
    workers: int = max(1, os.cpu_count() or 1)
    """Worker processes, or actors."""
    gpus_per_worker: float = 0.0
    """GPUs that each worker of a model step holds on Ray; a fraction lets several share one."""
    ray_address: str | None = None
    """Address of a running Ray cluster; without it Ray is started on this machine."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}; it must be at least 1.")
        if self.gpus_per_worker < 0:
            raise ValueError(f"gpus_per_worker is {self.gpus_per_worker}; it must not be negative.")
        if self.ray_address is not None and self.engine != "ray":
            raise ValueError("ray_address is given, but the engine is local; add --engine ray.")


class TaskFailedError(RuntimeError):
    """A task failed; the message is that of the worker."""


class WorkerLostError(TaskFailedError):
    """A worker process was killed, by the system for its memory for example."""


def run_tasks(work: Work, tasks: Sequence[Task], config: EngineConfig, *, on_gpu: bool = False) -> Iterator[Result]:
    """Yield the result of every task as it is finished, in no particular order.

    Raises:
        TaskFailedError: a task raised, or a worker process was lost. Tasks that had finished are not lost: their
            results came before.
    """
    if not tasks:
        return
    # Neither the engine nor Ray may call home; both look at this when they are imported.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import daft

    _choose_runner(config.engine, config.ray_address)
    worker = daft.cls(
        _Worker,
        use_process=None if config.engine == "ray" else True,
        max_concurrency=min(config.workers, len(tasks)),
        gpus=config.gpus_per_worker if on_gpu and config.engine == "ray" else 0,
    )(pickle.dumps(work))
    table = daft.from_pydict({"task": [json.dumps(task) for task in tasks]}).into_batches(1)
    results = table.select(worker.run(table["task"]).alias("result"))
    rows = cast(Generator[dict[str, Any], None, None], results.iter_rows(results_buffer_size=1))
    with _threads_left_behind_are_awaited(), closing(rows):
        for row in _named_losses(rows):
            result = json.loads(row["result"])
            if "error" in result:
                raise TaskFailedError(result["error"])
            yield result


class _Worker:
    """Lives in a worker process; errors travel as values, because the engine would bury their text."""

    def __init__(self, work: bytes) -> None:
        self._work = work
        self._function: Callable[[Task], Result] | None = None

    def run(self, task: str) -> str:
        try:
            if self._function is None:
                self._function = pickle.loads(self._work).open()
            return json.dumps(self._function(json.loads(task)))
        except Exception as error:  # the boundary of a process: everything is reported, nothing hidden
            return json.dumps({"error": _text_of(error)})


def _named_losses(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say what it means when a worker process is gone; the engine speaks of a connection."""
    try:
        yield from rows
    except (RuntimeError, ConnectionError) as error:
        if not isinstance(error, ConnectionError) and "UDF process" not in str(error):
            raise
        raise WorkerLostError(
            "a worker process ended in the middle of its task: it was killed, perhaps because memory ran out. What is "
            "finished is kept: run the same command again, with fewer --workers or --rows-per-part if memory is short."
        ) from error


@contextmanager
def _threads_left_behind_are_awaited() -> Iterator[None]:
    """Wait in the end until threads that came from outside Python have left it.

    The engine has threads of its own that tell Python of results; one that is still inside when the interpreter ends
    brings the process down, with the right answer given and the wrong exit status.
    """
    before = set(sys._current_frames())
    try:
        yield
    finally:
        deadline = time.monotonic() + _LEAVING_SECONDS
        while _foreign_threads() - before and time.monotonic() < deadline:
            time.sleep(0.001)


def _foreign_threads() -> set[int]:
    return set(sys._current_frames()).difference(thread.ident for thread in threading.enumerate() if thread.ident)


@cache
def _choose_runner(engine: str, ray_address: str | None) -> None:
    """Tell Daft where to run. It can be told once in a process; another choice later is an error of its own."""
    import daft

    if engine == "ray":
        daft.set_runner_ray(address=ray_address, noop_if_initialized=True)
    else:
        daft.set_runner_native()


def _text_of(error: Exception) -> str:
    if type(error).__name__ in _PLAIN_ERRORS:
        return str(error)
    return "".join(traceback.format_exception(error))
