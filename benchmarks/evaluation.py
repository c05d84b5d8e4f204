"""Exact recall at k in both directions beside the bare product and what others do, long galleries, and intervals.

python -m benchmarks.evaluation --output benchmarks/results/evaluation.json
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from evaluation.intervals.cluster_bootstrap import Outcomes, differences, mean_score, with_intervals

from .process_memory import run_sampled
from .record import provenance, write_record
from .side_by_side import MIN_ROUNDS, ratios, rounded

PRODUCT = "bare_product"
ONE_WAY, BOTH_WAYS = "ranks_one_way", "ranks_both_ways"
PEERS = ("full_matrix_topk", "full_matrix_argsort")
SAMPLING_SECONDS = 0.05
ROWS_AT_ONCE = 50_000
# Half of the queries find their entry first.
TRAINED = 6.0
# So much noise that the positive is anywhere: the most entries compete, and the most need float64.
UNTRAINED = 1000.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    output: Path
    """JSON file to write."""
    rows: int = 50_000
    """Pairs of the large comparison."""
    peer_rows: int = 10_000
    """Pairs of the comparison with peers, which hold the whole matrix."""
    galleries: tuple[int, ...] = (250_000, 500_000, 1_000_000)
    """Entries of the memory-mapped galleries, ascending."""
    gallery_queries: int = 1000
    """Queries of each of them."""
    bootstrap_rows: int = 10_000
    """Rows of the intervals; five to an image."""
    rounds: int = 3
    """Rounds; every contender runs once in each."""
    threads: int = 2
    """Threads of the product, in every contender."""


def main(config: Config) -> None:
    """Run everything and write it."""
    if config.rounds < MIN_ROUNDS:
        raise ValueError(f"rounds is {config.rounds}; a spread needs at least {MIN_ROUNDS}.")
    record: dict[str, Any] = {
        "what": "recall at 1, 5, 10 over embeddings of width 512; every run is a process of its own; memory is "
        "anonymous memory above that of the inputs; ratios are within rounds, bare product = 1",
        "threads": config.threads,
        **provenance(("numpy", "torch")),
    }
    sections: dict[str, Callable[[], Any]] = {
        "large": lambda: compare((PRODUCT, BOTH_WAYS), config.rows, TRAINED, config),
        "peers": lambda: compare((PRODUCT, ONE_WAY, BOTH_WAYS, *PEERS), config.peer_rows, TRAINED, config),
        "untrained": lambda: compare((PRODUCT, ONE_WAY, BOTH_WAYS), config.peer_rows, UNTRAINED, config),
        "intervals": lambda: measure_intervals(config.bootstrap_rows),
        "long_galleries": lambda: measure_galleries(config),
    }
    # Written after each section, as all of them take a while.
    for name, measure in sections.items():
        record[name] = {"load_before": round(os.getloadavg()[0], 2), "found": measure()}
        write_record(config.output, record)
    print(json.dumps(record, indent=2))


def compare(names: Sequence[str], rows: int, noise: float, config: Config) -> dict[str, Any]:
    """Rounds of every job in turn; each round begins with another."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    options = ["--queries", str(rows), "--gallery", str(rows), "--noise", str(noise)]
    for number in range(config.rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            runs[name].append(run_job(name, options, config.threads))
    product = runs[PRODUCT]
    recalls = [runs[name][0]["recalls"] for name in names if name != PRODUCT]
    return {
        "rows": rows,
        "noise": noise,
        "seconds": {name: rounded(statistics.median(column(runs[name], "seconds"))) for name in names},
        "over_product": {
            name: {kind: ratios(column(runs[name], kind), column(product, kind)) for kind in ("seconds", "cpu_seconds")}
            for name in names
            if name != PRODUCT
        },
        "extra_mib": {name: max(column(runs[name], "extra_mib")) for name in names},
        "recalls": recalls[-1],
        "equal_recalls": all(found == {name: recalls[-1][name] for name in found} for found in recalls),
    }


def measure_galleries(config: Config) -> list[dict[str, Any]]:
    """Ranks of the same number of queries in longer and longer parts of one memory-mapped file."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gallery.npy"
        write_gallery(file, max(config.galleries))
        for size in config.galleries:
            options = ["--queries", str(config.gallery_queries), "--gallery", str(size), "--gallery-file", str(file)]
            runs = [run_job("ranks_one_way", options, config.threads) for _ in range(config.rounds)]
            found.append(
                {
                    "queries": config.gallery_queries,
                    "gallery": size,
                    "seconds": rounded(statistics.median(column(runs, "seconds"))),
                    "extra_mib": max(column(runs, "extra_mib")),
                    "recalls": runs[0]["recalls"],
                }
            )
    return found


def write_gallery(file: Path, size: int, width: int = 512) -> None:
    """Random embeddings, written in parts."""
    generator = np.random.default_rng(1)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(size, width))
    for start in range(0, size, ROWS_AT_ONCE):
        part = array[start : start + ROWS_AT_ONCE]
        part[:] = generator.standard_normal(part.shape, dtype=np.float32)
    array.flush()


def measure_intervals(rows: int) -> dict[str, Any]:
    """Seconds of 1,000 draws for the six recalls of a model, and for their differences of two models."""
    generator = np.random.default_rng(2)
    keys = tuple(str(row) for row in range(rows))
    images = tuple(str(row // 5) for row in range(rows))
    models = [
        Outcomes(
            keys=keys,
            clusters=images,
            scores=tuple(mean_score(f"recall_{number}", generator.random(rows) < 0.4) for number in range(6)),
        )
        for _ in range(2)
    ]
    start = time.perf_counter()
    with_intervals(models[0])
    middle = time.perf_counter()
    differences(models[0], models[1])
    end = time.perf_counter()
    return {
        "rows": rows,
        "images": len(set(images)),
        "draws": 1000,
        "metrics": 6,
        "cluster_bootstrap_seconds": rounded(middle - start),
        "paired_bootstrap_seconds": rounded(end - middle),
    }


def run_job(name: str, options: Sequence[str], threads: int) -> dict[str, Any]:
    """What one job printed, and its peak memory above its inputs."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.evaluation_jobs", name, *options]
        environment = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        sampled = run_sampled(command, log=log, interval_seconds=SAMPLING_SECONDS, environment=environment)
        found: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    found["extra_mib"] = round(sampled.driver.anonymous_mib - found["anonymous_mib_before"], 1)
    took = f"{found['seconds']:.2f} s, {found['cpu_seconds']:.2f} CPU s, +{found['extra_mib']} MiB"
    print(f"{name} {' '.join(options)}: {took}", file=sys.stderr, flush=True)
    return found


def column(runs: Sequence[dict[str, Any]], name: str) -> list[float]:
    """One value of every run."""
    return [run[name] for run in runs]


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
