"""Answers to questions: exact match, token F1, and what a parser that tolerates format reads.

`parse_as_published` reads as code/benchmark/score_hit_uav_real_vqa.py of frozy129/FusionRS at 43d9d82 does, with its
faults, for comparison with its table; `parse` has them corrected. docs/evaluation-text.md lists them.
"""

import re
import string

from ..captions.fusionrs_score import ARTICLES, bag_f1, words
from .questions import NUMBER_WORDS, Question

_PUBLISHED_REGIONS = (
    *("upper left", "upper right", "lower left", "lower right", "center", "upper", "lower", "left", "right"),
)
_PUBLISHED_CLASSES = ("other vehicle", "bicycle", "person", "car", "none")
_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))
_TENS = {
    word: 10 * ten
    for ten, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2)
}
_NUMBERS = {word: n for n, word in enumerate(NUMBER_WORDS)} | _TENS
_DIGITS = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w,])|(?<![\w.])\d+(?!\.?\d|\w)")
_TENS_AND_ONES = re.compile(rf"\b({'|'.join(_TENS)})[ -]({'|'.join(NUMBER_WORDS[1:10])})\b")
_VERTICAL = {"upper": "upper", "top": "upper", "lower": "lower", "bottom": "lower"}
_HORIZONTAL = {"left": "left", "right": "right"}
_MIDDLE = frozenset(("center", "centre", "middle", "central"))
_OTHER_SPELLINGS = {"person": ("people",), "bicycle": ("bike",), "none": ("no objects", "no object")}


def normalise(text: str) -> str:
    """Lower case, punctuation to spaces, without articles: the FusionRS benchmark's form of an answer."""
    return " ".join(word for word in text.lower().translate(_SPACES).split() if word not in ARTICLES)


def exact_match(question: Question, text: str) -> bool:
    """Strict: the whole text is an accepted answer. Format is part of the task."""
    return normalise(text) in {normalise(answer) for answer in question.answers}


def token_f1(question: Question, text: str) -> float:
    """F1 of the words, articles left out, the best over the accepted answers."""
    said = words(normalise(text))
    return max(bag_f1(said, words(normalise(answer))) for answer in question.answers)


def parse_as_published(question: Question, text: str) -> str | None:
    """The answer the published parser reads, None where it reads none.

    Only its four types; for others there is no published parser.
    """
    text = " ".join(words(text))
    match question.type:
        case "object_presence":
            return next((word for word in text.split() if word in ("yes", "no")), None)
        case "object_count":
            digits = re.search(r"\b\d+\b", text)
            if digits:
                return str(int(digits.group()))
            # Each number word is looked for in turn, so of "ten or two" it reads two.
            return next((str(n) for n, word in enumerate(NUMBER_WORDS) if re.search(rf"\b{word}\b", text)), None)
        case "group_location":
            text = text.replace("top", "upper").replace("bottom", "lower").replace("centre", "center")
            return next((name.replace(" ", "-") for name in _PUBLISHED_REGIONS if name in text), None)
        case "dominant_object_class":
            return next((name for name in _PUBLISHED_CLASSES if name in text), None)
        case _:
            raise ValueError(f"question {question.id!r} is of type {question.type!r}, which was never published.")


def parse(question: Question, text: str) -> str | None:
    """The answer a text gives, None where it gives none or several that differ.

    Whole words only, with plurals; a text that names two of the possible answers has not chosen.
    """
    match question.type:
        case "object_count":
            return _only(_numbers(text.lower()))
        case "group_location":
            return _location(words(text))
        case _:
            return _only(_named(question.choices, " ".join(words(text))))


def is_right(question: Question, answer: str | None) -> bool:
    """Whether a parsed answer is the canonical one."""
    return answer is not None and answer == question.answers[0].lower()


def _only(answers: set[str]) -> str | None:
    return answers.pop() if len(answers) == 1 else None


def _numbers(text: str) -> set[str]:
    found = {str(int(digits.replace(",", ""))) for digits in _DIGITS.findall(text)}
    composed = _TENS_AND_ONES.findall(text)
    found |= {str(_NUMBERS[ten] + _NUMBERS[one]) for ten, one in composed}
    return found | {str(_NUMBERS[word]) for word in words(_TENS_AND_ONES.sub(" ", text)) if word in _NUMBERS}


def _location(said: list[str]) -> str | None:
    """`upper center` is upper and `center left` is left, as the grid names its cells."""
    vertical = {_VERTICAL[word] for word in said if word in _VERTICAL}
    horizontal = {_HORIZONTAL[word] for word in said if word in _HORIZONTAL}
    if len(vertical) > 1 or len(horizontal) > 1:
        return None
    if vertical or horizontal:
        return "-".join(sorted(vertical) + sorted(horizontal))
    return "center" if _MIDDLE & set(said) else None


def _named(choices: tuple[str, ...], text: str) -> set[str]:
    """The choices a text names; the longest first, so that `dense residential` is not also `residential`."""
    named = set()
    spellings = [(spelling, choice) for choice in choices for spelling in (choice, *_OTHER_SPELLINGS.get(choice, ()))]
    for spelling, choice in sorted(spellings, key=lambda pair: -len(pair[0])):
        text, count = re.subn(rf"\b{re.escape(' '.join(words(spelling)))}(?:s|es)?\b", " | ", text)
        if count:
            named.add(choice)
    return named
