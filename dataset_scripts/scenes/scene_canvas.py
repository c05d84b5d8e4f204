"""Draws shapes once, for both images: each pixel of the canvas holds the number of its surface and its shade.

RGB and infrared are two look-ups of the same numbers, so their geometry cannot differ, and what only the infrared
looks up cannot leak into RGB.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .scene_graph import Outline, Point
from .scene_thermal import Surface

NEUTRAL_SHADE = 128
SUPERSAMPLING = 2


class Canvas:
    """Two drawings in metres: surface numbers (16 bit) and shade (8 bit, 128 is neutral)."""

    def __init__(self, *, size: int, extent_metres: float, sun_azimuth_degrees: float, sun_elevation_degrees: float):
        self.pixels = size * SUPERSAMPLING
        self.scale = self.pixels / extent_metres
        self.surfaces: list[Surface] = []
        self._numbers: dict[Surface, int] = {}
        self._index_image = Image.new("I;16", (self.pixels, self.pixels))
        self._shade_image = Image.new("L", (self.pixels, self.pixels), NEUTRAL_SHADE)
        self._index = ImageDraw.Draw(self._index_image)
        self._shade = ImageDraw.Draw(self._shade_image)
        azimuth = math.radians(sun_azimuth_degrees)
        reach = 1 / math.tan(math.radians(sun_elevation_degrees))
        self.sun_azimuth = azimuth
        self.shadow_per_metre = (math.cos(azimuth) * reach, math.sin(azimuth) * reach)

    def index(self) -> NDArray[np.uint16]:
        """Surface numbers, (pixels, pixels)."""
        return np.asarray(self._index_image)

    def shade(self) -> Image.Image:
        """Shade at the resolution of the canvas."""
        return self._shade_image

    def polygon(self, outline: Sequence[Point], surface: Surface, shade: float = 1.0) -> None:
        """Fill an outline with a surface and with a brightness factor."""
        flat = self._flat(outline)
        self._index.polygon(flat, fill=self._number(surface))
        self._shade.polygon(flat, fill=_shade_value(shade))

    def under(self, outline: Sequence[Point], surface: Surface) -> None:
        """Change what the ground is, leaving its shade; with equal colour this shows in the infrared only."""
        self._index.polygon(self._flat(outline), fill=self._number(surface))

    def tint(self, outline: Sequence[Point], shade: float) -> None:
        """Change the shade of what is there."""
        self._shade.polygon(self._flat(outline), fill=_shade_value(shade))

    def disc(self, centre: Point, radius: float, surface: Surface, shade: float = 1.0) -> None:
        """Fill a disc."""
        box = self._box(centre, radius)
        self._index.ellipse(box, fill=self._number(surface))
        self._shade.ellipse(box, fill=_shade_value(shade))

    def tint_disc(self, centre: Point, radius: float, shade: float) -> None:
        """Change the shade in a disc."""
        self._shade.ellipse(self._box(centre, radius), fill=_shade_value(shade))

    def line(self, path: Sequence[Point], width: float, surface: Surface, shade: float = 1.0) -> None:
        """Draw a band along a path; it is at least one canvas pixel wide."""
        flat = self._flat(path)
        pixels = max(1, round(width * self.scale))
        self._index.line(flat, fill=self._number(surface), width=pixels, joint="curve")
        self._shade.line(flat, fill=_shade_value(shade), width=pixels, joint="curve")

    def tint_line(self, path: Sequence[Point], width: float, shade: float) -> None:
        """Change the shade along a path."""
        pixels = max(1, round(width * self.scale))
        self._shade.line(self._flat(path), fill=_shade_value(shade), width=pixels, joint="curve")

    def shadow(self, outline: Outline, height_metres: float, shade: float = 0.5) -> None:
        """Darken where a convex thing of this outline and height throws its shadow."""
        dx, dy = (step * height_metres for step in self.shadow_per_metre)
        moved = [(x + dx, y + dy) for x, y in outline]
        value = _shade_value(shade)
        self._shade.polygon(self._flat(moved), fill=value)
        for first in range(len(outline)):
            second = (first + 1) % len(outline)
            side = (outline[first], outline[second], moved[second], moved[first])
            self._shade.polygon(self._flat(side), fill=value)

    def shadow_disc(self, centre: Point, radius: float, height_metres: float, shade: float = 0.5) -> None:
        """Darken where a round thing throws its shadow."""
        dx, dy = (step * height_metres for step in self.shadow_per_metre)
        steps = max(1, math.ceil(math.hypot(dx, dy) / max(radius, 0.1)))
        for step in range(1, steps + 1):
            self.tint_disc((centre[0] + dx * step / steps, centre[1] + dy * step / steps), radius, shade)

    def facing_sun(self, direction_degrees: float) -> float:
        """How much a slope that looks in this direction faces the sun, from -1 to 1."""
        return -math.cos(math.radians(direction_degrees) - self.sun_azimuth)

    def _number(self, surface: Surface) -> int:
        number = self._numbers.get(surface)
        if number is None:
            number = self._numbers[surface] = len(self.surfaces)
            self.surfaces.append(surface)
        return number

    def _flat(self, outline: Sequence[Point]) -> list[float]:
        scale = self.scale
        return [value * scale for point in outline for value in point]

    def _box(self, centre: Point, radius: float) -> tuple[float, float, float, float]:
        x, y, r = centre[0] * self.scale, centre[1] * self.scale, max(radius * self.scale, 0.5)
        return (x - r, y - r, x + r, y + r)


def _shade_value(shade: float) -> int:
    return min(255, max(0, round(shade * NEUTRAL_SHADE)))
