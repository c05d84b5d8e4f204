"""Keeps the rows that stand high in both scores of all rows: the quantile rule of RS5M, exact also with ties.

A row is kept iff its score >= threshold, and the threshold is the k-th largest of the n scores, k = ceil(fraction * n).
So at least k rows pass, and rows with equal scores share their fate, in whatever order they come.
Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300, with Fig. 13.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rejects import Reject

REASONS = ("low_relevance", "low_classifier_score")
# 100 % to 20 %: nine levels, as many as the figure has.
GRID_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


@dataclass(frozen=True, kw_only=True)
class QuantileSettings:
    """How much of all rows passes each score; the two are judged apart, so fewer pass both."""

    keep_relevance: float = 0.9
    """Part of the rows that passes by its relevance, more than 0 and at most 1."""
    keep_classifier: float = 0.8
    """Part that passes by the classifier, where there is one."""

    def __post_init__(self) -> None:
        for name in ("keep_relevance", "keep_classifier"):
            _check_fraction(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class QuantileSplit:
    """What the rule says of all rows."""

    kept: NDArray[np.int64]
    """Rows that pass, ascending."""
    rejects: list[Reject]
    """The others, ascending; a row that fails both is `low_relevance`."""
    relevance_threshold: float
    classifier_threshold: float | None


def filter_by_quantiles(
    relevance: ArrayLike, classifier: ArrayLike | None = None, settings: QuantileSettings | None = None
) -> QuantileSplit:
    """Split all rows of a dataset, on the driver: a quantile of a batch is not one of the whole.

    Args:
        relevance: (N,) similarity to the prompts of remote sensing.
        classifier: (N,) probability of remote sensing; None where there was no classifier.
        settings: parts to keep.
    """
    settings = settings or QuantileSettings()
    similarities = _check_scores("relevance", relevance)
    relevance_threshold = quantile_threshold(similarities, settings.keep_relevance)
    failures = [("low_relevance", similarities, relevance_threshold)]
    classifier_threshold = None
    if classifier is not None:
        probabilities = _check_scores("classifier", classifier)
        if len(probabilities) != len(similarities):
            raise ValueError(f"{len(similarities)} rows have a relevance, but {len(probabilities)} a classifier score.")
        classifier_threshold = quantile_threshold(probabilities, settings.keep_classifier)
        failures.append(("low_classifier_score", probabilities, classifier_threshold))
    passes = np.ones(len(similarities), dtype=np.bool_)
    reason_of: dict[int, Reject] = {}
    for reason, scores, threshold in failures:
        below = scores < threshold
        for row in np.flatnonzero(below & passes).tolist():
            reason_of[row] = Reject(row, reason, f"{scores[row]:.6g} is below {threshold:.6g}")
        passes &= ~below
    rejects = [reason_of[row] for row in sorted(reason_of)]
    return QuantileSplit(np.flatnonzero(passes), rejects, relevance_threshold, classifier_threshold)


def quantile_threshold(scores: ArrayLike, fraction: float) -> float:
    """Return the k-th largest score, k = ceil(fraction * n); infinity, which nothing need pass, of no scores.

    The fraction is read as it is written (0.07 of 100 is 7, though 0.07 * 100 is a little more in binary).
    """
    _check_fraction("fraction", fraction)
    values = _check_scores("scores", scores)
    if not len(values):
        return math.inf
    k = math.ceil(Fraction(repr(float(fraction))) * len(values))
    return float(np.partition(values, len(values) - k)[len(values) - k])


def survivor_grid(
    relevance: ArrayLike, classifier: ArrayLike, fractions: Sequence[float] = GRID_FRACTIONS
) -> NDArray[np.int64]:
    """Return how many rows survive each pair of parts to keep: rows by relevance, columns by classifier (Fig. 13)."""
    similarities, probabilities = _check_scores("relevance", relevance), _check_scores("classifier", classifier)
    if len(similarities) != len(probabilities):
        raise ValueError(f"{len(similarities)} rows have a relevance, but {len(probabilities)} a classifier score.")
    by_relevance = [similarities >= quantile_threshold(similarities, fraction) for fraction in fractions]
    by_classifier = [probabilities >= quantile_threshold(probabilities, fraction) for fraction in fractions]
    counts = [[np.count_nonzero(first & second) for second in by_classifier] for first in by_relevance]
    return np.array(counts, dtype=np.int64).reshape(len(fractions), len(fractions))


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"{name} is {fraction}; it must be more than 0 and at most 1.")


def _check_scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}; wanted one score per row.")
    if not (finite := np.isfinite(values)).all():
        row = int(np.argmin(finite))
        raise ValueError(f"{name} of row {row} is {values[row]}; every row needs a finite score.")
    return values
