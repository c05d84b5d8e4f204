"""What a simulated scene is made of: the one description that RGB, infrared and captions are made from.

Coordinates are metres, x to the right and y down, in a square of `extent_metres`. Headings are degrees clockwise
from the x axis.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

Point = tuple[float, float]
Outline = tuple[Point, ...]
Season = Literal["spring", "summer", "autumn", "winter"]
HiddenKind = Literal[
    "running_engine", "fill", "heated_roof", "recent_use", "effluent", "irrigation", "fault", "smouldering", "crowd"
]


@dataclass(frozen=True, kw_only=True)
class HiddenState:
    """A fact that no RGB pixel may show."""

    kind: HiddenKind
    level: float
    """0 is off; 1 is fully on. A fill level lies between."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """A colour with the word a caption calls it by."""

    name: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """When and how the two images were taken. The RGB image is always taken by day."""

    season: Season
    infrared_hour: float
    """Local hour, 0 to 24, of the infrared image. No RGB pixel depends on it."""
    air_kelvin: float
    """Mean air temperature of the day, known to the simulator only."""
    extent_metres: float
    sun_azimuth_degrees: float
    """Direction in which shadows of the RGB image fall."""
    sun_elevation_degrees: float
    brightness: float
    haze: float

    @property
    def is_night(self) -> bool:
        """Whether the infrared image was taken at night."""
        return self.infrared_hour >= 20 or self.infrared_hour < 6

    def ground_sample_distance_metres(self, size: int) -> float:
        """Metres per pixel of an image of `size` pixels a side."""
        return self.extent_metres / size


@dataclass(frozen=True, kw_only=True)
class Patch:
    """An area of land cover. With a hidden state it is an area of its ground that only the infrared shows."""

    kind: str
    outline: Outline
    material: str
    paint: Paint
    shade: float = 1.0
    state: HiddenState | None = None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A road, track, or other band along a path. `lanes` above zero are marked with lines."""

    kind: str
    path: Outline
    width_metres: float
    material: str
    paint: Paint
    lanes: int = 0


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """A thing with a place and a heading; `variant` picks among its shapes."""

    kind: str
    centre: Point
    heading_degrees: float
    length_metres: float
    width_metres: float
    height_metres: float
    material: str
    paint: Paint
    variant: int = 0
    state: HiddenState | None = None


Element = Patch | Strip | SceneObject


@dataclass(frozen=True, kw_only=True)
class SceneGraph:
    """A whole scene; elements are in drawing order."""

    class_name: str
    seed: int
    index: int
    conditions: Conditions
    elements: tuple[Element, ...]

    def objects(self, *kinds: str) -> tuple[SceneObject, ...]:
        """Objects of these kinds, in drawing order."""
        return tuple(e for e in self.elements if isinstance(e, SceneObject) and e.kind in kinds)

    def patches(self, *kinds: str) -> tuple[Patch, ...]:
        """Patches of these kinds, in drawing order."""
        return tuple(e for e in self.elements if isinstance(e, Patch) and e.kind in kinds)

    def strips(self, *kinds: str) -> tuple[Strip, ...]:
        """Strips of these kinds, in drawing order."""
        return tuple(e for e in self.elements if isinstance(e, Strip) and e.kind in kinds)


def at_hour(graph: SceneGraph, hour: float) -> SceneGraph:
    """Return the same scene with its infrared image taken at another hour."""
    return replace(graph, conditions=replace(graph.conditions, infrared_hour=hour))


def with_states(
    graph: SceneGraph, change: Callable[[int, Patch | SceneObject, HiddenState], HiddenState | None]
) -> SceneGraph:
    """Return the same scene with each hidden state replaced by what `change(position, element, state)` returns."""
    elements: list[Element] = []
    for position, element in enumerate(graph.elements):
        if not isinstance(element, Strip) and element.state is not None:
            element = replace(element, state=change(position, element, element.state))
        elements.append(element)
    return replace(graph, elements=tuple(elements))


def without_hidden_states(graph: SceneGraph) -> SceneGraph:
    """Return the same scene with every hidden state off."""
    return with_states(graph, lambda position, element, state: None)
