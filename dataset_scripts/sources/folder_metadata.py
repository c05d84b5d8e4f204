"""The rows of a `metadata.jsonl` or `metadata.csv` beside a folder of images.

`file_name` names the image; `caption`, `captions` and `text` are its captions, all of them where several are given.
`infrared_file_name`, `infrared_captions`, `class_name`, `license`, `attribution` and `split` are read, the facts of
`stages.metadata_facts`, such as `latitude`, are kept as metadata. Other columns are an error unless they are ignored.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rights import license_text
from ..stages.metadata_facts import FACT_NAMES, facts_from_mapping
from ..stages.rejects import RefusedError
from .confined_files import confined_name
from .listing_text import clean_text, read_captions, read_name, read_split, read_string
from .numbered_records import csv_columns, read_csv, read_jsonl

METADATA_FILES = ("metadata.jsonl", "metadata.csv")
_CAPTION_COLUMNS = ("caption", "captions", "text")
_OWN_COLUMNS = frozenset(
    (
        *("file_name", *_CAPTION_COLUMNS, "infrared_file_name", "infrared_captions"),
        *("class_name", "license", "attribution", "split"),
    )
)
_FACT_COLUMNS = frozenset(FACT_NAMES) - _OWN_COLUMNS
_LISTS = ("captions", "infrared_captions", "labels", "box")
_TEXTS = frozenset(("timestamp", "utm_zone", "scan_direction", "country", "city"))


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataRow:
    """What the metadata say of one image."""

    file_name: str
    captions: tuple[str, ...]
    infrared_file_name: str | None = None
    infrared_captions: tuple[str, ...] = ()
    class_name: str | None = None
    license: str | None = None
    attribution: str | None = None
    split: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def metadata_rows(
    folder: Path, where: Mapping[str, Any], ignored_columns: Collection[str]
) -> Iterator[tuple[dict[str, Any], MetadataRow | RefusedError]]:
    """Yield the rows of a metadata file from a place on, each with its own place.

    Args:
        folder: where the file is.
        where: `file`, and `offset` and `line` to begin elsewhere than at its beginning.
        ignored_columns: columns that are left out.

    Raises:
        ValueError: a CSV file lacks the columns that are needed, or there are columns that nobody knows.
    """
    file = where["file"]
    is_csv = file.endswith(".csv")
    if is_csv:
        _require_columns(folder / file)
    read = read_csv if is_csv else read_jsonl
    for record in read(folder / file, offset=where.get("offset", 0), line=where.get("line", 1)):
        here = {"file": file, "offset": record.offset, "line": record.line}
        if isinstance(record.values, RefusedError):
            yield here, record.values
            continue
        values = {name: value for name, value in record.values.items() if name not in ignored_columns}
        _require_known(values, file)
        try:
            yield here, _parse(_of_cells(values) if is_csv else values, f"{file}, line {record.line}")
        except RefusedError as refusal:
            yield here, refusal


def _require_columns(path: Path) -> None:
    columns = csv_columns(path)
    if "file_name" not in columns:
        raise ValueError(
            f"{path.name} has the columns {', '.join(columns)}; wanted file_name, with the name of each image, and "
            f"{' or '.join(_CAPTION_COLUMNS)}."
        )


def _require_known(values: Mapping[str, Any], file: str) -> None:
    if unknown := sorted(set(values) - _OWN_COLUMNS - _FACT_COLUMNS):
        raise ValueError(
            f"{file} has the columns {', '.join(map(ascii, unknown))}, which have no meaning here; leave them out by "
            f"ignored_columns, or rename them. Known are {', '.join(sorted(_OWN_COLUMNS | _FACT_COLUMNS))}."
        )


def _of_cells(cells: dict[str, Any]) -> dict[str, Any]:
    """Give the cells of a CSV file the types that JSON has: nothing, numbers, and lists that are written as JSON."""
    values: dict[str, Any] = {name: cell for name, cell in cells.items() if cell.strip()}
    for name in _LISTS:
        if values.get(name, "").lstrip().startswith("["):
            try:
                values[name] = json.loads(values[name])
            except (ValueError, RecursionError):
                continue  # a caption that begins with a bracket
    for name in (_FACT_COLUMNS - _TEXTS - set(_LISTS)) & set(values):
        try:
            values[name] = int(values[name]) if re.fullmatch(r"\s*\d{1,9}\s*", values[name]) else float(values[name])
        except ValueError:
            continue  # refused below, as text in JSON is
    return values


def _parse(values: dict[str, Any], where: str) -> MetadataRow:
    infrared = values.get("infrared_file_name")
    return MetadataRow(
        file_name=confined_name(read_name(values, "file_name", where)),
        captions=tuple(text for name in _CAPTION_COLUMNS for text in read_captions(values.get(name), where)),
        infrared_file_name=confined_name(read_name(values, "infrared_file_name", where)) if infrared else None,
        infrared_captions=read_captions(values.get("infrared_captions"), where),
        class_name=read_string(values, "class_name", where),
        license=_license(values, where),
        attribution=read_string(values, "attribution", where),
        split=read_split(values.get("split"), where),
        metadata=_facts(values, where),
    )


def _license(values: dict[str, Any], where: str) -> str | None:
    name = read_string(values, "license", where)
    try:
        return None if name is None else license_text(name)
    except ValueError as error:
        raise RefusedError("malformed_row", f"{where}: {error}") from error


def _facts(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The facts of an image, checked by the stage that writes captions from them."""
    known = {name: values[name] for name in sorted(_FACT_COLUMNS & set(values)) if values[name] is not None}
    facts = {name: clean_text(value) if isinstance(value, str) else value for name, value in known.items()}
    numbers = [name for name in facts if name not in _TEXTS and name not in _LISTS]
    for name in numbers:
        if isinstance(facts[name], bool) or not isinstance(facts[name], int | float):
            raise RefusedError("malformed_row", f"{where}: {name} is {ascii(facts[name])[:80]}, wanted a number")
    try:
        facts_from_mapping(facts)
    except (ValueError, TypeError) as error:
        raise RefusedError("malformed_row", f"{where}: {error}") from error
    return facts
