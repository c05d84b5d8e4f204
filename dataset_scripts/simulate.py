"""Writes a simulated `fusionrs` folder.

python -m dataset_scripts simulate --output fusionrs --rows 2000 --seed 0 --size 224 --workers 2
"""

import json
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tqdm import tqdm

from .dataset_manifest import code_revision, library_versions, write_manifest
from .fusionrs_card import render_card
from .fusionrs_rows import IMAGE_COLUMNS, Row, fusionrs_features, index_features, scene_row
from .parquet_shards import write_shards
from .scenes.scene_captions import write_captions
from .scenes.scene_classes import make_scene_graph
from .scenes.scene_simulator import simulate_scene
from .stages.caption_key import caption_key
from .stages.leak_groups import SPLITS, assign_splits, leak_groups

_CHUNK_ROWS = 25
_CHUNKS_AHEAD_PER_WORKER = 4

Job = TypeVar("Job")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What to simulate, and where to write it."""

    output: Path = Path("fusionrs")
    """Folder to write; its name is what `load_dataset` is given."""
    rows: int = 2000
    """Number of scenes."""
    seed: int = 0
    """Names the series of scenes; row i of a seed is always the same."""
    size: int = 224
    """Pixels a side of both images."""
    workers: int = 1
    """Processes that render. The rows do not depend on it."""
    validation_fraction: float = 0.1
    """Share of the rows for validation, by whole leak groups."""
    test_fraction: float = 0.1
    """Share of the rows for test, by whole leak groups."""
    rows_per_shard: int = 5000
    """Rows in one Parquet file."""
    overwrite: bool = False
    """Replace an existing output folder that an earlier run wrote."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("rows", "size", "workers", "rows_per_shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")
        fractions = (self.validation_fraction, self.test_fraction)
        if min(fractions) < 0 or sum(fractions) >= 1:
            raise ValueError(f"validation and test fractions are {fractions}; they must leave rows for train.")
        if self.output.name == "fusionrs.py" or not self.output.name:
            raise ValueError(f"output {str(self.output)!r} must name a folder.")


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    config = tyro.cli(SimulateConfig, prog="python -m dataset_scripts simulate", args=argv)
    start = time.perf_counter()
    folder = write_fusionrs(config)
    _print_summary(folder, config, time.perf_counter() - start)


def write_fusionrs(config: SimulateConfig) -> Path:
    """Simulate all rows and write shards, index, manifest and card; return the folder.

    Captions are written first, for leak groups and splits; images are rendered after that, shard by shard, so
    memory does not grow with the number of rows.
    """
    folder = config.output
    _clear(folder, overwrite=config.overwrite)
    with _workers(config.workers) as pool:
        keys = _caption_keys(pool, config)
        groups = leak_groups([[key] for key in keys])
        splits = assign_splits(
            groups, validation_fraction=config.validation_fraction, test_fraction=config.test_fraction, seed=config.seed
        )
        shards, split_facts = _write_splits(pool, config, groups, splits)
    manifest = _manifest(config, shards, split_facts)
    (folder / "README.md").write_text(render_card(manifest, folder=folder.name), encoding="utf-8")
    write_manifest(folder / "manifest.json", manifest)
    return folder


def _clear(folder: Path, *, overwrite: bool) -> None:
    """Make sure that the folder does not exist, and never delete a folder that is not ours."""
    if not folder.exists():
        folder.mkdir(parents=True)
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists. Choose another --output, or give --overwrite to replace it.")
    ours = {"data", "index", "manifest.json", "README.md"}
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if foreign:
        raise FileExistsError(
            f"{folder} holds {', '.join(foreign[:5])}, which this program did not write; "
            "it will not replace the folder. Move those files, or choose another --output."
        )
    shutil.rmtree(folder)
    folder.mkdir()


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool of fresh processes, or none for one worker."""
    if count == 1:
        yield None
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def _mapped(pool: ProcessPoolExecutor | None, function: Any, jobs: Sequence[Job], workers: int) -> Iterator[Made]:
    """Apply a function to jobs in order, with a bounded number of results waiting."""
    if pool is None:
        yield from map(function, jobs)
        return
    ahead = workers * _CHUNKS_AHEAD_PER_WORKER
    waiting = [pool.submit(function, job) for job in jobs[:ahead]]
    for position in range(len(jobs)):
        result = waiting.pop(0).result()
        if position + ahead < len(jobs):
            waiting.append(pool.submit(function, jobs[position + ahead]))
        yield result


def _caption_keys(pool: ProcessPoolExecutor | None, config: SimulateConfig) -> list[str]:
    chunks = _chunks(range(config.rows))
    made: Iterator[list[str]] = _mapped(pool, partial(_make_caption_keys, config.seed), chunks, config.workers)
    return [key for chunk in made for key in chunk]


def _make_caption_keys(seed: int, indices: Sequence[int]) -> list[str]:
    return [caption_key(write_captions(make_scene_graph(seed, index))[0]) for index in indices]


def _write_splits(
    pool: ProcessPoolExecutor | None, config: SimulateConfig, groups: Sequence[str], splits: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    shards: list[dict[str, Any]] = []
    facts: dict[str, dict[str, int]] = {}
    with tqdm(total=config.rows, unit=" scenes", desc="simulate") as bar:
        for split in SPLITS:
            indices = [index for index, own in enumerate(splits) if own == split]
            if not indices:
                continue
            index_rows: list[Row] = []
            rows = _rendered_rows(pool, config, indices, groups, index_rows, bar)
            shards += write_shards(
                rows,
                config.output / "data",
                split=split,
                row_count=len(indices),
                rows_per_shard=config.rows_per_shard,
                features=fusionrs_features(),
            )
            shards += write_shards(
                index_rows,
                config.output / "index",
                split=split,
                row_count=len(indices),
                rows_per_shard=len(indices),
                features=index_features(),
            )
            facts[split] = {"rows": len(indices), "leak_groups": len({groups[index] for index in indices})}
    return shards, facts


def _rendered_rows(
    pool: ProcessPoolExecutor | None,
    config: SimulateConfig,
    indices: Sequence[int],
    groups: Sequence[str],
    index_rows: list[Row],
    bar: Any,
) -> Iterator[Row]:
    """Rows in order; the same rows without images are collected on the way."""
    jobs = [[(index, groups[index]) for index in chunk] for chunk in _chunks(indices)]
    made: Iterator[list[Row]] = _mapped(pool, partial(_make_rows, config.seed, config.size), jobs, config.workers)
    for chunk in made:
        for row in chunk:
            index_rows.append({name: value for name, value in row.items() if name not in IMAGE_COLUMNS})
            bar.update()
            yield row


def _make_rows(seed: int, size: int, jobs: Sequence[tuple[int, str]]) -> list[Row]:
    return [scene_row(simulate_scene(seed, index, size), leak_group=group) for index, group in jobs]


def _chunks(indices: Sequence[int]) -> list[Sequence[int]]:
    return [indices[start : start + _CHUNK_ROWS] for start in range(0, len(indices), _CHUNK_ROWS)]


def _manifest(
    config: SimulateConfig, shards: list[dict[str, Any]], splits: dict[str, dict[str, int]]
) -> dict[str, Any]:
    return {
        "dataset": "fusionrs",
        "config": {**asdict(config), "output": config.output.name},
        "stages": [
            {
                "stage": "simulate",
                "rows_in": config.rows,
                "rows_out": sum(facts["rows"] for facts in splits.values()),
                "rejected": {},
                "rejected_sample": [],
            }
        ],
        "splits": splits,
        "shards": shards,
        "code_revision": code_revision(),
        "versions": library_versions(),
    }


def _print_summary(folder: Path, config: SimulateConfig, seconds: float) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    print(f"{'split':<12}{'rows':>9}{'leak groups':>13}{'megabytes':>11}")
    for split, facts in manifest["splits"].items():
        size = sum(shard["bytes"] for shard in manifest["shards"] if shard["split"] == split) / 1e6
        print(f"{split:<12}{facts['rows']:>9}{facts['leak_groups']:>13}{size:>11.1f}")
    print(f"{config.rows} scenes in {seconds:.1f} s ({config.rows / seconds:.0f} scenes/s) in {folder}")
