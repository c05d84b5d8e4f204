"""Writes an infrared-aware caption from measured facts of the infrared image and what the scene caption says.

Needs no model. Nothing is said that `describe_infrared` did not measure; the scene caption loses what is true of the
RGB image only (colours, bright, dark), and the wording varies with the id of the row.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray
from PIL import Image

from .infrared_caption_filters import (
    find_colour,
    find_physical_claim,
    find_rgb,
    find_uncertainty,
    first_reason,
    is_title_case,
)
from .infrared_regions import InfraredFacts, Structures, describe_infrared
from .rejects import Reject

REASONS = ("unreadable_infrared", "empty_scene_caption", "unusable_scene_caption")
MAX_SCENE_WORDS = 36
# A longer scene caption comes second, so that a text tower that cuts at 77 tokens keeps the infrared clause.
_SCENE_WORDS_IN_FRONT = 24
_MAX_CLAUSE_WORDS = 40

_COLOURS = (
    r"(?:(?:light|dark|pale|deep|bright|vivid|dull|faint)[ -])?"
    r"(?:red|green|blue|yellow|orange(?!\s+(?:grove|orchard|plantation|farm)s?\b)|purple|pink|brown|golden|gold"
    r"|turquoise|cyan|magenta|violet|beige|crimson|scarlet|maroon|teal|indigo|lilac|ochre|khaki|tan|silver"
    r"|(?:redd|green|blu|yellow|brown|purpl|pink|orang|grey|gray|whit|black)e?n?ish|white|black|gr[ae]y|dark|bright"
    r"|colou?rful|multi-?colou?red)(?:[ -]colou?red)?"
)
_NOT_A_NOUN = (
    r"(?!(?:and|or|in|on|at|of|to|with|from|by|near|is|are|was|were|the|an?|but|as|than|while|which|that|ones?"
    r"|colou?rs?|tones?|next|beside|between|along|around)\b)"
)
_ATTRIBUTIVE_COLOUR = re.compile(
    rf"(?P<article>\ban?\s+)?(?<![\w-])(?P<colour>{_COLOURS})(?:(?:\s*,\s*(?:and\s+)?|\s+(?:and|or|&)\s+|\s+){_COLOURS})*"
    rf"(?:,?\s+(?:and|or)\s+|,\s*|[ -]){_NOT_A_NOUN}(?P<next>[^\W\d_])",
    re.IGNORECASE,
)
_GREEN_OF_A_GAME = re.compile(r"\b(?:golf|putting|bowling|village)\s+$", re.IGNORECASE)
_RGB_IMAGE = re.compile(
    r"\b(?:rgb|(?:true|natural|false)[ -]colou?r|colou?r|optical)\s+(?=(?:\w+ ){0,2}(?:image|photo|picture|view))", re.I
)
_TONE_OF_RGB = re.compile(r"\b(?:bright(?:er|est|ly)?|dark(?:er|est|ly)?|gr[ae]y(?:s|ish)?|white|black)\b")
_NOT_PROSE = re.compile(r"https?://\S+|\\[nt\"]|[{}\[\]<>|`\x00-\x1f\x7f-\x9f]")
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_])")
_CLAUSES = re.compile(r"\s*[,;:]\s+(?:and\s+)?|\s+(?=(?:while|whereas|with|beside|near|next to|around)\s)|\s+and\s+")
_Choice = TypeVar("_Choice")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class InfraredCaption:
    """A caption of the infrared image of one row."""

    row: int
    caption: str


def write_infrared_captions(
    images: Sequence[Image.Image | NDArray[Any]], scene_captions: Sequence[str], ids: Sequence[str]
) -> tuple[list[InfraredCaption], list[Reject]]:
    """Write one caption for each row of a batch; rows that cannot have one are rejects with their reason."""
    kept: list[InfraredCaption] = []
    rejects: list[Reject] = []
    for row, (image, scene_caption, name) in enumerate(zip(images, scene_captions, ids, strict=True)):
        if not scene_caption.strip():
            rejects.append(Reject(row, "empty_scene_caption"))
            continue
        try:
            facts = describe_infrared(image)
        except ValueError as error:
            rejects.append(Reject(row, "unreadable_infrared", str(error)))
            continue
        caption = write_infrared_caption(facts, scene_caption, name)
        reason = "nothing is left of it" if caption is None else first_reason(caption, scene_caption)
        if caption is None or reason is not None:
            rejects.append(Reject(row, "unusable_scene_caption", f"{reason}: {scene_caption[:200]}"))
        else:
            kept.append(InfraredCaption(row, caption))
    return kept, rejects


def write_infrared_caption(facts: InfraredFacts, scene_caption: str, name: str) -> str | None:
    """Return the caption of an image with these facts, or None if nothing of the scene caption can be said of it.

    Args:
        facts: from `describe_infrared`.
        scene_caption: what the scene holds.
        name: the id of the row, which chooses among wordings of the same facts.
    """
    scene = scene_statement(scene_caption)
    if scene is None:
        return None
    choices = _Choices(name)
    clause = infrared_clause(facts, name)
    view = choices.pick("in the infrared image", "in infrared", "in the infrared view", "seen in infrared")
    is_long = len(scene.split()) > _SCENE_WORDS_IN_FRONT
    if is_long or choices.pick("behind", "behind", "in front") == "in front":
        return f"{_capital(view)}, {clause}. {scene}."
    return choices.pick(f"{scene}; {view}, {clause}.", f"{scene}. {_capital(view)}, {clause}.")


def scene_statement(scene_caption: str) -> str | None:
    """What a scene caption says that the infrared image does not contradict, without its full stop.

    Colours before a noun are left out; a clause, and then a sentence, that still speaks of colours, tones, heat,
    materials or guesses is dropped; what is too long ends after a clause.
    """
    text = " ".join(_NOT_PROSE.sub(" ", scene_caption).split())
    text = _without_colours(_RGB_IMAGE.sub("", text))
    kept: list[str] = []
    for sentence in _SENTENCES.split(text):
        statement = _without_bad_clauses(sentence.strip(" .!?;,:"), MAX_SCENE_WORDS - sum(len(s.split()) for s in kept))
        if re.search(r"[^\W\d_]", statement):
            kept.append(_capital(statement))
    return ". ".join(kept) or None


def infrared_clause(facts: InfraredFacts, name: str) -> str:
    """Say the facts in one clause of at most 40 words."""
    choices = _Choices(name)
    if facts.is_uniform and facts.is_grainy:
        return choices.pick(
            "an even, grainy texture fills the frame without distinct bright or dark structures",
            "the frame has a grainy texture throughout and no bright or dark structure stands out",
        )
    if facts.is_uniform:
        return choices.pick(
            "contrast is low and the frame is even, without distinct bright or dark structures",
            "the frame is of one even tone with low contrast, and no bright or dark structure stands out",
        )
    structures = [_structures(facts.bright, "bright"), _structures(facts.dark, "dark")]
    if choices.pick("bright first", "dark first") == "dark first":
        structures.reverse()
    phrases = [phrase for phrase in structures if phrase]
    link = choices.pick(", with ", ", showing ")
    tone, extras = _tone(facts, choices), _texture(facts, choices)
    while True:
        listed = " and ".join(phrases).rstrip(",")
        clause = "; ".join([tone + (link + listed if listed else ", without distinct structures"), *extras])
        if len(clause.split()) <= _MAX_CLAUSE_WORDS:
            return clause
        (extras or phrases).pop()


def _tone(facts: InfraredFacts, choices: "_Choices") -> str:
    wording = "tones are mixed", "most of the frame is {}"
    if choices.pick("second", "first") == "second":
        wording = "no tone prevails", "{} tones prevail"
    share = wording[0] if facts.tone == "mixed" else wording[1].format(facts.tone)
    return f"{share} and contrast is {facts.contrast}"


def _structures(found: Structures, tone: str) -> str:
    """ "one small bright structure in the upper left"."""
    if not found.count:
        return ""
    if found.count == 1:
        size = "small " if found.largest_share < 0.01 else "large " if found.largest_share > 0.15 else ""
        if found.direction:
            return f"one long {tone} structure running {found.direction}"
        return f"one {size}{tone} structure{_at(*found.places)}"
    number = _NUMBERS[found.count] if found.count < len(_NUMBERS) else "many"
    size = "small " if found.largest_share < 0.01 else ""
    phrase = f"{number} {size}{tone} structures"
    if len(set(found.places)) == 2:
        return f"{phrase}, {found.places[0]} and {found.places[1]},"
    if found.places:
        return f"{phrase}{_at(found.places[0])}"
    if found.direction:
        return f"{phrase}, the largest running {found.direction},"
    if found.main_place:
        return f"{phrase} mostly {found.main_place}"
    return f"{phrase}, the largest {found.largest_place}," if found.largest_place else phrase


def _at(*places: str) -> str:
    return "".join(f" {place}" for place in places)


def _texture(facts: InfraredFacts, choices: "_Choices") -> list[str]:
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    parts = []
    if facts.brighter_side:
        other = opposite[facts.brighter_side]
        parts.append(f"the {facts.brighter_side} is brighter than the {other}")
    if facts.busiest_place:
        parts.append(choices.pick("edges are densest ", "edges gather ") + facts.busiest_place)
    elif facts.smoothest_place:
        parts.append(choices.pick("texture is lowest ", "the least textured part is ") + facts.smoothest_place)
    else:
        number = {"few": "edges are few", "some": "edges are moderate in number", "many": "edges are many"}
        parts.append(number[facts.edges])
    return parts


def _without_colours(text: str) -> str:
    """Drop colours and tones that stand before what they describe, and mend the article; names keep theirs."""
    titled = is_title_case(text)

    def drop(match: re.Match[str]) -> str:
        is_name = match["colour"].istitle() and match["next"].isupper() and not titled
        if is_name or _GREEN_OF_A_GAME.search(text[: match.start("colour")]):
            return match[0]
        article = ""
        if match["article"]:
            article = "an " if match["next"].lower() in "aeiou" else "a "
        starts = match["article"] or match["colour"]
        kept = article + match["next"]
        is_start = not text[: match.start()].rstrip() or text[: match.start()].rstrip()[-1] in ".!?"
        return _capital(kept) if is_start and starts[0].isupper() else kept

    return _ATTRIBUTIVE_COLOUR.sub(drop, text)


def _without_bad_clauses(sentence: str, max_words: int) -> str:
    """The sentence, or as many of its clauses as can be said, if the first can."""
    if not _is_bad(sentence) and len(sentence.split()) <= max_words:
        return sentence
    clauses = [clause for clause in _CLAUSES.split(sentence) if clause]
    kept: list[str] = []
    for clause in clauses:
        is_bad = _is_bad(clause) or len(" ".join([*kept, clause]).split()) > max_words
        if is_bad and not kept:
            return ""
        if not is_bad:
            kept.append(clause)
    return ", ".join(kept)


def _is_bad(text: str) -> bool:
    checks = (find_physical_claim, find_colour, find_uncertainty, find_rgb)
    return any(check(text) for check in checks) or _TONE_OF_RGB.search(text) is not None


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


class _Choices:
    """Draws wordings from the digits of the hash of a name, one after the other."""

    def __init__(self, name: str) -> None:
        self._digits = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest())

    def pick(self, *options: _Choice) -> _Choice:
        self._digits, choice = divmod(self._digits, len(options))
        return options[choice]
