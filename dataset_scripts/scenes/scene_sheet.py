"""Draws every scene class, RGB beside infrared, and one scene by day and by night, into one PNG.

python -m dataset_scripts scene-sheet --output docs/scenes.png
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .scene_classes import SCENE_CLASSES
from .scene_graph import at_hour, without_hidden_states
from .scene_simulator import render_scene, simulate_scene

_COLUMNS = 4
_LABEL = 18
_GAP = 6
_NOTE_COLOUR = (255, 214, 64)


@dataclass(frozen=True, kw_only=True)
class SceneSheetConfig:
    """Which scenes to draw, and where."""

    output: Path = Path("docs/scenes.png")
    """PNG to write."""
    seed: int = 5
    """Seed of the scenes."""
    size: int = 156
    """Pixels a side of each image."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    config = tyro.cli(SceneSheetConfig, prog="python -m dataset_scripts scene-sheet", args=argv)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(config).save(config.output, optimize=True)
    print(f"{config.output}: {config.output.stat().st_size / 1e6:.2f} MB")


def draw_sheet(config: SceneSheetConfig) -> Image.Image:
    """The sheet: a grid of classes, then a tank farm and an airport by day, by night, and with hidden states off."""
    names, size = sorted(SCENE_CLASSES), config.size
    rows = -(-len(names) // _COLUMNS)
    cell = 2 * size + _GAP
    sheet = Image.new("RGB", (_COLUMNS * cell, (rows + 1) * (size + _LABEL) + _LABEL), "white")
    for place, name in enumerate(names):
        scene = simulate_scene(config.seed, place, size, name)
        left, top = place % _COLUMNS * cell, place // _COLUMNS * (size + _LABEL)
        time = "night" if scene.graph.conditions.is_night else "day"
        _paste(sheet, left, top, scene.rgb, f"{name}: RGB")
        _paste(sheet, left + size, top, stretched(scene.infrared), f"infrared, {time}")
    top = rows * (size + _LABEL) + _LABEL
    for left, name, note in ((0, "storage tanks", "filled"), (2 * cell, "airport", "engines on")):
        _draw_hours(sheet, (left, top), config, name, note)
    return sheet


def stretched(infrared: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Infrared counts to 8 bits between their 1st and 99.5th percentile, for eyes only."""
    low, high = np.percentile(infrared, (1, 99.5))
    return np.clip((infrared - low) / max(high - low, 1.0) * 255, 0, 255).astype(np.uint8)


def _draw_hours(sheet: Image.Image, corner: tuple[int, int], config: SceneSheetConfig, name: str, note: str) -> None:
    """RGB, then infrared by day, by night, and by night with hidden states off; the states are pointed at."""
    graph = simulate_scene(config.seed, sorted(SCENE_CLASSES).index(name), 32, name).graph
    size, (start, top) = config.size, corner
    lefts = (start, start + size, start + 2 * size + _GAP, start + 3 * size + _GAP)
    day, night = (render_scene(at_hour(graph, hour), size) for hour in (13.0, 2.0))
    off = render_scene(at_hour(without_hidden_states(graph), 2.0), size)
    _paste(sheet, start, top, day.rgb, f"{name}: RGB")
    labels = (f"infrared by day, {note}", f"by night, {note}", "by night, hidden states off")
    for left, scene, label in zip(lefts[1:], (day, night, off), labels, strict=True):
        _paste(sheet, left, top, stretched(scene.infrared), label)
    draw = ImageDraw.Draw(sheet)
    scale = size / graph.conditions.extent_metres
    for thing in graph.objects("tank", "airplane"):
        if thing.state is not None and thing.state.level > 0:
            x, y = (value * scale for value in thing.centre)
            radius = max(thing.length_metres, thing.width_metres) * scale * 0.7
            for left in lefts[1:3]:
                box = (left + x - radius, top + _LABEL + y - radius, left + x + radius, top + _LABEL + y + radius)
                draw.ellipse(box, outline=_NOTE_COLOUR, width=2)


def _paste(sheet: Image.Image, left: int, top: int, pixels: NDArray[np.uint8], label: str) -> None:
    sheet.paste(Image.fromarray(pixels).convert("RGB"), (left, top + _LABEL))
    ImageDraw.Draw(sheet).text((left + 2, top + 3), label, fill="black", font=ImageFont.load_default(11))
