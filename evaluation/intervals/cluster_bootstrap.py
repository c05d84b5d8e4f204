"""Intervals by resampling whole images: rows of one image are one case, and two models are compared draw for draw.

A metric is a function of sums over rows, so a draw is one matrix product: means, ratios and corpus BLEU alike.
Shapes: N rows, C clusters, S columns of all metrics, B draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..results import Metric

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Statistic = Callable[[Doubles], Doubles]

DRAWS = 1000
# Entries of a block of draw weights: 64 MiB of float64, whatever the number of clusters.
BLOCK_ENTRIES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric: what each row adds to its sums, and what the sums say."""

    name: str
    columns: Doubles
    """(N, s); zero where a row does not count."""
    statistic: Statistic
    """Sums (B, s) to values (B,); NaN where the rows of a draw define no value."""
    n: int
    """Rows that count."""

    def __post_init__(self) -> None:
        if self.columns.ndim != 2:
            raise ValueError(f"{self.name}: columns have shape {self.columns.shape}, wanted (rows, sums).")
        broken = ~np.isfinite(self.columns).all(axis=1)
        if broken.any():
            raise ValueError(f"{self.name}: row {int(broken.argmax())} is not finite.")


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What a model did on each row, in the order of the manifest: what metrics and comparisons are computed from."""

    keys: tuple[str, ...]
    """The key of each row, unique."""
    clusters: tuple[str, ...]
    """What is resampled together, such as the image of each row."""
    scores: tuple[Score, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("no rows to score; wanted at least one.")
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"{len(self.keys) - len(set(self.keys))} keys of the rows repeat; keys must be unique.")
        if len(self.clusters) != len(self.keys):
            raise ValueError(f"{len(self.clusters)} clusters for {len(self.keys)} rows; wanted one for each.")
        for score in self.scores:
            if len(score.columns) != len(self.keys):
                raise ValueError(f"{score.name}: {len(score.columns)} rows of columns for {len(self.keys)} rows.")
        names = [score.name for score in self.scores]
        if len(set(names)) != len(names):
            raise ValueError(f"metric names repeat: {sorted({name for name in names if names.count(name) > 1})}.")

    def rows(self) -> list[dict[str, str | float | None]]:
        """Each row with its key, its cluster and its own value of every metric, None where it does not count."""
        values = [score.statistic(score.columns) for score in self.scores]
        names = [score.name for score in self.scores]
        return [
            {"id": key, "cluster": cluster}
            | {name: _or_none(value[row]) for name, value in zip(names, values, strict=True)}
            for row, (key, cluster) in enumerate(zip(self.keys, self.clusters, strict=True))
        ]


def mean_score(name: str, values: npt.ArrayLike, counts: npt.ArrayLike | None = None) -> Score:
    """The mean of a value (N,) over the rows that count (N,), by default all."""
    numbers = np.asarray(values, dtype=np.float64)
    mask = np.ones(len(numbers), dtype=np.bool_) if counts is None else np.asarray(counts, dtype=np.bool_)
    if not mask.any():
        raise ValueError(f"{name}: no row counts, so it has no mean.")
    columns = np.stack([np.where(mask, numbers, 0.0), mask.astype(np.float64)], axis=1)
    return Score(name=name, columns=columns, statistic=ratio, n=int(mask.sum()))


def ratio(sums: Doubles) -> Doubles:
    """First column over second (B,), NaN where the second is zero."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] != 0)


def with_intervals(outcomes: Outcomes, draws: int = DRAWS, seed: int = 0) -> list[Metric]:
    """Every metric with its 95 % percentile interval; one set of draws serves all.

    A draw in which a metric is undefined is left out of its interval.
    """
    sums = resampled_sums(_columns(outcomes), outcomes.clusters, draws, seed)
    metrics = []
    for score, part in zip(outcomes.scores, _parts(outcomes, sums), strict=True):
        metrics.append(_metric(score.name, _value(score), score.statistic(part), score.n))
    return metrics


def differences(first: Outcomes, second: Outcomes, draws: int = DRAWS, seed: int = 0) -> list[Metric]:
    """First minus second for every metric, with a paired interval: both are resampled with the same images.

    Raises:
        ValueError: The two did not score the same rows with the same metrics.
    """
    _refuse_unpaired(first, second)
    place = {key: row for row, key in enumerate(second.keys)}
    order = np.array([place[key] for key in first.keys])
    columns = np.concatenate([_columns(first), _columns(second)[order]], axis=1)
    sums = resampled_sums(columns, first.clusters, draws, seed)
    middle = sums.shape[1] // 2
    one, other = _parts(first, sums[:, :middle]), _parts(second, sums[:, middle:])
    metrics = []
    for mine, theirs, left, right in zip(first.scores, second.scores, one, other, strict=True):
        drawn = mine.statistic(left) - theirs.statistic(right)
        metrics.append(_metric(f"difference/{mine.name}", _value(mine) - _value(theirs), drawn, mine.n))
    return metrics


def resampled_sums(columns: Doubles, clusters: Sequence[str], draws: int, seed: int) -> Doubles:
    """Sums (B, S) of columns (N, S) over draws of as many clusters as there are, with replacement."""
    if draws < 1:
        raise ValueError(f"draws is {draws}, wanted at least 1.")
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    size = len(names)
    # Clusters in the order of their first row, so that clusters of one row each are drawn as the rows themselves are.
    first = np.full(size, len(of))
    np.minimum.at(first, of, np.arange(len(of)))
    of = np.argsort(np.argsort(first))[of]
    totals = np.stack([np.bincount(of, weights=column, minlength=size) for column in columns.T], axis=1)  # (C, S)
    generator, blocks = np.random.default_rng(seed), []
    step = max(1, min(draws, BLOCK_ENTRIES // size))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        weights = np.empty((count, size))
        for row in range(count):
            weights[row] = np.bincount(generator.integers(size, size=size), minlength=size)
        blocks.append(weights @ totals)
    return np.concatenate(blocks)


def _columns(outcomes: Outcomes) -> Doubles:
    return np.concatenate([score.columns for score in outcomes.scores], axis=1)


def _parts(outcomes: Outcomes, sums: Doubles) -> list[Doubles]:
    widths = np.cumsum([score.columns.shape[1] for score in outcomes.scores])
    return np.split(sums, widths[:-1], axis=1)


def _value(score: Score) -> float:
    return float(score.statistic(score.columns.sum(axis=0, keepdims=True))[0])


def _metric(name: str, value: float, drawn: Doubles, n: int) -> Metric:
    kept = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(kept) == 0:
        raise ValueError(f"{name}: its value over {n} rows is {value}; score more rows.")
    low, high = np.quantile(kept, [0.025, 0.975])
    return Metric(name=name, value=value, low=float(low), high=float(high), n=n)


def _refuse_unpaired(first: Outcomes, second: Outcomes) -> None:
    mine, theirs = set(first.keys), set(second.keys)
    if mine != theirs:
        lost = sorted(mine ^ theirs)
        raise ValueError(
            f"the two models scored different rows: {len(lost)} keys are of one only, such as {lost[0]!r}. "
            "Score both against the same manifest."
        )
    clusters = dict(zip(second.keys, second.clusters, strict=True))
    torn = [key for key, cluster in zip(first.keys, first.clusters, strict=True) if clusters[key] != cluster]
    if torn:
        raise ValueError(f"row {torn[0]!r} is of image {clusters[torn[0]]!r} in one manifest only; wanted the same.")
    for mine_score, their_score in zip(first.scores, second.scores, strict=False):
        if (mine_score.name, mine_score.n) != (their_score.name, their_score.n):
            raise ValueError(
                f"metric {mine_score.name!r} over {mine_score.n} rows stands against {their_score.name!r} over "
                f"{their_score.n}; score both models with the same configuration."
            )
    if len(first.scores) != len(second.scores):
        raise ValueError(f"one model has {len(first.scores)} metrics, the other {len(second.scores)}.")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
