"""Rows that may leak into each other, as connected components of the keys they share."""

import hashlib
from collections.abc import Sequence


def leak_groups(keys_of_rows: Sequence[Sequence[str]]) -> list[str]:
    """Name the connected component of every row, where rows that share any key are connected.

    Args:
        keys_of_rows: for each row the keys it can be confused by, such as its caption key or an image hash.

    Returns:
        One name per row, equal for rows of one component. The name is the hash of the component's smallest key,
        so it does not depend on the order of the rows. A row without keys is an error.
    """
    parent: dict[str, str] = {}
    for row, keys in enumerate(keys_of_rows):
        if not keys:
            raise ValueError(f"row {row} has no key to group by; give every row at least its caption key.")
        for key in keys:
            parent.setdefault(key, key)
            _join(parent, keys[0], key)
    return [group_name(_root(parent, keys[0])) for keys in keys_of_rows]


def _root(parent: dict[str, str], key: str) -> str:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


def _join(parent: dict[str, str], first: str, second: str) -> None:
    low, high = sorted((_root(parent, first), _root(parent, second)))
    parent[high] = low


def group_name(key: str) -> str:
    """The name of the group whose smallest key this is."""
    return "leak:" + hashlib.sha256(key.encode("utf-8")).hexdigest()[:24]
