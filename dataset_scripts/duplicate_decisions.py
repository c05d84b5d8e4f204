"""Decisions over all rows of a build: which rows are there twice, and which copy stays."""

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from .rights import row_rights
from .row_table import RowTable
from .stages.near_duplicates import Keys, duplicate_clusters, keep_one_per_cluster
from .stages.rejects import Reject

# Infrared images, the best first; anything else was made of the RGB image.
_WORTH = {"sensor": 0, "simulated": 1, "none": 3}
_MADE = 2


def one_of_each_address(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep one row of every address; rows with bytes of their own have none."""
    ids = pc.binary_join_element_wise("", table.text("id").arrow, "\0")
    return _one_of(table, pc.coalesce(table.text("url").arrow, ids), "equal_address")


def one_of_each_id(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep the first row of every id."""
    ids = table.text("id")
    codes = ids.arrow.dictionary_encode().indices.to_numpy()
    _, firsts = np.unique(codes, return_index=True)
    others = np.setdiff1d(np.arange(len(codes)), firsts)
    return np.sort(firsts).tolist(), [Reject(row, "equal_id", ids[row]) for row in others.tolist()]


def one_of_each_image(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep one row of every set of equal images."""
    return _one_of(table, table.text("sha256").arrow, "equal_image")


def one_of_near(table: RowTable, radius: int) -> tuple[list[int], list[Reject]]:
    """Keep one row of every cluster of near duplicates."""
    clusters = duplicate_clusters(hash_columns=[table.numbers("perceptual_hash")], key_columns=[], radius=radius)
    return _one_of(table, clusters, "near_duplicate")


def _one_of(table: RowTable, keys: Keys | NDArray[np.int64], reason: str) -> tuple[list[int], list[Reject]]:
    return keep_one_per_cluster(
        keys, sources=table.text("source"), identities=table.text("id"), reason=reason, ranks=_ranks(table)
    )


def _ranks(table: RowTable) -> NDArray[np.int64]:
    """What would be lost with a row: a measured infrared image first, then the right to hand the image on."""
    licenses = table.text("license").arrow.dictionary_encode()
    may_go = np.array([row_rights(text).images for text in licenses.dictionary.to_pylist()], dtype=np.int64)
    withheld = 1 - may_go[licenses.indices.to_numpy()]
    if "infrared_origin" not in table.table.column_names:
        return withheld
    origins = pc.fill_null(table.text("infrared_origin").arrow, "none").dictionary_encode()
    worth = np.array([_WORTH.get(text, _MADE) for text in origins.dictionary.to_pylist()], dtype=np.int64)
    return 2 * worth[origins.indices.to_numpy()] + withheld
