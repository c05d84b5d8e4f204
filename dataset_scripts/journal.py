"""The journal of a build: one line for every finished shard, written after the shard is on the disk.

A shard counts as done when its line has the key of what is wanted now (settings and inputs), and the file on the
disk still has the recorded SHA-256. Every line carries its own hash; one that was cut off by a kill, or damaged, is
ignored, and its shard is made again.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .durable_files import file_sha256, named_disk_errors


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """A finished shard."""

    step: str
    shard: str
    key: str
    """Hash of everything that decides the content."""
    file: str
    """Path of the file, relative to the folder that its step writes to."""
    rows: int
    bytes: int
    sha256: str
    facts: Mapping[str, Any]
    """What the step says of the shard: rows in, rejects by reason, and the like."""


class BuildLockedError(RuntimeError):
    """Another process is building in the same work folder."""


class Journal:
    """Finished shards of a work folder; the last line of a shard counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[tuple[str, str], ShardRecord] = {}
        self._verified: set[tuple[str, str, str]] = set()
        if path.exists():
            for record in _read_lines(path):
                self._records[record.step, record.shard] = record

    def find(self, step: str, shard: str, key: str, folder: Path) -> ShardRecord | None:
        """Return the record of a shard if it is what is wanted, and its file is whole."""
        record = self._records.get((step, shard))
        if record is None or record.key != key or not self._is_whole(record, folder / record.file):
            return None
        return record

    def last(self, step: str, shard: str) -> ShardRecord | None:
        """Return what was last written for a shard, whatever its key."""
        return self._records.get((step, shard))

    def append(self, record: ShardRecord) -> None:
        """Add a line, and wait until it is on the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Keys in their order: what is read back makes the same manifest as what was never written.
        text = json.dumps(asdict(record))
        line = f"{_line_hash(text)} {text}\n"
        with named_disk_errors(self._path), self._path.open("ab") as file:
            if _ends_within_a_line(self._path):
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._records[record.step, record.shard] = record
        self._verified.add((record.file, record.step, record.sha256))

    def _is_whole(self, record: ShardRecord, path: Path) -> bool:
        """Hash a file once in a run: what this run wrote or has looked at is not read again."""
        identity = (record.file, record.step, record.sha256)
        if identity in self._verified:
            return path.exists() and path.stat().st_size == record.bytes
        if not path.exists() or path.stat().st_size != record.bytes or file_sha256(path) != record.sha256:
            return False
        self._verified.add(identity)
        return True


def content_key(*parts: Any) -> str:
    """Hash of JSON-able values, for telling whether a shard is what is wanted."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    # Names of files that are not UTF-8 hold surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a work folder for this process; the lock ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildLockedError(
                f"another process is building in {folder}; wait for it, or choose another --output."
            ) from error
        yield


def _read_lines(path: Path) -> Iterator[ShardRecord]:
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        found, _, text = line.partition(" ")
        if found == _line_hash(text):
            yield ShardRecord(**json.loads(text))


def _line_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ends_within_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
