"""Heat maps of semantic localization, from cosines of windows to pixels.

A map is constant between the edges of windows: a scene of 10,000 x 10,000 pixels has some 80 x 80 cells. Sums and
medians are taken on cells, exactly, and become pixels at the end.
Shapes: N windows, T texts, R x C cells, H x W pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .windows import Pixels, Windows, through_jpeg

Edges = npt.NDArray[np.int64]
Levels = npt.NDArray[np.uint8]

MEDIAN_SIZE = 251
JPEG_MAX_SIDE = 65_500
JPEG_STRIPE = 1_024
# Cosines in float32 that differ by less than this are equal; stretching them to 0..1 would show rounding.
FLAT = 1e-6


@dataclass(frozen=True, kw_only=True)
class CellMaps:
    """Mean cosine of all windows over a cell, per text (T, R, C); NaN where no window has data."""

    row_edges: Edges
    """(R + 1,), from 0 to H."""
    column_edges: Edges
    """(C + 1,), from 0 to W."""
    cosines: npt.NDArray[np.float64]

    def relative(self, text: int) -> npt.NDArray[np.float64]:
        """One map (R, C) from 0 at its least to 1 at its most; a flat map is 0, and so are cells without data."""
        cells = self.cosines[text]
        known = np.isfinite(cells)
        relative = np.zeros(cells.shape)
        if known.any():
            low, high = cells[known].min(), cells[known].max()
            if high - low > FLAT:
                relative[known] = (cells[known] - low) / (high - low)
        return relative

    def expand(self, cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cells (R, C) as pixels (H, W)."""
        rows = np.repeat(cells, np.diff(self.row_edges), axis=0)
        return np.repeat(rows, np.diff(self.column_edges), axis=1)


def cell_maps(windows: Windows, cosines: npt.NDArray[Any], height: int, width: int) -> CellMaps:
    """Averages cosines (T, N) of windows over every cell.

    A sum of a few float32 in float64 is exact, so the order of windows does not matter and equal cosines stay equal.
    """
    if cosines.shape[1] != len(windows):
        raise ValueError(f"{cosines.shape[1]} cosines per text for {len(windows)} windows.")
    row_edges = np.unique(np.concatenate([[0, height], windows[:, 0], windows[:, 1]]))
    column_edges = np.unique(np.concatenate([[0, width], windows[:, 2], windows[:, 3]]))
    rows, columns = np.searchsorted(row_edges, windows[:, :2]), np.searchsorted(column_edges, windows[:, 2:])
    counts = np.zeros((len(row_edges) - 1, len(column_edges) - 1), dtype=np.int64)
    sums = np.zeros((len(cosines), *counts.shape))
    scores = cosines.astype(np.float32).astype(np.float64)
    for index in np.flatnonzero(np.isfinite(scores).all(axis=0)):
        place = slice(*rows[index]), slice(*columns[index])
        sums[:, place[0], place[1]] += scores[:, index, None, None]
        counts[place] += 1
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return CellMaps(row_edges=row_edges, column_edges=column_edges, cosines=means)


def heat_levels(maps: CellMaps, text: int, *, as_published: bool = True, median_size: int = MEDIAN_SIZE) -> Pixels:
    """The heat map that is scored (H, W): 256 levels, median of 251 x 251 pixels, and as published through a JPEG."""
    levels = (255 * maps.relative(text)).astype(np.uint8)  # cut, not rounded
    heat = median_filter_cells(levels, maps.row_edges, maps.column_edges, median_size)
    if not as_published:
        return heat
    if max(heat.shape) > JPEG_MAX_SIDE:
        raise ValueError(
            f"a scene of {heat.shape[1]} x {heat.shape[0]} pixels does not fit into a JPEG, which ends at "
            f"{JPEG_MAX_SIDE} pixels a side. Pass as_published=False."
        )
    # Blocks of 8 x 8 pixels of a grey JPEG are independent: stripes give what the whole would, and are never too large.
    for top in range(0, len(heat), JPEG_STRIPE):
        heat[top : top + JPEG_STRIPE] = through_jpeg(heat[top : top + JPEG_STRIPE])
    return heat


def median_filter_cells(levels: Levels, row_edges: Edges, column_edges: Edges, size: int) -> Pixels:
    """Median filter (H, W) of a map that is constant on cells, exact, the border repeated as OpenCV does.

    Between the places where an edge of the filter meets an edge of a cell, a pixel sees the same few cells, of areas
    that are products of a height and a width; the median is the least level at which they cover half the filter.

    Args:
        levels: Value of each cell (R, C).
        row_edges: (R + 1,).
        column_edges: (C + 1,).
        size: Side of the filter in pixels, odd.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the median filter has size {size}, wanted an odd number of pixels.")
    heat = np.empty((int(row_edges[-1]), int(column_edges[-1])), dtype=np.uint8)
    column_pieces = _pieces(column_edges, size)
    for rows, row_cells, heights in _pieces(row_edges, size):
        for columns, column_cells, widths in column_pieces:
            seen = levels[row_cells, column_cells]
            steps = np.unique(seen)
            if len(steps) == 1:
                heat[rows, columns] = steps[0]
                continue
            # How many of the filter's pixels are at or below each step but the last; (steps - 1, rows, columns)
            below = (seen <= steps[:-1, None, None]).astype(np.float32)
            covered = heights @ (below @ widths.T)  # whole numbers below 2^24: exact
            rank = (covered <= size * size // 2).sum(axis=0, dtype=np.uint8)
            heat[rows, columns] = steps[rank]
    return heat


def _pieces(edges: Edges, size: int) -> list[tuple[slice, slice, npt.NDArray[np.float32]]]:
    """Runs of pixels whose filter touches the same cells: those pixels, those cells, and their overlaps as a matrix."""
    radius, length = size // 2, int(edges[-1])
    reach = edges.copy()
    reach[0], reach[-1] = -radius, length + radius
    cuts = np.unique(np.concatenate([[0, length], edges + radius, edges - radius]))
    cuts = cuts[(cuts >= 0) & (cuts <= length)]
    pieces = []
    for start, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        pixels = np.arange(start, end)
        first = int(np.searchsorted(reach, start - radius, side="right")) - 1
        last = int(np.searchsorted(reach, start + radius, side="right"))
        low = np.maximum(pixels[:, None] - radius, reach[None, first:last])
        high = np.minimum(pixels[:, None] + radius + 1, reach[None, first + 1 : last + 1])
        pieces.append((slice(start, end), slice(first, last), np.maximum(high - low, 0).astype(np.float32)))
    return pieces
