"""The public index of FusionRS, joined to one's own copies of the five sets it is drawn from.

The index holds neither images nor captions. Images are found by `source_locator`, or by its last names where a copy
is laid out as its authors publish it; all upstream captions of the image are taken. The official splits are kept; the
joint groups have no field in `SourceRow` and are not.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import ClassVar

from ..stages.rejects import RefusedError, Reject
from .confined_files import confined_name, existing_folder, file_state, is_file_below
from .image_folder import ImageFolder
from .karpathy_captions import RSICD, RSITMD, NWPUCaptions
from .listing_text import read_name, read_split, read_string
from .numbered_records import Record, read_jsonl
from .parts import Listed, ListedRow, Place, cut_into_parts, read_part, settings_text
from .skyscript import SkyScript
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

SCHEMA = "fusionrs-public-index-v1"
# For each set: folders in which its authors put images, and how many last names of a locator identify one.
_LAYOUTS: dict[str, tuple[tuple[str, ...], int]] = {
    "NWPU": ((NWPUCaptions.images,), 2),
    "RS5M": ((), 0),
    "RSICD": ((RSICD.images, "images"), 1),
    "RSITMD": ((RSITMD.images,), 1),
    "SkyScript": (("",), 2),
}
UPSTREAM_SETS = tuple(_LAYOUTS)
_MALFORMED = "malformed"


@dataclass(frozen=True, kw_only=True)
class FusionRSIndex:
    """FusionRS as its index describes it."""

    index: Path
    """The index, `.jsonl` or `.jsonl.gz`."""
    roots: Mapping[str, Path]
    """Your copies: a folder for NWPU, RS5M, RSICD, RSITMD, SkyScript, or for some of them. That of RS5M has captions as
    `ImageFolder` reads them. Rows of the others are rejects (`source_not_given`)."""
    index_sha256: str | None = None
    """SHA-256 that the index must have, such as FusionRSIndex.published_sha256; None: not checked."""

    name: ClassVar[str] = "fusionrs"
    citation: ClassVar[str] = "FusionRS, arXiv:2606.17020"
    homepage: ClassVar[str] = "https://github.com/frozy129/FusionRS"
    version: ClassVar[str | None] = "rc4-20260727"
    published_sha256: ClassVar[str] = "b595b3885c9a1f45f065056d6fcd22ae57eda57ae017132e906cf301af687f34"
    image_license: ClassVar[str] = UNKNOWN_LICENSE
    caption_license: ClassVar[str] = UNKNOWN_LICENSE
    attribution: ClassVar[str] = "selected by FusionRS (2026)"

    def __post_init__(self) -> None:
        """Refuse sets that FusionRS does not draw from."""
        unknown = sorted(set(self.roots) - set(UPSTREAM_SETS))
        if unknown:
            raise ValueError(f"roots names {', '.join(unknown)}; the sets are {', '.join(UPSTREAM_SETS)}.")

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """Cut the index into parts of one set each, so that its captions are looked up once for a part."""
        if not self.index.is_file():
            raise FileNotFoundError(f"there is no index {str(self.index)!r}; it is published at {self.homepage}.")
        for upstream, root in sorted(self.roots.items()):
            existing_folder(root, f"the copy of {upstream}")
        self._require_sha256()
        states = [file_state(self.index.parent, self.index.name), *sorted(self.roots)]
        text = settings_text({"name": self.name}, states)
        places = map(self._place, read_jsonl(self.index))
        return cut_into_parts(places, rows_per_part, settings=text, what=str(self.index))

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a part."""
        upstream = part.where["set"]
        records = read_jsonl(self.index, offset=part.where["offset"], line=part.where["line"])
        same = (record for record in records if _set_of(record) == upstream)
        entries = [self._parse(record) for record in islice(same, part.where["rows"])]
        return read_part(part, self._listed(upstream, entries), self.roots.get(upstream, self.index.parent))

    def _require_sha256(self) -> None:
        if self.index_sha256 is None:
            return
        with self.index.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != self.index_sha256.lower():
            raise ValueError(
                f"{self.index} has the SHA-256 {found}, wanted {self.index_sha256}: it is another version or damaged. "
                f"Download version {self.version} from {self.homepage}, or give the SHA-256 of yours."
            )

    def _place(self, record: Record) -> Place:
        upstream = _set_of(record)
        where = {"set": upstream, "offset": record.offset, "line": record.line}
        entry = self._parse(record)
        if isinstance(entry, RefusedError):
            return Place(where=where, group=upstream, key=None)
        root = self.roots.get(upstream)
        names = [] if root is None else _candidates(upstream, entry.locator)
        state = "".join(file_state(root, name) for name in names) if root is not None else ""
        return Place(where=where, group=upstream, key=entry.sample_id, state=state)

    def _parse(self, record: Record) -> "_Entry | RefusedError":
        if isinstance(record.values, RefusedError):
            return record.values
        place = f"{self.index.name}, line {record.line}"
        values = record.values
        try:
            if values.get("schema_version") != SCHEMA or values.get("source_dataset") not in UPSTREAM_SETS:
                found = f"{values.get('schema_version')!a} of {values.get('source_dataset')!a}"
                raise RefusedError("malformed_row", f"{place}: {found[:80]}, wanted {SCHEMA} of a known set")
            has_caption = values.get("caption_supervision_available_upstream")
            if not isinstance(has_caption, bool):
                raise RefusedError("malformed_row", f"{place}: caption_supervision_available_upstream is no boolean")
            sample_id = read_string(values, "sample_id", place)
            if sample_id is None:
                raise RefusedError("malformed_row", f"{place}: there is no sample_id")
            return _Entry(
                sample_id=sample_id,
                locator=confined_name(read_name(values, "source_locator", place)),
                split=read_split(values.get("split"), place),
                has_caption=has_caption,
            )
        except RefusedError as refusal:
            return refusal

    def _listed(self, upstream: str, entries: Sequence["_Entry | RefusedError"]) -> Iterator[Listed]:
        root = self.roots.get(upstream)
        wanted = {entry.locator for entry in entries if isinstance(entry, _Entry) and entry.has_caption}
        rows = {} if root is None else _upstream_rows(upstream, root, wanted)
        for entry in entries:
            if isinstance(entry, RefusedError):
                yield entry
            elif root is None:
                yield RefusedError("source_not_given", f"{entry.sample_id} is an image of {upstream}")
            else:
                yield self._join(upstream, root, entry, rows)

    def _join(self, upstream: str, root: Path, entry: "_Entry", rows: Mapping[str, Sequence[ListedRow]]) -> Listed:
        """Give a row of the index the captions and the rights of its image in the copy."""
        if not entry.has_caption:
            return RefusedError("no_caption", f"{entry.sample_id}: upstream has no usable caption, says the index")
        found = rows.get(_key(upstream, entry.locator), ())
        names = dict.fromkeys(listed.image for listed in found)
        if len(names) > 1:
            return RefusedError("ambiguous_image", f"{entry.sample_id} may be {' or '.join(names)} of {upstream}")
        image = next(
            (name for name in [*_candidates(upstream, entry.locator), *names] if is_file_below(root, name)), None
        )
        if image is None:
            return RefusedError("missing_image", f"{entry.sample_id}: {upstream} has no {entry.locator!r}")
        if not found:
            return RefusedError("no_caption", f"{entry.sample_id}: {upstream} lists no caption of {entry.locator!r}")
        row = replace(
            found[0].row,
            source=self.name,
            source_id=entry.sample_id,
            split=entry.split,
            attribution=f"{found[0].row.attribution}; {self.attribution}",
            # The index is of RGB images; what infrared a copy has is not part of it.
            infrared_origin=None,
            infrared_band=None,
            infrared_captions=(),
        )
        return ListedRow(row=row, image=image)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the index that is whole."""

    sample_id: str
    locator: str
    split: str | None
    has_caption: bool


def _upstream_rows(upstream: str, root: Path, locators: Collection[str]) -> dict[str, list[ListedRow]]:
    """The rows of a copy that belong to some locators, without images, by the key of the locator."""
    match upstream:
        case "RSICD":
            rows = RSICD(folder=root).listed_rows()
        case "RSITMD":
            rows = RSITMD(folder=root).listed_rows()
        case "NWPU":
            rows = NWPUCaptions(folder=root).listed_rows()
        case "SkyScript":
            rows = SkyScript(folder=root).listed_rows()
        case _:
            rows = ImageFolder(folder=root, name="rs5m", caption_kind="web", attribution="RS5M").listed_rows(locators)
    wanted = {_key(upstream, locator) for locator in locators}
    found: dict[str, list[ListedRow]] = {}
    for listed in rows if wanted else ():
        key = _key(upstream, listed.image)
        if key in wanted:
            found.setdefault(key, []).append(listed)
    return found


def _set_of(record: Record) -> str:
    """The set of a row, by which rows are put into parts; rows of none are together."""
    upstream = None if isinstance(record.values, RefusedError) else record.values.get("source_dataset")
    return upstream if isinstance(upstream, str) and upstream in UPSTREAM_SETS else _MALFORMED


def _key(upstream: str, name: str) -> str:
    """The last names of a path, by which an image is known whatever folders it lies in; the whole path for RS5M."""
    _, count = _LAYOUTS[upstream]
    return name if count == 0 else "/".join(name.split("/")[-count:])


def _candidates(upstream: str, locator: str) -> list[str]:
    """Where the image may be in a copy: at its locator, or where the authors of the set put it."""
    folders, _ = _LAYOUTS[upstream]
    key = _key(upstream, locator)
    return list(dict.fromkeys([locator, *((PurePosixPath(folder) / key).as_posix() for folder in folders)]))
