"""What is kept of an image: bytes that may be published, size, SHA-256 and perceptual hash; or why it is refused."""

import hashlib
from typing import Any

from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import BITSPERSAMPLE

from .decode_check import DecodeLimits, decode_image
from .infrared_check import check_infrared
from .perceptual_hash import grey_thumbnail, hash_thumbnails
from .rejects import RefusedError
from .rgb_check import check_rgb
from .strip_metadata import HEADER_ERRORS, strip_metadata

# The first chunk of a PNG is its header; strip_metadata refuses one of which this is not so.
_PNG_DEPTH_AT = 24


def rgb_facts(data: bytes, limits: DecodeLimits) -> dict[str, Any]:
    """Return the columns `image`, `image_bytes`, `sha256`, `width`, `height`, `perceptual_hash` of an RGB image.

    Raises:
        RefusedError: the bytes are no image, not within the limits, or no RGB photograph.
    """
    image = decode_image(data, limits)
    check_rgb(image, channel_bits=_channel_bits(data, image))
    image = upright(image)
    clean = _without_metadata(data)
    return {
        "image": clean,
        "image_bytes": len(clean),
        "sha256": hashlib.sha256(clean).hexdigest(),
        "width": image.width,
        "height": image.height,
        "perceptual_hash": _hash(image),
    }


def infrared_facts(data: bytes, limits: DecodeLimits, *, rgb_size: tuple[int, int]) -> dict[str, Any]:
    """Return the columns `infrared`, `infrared_bytes`, `infrared_sha256`, `infrared_hash` of a partner image.

    Raises:
        RefusedError: as `rgb_facts`, with reasons that begin with `infrared_`; or the geometry differs.
    """
    try:
        image = decode_image(data, limits)
        channel_bits = _channel_bits(data, image)
        image = upright(image)
    except RefusedError as refusal:
        raise RefusedError(f"infrared_{refusal.reason}", refusal.detail) from refusal
    data, image = check_infrared(data, image, channel_bits=channel_bits, rgb_size=rgb_size)
    clean = _without_metadata(data)
    return {
        "infrared": clean,
        "infrared_bytes": len(clean),
        "infrared_sha256": hashlib.sha256(clean).hexdigest(),
        "infrared_hash": _hash(image),
    }


def upright(image: Image.Image) -> Image.Image:
    """Apply the orientation that a camera noted, as every reader of the dataset will.

    Raises:
        RefusedError: the orientation cannot be read.
    """
    try:
        if image.getexif().get(Base.Orientation, 1) == 1:
            return image
        turned = ImageOps.exif_transpose(image)
    except HEADER_ERRORS as error:
        raise RefusedError("metadata_not_removable", f"{type(error).__name__}: {error}") from error
    turned.format = image.format
    return turned


def _channel_bits(data: bytes, image: Image.Image) -> int:
    """Bits of the deepest channel in the file: Pillow opens colours of 16 bits as 8, and what is left may be black."""
    if image.format == "PNG":
        return data[_PNG_DEPTH_AT]
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,)))  # type: ignore[attr-defined]
    return 8


def _hash(image: Image.Image) -> int:
    return int(hash_thumbnails([grey_thumbnail(image)])[0])


def _without_metadata(data: bytes) -> bytes:
    try:
        return strip_metadata(data)
    except ValueError as error:
        raise RefusedError("metadata_not_removable", str(error)) from error
