"""Peak memory of whole builds of simulated scenes, of the driver and of its workers, at growing numbers of rows.

python -m benchmarks.dataset_memory --output benchmarks/results/dataset_memory.json --rows 10000 100000

Workers hold a part of the source at a time, so their memory does not grow. The driver knows of every row its id,
hashes, sources and group, without images: so many bytes a row as `driver_anonymous_bytes_per_row` says.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro

from .dataset_builds import measure_build, simulator_options
from .record import provenance, write_record


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    output: Path
    """JSON file to write."""
    rows: tuple[int, ...] = (10_000, 100_000)
    """Numbers of rows, ascending; a build for each."""
    side: int = 32
    """Pixels a side of the scenes; small, so that rows are many in a given time."""
    workers: int = 2
    """Worker processes of each build."""

    def __post_init__(self) -> None:
        if not self.rows or any(first >= second for first, second in pairwise(self.rows)):
            raise ValueError(f"rows are {self.rows}; give numbers of rows, ascending.")


def main(config: Config) -> dict[str, Any]:
    """Build, sample and write; return the record."""
    about = provenance(("daft", "pyarrow", "numpy", "pillow"))
    builds = []
    with tempfile.TemporaryDirectory(prefix="dataset_memory_") as folder:
        for rows in config.rows:
            options = simulator_options(rows, config.side)
            builds.append(measure_build(options, rows=rows, workers=config.workers, folder=Path(folder)))
            print(json.dumps(builds[-1]), file=sys.stderr, flush=True)
    record = {
        "what": "build of simulated scenes: peak MiB of the driver and its workers, sampled ten times a second",
        "side": config.side,
        "builds": builds,
        "growth": [growth(first, second) for first, second in pairwise(builds)],
        **about,
    }
    write_record(config.output, record)
    return record


def growth(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """How memory grew between two builds."""
    more_rows = second["rows"] - first["rows"]
    more_bytes = (second["driver"]["anonymous_mib"] - first["driver"]["anonymous_mib"]) * 2**20
    worker = [build["largest_worker"]["anonymous_mib"] for build in (first, second)]
    together = [build["all_processes"]["anonymous_mib"] for build in (first, second)]
    return {
        "rows": [first["rows"], second["rows"]],
        "driver_anonymous_bytes_per_row": round(more_bytes / more_rows),
        "largest_worker_anonymous_mib": worker,
        "largest_worker_ratio": round(worker[1] / worker[0], 3),
        "all_processes_anonymous_mib": together,
        "all_processes_ratio": round(together[1] / together[0], 3),
    }


if __name__ == "__main__":
    print(json.dumps(main(tyro.cli(Config, description=__doc__))["growth"], indent=2))
