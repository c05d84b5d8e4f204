"""Files of a source: listed in one order on every machine, kept inside their folder, cut into parts, fingerprinted.

Listing looks at names, sizes and times of change only; what stands in the files is read with the part.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .source_row import Part

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def require_folder(folder: Path) -> None:
    """Raise a ValueError where the folder of a source does not exist."""
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is not a folder; give the folder that holds the files of the source.")


def require_rows_per_part(rows_per_part: int) -> None:
    """Raise a ValueError where parts could not hold a row."""
    if rows_per_part < 1:
        raise ValueError(f"rows_per_part is {rows_per_part}, must be at least 1.")


def list_files(folder: Path, endings: Sequence[str]) -> list[str]:
    """Return the files at any depth whose names end so (in any case), as sorted paths relative to the folder.

    Hidden files and folders are skipped: they belong to the machine (`._a.tar`, `.cache`), not to the source.

    Raises:
        ValueError: a folder inside is a link, so that its files could be met twice, or lie elsewhere.
    """
    require_folder(folder)
    wanted = tuple(ending.lower() for ending in endings)
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise ValueError(f"{str(Path(place) / name)!r} is a link to a folder; put the folder itself there.")
        inside = Path(place).relative_to(folder)
        found += [
            (inside / name).as_posix() for name in files if name.lower().endswith(wanted) and not name.startswith(".")
        ]
    return sorted(found)


def confined(folder: Path, name: str) -> Path | None:
    """Return the path of a file named relative to the folder, or None where it, or its link, leads outside."""
    if "\0" in name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def fingerprint(folder: Path, names: Iterable[str]) -> str:
    """Return a hash of the files' names, sizes and times of change; a file that is missing counts as such."""
    state = hashlib.sha256()
    for name in names:
        try:
            facts = (folder / name).stat()
        except FileNotFoundError:
            line = f"{name}\0missing\n"
        else:
            line = f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
        state.update(line.encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def require_unchanged(folder: Path, names: Sequence[str], part: Part) -> None:
    """Raise a ValueError where files have changed since the part was listed: its ranges may cut rows apart."""
    if fingerprint(folder, names) != part.fingerprint:
        raise ValueError(
            f"{' and '.join(names)} in {str(folder)!r} changed since part {part.name!r} was listed; list it again."
        )


def part_of(index: int, label: str, fingerprint: str, where: dict[str, Any], rows: int | None = None) -> Part:
    """Return a part whose name starts with its place in the list and is fit for a file name."""
    words = _NOT_IN_NAMES.sub("-", label).strip("-.")[-80:]
    return Part(name=f"{index:06d}-{words}", fingerprint=fingerprint, where=where, rows=rows)
