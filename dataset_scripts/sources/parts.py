"""Cuts a listing into parts that are read one by one, and reads the rows of a part."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..stages.rejects import RefusedError, Reject
from .confined_files import read_confined
from .source_row import Part, SourceRow

# Why a source leaves a row out.
REASONS = (
    "ambiguous_image",
    "ambiguous_infrared",
    "duplicate_id",
    "file_too_large",
    "malformed_row",
    "missing_image",
    "missing_infrared",
    "no_caption",
    "not_listed",
    "outside_source_folder",
    "source_not_given",
    "unreadable_image",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one row is listed."""

    where: Mapping[str, Any]
    """How to begin reading here."""
    group: str
    """A part holds rows of one group; fit for a file name."""
    key: str | None
    """Its `source_id`; None for a row that cannot be read."""
    state: str = ""
    """The states of its files; a change of it changes the fingerprint."""
    item: Any = None
    """What the part must list for this row; JSON-able."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRow:
    """A row as its listing gives it, before its images are read."""

    row: SourceRow
    image: str
    """Name of the image file, below the folder of images."""
    infrared: str | None = None
    """Name of the infrared file, below the folder of infrared images."""


Listed = ListedRow | RefusedError


class _Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Draft:
    name: str
    where: Mapping[str, Any]
    hasher: _Hasher
    rows: int = 0
    items: list[Any] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)


def cut_into_parts(places: Iterable[Place], rows_per_part: int, *, settings: str, what: str) -> list[Part]:
    """Cut a listing into parts of one group and at most so many rows each.

    A row whose key stands earlier in the listing is noted in its part as a duplicate, wherever the first one is.
    Only eight bytes of each key are kept, so a listing of millions fits; that two keys of five million share them
    has a chance below one in a million.

    Args:
        places: the rows, in the order of the listing.
        rows_per_part: rows of a part, at most.
        settings: what else the rows depend on; a change of it changes every fingerprint.
        what: names the listing in messages.
    """
    if rows_per_part < 1:
        raise ValueError(f"rows_per_part is {rows_per_part}; it must be at least 1.")
    drafts: list[_Draft] = []
    open_drafts: dict[str, int] = {}
    counts: dict[str, int] = {}
    keys, owners, positions = array("Q"), array("Q"), array("Q")
    for number, place in enumerate(places):
        draft = open_drafts.get(place.group)
        if draft is None or drafts[draft].rows == rows_per_part:
            draft = open_drafts[place.group] = len(drafts)
            first = counts.get(place.group, 0)
            hasher = hashlib.sha256(f"{settings}\n{first}\n".encode())
            drafts.append(_Draft(f"{place.group}-{first:09d}", place.where, hasher))
        keys.append(_hash(f"0 {number}" if place.key is None else f"1 {place.key}"))
        owners.append(draft)
        positions.append(drafts[draft].rows)
        _add(drafts[draft], place)
        counts[place.group] = counts.get(place.group, 0) + 1
    if not drafts:
        raise ValueError(f"{what} lists no rows.")
    for again in _repeats(keys):
        drafts[owners[again]].duplicates.append(positions[again])
    return [_finish(draft) for draft in drafts]


def read_part(
    part: Part, listed: Iterable[Listed], folder: Path, infrared_folder: Path | None = None
) -> Iterator[SourceRow | Reject]:
    """Yield the listed rows of a part with their images, or why not.

    Args:
        part: what `cut_into_parts` made.
        listed: the listing from the beginning of the part on; it may go on after its end.
        folder: where the images are.
        infrared_folder: where the infrared images are; `folder` if not given.

    Raises:
        RuntimeError: the listing ends within the part, so it is not the one that was cut.
    """
    duplicates = frozenset(part.where["duplicates"])
    count = 0
    for position, one in zip(range(part.where["rows"]), listed, strict=False):
        count += 1
        try:
            row = _load(one, folder, infrared_folder or folder, is_duplicate=position in duplicates)
        except RefusedError as refusal:
            yield Reject(position, refusal.reason, refusal.detail)
        else:
            yield row
    if count < part.where["rows"]:
        raise RuntimeError(
            f"part {part.name} has {count} rows, {part.where['rows']} were listed: its files changed. List it again."
        )


def settings_text(settings: Mapping[str, Any], states: Sequence[str]) -> str:
    """The settings that shape rows, and the states of the listing's files, as one text for fingerprints."""
    return "\n".join([*(f"{name}={settings[name]!r}" for name in sorted(settings)), *states])


def _load(listed: Listed, folder: Path, infrared_folder: Path, *, is_duplicate: bool) -> SourceRow:
    if isinstance(listed, RefusedError):
        raise listed
    if is_duplicate:
        raise RefusedError("duplicate_id", listed.row.source_id)
    image = read_confined(folder, listed.image)
    if listed.infrared is None:
        return replace(listed.row, image=image)
    infrared = read_confined(infrared_folder, listed.infrared, missing="missing_infrared")
    return replace(listed.row, image=image, infrared=infrared)


def _add(draft: _Draft, place: Place) -> None:
    draft.rows += 1
    draft.hasher.update(f"{place.key!a}\n{place.state}".encode())
    if place.item is not None:
        draft.items.append(place.item)


def _finish(draft: _Draft) -> Part:
    draft.hasher.update(f"{draft.duplicates}".encode())
    where = {**draft.where, "rows": draft.rows, "duplicates": draft.duplicates}
    if draft.items:
        where["items"] = draft.items
    return Part(name=draft.name, fingerprint=draft.hasher.hexdigest(), where=where, rows=draft.rows)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _repeats(keys: "array[int]") -> list[int]:
    """Positions of the keys that stand earlier in the array."""
    values = np.frombuffer(keys, dtype=np.uint64)
    is_repeat = np.ones(len(values), dtype=bool)
    is_repeat[np.unique(values, return_index=True)[1]] = False
    return [int(position) for position in np.flatnonzero(is_repeat)]
