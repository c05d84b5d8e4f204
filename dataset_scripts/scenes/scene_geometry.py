"""Outlines and paths of scenes, in metres."""

import itertools
import math
from collections.abc import Iterable, Sequence

from .scene_graph import Outline, Point


def placed(centre: Point, heading_degrees: float, shape: Iterable[Point]) -> Outline:
    """Turn a shape given along and across its heading, and move it to its centre."""
    cosine, sine = math.cos(math.radians(heading_degrees)), math.sin(math.radians(heading_degrees))
    x, y = centre
    return tuple((x + a * cosine - b * sine, y + a * sine + b * cosine) for a, b in shape)


def box(centre: Point, heading_degrees: float, length: float, width: float) -> Outline:
    """A rectangle: `length` along the heading, `width` across."""
    a, b = length / 2, width / 2
    return placed(centre, heading_degrees, ((-a, -b), (a, -b), (a, b), (-a, b)))


def oval(centre: Point, heading_degrees: float, length: float, width: float, *, points: int = 40) -> Outline:
    """An ellipse as a polygon."""
    turns = (2 * math.pi * step / points for step in range(points))
    return placed(centre, heading_degrees, ((length / 2 * math.cos(t), width / 2 * math.sin(t)) for t in turns))


def rounded_box(centre: Point, heading_degrees: float, length: float, width: float, power: float = 4.0) -> Outline:
    """A stadium-like shape between an ellipse (power 2) and a rectangle (large power)."""
    shape = []
    for step in range(48):
        t = 2 * math.pi * step / 48
        c, s = math.cos(t), math.sin(t)
        shape.append(
            (
                length / 2 * math.copysign(abs(c) ** (2 / power), c),
                width / 2 * math.copysign(abs(s) ** (2 / power), s),
            )
        )
    return placed(centre, heading_degrees, shape)


def offset_path(path: Sequence[Point], distance: float) -> list[Point]:
    """Move a path sideways: to the right of its direction for positive distances."""
    moved = []
    for step, (x, y) in enumerate(path):
        before, after = path[max(step - 1, 0)], path[min(step + 1, len(path) - 1)]
        dx, dy = after[0] - before[0], after[1] - before[1]
        length = math.hypot(dx, dy) or 1.0
        moved.append((x - dy / length * distance, y + dx / length * distance))
    return moved


def ribbon(path: Sequence[Point], width: float) -> Outline:
    """The outline of a band along a path."""
    return (*offset_path(path, -width / 2), *reversed(offset_path(path, width / 2)))


def path_length(path: Sequence[Point]) -> float:
    """Length of a path."""
    return sum(math.dist(first, second) for first, second in itertools.pairwise(path))


def along(path: Sequence[Point], distance: float) -> tuple[Point, float]:
    """Return the point at a distance along a path, and the heading there in degrees."""
    for first, second in itertools.pairwise(path):
        step = math.dist(first, second)
        if distance <= step and step > 0:
            share = distance / step
            point = (first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share)
            return point, _heading(first, second)
        distance -= step
    return path[-1], _heading(path[-2], path[-1])


def dashes(path: Sequence[Point], dash: float, gap: float) -> list[tuple[Point, Point]]:
    """Cut each straight piece of a path into dashes; the pattern runs on over its corners."""
    pieces, start = [], 0.0
    for first, second in itertools.pairwise(path):
        length = math.dist(first, second)
        while start < length:
            end = min(start + dash, length)
            if end > 0:
                pieces.append((between(first, second, max(start, 0.0) / length), between(first, second, end / length)))
            start += dash + gap
        start -= length
        if start > gap:
            start -= dash + gap
    return pieces


def arc(centre: Point, radius: float, start_degrees: float, end_degrees: float, *, points: int = 24) -> list[Point]:
    """A circular path."""
    turns = (math.radians(start_degrees + (end_degrees - start_degrees) * k / points) for k in range(points + 1))
    return [(centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)) for t in turns]


def between(first: Point, second: Point, share: float) -> Point:
    """The point at a share of the way from one point to another."""
    return (first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share)


def grown(outline: Outline, centre: Point, factor: float) -> Outline:
    """An outline scaled about a point."""
    return tuple(between(centre, point, factor) for point in outline)


def _heading(first: Point, second: Point) -> float:
    return math.degrees(math.atan2(second[1] - first[1], second[0] - first[0]))
