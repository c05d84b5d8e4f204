"""Measures what an infrared image shows on a small grid: tone, contrast, bright and dark structures, edges.

Facts depend on the image's own range only, so a gain or an offset of the sensor changes none of them; an 8-bit image
has been scaled for display, so there, and only there, a narrow range counts as low contrast too.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .union_find import connected_components

PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
# Odd, so that a flip maps cells to cells; divisible by three, so that ninths are whole cells.
GRID_CELLS = 63
MIN_SIDE_PIXELS = 21
_GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ROBUST_PERCENTILES = (1.0, 99.0)
_STRUCTURE_MARGIN = 0.28  # distance from the median, in units of the robust range
_NOISE_SIGMAS = 4.0
_MIN_STRUCTURE_CELLS = 5
_COHERENT = 0.3  # correlation of neighbouring cells below which there are no shapes, only grain
_LOW_CONTRAST_LEVELS = 26  # a tenth of an 8-bit range
_EDGE_STEP = 0.2
_CLEAR_LEAD = 1.25  # how much more than the runner-up earns a superlative

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Structures:
    """Connected regions that are all brighter, or all darker, than the middle grey by a clear margin."""

    count: int = 0
    share: float = 0.0
    """Part of the image that they cover."""
    places: tuple[str, ...] = ()
    """Where each is, in reading order; only of one or two, and only if each keeps within half of the image."""
    main_place: str | None = None
    """Where most of their area is, if it is mostly in one ninth."""
    largest_share: float = 0.0
    largest_place: str | None = None
    """Where the largest is, if it is so by a clear lead and keeps within half of the image."""
    direction: str | None = None
    """How the largest runs, if it is long, thin, and the largest by a clear lead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InfraredFacts:
    """All that a rule-based caption may say of an infrared image."""

    is_uniform: bool
    """No shape stands out: a constant image, or grain."""
    is_grainy: bool
    """Uniform, but of pixels that differ by more than a display's narrow range."""
    contrast: str
    """`low`, `moderate` or `strong`."""
    tone: str
    """`dark`, `grey` or `bright` where that covers three fifths of the image, else `mixed`."""
    bright: Structures
    dark: Structures
    brighter_side: str | None
    """`left`, `right`, `top` or `bottom`, if that third is clearly brighter than the opposite one."""
    edges: str
    """`few`, `some` or `many`."""
    smoothest_place: str | None
    """The ninth with the fewest edges, by a clear lead."""
    busiest_place: str | None
    """The ninth with the most edges, by a clear lead."""


# Shapes: H height, W width, N grid cells a side, C cells in a structure
def describe_infrared(image: Image.Image | NDArray[Any]) -> InfraredFacts:
    """Measure one infrared image, 8- or 16-bit or float.

    Raises:
        ValueError: the image is not one channel of finite values, or smaller than MIN_SIDE_PIXELS.
    """
    values = grey_values(image)
    cells = _cell_means(values)
    low, high = np.percentile(cells, _ROBUST_PERCENTILES)
    spread = float(high - low)
    is_display = values.dtype == np.uint8
    is_narrow = is_display and spread < _LOW_CONTRAST_LEVELS
    extremes = float(cells.max() - cells.min())
    # Below this only the rounding of means is left.
    resolution = 1e-9 * max(abs(float(cells.max())), abs(float(cells.min())))
    if extremes <= resolution:
        return _uniform(is_grainy=bool(np.ptp(values) > (_LOW_CONTRAST_LEVELS if is_display else 0)))
    if spread <= resolution:  # a few spots on a constant ground
        low, spread = cells.min(), extremes
    # Rounded, so that a gain or an offset cannot move a cell across a threshold by its last bit.
    scaled = np.round((cells - low) / spread, 6)
    margin = max(_STRUCTURE_MARGIN, _NOISE_SIGMAS * _noise(scaled))
    middle = float(np.median(scaled))
    shape = values.shape[1] / values.shape[0]
    bright = _structures(scaled - middle > margin, shape)
    dark = _structures(middle - scaled > margin, shape)
    if bright.count == dark.count == 0 and _coherence(scaled) < _COHERENT:
        return _uniform(is_grainy=bool(np.ptp(values) > (_LOW_CONTRAST_LEVELS if is_display else 0)))
    clipped = scaled.clip(0, 1)
    edges, smoothest, busiest = _edges(clipped)
    return InfraredFacts(
        is_uniform=False,
        is_grainy=False,
        contrast="low" if is_narrow else _contrast(clipped, bright.count + dark.count),
        tone=_tone(clipped),
        bright=bright,
        dark=dark,
        brighter_side=_brighter_side(clipped),
        edges=edges,
        smoothest_place=smoothest,
        busiest_place=busiest,
    )


def grey_values(image: Image.Image | NDArray[Any]) -> NDArray[Any]:
    """Return the single channel (H, W) of an image: grey modes of Pillow, RGB of equal channels, or an array.

    Raises:
        ValueError: several channels that differ, values that are not finite numbers, or too few pixels.
    """
    if isinstance(image, Image.Image):
        if image.mode == "1":
            image = image.convert("L")
        if image.mode not in (*_GREY_MODES, "RGB"):
            raise ValueError(
                f"an infrared image has mode {image.mode!r}; wanted one of {', '.join(_GREY_MODES)}, or RGB of equal "
                "channels. Convert it first."
            )
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[2] in (1, 3):
        if not (values == values[..., :1]).all():
            raise ValueError("an infrared image has three channels that differ; it must be one channel.")
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uifb":
        raise ValueError(f"an infrared image is {values.shape} of {values.dtype}; wanted (height, width) of numbers.")
    if min(values.shape) < MIN_SIDE_PIXELS:
        raise ValueError(f"an infrared image is {values.shape}; each side must have {MIN_SIDE_PIXELS} pixels.")
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("an infrared image holds NaN or infinity; fill or crop the pixels without data first.")
        return values.astype(np.float64)
    return values


def _uniform(*, is_grainy: bool) -> InfraredFacts:
    return InfraredFacts(
        is_uniform=True,
        is_grainy=is_grainy,
        contrast="low",
        tone="mixed",
        bright=Structures(),
        dark=Structures(),
        brighter_side=None,
        edges="few",
        smoothest_place=None,
        busiest_place=None,
    )


def _cell_means(values: NDArray[Any]) -> Floats:
    """Means over N x N cells of whole pixels, symmetric under flips; exact sums for integers."""
    cells = min(GRID_CELLS, min(values.shape) // 6 * 6 + 3)
    cells -= 6 if cells > min(values.shape) else 0
    rows, columns = (_cell_edges(side, cells) for side in values.shape)
    kind = np.float64 if values.dtype.kind == "f" or values.dtype.itemsize > 4 else np.int64
    # Few rows are summed as whole vectors: several times faster than short runs along the row.
    strips = np.stack([values[a:b].sum(axis=0, dtype=kind) for a, b in pairwise(rows)])
    sums = np.add.reduceat(strips, columns[:-1], axis=1)
    area = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    means: Floats = sums / area
    return means


def _cell_edges(side: int, cells: int) -> NDArray[np.int64]:
    """Where cells begin and end; `cells` is odd, so the second half mirrors the first."""
    half = np.arange(cells // 2 + 1) * side // cells
    return np.concatenate([half, side - half[::-1]])


def _noise(scaled: Floats) -> float:
    """Spread of cells about their neighbours, from the median step: edges are few and do not count."""
    steps = np.concatenate([np.diff(scaled, axis=0).ravel(), np.diff(scaled, axis=1).ravel()])
    return float(1.4826 * np.median(np.abs(steps)) / np.sqrt(2))


def _coherence(scaled: Floats) -> float:
    """Correlation of neighbouring cells: near 0 for grain, near 1 for shapes larger than a cell."""
    centred = scaled - scaled.mean()
    power = float((centred**2).mean())
    down, across = (centred[1:] * centred[:-1]).mean(), (centred[:, 1:] * centred[:, :-1]).mean()
    return float(down + across) / (2 * power)


def _contrast(clipped: Floats, structures: int) -> str:
    """From the spread of grey levels; a structure that stands out makes a narrow spread moderate."""
    deviation = float(clipped.std())
    if deviation >= 0.3:
        return "strong"
    return "low" if deviation <= 0.17 and not structures else "moderate"


def _tone(clipped: Floats) -> str:
    dark, bright = float((clipped < 1 / 3).mean()), float((clipped > 2 / 3).mean())
    shares = {"dark": dark, "grey": 1 - dark - bright, "bright": bright}
    return next((tone for tone, share in shares.items() if share >= 0.6), "mixed")


def _brighter_side(clipped: Floats) -> str | None:
    third = len(clipped) // 3
    across = round(float(clipped[:, -third:].mean() - clipped[:, :third].mean()), 6)
    down = round(float(clipped[-third:].mean() - clipped[:third].mean()), 6)
    if max(abs(across), abs(down)) < 0.2 or abs(across) == abs(down):
        return None
    if abs(across) > abs(down):
        return "right" if across > 0 else "left"
    return "bottom" if down > 0 else "top"


def _edges(clipped: Floats) -> tuple[str, str | None, str | None]:
    """How many cells differ from the next but one by a clear step, and which ninth has the fewest and the most."""
    across = np.abs(clipped[:, 2:] - clipped[:, :-2])[1:-1]
    down = np.abs(clipped[2:] - clipped[:-2])[:, 1:-1]
    is_edge = np.pad(np.maximum(across, down) > _EDGE_STEP, 1)
    third = len(clipped) // 3
    ninths = is_edge.reshape(3, third, 3, third).mean(axis=(1, 3)).ravel()  # (9,)
    order = np.argsort(ninths)
    density = float(is_edge.mean())
    name = "few" if density < 0.06 else "many" if density > 0.25 else "some"
    smoothest = busiest = None
    if density > 0.03 and ninths[order[1]] > _CLEAR_LEAD * ninths[order[0]]:
        smoothest = _place(int(order[0]))
    if density > 0.03 and ninths[order[-1]] > _CLEAR_LEAD * ninths[order[-2]]:
        busiest = _place(int(order[-1]))
    return name, smoothest, busiest


def _structures(mask: NDArray[np.bool_], shape: float) -> Structures:
    """Facts of the connected regions of a mask; `shape` is width over height of the image."""
    labels = _labels(mask)  # one per set cell, in reading order
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = sizes >= _MIN_STRUCTURE_CELLS
    if not kept.any():
        return Structures()
    rows, columns = np.nonzero(mask)
    belongs = kept[inverse]
    side = len(mask)
    areas = np.sort(sizes[kept])[::-1]
    ninths = np.bincount(rows[belongs] * 3 // side * 3 + columns[belongs] * 3 // side, minlength=9)
    largest = inverse == int(np.argmax(np.where(kept, sizes, 0)))
    owns = [inverse == index for index in np.flatnonzero(kept)[:2]]
    ninths_of = [_ninth(rows[own], columns[own], side) for own in owns]
    places = [] if len(areas) > 2 or None in ninths_of else sorted(ninth for ninth in ninths_of if ninth is not None)
    leads = len(areas) == 1 or areas[0] > _CLEAR_LEAD * areas[1]
    largest_place = _ninth(rows[largest], columns[largest], side) if leads else None
    return Structures(
        count=len(areas),
        share=float(belongs.mean() * len(rows) / mask.size),
        places=tuple(_place(place) for place in places),
        main_place=_place(int(ninths.argmax())) if 2 * ninths.max() > ninths.sum() else None,
        largest_share=float(areas[0] / mask.size),
        largest_place=None if largest_place is None else _place(largest_place),
        direction=_direction(rows[largest], columns[largest], shape, side) if leads else None,
    )


def _labels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Component of each set cell, by its neighbours in all eight directions."""
    count = int(mask.sum())
    numbers = np.full((mask.shape[0] + 1, mask.shape[1] + 2), -1, dtype=np.int64)
    numbers[:-1, 1:-1][mask] = np.arange(count)
    here = numbers[:-1, 1:-1]
    neighbours = (numbers[:-1, 2:], numbers[1:, :-2], numbers[1:, 1:-1], numbers[1:, 2:])
    edges = []
    for there in neighbours:
        both = (here >= 0) & (there >= 0)
        edges.append(np.stack([here[both], there[both]], axis=1))
    return connected_components(count, np.concatenate(edges))


def _ninth(rows: NDArray[np.int64], columns: NDArray[np.int64], side: int) -> int | None:
    """The ninth that the middle of a region lies in; None for a region too long to be in one place."""
    if max(np.ptp(rows), np.ptp(columns)) >= side / 2:
        return None
    # Whole numbers, so that a flip cannot round a place to the other side.
    return 3 * _third(int(rows.sum()), len(rows), side) + _third(int(columns.sum()), len(columns), side)


def _third(total: int, count: int, side: int) -> int:
    """Which third the mean of `count` cell numbers lies in; a mean on the line belongs to the middle."""
    middle = 2 * total + count  # twice the sum of cell centres
    if 3 * middle < 2 * side * count:
        return 0
    return 2 if 3 * middle > 4 * side * count else 1


def _direction(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: float, side: int) -> str | None:
    """Name the axis of a long and thin region from its second moments."""
    x, y = columns * shape, rows.astype(np.float64)
    extent = max(np.ptp(columns), np.ptp(rows))
    if extent < side / 3:
        return None
    (a, b), (_, c) = np.cov(np.stack([x, y]), bias=True) + np.diag([shape**2, 1.0]) / 12  # cells are not points
    root = np.hypot((a - c) / 2, b)
    if (a + c) / 2 + root < 16 * ((a + c) / 2 - root):
        return None
    turn = float(np.degrees(np.arctan2(2 * b, a - c)) / 2) % 180
    if turn < 22.5 or turn >= 157.5:
        return "from left to right"
    if turn < 67.5:
        return "from the upper left to the lower right"
    return "from top to bottom" if turn < 112.5 else "from the lower left to the upper right"


def _place(ninth: int) -> str:
    return PLACES[ninth // 3][ninth % 3]
