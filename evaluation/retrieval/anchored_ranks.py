"""Ranks anchored to a manifest: what a model did not embed stays in the denominator and counts as wrong.

Shapes: M manifest rows, E embedded rows, Q queries, G gallery entries, D width.
"""

import numpy as np
import numpy.typing as npt

from . import exact_ranks
from .exact_ranks import Indices as Indices
from .exact_ranks import Ranks, sorted_pairs
from .recall import Floats, Keys, ranks_of_first_positive

Booleans = npt.NDArray[np.bool_]

NEVER = exact_ranks.NEVER
RECALLS = (1, 5, 10)


def refuse_duplicates(ids: Keys, name: str) -> None:
    """Raises a ValueError that names an id which occurs twice."""
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        twice = names[counts > 1]
        raise ValueError(f"{name} hold {len(twice)} ids more than once, such as {str(twice[0])!r}; ids must be unique.")


def anchor(ids: Keys, embedded_ids: Keys, embeddings: Floats, name: str) -> tuple[Floats, Booleans]:
    """Unit embeddings (M, D) in the order of the manifest, and which rows (M,) have one; the others are zero.

    Args:
        ids: Every id of the manifest (M,).
        embedded_ids: The ids that were embedded (E,), in any order.
        embeddings: Their embeddings (E, D), of any norm.
        name: What the rows are, for messages.

    Raises:
        ValueError: Ids repeat, are not in the manifest, or have an embedding that is not finite.
    """
    refuse_duplicates(ids, f"the manifest's {name}")
    refuse_duplicates(embedded_ids, f"the embedded {name}")
    if embeddings.ndim != 2 or len(embedded_ids) != len(embeddings):
        raise ValueError(f"{name}: {len(embedded_ids)} ids for embeddings of shape {embeddings.shape}; one row per id.")
    rows = {key: row for row, key in enumerate(ids.tolist())}
    unknown = [key for key in embedded_ids.tolist() if key not in rows]
    if unknown:
        raise ValueError(f"{name} hold {len(unknown)} ids that the manifest lacks, such as {unknown[0]!r}.")
    broken = ~np.isfinite(embeddings).all(axis=1)
    if broken.any():
        first = str(embedded_ids[broken][0])
        raise ValueError(f"{name} hold {int(broken.sum())} embeddings that are not finite, such as that of {first!r}.")
    place = np.array([rows[key] for key in embedded_ids.tolist()], dtype=np.int64)
    anchored = np.zeros((len(ids), embeddings.shape[1]), dtype=np.float32)
    present = np.zeros(len(ids), dtype=np.bool_)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    anchored[place] = embeddings / np.maximum(norms, 1e-12)
    present[place] = True
    return anchored, present


def ranks_of_keys(
    queries: Floats,
    gallery: Floats,
    query_keys: Keys,
    gallery_keys: Keys,
    query_present: Booleans,
    gallery_present: Booleans,
) -> Ranks:
    """`ranks_of_first_positive` of the rows that are present; `NEVER` for an absent query or positive."""
    keys = gallery_keys[gallery_present]
    found = query_present & np.isin(query_keys, keys)
    ranks = np.full(len(queries), NEVER, dtype=np.int64)
    if found.any():
        entries = _kept(gallery, gallery_present)
        ranks[found] = ranks_of_first_positive(_kept(queries, found), entries, query_keys[found], keys)
    return ranks


def ranks_of_keys_both_ways(
    queries: Floats,
    gallery: Floats,
    query_keys: Keys,
    gallery_keys: Keys,
    query_present: Booleans,
    gallery_present: Booleans,
) -> tuple[Ranks, Ranks]:
    """`ranks_of_keys` of the queries (Q,) in the gallery and of the gallery (G,) in the queries, from one product."""
    there, back = (np.full(len(vectors), NEVER, dtype=np.int64) for vectors in (queries, gallery))
    there[query_present], back[gallery_present] = exact_ranks.exact_ranks(
        _kept(queries, query_present),
        _kept(gallery, gallery_present),
        exact_ranks.key_positives(query_keys[query_present], gallery_keys[gallery_present]),
        both_ways=True,
    )
    return there, back


def ranks_of_pairs(
    queries: Floats,
    gallery: Floats,
    positives: tuple[Indices, Indices],
    query_present: Booleans,
    gallery_present: Booleans,
) -> Ranks:
    """Rank (Q,), from 0, of the best positive where positives are pairs, as sharing is not transitive.

    As in `ranks_of_first_positive`, a negative that ties with the positive ranks before it.

    Args:
        queries: Unit embeddings (Q, D).
        gallery: Unit embeddings (G, D).
        positives: Query index and gallery index of every positive pair.
        query_present: Which queries were embedded; `NEVER` for the others.
        gallery_present: Which entries were embedded; the others are never retrieved.
    """
    ranks = np.full(len(queries), NEVER, dtype=np.int64)
    there = query_present[positives[0]] & gallery_present[positives[1]]
    # The places of the rows that are present among themselves.
    places = [np.cumsum(present) - 1 for present in (query_present, gallery_present)]
    pairs = sorted_pairs(places[0][positives[0][there]], places[1][positives[1][there]])
    found, _ = exact_ranks.exact_ranks(_kept(queries, query_present), _kept(gallery, gallery_present), pairs)
    ranks[query_present] = found
    return ranks


def _kept(vectors: Floats, present: Booleans) -> Floats:
    """The rows that are present, without a copy where all are."""
    return vectors if present.all() else vectors[present]
