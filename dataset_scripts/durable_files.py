"""Files that are whole or absent: written beside their place, flushed to the disk, renamed, and the rename flushed.

After `kill -9` or a full disk a file of this kind is either the one before or the new one.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PART = ".part"


class DiskFullError(OSError):
    """No space is left for a file; what was finished before is untouched."""


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then make it the file at `path`."""
    # The process in the name: a worker that outlives its driver may still be writing the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    with named_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            flush_to_disk(temporary)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    flush_to_disk(path.parent)


def write_text_durably(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_durably(path, lambda temporary: _write_text(temporary, text))


def flush_to_disk(path: Path) -> None:
    """Wait until the file, or the entries of the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed run left."""
    for path in sorted(folder.rglob(f".*{_PART}")):
        path.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Whether a file of this name is a temporary file of a run that was killed, or of one that still runs."""
    return name.startswith(".") and name.endswith(_PART)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def named_disk_errors(path: Path) -> Iterator[None]:
    """Turn the forms in which libraries report a full disk into one error that says what to do."""
    try:
        yield
    except OSError as error:
        if _is_disk_full(error):
            raise DiskFullError(
                errno.ENOSPC,
                f"no space is left to write {path.name} in {path.parent}. Everything finished so far is kept: free "
                "some space, or move the folder to a larger disk, and run the same command again",
            ) from error
        raise


def _is_disk_full(error: OSError) -> bool:
    """Arrow gives the number in its text only."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return error.errno in codes or any(f"[errno {code}]" in str(error).lower() for code in codes)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
