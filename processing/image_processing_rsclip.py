"""RGB and infrared images to tensors, in torch alone. Every image passes the checks of the loader.

Shapes: B images, H and W the output height and width, C infrared channels (the length of `infrared_mean`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, ChannelDimension, PILImageResampling
from transformers.processing_utils import ImagesKwargs

from .image_checks_rsclip import BadImage
from .loading_rsclip import LoadedImage, load_infrared, load_pair, load_rgb
from .resizing_rsclip import INTERPOLATION, empty, transform
from .scaling_rsclip import Scaling, parse_nodata

EMISSIVE_BANDS = ("thermal", "mwir")
REFLECTIVE_BANDS = ("swir", "nir")
NORMALISATION = (
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "infrared_mean",
    "infrared_std",
)
CHOICES = {
    "polarity": ("white_hot", "black_hot"),
    "infrared_band": EMISSIVE_BANDS + REFLECTIVE_BANDS,
    "size_mismatch": ("refuse", "resample_infrared"),
    "colour_infrared": ("refuse", "luminance"),
    "jpeg_decoding": ("exact", "scaled"),
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
    jpeg_decoding: str | None
    paired: bool | None


class RSImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Turns RGB images into `pixel_values` (B, 3, H, W) and infrared images into `infrared_values` (B, C, H, W).

    Images may be `pathlib.Path`, bytes, PIL images, arrays or tensors, one or a (nested) list; never strings.
    RGB is always converted to three channels, whatever `do_convert_rgb` says. Infrared follows the named rule in
    `infrared_scaling` and is then in [0, 1]; `rescale_factor` concerns RGB alone. With neither `do_rescale` nor
    `do_normalize`, RGB stays uint8, see `normalise`.

    Attributes:
        infrared_scaling: `{"rule": "dtype_range" | "percentile" | "window", ...}`, see `Scaling`.
        infrared_band: `thermal`, `mwir`, `swir` or `nir`; what the infrared images are.
        polarity: `white_hot`, or `black_hot` for images to be inverted.
        nodata: value of infrared pixels without data, or `"nan"`.
        colour_infrared: `refuse` or `luminance`, for infrared with three unequal channels.
        rgb_range: low and high of RGB images that are neither 8 bits nor floats in 0..1.
        size_mismatch: `refuse` or `resample_infrared`, for pairs of two sizes.
        jpeg_decoding: `exact`, or `scaled` to decode RGB JPEGs at the 1/2, 1/4 or 1/8 that still covers `size`: faster,
            and a grey level or two away from the exact pixels.
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
    jpeg_decoding = "exact"
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

    def normalise(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Finish a batch that was made with `do_rescale=False, do_normalize=False`, on the device it lies on.

        Such a batch holds RGB as bytes, a quarter of what is sent from a worker process to a GPU; finished, it equals
        the batch of one call, bit for bit on a CPU. What is no image stays as it is.
        """
        settings = {name: getattr(self, name) for name in NORMALISATION}
        done = dict(batch)
        if "pixel_values" in done:
            if done["pixel_values"].dtype is not torch.uint8:
                raise TypeError(
                    f"pixel_values are {done['pixel_values'].dtype}, normalised already; wanted uint8. Call the "
                    "processor with do_rescale=False, do_normalize=False."
                )
            done["pixel_values"] = _finish_rgb(done["pixel_values"], settings)
        if "infrared_values" in done:
            # Bytes are an RGB image that stands for infrared.
            is_rgb = done["infrared_values"].dtype is torch.uint8
            finish = _finish_rgb if is_rgb else _normalise_infrared
            done["infrared_values"] = finish(done["infrared_values"], settings)
        return done

    def _standardize_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        standard = super()._standardize_kwargs(**kwargs)
        for name in ("infrared_mean", "infrared_std", "rgb_range"):
            if isinstance(standard.get(name), list):
                standard[name] = tuple(standard[name])
        return dict(standard)

    def _preprocess_image_like_inputs(self, images: Any, infrared: Any = None, **settings: Any) -> BatchFeature:
        _check_settings(settings)
        rgb_loaded, infrared_loaded = _load(_flatten(images), _flatten(infrared), settings)
        data: dict[str, Any] = {}
        if rgb_loaded:
            data["pixel_values"] = transform(rgb_loaded, settings, _finish_rgb)
        if infrared_loaded:
            data["infrared_values"] = transform(infrared_loaded, settings, _finish_infrared)
        return BatchFeature(data, tensor_type=settings["return_tensors"])


def _flatten(images: Any) -> list[Any]:
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [item for image in images for item in ([None] if image is None else _flatten(image))]
    if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4:
        return list(images)
    return [images]


def _load(rgb: list[Any], infrared: list[Any], settings: Mapping[str, Any]) -> tuple[list[LoadedImage], ...]:
    if not rgb and not infrared:
        raise ValueError("No images were given; pass `images=`, `infrared=`, or both.")
    rgb_settings = {"rgb_range": settings["rgb_range"], "least_side": _least_side(settings)}
    infrared_settings = {name: settings[name] for name in ("nodata", "polarity", "colour_infrared")}
    infrared_settings["scaling"] = Scaling.parse(settings["infrared_scaling"])
    rgb_names = [f"RGB image {index} of batch" for index in range(len(rgb))]
    infrared_names = [f"infrared image {index} of batch" for index in range(len(infrared))]
    # None is an image of the wrong type here, not a missing partner
    if not (rgb and infrared and settings["paired"]) or any(image is None for image in rgb + infrared):
        return (
            [load_rgb(image, name=name, **rgb_settings) for image, name in zip(rgb, rgb_names, strict=True)],
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
    pair_settings = {**rgb_settings, **infrared_settings, "size_mismatch": settings["size_mismatch"]}
    pairs = [
        load_pair(*images, rgb_name=rgb_name, infrared_name=infrared_name, **pair_settings)
        for *images, rgb_name, infrared_name in zip(rgb, infrared, rgb_names, infrared_names, strict=True)
    ]
    return (
        [pair.rgb for pair in pairs if pair.rgb is not None],
        [pair.infrared for pair in pairs if pair.infrared is not None],
    )


def _least_side(settings: Mapping[str, Any]) -> int | None:
    """The short side that scaled decoding has to leave, so that resizing never enlarges."""
    if settings["jpeg_decoding"] == "exact" or not settings["do_resize"]:
        return None
    size = settings["size"]
    return int(size.shortest_edge or max(size.height, size.width))


def _finish_rgb(images: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    if not settings["do_rescale"] and not settings["do_normalize"]:
        return images
    # One product and one sum; in NumPy on a CPU, where torch has several passes over memory.
    factor, offset = _rgb_line(settings)
    if images.device.type != "cpu":
        return images.to(torch.float32) * _per_channel(factor, images) + _per_channel(offset, images)
    values = empty(tuple(images.shape), images, torch.float32)
    for pixels, place in zip(images.numpy(), values.numpy(), strict=True):
        for channel in range(3):
            np.multiply(pixels[channel], np.float32(factor[channel]), out=place[channel])
            place[channel] += np.float32(offset[channel])
    return values


def _rgb_line(settings: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Factor and offset of each channel, from levels to values."""
    scale = settings["rescale_factor"] if settings["do_rescale"] else 1.0
    if not settings["do_normalize"]:
        return [scale] * 3, [0.0] * 3
    mean, std = settings["image_mean"], settings["image_std"]
    return [scale / width for width in std], [-centre / width for centre, width in zip(mean, std, strict=True)]


def _finish_infrared(images: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    count, _, height, width = images.shape
    values = empty((count, len(settings["infrared_mean"]), height, width), images)
    # Bicubic overshoots at edges; infrared stays within the range that its rule declares.
    torch.clamp(images, 0.0, 1.0, out=values[:, :1])
    values[:, 1:] = values[:, :1]
    return _normalise_infrared(values, settings)


def _normalise_infrared(values: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    if not settings["do_normalize"]:
        return values
    mean, std = (_per_channel(settings[name], values) for name in ("infrared_mean", "infrared_std"))
    return (values - mean).div_(std)


def _per_channel(values: Iterable[float], like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=like.device).reshape(-1, 1, 1)


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
