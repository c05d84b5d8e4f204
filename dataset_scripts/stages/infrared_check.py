"""Checks an infrared image: one channel of 8 or 16 bits, of its partner's geometry, with something in it."""

import io

from PIL import Image, ImageChops

from .rejects import RefusedError

REASONS = ("infrared_not_grey", "infrared_depth", "infrared_blank", "geometry_differs")

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def check_infrared(
    data: bytes, image: Image.Image, *, channel_bits: int, rgb_size: tuple[int, int]
) -> tuple[bytes, Image.Image]:
    """Return the bytes and the image to keep: as they came, or as one grey channel if three were equal.

    Args:
        data: the encoded image.
        image: the same, decoded and upright.
        channel_bits: bits of a channel in `data`, which may be more than Pillow keeps.
        rgb_size: width and height of its partner.

    Raises:
        RefusedError: the image is not a usable infrared partner.
    """
    if image.size != rgb_size:
        raise RefusedError("geometry_differs", f"infrared is {_size(image.size)}, RGB is {_size(rgb_size)}")
    if image.mode not in ("L", *_SIXTEEN_BITS):
        image = _one_channel(image, channel_bits)
        data = _png(image)
    low, high = image.getextrema()
    if low == high:
        raise RefusedError("infrared_blank", f"every pixel is {low}")
    return data, image


def _one_channel(image: Image.Image, channel_bits: int) -> Image.Image:
    if image.mode in ("I", "F", "1"):
        raise RefusedError("infrared_depth", f"mode {image.mode}; write it as 8 or 16 bit, by a range that you choose")
    if image.mode not in ("RGB", "P"):
        raise RefusedError("infrared_not_grey", f"mode {image.mode}")
    red, green, blue = image.convert("RGB").split()
    if ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox():
        raise RefusedError("infrared_not_grey", "its three channels differ: a colour map, or not infrared")
    if channel_bits > 8:
        raise RefusedError("infrared_depth", f"three channels of {channel_bits} bits; write one of them")
    return red


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
