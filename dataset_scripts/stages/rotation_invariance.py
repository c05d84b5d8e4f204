"""Chooses the caption whose similarity to an image is high and does not change when the image is turned.

Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300: the caption whose cosines with 12 rotations vary
least. By that rule alone a caption that says nothing wins, for it is unlike every rotation by the same amount; so the
mean counts here as well, and an infinite weight of the deviation gives the published rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


# Shapes: J captions, N rotations, D width
@dataclass(frozen=True, kw_only=True)
class RotationSettings:
    """What is asked of the chosen caption."""

    deviation_weight: float = 1.0
    """Lambda: the chosen caption has the largest mean - lambda * standard deviation of its cosines. 0 asks for the
    highest mean alone; infinity for the smallest variance alone, which is RS5M's rule."""
    rotations: int = 12
    """Number of angles, evenly spaced from 0 degrees."""

    def __post_init__(self) -> None:
        if not self.deviation_weight >= 0:
            raise ValueError(f"deviation_weight is {self.deviation_weight}; it must be 0 or more, or infinity.")
        if self.rotations < 2:
            raise ValueError(f"rotations is {self.rotations}; it must be at least 2.")


@dataclass(frozen=True, slots=True)
class RotationScores:
    """Cosines of J captions over the rotations, in the captions' order, and the row that is chosen."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    chosen: int


def rotate_image(image: Image.Image, rotations: int = 12) -> list[Image.Image]:
    """Return the centre of the image at each angle: the square that lies inside the image at all of them.

    Turning an image leaves corners to fill. Black ones would differ from angle to angle, and the score would measure
    them; mirrored ones would add buildings and ships that a caption may count. So all angles, 0 degrees too, show the
    same disc's inner square, of side = shorter side / sqrt(2), in one resampling. What lies outside is not judged
    here; the ranking before saw the whole image.
    """
    width, height = image.size
    side = math.floor(min(width, height) / math.sqrt(2))
    if side < 1:
        raise ValueError(f"an image of {width}x{height} has no centre to turn; it must be 2x2 at least.")
    return [_turned_centre(image, side, 2 * math.pi * step / rotations) for step in range(rotations)]


def choose_caption(cosines: NDArray[Any], deviation_weight: float) -> RotationScores:
    """Choose among captions by their cosines with the rotations of one image.

    Equal objectives go to the higher mean, then to the caption that comes first.

    Args:
        cosines: (J, N), J at least 1.
        deviation_weight: as in `RotationSettings`.
    """
    if cosines.ndim != 2 or 0 in cosines.shape:
        raise ValueError(f"cosines have shape {cosines.shape}; wanted (captions, rotations), one of each at least.")
    if not np.isfinite(cosines).all():
        raise ValueError(f"cosines of caption {int(np.argwhere(~np.isfinite(cosines))[0, 0])} are not finite.")
    wide = cosines.astype(np.float64)
    # From the first cosine: a caption whose cosines are all equal has a variance of exactly 0, and ties are ties.
    offsets = wide - wide[:, :1]
    mean, variance = wide[:, 0] + offsets.mean(axis=1), offsets.var(axis=1)
    objective = -variance if math.isinf(deviation_weight) else mean - deviation_weight * np.sqrt(variance)
    chosen = int(np.lexsort((-mean, -objective))[0])
    return RotationScores(mean, np.sqrt(variance), chosen)


def caption_cosines(unit_texts: NDArray[Any], unit_rotations: NDArray[Any]) -> NDArray[Any]:
    """Return the (J, N) cosines of (J, D) texts and (N, D) rotations, both of length 1."""
    cosines: NDArray[Any] = unit_texts @ unit_rotations.T
    return cosines


def _turned_centre(image: Image.Image, side: int, angle_radians: float) -> Image.Image:
    """Read a turned square around the centre, at the image's own scale (Pillow's coefficients map output to input)."""
    cosine, sine = math.cos(angle_radians), math.sin(angle_radians)
    middle = side / 2
    across = image.width / 2 - middle * (cosine - sine)
    down = image.height / 2 - middle * (sine + cosine)
    coefficients: Sequence[float] = (cosine, -sine, across, sine, cosine, down)
    return image.transform((side, side), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC)
