"""Reads RS5M as its authors released it: WebDataset tars with images, or CSV metafiles with a folder of images.

What the release does not say stays unknown: licences of images, addresses in the tars, and which words of an fMoW
or BigEarthNet caption come from a template (they lead) and which from BLIP-2 (they follow): the kind is `machine`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..stages.rejects import RefusedError, Reject
from .confined_files import confined_name, read_confined
from .field_text import text_of
from .file_parts import confined, fingerprint, list_files, part_of, require_rows_per_part, require_unchanged
from .listing_text import clean_text
from .record_files import BadRecord, Record, RecordLayout, column_names, place_of, read_records
from .rs5m_tars import CAPTION, IMAGE, IMAGE_NAME, Sample, read_samples
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

REASONS = (
    "outside_source_folder",
    "truncated_archive",
    "unknown_member",
    "member_too_large",
    "duplicate_member",
    "malformed_row",
    "missing_image",
    "unreadable_image",
    "file_too_large",
    "no_id",
    "no_caption",
    "duplicate_id",
)
CITATION = "Zhang et al., RS5M and GeoRSCLIP, TGRS 2024, arXiv:2306.11300"
HOMEPAGE = "https://github.com/om-ai-lab/RS5M"
VERSION = "v5"
# The code is MIT; the Hub says cc-by-nc-4.0 in one place and mit in another; the paper, non-commercial research.
CAPTION_LICENSE = UNKNOWN_LICENSE
ATTRIBUTION = "RS5M"

PUB11, RS3 = "pub11", "rs3"
# How the names of images begin, and the source of that name.
_RS3_SOURCES = {"fmow": "fmow", "ben": "bigearthnet", "millionaid": "million_aid"}
_PUB11_SOURCES = {
    **{name: name for name in ("laion2b", "laion400m", "laioncoco", "cc3m", "cc12m", "sbu", "wit", "redcaps", "vg")},
    "coyo700m": "coyo700m",
    "coyo": "coyo700m",
    "yfcc15m": "yfcc15m",
    "yfcc14m": "yfcc15m",
    "yfcc": "yfcc15m",
}
_SOURCE_OF_PREFIX = {**_PUB11_SOURCES, **_RS3_SOURCES}
_LICENSES = {"bigearthnet": "CDLA-Permissive-1.0"}
_PREFIXES = "|".join(sorted(_SOURCE_OF_PREFIX, key=len, reverse=True))
_PREFIX = re.compile(rf"(?:pub11_|rs3_)?({_PREFIXES})(?![a-z0-9])", re.IGNORECASE)
_SPLITS = {"train": "train", "val": "validation"}
_TAR_NAME = re.compile(r"(pub11|rs3)-(train|val)-\d+\.tar")
_CSV_NAME = re.compile(r"(?:RS5M_)?(pub11|rs3)_(train|val)(?:_\w+)?\.csv", re.IGNORECASE)


def source_of(image_name: str, subset: str) -> str:
    """Return the source that the name of an image gives, such as `fmow`; else `rs5m_pub11` or `rs5m_rs3`."""
    match = _PREFIX.match(image_name)
    return f"rs5m_{subset}" if match is None else _SOURCE_OF_PREFIX[match[1].lower()]


def subset_of(source: str) -> str:
    """Return the subset of RS5M, `pub11` or `rs3`, that a source belongs to.

    Raises:
        ValueError: the source is not one of RS5M.
    """
    if source in _RS3_SOURCES.values() or source == f"rs5m_{RS3}":
        return RS3
    if source in _PUB11_SOURCES.values() or source == f"rs5m_{PUB11}":
        return PUB11
    raise ValueError(
        f"{source!r} is no source of RS5M; those are {', '.join(sorted(set(_SOURCE_OF_PREFIX.values())))}."
    )


@dataclass(frozen=True, kw_only=True)
class RS5MRelease:
    """The tars `{pub11,rs3}-{train,val}-NNNN.tar`; a part is a tar.

    A name that comes twice in a tar is refused the second time. Train and val of early versions share names in
    different tars; that is for the stage that sees all rows to find.
    """

    folder: Path

    @property
    def name(self) -> str:
        return "rs5m_release"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the tars; `rows_per_part` is not used, because a tar can only be read from its beginning.

        Raises:
            ValueError: there is none.
        """
        require_rows_per_part(rows_per_part)
        names = [name for name in list_files(self.folder, (".tar",)) if _TAR_NAME.fullmatch(Path(name).name)]
        if not names:
            raise ValueError(f"no file in {str(self.folder)!r} is named like pub11-train-0000.tar or rs3-val-0031.tar.")
        return [
            part_of(index, name, fingerprint(self.folder, [name]), {"file": name}) for index, name in enumerate(names)
        ]

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a tar up to its end, or to where it is cut off or damaged."""
        name = part.where["file"]
        path, match = confined(self.folder, name), _TAR_NAME.fullmatch(Path(name).name)
        if path is None or match is None:
            yield Reject(0, "outside_source_folder", name)
            return
        require_unchanged(self.folder, [name], part)
        seen: set[str] = set()
        for row, sample in enumerate(read_samples(path)):
            try:
                yield _row_of_sample(sample, match[1], _SPLITS[match[2]], seen)
            except RefusedError as refusal:
                yield Reject(row, refusal.reason, f"{name}, {sample.place}: {refusal.detail}"[:400])


@dataclass(frozen=True, kw_only=True)
class RS5MMetafiles:
    """The CSV files of the release, `pub11_train_intermediate.csv` and the like; a part is a file.

    Assumed of them: the first column is `img_name`; the caption is in `text` or `caption`, else in the second
    column, as the loader of the release reads it; `url` may be there.
    """

    folder: Path
    images: Path | None = None
    """Folder of the images, at `NAME`, `SUBSET/NAME` or `SUBSET/SET/NAME`; without it rows have no image."""

    @property
    def name(self) -> str:
        return "rs5m_metafiles"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the files; one is a part, because quoted captions may hold line ends.

        Raises:
            ValueError: there is none, or one has no column `img_name` and one of captions.
        """
        require_rows_per_part(rows_per_part)
        names = [name for name in list_files(self.folder, (".csv",)) if _CSV_NAME.fullmatch(Path(name).name)]
        if not names:
            raise ValueError(f"no file in {str(self.folder)!r} is named like pub11_train_intermediate.csv.")
        for name in names:
            if (path := confined(self.folder, name)) is not None:
                _caption_column(path)
        return [
            part_of(index, name, fingerprint(self.folder, [name]), {"file": name}) for index, name in enumerate(names)
        ]

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a file, with images where their folder is given."""
        name = part.where["file"]
        path, match = confined(self.folder, name), _CSV_NAME.fullmatch(Path(name).name)
        if path is None or match is None:
            yield Reject(0, "outside_source_folder", name)
            return
        require_unchanged(self.folder, [name], part)
        subset, split, caption = match[1].lower(), _SPLITS[match[2].lower()], _caption_column(path)
        seen: set[str] = set()
        for row, (number, record) in enumerate(read_records(path, part.where, None, RecordLayout())):
            try:
                yield self._row(record, caption, subset, split, seen)
            except RefusedError as refusal:
                place = place_of(path, part.where, number)
                yield Reject(row, refusal.reason, f"{name}, {place}: {refusal.detail}"[:400])

    def _row(self, record: Record | BadRecord, caption: str, subset: str, split: str, seen: set[str]) -> SourceRow:
        if isinstance(record, BadRecord):
            raise RefusedError(record.reason, record.detail)
        image_name, text = _text(record["img_name"], "img_name"), _text(record[caption], caption)
        _require_new(image_name, seen)
        image = None if self.images is None else self._read_image(self.images, image_name, subset)
        url = _text(record.get("url"), "url") or None
        return _source_row(image_name, text, subset, split, image=image, url=url)

    def _read_image(self, images: Path, name: str, subset: str) -> bytes:
        prefix = _PREFIX.match(name)
        places = [name, f"{subset}/{name}", *([f"{subset}/{prefix[1]}/{name}"] if prefix else [])]
        found = next((place for place in places if (images / confined_name(place)).is_file()), name)
        return read_confined(images, confined_name(found))


def _row_of_sample(sample: Sample, subset: str, split: str, seen: set[str]) -> SourceRow:
    if sample.problem is not None:
        raise RefusedError(*sample.problem)
    image_name = _text(sample.fields.get(IMAGE_NAME), IMAGE_NAME)
    caption = _text(sample.fields.get(CAPTION), CAPTION)
    _require_new(image_name, seen)
    image = sample.fields.get(IMAGE)
    if not image:
        raise RefusedError("missing_image", f"{image_name} has no {IMAGE}")
    return _source_row(image_name, caption, subset, split, image=image)


def _source_row(
    image_name: str, caption: str, subset: str, split: str, *, image: bytes | None, url: str | None = None
) -> SourceRow:
    if not caption:
        raise RefusedError("no_caption", image_name)
    source = source_of(image_name, subset)
    is_machine = subset == RS3 or source == "laioncoco"
    return SourceRow(
        source=source,
        source_id=image_name,
        image=image,
        url=url,
        captions=(caption,),
        caption_kind="machine" if is_machine else "web",
        license=_LICENSES.get(source, UNKNOWN_LICENSE),
        caption_license=CAPTION_LICENSE,
        attribution=ATTRIBUTION,
        split=split,
    )


def _require_new(image_name: str, seen: set[str]) -> None:
    if not image_name:
        raise RefusedError("no_id", "no name of the image")
    if image_name in seen:
        raise RefusedError("duplicate_id", image_name)
    seen.add(image_name)


def _text(value: Any, where: str) -> str:
    try:
        return clean_text(text_of(value) or "")
    except ValueError as error:
        raise RefusedError("malformed_row", f"{where}: {error}") from error


def _caption_column(path: Path) -> str:
    """Return the column of captions.

    Raises:
        ValueError: the file does not begin with the column `img_name`, or has no other.
    """
    names = column_names(path, RecordLayout())
    if names[:1] != ["img_name"] or len(names) < 2:
        raise ValueError(
            f"{str(path)!r} has the columns {', '.join(names) or 'none'}; wanted img_name first, and one of captions."
        )
    return next((name for name in ("text", "caption") if name in names), names[1])
