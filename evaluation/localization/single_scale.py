"""Where in a large scene is what a text says: windows of one size, scored and averaged to a heat map.

The published protocol, with its three sizes, filters and metrics, is in `benchmark`.
Shapes: H, W the scene in pixels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from .heat_map import cell_maps

Array = npt.NDArray[Any]


@torch.inference_mode()
def heat_map(
    model: RSCLIPModel, processor: RSCLIPProcessor, scene: Array, texts: list[str], window: int, stride: int
) -> Array:
    """Mean cosine to each text of all windows that cover a pixel (texts, H, W), from 0 to 1 per text.

    Args:
        scene: RGB image (H, W, 3), both sides at least a window.
        window: Side of a window in pixels.
        stride: Pixels between neighbouring windows; the last row and column always reach the edge.
    """
    height, width = scene.shape[:2]
    corners = [(y, x) for y in _starts(height, window, stride) for x in _starts(width, window, stride)]
    crops = [np.ascontiguousarray(scene[y : y + window, x : x + window]) for y, x in corners]
    images = [model(**processor(images=crops[i : i + 64])).image_embeds for i in range(0, len(crops), 64)]
    scores = (model(**processor(text=texts)).text_embeds @ torch.cat(images).t()).numpy()  # (texts, windows)
    windows = np.array([(y, y + window, x, x + window) for y, x in corners], dtype=np.int64)
    maps = cell_maps(windows, scores, height, width)
    return np.stack([maps.expand(maps.relative(text)) for text in range(len(texts))])


def _starts(length: int, window: int, stride: int) -> list[int]:
    if length < window:
        raise ValueError(f"The scene is {length} pixels wide, less than one window of {window}.")
    return sorted({*range(0, length - window + 1, stride), length - window})
