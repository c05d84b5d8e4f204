"""Windows of semantic localization: where they lie, and what of a scene an encoder sees of each.

Sizes and rules are those of AIR-SLT (xiaoyuan1996/SemanticLocalizationMetrics 1e9596d, predict/generate_selo.py), which
RS5M runs unchanged. Shapes: N windows; a window is (top, bottom, left, right) in pixels, ends exclusive.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Windows = npt.NDArray[np.int64]

SCALES = (256, 512, 768)
CROP_SIDE = 256
# What OpenCV writes when nothing is said: quality 95, chroma at half the resolution.
JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": "4:2:0"}


def windows_of(height: int, width: int, scales: tuple[int, ...] = SCALES) -> Windows:
    """Every distinct window (N, 4) of a scene, sorted.

    Each scale has two grids, one from the corner and one from half a window further; a window that crosses the border
    is shifted back to end at it. A window longer than the scene is cut to the scene, where the original fails.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a scene of {width} x {height} pixels has no windows; wanted at least one pixel.")
    if not scales or min(scales) < 2:
        raise ValueError(f"scales are {scales}, wanted at least one window size in pixels, each from 2.")
    found = set()
    for scale in scales:
        for origin in (0, scale - scale // 2):
            rows, columns = (_spans(length, scale, origin) for length in (height, width))
            found |= {(*row, *column) for row in rows for column in columns}
    return np.array(sorted(found), dtype=np.int64)


def crop_for_encoder(pixels: Pixels, jpeg: bool) -> Pixels:
    """What of a window the encoder sees: 256 x 256 pixels by the bicubic of OpenCV, through a JPEG if so published.

    Equal to OpenCV bit for bit at 256, 512 and 768 pixels; elsewhere single pixels may differ by one level.

    Args:
        pixels: RGB (h, w, 3).
        jpeg: Whether to write and read back a JPEG, as the original keeps its crops.
    """
    if pixels.shape[:2] != (CROP_SIDE, CROP_SIDE):
        planes = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()  # (1, 3, h, w)
        planes = F.interpolate(planes, size=(CROP_SIDE, CROP_SIDE), mode="bicubic", align_corners=False)
        pixels = planes.round().clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    return through_jpeg(pixels) if jpeg else np.array(pixels)


def through_jpeg(pixels: Pixels) -> Pixels:
    """Pixels, grey or RGB, as they come back from a JPEG that OpenCV wrote."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **JPEG)
    buffer.seek(0)
    with Image.open(buffer) as image:
        return np.array(image)


def _spans(length: int, scale: int, origin: int) -> list[tuple[int, int]]:
    if scale >= length:
        return [(0, length)]
    return [(min(start, length - scale), min(start, length - scale) + scale) for start in range(origin, length, scale)]
