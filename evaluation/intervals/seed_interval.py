"""What several runs that differ in their seed say together: Student's t over the runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# Two-sided 95 %, by degrees of freedom.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
MOST_SEEDS = len(T_95) + 1


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean with its 95 % interval, and the values themselves; one value has no interval."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return {"mean": mean, "low": None, "high": None, "values": list(values)}
    half = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def paired(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Differences seed by seed; what has one value, because nothing in it is drawn, is compared with every seed."""
    count = max(len(one), len(other))
    if len(one) not in (1, count) or len(other) not in (1, count):
        raise ValueError(f"{len(one)} values cannot be paired with {len(other)}; wanted equal seeds, or one value.")
    return [one[seed % len(one)] - other[seed % len(other)] for seed in range(count)]


def seed_differences(runs: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each metric of an arm less that of the baseline, seed by seed."""
    return {
        name: over_seeds(paired(found["values"], base[name]["values"])) for name, found in runs.items() if name in base
    }


def summarize_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Each metric over the seeds."""
    return {name: over_seeds([run[name] for run in runs]) for name in runs[0]}


def key(exam: str, metric: str) -> str:
    """What a metric of an exam is called in the record of a study; an exam without a name is its only or first one."""
    return f"{exam}/{metric}" if exam else metric


def scale(metric: str) -> float:
    """Shares are shown in percent, decibels as they are."""
    return 1.0 if metric.endswith("psnr") else 100.0


def with_interval(found: Mapping[str, Any], metric: str) -> str:
    """A mean with its interval, as far as it has one."""
    times = scale(metric)
    mean = f"{times * found['mean']:.1f}"
    return mean if found["low"] is None else f"{mean} [{times * found['low']:.1f}, {times * found['high']:.1f}]"
