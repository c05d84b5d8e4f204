"""Pairs of RGB and measured infrared as numbers, and answers without a network: what a translation must beat.

Shapes: H, W sides of an image, N pixels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from processing import LoadedImage, RSImageProcessor, load_pair

# ITU-R 601, the greyscale control of the dataset builder.
LUMA = (0.299, 0.587, 0.114)


def read_pair(row: Mapping[str, Any], processor: RSImageProcessor) -> dict[str, torch.Tensor]:
    """The pair of a row by the rules of its processor.

    Returns:
        `pixel_values` (3, H, W) and `infrared_values` (1, H, W) in [0, 1], and `valid` (1, H, W) where both hold data.

    Raises:
        ValueError: the row lacks an image.
        BadImage: naming the row, if the right pixels cannot be had.
    """
    missing = [name for name in ("rgb", "infrared") if row[name] is None]
    if missing:
        raise ValueError(f"row {row['id']!r} has no {' and no '.join(missing)} image; wanted both images of a pair.")
    pair = load_pair(
        row["rgb"]["bytes"],
        row["infrared"]["bytes"],
        scaling=processor.infrared_scaling,
        nodata=processor.nodata,
        rgb_name=f"RGB image of row {row['id']!r}",
        infrared_name=f"infrared image of row {row['id']!r}",
    )
    assert pair.rgb is not None
    assert pair.infrared is not None
    return {
        "pixel_values": torch.from_numpy(np.array(pair.rgb.pixels)).permute(2, 0, 1).float() / 255,
        "infrared_values": torch.from_numpy(np.array(pair.infrared.pixels))[None],
        "valid": _valid(pair.rgb) & _valid(pair.infrared),
    }


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The grey of each pixel, the best linear mix of its colours, and one value for all."""

    mix: tuple[float, float, float, float]
    """Factors of red, green and blue, and a constant."""
    constant: float
    """Mean infrared of the pairs that it was fitted on."""

    def answers(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """RGB (3, H, W) to images (1, H, W) in [0, 1], by name."""
        factors = torch.tensor(self.mix, dtype=pixel_values.dtype)
        linear = (factors[:3, None, None] * pixel_values).sum(dim=0, keepdim=True) + factors[3]
        luma = torch.tensor(LUMA, dtype=pixel_values.dtype)
        return {
            "luminance": (luma[:, None, None] * pixel_values).sum(dim=0, keepdim=True),
            "linear": linear.clamp(0, 1),
            "constant": torch.full_like(linear, self.constant),
        }


def fit_baselines(pairs: Iterable[Mapping[str, torch.Tensor]]) -> Baselines:
    """Least squares over all valid pixels of pairs that no test saw."""
    squares, products = np.zeros((4, 4)), np.zeros(4)
    for pair in pairs:
        valid = pair["valid"][0].numpy()
        colours = pair["pixel_values"].permute(1, 2, 0).numpy()[valid].astype(np.float64)  # (N, 3)
        inputs = np.concatenate([colours, np.ones((len(colours), 1))], axis=1)
        squares += inputs.T @ inputs
        products += inputs.T @ pair["infrared_values"][0].numpy()[valid].astype(np.float64)
    if squares[3, 3] == 0:
        raise ValueError("no valid pixel to fit the baselines on; give pairs with data.")
    red, green, blue, offset = np.linalg.lstsq(squares, products, rcond=None)[0].tolist()
    return Baselines(mix=(red, green, blue, offset), constant=float(products[3] / squares[3, 3]))


def _valid(image: LoadedImage) -> torch.Tensor:
    width, height = image.size
    mask = np.ones((height, width), dtype=np.bool_) if image.valid is None else np.array(image.valid)
    return torch.from_numpy(mask)[None]  # (1, H, W)
