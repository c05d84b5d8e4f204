"""Selects web captions that speak of remote sensing: the 42 keywords of RS5M, in one compiled matcher.

Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300, Appendix B2. The paper's typing is kept, "Freesound"
included. A keyword that ends in a stem ("aerial imag") takes any ending, as published, but for words that are
another word altogether: "aerial pickup", "satellite imagination", "aerial maple".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .rejects import Reject

CITATION = "arXiv:2306.11300, Appendix B2"

# Group 1, 27 keywords: what the image is.
IMAGE_KEYWORDS = (
    "remote sensing",
    "earth observ",
    *(f"aerial {noun}" for noun in ("imag", "photo", "map", "pic", "view", "scan", "satellite")),
    *(f"satellite {noun}" for noun in ("imag", "photo", "map", "pic", "view", "scan", "data", "surveillance")),
    *(f"{place} {noun}" for noun in ("photo", "imag", "view") for place in ("space", "spaceborne", "space-borne")),
    "space surveillance",
)
# Group 2, 15 keywords: where the image is from.
SENSOR_KEYWORDS = (
    "Google Earth",
    "Freesound",
    "Sentinel-1",
    "Sentinel-2",
    "Gaofen",
    "USGS",
    "NAIP",
    "MODIS",
    "EOSDIS",
    "WorldView",
    "Planet Dove",
    "ArcGIS",
    "Maxar",
    "Landsat",
    "Geographic Information System",
)
KEYWORDS = IMAGE_KEYWORDS + SENSOR_KEYWORDS

REASONS = ("empty_caption", "no_keyword")

# Endings of the last word of a keyword. Where none is given, the word may be a plural and must end.
_ANY_ENDING = r"\w*"
_WORD_END = r"(?![^\W_])"
_ENDINGS = {
    "imag": r"(?!in(?!g)|o)" + _ANY_ENDING,  # imaging; not imagine, imago
    "photo": r"(?!n|s(?:yn|en)|cop|el|v)" + _ANY_ENDING,  # photograph; not photon, photocopy, photovoltaic
    "map": r"(?!le)" + _ANY_ENDING,
    "pic": r"(?!k|n|co|e)" + _ANY_ENDING,  # picture; not pickup, picnic, piece
    "scan": r"(?![dt])" + _ANY_ENDING,  # scanner; not scandal, scant
    "observ": _ANY_ENDING,
    "view": _ANY_ENDING,
    "data": _ANY_ENDING,
    "surveillance": _ANY_ENDING,
    # One letter names the satellite (Sentinel-1A); Sentinel-10 is something else.
    "1": r"[a-d]?" + _WORD_END,
    "2": r"[a-d]?" + _WORD_END,
    # A number names the satellite: Landsat8, WorldView2, GaoFen1.
    "Gaofen": r"\d*" + _WORD_END,
    "WorldView": r"\d*" + _WORD_END,
    "Landsat": r"s?\d*" + _WORD_END,
}
_PLURAL = r"s?" + _WORD_END


@dataclass(frozen=True, slots=True)
class KeywordHit:
    """A caption that is kept, and the keyword that comes first in it."""

    row: int
    keyword: str


def find_keyword(caption: str) -> str | None:
    """Return the published keyword that the caption names first, or None."""
    match = _MATCHER.search(caption)
    return None if match is None or match.lastindex is None else _KEYWORD_OF_GROUP[match.lastindex - 1]


def select_by_keyword(captions: Sequence[str | None]) -> tuple[list[KeywordHit], list[Reject]]:
    """Split a batch of captions into those that name a keyword, and rejects with their reason."""
    kept: list[KeywordHit] = []
    rejects: list[Reject] = []
    for row, caption in enumerate(captions):
        if caption is None or not caption.strip():
            rejects.append(Reject(row, "empty_caption"))
        elif keyword := find_keyword(caption):
            kept.append(KeywordHit(row, keyword))
        else:
            rejects.append(Reject(row, "no_keyword", caption[:200]))
    return kept, rejects


def _rest(keyword: str) -> str:
    """The expression of a keyword after its first word: blanks may be any white space, hyphen or underscore."""
    first, *words = re.split(r"[ -]", keyword)
    gap = r"[\s_-]*" if words and words[-1].isdigit() else r"[\s_-]+"
    return "".join(gap + re.escape(word) for word in words) + _ENDINGS.get(words[-1] if words else first, _PLURAL)


def _compile(keywords: Sequence[str]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """Return one matcher, and the keyword of each of its groups.

    The pattern begins with the set of first letters, in both cases, because that is what `re` can skip to without
    trying to match; first words are shared by their keywords. An underscore does not count as part of a word,
    because captions of the web are often file names.
    """
    by_first_word: dict[str, list[str]] = {}
    for keyword in keywords:
        by_first_word.setdefault(re.split(r"[ -]", keyword)[0].lower(), []).append(keyword)
    starts = "".join(sorted({letter for word in by_first_word for letter in (word[0], word[0].upper())}))
    alternatives = "|".join(
        f"(?<={word[0]}){word[1:]}(?:{'|'.join(f'({_rest(keyword)})' for keyword in group)})"
        for word, group in by_first_word.items()
    )
    matcher = re.compile(rf"[{starts}](?<![^\W_].)(?i:{alternatives})", re.DOTALL)
    return matcher, tuple(keyword for group in by_first_word.values() for keyword in group)


_MATCHER, _KEYWORD_OF_GROUP = _compile(KEYWORDS)
