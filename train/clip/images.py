"""The images of a row as a run shows them: decoded by the processor's loader, varied, with infrared or a control."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from processing import LoadedImage, RSImageProcessor, load_infrared, load_pair, load_rgb

from ..data.draw import draw
from .augmentation import augment_infrared, draw_geometry
from .config import AugmentationConfig, InfraredView, JpegDecoding

# What `RowImages` gives is scaled, and white hot.
SCALED_INFRARED = {"infrared_scaling": {"rule": "dtype_range"}, "nodata": None, "polarity": "white_hot"}


@dataclass(frozen=True)
class View:
    """RGB (H, W, 3) in 8 bits, infrared (H, W) as float32 in [0, 1]; None where the run or the row has no infrared."""

    rgb: NDArray[Any]
    infrared: NDArray[Any] | None


class RowImages:
    """Rows to views of their images; a function of the seed, the epoch and the row."""

    def __init__(
        self,
        images: RSImageProcessor,
        view: InfraredView | None,
        augmentation: AugmentationConfig,
        seed: int,
        jpeg_decoding: JpegDecoding = "exact",
    ) -> None:
        """Takes the image processor whose rules hold, and what stands for infrared; None where nothing needs it."""
        self.view, self.augmentation, self.seed = view, augmentation, seed
        self.scaling: dict[str, Any] = {
            name: getattr(images, name) for name in ("nodata", "polarity", "colour_infrared")
        }
        self.scaling["scaling"] = images.infrared_scaling
        side = smallest_side(images, augmentation) if jpeg_decoding == "scaled" else None
        self.rgb: dict[str, Any] = {"rgb_range": images.rgb_range, "least_side": side}
        self.pairing: dict[str, Any] = {**self.rgb, "size_mismatch": images.size_mismatch}

    def __call__(self, row: dict[str, Any]) -> View:
        rgb, infrared = self._load(row)
        generator = draw(self.seed, row["epoch"], row["id"], "view")
        width, height = rgb.size
        geometry, whole = draw_geometry(height, width, self.augmentation, generator), (height, width)
        if infrared is None:
            return View(geometry.apply(rgb.pixels, whole), None)
        varied = augment_infrared(infrared.pixels, infrared.valid, self.augmentation, generator)
        return View(geometry.apply(rgb.pixels, whole), geometry.apply(varied, whole))

    def _load(self, row: dict[str, Any]) -> tuple[LoadedImage, LoadedImage | None]:
        source = _bytes(row, "rgb")
        name = f"RGB image of row {row['id']!r}"
        if self.view == "rows" and row.get("infrared") is not None:
            pair = load_pair(
                source,
                _bytes(row, "infrared"),
                rgb_name=name,
                infrared_name=f"infrared image of row {row['id']!r}",
                **self.pairing,
                **self.scaling,
            )
            assert pair.rgb is not None
            return pair.rgb, pair.infrared
        rgb = load_rgb(source, name=name, **self.rgb)
        if self.view != "luminance":
            return rgb, None
        # It is read as infrared is, so that only what the image shows differs.
        grey = np.asarray(Image.fromarray(rgb.pixels).convert("L"))
        read = load_infrared(grey, scaling=self.scaling["scaling"], name=f"luminance of row {row['id']!r}")
        return rgb, LoadedImage(read.pixels, rgb.valid)


def smallest_side(images: RSImageProcessor, augmentation: AugmentationConfig) -> int:
    """The short side that a whole image needs, so that its smallest crop is not enlarged."""
    crop = augmentation.crop_area / augmentation.crop_aspect if augmentation.crop_area < 1 else 1.0
    size: Mapping[str, int] = images.size
    side = size["shortest_edge"] if "shortest_edge" in size else max(size["height"], size["width"])
    return math.ceil(side / math.sqrt(crop))


def squared(images: RSImageProcessor) -> dict[str, Any]:
    """Settings under which a crop becomes the model's square, whatever its aspect: that is what varies it."""
    side = images.crop_size["height"] if images.do_center_crop else images.size["height"]
    return {"size": {"height": side, "width": side}, "do_center_crop": False}


def placeholder(rgb: NDArray[Any]) -> NDArray[Any]:
    """What stands where a row has no infrared, and takes part in nothing."""
    return np.full(rgb.shape[:2], 0.5, dtype=np.float32)


def stacked_presence(views: list[View]) -> torch.Tensor:
    """Booleans (B,): which rows have infrared."""
    return torch.tensor([view.infrared is not None for view in views])


def _bytes(row: dict[str, Any], column: str) -> bytes:
    content = row[column]["bytes"] if row[column] is not None else None
    if content is None:
        raise ValueError(
            f"row {row['id']!r} has no {column} image; an `index` configuration holds none: train on `default`."
        )
    return bytes(content)
