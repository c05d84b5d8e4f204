"""ROUGE-L as coco-caption computes it: the best precision and the best recall over the references, beta 1.2.

The two may come from different references, so this is not the best F over references (`fusionrs_score` is).
"""

from collections.abc import Sequence

BETA = 1.2

Tokens = list[str]


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L of one row; zero for an empty candidate."""
    if not candidate:
        return 0.0
    common = [longest_common_subsequence(candidate, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(length / len(candidate) for length in common)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True) if reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequence(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyrö 2004): the zeros of `open_` mark where the length grows along `second`, so a row of the table
    is one addition of whole numbers.
    """
    places: dict[str, int] = {}
    for at, token in enumerate(second):
        places[token] = places.get(token, 0) | 1 << at
    every = (1 << len(second)) - 1
    open_ = every
    for token in first:
        matched = open_ & places.get(token, 0)
        open_ = ((open_ + matched) | (open_ - matched)) & every
    return len(second) - open_.bit_count()
