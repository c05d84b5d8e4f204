"""Ranks of the best positive, counted in blocks of one float32 product and settled in float64 where that is too coarse.

A rank is how many negatives score at least as much, so nothing is sorted, and rows and columns share the product.
The rank does not depend on the block, the threads or the library of the product.
Shapes: Q queries, G gallery entries, D width, R x C one block, P positive or doubtful cells of a block.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]
Cells = tuple[Indices, Indices]

NEVER = int(np.iinfo(np.int64).max)
QUERY_BLOCK = 1024
GALLERY_BLOCK = 4096
# From one cell in this many, a product of the whole block in float64 is faster than gathering the vectors of each.
DENSE = 64
# Up to one score in this many that may be ahead, looking at each is faster than another pass over all.
SPARSE = 32
CELLS_AT_ONCE = 8192
ROWS_OF_A_BYTE = 255
SMALLEST_NORM = 1e-12


class Positives(Protocol):
    """Which gallery entries are right for which queries."""

    def inside(self, rows: slice, columns: slice) -> Cells:
        """The positive cells of a block, counted from its corner: rows (P,) and columns (P,), each cell once."""


@dataclass(frozen=True)
class KeyPositives:
    """Positive where the codes are equal."""

    query_codes: Indices
    """(Q,)"""
    gallery_codes: Indices
    """(G,)"""

    def inside(self, rows: slice, columns: slice) -> Cells:
        """The cells of equal codes."""
        codes, wanted = self.query_codes[rows], self.gallery_codes[columns]
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        low = np.searchsorted(codes, wanted, side="left")
        counts = np.searchsorted(codes, wanted, side="right") - low
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        return order[np.repeat(low, counts) + within], np.repeat(np.arange(len(wanted)), counts)


def key_positives(query_keys: Array, gallery_keys: Array) -> KeyPositives:
    """Positive where the keys, texts or numbers, are equal."""
    codes: Indices = np.unique(np.concatenate([query_keys, gallery_keys]), return_inverse=True)[1]
    return KeyPositives(codes[: len(query_keys)], codes[len(query_keys) :])


@dataclass(frozen=True)
class PairPositives:
    """Positive where a pair says so; `sorted_pairs` makes one."""

    queries: Indices
    gallery: Indices
    """Ascending."""

    def inside(self, rows: slice, columns: slice) -> Cells:
        """The cells that are pairs."""
        part = slice(*np.searchsorted(self.gallery, [columns.start, columns.stop]))
        queries, gallery = self.queries[part], self.gallery[part]
        kept = (queries >= rows.start) & (queries < rows.stop)
        return queries[kept] - rows.start, gallery[kept] - columns.start


def sorted_pairs(queries: Indices, gallery: Indices) -> PairPositives:
    """Pairs in any order and any number of times each."""
    pairs = np.unique(np.stack([gallery, queries]), axis=1)
    return PairPositives(pairs[1], pairs[0])


def exact_ranks(
    queries: Array,
    gallery: Array,
    positives: Positives,
    *,
    both_ways: bool = False,
    query_block: int = QUERY_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> tuple[Ranks, Ranks]:
    """Rank, from 0, of the best positive of each query (Q,) and of each gallery entry (G,) by cosine.

    The scores are cosines in float64; those that differ by no more than its rounding are ties, and a negative that
    ties ranks before the positive. Without a positive the rank is `NEVER`. The gallery is read block by block, so it
    may be a memory-mapped file of any length; the queries are held in float32.

    Args:
        queries: Embeddings (Q, D) of any norm.
        gallery: Embeddings (G, D) of any norm.
        positives: What is right for what.
        both_ways: Whether to rank the queries for the gallery entries too; else those ranks are empty.
        query_block: Queries of one block.
        gallery_block: Gallery entries of one block.

    Raises:
        ValueError: Shapes do not fit, or an embedding is not finite.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have shape {queries.shape}, gallery {gallery.shape}; wanted (Q, D) and (G, D) of one width."
        )
    if query_block < 1 or gallery_block < 1:
        raise ValueError(f"blocks are {query_block} x {gallery_block}, wanted at least 1 x 1.")
    sides = Sides(queries=queries, gallery=gallery, norms=(norms(queries, "queries"), norms(gallery, "gallery")))
    best = _best_positives(sides, positives, query_block, gallery_block)
    wide, high = min(gallery_block, len(gallery)), min(query_block, len(queries))
    scores, flags = np.empty(high * wide, dtype=np.float32), np.empty((4, high * wide), dtype=np.bool_)
    ahead = np.zeros(len(queries), dtype=np.int64), np.zeros(len(gallery), dtype=np.int64)
    unit_queries = _unit(queries, sides.norms[0], gallery_block)
    # NumPy counts with one core: the other one counts the other direction.
    with ThreadPoolExecutor(1) as other:
        for columns in blocks(len(gallery), gallery_block):
            entries = _unit(gallery[columns], sides.norms[1][columns], gallery_block)
            for rows in blocks(len(queries), query_block):
                shape = rows.stop - rows.start, columns.stop - columns.start
                block, *room = (whole[: shape[0] * shape[1]].reshape(shape) for whole in (scores, *flags))
                np.matmul(unit_queries[rows], entries.T, out=block)
                block[positives.inside(rows, columns)] = -np.inf
                view = sides.block(rows, columns)
                back = (block.T, (room[2].T, room[3].T), best[1][columns], view.turned())
                counting = other.submit(_ahead, *back) if both_ways else None
                ahead[0][rows] += _ahead(block, (room[0], room[1]), best[0][rows], view)
                if counting is not None:
                    ahead[1][columns] += counting.result()
    to_gallery, to_queries = (np.where(np.isinf(top), NEVER, count) for top, count in zip(best, ahead, strict=True))
    return to_gallery, to_queries if both_ways else to_queries[:0]


def blocks(size: int, step: int) -> Iterator[slice]:
    """Slices that cover `size` rows, `step` at a time."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def norms(vectors: Array, name: str) -> Doubles:
    """Norm of each row in float64, at least 1e-12; refuses rows that are not finite."""
    found = np.empty(len(vectors))
    for rows in blocks(len(vectors), GALLERY_BLOCK):
        found[rows] = np.linalg.norm(vectors[rows].astype(np.float64), axis=1)
    broken = ~np.isfinite(found)
    if broken.any():
        raise ValueError(
            f"{name} hold {int(broken.sum())} rows that are not finite, the first is row {int(broken.argmax())}."
        )
    return np.maximum(found, SMALLEST_NORM)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The vectors of both sides as they came, whole or of one block, and their norms."""

    queries: Array
    gallery: Array
    norms: tuple[Doubles, Doubles]

    def block(self, rows: slice, columns: slice) -> "Sides":
        """A part of each side."""
        cut = self.norms[0][rows], self.norms[1][columns]
        return Sides(queries=self.queries[rows], gallery=self.gallery[columns], norms=cut)

    def turned(self) -> "Sides":
        """Queries and gallery exchanged."""
        return Sides(queries=self.gallery, gallery=self.queries, norms=self.norms[::-1])

    def cosines(self, cells: Cells) -> Doubles:
        """The cosine (P,) of some cells in float64."""
        rows, columns = cells
        if len(rows) * DENSE > len(self.queries) * len(self.gallery):
            left = self.queries / self.norms[0][:, None]
            return (left @ (self.gallery / self.norms[1][:, None]).T)[rows, columns]
        found = np.empty(len(rows))
        for part in blocks(len(rows), CELLS_AT_ONCE):
            left = self.queries[rows[part]].astype(np.float64)
            right = self.gallery[columns[part]].astype(np.float64)
            product = np.einsum("pd,pd->p", left, right)
            found[part] = product / (self.norms[0][rows[part]] * self.norms[1][columns[part]])
        return found

    def slack(self, kind: type[np.floating[Any]]) -> float:
        """No cosine of this width, summed in any order, is further than this from the true one: (D + 8) roundings."""
        return (self.queries.shape[1] + 8) * float(np.finfo(kind).eps) / 2


def _best_positives(
    sides: Sides, positives: Positives, query_block: int, gallery_block: int
) -> tuple[Doubles, Doubles]:
    """The cosine of the best positive of each side; infinite, which nothing reaches, where there is none."""
    best = np.full(len(sides.queries), -np.inf), np.full(len(sides.gallery), -np.inf)
    for columns in blocks(len(sides.gallery), gallery_block):
        for rows in blocks(len(sides.queries), query_block):
            cells = positives.inside(rows, columns)
            if len(cells[0]):
                cosines = sides.block(rows, columns).cosines(cells)
                np.maximum.at(best[0][rows], cells[0], cosines)
                np.maximum.at(best[1][columns], cells[1], cosines)
    return np.where(np.isneginf(best[0]), np.inf, best[0]), np.where(np.isneginf(best[1]), np.inf, best[1])


def _ahead(scores: Array, flags: tuple[Array, Array], best: Doubles, sides: Sides) -> Indices:
    """How many scores (R, C) of each row are at least its best positive's (R,); the flags are room for two answers."""
    coarse, fine = sides.slack(np.float32), 2 * sides.slack(np.float64)
    low, high = ((best + side * coarse).astype(np.float32)[:, None] for side in (-1, 1))
    reached, certain = flags
    np.greater_equal(scores, low, out=reached)
    if np.count_nonzero(reached) * SPARSE < reached.size:
        # So few that each is looked at: no second pass over the block.
        rows, columns = _where(reached)
        ahead = np.bincount(rows, minlength=len(scores))
        doubtful = scores[rows, columns] <= high[rows, 0]
        rows, columns = rows[doubtful], columns[doubtful]
    else:
        ahead = _counts(reached)
        np.greater(scores, high, out=certain)
        rows, columns = _where(np.not_equal(reached, certain, out=certain))
    if len(rows):
        missed = sides.cosines((rows, columns)) < best[rows] - fine
        ahead -= np.bincount(rows[missed], minlength=len(ahead))
    return ahead


def _where(flags: Array) -> Cells:
    """Rows and columns that are true, whichever axis lies together in memory."""
    if flags.flags.c_contiguous:
        rows, columns = np.divmod(np.flatnonzero(flags), flags.shape[1])
        return rows, columns
    columns, rows = _where(flags.T)
    return rows, columns


def _counts(flags: Array) -> Indices:
    """True entries of each row (R, C), whichever axis lies together in memory."""
    if flags.flags.c_contiguous:
        return np.count_nonzero(flags, axis=1)
    # Bytes added row on row are the fastest sum there is, as long as none overflows.
    across, total = flags.T.view(np.uint8), np.zeros(len(flags), dtype=np.int64)
    for part in blocks(len(across), ROWS_OF_A_BYTE):
        total += np.add.reduce(across[part], axis=0, dtype=np.uint8)
    return total


def _unit(vectors: Array, sizes: Doubles, step: int) -> npt.NDArray[np.float32]:
    unit = np.empty(vectors.shape, dtype=np.float32)
    for rows in blocks(len(vectors), step):
        unit[rows] = vectors[rows] / sizes[rows, None]
    return unit
