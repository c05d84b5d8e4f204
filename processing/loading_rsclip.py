"""The one loader of RGB images, infrared images and pairs, for training, evaluation, endpoint and demo.

What no loader can see, and the caller has to know: channels in BGR order, a JPEG with damaged bytes in the middle or a
PNG whose stream ends cleanly before its last row (both decode without an error), transparency or bits that were lost
before the pixels came here, a wrong `window`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from .bands_rsclip import Array, Bands, Mask
from .decoding_rsclip import decode
from .image_checks_rsclip import BadImage, check_masked_fraction
from .scaling_rsclip import Scaling, find_valid, parse_nodata, scale

Polarity = Literal["white_hot", "black_hot"]
SizeMismatch = Literal["refuse", "resample_infrared"]
ColourInfrared = Literal["refuse", "luminance"]
# Neutral grey that went through a colour JPEG may differ by a level or two between its channels.
GREY_TOLERANCE = 2
MAX_SHAPE_STRETCH = 0.02


@dataclass(frozen=True)
class LoadedImage:
    """One image ready for resizing.

    Attributes:
        pixels: RGB (H, W, 3) uint8, or infrared (H, W) float32 in [0, 1], white hot.
        valid: (H, W), False where pixels were filled with the mean because there is no data; None when all are data.
        orientation: the EXIF orientation that was applied.
        full_size: width and height, where the pixels were decoded at a part of them.
    """

    pixels: Array
    valid: Mask | None = None
    orientation: int = 1
    full_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole image."""
        return self.full_size or (self.pixels.shape[1], self.pixels.shape[0])


@dataclass(frozen=True)
class Pair:
    """An RGB image, an infrared image, or both on one pixel grid."""

    rgb: LoadedImage | None
    infrared: LoadedImage | None


def load_rgb(
    source: object,
    *,
    name: str | None = None,
    rgb_range: tuple[float, float] | None = None,
    least_side: int | None = None,
) -> LoadedImage:
    """Load one colour or grey image as 8-bit RGB.

    Args:
        rgb_range: low and high that go to 0 and 255, for anything but uint8 and floats in 0..1.
        least_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its sides, as long as the short one keeps this many
            pixels: faster, and not the same pixels. Whole when not given.

    Raises:
        BadImage: if the right pixels cannot be had.
    """
    name = _full_name(source, name, "RGB image")
    bands = decode(source, name, least_side)
    pixels = _to_eight_bits(bands, rgb_range, name)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    valid = find_valid(bands.pixels if bands.pixels.ndim == 2 else bands.pixels[..., 0], None, bands.valid, name)
    if valid is not None:
        pixels = pixels.copy()
        pixels[~valid] = np.rint(pixels[valid].mean(axis=0, dtype=np.float64)).astype(np.uint8)
    return LoadedImage(pixels, valid, bands.orientation, bands.full_size)


def load_infrared(
    source: object,
    *,
    scaling: Mapping[str, Any] | Scaling,
    nodata: float | str | None = None,
    polarity: Polarity = "white_hot",
    colour_infrared: ColourInfrared = "refuse",
    name: str | None = None,
) -> LoadedImage:
    """Load one infrared image as float32 in [0, 1] by a named rule.

    Args:
        scaling: `{"rule": "dtype_range" | "percentile" | "window", ...}`, see `Scaling`.
        nodata: the value of pixels without data, or `"nan"`; without it the value that a TIFF declares itself.
        polarity: `black_hot` images are inverted, so that a model always sees white hot.
        colour_infrared: what to do with three unequal channels (a colour map, or a photograph).

    Raises:
        BadImage: if the right pixels cannot be had.
    """
    name = _full_name(source, name, "infrared image")
    rule = Scaling.parse(scaling)
    bands = decode(source, name)
    pixels = _to_one_band(bands.pixels, colour_infrared, name)
    declared = bands.nodata if nodata is None else parse_nodata(nodata)
    valid = find_valid(pixels, declared, bands.valid, name)
    scaled = scale(pixels, valid, rule, name)
    return LoadedImage(1.0 - scaled if polarity == "black_hot" else scaled, valid, bands.orientation)


def load_pair(
    rgb: object = None,
    infrared: object = None,
    *,
    scaling: Mapping[str, Any] | Scaling | None = None,
    nodata: float | str | None = None,
    polarity: Polarity = "white_hot",
    colour_infrared: ColourInfrared = "refuse",
    rgb_range: tuple[float, float] | None = None,
    size_mismatch: SizeMismatch = "refuse",
    rgb_name: str | None = None,
    infrared_name: str | None = None,
    least_side: int | None = None,
) -> Pair:
    """Load an RGB image, an infrared image, or both; both come out on the same pixel grid or not at all.

    Args:
        scaling: the infrared rule; needed when `infrared` is given.
        size_mismatch: `resample_infrared` brings an infrared image of the same shape to the size of the RGB image.
        least_side: see `load_rgb`; the infrared image is always decoded whole.

    Raises:
        BadImage: if one of the images is bad, or if the two do not show the same frame.
    """
    if rgb is None and infrared is None:
        raise ValueError("Neither `rgb` nor `infrared` was given; pass at least one image.")
    if infrared is not None and scaling is None:
        raise ValueError("`infrared` was given without `scaling`; declare the rule, for example `dtype_range`.")
    loaded_rgb = None if rgb is None else load_rgb(rgb, name=rgb_name, rgb_range=rgb_range, least_side=least_side)
    loaded_infrared = None
    if infrared is not None and scaling is not None:
        loaded_infrared = load_infrared(
            infrared,
            scaling=scaling,
            nodata=nodata,
            polarity=polarity,
            colour_infrared=colour_infrared,
            name=infrared_name,
        )
    if loaded_rgb is not None and loaded_infrared is not None:
        full_name = _full_name(infrared, infrared_name, "infrared image")
        loaded_infrared = _match_geometry(loaded_rgb, loaded_infrared, size_mismatch, full_name)
    return Pair(loaded_rgb, loaded_infrared)


def _full_name(source: object, name: str | None, kind: str) -> str:
    if isinstance(source, Path):
        return f"{name or kind} ({source.name!r})"
    return name or kind


def _to_eight_bits(bands: Bands, rgb_range: tuple[float, float] | None, name: str) -> Array:
    pixels = bands.pixels
    if pixels.dtype == np.uint8:
        return pixels
    known = pixels if bands.valid is None else pixels[bands.valid]
    if not np.isfinite(known).all():
        raise BadImage(name, "not_finite", "NaN or infinite pixels", "finite values", "Repair or mask the image.")
    if rgb_range is None:
        if pixels.dtype.kind != "f" or (known.size and (known.min() < 0 or known.max() > 1)):
            found = f"{pixels.dtype} values from {known.min()} to {known.max()}" if known.size else str(pixels.dtype)
            raise BadImage(
                name,
                "undeclared_range",
                found,
                "uint8, or floats in 0..1",
                "Declare `rgb_range=(low, high)`; if this is the infrared image, pass it as `infrared=`.",
            )
        rgb_range = (0.0, 1.0)
    low, high = rgb_range
    if not low < high:
        raise ValueError(f"rgb_range is {rgb_range}; wanted low < high.")
    safe = pixels if bands.valid is None else np.where(_over(bands.valid, pixels), pixels, low)
    unit = np.clip((safe.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    eight_bits: Array = np.rint(unit * 255.0).astype(np.uint8)
    return eight_bits


def _over(mask: Mask, pixels: Array) -> Mask:
    return mask if pixels.ndim == 2 else mask[..., None]


def _to_one_band(pixels: Array, colour_infrared: ColourInfrared, name: str) -> Array:
    if pixels.ndim == 2:
        return pixels
    tolerance = GREY_TOLERANCE if pixels.dtype == np.uint8 else 0
    first, spread = pixels[..., 0], np.ptp(pixels, axis=-1)
    if not spread.any():
        return first
    if not (spread <= tolerance).all() and colour_infrared != "luminance":
        raise BadImage(
            name,
            "colour_infrared",
            "three channels that differ: a colour map, or a photograph",
            "one channel, or three equal ones",
            "Use the image before colour mapping, or declare `colour_infrared='luminance'`.",
        )
    luminance: Array = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    whole: Array = luminance if pixels.dtype.kind == "f" else np.rint(luminance)
    return whole.astype(pixels.dtype)


def _match_geometry(rgb: LoadedImage, infrared: LoadedImage, policy: SizeMismatch, name: str) -> LoadedImage:
    if rgb.orientation != infrared.orientation:
        raise BadImage(
            name,
            "orientation",
            f"EXIF orientation {infrared.orientation}, its RGB partner has {rgb.orientation}",
            "one orientation for both images of a pair",
            "Rewrite both files upright and without EXIF orientation.",
        )
    if rgb.size == infrared.size:
        return infrared
    stretch = abs(infrared.size[0] * rgb.size[1] / (infrared.size[1] * rgb.size[0]) - 1.0)
    if policy != "resample_infrared" or stretch > MAX_SHAPE_STRETCH:
        raise BadImage(
            name,
            "geometry",
            f"{infrared.size[0]} x {infrared.size[1]} pixels, its RGB partner is {rgb.size[0]} x {rgb.size[1]}",
            "one size for both images of a pair (or one shape, with `size_mismatch='resample_infrared'`)",
            "Register the two images, or drop the pair; unpaired images need `paired=False`.",
        )
    width, height = rgb.size
    pixels = torch.from_numpy(np.ascontiguousarray(infrared.pixels))[None, None]
    resampled = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0, 0].clamp(0, 1).numpy()
    valid = None
    if infrared.valid is not None:
        mask = torch.from_numpy(np.ascontiguousarray(infrared.valid)).to(torch.uint8)[None, None]
        valid = F.interpolate(mask, (height, width), mode="nearest-exact")[0, 0].bool().numpy()
        check_masked_fraction(int(valid.size - valid.sum()), valid.size, name)
    return LoadedImage(resampled, valid, infrared.orientation)
