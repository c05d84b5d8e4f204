"""Says where a box lies in an image, in the words of a 3 x 3 grid.

The first block is the one that the box overlaps most. A second is named only when a good share of the box lies in
it, never because of a tie at zero, and it always touches the first along an edge. (RS5M names two blocks always,
which made 52 % of its fMoW locations false.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

_ROWS = ("top", "", "bottom")
_COLUMNS = ("left", "", "right")
# Row by row; "center" is spelled as in the captions of the benchmarks.
BLOCKS = tuple(
    "-".join(word for word in (row, column) if word) or "center"
    for row in _ROWS
    for column in _COLUMNS
)  # fmt: skip
MOST = "most"
# Boxes that were cut at the border in floating point may stick out by this much.
_ROUNDING_PIXELS = Fraction(1, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """When a location is said, and how."""

    second_share: float = 0.25
    """Least share of the box that lies in a second block for the block to be named."""
    most_share: float = 0.5
    """Share of the image above which the box is said to cover most of it, instead of naming blocks."""

    def __post_init__(self) -> None:
        if not 0 < self.second_share <= 0.5:
            raise ValueError(f"second_share is {self.second_share}; it must be above 0 and at most 0.5.")
        if not 0.5 <= self.most_share <= 1:
            raise ValueError(
                f"most_share is {self.most_share}; it must be at least 0.5, or 'most of the image' would be false, "
                "and at most 1."
            )


DEFAULT_GRID = GridSettings()


def locate_box(
    box: Sequence[float], image_width: int, image_height: int, settings: GridSettings = DEFAULT_GRID
) -> tuple[str, ...]:
    """Return the name of one block, of two that share an edge, or `("most",)`.

    Args:
        box: x, y, width and height in pixels, x and y of the upper left corner; within the image.
        image_width: Pixels.
        image_height: Pixels.
        settings: When a second block is named.
    """
    # Fractions, because shares that are equal must compare as equal: ties have a rule.
    left, top, width, height = (Fraction(value) for value in box)
    beyond = max(left + width - image_width, top + height - image_height)
    if min(left, top) < 0 or min(width, height) <= 0 or beyond > _ROUNDING_PIXELS:
        raise ValueError(f"box {tuple(box)} is empty or not within its image of {image_width}x{image_height} pixels.")
    if width * height > Fraction(settings.most_share) * image_width * image_height:
        return (MOST,)
    columns = _shares(left, width, image_width)
    rows = _shares(top, height, image_height)
    row, column = _largest(rows), _largest(columns)
    # The overlap with a block is a product, so a second block is a step along one axis, to the larger neighbour.
    steps = [(columns[column] * rows[other], other, column) for other in _neighbours(row)]
    steps += [(rows[row] * columns[other], row, other) for other in _neighbours(column)]
    share, second_row, second_column = max(steps, key=lambda step: (step[0], -step[1], -step[2]))
    first = BLOCKS[3 * row + column]
    return (first, BLOCKS[3 * second_row + second_column]) if share >= Fraction(settings.second_share) else (first,)


def are_neighbours(first: str, second: str) -> bool:
    """Whether two blocks share an edge."""
    (row, column), (other_row, other_column) = (divmod(BLOCKS.index(block), 3) for block in (first, second))
    return abs(row - other_row) + abs(column - other_column) == 1


def _shares(start: Fraction, length: Fraction, size: int) -> tuple[Fraction, ...]:
    """Shares of an interval that lie in each third of an axis."""
    cuts = [Fraction(size * third, 3) for third in range(4)]
    return tuple(
        max(Fraction(0), min(start + length, end) - max(start, begin)) / length for begin, end in pairwise(cuts)
    )


def _largest(shares: Sequence[Fraction]) -> int:
    """The third with the largest share; of equal ones the middle, then the first."""
    return max((1, 0, 2), key=lambda third: shares[third])


def _neighbours(third: int) -> tuple[int, ...]:
    return (0, 2) if third == 1 else (1,)
