"""Files of records (Parquet, JSON lines, JSON arrays, CSV, TSV): cut into ranges, and read as dictionaries.

A record holds the wanted columns only. Nothing is held but the record, or the batch of some thousand, at hand.
"""

import csv
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet

from .byte_range_lines import MAX_LINE_BYTES, byte_ranges, every_line, first_line, read_lines
from .json_arrays import MalformedJSONError, read_json_array

PARQUET, LINES, ARRAY, CSV, TSV = ".parquet", (".jsonl", ".ndjson"), ".json", ".csv", ".tsv"
ENDINGS = (PARQUET, ARRAY, *(ending + zipped for ending in (*LINES, CSV, TSV) for zipped in ("", ".gz")))
_BATCH_ROWS = 4096
_FIRST_RECORDS = 100


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A place in a file where no record could be read."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RecordLayout:
    """What the ending of a file does not say."""

    tsv_columns: tuple[str, ...] = ()
    """Names of the columns of TSV files without a header; further columns are ignored. None: there is a header."""
    tsv_quoted: bool = True
    """Whether TSV files quote fields as CSV does; unquoted ones can be cut into ranges."""
    array_key: str | None = None
    """Key of the array of records in JSON files whose top level is an object."""


Record = Mapping[str, Any]
Range = Mapping[str, Any]


def kind_of(path: Path) -> str:
    """Return the ending that says how a file is read, without `.gz`."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def column_names(path: Path, layout: RecordLayout) -> list[str]:
    """Return the columns a file has: its schema or header, or the keys of its first hundred records."""
    match kind_of(path):
        case ".parquet":
            try:
                return list(_open_parquet(path).schema_arrow.names)
            except UnicodeDecodeError as error:
                raise ValueError(f"{str(path)!r} has a column whose name is not UTF-8; fetch it again.") from error
        case ".tsv" if layout.tsv_columns:
            return list(layout.tsv_columns)
        case ".csv" | ".tsv" as kind:
            return _header(path, kind, layout)[0]
        case _:
            first = [record for _, record in islice(read_records(path, {}, None, layout), _FIRST_RECORDS)]
            if first and isinstance(first[0], BadRecord) and first[0].reason == "truncated_archive":
                raise ValueError(f"{str(path)!r} cannot be read: {first[0].detail}")
            return list(dict.fromkeys(key for record in first if not isinstance(record, BadRecord) for key in record))


def ranges_of(path: Path, layout: RecordLayout, rows_per_part: int) -> list[tuple[dict[str, Any], int | None]]:
    """Cut a file into ranges of about so many records, each with its number of records where that is known.

    Parquet is cut between row groups, JSON lines and unquoted TSV at line ends. A compressed file, a JSON array, and
    a table whose quoted fields may hold line ends are one range.
    """
    kind = kind_of(path)
    if kind == PARQUET:
        return _row_group_ranges(path, rows_per_part)
    if path.suffix.lower() == ".gz" or kind in (ARRAY, CSV) or (kind == TSV and layout.tsv_quoted):
        return [({}, None)]
    start = _header(path, kind, layout)[1] if kind == TSV and not layout.tsv_columns else 0
    return [({"start": start, "end": end}, None) for start, end in byte_ranges(path, start, rows_per_part)]


def place_of(path: Path, where: Range, number: int) -> str:
    """Return where in its file a record of a range stands, for people."""
    match kind_of(path):
        case ".parquet":
            return f"row {number} from row group {where.get('first_group', 0)}"
        case ".json":
            return f"element {number}"
        case _:
            return f"line {number}" + (f" after byte {where['start']}" if where.get("start") else "")


def read_records(
    path: Path, where: Range, columns: Sequence[str] | None, layout: RecordLayout
) -> Iterator[tuple[int, Record | BadRecord]]:
    """Yield the records of a range with their number in it: the line for text (from 1), else the record (from 1).

    Args:
        path: the file.
        where: a range of `ranges_of`.
        columns: those that are wanted, and all are there; None for all.
        layout: how the file is written.
    """
    records = _records(path, where, columns, layout)
    number = 0
    try:
        for number, record in records:
            yield number, record
    except (EOFError, zlib.error, OSError, MalformedJSONError, arrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        yield (
            number,
            BadRecord("truncated_archive", f"nothing can be read after {number}: {type(error).__name__}: {error}"),
        )


def _records(
    path: Path, where: Range, columns: Sequence[str] | None, layout: RecordLayout
) -> Iterator[tuple[int, Record | BadRecord]]:
    start, end = where.get("start", 0), where.get("end")
    match kind_of(path):
        case ".parquet":
            return _parquet_records(path, where, columns)
        case ".json":
            return _objects(enumerate(read_json_array(path, layout.array_key), start=1))
        case ".tsv" if layout.tsv_columns:
            rows = _quoted_rows(path, TSV) if layout.tsv_quoted else _plain_rows(path, start, end)
            return _table(rows, list(layout.tsv_columns), columns, is_exact=False)
        case ".csv" | ".tsv" as kind:
            names, after = _header(path, kind, layout)
            if kind == CSV or layout.tsv_quoted:
                return _table(islice(_quoted_rows(path, kind), 1, None), names, columns, is_exact=True)
            return _table(_plain_rows(path, start or after, end), names, columns, is_exact=True)
        case _:
            return _objects((number, _parse(line)) for number, line in read_lines(path, start, end))


def _open_parquet(path: Path) -> Any:
    try:
        return parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        raise ValueError(f"{str(path)!r} is not a whole Parquet file ({error}); fetch it again.") from error


def _row_group_ranges(path: Path, rows_per_part: int) -> list[tuple[dict[str, Any], int | None]]:
    """Gather neighbouring row groups up to the number of rows; a larger group stands alone."""
    with _open_parquet(path) as file:
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    ranges: list[tuple[dict[str, Any], int | None]] = []
    first, rows = 0, 0
    for index, size in enumerate(sizes):
        if rows and rows + size > rows_per_part:
            ranges.append(({"first_group": first, "last_group": index - 1}, rows))
            first, rows = index, 0
        rows += size
    return [*ranges, ({"first_group": first, "last_group": len(sizes) - 1}, rows)] if rows else ranges


def _parquet_records(path: Path, where: Range, columns: Sequence[str] | None) -> Iterator[tuple[int, Record]]:
    with _open_parquet(path) as file:
        groups = range(where.get("first_group", 0), where.get("last_group", file.num_row_groups - 1) + 1)
        number = 0
        batches = file.iter_batches(_BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False)
        for batch in batches:
            values = [_values(column) for column in batch.columns]
            for row in zip(*values, strict=True):
                number += 1
                yield number, dict(zip(batch.schema.names, row, strict=True))


def _values(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return b"\xff"  # bytes that are no text either, so that the row which holds them is named


def _parse(line: bytes | None) -> Any:
    if line is None:
        return BadRecord("malformed_row", f"longer than {MAX_LINE_BYTES} bytes")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRecord("malformed_row", f"{type(error).__name__}: {error}")


def _objects(values: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Record | BadRecord]]:
    for number, value in values:
        if isinstance(value, dict | BadRecord):
            yield number, value
        else:
            yield number, BadRecord("malformed_row", f"{type(value).__name__} where an object was expected")


def _header(path: Path, kind: str, layout: RecordLayout) -> tuple[list[str], int]:
    """Return the names in the first row of a table, and the place after its line."""
    line, after = first_line(path)
    names: list[str] | BadRecord = line.decode("utf-8", "replace").split("\t")
    if kind == CSV or layout.tsv_quoted:
        names = next((fields for _, fields in _quoted_rows(path, kind)), [])
    if isinstance(names, BadRecord):
        raise ValueError(f"the header of {str(path)!r} cannot be read: {names.detail}")
    return [name.strip() for name in names], after


def _plain_rows(path: Path, start: int, end: int | None) -> Iterator[tuple[int, list[str] | BadRecord]]:
    for number, line in read_lines(path, start, end):
        if line is None:
            yield number, BadRecord("malformed_row", f"longer than {MAX_LINE_BYTES} bytes")
        else:
            yield number, line.decode("utf-8", "surrogateescape").split("\t")


def _quoted_rows(path: Path, kind: str) -> Iterator[tuple[int, list[str] | BadRecord]]:
    """Rows of a table whose fields may hold delimiters, quotes and line ends; the number is that of the last line."""
    # A line that is too long to hold goes on as one that the reader refuses.
    lines = (
        "x" * (csv.field_size_limit() + 1) if line is None else line.decode("utf-8", "surrogateescape")
        for line in every_line(path)
    )
    reader = csv.reader(lines, delimiter="," if kind == CSV else "\t", strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, BadRecord("malformed_row", str(error))
        else:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields


def _table(
    rows: Iterable[tuple[int, list[str] | BadRecord]],
    names: list[str],
    columns: Sequence[str] | None,
    *,
    is_exact: bool,
) -> Iterator[tuple[int, Record | BadRecord]]:
    """Name the wanted fields of rows; a row must have as many fields as names, or may have more."""
    wanted = [(name, names.index(name)) for name in (names if columns is None else columns)]
    for number, fields in rows:
        if isinstance(fields, BadRecord):
            yield number, fields
        elif len(fields) == len(names) or (len(fields) > len(names) and not is_exact):
            yield number, {name: fields[index] for name, index in wanted}
        else:
            yield number, BadRecord("malformed_row", f"{len(fields)} fields, expected {len(names)}")
