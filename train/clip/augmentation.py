"""Random views of an image pair: one geometry for both, radiometry for infrared; pure functions of a generator.

Infrared comes as float32 in [0, 1], scaled from its true range by the processor's rule; pixels without data stay so.
Shapes: H rows, W columns of an image.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .config import AugmentationConfig

Pixels = NDArray[Any]
# The processor refuses smaller images.
SMALLEST_CROP = 16


@dataclass(frozen=True)
class Geometry:
    """A crop (top, left, height, width) of the whole image, then quarter turns, then a mirror image."""

    box: tuple[int, int, int, int]
    quarter_turns: int = 0
    mirrored: bool = False

    def apply(self, pixels: Pixels, whole: tuple[int, int] | None = None) -> Pixels:
        """The view of an image (H, W) or (H, W, C).

        Args:
            pixels: The image.
            whole: Height and width that the box is of, where the image was decoded at a part of them.
        """
        top, left, height, width = self.box
        down, right = (1.0, 1.0) if whole is None else (pixels.shape[0] / whole[0], pixels.shape[1] / whole[1])
        rows = slice(round(top * down), round((top + height) * down))
        columns = slice(round(left * right), round((left + width) * right))
        view = np.rot90(pixels[rows, columns], self.quarter_turns)
        return np.ascontiguousarray(view[:, ::-1] if self.mirrored else view)


def draw_geometry(height: int, width: int, config: AugmentationConfig, generator: torch.Generator) -> Geometry:
    """A geometry for an image of this size. An aerial image has no side that is up: all eight may be drawn."""
    box = _draw_box(height, width, config, generator)
    match config.orientation:
        case "none":
            return Geometry(box)
        case "mirror":
            return Geometry(box, mirrored=_uniform(0, 1, generator) < 0.5)
    side = int(torch.randint(8, (1,), generator=generator))
    return Geometry(box, side % 4, side >= 4)


def augment_infrared(
    pixels: Pixels, valid: Pixels | None, config: AugmentationConfig, generator: torch.Generator
) -> Pixels:
    """Gamma, contrast, inversion and noise, in this order, as far as they are switched on.

    Args:
        pixels: Infrared (H, W) in [0, 1].
        valid: Booleans (H, W), False where there is no data; those pixels get the mean of the others, as the loader
            fills them. None where all are data.
        config: What is switched on.
        generator: Where randomness comes from.
    """
    result = pixels
    if config.infrared_gamma > 1:
        spread = math.log(config.infrared_gamma)
        result = result ** np.float32(math.exp(_uniform(-spread, spread, generator)))
    if config.infrared_contrast:
        factor = _uniform(1 - config.infrared_contrast, 1 + config.infrared_contrast, generator)
        mean = np.float32((result if valid is None else result[valid]).mean(dtype=np.float64))
        result = mean + np.float32(factor) * (result - mean)
    if config.infrared_inversion and _uniform(0, 1, generator) < config.infrared_inversion:
        result = 1 - result
    if config.infrared_noise:
        deviation = _uniform(0, config.infrared_noise, generator)
        result = result + deviation * torch.randn(result.shape, generator=generator).numpy()
    if result is pixels:
        return pixels
    result = result.clip(0, 1).astype(np.float32)
    if valid is not None:
        result[~valid] = result[valid].mean(dtype=np.float64)
    return result


def _draw_box(
    height: int, width: int, config: AugmentationConfig, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """A box of a random share of the area and a random aspect, as large as fits where the draw does not fit."""
    if config.crop_area == 1:
        return 0, 0, height, width
    area = _uniform(config.crop_area, 1, generator) * height * width
    spread = math.log(config.crop_aspect)
    aspect = math.exp(_uniform(-spread, spread, generator))
    box_height = _within(round(math.sqrt(area / aspect)), height)
    box_width = _within(round(math.sqrt(area * aspect)), width)
    top = int(torch.randint(height - box_height + 1, (1,), generator=generator))
    left = int(torch.randint(width - box_width + 1, (1,), generator=generator))
    return top, left, box_height, box_width


def _within(side: int, limit: int) -> int:
    return min(limit, max(SMALLEST_CROP, side))


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))
