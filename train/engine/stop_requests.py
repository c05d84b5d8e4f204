"""SIGTERM asks a run to save and to end; all processes must agree on it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

# What a shell reports of a process that SIGTERM ended; here after a checkpoint was saved.
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals that asked to stop, in a list that fills as they come; a launcher may send several."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def on_any_process(accelerator: Accelerator, value: bool) -> bool:
    """Whether it is so on any process: all must take part in saving, or none."""
    if accelerator.num_processes == 1:
        return value
    flag = torch.tensor(float(value), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)
