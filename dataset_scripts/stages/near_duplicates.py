"""Near duplicates among 64-bit hashes, exactly and in about linear time; leak groups; which copy survives.

Banded multi-index hashing: hashes within radius r, cut into r + k blocks, agree on k blocks at least. For each
choice of k blocks (15 for r = 4, k = 2) the hashes are sorted with those blocks in front, and only neighbours that
agree on them are compared.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .leak_groups import group_name
from .perceptual_hash import NEAR_DUPLICATE_RADIUS
from .rejects import Reject
from .union_find import connected_components

HASH_BITS = 64
MAX_RADIUS = 7

# RS5M's rule for the copy that survives a cluster (arXiv 2306.11300, section on cleaning; the rest was random there).
PREFERRED_SOURCES = ("laion2b", "laion400m", "coyo700m")
DROPPED_FIRST_SOURCES = ("laioncoco",)

# Sorting one hash costs as much as comparing about this many pairs (measured).
_COMPARISONS_PER_SORTED_HASH = 8
_MAX_MATCHED_BLOCKS = 4
# A longer run of hashes that agree on a choice of blocks is searched again, by its other bits.
_LONG_RUN = 4096
_MIN_BITS_TO_SEARCH_AGAIN = 16
_NAMES_AT_ONCE = 65_536

Blocks = list[tuple[int, int]]  # (position of the lowest bit, width)
ValuePairs = tuple[NDArray[np.uint64], NDArray[np.uint64]]
# Strings, or None where a row has no key. Arrow's are not turned into Python's, which take five times the memory.
Keys = Sequence[Any]  # of str | None, or an array of Arrow's


# Shapes: N rows, M pairs
def near_duplicate_pairs(
    hashes: NDArray[np.uint64], radius: int = NEAR_DUPLICATE_RADIUS, *, matched_blocks: int | None = None
) -> NDArray[np.int64]:
    """Return (M, 2) rows whose hashes differ in at most `radius` bits, sorted, the smaller row first.

    Distinct hashes give every such pair, each hash named by its first row. Rows with equal hashes are a chain (first
    to second, second to third), not all pairs of them; so connected components are those of all pairs, and a
    million copies of one image are a million pairs.

    Args:
        hashes: one uint64 per row.
        radius: 0 to 7 bits.
        matched_blocks: number of blocks that must agree; chosen by the number of hashes where not given.
    """
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise ValueError(f"hashes are {hashes.dtype} of shape {hashes.shape}; they must be uint64 of shape (N,).")
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius}; it must be 0 to {MAX_RADIUS}.")
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    is_first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    copies = np.flatnonzero(~is_first)
    pairs = [np.stack([order[copies - 1], order[copies]], axis=1)]
    distinct, first_row = ordered[is_first], order[is_first]
    del order, ordered, is_first
    if radius > 0:
        for low, high in _close_values(distinct, HASH_BITS, radius, matched_blocks):
            rows = first_row[np.stack([np.searchsorted(distinct, low), np.searchsorted(distinct, high)], axis=1)]
            rows.sort(axis=1)
            pairs.append(rows)
    found = np.concatenate(pairs)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def group_rows(
    *,
    hash_columns: Sequence[NDArray[np.uint64]],
    key_columns: Sequence[Keys],
    radius: int = NEAR_DUPLICATE_RADIUS,
) -> pa.DictionaryArray:
    """Name the leak group of every row: rows are joined by close hashes in any column, or an equal key in any column.

    Args:
        hash_columns: perceptual hashes, such as those of RGB and of infrared; each is compared within its column.
        key_columns: strings that are equal for equal things, such as SHA-256 and caption key; None joins nothing.
            At least one is needed, and every row must have one key: the group is named by its smallest key, as
            `leak_groups` does, so that the name does not depend on the order of the rows.
        radius: bits in which near duplicates may differ.
    """
    labels = duplicate_clusters(hash_columns=hash_columns, key_columns=key_columns, radius=radius)
    smallest_of_row = pc.min_element_wise(*(_arrow(keys) for keys in key_columns))
    if smallest_of_row.null_count:
        row = pc.index(pc.is_null(smallest_of_row), True).as_py()
        raise ValueError(f"row {row} has no key to group by; give every row at least its caption key.")
    _, codes = np.unique(labels, return_inverse=True)
    # The first row of each group in the order of the keys; Arrow's group_by takes several times this memory.
    by_key = pc.sort_indices(smallest_of_row).to_numpy()
    _, firsts = np.unique(codes[by_key], return_index=True)
    keys = smallest_of_row.take(pa.array(by_key[firsts]))
    slices = (keys.slice(start, _NAMES_AT_ONCE).to_pylist() for start in range(0, len(keys), _NAMES_AT_ONCE))
    names = pa.chunked_array([pa.array(map(group_name, part), pa.string()) for part in slices], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names.combine_chunks())


def duplicate_clusters(
    *,
    hash_columns: Sequence[NDArray[np.uint64]],
    key_columns: Sequence[Keys],
    radius: int = NEAR_DUPLICATE_RADIUS,
) -> NDArray[np.int64]:
    """Return for every row the smallest row of its group; arguments as in `group_rows`."""
    lengths = {len(column) for column in (*hash_columns, *key_columns)}
    if len(lengths) != 1:
        raise ValueError(f"columns have {sorted(lengths)} rows; give at least one, all of one length.")
    edges = [near_duplicate_pairs(column, radius) for column in hash_columns]
    edges += [_equal_key_pairs(column) for column in key_columns]
    return connected_components(lengths.pop(), np.concatenate(edges))


def choose_survivor(sources: Sequence[str], identities: Sequence[str]) -> int:
    """Return the position, in a cluster of duplicates, of the copy to keep.

    RS5M's rule: laioncoco goes first, laion2b, laion400m and coyo700m are preferred. RS5M drew lots among equals;
    here the smallest hash of the identity wins, so the order of the rows does not matter.
    """
    if not sources:
        raise ValueError("the cluster is empty; it must have a copy to keep.")

    def rank(position: int) -> tuple[int, bytes, str]:
        source, identity = sources[position].lower(), identities[position]
        preference = 0 if source in PREFERRED_SOURCES else 2 if source in DROPPED_FIRST_SOURCES else 1
        return preference, hashlib.sha256(identity.encode("utf-8")).digest(), identity

    return min(range(len(sources)), key=rank)


def keep_one_per_cluster(
    clusters: NDArray[np.int64] | Keys,
    *,
    sources: Sequence[str],
    identities: Sequence[str],
    reason: str,
    ranks: NDArray[np.int64] | None = None,
) -> tuple[list[int], list[Reject]]:
    """Keep the survivor of every cluster of rows; the others are rejects of the reason, naming the survivor.

    Args:
        clusters: for every row its cluster.
        sources: for every row its source.
        identities: for every row its name.
        reason: why the others are left out.
        ranks: what a row is worth; only rows of a cluster's lowest rank can survive.
    """
    rejects: list[Reject] = []
    for rows in _shared(clusters):
        best = rows if ranks is None else [row for row in rows if ranks[row] == ranks[rows].min()]
        survivor = best[choose_survivor([sources[row] for row in best], [identities[row] for row in best])]
        rejects += [Reject(row, reason, f"same as {identities[survivor]}") for row in rows if row != survivor]
    rejects.sort(key=lambda reject: reject.row)
    is_kept = np.ones(len(clusters), dtype=np.bool_)
    is_kept[[reject.row for reject in rejects]] = False
    return np.flatnonzero(is_kept).tolist(), rejects


def _shared(clusters: NDArray[np.int64] | Keys) -> Iterable[list[int]]:
    """Rows of the clusters that have more than one."""
    if not isinstance(clusters, np.ndarray | pa.Array | pa.ChunkedArray):
        first_of: dict[Any, int] = {}
        rows_of: dict[int, list[int]] = {}
        for row, key in enumerate(clusters):
            if (first := first_of.setdefault(key, row)) != row:
                rows_of.setdefault(first, [first]).append(row)
        return rows_of.values()
    codes = clusters if isinstance(clusters, np.ndarray) else _codes(clusters)
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(codes[order][1:] != codes[order][:-1]) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(order))
    is_shared = ends - starts > 1
    return (
        order[start:end].tolist()
        for start, end in zip(starts[is_shared].tolist(), ends[is_shared].tolist(), strict=True)
    )


def block_choices(bits: int, radius: int, matched_blocks: int) -> list[tuple[Blocks, Blocks]]:
    """Cut the lowest `bits` into radius + matched_blocks blocks; return each choice of blocks to match, and the rest.

    At most `radius` blocks of two hashes within the radius can differ, so `matched_blocks` of them agree.
    """
    count = radius + matched_blocks
    edges = [round(bits * number / count) for number in range(count + 1)]
    blocks = [(low, high - low) for low, high in pairwise(edges)]
    choices = combinations(blocks, matched_blocks)
    return [(list(choice), [block for block in blocks if block not in choice]) for choice in choices]


def _close_values(
    values: NDArray[np.uint64], bits: int, radius: int, matched_blocks: int | None = None, *, search_again: bool = True
) -> Iterator[ValuePairs]:
    """Yield each pair within the radius once; values are distinct and differ in their lowest `bits` only."""
    if len(values) < 2:
        return
    choices = block_choices(bits, radius, matched_blocks or _best_matched_blocks(len(values), bits, radius))
    searched: list[np.uint64] = []
    for matched, rest in choices:
        front = sum(width for _, width in matched)
        moved = _move_blocks(values, [*matched, *rest])
        moved.sort()
        for first, second in _pairs_in_runs(moved, bits - front, radius, search_again=search_again):
            low, high = (_move_blocks_back(side, [*matched, *rest]) for side in (first, second))
            low, high = low | _above(values, bits), high | _above(values, bits)
            # A pair that an earlier choice has found agrees on all of that choice's blocks.
            is_new = np.ones(len(low), dtype=np.bool_)
            for mask in searched:
                is_new &= ((low ^ high) & mask) != 0
            yield low[is_new], high[is_new]
        searched.append(np.uint64(sum(((1 << width) - 1) << position for position, width in matched)))


def _best_matched_blocks(count: int, bits: int, radius: int) -> int:
    """The number of matched blocks with the least work, were the hashes random."""

    def work(matched: int) -> float:
        front = bits * matched // (radius + matched)
        return comb(radius + matched, matched) * (_COMPARISONS_PER_SORTED_HASH + count / 2 ** (front + 1))

    return min(range(1, _MAX_MATCHED_BLOCKS + 1), key=work)


def _pairs_in_runs(
    values: NDArray[np.uint64], low_bits: int, radius: int, *, search_again: bool
) -> Iterator[ValuePairs]:
    """Yield pairs within the radius among sorted values that agree on all but their lowest bits."""
    keys = values >> np.uint64(low_bits)
    # Once only: hashes with long stretches in common would be searched again and again in the same runs.
    searches_again = search_again and low_bits >= _MIN_BITS_TO_SEARCH_AGAIN
    if searches_again:
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        lengths = np.diff(np.append(starts, len(values)))
        long = lengths > _LONG_RUN
        for start, length in zip(starts[long].tolist(), lengths[long].tolist(), strict=True):
            yield from _close_values(values[start : start + length], low_bits, radius, search_again=False)
    positions = np.flatnonzero(keys[1:] == keys[:-1])  # those with a partner at the distance
    if searches_again and long.any():
        in_long_run = np.repeat(long, lengths)
        positions = positions[~in_long_run[positions]]
    distance = 1
    while positions.size:
        first, second = values[positions], values[positions + distance]
        close = np.bitwise_count(first ^ second) <= radius
        if close.any():
            yield first[close], second[close]
        distance += 1
        positions = positions[positions < len(values) - distance]
        positions = positions[keys[positions] == keys[positions + distance]]


def _move_blocks(values: NDArray[np.uint64], blocks: Blocks) -> NDArray[np.uint64]:
    """Put the blocks one after another, the first highest; bits above all blocks are left out."""
    moved = np.zeros_like(values)
    for position, width in blocks:
        moved <<= np.uint64(width)
        moved |= (values >> np.uint64(position)) & np.uint64((1 << width) - 1)
    return moved


def _move_blocks_back(moved: NDArray[np.uint64], blocks: Blocks) -> NDArray[np.uint64]:
    values = np.zeros_like(moved)
    shift = 0
    for position, width in reversed(blocks):
        values |= ((moved >> np.uint64(shift)) & np.uint64((1 << width) - 1)) << np.uint64(position)
        shift += width
    return values


def _above(values: NDArray[np.uint64], bits: int) -> np.uint64:
    """What all values share above their lowest bits."""
    return np.uint64(int(values[0]) >> bits << bits)


def _equal_key_pairs(keys: Keys) -> NDArray[np.int64]:
    """Tie every row to the first row with its key."""
    codes = _codes(keys)
    _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    first = firsts[inverse].astype(np.int64)
    rows = np.flatnonzero((codes >= 0) & (first != np.arange(len(codes))))
    return np.stack([first[rows], rows], axis=1)


def _codes(keys: Keys) -> NDArray[np.int64]:
    """A number for every row, equal where the keys are; -1 where there is none."""
    encoded = _arrow(keys).dictionary_encode().indices
    return pc.fill_null(encoded.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)


def _arrow(keys: Keys) -> pa.Array:
    if isinstance(keys, pa.ChunkedArray):
        return keys.combine_chunks()
    return keys if isinstance(keys, pa.Array) else pa.array(keys, pa.string())
