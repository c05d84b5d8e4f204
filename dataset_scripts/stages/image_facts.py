"""What is kept of an image: bytes that may be published, size, SHA-256 and perceptual hash; or why it is refused."""

import hashlib
from typing import Any

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from .decode_check import DecodeLimits, decode_image
from .infrared_check import check_infrared
from .perceptual_hash import grey_thumbnail, hash_thumbnails
from .rejects import RefusedError
from .rgb_check import check_rgb
from .strip_metadata import strip_metadata


def rgb_facts(data: bytes, limits: DecodeLimits) -> dict[str, Any]:
    """Return the columns `image`, `image_bytes`, `sha256`, `width`, `height`, `perceptual_hash` of an RGB image.

    Raises:
        RefusedError: the bytes are no image, not within the limits, or no RGB photograph.
    """
    image = upright(decode_image(data, limits))
    check_rgb(image)
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
        image = upright(decode_image(data, limits))
    except RefusedError as refusal:
        raise RefusedError(f"infrared_{refusal.reason}", refusal.detail) from refusal
    data, image = check_infrared(data, image, rgb_size=rgb_size)
    clean = _without_metadata(data)
    return {
        "infrared": clean,
        "infrared_bytes": len(clean),
        "infrared_sha256": hashlib.sha256(clean).hexdigest(),
        "infrared_hash": _hash(image),
    }


def upright(image: Image.Image) -> Image.Image:
    """Apply the orientation that a camera noted, as every reader of the dataset will."""
    if image.getexif().get(Base.Orientation, 1) == 1:
        return image
    turned = ImageOps.exif_transpose(image)
    turned.format = image.format
    return turned


def _hash(image: Image.Image) -> int:
    return int(hash_thumbnails([grey_thumbnail(image)])[0])


def _without_metadata(data: bytes) -> bytes:
    try:
        return strip_metadata(data)
    except ValueError as error:
        raise RefusedError("metadata_not_removable", str(error)) from error
