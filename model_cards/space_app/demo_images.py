"""What users give: images, read by the processor's own loader and shown as the model sees them, and texts.

Shapes: H, W the image in pixels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from demo_models import module_beside
from demo_settings import MAX_TEXT
from PIL import Image

MAX_PREVIEW_SIDE = 1024
OWN_RULE, PERCENTILES, WINDOW = "as the model was trained", "1st to 99th percentile of the image", "from low to high"
RULES = (OWN_RULE, PERCENTILES, WINDOW)


@contextmanager
def refusals_shown() -> Iterator[None]:
    """What the models refuse (images, texts, settings) becomes a message in the page."""
    try:
        yield
    except ValueError as error:
        raise gr.Error(escape(say_refusal(error)), duration=None, print_exception=False) from error


def say_refusal(error: ValueError) -> str:
    """The message of an error, without the place in a batch: there is one image of a kind."""
    return str(error).replace(" 0 of batch", "")


def given_pair(rgb: str | None, infrared: str | None) -> dict[str, Path]:
    """What was uploaded, as the pipelines take it.

    Raises:
        ValueError: nothing was.
    """
    files = {"image": rgb, "infrared": infrared}
    given = {name: Path(file) for name, file in files.items() if file is not None}
    if not given:
        raise ValueError("There is no image yet. Upload an RGB image, an infrared image, or both; or take an example.")
    return given


def checked_text(text: str, name: str) -> str:
    """A text that is there, and not too long; the page's own limit stops nobody who sends requests himself.

    Raises:
        ValueError: it is empty, or too long.
    """
    if not 1 <= len(text.strip()) <= MAX_TEXT:
        raise ValueError(f"The {name} has {len(text.strip())} characters; wanted 1 to {MAX_TEXT}.")
    return text.strip()


def chosen_scaling(rule: str, low: float | None, high: float | None) -> dict[str, Any] | None:
    """The rule for infrared that the page asks for; None for the model's own."""
    if rule == OWN_RULE:
        return None
    if rule == PERCENTILES:
        return {"rule": "percentile", "low": 1, "high": 99}
    if low is None or high is None or not low < high:
        raise ValueError(f"The range of the infrared goes from {low} to {high}; wanted two numbers, low below high.")
    return {"rule": "window", "low": low, "high": high}


def say_scaling(scaling: Mapping[str, Any]) -> str:
    """A rule in words."""
    match scaling["rule"]:
        case "window":
            return f"{scaling['low']:g} is black, {scaling['high']:g} is white"
        case "percentile":
            return f"percentile {scaling['low']:g} is black, {scaling['high']:g} is white"
        case _:
            return "the whole range of the file's number type, from black to white"


def show_rgb(processor: Any, source: Any) -> Image.Image:
    """An RGB image as the model reads it."""
    loader = module_beside(processor, "loading_rsclip")
    loaded = loader.load_rgb(source, name="RGB image", rgb_range=processor.image_processor.rgb_range)
    return _fit(Image.fromarray(np.ascontiguousarray(loaded.pixels)))


def show_infrared(processor: Any, source: Any) -> Image.Image:
    """An infrared image of any depth in 8 bits, by the processor's rule; white is hot, or bright."""
    images, loader = processor.image_processor, module_beside(processor, "loading_rsclip")
    loaded = loader.load_infrared(
        source,
        name="infrared image",
        scaling=images.infrared_scaling,
        nodata=images.nodata,
        polarity=images.polarity,
        colour_infrared=images.colour_infrared,
    )
    return _fit(Image.fromarray(np.rint(loaded.pixels * 255).astype(np.uint8)))


def scene_pixels(processor: Any, name: str, path: Path) -> Any:
    """A scene to be cut into windows: RGB (H, W, 3), or infrared in its own counts.

    Raises:
        ValueError: pixels are missing; a window of it would not know which.
    """
    if name == "image":
        loader = module_beside(processor, "loading_rsclip")
        loaded = loader.load_rgb(path, name="RGB image", rgb_range=processor.image_processor.rgb_range)
        return np.ascontiguousarray(loaded.pixels)
    bands = module_beside(processor, "decoding_rsclip").decode(path, "infrared image")
    if bands.valid is not None or bands.nodata is not None:
        raise ValueError(
            f"infrared image ({path.name!r}): got a scene with missing pixels (a nodata value or transparency); wanted "
            "one without. Crop it, or search it as one image in the first tab."
        )
    return np.ascontiguousarray(bands.pixels)


def scene_scaling(scaling: Mapping[str, Any], counts: Any) -> dict[str, Any] | None:
    """Percentiles of the whole scene as a fixed range, so that windows are not stretched each on its own."""
    if scaling["rule"] != "percentile":
        return None
    low, high = np.percentile(counts, (scaling["low"], scaling["high"]))
    if not low < high:
        raise ValueError(f"infrared image: got a scene without contrast (all of it is {low:g}); wanted an image.")
    return {"rule": "window", "low": float(low), "high": float(high)}


def _fit(image: Image.Image) -> Image.Image:
    image.thumbnail((MAX_PREVIEW_SIDE, MAX_PREVIEW_SIDE))
    return image
