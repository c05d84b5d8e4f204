"""The rows of the `fusionrs` table: their features, and a row made from a simulated scene."""

import hashlib
import io
from typing import Any

import numpy as np
from datasets import Features, Image, List, Value
from numpy.typing import NDArray
from PIL import Image as PillowImage

from .scenes.scene_simulator import Scene
from .stages.caption_key import caption_key

SOURCE = "simulator"
LICENSE = "Apache-2.0"
ATTRIBUTION = "Made by the RSCLIP scene simulator; not an observation of any place."
JPEG_QUALITY = 92
# The noise of a camera does not repeat, so the run-length strategy is both the fastest and the smallest.
PNG_OPTIONS = {"compress_level": 1, "compress_type": 3}
IMAGE_COLUMNS = ("rgb", "infrared")

_TEXT_COLUMNS = (
    "class_name",
    "source",
    "source_id",
    "license",
    "attribution",
    "infrared_origin",
    "infrared_band",
    "leak_group",
    "caption_key",
    "rgb_sha256",
    "infrared_sha256",
)

Row = dict[str, Any]


def fusionrs_features() -> Features:
    """Columns of the `default` configuration."""
    return Features(
        {
            "id": Value("string"),
            "rgb": Image(),
            "infrared": Image(),
            "captions": List(Value("string")),
            "infrared_captions": List(Value("string")),
            **{name: Value("string") for name in _TEXT_COLUMNS},
        }
    )


def index_features() -> Features:
    """Columns of the `index` configuration: all but the image bytes."""
    return Features({name: kind for name, kind in fusionrs_features().items() if name not in IMAGE_COLUMNS})


def source_id(seed: int, index: int) -> str:
    """The name of a simulated scene in its source."""
    return f"{seed}-{index:07d}"


def scene_row(scene: Scene, *, leak_group: str) -> Row:
    """Encode a scene as a row: RGB as JPEG, infrared as 16-bit PNG."""
    rgb, infrared = encode_rgb(scene.rgb), encode_infrared(scene.infrared)
    name = source_id(scene.graph.seed, scene.graph.index)
    return {
        "id": f"{SOURCE}:{name}",
        "rgb": {"bytes": rgb, "path": None},
        "infrared": {"bytes": infrared, "path": None},
        "captions": list(scene.captions),
        "infrared_captions": list(scene.infrared_captions),
        "class_name": scene.class_name,
        "source": SOURCE,
        "source_id": name,
        "license": LICENSE,
        "attribution": ATTRIBUTION,
        "infrared_origin": "simulated",
        "infrared_band": "thermal",
        "leak_group": leak_group,
        "caption_key": caption_key(scene.captions[0]),
        "rgb_sha256": hashlib.sha256(rgb).hexdigest(),
        "infrared_sha256": hashlib.sha256(infrared).hexdigest(),
    }


def encode_rgb(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG bytes of an (H, W, 3) image."""
    buffer = io.BytesIO()
    PillowImage.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def encode_infrared(infrared: NDArray[np.uint16]) -> bytes:
    """16-bit PNG bytes of an (H, W) image; lossless."""
    buffer = io.BytesIO()
    PillowImage.fromarray(infrared).save(buffer, "PNG", **PNG_OPTIONS)
    return buffer.getvalue()
