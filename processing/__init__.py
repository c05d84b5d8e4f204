"""Pixels and text to tensors. The files are uploaded flat beside the models; this one is not.

Importing the package registers its classes: where it is installed, no remote code is needed.
"""

from transformers import AutoImageProcessor, AutoProcessor, PreTrainedConfig

from .geotiff_rsclip import read_bands
from .image_checks_rsclip import BadImage
from .image_processing_rsclip import RSImageProcessor
from .importing_processor_rsclip import import_processor
from .loading_rsclip import LoadedImage, Pair, load_infrared, load_pair, load_rgb
from .processing_rscaptioner import RSCaptionerProcessor
from .processing_rsclip import RSCLIPProcessor
from .scaling_rsclip import Scaling


class _CLIPKey(PreTrainedConfig):
    """A key: transformers registers processors under configurations, and finds them again by class name."""


class _CaptionerKey(PreTrainedConfig):
    """The same for the captioner."""


AutoImageProcessor.register(_CLIPKey, image_processor_classes={"pil": RSImageProcessor})
AutoProcessor.register(_CLIPKey, RSCLIPProcessor)
AutoProcessor.register(_CaptionerKey, RSCaptionerProcessor)
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
    "import_processor",
    "load_infrared",
    "load_pair",
    "load_rgb",
    "read_bands",
]
