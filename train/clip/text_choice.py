"""Which text a row shows, and how it is kept within the tokens of the tower: whole sentences, never half a fact."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..data.draw import pick

# A sentence ends behind a word of three letters or more (so not behind `approx.` before a number, nor behind `St.`).
SENTENCE_END = re.compile(r"(?<=\w\w\w[.!?])\s+(?=[A-Z\"'(])")
CLAUSE_END = re.compile(r"(?=[,;:] )")
CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class RowTexts:
    """What a row can be described with.

    Attributes:
        conventional: Captions of the scene.
        infrared_aware: Captions that say what the infrared shows; may be empty.
        detail: What `mixed` adds to a scene caption; may be empty.
    """

    conventional: tuple[str, ...]
    infrared_aware: tuple[str, ...] = ()
    detail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A text within the limit, and what was left out of it, sentence by sentence."""

    text: str
    left_out: tuple[str, ...] = ()


def choose_kind(choices: Sequence[str], generator: torch.Generator) -> str:
    """One of the choices; nothing is drawn where there is one."""
    return choices[0] if len(choices) == 1 else pick(tuple(choices), generator)


def draw_parts(texts: RowTexts, kind: str, generator: torch.Generator) -> tuple[str, ...]:
    """One caption of a kind, for `mixed` a scene caption and a detail; empty where the row has none.

    Args:
        texts: The row's texts.
        kind: `conventional`, `infrared_aware` or `mixed`.
        generator: Where randomness comes from.
    """
    match kind:
        case "conventional":
            return (pick(texts.conventional, generator),)
        case "infrared_aware":
            # Drawn from for every row, so that one row's captions do not change what another draw of it gives.
            return tuple(text for text in (pick(texts.infrared_aware or ("",), generator),) if text)
        case "mixed":
            scene, detail = pick(texts.conventional, generator), pick(texts.detail or ("",), generator)
            return tuple(text for text in (scene, detail) if text)
    raise ValueError(f"text choice is {kind!r}; wanted conventional, infrared_aware or mixed.")


def fit_text(parts: Sequence[str], count_tokens: CountTokens, limit: int) -> Fitted:
    """Joins texts within a number of tokens.

    As many whole sentences as fit are kept, in the order first sentence of the first text, first of the second, second
    of the first, and so on; they are written text by text. Where the very first sentence does not fit, it stands alone
    and ends at its last clause that does, without one at its last word, and a word that is too long at a character.

    Args:
        parts: Texts in the order in which they are written.
        count_tokens: Tokens of a text, marks of start and end included.
        limit: Tokens that the text tower reads.
    """
    whole = _join(parts)
    if count_tokens(whole) <= limit:
        return Fitted(whole)
    sentences = [SENTENCE_END.split(part.strip()) for part in parts]
    turns = sorted(
        (number, part) for part, found in enumerate(sentences) for number in range(len(found))
    )  # first sentences of all parts, then second ones
    first = sentences[0][0]
    if count_tokens(first) > limit:
        text = _shortened(first, count_tokens, limit)
        return Fitted(text, (first[len(text) :].strip(), *(sentences[part][number] for number, part in turns[1:])))
    kept: list[tuple[int, int]] = []
    for turn in turns:
        if count_tokens(_written(sentences, [*kept, turn])) <= limit:
            kept.append(turn)
    left_out = tuple(sentences[part][number] for number, part in turns if (number, part) not in kept)
    return Fitted(_written(sentences, kept), left_out)


def _written(sentences: list[list[str]], turns: list[tuple[int, int]]) -> str:
    chosen = sorted((part, number) for number, part in turns)
    return _join([sentences[part][number] for part, number in chosen])


def _join(parts: Sequence[str]) -> str:
    """Texts one after another, each but the last with a mark at its end."""
    *before, last = [part.strip() for part in parts]
    return " ".join([*(part if part[-1] in ".!?" else f"{part}." for part in before), last])


def _shortened(sentence: str, count_tokens: CountTokens, limit: int) -> str:
    """The longest beginning that fits: of whole clauses, else of whole words, else of characters."""
    clauses = [found.start() for found in CLAUSE_END.finditer(sentence)]
    words = [found.start() for found in re.finditer(r"(?= )", sentence)]
    for ends in (clauses, words, list(range(1, len(sentence)))):
        fitting = _last_fitting(sentence, ends, count_tokens, limit)
        if fitting:
            return fitting
    raise ValueError(f"not one character of {sentence[:40]!r} fits into {limit} tokens.")


def _last_fitting(sentence: str, ends: list[int], count_tokens: CountTokens, limit: int) -> str:
    """Binary search: longer beginnings have more tokens."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(sentence[: ends[middle]]) <= limit:
            low = middle + 1
        else:
            high = middle
    return sentence[: ends[low - 1]] if low else ""
