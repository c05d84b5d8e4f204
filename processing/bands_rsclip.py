"""Decoded pixels with their mask, and how arrays and tensors become them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .image_checks_rsclip import BadImage, check_size

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

NAME_THE_BANDS = (
    "Say which band is which: pass the first three bands as `images=` and the near-infrared band as `infrared=`, "
    'or call `read_bands(path, bands=("red", "green", "blue"))`.'
)


@dataclass(frozen=True)
class Bands:
    """Decoded pixels in the upright geometry of the scene.

    Attributes:
        pixels: (H, W) or (H, W, 3), in the data type of the source and native byte order.
        valid: (H, W), False where the source says that there is no data; None when it says nothing.
        nodata: the value that the file itself declares as missing, if any.
        orientation: the EXIF orientation that was applied, 1 for none.
        full_size: width and height of the upright image, where it was decoded at a part of them.
    """

    pixels: Array
    valid: Mask | None = None
    nodata: float | None = None
    orientation: int = 1
    full_size: tuple[int, int] | None = None


def decode_array(array: Array, name: str) -> Bands:
    """Bands of an HW, 1HW, HW1, HW3 or 3HW array. A masked array keeps its mask."""
    if array.dtype.kind not in "uif":
        raise BadImage(
            name, "dtype", f"data type {array.dtype}", "integers or floats", "Convert it and declare its range."
        )
    channel_axis = _channel_axis(array.shape, name)
    height, width = (side for axis, side in enumerate(array.shape) if axis != channel_axis)
    check_size(width, height, name)
    valid = None
    if isinstance(array, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(array)
        valid = ~np.asarray(masked if channel_axis is None else masked.any(axis=channel_axis), dtype=np.bool_)
        array = array.data
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if channel_axis is not None:
        array = array.take(0, channel_axis) if array.shape[channel_axis] == 1 else np.moveaxis(array, channel_axis, -1)
    return Bands(array, valid)


def _channel_axis(shape: tuple[int, ...], name: str) -> int | None:
    if len(shape) == 2:
        return None
    axes = [axis for axis in (0, 2) if len(shape) == 3 and shape[axis] in (1, 3)]
    if len(axes) == 1:
        return axes[0]
    if len(axes) == 2:
        raise BadImage(
            name,
            "ambiguous_axes",
            f"shape {shape}, where the first and the last axis may both be the channels",
            "(H, W), (H, W, 3) or (3, H, W)",
            "Put the channels on one axis of length 1 or 3 and the sides on the others.",
        )
    many = len(shape) == 3 and min(shape[0], shape[2]) > 1
    raise BadImage(
        name,
        "channels",
        f"shape {shape}",
        "one image of shape (H, W), (1, H, W), (H, W, 1), (H, W, 3) or (3, H, W)",
        NAME_THE_BANDS if many else "Pass a list of images for a batch.",
    )


def tensor_to_array(tensor: torch.Tensor, name: str) -> Array:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise BadImage(name, "dtype", f"a {tensor.layout} tensor on {tensor.device}", "a dense tensor", "Densify it.")
    tensor = tensor.detach().cpu()
    return tensor.float().numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
