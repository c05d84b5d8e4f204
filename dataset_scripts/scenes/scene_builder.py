"""Collects the elements of a scene: random choices by seed, colours of the season, and room for trees."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from .scene_geometry import box, oval, placed
from .scene_graph import (
    Conditions,
    Element,
    HiddenKind,
    HiddenState,
    Outline,
    Paint,
    Patch,
    Point,
    SceneObject,
    Season,
    Strip,
)
from .scene_paints import CROWNS, GRASS

Placing = Callable[[float, float], Point]
Choice = TypeVar("Choice")
EDGE_SHARE = 0.035
_CELL_METRES = 24.0


class SceneBuilder:
    """A scene while it is laid out. Every choice comes from one generator, in order."""

    def __init__(self, *, rng: np.random.Generator, conditions: Conditions):
        self.rng = rng
        self.conditions = conditions
        self.extent = conditions.extent_metres
        self.season: Season = conditions.season
        self.elements: list[Element] = []
        self._taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    @property
    def middle(self) -> Point:
        """The centre of the scene."""
        return (self.extent / 2, self.extent / 2)

    def real(self, low: float, high: float) -> float:
        """A number between two bounds."""
        return float(self.rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """A whole number between two bounds, both possible."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def subset(self, count: int, of: int) -> frozenset[int]:
        """`count` of the numbers below `of`."""
        return frozenset(int(number) for number in self.rng.permutation(of)[:count])

    def maybe(self, kind: HiddenKind, probability: float) -> HiddenState:
        """A hidden state that is on with this probability."""
        return HiddenState(kind=kind, level=1.0 if self.chance(probability) else 0.0)

    def vary(self, paint: Paint, spread: int = 8) -> Paint:
        """The same colour, a little lighter or darker and slightly off in tone."""
        common, *own = (int(v) for v in self.rng.integers(-spread, spread + 1, 4))
        red, green, blue = (min(255, max(0, c + common + o // 3)) for c, o in zip(paint.rgb, own, strict=True))
        return Paint(name=paint.name, rgb=(red, green, blue))

    def grass(self) -> Paint:
        """Grass of the season."""
        name = "brown" if self.season == "winter" else "green"
        return self.vary(Paint(name=name, rgb=GRASS[self.season]), 8)

    def crown(self) -> Paint:
        """A tree crown of the season."""
        name, red, green, blue = self.pick(CROWNS[self.season])
        return Paint(name=name, rgb=(red, green, blue))

    def patch(
        self,
        kind: str,
        outline: Outline,
        material: str,
        paint: Paint,
        *,
        shade: float = 1.0,
        state: HiddenState | None = None,
    ) -> Patch:
        """Add land cover."""
        patch = Patch(kind=kind, outline=outline, material=material, paint=paint, shade=shade, state=state)
        self.elements.append(patch)
        return patch

    def ground(self, kind: str, material: str, paint: Paint) -> Patch:
        """Cover the whole scene."""
        edge = self.extent
        return self.patch(kind, ((0.0, 0.0), (edge, 0.0), (edge, edge), (0.0, edge)), material, paint)

    def strip(
        self, kind: str, path: Sequence[Point], width: float, material: str, paint: Paint, *, lanes: int = 0
    ) -> None:
        """Add a road or another band."""
        self.elements.append(
            Strip(kind=kind, path=tuple(path), width_metres=width, material=material, paint=paint, lanes=lanes)
        )

    def thing(
        self,
        kind: str,
        centre: Point,
        heading: float,
        size: tuple[float, float, float],
        material: str,
        paint: Paint,
        *,
        variant: int = 0,
        state: HiddenState | None = None,
        must_be_inside: bool = True,
    ) -> bool:
        """Add an object of size (length, width, height), unless its centre would be too near the edge to be seen."""
        length, width, height = size
        margin = self.extent * EDGE_SHARE + min(width * 0.5, length * 0.5, self.extent * 0.05)
        if must_be_inside and not self.is_inside(centre, margin):
            return False
        self.elements.append(
            SceneObject(
                kind=kind,
                centre=centre,
                heading_degrees=heading,
                length_metres=length,
                width_metres=width,
                height_metres=height,
                material=material,
                paint=paint,
                variant=variant,
                state=state,
            )
        )
        return True

    def is_inside(self, point: Point, margin: float) -> bool:
        """Whether a point is at least `margin` away from every edge."""
        return all(margin <= value <= self.extent - margin for value in point)

    def take(self, centre: Point, radius: float) -> None:
        """Keep later trees away from here."""
        x, y = centre
        for cell in _cells(x, y, radius):
            self._taken.setdefault(cell, []).append((x, y, radius))

    def take_path(self, path: Sequence[Point], width: float) -> None:
        """Keep later trees off a road."""
        for first, second in itertools.pairwise(path):
            steps = max(1, math.ceil(math.dist(first, second) / max(width * 0.6, 4.0)))
            for step in range(steps + 1):
                share = step / steps
                point = (first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share)
                self.take(point, width / 2)

    def is_free(self, centre: Point, radius: float) -> bool:
        """Whether nothing taken lies within `radius`."""
        x, y = centre
        for cell in _cells(x, y, radius):
            for a, b, taken in self._taken.get(cell, ()):
                if (x - a) ** 2 + (y - b) ** 2 < (radius + taken) ** 2:
                    return False
        return True

    def tree(self, centre: Point, diameter: float) -> None:
        """Add one tree; it may be cut by the edge."""
        size = (diameter, diameter, diameter * 0.9)
        self.thing("tree", centre, 0.0, size, "foliage", self.vary(self.crown(), 7), must_be_inside=False)

    def scatter_trees(
        self, count: int, *, diameter: tuple[float, float] = (5.0, 9.0), within: tuple[float, ...] | None = None
    ) -> None:
        """Add up to `count` trees at free places, in all of the scene or in (left, top, right, bottom)."""
        left, top, right, bottom = within or (0.0, 0.0, self.extent, self.extent)
        for _ in range(count):
            size = self.real(*diameter)
            place = (self.real(left, right), self.real(top, bottom))
            if self.is_free(place, size * 0.45):
                self.tree(place, size)
                self.take(place, size * 0.3)

    def across(self, heading: float, offset: float) -> list[Point]:
        """A straight line through the whole scene, `offset` metres beside its middle."""
        return list(placed(self.middle, heading, ((-self.extent, offset), (self.extent, offset))))

    def meander(self, heading: float, swing: float, shift: float) -> list[Point]:
        """A winding path through the whole scene."""
        side, phase, waves = self.extent, self.real(0, 2 * math.pi), self.real(1.0, 2.2)
        shape = []
        for step in range(61):
            u = step / 60 * 2 - 1
            v = swing * math.sin(waves * math.pi * u + phase) + swing * 0.25 * math.sin(
                2.7 * waves * math.pi * u + 2 * phase
            )
            shape.append((u * side * 0.95, v + shift))
        return list(placed(self.middle, heading, shape))

    def blob(self, centre: Point, radius: float, *, points: int = 48) -> Outline:
        """A closed outline of irregular radius."""
        waves = [(k, self.real(0, 0.2 / k), self.real(0, 2 * math.pi)) for k in (1, 2, 3, 5, 8)]
        shape = []
        for step in range(points):
            turn = 2 * math.pi * step / points
            share = 1 + sum(size * math.sin(k * turn + phase) for k, size, phase in waves)
            shape.append((radius * share * math.cos(turn), radius * share * math.sin(turn)))
        return placed(centre, 0.0, shape)

    def hidden_oval(
        self,
        kind: str,
        centre: Point,
        heading: float,
        size: tuple[float, float],
        ground: Patch | Strip,
        state: HiddenState,
    ) -> None:
        """Give an oval of the ground a state that only the infrared shows."""
        outline = oval(centre, heading, *size)
        self.patch(f"hidden {kind}", outline, ground.material, ground.paint, state=state)

    def hidden_box(
        self,
        kind: str,
        centre: Point,
        heading: float,
        size: tuple[float, float],
        ground: Patch | Strip,
        state: HiddenState,
    ) -> None:
        """Give a rectangle of the ground a state that only the infrared shows."""
        self.patch(f"hidden {kind}", box(centre, heading, *size), ground.material, ground.paint, state=state)


def _cells(x: float, y: float, radius: float) -> Iterator[tuple[int, int]]:
    """The cells of a grid that a disc touches; two discs that overlap share one."""
    left, right = int((x - radius) // _CELL_METRES), int((x + radius) // _CELL_METRES)
    top, bottom = int((y - radius) // _CELL_METRES), int((y + radius) // _CELL_METRES)
    for column in range(left, right + 1):
        for row in range(top, bottom + 1):
            yield column, row
