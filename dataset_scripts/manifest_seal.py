"""A manifest carries the hash of its own text, so that one changed bit in it is seen."""

import hashlib
from collections.abc import Mapping
from typing import Any

from .dataset_manifest import manifest_text

SEAL = "self_sha256"


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with `self_sha256`: the hash of its text with that field empty. It is the last field."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    return {**rest, SEAL: _hash(rest)}


def is_sealed(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest is what was sealed."""
    return SEAL in manifest and manifest[SEAL] == sealed(manifest)[SEAL]


def _hash(rest: Mapping[str, Any]) -> str:
    return hashlib.sha256(manifest_text({**rest, SEAL: ""}).encode()).hexdigest()
