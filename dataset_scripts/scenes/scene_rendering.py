"""Turns a scene graph into an RGB image and a 16-bit infrared image of the same geometry.

Shapes: H = W = size, C canvas pixels a side (size times supersampling)
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .scene_canvas import NEUTRAL_SHADE, SUPERSAMPLING, Canvas
from .scene_drawing import draw_element
from .scene_graph import HiddenState, SceneGraph, with_states
from .scene_materials import MATERIALS
from .scene_textures import FloatImage, TextureName, crop_texture, relief
from .scene_thermal import COUNTS_PER_KELVIN, NOISE_COUNTS, apparent_kelvin, sun_strength

_TEXTURE_STREAM = 1
_NOISE_STREAM = 2
_TEXTURE_KELVIN = 5.0
_SHADOW_KELVIN = 5.0


def draw_canvas(graph: SceneGraph, size: int) -> Canvas:
    """Draw every element of the graph, in order."""
    conditions = graph.conditions
    canvas = Canvas(
        size=size,
        extent_metres=conditions.extent_metres,
        sun_azimuth_degrees=conditions.sun_azimuth_degrees,
        sun_elevation_degrees=conditions.sun_elevation_degrees,
    )
    for element in graph.elements:
        draw_element(canvas, element)
    return canvas


def render(graph: SceneGraph, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return RGB (H, W, 3) and infrared counts (H, W)."""
    canvas = draw_canvas(graph, size)
    texture, hue = _texture(canvas, graph)
    shade = _shade(canvas)
    rgb = _render_rgb(canvas, graph, texture, hue, shade)
    kelvin = _render_kelvin(canvas, graph, texture, shade)
    return rgb, _camera_counts(kelvin, graph)


def state_mask(graph: SceneGraph, size: int, position: int) -> NDArray[np.float32]:
    """Return the share (H, W) of each pixel that the hidden state of the element at `position` acts on."""
    marker = HiddenState(kind="fill", level=1.0)
    marked = with_states(graph, lambda place, element, state: marker if place == position else None)
    canvas = draw_canvas(marked, size)
    lut = np.array([surface.state is not None for surface in canvas.surfaces], dtype=np.float32)
    return _reduced(lut[canvas.index()])


def _render_rgb(
    canvas: Canvas, graph: SceneGraph, texture: FloatImage, hue: FloatImage, shade: FloatImage
) -> NDArray[np.uint8]:
    lut = np.zeros((len(canvas.surfaces), 4), dtype=np.uint8)
    lut[:, :3] = [surface.rgb for surface in canvas.surfaces]
    packed = np.take(lut.view(np.uint32)[:, 0], canvas.index())  # (C, C), four bytes a pixel
    image = Image.frombuffer("RGBX", packed.shape, packed, "raw", "RGBX", 0, 1).reduce(SUPERSAMPLING)
    colour = np.asarray(image)[..., :3].astype(np.float32)  # (H, W, 3)
    colour *= (shade * (1 + texture) * np.float32(graph.conditions.brightness))[..., None]
    # Where there is texture, colour drifts between yellowish and bluish as well.
    for channel, drift in enumerate((0.5, 0.1, -0.6)):
        colour[..., channel] *= 1 + hue * np.float32(drift)
    # Shadows are lit by the blue sky.
    colour[..., 2] += np.maximum(np.float32(0.9) - shade, 0) * np.float32(16)
    haze = np.float32(graph.conditions.haze)
    colour *= 1 - haze
    colour += haze * np.array([205, 212, 222], dtype=np.float32) + np.float32(0.5)
    return np.clip(colour, 0, 255, out=colour).astype(np.uint8)


def _render_kelvin(canvas: Canvas, graph: SceneGraph, texture: FloatImage, shade: FloatImage) -> FloatImage:
    """Apparent kelvin (H, W) before the camera."""
    lut = np.array([apparent_kelvin(surface, graph.conditions) for surface in canvas.surfaces], dtype=np.float32)
    kelvin = _reduced(np.take(lut, canvas.index()))
    sun = sun_strength(graph.conditions)
    kelvin += texture * np.float32(_TEXTURE_KELVIN * (0.35 + 0.65 * sun))
    kelvin += np.minimum(shade - 1, 0) * np.float32(_SHADOW_KELVIN * sun)
    return kelvin


def _camera_counts(kelvin: FloatImage, graph: SceneGraph) -> NDArray[np.uint16]:
    """Slight blur, pixel noise, column noise, and rounding to counts."""
    padded = np.pad(kelvin, 1, mode="edge")
    blurred = 0.2 * padded[:-2] + 0.6 * padded[1:-1] + 0.2 * padded[2:]
    blurred = 0.2 * blurred[:, :-2] + 0.6 * blurred[:, 1:-1] + 0.2 * blurred[:, 2:]
    rng = np.random.default_rng([graph.seed, graph.index, _NOISE_STREAM])
    noise = rng.standard_normal(kelvin.shape, dtype=np.float32) * np.float32(NOISE_COUNTS)
    noise += rng.standard_normal(kelvin.shape[1], dtype=np.float32) * np.float32(NOISE_COUNTS / 3)
    counts = np.rint(blurred * np.float32(COUNTS_PER_KELVIN)) + np.rint(noise)
    return np.clip(counts, 0, 65535).astype(np.uint16)


def _texture(canvas: Canvas, graph: SceneGraph) -> tuple[FloatImage, FloatImage]:
    """Brightness detail (H, W) and colour drift (H, W) of the materials that fill each pixel."""
    size = canvas.pixels // SUPERSAMPLING
    rng = np.random.default_rng([graph.seed, graph.index, _TEXTURE_STREAM])
    materials = [MATERIALS[surface.material] for surface in canvas.surfaces]
    # One byte holds an amplitude from 0 to 0.64 in steps of 1/400.
    amplitudes = np.array([(m.grain, m.mottle, m.canopy, m.ripple) for m in materials])
    lut = np.ascontiguousarray(np.rint(amplitudes * 400).astype(np.uint8))
    packed = np.take(lut.view(np.uint32)[:, 0], canvas.index())
    image = Image.frombuffer("RGBX", packed.shape, packed, "raw", "RGBX", 0, 1).reduce(SUPERSAMPLING)
    amplitude = np.asarray(image).astype(np.float32) / np.float32(400)  # (H, W, 4)
    crops = {name: crop_texture(name, size, rng) for name in _texture_names()}
    azimuth = graph.conditions.sun_azimuth_degrees
    detail: FloatImage = amplitude[..., 0] * crops["grain"] + amplitude[..., 1] * crops["mottle"]
    if amplitude[..., 2].any():
        detail += amplitude[..., 2] * np.clip(relief(crops["canopy"], azimuth), -1.2, 1.0)
    if amplitude[..., 3].any():
        detail += amplitude[..., 3] * crops["ripple"]
    drift: FloatImage = amplitude[..., 1] * crops["hue"]
    return detail, drift


def _texture_names() -> tuple[TextureName, ...]:
    return ("grain", "mottle", "hue", "canopy", "ripple")


def _shade(canvas: Canvas) -> FloatImage:
    reduced = canvas.shade().reduce(SUPERSAMPLING)
    return np.asarray(reduced).astype(np.float32) / np.float32(NEUTRAL_SHADE)


def _reduced(values: FloatImage) -> FloatImage:
    return np.array(Image.fromarray(values).reduce(SUPERSAMPLING))
