"""Removes from an image what is not its pixels, without decoding them: positions, names, comments, previews, tails.

What changes how the pixels look stays: colour profile, gamma, transparency, colour transform, and the orientation, as
the only tag of a new EXIF block. What may pass is listed, and all else is dropped, so a new kind of metadata is too.
"""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from .strip_jpeg import StripMetadataError, strip_jpeg
from .strip_tiff import strip_tiff

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"cICP")
) | {b"mDCV", b"cLLI"}
_WEBP_KEPT = frozenset((b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"))
_WEBP_FRAME_KEPT = frozenset((b"ALPH", b"VP8 ", b"VP8L"))
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04
_FRAME_HEADER_BYTES = 16

_ORIENTATION = 0x0112
# What Pillow raises on a header it cannot read. Warning is here for callers who turn warnings into errors.
HEADER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    EOFError,
    struct.error,
    zlib.error,
    Warning,
    Image.DecompressionBombError,
)


def strip_metadata(data: bytes) -> bytes:
    """Return the image with the same pixels, the same look and nothing else; one picture, where there were several.

    Raises:
        StripMetadataError: (a ValueError) the image is damaged or not a JPEG, PNG, WebP or TIFF.
    """
    if data[:2] == b"\xff\xd8":
        return strip_jpeg(data, _exif_of(_read_orientation(data)))
    if data.startswith(_PNG_START):
        return _strip_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _strip_webp(data, _exif_of(_read_orientation(data)))
    if data[:2] in (b"II", b"MM"):
        return strip_tiff(data, _read_orientation(data))
    raise StripMetadataError(f"not a JPEG, PNG, WebP or TIFF: {len(data)} bytes that begin with {data[:12]!r}")


def _read_orientation(data: bytes) -> int | None:
    """Return the orientation by which a decoder turns the image (from EXIF, or else XMP), or None if it does not.

    Pillow reads it, so that what we write and what Pillow shows cannot differ.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "TIFF")) as image:
            orientation = image.getexif().get(_ORIENTATION)
    except HEADER_ERRORS as error:
        raise StripMetadataError(f"the header cannot be read: {type(error).__name__}: {error}") from error
    return orientation if isinstance(orientation, int) and 2 <= orientation <= 8 else None


def _exif_of(orientation: int | None) -> bytes:
    """An EXIF block, which is a TIFF directory, with one tag."""
    if orientation is None:
        return b""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


def _strip_png(data: bytes) -> bytes:
    chunks = list(_png_chunks(data))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") != 1 or b"IDAT" not in kinds:
        raise StripMetadataError("the PNG has no header or no pixels")
    unknown = next((kind for kind in kinds if not kind[0] & 0x20 and kind not in _PNG_KEPT), None)
    if unknown is not None:
        raise StripMetadataError(f"the PNG has chunk {unknown!r}, which a decoder may not skip")
    # Pillow decodes the pixels to look for EXIF after them, so it is asked only where there can be some.
    has_more = not _PNG_KEPT.issuperset(kinds)
    exif = _exif_of(_read_orientation(data)) if has_more else b""
    kept = [
        _png_chunk(kind, _plain_profile(body) if kind == b"iCCP" else body)
        for kind, body in chunks
        if kind in _PNG_KEPT
    ]
    if exif:
        kept.insert(1, _png_chunk(b"eXIf", exif))
    return _PNG_START + b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and bodies up to the end of the image."""
    at = len(_PNG_START)
    kind = b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            raise StripMetadataError(f"the PNG is cut in chunk {kind!r} at byte {at}")
        if not kind.isalpha() or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise StripMetadataError(f"chunk {kind!r} at byte {at} of the PNG does not have its check sum")
        yield kind, data[at + 8 : end]
        at = end + 4


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _plain_profile(body: bytes) -> bytes:
    """A colour profile in PNG has a free name before it."""
    name, nul, profile = body.partition(b"\0")
    if not nul or len(name) > 79:
        raise StripMetadataError("the colour profile of the PNG has no name")
    return b"ICC\0" + profile


def _strip_webp(data: bytes, exif: bytes) -> bytes:
    """Keep the picture, or the frames, and the profile; clear the flags of what goes."""
    length = int.from_bytes(data[4:8], "little")
    if 8 + length > len(data):
        raise StripMetadataError(f"the WebP says {8 + length} bytes and has {len(data)}")
    kept = []
    for kind, body in _riff_chunks(data[12 : 8 + length]):
        if kind == b"VP8X":
            if len(body) < 10:
                raise StripMetadataError("the WebP header is cut")
            flags = body[0] & ~(_WEBP_EXIF | _WEBP_XMP) | (_WEBP_EXIF if exif else 0)
            body = bytes((flags,)) + body[1:10]
        elif kind == b"ANMF":
            frame = _riff_chunks(body[_FRAME_HEADER_BYTES:])
            body = body[:_FRAME_HEADER_BYTES] + b"".join(
                _riff_chunk(*part) for part in frame if part[0] in _WEBP_FRAME_KEPT
            )
        if kind in _WEBP_KEPT:
            kept.append((kind, body))
    kinds = {kind for kind, _ in kept}
    if not kinds & {b"VP8 ", b"VP8L", b"ANMF"}:
        raise StripMetadataError("the WebP has no picture")
    if exif:
        if b"VP8X" not in kinds:
            raise StripMetadataError("the WebP has an orientation without the header that announces it")
        kept.append((b"EXIF", exif))
    body = b"WEBP" + b"".join(_riff_chunk(kind, body) for kind, body in kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            raise StripMetadataError(f"the WebP is cut in chunk {kind!r}")
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)
