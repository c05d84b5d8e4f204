"""Times contenders in interleaved rounds, so that a noisy moment hits all; rates and ratios with their spread."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIN_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One job, and who does it."""

    name: str
    what: str
    """The job, and what is compared, in one sentence."""
    rows: int
    ours: Mapping[str, Callable[[], Any]]
    """Our own ways."""
    peers: Mapping[str, Callable[[], Any] | None]
    """What a user would otherwise run; None for a peer that is not installed."""
    has_warm_up: bool = True
    """Whether every contender runs once before the rounds; not where that takes minutes."""
    agreement: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda results: {}
    """Compares the last results of all contenders, by name; JSON-able."""


def measure_side_by_side(comparison: Comparison, rounds: int) -> dict[str, Any]:
    """Run every contender once in each round; return rates, ratios within rounds, and agreement of the last results."""
    if rounds < MIN_ROUNDS:
        raise ValueError(f"rounds is {rounds}; a spread needs at least {MIN_ROUNDS}.")
    present = {name: run for name, run in comparison.peers.items() if run is not None}
    absent = [name for name, run in comparison.peers.items() if run is None]
    contenders = {**comparison.ours, **present}
    names = list(contenders)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    results: dict[str, Any] = {name: run() for name, run in contenders.items()} if comparison.has_warm_up else {}
    for number in range(rounds):
        # Each round begins with another contender.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start, cpu_start = time.perf_counter(), time.process_time()
            results[name] = contenders[name]()
            cpu[name].append(time.process_time() - cpu_start)
            wall[name].append(time.perf_counter() - start)
            print(f"{comparison.name}: {name} {wall[name][-1]:.3f} s", file=sys.stderr, flush=True)
    return {
        "name": comparison.name,
        "what": comparison.what,
        "rows": comparison.rows,
        "rows_per_second": {name: rates(comparison.rows, wall[name]) for name in names},
        "rows_per_cpu_second": {name: rates(comparison.rows, cpu[name]) for name in names},
        "ratios": {
            f"{own}_over_{peer}": {"wall": ratios(wall[peer], wall[own]), "cpu": ratios(cpu[peer], cpu[own])}
            for own in comparison.ours
            for peer in present
        },
        "absent_peers": absent,
        "agreement": dict(comparison.agreement(results)),
    }


def equal_results(*names: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """An agreement that says whether contenders return the same."""
    return lambda results: {"equal_results": all(results[name] == results[names[0]] for name in names)}


def rates(rows: int, seconds: Sequence[float]) -> dict[str, float]:
    """Rows a second: of the median round, and of the slowest and the fastest."""
    return {
        "median": rounded(rows / statistics.median(seconds)),
        "min": rounded(rows / max(seconds)),
        "max": rounded(rows / min(seconds)),
    }


def ratios(peer: Sequence[float], own: Sequence[float]) -> dict[str, float]:
    """How many times faster we are, within each round."""
    each = [theirs / ours for theirs, ours in zip(peer, own, strict=True)]
    return {"median": rounded(statistics.median(each)), "min": rounded(min(each)), "max": rounded(max(each))}


def rounded(value: float) -> float:
    """Four figures; more is noise."""
    return float(f"{value:.4g}")
