"""Checks the files of a dataset folder against its manifest: all there, unchanged, and nothing besides.

A changed bit, a missing tail or a missing file anywhere in the folder is found here; no row is looked at.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..build_output import CARD, CROISSANT, MANIFEST, SHARD_FOLDERS
from ..dataset_manifest import manifest_text
from ..durable_files import file_sha256
from ..manifest_seal import is_sealed
from ..stages.splits import SPLITS
from .folder_problem import Problem

# Of a folder that was downloaded from the Hub.
_HUB_FILES = (".gitattributes", ".cache/huggingface/", "eval.yaml")
WITHHELD = "withheld"


def read_checked_manifest(folder: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the manifest, where there is one that can be worked with, and what is wrong with it."""
    path = folder / MANIFEST
    if not path.is_file():
        return None, [Problem(MANIFEST, "manifest_missing", f"{folder} has none; build the dataset")]
    data = path.read_bytes()
    try:
        manifest = json.loads(data)
        # NaN is no JSON, and surrogates are no UTF-8; our writer makes neither.
        canonical = manifest_text(manifest).encode()
    except (ValueError, RecursionError) as error:
        return None, [Problem(MANIFEST, "manifest_unreadable", f"{type(error).__name__}: {error}")]
    if lack := _lack(manifest):
        return None, [Problem(MANIFEST, "manifest_unreadable", lack)]
    problems = []
    if canonical != data:
        problems.append(Problem(MANIFEST, "manifest_not_canonical"))
    if not is_sealed(manifest):
        problems.append(Problem(MANIFEST, "manifest_seal"))
    return manifest, problems


def check_texts(folder: Path, manifest: Mapping[str, Any]) -> list[Problem]:
    """Compare README.md and croissant.json with their hashes."""
    problems = []
    for name in (CARD, CROISSANT):
        path = folder / name
        if not path.is_file():
            problems.append(Problem(name, "missing"))
        elif file_sha256(path) != manifest["files"][name]:
            problems.append(Problem(name, "sha256", f"{path.stat().st_size} bytes"))
    return problems


def check_shard_file(folder: Path, shard: Mapping[str, Any]) -> list[Problem]:
    """Compare a shard with its size and hash."""
    path = folder / shard["file"]
    if not path.is_file():
        return [Problem(shard["file"], "missing")]
    if (size := path.stat().st_size) != shard["bytes"]:
        return [Problem(shard["file"], "size", f"{size} bytes; the manifest says {shard['bytes']}")]
    if (found := file_sha256(path)) != shard["sha256"]:
        return [Problem(shard["file"], "sha256", f"{found}; the manifest says {shard['sha256']}")]
    return []


def check_listing(folder: Path, manifest: Mapping[str, Any]) -> list[Problem]:
    """Name every file that the manifest does not."""
    listed = {MANIFEST, CARD, CROISSANT, *(shard["file"] for shard in manifest["shards"])}
    problems = []
    for file in _files(folder):
        if file in listed or (WITHHELD in manifest and file.startswith(_HUB_FILES)):
            continue
        problems.append(Problem(file, "leftover" if file.endswith(".part") else "unlisted"))
    return problems


def check_counts(manifest: Mapping[str, Any]) -> list[Problem]:
    """Add up the rows of the shards: those with images, with those withheld, are all; so are those of the index."""
    problems = []
    for split in SPLITS:
        rows = manifest["splits"].get(split, {}).get("rows", 0)
        own = [shard for shard in manifest["shards"] if shard["split"] == split]
        index = sum(shard["rows"] for shard in own if shard["file"].startswith("index/"))
        withheld = manifest.get(WITHHELD, {}).get(split, 0)
        images = sum(shard["rows"] for shard in own) - index
        if index != rows:
            problems.append(Problem(MANIFEST, "counts", f"{split} has {rows} rows, its index {index}"))
        if images + withheld != rows:
            detail = f"{split} has {rows} rows, its shards with images {images}, and {withheld} are withheld"
            problems.append(Problem(MANIFEST, "counts", detail))
    return problems


def _files(folder: Path) -> Iterator[str]:
    """Every file, and every link to a folder, which is not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in sorted([*names, *links]):
            yield Path(place, name).relative_to(folder).as_posix()


def _lack(manifest: Any) -> str:
    """What of the form of a manifest is not there; nothing if it can be worked with."""
    if not isinstance(manifest, dict):
        return "it is no object"
    if manifest.get("dataset") not in ("fusionrs", "rs5m"):
        return f"dataset is {manifest.get('dataset')!r}; fusionrs and rs5m are known"
    files, splits, withheld = manifest.get("files"), manifest.get("splits"), manifest.get(WITHHELD, {})
    if not isinstance(files, dict) or not all(isinstance(files.get(name), str) for name in (CARD, CROISSANT)):
        return f"files has no hash of {CARD} and {CROISSANT}"
    if not isinstance(splits, dict) or not all(isinstance(facts, dict) for facts in splits.values()):
        return "splits is no object of objects"
    if not all(_is_count(facts.get(key)) for facts in splits.values() for key in ("rows", "leak_groups")):
        return "a split lacks its numbers of rows and leak groups"
    if not isinstance(withheld, dict) or not all(map(_is_count, withheld.values())):
        return f"{WITHHELD} has no numbers"
    shards = manifest.get("shards")
    if not isinstance(shards, list) or not shards:
        return "it lists no shards"
    if bad := [shard for shard in shards if not _is_shard(shard)]:
        return f"a shard is not described as shards are: {str(bad[0])[:200]}"
    return "a shard is listed twice" if len({shard["file"] for shard in shards}) < len(shards) else ""


def _is_shard(shard: Any) -> bool:
    if not isinstance(shard, dict) or not isinstance(shard.get("file"), str):
        return False
    parts = PurePosixPath(shard["file"]).parts
    return (
        len(parts) == 2
        and parts[0] in SHARD_FOLDERS
        and "/".join(parts) == shard["file"]
        and shard["file"].endswith(".parquet")
        and ".." not in parts
        and "\0" not in shard["file"]
        and shard.get("split") in SPLITS
        and all(_is_count(shard.get(key)) for key in ("rows", "bytes"))
        and isinstance(shard.get("sha256"), str)
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
