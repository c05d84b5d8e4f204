"""Stages of the dataset builds that look at captions, hashes and groups, beside what a user would otherwise run."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from dataset_scripts.stages.keyword_selection import KEYWORDS, select_by_keyword
from dataset_scripts.stages.near_duplicates import keep_one_per_cluster, near_duplicate_pairs
from dataset_scripts.stages.perceptual_hash import NEAR_DUPLICATE_RADIUS
from dataset_scripts.stages.splits import HELD_OUT, SplitSettings, plan_splits

from .dataset_peers import load_peer
from .near_duplicates import make_hashes
from .side_by_side import Comparison, equal_results

_WORDS = (
    "the",
    "of",
    "a",
    "red",
    "car",
    "city",
    "photo",
    "sale",
    "house",
    "view",
    "new",
    "best",
    "port",
    "map",
    "art",
)


def near_duplicate_search(count: int, peers: Path) -> Comparison:
    """All pairs within 4 bits."""
    hashes, _ = make_hashes(count, NEAR_DUPLICATE_RADIUS)
    hashes = np.unique(hashes)
    values = hashes.tolist()
    row_of = {value: row for row, value in enumerate(values)}
    pybktree: Any = load_peer("pybktree", peers)

    def tree_pairs() -> list[tuple[int, int]]:
        tree = pybktree.BKTree(lambda first, second: (first ^ second).bit_count())
        pairs = []
        for row, value in enumerate(values):
            pairs += [(row_of[near], row) for _, near in tree.find(value, NEAR_DUPLICATE_RADIUS)]
            tree.add(value)
        return sorted(pairs)

    def brute_force() -> list[tuple[int, int]]:
        return [
            (row, row + 1 + int(near))
            for row in range(len(hashes) - 1)
            for near in np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= NEAR_DUPLICATE_RADIUS)
        ]

    return Comparison(
        name="near_duplicates",
        what=f"all pairs within {NEAR_DUPLICATE_RADIUS} of 64 bits; a BK-tree (pybktree), and all pairs in NumPy",
        rows=len(values),
        ours={"rsclip": lambda: [(low, high) for low, high in near_duplicate_pairs(hashes).tolist()]},
        peers={"bk_tree": pybktree and tree_pairs, "brute_force": brute_force},
        has_warm_up=False,
        agreement=equal_results("rsclip", *(["bk_tree"] if pybktree else []), "brute_force"),
    )


def exact_duplicates(jpegs: Sequence[bytes]) -> Comparison:
    """One of each set of equal files; every tenth is a copy."""
    files = [*jpegs, *jpegs[::10]]
    names = [f"file-{number:06d}" for number in range(len(files))]
    sources = ["generated"] * len(files)

    def ours() -> int:
        clusters = [hashlib.sha256(data).hexdigest() for data in files]
        kept, _ = keep_one_per_cluster(clusters, sources=sources, identities=names, reason="equal_image")
        return len(kept)

    def naive() -> int:
        seen: set[str] = set()
        kept = []
        for name, data in zip(names, files, strict=True):
            digest = hashlib.sha256(data).hexdigest()
            if digest not in seen:
                seen.add(digest)
                kept.append(name)
        return len(kept)

    dataset = Dataset.from_dict({"name": names, "image": files})

    def mapped() -> int:
        seen: set[str] = set()

        def is_first(row: Mapping[str, Any]) -> bool:
            is_new = row["sha256"] not in seen
            seen.add(row["sha256"])
            return is_new

        hashed = dataset.map(
            lambda row: {"sha256": hashlib.sha256(row["image"]).hexdigest()},
            remove_columns=["image"],
            keep_in_memory=True,
            load_from_cache_file=False,
        )
        return len(hashed.filter(is_first, keep_in_memory=True, load_from_cache_file=False))

    return Comparison(
        name="exact_duplicates",
        what="one file of each set of equal ones, by a rule that no order of rows changes; Dataset.map in memory and a "
        "filter, and a bare loop, which both keep the first",
        rows=len(files),
        ours={"rsclip": ours},
        peers={"datasets_map": mapped, "naive_loop": naive},
        agreement=equal_results("rsclip", "datasets_map", "naive_loop"),
    )


def keyword_selection(count: int) -> Comparison:
    """Captions of the web, of which one in twenty names a keyword."""
    captions = _web_captions(count)
    patterns = [re.compile(re.escape(keyword), re.IGNORECASE) for keyword in KEYWORDS]

    def agreement(results: Mapping[str, Any]) -> dict[str, Any]:
        return {"kept": len(results["rsclip"][0]), "kept_by_42_searches": len(results["42_searches"])}

    return Comparison(
        name="keyword_selection",
        what="which captions name one of 42 keywords; 42 compiled expressions one after the other",
        rows=count,
        ours={"rsclip": lambda: select_by_keyword(captions)},
        peers={
            "42_searches": lambda: [text for text in captions if any(pattern.search(text) for pattern in patterns)],
            "42_searches_all": lambda: [[pattern.search(text) for pattern in patterns] for text in captions],
        },
        agreement=agreement,
    )


def splits(rows: int) -> Comparison:
    """Splits of whole groups."""
    generator = np.random.default_rng(0)
    groups = [f"group-{number}" for number in generator.integers(0, max(1, rows * 4 // 5), rows).tolist()]
    sources = [f"source-{number}" for number in generator.integers(0, 5, rows).tolist()]
    settings = SplitSettings()

    def naive() -> list[str]:
        members: dict[str, list[int]] = {}
        for row, group in enumerate(groups):
            members.setdefault(group, []).append(row)
        order = sorted(members, key=lambda group: hashlib.sha256(f"{settings.salt}:{group}".encode()).digest())
        split_of, at = ["train"] * rows, 0
        for split in HELD_OUT:
            left = settings.target_rows(split, rows)
            while left > 0:
                for row in members[order[at]]:
                    split_of[row] = split
                left -= len(members[order[at]])
                at += 1
        return split_of

    return Comparison(
        name="splits",
        what="train, validation, test of whole groups, exact numbers of rows; a greedy loop that may go over",
        rows=rows,
        ours={"rsclip": lambda: plan_splits(groups, sources, settings).splits},
        peers={"greedy_loop": naive},
        agreement=lambda results: {
            name: {split: found.count(split) for split in HELD_OUT} for name, found in results.items()
        },
    )


def _web_captions(count: int) -> list[str]:
    generator = np.random.default_rng(0)
    words = np.array(_WORDS)
    captions = [" ".join(words[chosen]) for chosen in generator.integers(0, len(words), (count, 14))]
    for row in range(0, count, 20):
        captions[row] = f"{captions[row][:30]} {KEYWORDS[row // 20 % len(KEYWORDS)]} of {captions[row][30:]}"
    return captions
