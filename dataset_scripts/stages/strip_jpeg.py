"""Removes everything from a JPEG that is not needed for its pixels, segment by segment, without decoding it."""

import re

# Tables, frames and scans; what each is, is in ITU-T T.81, table B.1.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
_SCAN, _END = 0xDA, 0xD9
_COMMENT = 0xFE
# In a scan FF is followed by 00, by a restart marker or by another FF; anything else ends the scan.
_MARKER = re.compile(rb"\xff+[^\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class StripMetadataError(ValueError):
    """An image whose metadata cannot be removed because it is damaged, or of a kind that is not taken."""


def strip_jpeg(data: bytes, exif: bytes = b"") -> bytes:
    """Return the first picture of a JPEG with its tables, frame, scans, colour profile and colour transform.

    Args:
        data: The file, or a strip of a TIFF, which lacks tables.
        exif: A block to put in, without its "Exif" name.

    Raises:
        StripMetadataError: the segments do not follow each other, or the end is missing. (A decoder would fill a cut
            image with grey.)
    """
    if data[:2] != b"\xff\xd8":
        raise StripMetadataError(f"a JPEG begins with ffd8, this with {data[:2].hex()}")
    kept = [b"\xff\xd8"]
    exif_segment = _segment(0xE1, b"Exif\0\0" + exif) if exif else b""
    at = 2
    while True:
        marker, at = _next_marker(data, at)
        if marker == _END:
            return b"".join((*_with_exif(kept, exif_segment), b"\xff\xd9"))
        body = _body(data, at, marker)
        at += 2 + len(body)
        if marker in _FRAMES or marker in _TABLES:
            kept.append(_segment(marker, body))
        elif marker == _SCAN:
            end = _END_OF_SCAN.search(data, at)
            if end is None:
                raise StripMetadataError("the JPEG is cut inside a scan")
            # Fill bytes before the next marker belong to nobody.
            kept.append(_segment(marker, body) + data[at : end.start()].rstrip(b"\xff"))
            at = end.start()
        elif 0xE0 <= marker <= 0xEF:
            kept.append(_application_segment(marker, body))
        elif marker != _COMMENT:
            raise StripMetadataError(f"marker ff{marker:02x} does not belong into a JPEG")


def _with_exif(kept: list[bytes], exif_segment: bytes) -> list[bytes]:
    """Put the block where the standards want it: after the JFIF header, before all else."""
    after = 1
    while after < len(kept) and (not kept[after] or kept[after].startswith(b"\xff\xe0")):
        after += 1
    return [*kept[:after], exif_segment, *kept[after:]]


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the marker and the position after it; there may be fill bytes before."""
    found = _MARKER.match(data, at)
    if found is None:
        raise StripMetadataError(f"a marker was expected at byte {at} of {len(data)}")
    return data[found.end() - 1], found.end()


def _body(data: bytes, at: int, marker: int) -> bytes:
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise StripMetadataError(f"segment ff{marker:02x} at byte {at} is cut, or its length {length} is wrong")
    return data[at + 2 : at + length]


def _application_segment(marker: int, body: bytes) -> bytes:
    """Keep what decoders need for colour, cut to its fields; a JFIF header loses its thumbnail."""
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return _segment(marker, body[:12] + b"\0\0")
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
        return _segment(marker, body)
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
        return _segment(marker, body[:12])
    return b""


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
