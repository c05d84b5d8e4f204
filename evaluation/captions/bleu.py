"""Corpus BLEU-1 to BLEU-4 as coco-caption computes them: clipped n-grams, the closest reference length, no smoothing.

Shapes: N rows, B draws.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from ..intervals.cluster_bootstrap import Doubles, Score

ORDERS = 4
# coco-caption keeps quotients of zero counts finite with these.
SMALL, TINY = 1e-9, 1e-15

Tokens = list[str]


def bleu_scores(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[Score]:
    """`bleu_1` to `bleu_4` of a corpus. A row alone has the BLEU of its sentence.

    Args:
        candidates: One token list a row (N); an empty one adds its reference length and no match.
        references: At least one token list a row (N).
    """
    columns = np.array([counts(said, of) for said, of in zip(candidates, references, strict=True)], dtype=np.float64)
    return [
        Score(name=f"bleu_{order}", columns=columns, statistic=partial(bleu, order=order), n=len(columns))
        for order in range(1, ORDERS + 1)
    ]


def counts(candidate: Tokens, references: Sequence[Tokens]) -> list[int]:
    """Length, closest reference length (the shorter of two), matches of 1 to 4 words, and n-grams of 1 to 4 words."""
    closest = min((abs(len(reference) - len(candidate)), len(reference)) for reference in references)[1]
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= ngrams(reference)
    matches = [0] * ORDERS
    for ngram, count in (ngrams(candidate) & most).items():
        matches[len(ngram) - 1] += count
    return [len(candidate), closest, *matches, *(max(0, len(candidate) - n) for n in range(ORDERS))]


def ngrams(tokens: Tokens) -> Counter[tuple[str, ...]]:
    """How often each run of 1 to 4 words occurs."""
    return Counter(tuple(tokens[at : at + n]) for n in range(1, ORDERS + 1) for at in range(len(tokens) - n + 1))


def bleu(sums: Doubles, order: int) -> Doubles:
    """BLEU (B,) of sums (B, 10) of `counts`."""
    length, closest = sums[:, 0], sums[:, 1]
    matches, possible = sums[:, 2 : 2 + order], sums[:, 2 + ORDERS : 2 + ORDERS + order]
    precision = ((matches + TINY) / (possible + SMALL)).prod(axis=1) ** (1 / order)
    brevity = (length + TINY) / (closest + SMALL)
    return precision * np.where(brevity < 1, np.exp(1 - 1 / np.minimum(brevity, 1)), 1.0)
