"""Decisions over all rows of a build: which rows are there twice, and which copy stays."""

from .row_table import RowTable
from .stages.near_duplicates import duplicate_clusters, keep_one_per_cluster
from .stages.rejects import Reject


def one_of_each_address(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep one row of every address; rows with bytes of their own have none."""
    ids = table.values("id")
    addresses = [url if url is not None else ("", row_id) for url, row_id in zip(table.values("url"), ids, strict=True)]
    return keep_one_per_cluster(addresses, sources=table.values("source"), identities=ids, reason="equal_address")


def one_of_each_id(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep the first row of every id."""
    seen: set[str] = set()
    kept, rejects = [], []
    for row, row_id in enumerate(table.values("id")):
        if row_id in seen:
            rejects.append(Reject(row, "equal_id", row_id))
        else:
            seen.add(row_id)
            kept.append(row)
    return kept, rejects


def one_of_each_image(table: RowTable) -> tuple[list[int], list[Reject]]:
    """Keep one row of every set of equal images."""
    return keep_one_per_cluster(
        table.values("sha256"), sources=table.values("source"), identities=table.values("id"), reason="equal_image"
    )


def one_of_near(table: RowTable, radius: int) -> tuple[list[int], list[Reject]]:
    """Keep one row of every cluster of near duplicates."""
    clusters = duplicate_clusters(hash_columns=[table.numbers("perceptual_hash")], key_columns=[], radius=radius)
    return keep_one_per_cluster(
        clusters.tolist(), sources=table.values("source"), identities=table.values("id"), reason="near_duplicate"
    )
