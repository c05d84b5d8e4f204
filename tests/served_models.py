"""Folders of tiny models as they lie on the Hub with handler and pipelines, and images as clients send them."""

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import transformers.dynamic_module_utils
from PIL import Image
from processing_fixtures import make_scene
from test_remote_code import CLIPS, build_captioner, build_clip, build_processor

from model_cards.shipped_files import ship_handler, ship_pipelines

# Code that lies beside weights is copied here, not into the cache of whoever runs the tests; each worker has its own.
MODULES = Path(__file__).parents[1] / ".cache" / "modules" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
transformers.dynamic_module_utils.HF_MODULES_CACHE = str(MODULES)

# Infrared in 16 bits, of a range that the fixtures' window covers.
INFRARED = make_scene()[..., 1].astype(np.uint16) * 40 + 1


def save_served(name: str, folder: Path) -> Path:
    """A model of `test_remote_code` with everything that is shipped beside it."""
    model = build_captioner() if name == "captioner" else build_clip(**CLIPS.get(name, {"fusion": "none"}))
    model.save_pretrained(folder)
    processor = build_processor(name)
    processor.image_processor.nodata = None  # so that missing data is refused where a request does not declare it
    processor.save_pretrained(folder)
    ship_handler(folder)
    ship_pipelines(folder)
    return folder


def encode(pixels: Any, file_format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """An image file."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, file_format, **options)
    return buffer.getvalue()


def to_text(content: bytes) -> str:
    """Base64 as a client sends it."""
    return base64.b64encode(content).decode()


def rgb_text(seed: int = 0) -> str:
    return to_text(encode(make_scene(seed=seed)))


def infrared_text() -> str:
    return to_text(encode(INFRARED))
