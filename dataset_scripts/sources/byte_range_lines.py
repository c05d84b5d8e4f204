"""Text files of one row a line, plain or gzip: cut into byte ranges at line ends, and read as bounded lines."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

# A row of metadata is some kilobytes. What is longer is a file that is not made of lines.
MAX_LINE_BYTES = 16 * 2**20
_SAMPLE_BYTES = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its name ends so."""
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def first_line(path: Path) -> tuple[bytes, int]:
    """Return the first line that is not blank, without byte order mark and line end, and the place after it."""
    after = 0
    for line in every_line(path):
        if line is None:
            raise ValueError(f"the first line of {str(path)!r} is longer than {MAX_LINE_BYTES} bytes.")
        after += len(line)
        if line.strip():
            break
    else:
        return b"", after
    with open_binary(path) as file:
        after += len(_BYTE_ORDER_MARK) if file.read(3) == _BYTE_ORDER_MARK else 0
    return line.rstrip(b"\r\n"), after


def byte_ranges(path: Path, start: int, rows_per_part: int) -> list[tuple[int, int]]:
    """Cut a plain file, from `start` on, into ranges that end at line ends and hold about so many lines.

    The length of a line is that of the first ones, so the cuts depend on nothing but the file.
    """
    size = path.stat().st_size
    if size <= start:
        return []
    with path.open("rb") as file:
        file.seek(start)
        sample = file.read(_SAMPLE_BYTES)
        step = max(1, len(sample) * rows_per_part // max(1, sample.count(b"\n")))
        cuts = [start]
        while cuts[-1] + step < size:
            file.seek(cuts[-1] + step - 1)
            cut = _skip_line(file)
            if cut >= size:
                break
            cuts.append(cut)
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def read_lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a range that are not blank, with their numbers from 1 in the range, without line ends.

    A line longer than MAX_LINE_BYTES comes as None, and is not held.
    """
    for number, line in enumerate(every_line(path, start, end), start=1):
        if line is None:
            yield number, None
        elif line.strip():
            yield number, line.rstrip(b"\r\n")


def every_line(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
    """Yield all lines of a range with their line ends; None is a line longer than MAX_LINE_BYTES."""
    with open_binary(path) as file:
        file.seek(start)
        place = start
        while (end is None or place < end) and (line := file.readline(MAX_LINE_BYTES)):
            content = line.removeprefix(_BYTE_ORDER_MARK) if place == 0 else line
            place += len(line)
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                place = _skip_line(file)
                yield None
            else:
                yield content


def _skip_line(file: IO[bytes]) -> int:
    """Go on to the end of the line, and return the place."""
    while (piece := file.readline(_SAMPLE_BYTES)) and not piece.endswith(b"\n"):
        pass
    return file.tell()
