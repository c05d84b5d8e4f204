"""Search of a gallery by cosine: approximate by usearch or faiss, or exact in blocks. For search, never for a metric.

An approximate index loses entries without a word: measure how many with `recall_against_exact`, and report recall at k
from `retrieval.ranks_of_first_positive` alone. Shapes: Q queries, G gallery entries, D width, K results.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from .exact_ranks import QUERY_BLOCK, Array, Doubles, Indices, blocks, norms

Kind = Literal["exact", "usearch", "faiss"]

ADDED_AT_ONCE = 16_384
NEIGHBOURS_OF_A_NODE = 32


@dataclass(frozen=True, kw_only=True)
class SearchIndex:
    """A gallery that can be searched; `build_index` makes one."""

    kind: Kind
    gallery: Array
    """(G, D), as given."""
    gallery_norms: Doubles
    """(G,)"""
    graph: Any
    """The library's index; None for `exact`."""

    def search(self, queries: Array, k: int) -> tuple[Indices, Array]:
        """The k entries of highest cosine, best first, and their cosines: (Q, K) each.

        Entries of equal cosine come in the order of the gallery for `exact`.

        Raises:
            ValueError: k is not in 1..G, a query is not finite or of another width, or the graph found fewer than k.
        """
        size, width = self.gallery.shape
        if not 1 <= k <= size:
            raise ValueError(f"k is {k}, wanted 1 to {size}, the entries of the gallery.")
        if queries.ndim != 2 or queries.shape[1] != width:
            raise ValueError(f"queries have shape {queries.shape}, wanted (Q, {width}), the width of the gallery.")
        unit = _unit(queries, norms(queries, "queries"))
        found, cosines = np.empty((len(unit), k), dtype=np.int64), np.empty((len(unit), k), dtype=np.float32)
        for rows in blocks(len(unit), QUERY_BLOCK):
            if self.kind == "exact":
                found[rows], cosines[rows] = _exact_best(unit[rows], self.gallery, self.gallery_norms, k)
            elif self.kind == "usearch":
                # Of one query alone the library returns one row without its axis.
                matches = self.graph.search(unit[rows], k)
                _refuse_short(np.size(matches.keys), len(unit[rows]) * k, "usearch")
                found[rows] = np.reshape(matches.keys, (-1, k))
                cosines[rows] = 1 - np.reshape(matches.distances, (-1, k))
            else:
                cosines[rows], found[rows] = self.graph.search(unit[rows], k)
                _refuse_short(int((found[rows] >= 0).sum()), found[rows].size, "faiss")
        return found, cosines


def build_index(gallery: Array, kind: Kind) -> SearchIndex:
    """Index a gallery (G, D) of any norm, such as a memory-mapped file.

    Args:
        gallery: Embeddings; `exact` keeps no copy of them, the graphs keep their own in memory.
        kind: `usearch` or `faiss` for an approximate graph (HNSW), `exact` for a product in blocks, where asked for:
            a library that is not installed is never replaced by it.

    Raises:
        ModuleNotFoundError: The library is not installed.
        ValueError: The kind is unknown, or the gallery is empty, not (G, D) or not finite.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}, wanted {' or '.join(map(repr, get_args(Kind)))}.")
    if gallery.ndim != 2 or not gallery.size:
        raise ValueError(f"the gallery has shape {gallery.shape}, wanted (G, D) with at least one entry.")
    if kind == "exact":
        return SearchIndex(kind=kind, gallery=gallery, gallery_norms=norms(gallery, "gallery"), graph=None)
    width = gallery.shape[1]
    graph = _usearch_graph(width) if kind == "usearch" else _faiss_graph(width)
    sizes = norms(gallery, "gallery")
    for rows in blocks(len(gallery), ADDED_AT_ONCE):
        part = _unit(gallery[rows], sizes[rows])
        if kind == "usearch":
            graph.add(np.arange(rows.start, rows.stop, dtype=np.uint64), part)
        else:
            graph.add(part)
    return SearchIndex(kind=kind, gallery=gallery, gallery_norms=sizes, graph=graph)


def recall_against_exact(index: SearchIndex, queries: Array, k: int) -> float:
    """Share of the k best cosines that the index reaches: 1 for an exact one.

    An entry that ties with the k-th best counts as found whichever of the tied the exact search lists.
    """
    found, _ = index.search(queries, k)
    if not len(queries):
        raise ValueError("no queries; wanted at least one to measure recall with.")
    _, best = build_index(index.gallery, "exact").search(queries, k)
    unit = _unit(queries, norms(queries, "queries")).astype(np.float64)
    hits = 0
    for row, entries in enumerate(found):
        vectors = np.asarray(index.gallery[entries], dtype=np.float64)
        cosines = vectors @ unit[row] / index.gallery_norms[entries]
        tolerance = (unit.shape[1] + 8) * float(np.finfo(np.float32).eps)
        hits += int((cosines >= best[row, -1] - tolerance).sum())
    return hits / found.size


def _exact_best(queries: Array, gallery: Array, sizes: Doubles, k: int) -> tuple[Indices, Array]:
    """The best so far are merged with those of each block, so memory does not grow with the gallery."""
    found, best = np.zeros((len(queries), 0), dtype=np.int64), np.zeros((len(queries), 0), dtype=np.float32)
    for columns in blocks(len(gallery), ADDED_AT_ONCE):
        scores = queries @ _unit(gallery[columns], sizes[columns]).T
        entries = np.broadcast_to(np.arange(columns.start, columns.stop), scores.shape)
        best, found = np.concatenate([best, scores], axis=1), np.concatenate([found, entries], axis=1)
        # The k-th best cosine; of those equal to it, the first entries stay.
        kept = min(k, best.shape[1])
        bound = -np.partition(-best, kept - 1, axis=1)[:, kept - 1 : kept]
        level = best == bound
        room = kept - (best > bound).sum(axis=1, keepdims=True)
        chosen = (best > bound) | (level & (np.cumsum(level, axis=1) <= room))
        best, found = best[chosen].reshape(-1, kept), found[chosen].reshape(-1, kept)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(best, order, axis=1)


def _unit(vectors: Array, sizes: Doubles) -> Array:
    return (vectors / sizes[:, None]).astype(np.float32)


def _usearch_graph(width: int) -> Any:
    try:
        from usearch.index import Index  # type: ignore[import-not-found, import-untyped]
    except ImportError as error:
        raise _absent("usearch", "usearch", error) from error
    return Index(ndim=width, metric="cos", dtype="f32", connectivity=NEIGHBOURS_OF_A_NODE)


def _faiss_graph(width: int) -> Any:
    try:
        import faiss  # type: ignore[import-not-found, import-untyped]
    except ImportError as error:
        raise _absent("faiss", "faiss-cpu", error) from error
    return faiss.IndexHNSWFlat(width, NEIGHBOURS_OF_A_NODE, faiss.METRIC_INNER_PRODUCT)


def _absent(name: str, package: str, error: ImportError) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{name} cannot be imported ({error}); run `pip install {package}`, or ask for the exact search with "
        "kind='exact'."
    )


def _refuse_short(got: int, wanted: int, name: str) -> None:
    if got != wanted:
        raise ValueError(f"{name} found {got} of {wanted} results; ask for fewer, or search with kind='exact'.")
