"""Sources in which each row is a file of its own: listed into parts that name the files, and read within bounds."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from .file_parts import fingerprint, part_of, require_rows_per_part
from .source_row import Part


def parts_of_names(
    folder: Path, names: Sequence[str], companions: Iterable[Sequence[str]], rows_per_part: int
) -> list[Part]:
    """Cut a list of rows into parts that name them, so that a file that vanishes after the listing is missed.

    Args:
        folder: what the names are relative to.
        names: the name of each row, in order.
        companions: for each row, every file it is read from; the fingerprint is of these.
        rows_per_part: rows of a part at most.
    """
    require_rows_per_part(rows_per_part)
    files = iter(companions)
    parts: list[Part] = []
    for start in range(0, len(names), rows_per_part):
        chunk = list(names[start : start + rows_per_part])
        state = fingerprint(folder, (name for _ in chunk for name in next(files)))
        label = PurePosixPath(chunk[0]).parent.as_posix()
        parts.append(part_of(len(parts), label, state, {"names": chunk}, len(chunk)))
    return parts
