"""Retrieval by cosine: exact ranks in blocks, recall at k, and how sure it is. Pure functions on arrays.

Shapes: Q queries, G gallery entries, D width.
"""

from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.str_]
Ranks = npt.NDArray[np.int64]

BLOCK = 1024
DRAWS_AT_ONCE = 50


def ranks_of_first_positive(queries: Floats, gallery: Floats, query_keys: Keys, gallery_keys: Keys) -> Ranks:
    """Rank (Q,), from 0, of the best gallery entry whose key is the query's.

    A negative that ties with the positive ranks before it: an embedding that is equal everywhere scores nothing.

    Args:
        queries: Embeddings (Q, D); normalised here.
        gallery: Embeddings (G, D); normalised here.
        query_keys: What each query shows (Q,).
        gallery_keys: What each gallery entry shows (G,).

    Raises:
        ValueError: An embedding is not finite, or a query has no positive in the gallery.
    """
    queries, gallery = _unit(queries, "queries"), _unit(gallery, "gallery")
    ranks = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = queries[rows] @ gallery.T
        positive = query_keys[rows, None] == gallery_keys[None, :]
        lost = ~positive.any(axis=1)
        if lost.any():
            raise ValueError(f"query {start + int(lost.argmax())} has no positive in the gallery.")
        best = np.where(positive, scores, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = ((scores >= best) & ~positive).sum(axis=1)
    return ranks


def recall_at(ranks: Ranks, k: int) -> float:
    """Share of queries whose first positive is among the k best."""
    return float((ranks < k).mean())


def mean_interval(values: npt.NDArray[np.float64], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over cases."""
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


def _unit(vectors: Floats, name: str) -> Floats:
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} hold {int((~np.isfinite(vectors)).any(axis=1).sum())} rows that are not finite.")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
