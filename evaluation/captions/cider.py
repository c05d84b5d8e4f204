"""CIDEr and CIDEr-D: cosine of tf-idf n-gram vectors with the references, times 10, mean over n of 1 to 4.

CIDEr-D is what coco-caption prints as "CIDEr": counts clipped to the reference's and a Gaussian penalty of the
difference in length (sigma 6). Document frequencies are those of the references that are scored.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from .bleu import ORDERS, Tokens, ngrams

SIGMA = 6.0
SCALE = 10.0

Ngram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vector:
    """tf-idf weights of the n-grams of a text per n, their norms, and its number of word pairs.

    coco-caption takes the number of word pairs for the length.
    """

    weights: tuple[dict[Ngram, float], ...]
    norms: tuple[float, ...]
    pairs: int


def cider_rows(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> tuple[list[float], list[float]]:
    """CIDEr and CIDEr-D of every row.

    Document frequencies count the rows whose references hold an n-gram, so a score depends on all rows; one row alone
    has no information (log 1 = 0) and scores 0.
    """
    documents: Counter[Ngram] = Counter()
    counted = [[ngrams(reference) for reference in row] for row in references]
    for row in counted:
        documents.update(set().union(*row))
    rows = log(len(references)) if len(references) else 0.0
    plain, clipped = list[float](), list[float]()
    for candidate, row in zip(candidates, counted, strict=True):
        vector = _vector(ngrams(candidate), documents, rows)
        pairs = [_similarities(vector, _vector(reference, documents, rows)) for reference in row]
        plain.append(SCALE * sum(one for one, _ in pairs) / len(pairs))
        clipped.append(SCALE * sum(other for _, other in pairs) / len(pairs))
    return plain, clipped


def _vector(counts: Counter[Ngram], documents: Counter[Ngram], rows: float) -> Vector:
    weights: tuple[dict[Ngram, float], ...] = tuple({} for _ in range(ORDERS))
    pairs = 0
    for ngram, count in counts.items():
        weights[len(ngram) - 1][ngram] = count * (rows - log(max(1, documents[ngram])))
        pairs += count if len(ngram) == 2 else 0
    norms = tuple(sqrt(sum(weight * weight for weight in part.values())) for part in weights)
    return Vector(weights, norms, pairs)


def _similarities(candidate: Vector, reference: Vector) -> tuple[float, float]:
    """Mean over n of the cosine, and of the clipped cosine under the length penalty."""
    plain = clipped = 0.0
    for own, other, own_norm, other_norm in zip(
        candidate.weights, reference.weights, candidate.norms, reference.norms, strict=True
    ):
        if own_norm == 0 or other_norm == 0:
            continue
        shared = [(weight, other[ngram]) for ngram, weight in own.items() if ngram in other]
        plain += sum(one * two for one, two in shared) / (own_norm * other_norm)
        clipped += sum(min(one, two) * two for one, two in shared) / (own_norm * other_norm)
    penalty = exp(-((candidate.pairs - reference.pairs) ** 2) / (2 * SIGMA**2))
    return plain / ORDERS, clipped * penalty / ORDERS
