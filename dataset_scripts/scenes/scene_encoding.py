"""A scene as files: its name, its licence, RGB as JPEG and infrared as 16-bit PNG."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SOURCE = "simulator"
LICENSE = "Apache-2.0"
ATTRIBUTION = "Made by the RSCLIP scene simulator; not an observation of any place."
JPEG_QUALITY = 92
# The noise of a camera does not repeat, so the run-length strategy is both the fastest and the smallest.
PNG_OPTIONS = {"compress_level": 1, "compress_type": 3}


def source_id(seed: int, index: int) -> str:
    """The name of a simulated scene in its source."""
    return f"{seed}-{index:07d}"


def encode_rgb(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG bytes of an (H, W, 3) image."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def encode_infrared(infrared: NDArray[np.uint16]) -> bytes:
    """16-bit PNG bytes of an (H, W) image; lossless."""
    buffer = io.BytesIO()
    Image.fromarray(infrared).save(buffer, "PNG", **PNG_OPTIONS)
    return buffer.getvalue()
