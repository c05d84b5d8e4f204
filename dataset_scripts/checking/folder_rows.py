"""Compares all rows of a folder with one another: ids, the index with the images, and what crosses splits."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..build_output import MANIFEST
from ..stages.split_audit import audit_splits
from ..stages.splits import SPLITS
from .folder_files import WITHHELD
from .folder_problem import Problem
from .shard_rows import READ_ERRORS, ShardFindings, text_number

_SAMPLE = 5
_DATA, _INDEX = "rows with images", "index"


# Shapes: N rows
def check_all_rows(folder: Path, manifest: Mapping[str, Any], findings: Sequence[ShardFindings]) -> list[Problem]:
    """Check what no shard can tell alone; rows of shards that could not be read count as not there."""
    index = [own for own in findings if own.shard["file"].startswith("index/")]
    images = [own for own in findings if not own.shard["file"].startswith("index/")]
    problems = [*_equal_ids(folder, images), *_equal_ids(folder, index)]
    problems += _index_problems(folder, manifest, images, index)
    problems += _split_problems(folder, manifest, index)
    return problems


def _equal_ids(folder: Path, findings: Sequence[ShardFindings]) -> Iterator[Problem]:
    numbers, shard_of = _joined(findings, "ids")
    distinct, counts = np.unique(numbers, return_counts=True)
    twice = distinct[counts > 1]
    if not twice.size:
        return
    where = np.flatnonzero(np.isin(numbers, twice))
    names = _names(folder, findings, shard_of[where], "id", set(twice.tolist()))
    for name in sorted(name for name, places in names.items() if len(places) > 1)[:_SAMPLE]:
        places = names[name]
        yield Problem(places[0], "equal_ids", f"{name} is there {len(places)} times, also in {places[1]}")


def _index_problems(
    folder: Path, manifest: Mapping[str, Any], images: Sequence[ShardFindings], index: Sequence[ShardFindings]
) -> Iterator[Problem]:
    """Every row with images has its row in the index; rows of the index without images are those withheld."""
    image_keys, image_shards = _keys(images)
    index_keys, index_shards = _keys(index)
    lacking = np.flatnonzero(~np.isin(image_keys, index_keys))
    unknown = np.flatnonzero(~np.isin(index_keys, image_keys))
    yield from _named_rows(folder, images, image_shards[lacking], image_keys[lacking], "the index has no such row")
    withheld = sum(manifest.get(WITHHELD, {}).values())
    if len(unknown) == withheld:
        return
    if withheld:
        yield Problem(
            MANIFEST, "index_row", f"{len(unknown)} rows of the index have no images; {withheld} are withheld"
        )
        return
    detail = "no row with images is the same"
    yield from _named_rows(folder, index, index_shards[unknown], index_keys[unknown], detail)


def _split_problems(folder: Path, manifest: Mapping[str, Any], index: Sequence[ShardFindings]) -> Iterator[Problem]:
    groups, shard_of = _joined(index, "leak_groups")
    keys, _ = _joined(index, "caption_keys")
    splits = [index[number].shard["split"] for number in shard_of.tolist()]
    audit = audit_splits(splits, groups, [key or None for key in keys.tolist()], splits)
    for column, crossing, total in (
        ("leak_group", audit.crossing_groups, audit.groups_across_splits),
        ("caption_key", audit.crossing_caption_keys, audit.caption_keys_across_splits),
    ):
        if crossing:
            wanted = {int(number) for number in crossing}
            names = _names(folder, index, np.arange(len(index)), column, wanted)
            detail = f"{total} of {column} lie in several splits, such as {', '.join(sorted(names))}"
            yield Problem(next(iter(names.values()))[0], "split_leak", detail)
    for split in SPLITS:
        facts, stated = audit.splits.get(split), manifest["splits"].get(split)
        found = (facts.rows, facts.groups) if facts else (0, 0)
        if found != ((stated["rows"], stated["leak_groups"]) if stated else (0, 0)):
            detail = f"{split} has {found[0]} rows in {found[1]} leak groups; the manifest says {stated}"
            yield Problem(MANIFEST, "counts", detail)


def _joined(findings: Sequence[ShardFindings], column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A column over all shards, (N,), and for every row the number of its shard, (N,)."""
    parts = [getattr(own.numbers, column) for own in findings]
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *parts]), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _keys(findings: Sequence[ShardFindings]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number for the id, the content and the split of every row, so that they are compared together."""
    contents, shard_of = _joined(findings, "contents")
    salts = np.array([text_number(own.shard["split"]) for own in findings], dtype=np.int64)
    return contents ^ salts[shard_of] if len(findings) else contents, shard_of


def _named_rows(
    folder: Path,
    findings: Sequence[ShardFindings],
    shards: NDArray[np.int64],
    keys: NDArray[np.int64],
    detail: str,
) -> Iterator[Problem]:
    for number in np.unique(shards).tolist():
        own = findings[number]
        salt = text_number(own.shard["split"])
        rows = np.flatnonzero(np.isin(own.numbers.contents ^ salt, keys[shards == number]))
        wanted = set(own.numbers.ids[rows].tolist())
        names = sorted(_names(folder, findings, np.array([number]), "id", wanted))
        text = f"{len(rows)} rows, such as {', '.join(names[:_SAMPLE])}: {detail}"
        yield Problem(own.shard["file"], "index_row", text)


def _names(
    folder: Path, findings: Sequence[ShardFindings], shards: NDArray[np.int64], column: str, wanted: set[int]
) -> dict[str, list[str]]:
    """Read the texts behind numbers back from the shards, with the files that each is in."""
    found: dict[str, list[str]] = {}
    for number in np.unique(shards).tolist():
        file = findings[number].shard["file"]
        try:
            with pq.ParquetFile(folder / file) as parquet:
                for batch in parquet.iter_batches(batch_size=10_000, columns=[column]):
                    for text in pc.drop_null(batch.column(0)).to_pylist():
                        if text_number(text) in wanted:
                            found.setdefault(text, []).append(file)
        except READ_ERRORS:
            continue  # already reported by the check of the shard
    return found
