"""Reads the samples of a WebDataset tar of RS5M in one pass: `KEY.img_content`, `KEY.img_name`, `KEY.caption`.

Nothing is extracted, so names of members that lead elsewhere do no harm; one sample is held at a time.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from .confined_files import MAX_FILE_BYTES

IMAGE, IMAGE_NAME, CAPTION = "img_content", "img_name", "caption"
_MAX_BYTES = {IMAGE: MAX_FILE_BYTES, IMAGE_NAME: 2**16, CAPTION: 2**20}
_CHUNK_BYTES = 2**20


@dataclass(slots=True)
class Sample:
    """The members that share a key; with a problem, one that is no sample, or the place where the tar breaks off."""

    place: str
    fields: dict[str, bytes] = field(default_factory=dict)
    problem: tuple[str, str] | None = None


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a tar in order; a key that comes again later begins another sample.

    A tar that is cut off or damaged yields the whole samples before that, then the problem `truncated_archive`.
    """
    sample: Sample | None = None
    with path.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # The archive remembers every member it has met, and there are hundreds of thousands.
                    archive.members.clear()  # type: ignore[attr-defined]
                    key, ending = _split(member.name)
                    if sample is not None and sample.place != key:
                        yield sample
                        sample = None
                    problem = _problem_of(member, ending, sample)
                    if problem is not None:
                        yield Sample(key, problem=problem)
                        continue
                    content = archive.extractfile(member)
                    data = b"" if content is None else content.read()
                    if len(data) != member.size:
                        raise tarfile.ReadError(f"{member.name} ends after {len(data)} of {member.size} bytes")
                    sample = sample or Sample(key)
                    sample.fields[ending] = data
                end = archive.offset
            _require_only_zeros(file, end)
        except (tarfile.TarError, EOFError, ValueError) as error:
            # Only the key of the next sample would have told that this one is at its end; with all members, it is.
            if sample is not None and len(sample.fields) == len(_MAX_BYTES):
                yield sample
            place = "at the first row" if sample is None else f"in or after {sample.place}"
            yield Sample(place, problem=("truncated_archive", f"{type(error).__name__}: {error}"))
        else:
            if sample is not None:
                yield sample


def _split(name: str) -> tuple[str, str]:
    """Split as WebDataset does: at the first dot of the last component."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    return (path.parent / stem).as_posix(), ending


def _problem_of(member: tarfile.TarInfo, ending: str, sample: Sample | None) -> tuple[str, str] | None:
    if not member.isreg() or ending not in _MAX_BYTES:
        return "unknown_member", f"{member.name!r} is no {IMAGE}, {IMAGE_NAME} or {CAPTION}"
    if member.size > _MAX_BYTES[ending]:
        return "member_too_large", f"{member.name!r} has {member.size} bytes, at most {_MAX_BYTES[ending]}"
    if sample is not None and ending in sample.fields:
        return "duplicate_member", f"{member.name!r} comes again; the first one is kept"
    return None


def _require_only_zeros(file: IO[bytes], place: int) -> None:
    """Tell the end of a tar from a damaged header: `tarfile` stops at both, but only zeros follow the end."""
    file.seek(place)
    found = 0
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError(f"the header at byte {place} is damaged")
        found += len(chunk)
    if found < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"the archive ends at byte {place} without its closing block")
