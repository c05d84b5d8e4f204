"""The read step of the builds under four engines: start-up, rows per second, and memory of the whole process tree.

python -m benchmarks.engine --output benchmarks/results/engine.json

Daft runs one program natively and on Ray, and its shards are those of a bare process pool, byte for byte. Natively it
costs little more start-up, memory and CPU than that floor, where every engine on Ray costs several times as much. On
Ray it makes at least as many rows a second as Ray Data, in less memory; so one engine serves laptop and cluster.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from .engine_contenders import CONTENDERS
from .generated_images import write_captioned_folder
from .process_memory import run_sampled
from .record import REPOSITORY, provenance, write_record

assert __doc__ is not None
CONCLUSION = " ".join(__doc__.split("\n\n")[-1].split())
"""The three sentences above; the figures of the results beside it must bear it out."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    engines: tuple[str, ...] = tuple(CONTENDERS)
    """Names of the engines."""
    images: int = 2000
    """Generated JPEG files."""
    side: int = 256
    """Pixels a side."""
    rows_per_part: int = 100
    """Rows of a task."""
    workers: int = 2
    rounds: int = 3
    """Rounds; in each, every engine runs once, in a process of its own."""

    def __post_init__(self) -> None:
        if foreign := [name for name in self.engines if name not in CONTENDERS]:
            raise ValueError(f"engines {', '.join(foreign)} are not known; there are {', '.join(CONTENDERS)}.")
        if self.rounds < 2:
            raise ValueError(f"rounds is {self.rounds}; a spread needs at least 2.")


def main(config: Config) -> dict[str, Any]:
    """Run the engines in interleaved rounds, and write what they took; return the record."""
    about = provenance(("daft", "ray", "pyarrow", "pillow"))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in config.engines}
    with tempfile.TemporaryDirectory(prefix="engine_") as name:
        folder = Path(name)
        write_captioned_folder(folder / "images", config.images, config.side)
        for number in range(config.rounds):
            for engine in config.engines:
                runs[engine].append(_run(engine, config, folder, f"{engine}-{number}"))
                print(engine, json.dumps(runs[engine][-1])[:400], file=sys.stderr, flush=True)
    shards = {json.dumps(run["sha256"], sort_keys=True) for found in runs.values() for run in found}
    record = {
        "what": "read step over a folder of JPEG files; median, least and most of all rounds, each a process tree",
        "images": config.images,
        "side": config.side,
        "rows_per_part": config.rows_per_part,
        "workers": config.workers,
        "rounds": config.rounds,
        "engines": {engine: _summary(found) for engine, found in runs.items()},
        "equal_shards": len(shards) == 1,
        "conclusion": CONCLUSION,
        **about,
    }
    write_record(config.output, record)
    return record


def markdown_table(record: Mapping[str, Any]) -> str:
    """The figures of a record as a table for people."""
    lines = [
        "| engine | first step, s | next step, s | rows/s | rows/CPU-s | anonymous MiB, all | resident MiB, all |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine, facts in record["engines"].items():
        cells = ("start_up_seconds", "next_step_seconds", "rows_per_second", "rows_per_cpu_second")
        memory = ("anonymous_mib", "resident_mib")
        numbers = " | ".join(f"{facts[cell]['median']:g}" for cell in (*cells, *memory))
        lines.append(f"| {engine} | {numbers} |")
    return "\n".join(lines)


def _run(engine: str, config: Config, folder: Path, name: str) -> dict[str, Any]:
    output = folder / f"{name}.json"
    command = [sys.executable, "-m", "benchmarks.engine_contenders", "--name", engine]
    command += ["--images", str(folder / "images"), "--work", str(folder / name), "--output", str(output)]
    command += ["--workers", str(config.workers), "--rows-per-part", str(config.rows_per_part)]
    run = run_sampled(command, log=folder / f"{name}.log", environment=_ENVIRONMENT, folder=REPOSITORY)
    facts = json.loads(output.read_text())
    return {
        **facts,
        "rows_per_second": facts["rows"] / facts["seconds"],
        "rows_per_cpu_second": facts["rows"] / run.cpu_seconds,
        "anonymous_mib": run.driver.anonymous_mib + run.all_workers.anonymous_mib,
        "resident_mib": run.driver.resident_mib + run.all_workers.resident_mib,
        "processes": run.most_processes,
    }


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    names = [name for name in runs[0] if name not in ("sha256", "rows")]
    return {name: _spread([run[name] for run in runs]) for name in names}


def _spread(values: Sequence[float]) -> dict[str, float]:
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


if __name__ == "__main__":
    print(markdown_table(main(tyro.cli(Config, description=__doc__))))
