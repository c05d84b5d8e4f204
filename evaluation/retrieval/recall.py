"""Retrieval by cosine: exact ranks, recall at k, and how sure it is. Pure functions on arrays.

Shapes: Q queries, G gallery entries, D width.
"""

from math import comb

import numpy as np
import numpy.typing as npt

from .exact_ranks import GALLERY_BLOCK, NEVER, QUERY_BLOCK, KeyPositives, exact_ranks, key_positives
from .exact_ranks import Ranks as Ranks

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.str_]

DRAWS_AT_ONCE = 50


def ranks_of_first_positive(
    queries: Floats,
    gallery: Floats,
    query_keys: Keys,
    gallery_keys: Keys,
    *,
    query_block: int = QUERY_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> Ranks:
    """Rank (Q,), from 0, of the best gallery entry whose key is the query's.

    A negative that ties with the positive ranks before it: an embedding that is equal everywhere scores nothing.
    The gallery is read in blocks; a memory-mapped file may be longer than memory.

    Args:
        queries: Embeddings (Q, D) of any norm.
        gallery: Embeddings (G, D) of any norm.
        query_keys: What each query shows (Q,).
        gallery_keys: What each gallery entry shows (G,).
        query_block: Queries of one block; the ranks do not depend on it.
        gallery_block: Gallery entries of one block; nor on this.

    Raises:
        ValueError: An embedding is not finite, or a query has no positive in the gallery.
    """
    positives = _positives(queries, gallery, query_keys, gallery_keys)
    ranks, _ = exact_ranks(queries, gallery, positives, query_block=query_block, gallery_block=gallery_block)
    _refuse_lost(ranks, "query", "gallery")
    return ranks


def ranks_both_ways(
    queries: Floats,
    gallery: Floats,
    query_keys: Keys,
    gallery_keys: Keys,
    *,
    query_block: int = QUERY_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> tuple[Ranks, Ranks]:
    """`ranks_of_first_positive` of the queries (Q,) in the gallery and of the gallery (G,) in the queries.

    One product serves both, so this takes little longer than one direction.
    """
    positives = _positives(queries, gallery, query_keys, gallery_keys)
    ranks, back = exact_ranks(
        queries, gallery, positives, both_ways=True, query_block=query_block, gallery_block=gallery_block
    )
    _refuse_lost(ranks, "query", "gallery")
    _refuse_lost(back, "gallery entry", "queries")
    return ranks, back


def recall_at(ranks: Ranks, k: int) -> float:
    """Share of queries whose first positive is among the k best."""
    return float((ranks < k).mean())


def mean_interval(values: npt.NDArray[np.float64], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a share over cases; of one case, which says nothing, all from 0 to 1."""
    if len(values) < 2:
        return 0.0, 1.0
    generator, means = np.random.default_rng(seed), []
    for start in range(0, draws, DRAWS_AT_ONCE):
        sample = generator.integers(len(values), size=(min(DRAWS_AT_ONCE, draws - start), len(values)))
        means.append(values[sample].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def chance_recall(query_keys: Keys, gallery_keys: Keys, k: int) -> float:
    """Expected recall at k of a random order: one minus the chance that all k are negatives."""
    size = len(gallery_keys)
    k = min(k, size)
    names, counts = np.unique(gallery_keys, return_counts=True)
    positives = dict(zip(names.tolist(), counts.tolist(), strict=True))
    misses = [comb(size - positives[key], k) / comb(size, k) for key in query_keys.tolist()]
    return 1.0 - float(np.mean(misses))


def _positives(queries: Floats, gallery: Floats, query_keys: Keys, gallery_keys: Keys) -> KeyPositives:
    for name, vectors, keys in (("queries", queries, query_keys), ("gallery", gallery, gallery_keys)):
        if len(vectors) != len(keys):
            raise ValueError(f"{len(vectors)} {name} have {len(keys)} keys; wanted one key for each.")
    return key_positives(query_keys, gallery_keys)


def _refuse_lost(ranks: Ranks, name: str, among: str) -> None:
    lost = ranks == NEVER
    if lost.any():
        raise ValueError(f"{name} {int(lost.argmax())} has no positive in the {among}.")
