"""Warns of captions whose parts lie beyond what a text tower reads: 77 tokens of CLIP, 64 of SigLIP.

A caption that is too long is cut in silence, so a part at its end may never be seen in training. In RS5M the machine
caption of every fMoW row begins after token 100, and no CLIP model read one. Positions count the special tokens that
the tokenizer puts around a caption, since they take places too.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

CLIP_TOKENS = 77
SIGLIP_TOKENS = 64
# Rows that are encoded at a time: enough for the threads of a tokenizer, little enough memory.
_ROWS_PER_BATCH = 1000

Offsets = Sequence[tuple[int, int]]
"""Begin and end, in characters, of each token, in order; special tokens are those of no width."""


@dataclass(frozen=True, slots=True)
class CaptionSpan:
    """A part of a caption, by its characters."""

    kind: str
    """What the part is: `metadata`, `machine`, `web`, ..."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenWarning:
    """A part of a caption that a text tower does not read, or not wholly."""

    row: int
    kind: str
    extent: str
    """`wholly` or `partly`: how much of the part is lost."""
    start_token: int
    """Place of the part's first token, counted from 0 at the first special token."""
    tokens: int
    """Tokens of the part."""
    lost_tokens: int
    limit: int
    is_estimate: bool
    """Whether the tokens were estimated, because no tokenizer was given."""


@dataclass(frozen=True, slots=True)
class TokenSummary:
    """What becomes of the parts of one kind."""

    kind: str
    rows: int
    """Parts of this kind."""
    wholly_lost: float
    """Share of the parts that lie wholly beyond the limit."""
    partly_lost: float
    """Share of the parts that the limit cuts."""
    median_start_token: float
    limit: int
    is_estimate: bool

    def __str__(self) -> str:
        estimate = " (an estimate, no tokenizer was given)" if self.is_estimate else ""
        return (
            f"{self.kind}: {self.wholly_lost:.1%} of {self.rows} lie wholly and {self.partly_lost:.1%} partly beyond "
            f"{self.limit} tokens; the median starts at token {self.median_start_token:g}{estimate}"
        )


def join_parts(parts: Sequence[tuple[str, str]], separator: str = " ") -> tuple[str, list[CaptionSpan]]:
    """Return the caption made of (kind, text) parts, and where each part is in it."""
    spans: list[CaptionSpan] = []
    text = ""
    for place, (kind, part) in enumerate(parts):
        text += separator if place else ""
        spans.append(CaptionSpan(kind, len(text), len(text) + len(part)))
        text += part
    return text, spans


def lint_token_limit(
    captions: Sequence[Sequence[tuple[str, str]]] | Sequence[tuple[str, Sequence[CaptionSpan]]],
    tokenizer: Any | None = None,
    *,
    limit: int = CLIP_TOKENS,
    separator: str = " ",
) -> tuple[list[TokenWarning], list[TokenSummary]]:
    """Find the parts of captions that a text tower cuts off.

    Args:
        captions: Each the (kind, text) parts of a caption, in order; or its text and the spans that matter.
        tokenizer: A tokenizer of transformers; or a function from a text to the Offsets of its tokens with the special
            ones; or None to estimate, see `estimate_offsets`.
        limit: Tokens that the text tower reads, special ones included. The end token is kept when a caption is cut.
        separator: What stands between the parts.

    Returns:
        A warning for each part that is not read whole, in the order of the rows; and a summary for each kind.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    rows = [_text_and_spans(caption, separator) for caption in captions]
    warnings: list[TokenWarning] = []
    starts: dict[str, list[int]] = defaultdict(list)
    lost: dict[tuple[str, str], int] = defaultdict(int)
    offsets_of_rows = _offsets_of([text for text, _ in rows], tokenizer)
    for row, ((_, spans), offsets) in enumerate(zip(rows, offsets_of_rows, strict=True)):
        content = [place for place, (start, end) in enumerate(offsets) if end > start]
        # Special tokens keep their places when a caption is cut, so so many fewer are left for words.
        read = max(0, limit - (len(offsets) - len(content)))
        for span in spans:
            first = bisect_right(content, span.start, key=lambda place: offsets[place][1])
            end = bisect_left(content, span.end, key=lambda place: offsets[place][0])
            if first >= end:
                continue
            starts[span.kind].append(content[first])
            lost_tokens = min(end - first, max(0, end - read))
            if lost_tokens:
                extent = "wholly" if lost_tokens == end - first else "partly"
                lost[span.kind, extent] += 1
                counts = (content[first], end - first, lost_tokens)
                warnings.append(TokenWarning(row, span.kind, extent, *counts, limit, is_estimate=tokenizer is None))
    summaries = [
        TokenSummary(
            kind,
            len(places),
            lost[kind, "wholly"] / len(places),
            lost[kind, "partly"] / len(places),
            float(median(places)),
            limit,
            is_estimate=tokenizer is None,
        )
        for kind, places in sorted(starts.items())
    ]
    return warnings, summaries


def estimate_offsets(text: str) -> list[tuple[int, int]]:
    """Estimate the tokens of a text, with one special token at each end.

    Meant to be too many rather than too few: one token for each digit and sign, one for each four letters begun of a
    word in basic Latin letters, and one for each byte of other letters.
    """
    offsets = [(0, 0)]
    for match in _PIECES.finditer(text):
        start, end = match.span()
        if match.lastgroup == "word":
            offsets += [(begin, min(begin + 4, end)) for begin in range(start, end, 4)]
        else:
            offsets += [(start, end)] * len(match[0].encode("utf-8", "surrogatepass"))
    return [*offsets, (len(text), len(text))]


_PIECES = re.compile(r"(?P<word>[A-Za-z]+)|(?P<sign>\S)")


def counter_of(tokenizer: Any) -> Callable[[str], int]:
    """Return the function from a text to its number of tokens, special ones included, of a transformers tokenizer."""
    return lambda text: len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def _text_and_spans(caption: Any, separator: str) -> tuple[str, list[CaptionSpan]]:
    if len(caption) == 2 and isinstance(caption[0], str):
        text, spans = caption[0], list(caption[1])
        for span in spans:
            if not isinstance(span, CaptionSpan) or not 0 <= span.start <= span.end <= len(text):
                raise ValueError(f"{span!r} is no CaptionSpan within its text of {len(text)} characters.")
        return text, spans
    return join_parts(caption, separator)


def _offsets_of(texts: Sequence[str], tokenizer: Any | None) -> Iterator[Offsets]:
    if tokenizer is None:
        yield from map(estimate_offsets, texts)
        return
    # Here, because this import takes seconds, and an estimate needs none of it.
    from transformers import PreTrainedTokenizerBase

    if isinstance(tokenizer, PreTrainedTokenizerBase):
        yield from _offsets_of_transformers(texts, tokenizer)
    else:
        yield from map(tokenizer, texts)


def _offsets_of_transformers(texts: Sequence[str], tokenizer: Any) -> Iterator[Offsets]:
    if tokenizer.truncation_side != "right":
        raise ValueError(
            f"the tokenizer cuts captions on the {tokenizer.truncation_side}; only what is cut on the right is judged."
        )
    if not tokenizer.is_fast:
        yield from (_offsets_of_slow(text, tokenizer) for text in texts)
        return
    for first in range(0, len(texts), _ROWS_PER_BATCH):
        batch = tokenizer(
            list(texts[first : first + _ROWS_PER_BATCH]),
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        for offsets, special in zip(batch["offset_mapping"], batch["special_tokens_mask"], strict=True):
            yield _mark_special(offsets, special)


def _mark_special(offsets: Offsets, special: Iterable[int]) -> Offsets:
    """Special tokens get no width, and others at least one character: a blank of its own is a token too."""
    return [
        (start, start) if is_special else (start, max(end, start + 1))
        for (start, end), is_special in zip(offsets, special, strict=True)
    ]


def _offsets_of_slow(text: str, tokenizer: Any) -> Offsets:
    """Offsets by words: a tokenizer without offsets is asked for the length of each prefix that ends with a word."""
    specials = tokenizer.num_special_tokens_to_add()
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    counts = [len(tokenizer(text[:end], truncation=False, verbose=False)["input_ids"]) - specials for end in ends]
    offsets: list[tuple[int, int]] = []
    before = 0
    for end, count in zip(ends, counts, strict=True):
        offsets += [(before, end)] * (count - len(offsets))
        before = end
    # Whether the special tokens stand in front or behind changes a start by one place; CLIP's first stands in front.
    empty = tokenizer("", truncation=False, verbose=False)["input_ids"]
    in_front = 1 if specials and empty and empty[0] == tokenizer.bos_token_id else 0
    return [*[(0, 0)] * in_front, *offsets, *[(len(text), len(text))] * (specials - in_front)]
