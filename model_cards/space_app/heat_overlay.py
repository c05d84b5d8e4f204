"""A heat map over a scene. Shapes: H, W the scene in pixels."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

# Inferno of matplotlib at ten equal steps: dark is cold, and it stays readable in grey.
ANCHORS = ("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4")
COLOURS = np.array([[int(code[place : place + 2], 16) for place in (0, 2, 4)] for code in ANCHORS], dtype=np.float64)
# Where there is nothing to see, the scene shows through.
OPACITY = (0.25, 0.75)


def colour_map(heat: Any) -> Any:
    """(H, W) from 0 to 1 as colours (H, W, 3) in 8 bits."""
    places = np.linspace(0, 1, len(COLOURS))
    bands = [np.interp(heat, places, COLOURS[:, band]) for band in range(3)]
    return np.rint(np.stack(bands, axis=-1)).astype(np.uint8)


def overlay(scene: Image.Image, heat: Any, box: tuple[int, int, int, int]) -> Image.Image:
    """The scene under its heat map, with a frame around the best window (left, top, right, bottom)."""
    height, width = heat.shape
    colours = Image.fromarray(colour_map(heat)).resize(scene.size)
    strength = np.rint(255 * (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * heat)).astype(np.uint8)
    grey = scene.convert("L").convert("RGB")
    picture = Image.composite(colours, grey, Image.fromarray(strength).resize(scene.size))
    scale = (scene.width / width, scene.height / height) * 2
    frame = [round(side * factor) for side, factor in zip(box, scale, strict=True)]
    frame[2:] = min(frame[2], scene.width) - 1, min(frame[3], scene.height) - 1
    stroke = max(2, scene.width // 250)
    ImageDraw.Draw(picture).rectangle(frame, outline="white", width=stroke)
    return picture
