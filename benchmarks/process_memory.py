"""Runs a command and samples the memory of its process and of all its descendants. Linux only (/proc).

Resident memory counts pages of mapped files, which the kernel takes back when it needs them; anonymous memory does
not. Sums of resident memory over processes count shared pages once for each.
"""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass
class PeakMemory:
    """Largest values over all samples, each on its own."""

    resident_mib: float = 0.0
    anonymous_mib: float = 0.0

    def see(self, resident_mib: float, anonymous_mib: float) -> None:
        """Take a sample into account."""
        self.resident_mib = max(self.resident_mib, round(resident_mib, 1))
        self.anonymous_mib = max(self.anonymous_mib, round(anonymous_mib, 1))


@dataclass
class SampledRun:
    """What a command took."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all processes; those that nobody waited for, as last sampled."""
    driver: PeakMemory = field(default_factory=PeakMemory)
    """The process of the command."""
    largest_worker: PeakMemory = field(default_factory=PeakMemory)
    """The largest of its descendants."""
    all_workers: PeakMemory = field(default_factory=PeakMemory)
    """All descendants that live at one time, together."""
    all_processes: PeakMemory = field(default_factory=PeakMemory)
    """The process and all its descendants at one time, together."""
    most_processes: int = 0
    samples: int = 0

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        rounded = {"wall_seconds": round(self.wall_seconds, 2), "cpu_seconds": round(self.cpu_seconds, 2)}
        return {**asdict(self), **rounded}


def run_sampled(
    command: Sequence[str],
    *,
    log: Path,
    interval_seconds: float = 0.1,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> SampledRun:
    """Run a command to its end.

    Args:
        command: program and arguments.
        log: file for what it prints.
        interval_seconds: between samples; a peak that is shorter may be missed.
        environment: variables to add.
        folder: where to run it.

    Raises:
        RuntimeError: it failed; the message has the end of the log.
    """
    run = SampledRun()
    cpu_of: dict[int, float] = {}
    children_before = _cpu_of_children()
    start = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}, cwd=folder
        )
        try:
            while process.poll() is None:
                _sample(process.pid, run, cpu_of)
                time.sleep(interval_seconds)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    run.wall_seconds = time.perf_counter() - start
    run.cpu_seconds = max(_cpu_of_children() - children_before, sum(cpu_of.values()))
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return run


def _sample(root: int, run: SampledRun, cpu_of: dict[int, float]) -> None:
    tree = _descendants(root, cpu_of)
    memory = {pid: found for pid in tree if (found := _memory_mib(pid)) is not None}
    run.all_processes.see(*_sums(memory))
    if root in memory:
        run.driver.see(*memory.pop(root))
    for resident, anonymous in memory.values():
        run.largest_worker.see(resident, anonymous)
    run.all_workers.see(*_sums(memory))
    run.most_processes = max(run.most_processes, len(tree))
    run.samples += 1


def _sums(memory: Mapping[int, tuple[float, float]]) -> tuple[float, float]:
    return sum(resident for resident, _ in memory.values()), sum(own for _, own in memory.values())


def _descendants(root: int, cpu_of: dict[int, float]) -> list[int]:
    """The process and all below it; notes how much CPU time each has had."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of the program, in parentheses, may hold anything.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid, parent = int(entry.name), int(fields[1])
        children.setdefault(parent, []).append(pid)
        seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    tree, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        tree.append(pid)
        waiting += children.get(pid, [])
    cpu_of.update({pid: seconds[pid] for pid in tree if pid in seconds})
    return tree


def _memory_mib(pid: int) -> tuple[float, float] | None:
    """Resident and anonymous memory; None for a process that has ended."""
    try:
        text = (_PROC / str(pid) / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    lines = dict(line.partition(":")[::2] for line in text.splitlines())
    if "RssAnon" not in lines:  # it has ended, and nobody has waited for it yet
        return None
    resident, anonymous = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
