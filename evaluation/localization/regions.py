"""Annotated regions of a scene: the pixels they cover, their centres and radii, as OpenCV and AIR-SLT count them.

Shapes: V vertices (x, y), H x W pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Polygon = tuple[tuple[float, float], ...]

RADIUS_FACTOR = 1.5
ONE = 1 << 16  # OpenCV keeps where an edge crosses a row in 16 bits after the point


@dataclass(frozen=True, kw_only=True)
class Circle:
    """Where attention to a region should lie: within a radius of its centre, all in whole pixels."""

    x: int
    y: int
    radius: int


def circle_of(polygon: Polygon) -> Circle:
    """Mean of the vertices, a repeated vertex counted again, and 1.5 times their mean distance from it, both cut."""
    points = np.array(polygon, dtype=np.float64)
    x, y = (int(value) for value in points.sum(axis=0) / len(points))
    radius = int(np.linalg.norm(points - [x, y], axis=1).mean() * RADIUS_FACTOR)
    if radius == 0:
        raise ValueError(
            f"a region around ({x}, {y}) has no radius: its vertices lie within a pixel. Correct or drop it."
        )
    return Circle(x=x, y=y, radius=radius)


def region_mask(polygons: tuple[Polygon, ...], height: int, width: int, *, as_published: bool = True) -> Mask:
    """Pixels (H, W) inside any polygon, outlines included.

    As published, all polygons of a query are one `cv2.fillPoly`: where two overlap, there is a hole. Without, their
    union. Equal to OpenCV pixel by pixel for vertices inside the scene; one outside may move an outline by a pixel.

    Raises:
        ValueError: No polygon touches the scene.
    """
    vertices = [np.array(polygon, dtype=np.float64).astype(np.int64) for polygon in polygons]
    mask = np.zeros((height, width), dtype=np.bool_)
    for group in [vertices] if as_published else [[one] for one in vertices]:
        mask |= _inside(group, height, width)
    for points in vertices:
        _outline(mask, points)
    if not mask.any():
        raise ValueError(
            f"no region touches the scene of {width} x {height} pixels; the first starts at {polygons[0][0]}. "
            "Check that annotations and image belong together."
        )
    return mask


def _inside(group: list[npt.NDArray[np.int64]], height: int, width: int) -> Mask:
    """Even-odd filling: on each row the pixels from every odd crossing to the next, those between and not beyond."""
    rows, crossings = [], []
    for points in group:
        for (x0, y0), (x1, y1) in zip(np.roll(points, 1, axis=0).tolist(), points.tolist(), strict=True):
            if y0 == y1:
                continue
            slope = int((x1 - x0) * ONE / (y1 - y0))  # cut towards zero, as integers in C are
            (top_x, top), bottom = ((x0, y0), y1) if y0 < y1 else ((x1, y1), y0)
            row = np.arange(max(top, 0), min(bottom, height))
            rows.append(row)
            crossings.append(top_x * ONE + (row - top) * slope)
    steps = np.zeros((height, width + 1), dtype=np.int16)
    if rows:
        row, crossing = np.concatenate(rows), np.concatenate(crossings)
        order = np.lexsort((crossing, row))
        row, crossing = row[order], crossing[order]
        first, beyond = (crossing[0::2] + ONE - 1) // ONE, crossing[1::2] // ONE + 1
        np.add.at(steps, (row[0::2], np.clip(first, 0, width)), 1)
        np.add.at(steps, (row[1::2], np.clip(beyond, 0, width)), -1)
    return np.asarray(np.cumsum(steps, axis=1, dtype=np.int16)[:, :-1] > 0)


def _outline(mask: Mask, points: npt.NDArray[np.int64]) -> None:
    """Draws the closed line through the vertices, eight-connected, from left to right."""
    for start, end in zip(np.roll(points, 1, axis=0), points, strict=True):
        if start[0] > end[0]:
            start, end = end, start
        along, across = (1, 0) if abs(end[1] - start[1]) > end[0] - start[0] else (0, 1)
        length, rise = abs(int(end[along] - start[along])), abs(int(end[across] - start[across]))
        steps = np.arange(length + 1)
        line = np.empty((length + 1, 2), dtype=np.int64)
        line[:, along] = start[along] + np.sign(end[along] - start[along]) * steps
        # Half a pixel is rounded down
        moved = -((length - 2 * rise * steps) // (2 * length)) if length else steps
        line[:, across] = start[across] + np.sign(end[across] - start[across]) * moved
        x, y = line.T
        kept = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
        mask[y[kept], x[kept]] = True
