"""JPEG pixels by simplejpeg (libjpeg-turbo without Pillow's copies), where they are Pillow's to the last bit.

Only whole, undamaged grey and RGB files are decoded here. What simplejpeg refuses is Pillow's again, so that neither
the pixels nor the errors depend on what is installed.
"""

import io
from functools import cache

import numpy as np
from PIL import Image

from .bands_rsclip import Array

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

START_OF_IMAGE, START_OF_SCAN = b"\xff\xd8", 0xDA
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, with Huffman codes
# Tables, comments, restart interval, JFIF; and colour profiles, unless they are a second image.
PLAIN_SEGMENTS = (0xDB, 0xC4, 0xFE, 0xDD, 0xE0, 0xE2)
MODES = {1: "L", 3: "RGB"}
COLOURSPACES = {"RGB": "RGB", "L": "GRAY"}
SHRINKS = (8, 4, 2)


def choose_shrink(size: tuple[int, int], least_side: int | None) -> int:
    """The largest of 8, 4, 2 that leaves the short side `least_side` pixels; 1 where none does."""
    if least_side is None:
        return 1
    return next((shrink for shrink in SHRINKS if min(size) >= shrink * least_side), 1)


def plain_jpeg(content: bytes) -> tuple[str, tuple[int, int]] | None:
    """Mode and size of a grey or colour JPEG in 8 bits without EXIF, XMP, an Adobe marker or a second image.

    None for all others, which Pillow has to look at.
    """
    found, place = None, 2
    if content[:2] != START_OF_IMAGE:
        return None
    while place + 10 <= len(content) and content[place] == 0xFF:
        kind, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if kind == START_OF_SCAN:
            return found
        if kind in FRAMES:
            bits, mode = content[place + 4], MODES.get(content[place + 9])
            if found is not None or bits != 8 or mode is None:
                return None
            height, width = (int.from_bytes(content[place + at : place + at + 2], "big") for at in (5, 7))
            found = mode, (width, height)
        elif kind not in PLAIN_SEGMENTS or content[place + 4 : place + 8] == b"MPF\0":
            return None
        place += 2 + length
    return None


def decode_plain_jpeg(content: bytes, mode: str, size: tuple[int, int], shrink: int) -> Array | None:
    """The pixels of what `plain_jpeg` found; None where Pillow has to decode."""
    return _decode(content, mode, size, shrink) if simplejpeg_equals_pillow() else None


def decode_jpeg(content: bytes, image: Image.Image, shrink: int = 1) -> Array | None:
    """The pixels of a JPEG that Pillow opened and did not load, (H, W) or (H, W, 3); None where Pillow has to decode.

    Args:
        shrink: 1, or 2, 4 or 8 for an image of that part of the sides.
    """
    if image.format != "JPEG" or image.mode not in COLOURSPACES or not simplejpeg_equals_pillow():
        return None
    return _decode(content, image.mode, image.size, shrink)


@cache
def simplejpeg_equals_pillow() -> bool:
    """Whether simplejpeg is installed, and gives Pillow's pixels on this machine: the two may bring different libjpegs.

    Compares noise of an odd size in every subsampling, plain and progressive, whole and at every reduced size.
    """
    if simplejpeg is None:
        return False
    noise = np.random.default_rng(0).integers(0, 256, (75, 93, 3), dtype=np.uint8)
    colour = Image.fromarray(noise)
    for image, subsampling in ((colour, 0), (colour, 1), (colour, 2), (colour.convert("L"), 0)):
        for progressive in (False, True):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
            for shrink in (1, *SHRINKS):
                own = _decode(buffer.getvalue(), image.mode, image.size, shrink)
                with Image.open(buffer) as opened:
                    shrink_draft(opened, shrink)
                    if own is None or not np.array_equal(own, np.asarray(opened)):
                        return False
    return True


def shrink_draft(image: Image.Image, shrink: int) -> None:
    """Tell Pillow to decode a JPEG at a part of its sides."""
    if shrink > 1:
        image.draft(image.mode, (image.width // shrink, image.height // shrink))


def _decode(content: bytes, mode: str, size: tuple[int, int], shrink: int) -> Array | None:
    width, height = (-(-side // shrink) for side in size)
    try:
        pixels: Array = simplejpeg.decode_jpeg(
            content, COLOURSPACES[mode], min_height=height if shrink > 1 else 0, min_width=width if shrink > 1 else 0
        )
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels[..., 0] if mode == "L" else pixels
