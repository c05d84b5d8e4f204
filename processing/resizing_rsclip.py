"""Loaded images to one batch of a size, in torch: resize, crop, stack."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.image_utils import PILImageResampling, SizeDict

from .loading_rsclip import LoadedImage

INTERPOLATION = {
    PILImageResampling.NEAREST: "nearest-exact",
    PILImageResampling.BILINEAR: "bilinear",
    PILImageResampling.BICUBIC: "bicubic",
}


def transform(
    images: list[LoadedImage],
    settings: Mapping[str, Any],
    finish: Callable[[torch.Tensor, Mapping[str, Any]], torch.Tensor],
) -> torch.Tensor | list[torch.Tensor]:
    """One batch, or a list where the sizes differ. Images are resized one by one, while the processor's cache holds
    them: faster than to stack large images first."""
    resized = [_resize_and_crop(image, settings) for image in images]
    if len({image.shape for image in resized}) > 1 or settings["return_tensors"] is None:
        return [finish(image[None], settings)[0] for image in resized]
    return finish(torch.stack(resized, out=empty((len(resized), *resized[0].shape), resized[0])), settings)


def empty(shape: tuple[int, ...], like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor without values. NumPy asks for huge pages, torch does not: filling a batch takes half the time."""
    dtype = dtype or like.dtype
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=like.device)
    return torch.from_numpy(np.empty(shape, torch.empty(0, dtype=dtype).numpy().dtype))


def _to_tensor(image: LoadedImage, device: Any) -> torch.Tensor:
    pixels = torch.from_numpy(_owned(image.pixels))
    # (H, W, 3) -> (3, H, W): a channels-last view, which torch resizes fast; (H, W) -> (1, H, W)
    tensor = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return tensor if device is None else tensor.to(device)


def _resize_and_crop(image: LoadedImage, settings: Mapping[str, Any]) -> torch.Tensor:
    pixels = _to_tensor(image, settings["device"])
    width, height = image.size
    if settings["do_resize"]:
        height, width = _target_size(height, width, settings["size"])
        mode = INTERPOLATION[PILImageResampling(settings["resample"])]
        if (height, width) != pixels.shape[-2:]:
            smooth = mode in ("bilinear", "bicubic")
            pixels = F.interpolate(pixels[None], (height, width), mode=mode, antialias=smooth)[0]
    if settings["do_center_crop"]:
        crop_height, crop_width = settings["crop_size"].height, settings["crop_size"].width
        if crop_height > height or crop_width > width:
            raise ValueError(
                f"crop_size {crop_height} x {crop_width} exceeds the image, {height} x {width} at that point. "
                "Lower crop_size, raise size, or set do_center_crop=False."
            )
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        pixels = pixels[..., top : top + crop_height, left : left + crop_width]
    return pixels


def _target_size(height: int, width: int, size: SizeDict) -> tuple[int, int]:
    if size.shortest_edge is None:
        return size.height, size.width
    short = size.shortest_edge
    return (short, int(short * width / height)) if height <= width else (int(short * height / width), short)


def _owned(pixels: Any) -> Any:
    """A contiguous array that torch may wrap: decoded files are read-only, rotated ones have negative strides."""
    return np.require(pixels, requirements=("C", "W", "O"))
