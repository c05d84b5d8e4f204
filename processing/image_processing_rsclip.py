"""RGB and infrared images to tensors, in torch alone. Every image passes the checks of the loader.

Shapes: B images, H and W the output height and width, C infrared channels (the length of `infrared_mean`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, ChannelDimension, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from .image_checks_rsclip import BadImage
from .loading_rsclip import LoadedImage, load_infrared, load_pair, load_rgb
from .scaling_rsclip import Scaling, parse_nodata

INTERPOLATION = {
    PILImageResampling.NEAREST: "nearest-exact",
    PILImageResampling.BILINEAR: "bilinear",
    PILImageResampling.BICUBIC: "bicubic",
}
EMISSIVE_BANDS = ("thermal", "mwir")
REFLECTIVE_BANDS = ("swir", "nir")
CHOICES = {
    "polarity": ("white_hot", "black_hot"),
    "infrared_band": EMISSIVE_BANDS + REFLECTIVE_BANDS,
    "size_mismatch": ("refuse", "resample_infrared"),
    "colour_infrared": ("refuse", "luminance"),
}


class RSImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """What may be set in the configuration and overridden in a call; see `RSImageProcessor`."""

    infrared_mean: list[float] | tuple[float, ...] | None
    infrared_std: list[float] | tuple[float, ...] | None
    infrared_scaling: dict[str, Any] | None
    infrared_band: str | None
    polarity: str | None
    nodata: float | int | str | None
    colour_infrared: str | None
    rgb_range: list[float] | tuple[float, ...] | None
    size_mismatch: str | None
    paired: bool | None


class RSImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Turns RGB images into `pixel_values` (B, 3, H, W) and infrared images into `infrared_values` (B, C, H, W).

    Images may be `pathlib.Path`, bytes, PIL images, arrays or tensors, one or a (nested) list; never strings.
    RGB is always converted to three channels, whatever `do_convert_rgb` says. Infrared follows the named rule in
    `infrared_scaling` and is then in [0, 1]; `rescale_factor` concerns RGB alone.

    Attributes:
        infrared_scaling: `{"rule": "dtype_range" | "percentile" | "window", ...}`, see `Scaling`.
        infrared_band: `thermal`, `mwir`, `swir` or `nir`; what the infrared images are.
        polarity: `white_hot`, or `black_hot` for images to be inverted.
        nodata: value of infrared pixels without data, or `"nan"`.
        colour_infrared: `refuse` or `luminance`, for infrared with three unequal channels.
        rgb_range: low and high of RGB images that are neither 8 bits nor floats in 0..1.
        size_mismatch: `refuse` or `resample_infrared`, for pairs of two sizes.
        paired: whether `images` and `infrared` of one call are pairs on one grid.
    """

    valid_kwargs = RSImageProcessorKwargs
    model_input_names: list[str] = ["pixel_values", "infrared_values"]
    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    infrared_mean = (0.5,)
    infrared_std = (0.5,)
    size = {"shortest_edge": 224}
    default_to_square = False
    crop_size = {"height": 224, "width": 224}
    do_resize = True
    do_center_crop = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    do_convert_rgb = True
    infrared_scaling = {"rule": "dtype_range"}
    infrared_band = "thermal"
    polarity = "white_hot"
    nodata = None
    colour_infrared = "refuse"
    rgb_range = None
    size_mismatch = "refuse"
    paired = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_attributes(**kwargs)
        _check_settings({name: getattr(self, name) for name in self.valid_kwargs.__annotations__})

    @property
    def backend(self) -> str:
        return "torch"

    @property
    def infrared_is_emissive(self) -> bool:
        """Whether the infrared band shows emitted heat (thermal, mwir) rather than reflected light (swir, nir)."""
        return self.infrared_band in EMISSIVE_BANDS

    def fetch_images(self, images: Any) -> Any:
        """Images as they are: strings are refused later, by name, and never fetched or opened."""
        return images

    def __call__(self, images: Any = None, infrared: Any = None, **kwargs: Any) -> BatchFeature:
        """Preprocess RGB images, infrared images, or pairs; see the class for what is accepted.

        Raises:
            BadImage: naming the image, counted from 0.
        """
        return self.preprocess(images, infrared, **kwargs)

    def preprocess(self, images: Any = None, infrared: Any = None, **kwargs: Any) -> BatchFeature:
        kwargs.setdefault("return_tensors", "pt")
        return super().preprocess(images, infrared, **kwargs)

    def _standardize_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        standard = super()._standardize_kwargs(**kwargs)
        for name in ("infrared_mean", "infrared_std", "rgb_range"):
            if isinstance(standard.get(name), list):
                standard[name] = tuple(standard[name])
        return dict(standard)

    def _preprocess_image_like_inputs(self, images: Any, infrared: Any = None, **settings: Any) -> BatchFeature:
        _check_settings(settings)
        rgb_loaded, infrared_loaded = _load(_flatten(images), _flatten(infrared), settings)
        data = {}
        if rgb_loaded:
            # (H, W, 3) -> (3, H, W); a channels-last view, which torch resizes fast
            tensors = [torch.from_numpy(_owned(image.pixels)).permute(2, 0, 1) for image in rgb_loaded]
            data["pixel_values"] = _transform(tensors, settings, _finish_rgb)
        if infrared_loaded:
            tensors = [torch.from_numpy(_owned(image.pixels))[None] for image in infrared_loaded]
            data["infrared_values"] = _transform(tensors, settings, _finish_infrared)
        return BatchFeature(data, tensor_type=settings["return_tensors"])


def _flatten(images: Any) -> list[Any]:
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [item for image in images for item in ([None] if image is None else _flatten(image))]
    if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4:
        return list(images)
    return [images]


def _owned(pixels: Any) -> Any:
    """A contiguous array that torch may wrap: decoded files are read-only, rotated ones have negative strides."""
    return np.require(pixels, requirements=("C", "W", "O"))


def _load(rgb: list[Any], infrared: list[Any], settings: Mapping[str, Any]) -> tuple[list[LoadedImage], ...]:
    if not rgb and not infrared:
        raise ValueError("No images were given; pass `images=`, `infrared=`, or both.")
    rgb_range = settings["rgb_range"]
    infrared_settings = {name: settings[name] for name in ("nodata", "polarity", "colour_infrared")}
    infrared_settings["scaling"] = Scaling.parse(settings["infrared_scaling"])
    rgb_names = [f"RGB image {index} of batch" for index in range(len(rgb))]
    infrared_names = [f"infrared image {index} of batch" for index in range(len(infrared))]
    # None is an image of the wrong type here, not a missing partner
    if not (rgb and infrared and settings["paired"]) or any(image is None for image in rgb + infrared):
        return (
            [load_rgb(image, name=name, rgb_range=rgb_range) for image, name in zip(rgb, rgb_names, strict=True)],
            [
                load_infrared(image, name=name, **infrared_settings)
                for image, name in zip(infrared, infrared_names, strict=True)
            ],
        )
    if len(rgb) != len(infrared):
        raise ValueError(
            f"{len(rgb)} RGB images and {len(infrared)} infrared images were given; pairs need as many of each. "
            "Pass `paired=False`, or call the processor once for each kind, if they are not pairs."
        )
    infrared_settings |= {"rgb_range": rgb_range, "size_mismatch": settings["size_mismatch"]}
    pairs = [
        load_pair(*images, rgb_name=rgb_name, infrared_name=infrared_name, **infrared_settings)
        for *images, rgb_name, infrared_name in zip(rgb, infrared, rgb_names, infrared_names, strict=True)
    ]
    return (
        [pair.rgb for pair in pairs if pair.rgb is not None],
        [pair.infrared for pair in pairs if pair.infrared is not None],
    )


def _transform(
    tensors: list[torch.Tensor],
    settings: Mapping[str, Any],
    finish: Callable[[torch.Tensor, Mapping[str, Any]], torch.Tensor],
) -> list[torch.Tensor]:
    device = settings["device"]
    tensors = [tensor.to(device) for tensor in tensors] if device is not None else tensors
    groups, order = group_images_by_shape(tensors, disable_grouping=settings["disable_grouping"])
    done = {shape: finish(_resize_and_crop(stacked, settings), settings) for shape, stacked in groups.items()}
    return list(reorder_images(done, order))


def _resize_and_crop(images: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    height, width = images.shape[-2:]
    if settings["do_resize"]:
        target = _target_size(height, width, settings["size"])
        mode = INTERPOLATION[PILImageResampling(settings["resample"])]
        if target != (height, width):
            images = F.interpolate(images, target, mode=mode, antialias=mode in ("bilinear", "bicubic"))
        height, width = target
    if settings["do_center_crop"]:
        crop_height, crop_width = settings["crop_size"].height, settings["crop_size"].width
        if crop_height > height or crop_width > width:
            raise ValueError(
                f"crop_size {crop_height} x {crop_width} exceeds the image, {height} x {width} at that point. "
                "Lower crop_size, raise size, or set do_center_crop=False."
            )
        top, left = (height - crop_height) // 2, (width - crop_width) // 2
        images = images[..., top : top + crop_height, left : left + crop_width]
    return images


def _target_size(height: int, width: int, size: SizeDict) -> tuple[int, int]:
    if size.shortest_edge is None:
        return size.height, size.width
    short = size.shortest_edge
    return (short, int(short * width / height)) if height <= width else (int(short * height / width), short)


def _finish_rgb(images: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    values = images.to(torch.float32)
    if settings["do_rescale"]:
        values = values * settings["rescale_factor"]
    if settings["do_normalize"]:
        values = (values - _per_channel(settings["image_mean"], values)) / _per_channel(settings["image_std"], values)
    return values.contiguous()


def _finish_infrared(images: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    # Bicubic overshoots at edges; infrared stays within the range that its rule declares.
    values = images.clamp(0.0, 1.0).expand(-1, len(settings["infrared_mean"]), -1, -1)
    if settings["do_normalize"]:
        mean, std = (_per_channel(settings[name], values) for name in ("infrared_mean", "infrared_std"))
        values = (values - mean) / std
    return values.contiguous()


def _per_channel(values: float | Iterable[float], like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that would be ignored, or that contradict one another."""
    Scaling.parse(settings["infrared_scaling"])
    if settings["nodata"] is not None:
        parse_nodata(settings["nodata"])
    for name, choices in CHOICES.items():
        if settings[name] not in choices:
            raise ValueError(f"{name} is {settings[name]!r}; wanted one of {choices}.")
    if settings["polarity"] == "black_hot" and settings["infrared_band"] not in EMISSIVE_BANDS:
        raise ValueError(
            f"polarity is 'black_hot' with infrared_band {settings['infrared_band']!r}; only {EMISSIVE_BANDS} are hot "
            "or cold. Set polarity='white_hot'."
        )
    mean, std = settings["infrared_mean"], settings["infrared_std"]
    if len(mean) not in (1, 3) or len(mean) != len(std) or min(std) <= 0:
        raise ValueError(f"infrared_mean {mean} and infrared_std {std}: wanted 1 or 3 values each, std above 0.")
    if settings["do_resize"] and PILImageResampling(settings["resample"]) not in INTERPOLATION:
        raise ValueError(f"resample is {settings['resample']}; wanted one of {[int(key) for key in INTERPOLATION]}.")
    size = settings["size"]
    if settings["do_resize"] and (size.longest_edge or not (size.shortest_edge or (size.height and size.width))):
        raise ValueError(f"size is {dict(size)}; wanted shortest_edge, or height and width.")
    if settings["do_pad"] or settings["data_format"] not in (None, ChannelDimension.FIRST):
        raise ValueError("do_pad and channels-last output are not supported; leave do_pad and data_format unset.")


__all__ = ["BadImage", "RSImageProcessor", "RSImageProcessorKwargs"]
