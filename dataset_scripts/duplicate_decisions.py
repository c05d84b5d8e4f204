"""Decisions over all rows of a build: which rows are there twice, and which copy stays."""

import numpy as np
import pyarrow.compute as pc

from .row_table import RowTable
from .stages.near_duplicates import Keys, duplicate_clusters, keep_one_per_cluster
from .stages.rejects import Reject


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
    return keep_one_per_cluster(
        clusters, sources=table.text("source"), identities=table.text("id"), reason="near_duplicate"
    )


def _one_of(table: RowTable, keys: Keys, reason: str) -> tuple[list[int], list[Reject]]:
    return keep_one_per_cluster(keys, sources=table.text("source"), identities=table.text("id"), reason=reason)
