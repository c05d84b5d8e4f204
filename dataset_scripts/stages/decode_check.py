"""Checks that encoded bytes are a whole, safe image, and says by name what is wrong with those that are not.

Time is bounded: the header is judged before a pixel is decoded, and then only so many pixels, times the scans of a
progressive JPEG, are decoded. Pillow's guard against decompression bombs stays on.
"""

import hashlib
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageFile, UnidentifiedImageError

from .rejects import RefusedError, Reject

REASONS = ("empty", "not_an_image", "format_not_allowed", "truncated", "bomb", "too_small", "aspect")
# A progressive JPEG of some pages has about ten scans; each costs a pass over all pixels.
_PASSES_OF_MAX_PIXELS = 16
# What Pillow's decoders raise on damaged bytes. Warning is here for callers who turn warnings into errors.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    struct.error,
    Warning,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# (format, position, bytes there)
_SIGNATURES = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("TIFF", 0, b"MM\0+"),
    ("WEBP", 8, b"WEBP"),
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("PSD", 0, b"8BPS"),
    ("ICO", 0, b"\0\0\1\0"),
    ("JPEG2000", 4, b"jP  \r\n\x87\n"),
    ("JPEG2000", 0, b"\xff\x4f\xff\x51"),
    ("JXL", 0, b"\xff\x0a"),
    ("JXL", 4, b"JXL \r\n\x87\n"),
    ("AVIF", 4, b"ftypavi"),
    ("HEIF", 4, b"ftyphei"),
    ("HEIF", 4, b"ftypmif1"),
    ("DDS", 0, b"DDS "),
    ("QOI", 0, b"qoif"),
    ("PPM", 0, b"P6"),
    ("PPM", 0, b"P5"),
    ("EPS", 0, b"%!PS"),
    ("SVG", 0, b"<svg"),
)


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """What an image may be."""

    formats: tuple[str, ...] = ("JPEG", "PNG", "TIFF", "WEBP")
    """Pillow names of the formats that are decoded; nothing else is tried."""
    max_megapixels: float = 64.0
    """Most pixels, in millions. Pillow's own limit holds as well, whichever is lower."""
    min_side_pixels: int = 16
    """Shorter side at least."""
    max_aspect: float = 8.0
    """Longer over shorter side at most: a strip that is resized by its shorter side takes gigabytes."""

    def __post_init__(self) -> None:
        if not self.formats or self.max_megapixels <= 0 or self.min_side_pixels < 1 or self.max_aspect < 1:
            raise ValueError(
                f"{self} accepts no image; give formats, a positive max_megapixels, min_side_pixels of at least 1 "
                "and max_aspect of at least 1."
            )

    @property
    def max_pixels(self) -> int:
        """Most pixels, with Pillow's own limit."""
        ours = int(self.max_megapixels * 1e6)
        return ours if Image.MAX_IMAGE_PIXELS is None else min(ours, Image.MAX_IMAGE_PIXELS)


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """What is known of an image that passed."""

    row: int
    format: str
    mode: str
    width: int
    height: int
    sha256: str


class RefusedImageError(RefusedError):
    """Bytes that are not an image we take; `reason` is one of REASONS."""


DEFAULT_LIMITS = DecodeLimits()


def check_images(
    batch: Sequence[bytes], limits: DecodeLimits = DEFAULT_LIMITS
) -> tuple[list[CheckedImage], list[Reject]]:
    """Decode every image of a batch once, and split it into facts of good images and rejects with their reason."""
    kept: list[CheckedImage] = []
    rejects: list[Reject] = []
    for row, data in enumerate(batch):
        try:
            image = decode_image(data, limits)
        except RefusedImageError as refusal:
            rejects.append(Reject(row, refusal.reason, refusal.detail))
        else:
            kept.append(describe_image(row, data, image))
    return kept, rejects


def describe_image(row: int, data: bytes, image: Image.Image) -> CheckedImage:
    """Facts of a decoded image and the hash of the bytes it came from."""
    # Pillow calls a JPEG with several pictures in it, as drones write them, MPO.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return CheckedImage(row, kind, image.mode, image.width, image.height, hashlib.sha256(data).hexdigest())


def decode_image(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> Image.Image:
    """Return the image with its pixels loaded (the first frame of several).

    Raises:
        RefusedImageError: the bytes are not an image within the limits; it carries the reason.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so cut images would pass as whole ones; set it to False."
        )
    if not data:
        raise RefusedImageError("empty", "0 bytes")
    image = _open(data, limits)
    _judge_header(data, image, limits)
    try:
        image.load()
    except _BOMBS as error:
        raise RefusedImageError("bomb", str(error)) from error
    except _DECODER_ERRORS as error:
        raise RefusedImageError(_reason_of(error), _text(error)) from error
    return image


def _open(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Read the header."""
    try:
        return Image.open(io.BytesIO(data), formats=limits.formats)
    except _BOMBS as error:
        raise RefusedImageError("bomb", str(error)) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data, limits) from error
    except _DECODER_ERRORS as error:
        raise RefusedImageError(_reason_of(error), _text(error)) from error


def _unidentified(data: bytes, limits: DecodeLimits) -> RefusedImageError:
    """Name why no decoder took the bytes: an allowed format with a broken header, another format, or no image."""
    found = next((name for name, at, magic in _SIGNATURES if data[at : at + len(magic)] == magic), None)
    if found in limits.formats:
        return RefusedImageError("truncated", f"the header of {found} is not complete, {len(data)} bytes")
    if found is not None:
        return RefusedImageError("format_not_allowed", f"{found}; allowed are {', '.join(limits.formats)}")
    return RefusedImageError("not_an_image", f"{len(data)} bytes that begin with {data[:16]!r}")


def _judge_header(data: bytes, image: Image.Image, limits: DecodeLimits) -> None:
    """Refuse by size before a pixel is decoded."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    size = f"{width}x{height}"
    if width * height > limits.max_pixels:
        raise RefusedImageError("bomb", f"{size} is more than {limits.max_pixels} pixels")
    # An entropy-coded FF is always followed by 00 or a restart, so this counts scans (and those of a thumbnail).
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1
    if scans * width * height > _PASSES_OF_MAX_PIXELS * limits.max_pixels:
        raise RefusedImageError("bomb", f"{scans} scans of {size}")
    if short < limits.min_side_pixels:
        raise RefusedImageError("too_small", f"{size}; the shorter side must be {limits.min_side_pixels}")
    if long > limits.max_aspect * short:
        raise RefusedImageError("aspect", f"{size}; the longer side may be {limits.max_aspect:g} times the shorter")


def _reason_of(error: BaseException) -> str:
    """Pillow guards compressed text and profiles inside PNG by a ValueError that says so."""
    return "bomb" if isinstance(error, ValueError) and "too large" in str(error) else "truncated"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
