"""Runs the tasks of a build in this process, for tests that are not about the engine: no process to start, no wait."""

import json
import pickle
from collections.abc import Iterator, Sequence

from dataset_scripts.engine import EngineConfig, Result, Task, TaskFailedError, Work, _Worker


def run_inline(work: Work, tasks: Sequence[Task], config: EngineConfig, *, on_gpu: bool = False) -> Iterator[Result]:
    """As `run_tasks`, with everything that travels still travelling as bytes."""
    worker = _Worker(pickle.dumps(work))
    for task in tasks:
        result = json.loads(worker.run(json.dumps(task)))
        if "error" in result:
            raise TaskFailedError(result["error"])
        yield result
