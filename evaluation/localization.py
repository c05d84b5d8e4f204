"""Where in a large scene is what a text says: windows, scored and averaged to a heat map.

Shapes: H, W the scene in pixels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

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
    corners = [(y, x) for y in _starts(scene.shape[0], window, stride) for x in _starts(scene.shape[1], window, stride)]
    crops = [np.ascontiguousarray(scene[y : y + window, x : x + window]) for y, x in corners]
    images = [model(**processor(images=crops[i : i + 64])).image_embeds for i in range(0, len(crops), 64)]
    scores = (model(**processor(text=texts)).text_embeds @ torch.cat(images).t()).numpy()  # (texts, windows)
    total, seen = np.zeros((len(texts), *scene.shape[:2])), np.zeros(scene.shape[:2])
    for index, (y, x) in enumerate(corners):
        total[:, y : y + window, x : x + window] += scores[:, index, None, None]
        seen[y : y + window, x : x + window] += 1
    mean = total / seen
    low, high = mean.min(axis=(1, 2), keepdims=True), mean.max(axis=(1, 2), keepdims=True)
    return (mean - low) / np.maximum(high - low, 1e-12)


def _starts(length: int, window: int, stride: int) -> list[int]:
    if length < window:
        raise ValueError(f"The scene is {length} pixels wide, less than one window of {window}.")
    return sorted({*range(0, length - window + 1, stride), length - window})
