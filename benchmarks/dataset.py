"""Rows per second of the dataset builds, stage by stage and in all, beside what a user would otherwise run.

python -m benchmarks.dataset --output benchmarks/results/dataset.json

Stages run in this process, on one thread, in interleaved rounds. `benchmarks/dataset_peers.py` says how to install
imagehash and pybktree; where they are absent their ratios are left out, and the results say so.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from datasets import disable_progress_bars

from .dataset_builds import folder_options, measure_build, simulator_options
from .dataset_peers import PEERS_FOLDER, peer_versions
from .dataset_shards import shard_writing
from .dataset_stages import StageSizes, stage_comparisons
from .generated_images import write_captioned_folder
from .record import provenance, write_record
from .side_by_side import MIN_ROUNDS, Comparison, measure_side_by_side

_LIBRARIES = ("numpy", "pillow", "pyarrow", "datasets", "daft")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    stages: StageSizes = field(default_factory=StageSizes)
    rounds: int = 3
    """Rounds; in each, every contender runs once."""
    peers: Path = PEERS_FOLDER
    """Folder of the peers."""
    only: tuple[str, ...] = ()
    """Names of comparisons to run, or their beginnings; all, and the builds, where none is given."""
    build_rows: int = 200
    """Simulated scenes of a whole build."""
    build_side: int = 224
    """Pixels a side of those."""
    build_workers: tuple[int, ...] = (1, 2)
    """Numbers of workers; each builds both sources."""
    build_rounds: int = 3
    """Rounds of builds; 0 for none."""

    def __post_init__(self) -> None:
        if self.rounds < MIN_ROUNDS:
            raise ValueError(f"rounds is {self.rounds}; a spread needs at least {MIN_ROUNDS}.")


def main(config: Config) -> dict[str, Any]:
    """Run all comparisons and builds, and write them; return the record."""
    disable_progress_bars()
    record: dict[str, Any] = {
        "what": "rows per second, wall and per CPU-second: median, least and most of all rounds; ratios within a round",
        "rounds": config.rounds,
        **provenance(_LIBRARIES),
        "peers": peer_versions(config.peers),
    }
    with tempfile.TemporaryDirectory(prefix="dataset_benchmark_") as name:
        folder = Path(name)
        images = write_captioned_folder(folder / "images", config.stages.shard_rows, config.stages.sides[0])
        record["stages"] = [
            measure_side_by_side(comparison, config.rounds) for comparison in _chosen(config, images, folder)
        ]
        if config.only and not record["stages"]:
            raise ValueError(f"no comparison begins with {', '.join(config.only)}.")
        record["builds"] = []
        write_record(config.output, record)  # builds take long, and may be stopped
        if not config.only:
            record["builds"] = _builds(config, folder)
    for result in record["stages"]:
        if result["absent_peers"]:
            print(f"{result['name']}: {', '.join(result['absent_peers'])} not installed, no ratio", file=sys.stderr)
    write_record(config.output, record)
    return record


def markdown_table(record: Mapping[str, Any]) -> str:
    """The figures of a record as a table for people."""
    lines = ["| stage | rows/CPU-s | beside | times faster, CPU (range) | wall |", "|---|---|---|---|---|"]
    for result in record["stages"]:
        for own, rate in result["rows_per_cpu_second"].items():
            found = {name: ratio for name, ratio in result["ratios"].items() if name.startswith(f"{own}_over_")}
            name = f"{result['name']}" + (f", {own}" if own != "rsclip" else "")
            for pair, ratio in found.items():
                cpu, wall = ratio["cpu"], ratio["wall"]
                spread = f"{cpu['median']:g} ({cpu['min']:g}-{cpu['max']:g})"
                peer = pair.removeprefix(f"{own}_over_")
                lines.append(f"| {name} | {rate['median']:g} | {peer} | {spread} | {wall['median']:g} |")
        if not result["ratios"]:
            alone = ", ".join(f"{rate['median']:g}" for rate in result["rows_per_cpu_second"].values())
            lines.append(f"| {result['name']} | {alone} | | | |")
    for build in record["builds"]:
        each = ", ".join(f"{run['rows_per_second']:g}" for run in build["runs"])
        cpu = statistics.median(run["rows_per_cpu_second"] for run in build["runs"])
        name = f"whole build of {build['source']}, {build['workers']} worker(s), rows/s wall: {each}"
        lines.append(f"| {name} | {cpu:g} | | | |")
    return "\n".join(lines)


def _chosen(config: Config, images: list[Path], folder: Path) -> Iterator[Comparison]:
    for comparison in stage_comparisons(config.stages, config.peers):
        if not config.only or comparison.name.startswith(config.only):
            yield comparison
    if not config.only or "write_shard".startswith(config.only):
        yield shard_writing(images, folder)


def _builds(config: Config, folder: Path) -> list[dict[str, Any]]:
    """Builds of both sources, by number of workers, interleaved."""
    sources = {
        "simulator": (simulator_options(config.build_rows, config.build_side), config.build_rows),
        "folder": (folder_options(folder / "images"), config.stages.shard_rows),
    }
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(config.build_rounds):
        for source, (options, rows) in sources.items():
            for workers in config.build_workers:
                run = measure_build(options, rows=rows, workers=workers, folder=folder)
                runs.setdefault((source, workers), []).append(run)
                print(f"build of {source}: {json.dumps(run)}", file=sys.stderr, flush=True)
    return [{"source": source, "workers": workers, "runs": each} for (source, workers), each in runs.items()]


if __name__ == "__main__":
    print(markdown_table(main(tyro.cli(Config, description=__doc__))))
