"""Records of JSON Lines and CSV files, plain or gzip, that can be read from the middle on."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from ..stages.rejects import RefusedError
from .listing_text import clean_text

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it begins: enough to begin reading there."""

    offset: int
    """Bytes before it (of the unpacked file)."""
    line: int
    """Number of its first line, from 1."""
    values: dict[str, Any] | RefusedError


@dataclass(slots=True)
class _Lines:
    """Iterates over the lines of a file and knows where it stands; bytes that are not UTF-8 become surrogates."""

    handle: IO[bytes]
    offset: int
    line: int

    def __iter__(self) -> Iterator[str]:
        for raw in self.handle:
            text = raw.decode("utf-8", "surrogateescape")
            text = text.removeprefix(_BYTE_ORDER_MARK) if self.offset == 0 else text
            self.offset += len(raw)
            self.line += 1
            yield text


def read_jsonl(path: Path, *, offset: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield the objects of a JSON Lines file; empty lines are no records."""
    with _open(path) as handle:
        handle.seek(offset)
        lines = _Lines(handle, offset, line)
        start = (offset, line)
        for text in _undamaged(iter(lines), path):
            if text.strip():
                yield Record(*start, _parse_json(text, f"{path.name}, line {start[1]}"))
            start = (lines.offset, lines.line)


def read_csv(path: Path, *, offset: int = 0, line: int = 1) -> Iterator[Record]:
    """Yield the rows of a CSV file by the names of its first row; empty lines are no records."""
    columns = csv_columns(path)
    with _open(path) as handle:
        handle.seek(offset)
        lines = _Lines(handle, offset, line)
        rows = csv.reader(_undamaged(iter(lines), path))
        if offset == 0:
            next(rows)
        while True:
            start = (lines.offset, lines.line)
            where = f"{path.name}, line {start[1]}"
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(*start, RefusedError("malformed_row", f"{where}: {error}"))
                continue
            if cells:
                yield Record(*start, _name_cells(columns, cells, where))


def csv_columns(path: Path) -> tuple[str, ...]:
    """Return the names of the columns, from the first row.

    Raises:
        ValueError: there is no first row, or it names a column twice.
    """
    with _open(path) as handle:
        columns = tuple(clean_text(cell) for cell in next(csv.reader(_undamaged(iter(_Lines(handle, 0, 1)), path)), []))
    if not any(columns) or len(set(columns)) < len(columns):
        raise ValueError(
            f"{path} begins with {', '.join(columns) or 'an empty line'}; wanted the names of its columns."
        )
    return columns


def load_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: the file is not UTF-8, or not JSON; the message says where.
    """
    data = path.read_bytes()
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} on line {line}. "
            f"Convert it first, for example: iconv -f GB18030 -t UTF-8 {path.name} > utf8.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}. Download or unpack it again.") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _undamaged(lines: Iterator[str], path: Path) -> Iterator[str]:
    """Name the file where the decompressor only says what is wrong."""
    try:
        yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}. Download it again.") from error


def _parse_json(text: str, where: str) -> dict[str, Any] | RefusedError:
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        return RefusedError("malformed_row", f"{where}: not UTF-8")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return RefusedError("malformed_row", f"{where}: {error}")
    if not isinstance(values, dict):
        return RefusedError("malformed_row", f"{where}: a {type(values).__name__}, wanted an object")
    return values


def _name_cells(columns: tuple[str, ...], cells: list[str], where: str) -> dict[str, Any] | RefusedError:
    if len(cells) != len(columns):
        return RefusedError("malformed_row", f"{where}: {len(cells)} cells, wanted {len(columns)}")
    text = "".join(cells)
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        return RefusedError("malformed_row", f"{where}: not UTF-8")
    return dict(zip(columns, cells, strict=True))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
