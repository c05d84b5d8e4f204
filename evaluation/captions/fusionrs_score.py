"""The caption score of the FusionRS benchmark: ROUGE-L F1 and F1 of the words that are no stop words.

After code/benchmark/score_fusionrs_benchmark.py of frozy129/FusionRS at 43d9d82: the best over references, the mean
over rows. Its intervals resample benchmark ids, 1,000 draws, seed 42, with another generator than ours.
"""

import re
from collections import Counter
from collections.abc import Sequence

from .rouge import Tokens, longest_common_subsequence

ARTICLES = frozenset(("a", "an", "the"))
STOP_WORDS = ARTICLES | {
    *("and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "of", "on", "or", "that", "this"),
    *("to", "with"),
}
DRAWS = 1000
SEED = 42


def words(text: str) -> Tokens:
    """Runs of a-z and 0-9 of the lower-case text."""
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l_f1(candidate: str, references: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words, the best over the references."""
    return max((_subsequence_f1(words(candidate), words(reference)) for reference in references), default=0.0)


def lexical_f1(candidate: str, references: Sequence[str]) -> float:
    """F1 of the bags of words without stop words, the best over the references."""
    said = [word for word in words(candidate) if word not in STOP_WORDS]
    others = ([word for word in words(reference) if word not in STOP_WORDS] for reference in references)
    return max((bag_f1(said, other) for other in others), default=0.0)


def bag_f1(candidate: Tokens, reference: Tokens) -> float:
    """F1 of two bags of words; zero if one is empty."""
    return _f1((Counter(candidate) & Counter(reference)).total(), len(candidate), len(reference))


def _subsequence_f1(candidate: Tokens, reference: Tokens) -> float:
    return _f1(longest_common_subsequence(candidate, reference), len(candidate), len(reference))


def _f1(common: int, candidate: int, reference: int) -> float:
    """2PR / (P + R) with P = common / candidate and R = common / reference."""
    return 2 * common / (candidate + reference) if common else 0.0
