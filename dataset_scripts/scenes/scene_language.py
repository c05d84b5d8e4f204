"""Words of captions: numbers, plurals, lists, and places in the image."""

import math
from collections.abc import Sequence

from .scene_graph import Point

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
_PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)


def number_word(count: int) -> str:
    """Spell a number up to twenty; larger ones stay digits."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def plural(noun: str) -> str:
    """The plural of a noun phrase whose last word is regular."""
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def counted(count: int, noun: str) -> str:
    """ "one tank", "two tanks"."""
    return f"{number_word(count)} {noun if count == 1 else plural(noun)}"


def with_article(phrase: str) -> str:
    """ "a runway", "an apron"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def listed(phrases: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def sentence(text: str) -> str:
    """Start with a capital, end with a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def place_name(point: Point, extent: float) -> str:
    """Which ninth of the image a point lies in, such as "in the upper left"."""
    column, row = (min(2, max(0, int(value / extent * 3))) for value in point)
    return _PLACES[row][column]


def direction_name(first: Point, second: Point) -> str:
    """How a straight thing runs through the image."""
    turn = math.degrees(math.atan2(second[1] - first[1], second[0] - first[0])) % 180
    if turn < 22.5 or turn >= 157.5:
        return "from left to right"
    if turn < 67.5:
        return "from the upper left to the lower right"
    return "from top to bottom" if turn < 112.5 else "from the lower left to the upper right"


def share_of(part: int, whole: int, noun: str) -> str:
    """ "two of the five tanks", "both ships", "all four cars", "the only airplane"."""
    if whole == 1:
        return f"the {noun}"
    if part == whole:
        return f"both {plural(noun)}" if whole == 2 else f"all {counted(whole, noun)}"
    return f"{number_word(part)} of the {counted(whole, noun)}"
