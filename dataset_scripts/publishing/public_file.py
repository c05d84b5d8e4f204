"""A file as it goes to the Hub: where it lies there, where its bytes are, and what they must be."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..durable_files import file_sha256


@dataclass(frozen=True, kw_only=True)
class PublicFile:
    """A file as it goes to the Hub."""

    path: str
    """Path in the repository."""
    content: Path | bytes
    bytes: int
    sha256: str


def written_file(path: str, content: bytes) -> PublicFile:
    """A file whose bytes are in memory."""
    return PublicFile(path=path, content=content, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def disk_file(path: str, place: Path) -> PublicFile:
    """A file whose bytes are on this machine; it is read once, for its hash."""
    return PublicFile(path=path, content=place, bytes=place.stat().st_size, sha256=file_sha256(place))
