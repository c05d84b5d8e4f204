"""Checks a built folder: every file against the manifest, and every row against itself and all others.

python -m dataset_scripts check fusionrs
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from .checking.folder_files import check_counts, check_listing, check_shard_file, check_texts, read_checked_manifest
from .checking.folder_problem import Problem
from .checking.folder_rows import check_all_rows
from .checking.shard_rights import shard_rights_problems
from .checking.shard_rows import ShardFindings, check_shard_rows


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What to check."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that `build` wrote, or a copy from the Hub."""
    quick: bool = False
    """Only sizes and hashes of files; no row is looked at."""
    workers: int = os.cpu_count() or 1
    """Shards that are checked at a time."""


@dataclass(kw_only=True)
class CheckReport:
    """What was looked at, and what is wrong."""

    problems: list[Problem] = field(default_factory=list)
    checked: dict[str, str] = field(default_factory=dict)
    """What, and how much of it, in words."""


def check_folder(folder: Path, *, quick: bool = False, workers: int = 1) -> list[Problem]:
    """Return everything that is wrong with a built folder; an empty list for one that is as it was built.

    Args:
        folder: the folder.
        quick: True compares sizes and hashes of files, which finds any damage to them; else all rows are checked too.
        workers: shards that are checked at a time; rows are checked in as many processes.
    """
    return inspect_folder(folder, quick=quick, workers=workers).problems


def inspect_folder(folder: Path, *, quick: bool = False, workers: int = 1) -> CheckReport:
    """As `check_folder`, with an account of what was checked."""
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder.")
    report = CheckReport()
    manifest, report.problems = read_checked_manifest(folder)
    if manifest is None:
        return report
    shards: list[Mapping[str, Any]] = manifest["shards"]
    report.problems += check_texts(folder, manifest)
    report.problems += check_listing(folder, manifest)
    report.problems += check_counts(manifest)
    report.checked["manifest, README, Croissant"] = "3 files"
    with _executor(workers, len(shards), processes=False) as executor:
        for problems in _map(executor, partial(check_shard_file, folder), shards):
            report.problems += problems
    report.checked["shards: size, SHA-256"] = (
        f"{len(shards)} files, {sum(shard['bytes'] for shard in shards) / 1e6:,.1f} MB"
    )
    if not quick:
        _check_rows(folder, manifest, workers, report)
    return report


def published_problems(folder: Path, manifest: Mapping[str, Any], *, workers: int = 1) -> list[Problem]:
    """Return what in data/ and index/ must not be published."""
    shards = [shard for shard in manifest["shards"] if not shard["file"].startswith("local/")]
    check = partial(shard_rights_problems, folder, manifest["dataset"])
    with _executor(workers, len(shards), processes=False) as executor:
        return [problem for problems in _map(executor, check, shards) for problem in problems]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    config = tyro.cli(CheckConfig, prog="python -m dataset_scripts check", args=argv, description=__doc__)
    start = time.perf_counter()
    try:
        report = inspect_folder(config.folder, quick=config.quick, workers=config.workers)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    for what, amount in report.checked.items():
        print(f"{what:<44}{amount}")
    for problem in report.problems:
        print(problem, file=sys.stderr)
    seconds = time.perf_counter() - start
    count = len(report.problems)
    print(f"{config.folder}: {'no problem' if not count else f'{count} problems'}, {seconds:.1f} s")
    if count:
        raise SystemExit(1)


def _check_rows(folder: Path, manifest: Mapping[str, Any], workers: int, report: CheckReport) -> None:
    start = time.perf_counter()
    shards = [shard for shard in manifest["shards"] if (folder / shard["file"]).is_file()]
    check: Callable[[Mapping[str, Any]], ShardFindings] = partial(check_shard_rows, folder, manifest["dataset"])
    with _executor(workers, len(shards), processes=True) as executor:
        findings = list(_map(executor, check, shards))
    seconds = time.perf_counter() - start
    rows = sum(len(own.numbers.ids) for own in findings)
    report.problems += [problem for own in findings for problem in own.problems]
    report.problems += check_all_rows(folder, manifest, findings)
    report.problems += published_problems(folder, {**manifest, "shards": shards}, workers=workers)
    report.checked["rows: pages, columns, ids, captions, index"] = f"{rows:,} rows, {rows / seconds:,.0f} rows/s"
    report.checked["images: SHA-256, pixels, geometry, metadata"] = f"{sum(own.images for own in findings):,} images"
    report.checked["splits: leak groups, captions"] = f"{len(manifest['splits'])} splits"
    report.checked["rights: licences, withheld texts, tokens"] = "data and index"


def _executor(workers: int, shards: int, *, processes: bool) -> Executor:
    """Threads where the work is hashing or Arrow; processes, started afresh, where it is Python."""
    count = max(1, min(workers, shards))
    if processes and count > 1:
        return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(count)


def _map(executor: Executor, function: Callable[..., Any], shards: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    return executor.map(function, shards)
