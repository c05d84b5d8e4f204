"""Writes the first page of a TIFF anew with the tags its pixels need; strips and tiles are copied, not decoded.

Georeferencing goes with the rest: where an image was taken belongs into columns that the licence of the source allows.
"""

import struct
from dataclasses import dataclass

from .strip_jpeg import StripMetadataError, strip_jpeg

# Bytes of one value, by the type codes of TIFF 6.0 and, from 16 on, BigTIFF.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGER_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SHORT, _LONG, _LAST_CLASSIC_TYPE, _LONG8 = 3, 4, 13, 16

_COMPRESSION, _ORIENTATION, _JPEG_TABLES, _COLOR_PROFILE, _GDAL_NODATA = 259, 274, 347, 34675, 42113
# Offsets and byte counts of strips, and of tiles.
_BLOCK_TAGS = ((273, 279), (324, 325))
_KEPT_TAGS = frozenset(
    {
        *(256, 257, 258, 259, 262, 266, 277, 278, 280, 281, 284),  # size, samples, compression, photometric
        *(292, 293, 317, 322, 323, _JPEG_TABLES),  # fax options, predictor, tile size
        *(301, 318, 319, 320, 332, 334, 336, 338, 339, 340, 341),  # transfer, white, colour map, inks, sample format
        *(529, 530, 531, 532, _COLOR_PROFILE),  # YCbCr, colour profile
        _ORIENTATION,
        _GDAL_NODATA,
    }
)
_READ_TAGS = _KEPT_TAGS.union(*_BLOCK_TAGS)
# Numbers under every other tag; text may not hide there.
_BYTES_TAGS = frozenset({_JPEG_TABLES, _COLOR_PROFILE, _GDAL_NODATA})
_TEXT_TYPES = (2, 7)
_JPEG = 7
# None, fax, LZW, JPEG, deflate, PackBits, LZMA, Zstandard: their blocks hold pixels alone (JPEG after stripping).
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000})


_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    value: bytes
    span: _Span = (0, 0)
    """From where to where it stands in the file that was read; empty if in its entry."""


def strip_tiff(data: bytes, orientation: int | None = None) -> bytes:
    """Return a classic TIFF of the first page, in the byte order of the old one.

    Args:
        data: TIFF or BigTIFF.
        orientation: Written where the file has it elsewhere than in its tag.

    Raises:
        StripMetadataError: damaged, without pixels, or of a compression whose blocks may hold metadata.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise StripMetadataError(f"a TIFF begins with II or MM, this with {data[:2]!r}")
    entries, dropped = _read_entries(data, order)
    compression = _integers(entries[_COMPRESSION], order)[0] if _COMPRESSION in entries else 1
    if compression not in _COMPRESSIONS:
        raise StripMetadataError(f"TIFF compression {compression} is not taken; its blocks may hold metadata")
    offsets_tag, counts_tag, spans = _read_blocks(data, entries, order)
    _refuse_overlap([*spans, *(entry.span for entry in entries.values())], dropped)
    blocks = [data[start:end] for start, end in spans]
    kept = {tag: _as_classic(tag, entry, order) for tag, entry in entries.items() if tag in _KEPT_TAGS}
    if _GDAL_NODATA in kept and not _is_number(kept[_GDAL_NODATA].value):
        del kept[_GDAL_NODATA]
    if orientation is not None and _ORIENTATION not in kept:
        kept[_ORIENTATION] = _Entry(_SHORT, 1, struct.pack(f"{order}H", orientation))
    if compression == _JPEG:
        blocks = [strip_jpeg(block) for block in blocks]
        if _JPEG_TABLES in kept:
            tables = strip_jpeg(kept[_JPEG_TABLES].value)
            kept[_JPEG_TABLES] = _Entry(kept[_JPEG_TABLES].kind, len(tables), tables)
    if sum(len(entry.value) for entry in kept.values()) > len(data):
        raise StripMetadataError("tags of the TIFF share their bytes")
    return _write(order, kept, offsets_tag, counts_tag, blocks)


def _read_entries(data: bytes, order: str) -> tuple[dict[int, _Entry], list[_Span]]:
    """Read the first directory: entries that may be kept, and where the values of the others stand, and itself."""
    try:
        version = struct.unpack_from(f"{order}H", data, 2)[0]
        if version == 42:
            at = struct.unpack_from(f"{order}I", data, 4)[0]
            number = struct.unpack_from(f"{order}H", data, at)[0]
            at, entry_format, inline = at + 2, f"{order}HHI", 4
        elif version == 43:
            at = struct.unpack_from(f"{order}Q", data, 8)[0]
            number = struct.unpack_from(f"{order}Q", data, at)[0]
            at, entry_format, inline = at + 8, f"{order}HHQ", 8
        else:
            raise StripMetadataError(f"TIFF version {version}; 42 and 43 are known")
        entry_bytes = struct.calcsize(entry_format) + inline
        if at + number * entry_bytes > len(data):
            raise StripMetadataError(f"the TIFF directory of {number} entries is cut")
        entries: dict[int, _Entry] = {}
        dropped = [(0, 8), (at, at + number * entry_bytes)]
        for start in range(at, at + number * entry_bytes, entry_bytes):
            tag, kind, count = struct.unpack_from(entry_format, data, start)
            where = start + entry_bytes - inline
            if tag not in _READ_TAGS:
                dropped.append(_span_of(data, order, where, inline, _TYPE_BYTES.get(kind, 1) * count))
            elif tag in entries:
                raise StripMetadataError(f"TIFF tag {tag} is there twice")
            else:
                entries[tag] = _read_entry(data, order, where, inline, kind, count)
    except struct.error as error:
        raise StripMetadataError(f"the TIFF is cut: {error}") from error
    return entries, dropped


def _span_of(data: bytes, order: str, where: int, inline: int, size: int) -> _Span:
    """Where a value stands: in the entry if it fits, and elsewhere if not."""
    if size <= inline:
        return (where, where)
    at = struct.unpack_from(f"{order}{'I' if inline == 4 else 'Q'}", data, where)[0]
    return (at, at + size)


def _read_entry(data: bytes, order: str, where: int, inline: int, kind: int, count: int) -> _Entry:
    if kind not in _TYPE_BYTES:
        raise StripMetadataError(f"TIFF type {kind} is not known")
    size = _TYPE_BYTES[kind] * count
    span = _span_of(data, order, where, inline, size)
    if count == 0 or span[0] + size > len(data):
        raise StripMetadataError(f"a TIFF value of {size} bytes at {span[0]} is empty or cut")
    return _Entry(kind, count, data[span[0] : span[0] + size], span)


def _read_blocks(data: bytes, entries: dict[int, _Entry], order: str) -> tuple[int, int, list[_Span]]:
    """Find the strips or tiles. They may not overlap by more than the file is long, or a small file grows large."""
    pairs = [pair for pair in _BLOCK_TAGS if pair[0] in entries and pair[1] in entries]
    if len(pairs) != 1:
        raise StripMetadataError("the TIFF has no strips and no tiles, or both")
    offsets, counts = (_integers(entries[tag], order) for tag in pairs[0])
    if len(offsets) != len(counts) or sum(counts) > len(data):
        raise StripMetadataError(f"{len(offsets)} TIFF blocks of together {sum(counts)} bytes in {len(data)} bytes")
    spans = [(start, start + size) for start, size in zip(offsets, counts, strict=True)]
    if any(end > len(data) for _, end in spans):
        raise StripMetadataError("a block of the TIFF is cut")
    return *pairs[0], spans


def _refuse_overlap(kept: list[_Span], dropped: list[_Span]) -> None:
    """Raise if what is kept as pixels lies over what is dropped: it would be kept under another name."""
    events = sorted([(*span, False) for span in kept if span[0] < span[1]] + [(*span, True) for span in dropped])
    ends = {False: 0, True: 0}
    for start, end, is_dropped in events:
        if start < ends[not is_dropped] and start < end:
            raise StripMetadataError(f"pixels and other data of the TIFF share bytes at {start}")
        ends[is_dropped] = max(ends[is_dropped], end)


def _integers(entry: _Entry, order: str) -> tuple[int, ...]:
    if entry.kind not in _INTEGER_FORMATS:
        raise StripMetadataError(f"a TIFF offset, count or code has type {entry.kind}")
    return struct.unpack(f"{order}{entry.count}{_INTEGER_FORMATS[entry.kind]}", entry.value)


def _as_classic(tag: int, entry: _Entry, order: str) -> _Entry:
    """The value in a type that a classic TIFF knows, if it is of the kind that its tag has."""
    if tag not in _BYTES_TAGS and entry.kind in _TEXT_TYPES:
        raise StripMetadataError(f"TIFF tag {tag} is text; it must be a number")
    if entry.kind == _LONG8:
        numbers = _integers(entry, order)
        if max(numbers) > 0xFFFFFFFF:
            raise StripMetadataError(f"TIFF tag {tag} is {max(numbers)}, more than a TIFF can")
        return _Entry(_LONG, entry.count, struct.pack(f"{order}{entry.count}I", *numbers))
    if entry.kind > _LAST_CLASSIC_TYPE:
        raise StripMetadataError(f"TIFF tag {tag} has type {entry.kind}")
    return entry


def _is_number(value: bytes) -> bool:
    """Whether text is one number, and so not a comment under another name."""
    try:
        float(value.rstrip(b"\0").decode("ascii"))
    except ValueError:
        return False
    return len(value) <= 40


def _write(order: str, kept: dict[int, _Entry], offsets_tag: int, counts_tag: int, blocks: list[bytes]) -> bytes:
    """Header, directory, long values, blocks; every part begins at an even byte."""
    number = len(blocks)
    entries = dict(kept)
    entries[counts_tag] = _Entry(_LONG, number, struct.pack(f"{order}{number}I", *map(len, blocks)))
    entries[offsets_tag] = _Entry(_LONG, number, bytes(4 * number))  # the space; filled when all lengths are known
    at = 8 + 2 + 12 * len(entries) + 4
    value_at: dict[int, int] = {}
    for tag in sorted(entries):
        if len(entries[tag].value) > 4:
            value_at[tag] = at
            at += _even(len(entries[tag].value))
    offsets = []
    for block in blocks:
        offsets.append(at)
        at += _even(len(block))
    if at > 0xFFFFFFFF:
        raise StripMetadataError(f"the TIFF would have {at} bytes, more than a TIFF can")
    entries[offsets_tag] = _Entry(_LONG, number, struct.pack(f"{order}{number}I", *offsets))
    parts = [b"II" if order == "<" else b"MM", struct.pack(f"{order}HIH", 42, 8, len(entries))]
    for tag, entry in sorted(entries.items()):
        where = struct.pack(f"{order}I", value_at[tag]) if tag in value_at else entry.value.ljust(4, b"\0")
        parts.append(struct.pack(f"{order}HHI", tag, entry.kind, entry.count) + where)
    parts.append(bytes(4))  # no second page
    parts += [entries[tag].value.ljust(_even(len(entries[tag].value)), b"\0") for tag in sorted(value_at)]
    parts += [block.ljust(_even(len(block)), b"\0") for block in blocks]
    return b"".join(parts)


def _even(size: int) -> int:
    return size + size % 2
