"""Reads the address and caption of web images from the metadata of a public image-text set (see `web_sources`)."""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from ..stages.metadata_facts import facts_to_mapping
from ..stages.rejects import RefusedError, Reject
from ..stages.upstream_facts import yfcc_facts
from .field_text import text_of
from .file_parts import (
    confined,
    fingerprint,
    list_files,
    part_of,
    require_rows_per_part,
    require_unchanged,
)
from .listing_text import clean_text
from .record_files import BadRecord, Record, RecordLayout, column_names, place_of, ranges_of, read_records
from .source_row import UNKNOWN_LICENSE, Part, SourceRow
from .web_layouts import companion_of, parallel_list_records, visual_genome_records
from .web_sources import WebSource

REASONS = (
    "outside_source_folder",
    "truncated_archive",
    "malformed_row",
    "no_url",
    "malformed_url",
    "no_id",
    "no_caption",
    "other_language",
    "marked_unsafe",
)
_ID_CHARACTERS = 24
_URL = re.compile(r"https?://[^\s/]\S*", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class WebPairs:
    """One public set in a folder.

    An address, and so an id made from it, may come more than once: whether rows are duplicates is for the stage that
    sees all parts to say, because what one part could see of them depends on how the files are cut.
    """

    folder: Path
    source: WebSource
    """An entry of WEB_SOURCES, or `WEB` with columns of one's own."""
    drop_marked_unsafe: bool = True
    """Refuse rows that the set marks as unsafe."""
    unsafe_probability: float = 0.5
    """From this probability on a row counts as marked."""

    def __post_init__(self) -> None:
        if not 0 < self.unsafe_probability <= 1:
            raise ValueError(f"unsafe_probability is {self.unsafe_probability}, must be above 0 and at most 1.")

    @property
    def name(self) -> str:
        return self.source.name

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the parts; Parquet is cut between row groups, JSON lines and plain TSV at line ends.

        Raises:
            ValueError: no file is there, or one lacks the columns of the set.
        """
        require_rows_per_part(rows_per_part)
        names = list_files(self.folder, self.source.endings)
        if not names:
            raise ValueError(f"no file in {str(self.folder)!r} ends in {' or '.join(self.source.endings)}.")
        parts: list[Part] = []
        for name in names:
            files = self._files(name)
            state = fingerprint(self.folder, files)
            path = confined(self.folder, name)
            ranges: list[tuple[dict[str, Any], int | None]] = [({}, None)]
            if path is not None and not path.stat().st_size:
                continue
            if path is not None and self.source.layout == "records":
                self._check_columns(path, column_names(path, self._layout))
                ranges = ranges_of(path, self._layout, rows_per_part)
            elif path is not None:
                self._check_companion(name)
            for where, rows in ranges:
                parts.append(part_of(len(parts), name, state, {"file": name, **where}, rows))
        return parts

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield a row or a reject for each record of a part; the row of a reject counts the records from 0."""
        name = part.where["file"]
        path = confined(self.folder, name)
        companions = [confined(self.folder, other) for other in self._files(name)]
        if path is None or None in companions:
            yield Reject(0, "outside_source_folder", name)
            return
        require_unchanged(self.folder, self._files(name), part)
        for row, (number, record) in enumerate(self._records(path, part)):
            try:
                if isinstance(record, BadRecord):
                    raise RefusedError(record.reason, record.detail)
                yield self._row(record)
            except RefusedError as refusal:
                detail = f": {refusal.detail}" if refusal.detail else ""
                yield Reject(row, refusal.reason, f"{name}, {place_of(path, part.where, number)}{detail}"[:400])

    @property
    def _layout(self) -> RecordLayout:
        source = self.source
        return RecordLayout(tsv_columns=source.tsv_columns, tsv_quoted=source.tsv_quoted, array_key=source.array_key)

    def _files(self, name: str) -> list[str]:
        """The files that the rows of a file are read from."""
        other = None if self.source.layout == "records" else companion_of(name)
        return [name] if other is None else [name, other]

    def _check_columns(self, path: Path, found: list[str]) -> None:
        missing = [column for column in self.source.required_columns if column not in found]
        if missing:
            raise ValueError(
                f"{str(path)!r} has no column {' and '.join(map(repr, missing))}; it has {', '.join(found) or 'none'}. "
                f"Name the columns of {self.name!r} with dataclasses.replace(source, ...)."
            )
        unsafe = self.source.unsafe_columns
        if self.drop_marked_unsafe and unsafe and not set(unsafe) & set(found):
            raise ValueError(
                f"{str(path)!r} has no column {' or '.join(map(repr, unsafe))} that marks unsafe images; it has "
                f"{', '.join(found)}. Set drop_marked_unsafe=False to read it all the same."
            )

    def _check_companion(self, name: str) -> None:
        for other in self._files(name)[1:]:
            if not (self.folder / other).is_file():
                raise ValueError(f"{name!r} is read together with {other!r}, which is not in {str(self.folder)!r}.")

    def _records(self, path: Path, part: Part) -> Iterator[tuple[int, Record | BadRecord]]:
        others = [self.folder / other for other in self._files(part.where["file"])[1:]]
        match self.source.layout:
            case "records":
                found = set(column_names(path, self._layout))
                wanted = (*self.source.required_columns, *self.source.optional_columns)
                columns = [column for column in dict.fromkeys(wanted) if column in found]
                return read_records(path, part.where, columns, self._layout)
            case "parallel_lists":
                return parallel_list_records(path, others[0] if others else None)
            case "visual_genome":
                return visual_genome_records(path, others[0])

    def _row(self, record: Record) -> SourceRow:
        """Judge one record, the cheapest and most frequent refusals first."""
        source = self.source
        if source.language_column and (language := _text(record, source.language_column)) not in source.languages:
            raise RefusedError("other_language", language or "none")
        if self.drop_marked_unsafe:
            self._refuse_unsafe(record)
        url = (_text(record, source.url_column) or "").strip()
        if not url:
            raise RefusedError("no_url", "")
        if not _URL.fullmatch(url):
            raise RefusedError("malformed_url", url[:200])
        captions = self._captions(record)
        if not captions:
            raise RefusedError("no_caption", "")
        author = clean_text(_text(record, source.author_column) or "")
        if source.percent_encoded:
            author = _decoded(author)
        return SourceRow(
            source=source.name,
            source_id=self._id(record, url),
            url=url,
            sha256=_sha256(_text(record, source.sha256_column)),
            captions=captions,
            caption_kind=source.caption_kind,
            license=_license(_text(record, source.license_column)),
            caption_license=source.caption_license,
            attribution=f"{author}; {source.attribution}" if author else source.attribution,
            metadata=_metadata(record, source),
        )

    def _id(self, record: Record, url: str) -> str:
        if self.source.id_column is None:
            return hashlib.sha256(url.encode()).hexdigest()[:_ID_CHARACTERS]
        source_id = clean_text(_text(record, self.source.id_column) or "")
        if not source_id:
            raise RefusedError("no_id", url[:200])
        return source_id

    def _captions(self, record: Record) -> tuple[str, ...]:
        captions: list[str] = []
        for column in self.source.caption_columns:
            value = record.get(column)
            for item in value if isinstance(value, list) else [value]:
                text = clean_text(_readable(item, column) or "")
                captions.append(clean_text(_decoded(text)) if self.source.percent_encoded else text)
        return tuple(dict.fromkeys(filter(None, captions)))

    def _refuse_unsafe(self, record: Record) -> None:
        for column in self.source.unsafe_columns:
            value = record.get(column)
            if value is None:
                continue
            label = value.strip().upper() if isinstance(value, str) else ""
            number = None if label.isalpha() else _number(value)
            if label == "NSFW" or (number is not None and number >= self.unsafe_probability):
                raise RefusedError("marked_unsafe", f"{column} is {value}")


def _readable(value: Any, column: str) -> str | None:
    try:
        return text_of(value)
    except ValueError as error:
        raise RefusedError("malformed_row", f"column {column!r}: {error}") from error


def _text(record: Record, column: str | None) -> str | None:
    return None if column is None else _readable(record.get(column), column)


def _decoded(text: str) -> str:
    """Undo percent encoding. A text with a blank in it is not encoded: there, blanks are plus signs."""
    return text if " " in text or not ("%" in text or "+" in text) else unquote_plus(text)


def _sha256(text: str | None) -> str | None:
    """Return a hash in lower case where it is a SHA-256; others are not what the field is for."""
    return text.lower() if text and _SHA256.fullmatch(text.lower()) else None


def _license(address: str | None) -> str:
    """Return the SPDX identifier of a Creative Commons licence by its address."""
    found = _CREATIVE_COMMONS.search(address or "")
    if found is None:
        return UNKNOWN_LICENSE
    group, kind, version = found[1].lower(), found[2].upper(), found[3]
    if group == "licenses":
        return f"CC-{kind}-{version}"
    return f"CC0-{version}" if kind == "ZERO" else UNKNOWN_LICENSE


def _number(value: Any) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _metadata(record: Record, source: WebSource) -> dict[str, Any]:
    """Facts that the set has of the image; what is no place on the globe, or no date, is not known."""
    if not (source.latitude_column or source.time_column):
        return {}
    latitude, longitude = (
        _number(record.get(column)) if column else None for column in (source.latitude_column, source.longitude_column)
    )
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        latitude = longitude = None
    taken = _text(record, source.time_column)
    day = taken if _is_date(taken) else None
    return facts_to_mapping(yfcc_facts(latitude=latitude, longitude=longitude, date_taken=day))


def _is_date(text: str | None) -> bool:
    """Whether a time begins with a date; cameras whose clock was never set write the year 0 and worse."""
    try:
        date.fromisoformat((text or "")[:10])
    except ValueError:
        return False
    return True
