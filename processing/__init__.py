"""Pixels and text to tensors. The files are uploaded flat beside the models; this one is not."""

from .geotiff_rsclip import read_bands
from .image_checks_rsclip import BadImage
from .image_processing_rsclip import RSImageProcessor
from .loading_rsclip import LoadedImage, Pair, load_infrared, load_pair, load_rgb
from .processing_rscaptioner import RSCaptionerProcessor
from .processing_rsclip import RSCLIPProcessor
from .scaling_rsclip import Scaling

RSImageProcessor.register_for_auto_class("AutoImageProcessor")
RSCLIPProcessor.register_for_auto_class()
RSCaptionerProcessor.register_for_auto_class()

__all__ = [
    "BadImage",
    "LoadedImage",
    "Pair",
    "RSCLIPProcessor",
    "RSCaptionerProcessor",
    "RSImageProcessor",
    "Scaling",
    "load_infrared",
    "load_pair",
    "load_rgb",
    "read_bands",
]
