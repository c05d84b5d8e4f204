"""What every single case adds to a metric: kept beside each result, so that two models compare case by case.

Shapes: P ratios whose mean a metric is, C cases (images, pairs, texts), K classes, B draws.
"""

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from .classification.presence import average_precision
from .intervals.cluster_bootstrap import Outcomes
from .intervals.joint_interval import Doubles, joint_interval
from .results import Metric
from .retrieval.exact_ranks import Ranks
from .retrieval.recall import Keys
from .text_cases import drawn_values, from_arrays, to_arrays

Array = npt.NDArray[Any]
Part = tuple[Doubles, Doubles]

DRAWS = 1000
CHUNK = 50
# What NumPy raises where a file is no archive, or a damaged one, or one of other arrays.
UNREADABLE = (BadZipFile, EOFError, KeyError, TypeError, ValueError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric that is the mean of P ratios over the same cases: per ratio the sums (C,) and the counts (C,)."""

    name: str
    group: str
    parts: list[Part]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Scores (C, K) behind average precision, which classes are shown (C, K), and which cases have scores (C,)."""

    ids: Keys
    names: list[str]
    scores: Doubles
    truth: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Every measured metric of a result, the ids of the cases of each group, and the ranking of average precision.

    What generated texts add is kept as `Outcomes`, as BLEU and METEOR are no means of cases.
    """

    groups: dict[str, Keys] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    ranking: Ranking | None = None
    texts: tuple[Outcomes, ...] = ()

    def save(self, path: Path) -> None:
        """Writes one `.npz`."""
        arrays: dict[str, Array] = {f"ids/{name}": ids for name, ids in self.groups.items()}
        arrays["groups"] = np.array(json.dumps({one.name: one.group for one in self.measured}))
        for one in self.measured:
            arrays[f"sums/{one.name}"] = np.stack([sums for sums, _ in one.parts]).astype(np.float32)
            arrays[f"counts/{one.name}"] = np.stack([counts for _, counts in one.parts]).astype(np.float32)
        if self.ranking is not None:
            arrays |= {f"ranking/{name}": np.asarray(value) for name, value in vars(self.ranking).items()}
        for number, outcomes in enumerate(self.texts):
            arrays |= to_arrays(outcomes, f"texts/{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a protocol found: metrics, their cases, what else belongs to the record, and a confusion matrix."""

    metrics: list[Metric]
    cases: Cases
    notes: dict[str, Any] = field(default_factory=dict)
    confusion: npt.NDArray[np.int64] | None = None
    names: list[str] = field(default_factory=list)


def load_cases(path: Path) -> Cases:
    """Reads what `Cases.save` wrote.

    Raises:
        ValueError: It is another file, or damaged.
    """
    try:
        with np.load(path) as arrays:
            return _from_arrays(arrays)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} does not read as cases of a result ({error}). Make the result again with --overwrite, or remove "
            "this file: the report then has no differences to it."
        ) from error


def hits(ranks: Ranks, k: int) -> Part:
    """One ratio: the share of cases whose rank is below k."""
    return (ranks < k).astype(np.float64), np.ones(len(ranks))


def share(values: Array) -> Part:
    """One ratio: the mean of a value per case."""
    return values.astype(np.float64), np.ones(len(values))


def metric_of(measured: Measured) -> Metric:
    """Value and interval; `n` counts the queries of one ratio, and of a mean the cases that are resampled."""
    low, high = joint_interval(measured.parts)
    value = float(np.mean([sums.sum() / counts.sum() for sums, counts in measured.parts]))
    sums, counts = measured.parts[0]
    n = int(counts.sum()) if len(measured.parts) == 1 else len(sums)
    return Metric(name=measured.name, value=value, low=low, high=high, n=n)


def paired_difference(first: Cases, second: Cases, name: str) -> Metric | None:
    """Metric of `second` minus that of `first`, every bootstrap draw over the same cases.

    None where a result kept no cases of it, or where there is one case, which says nothing of others.

    Raises:
        ValueError: The two were not measured on the same cases.
    """
    ones = {one.name: one for one in first.measured}
    others = {one.name: one for one in second.measured}
    if name in ones and name in others:
        one, other = ones[name], others[name]
        order = _order(first.groups[one.group], second.groups[other.group], name)
        if len(order) < 2:
            return None
        parts = [(sums[order], counts[order]) for sums, counts in other.parts]
        return _ratio_difference(name, one.parts, parts)
    if first.ranking is not None and second.ranking is not None and name.endswith("average_precision"):
        return _ranking_difference(name, first.ranking, second.ranking)
    pair = [next((one for one in each.texts if name in _names(one)), None) for each in (first, second)]
    if pair[0] is not None and pair[1] is not None:
        return _text_difference(name, pair[0], pair[1])
    return None


def _from_arrays(arrays: NpzFile) -> Cases:
    measured = []
    for name, group in json.loads(str(arrays["groups"])).items():
        sums, counts = (arrays[f"{kind}/{name}"].astype(np.float64) for kind in ("sums", "counts"))
        measured.append(Measured(name=name, group=group, parts=list(zip(sums, counts, strict=True))))
    groups = {name.removeprefix("ids/"): arrays[name] for name in arrays.files if name.startswith("ids/")}
    ranking = None
    if "ranking/ids" in arrays.files:
        fields = {name: arrays[f"ranking/{name}"] for name in ("ids", "scores", "truth", "present")}
        ranking = Ranking(names=arrays["ranking/names"].tolist(), **fields)
    numbers = sorted(int(name.split("/")[1]) for name in arrays.files if re.fullmatch(r"texts/\d+/rows", name))
    texts = tuple(from_arrays(arrays, f"texts/{number}") for number in numbers)
    return Cases(groups=groups, measured=measured, ranking=ranking, texts=texts)


def _names(outcomes: Outcomes) -> set[str]:
    return {score.name for score in outcomes.scores}


def _text_difference(name: str, first: Outcomes, second: Outcomes) -> Metric | None:
    if len(set(first.clusters)) < 2:
        return None
    values, draws = drawn_values(first, second, name, DRAWS)
    return _difference(name, values[1] - values[0], draws[1] - draws[0], len(first.keys))


def _order(first: Keys, second: Keys, name: str) -> npt.NDArray[np.int64]:
    """Where each case of `first` is in `second`."""
    if len(first) != len(second) or set(first.tolist()) != set(second.tolist()):
        raise ValueError(
            f"{name}: the two results hold other cases ({len(first)} and {len(second)}); no pairs to compare."
        )
    place = {key: index for index, key in enumerate(second.tolist())}
    return np.array([place[key] for key in first.tolist()], dtype=np.int64)


def _ratio_difference(name: str, first: list[Part], second: list[Part]) -> Metric:
    cases, generator, draws = len(first[0][0]), np.random.default_rng(0), []
    for start in range(0, DRAWS, CHUNK):
        sample = generator.integers(cases, size=(min(CHUNK, DRAWS - start), cases))
        means = []
        for parts in (first, second):
            with np.errstate(invalid="ignore"):  # a draw may lack a small class
                means.append(np.mean([s[sample].sum(axis=1) / c[sample].sum(axis=1) for s, c in parts], axis=0))
        draws.append(means[1] - means[0])
    values = [float(np.mean([sums.sum() / counts.sum() for sums, counts in parts])) for parts in (first, second)]
    return _difference(name, values[1] - values[0], np.concatenate(draws), cases)


def _ranking_difference(name: str, first: Ranking, second: Ranking) -> Metric | None:
    size, generator, order = len(first.ids), np.random.default_rng(0), _order(first.ids, second.ids, name)
    ranked = [(first.scores, first.present), (second.scores[order], second.present[order])]
    chosen = [c for c, label in enumerate(first.names) if name in (f"class/{label}/average_precision", MEAN)]
    if not chosen or first.names != second.names:
        return None
    values: list[Doubles] = []
    for weights in (np.ones((1, size), dtype=np.int64), generator.multinomial(size, np.full(size, 1 / size), DRAWS)):
        pair = [
            np.mean([average_precision(s[:, c], first.truth[:, c], p, weights) for c in chosen], axis=0)
            for s, p in ranked
        ]
        values.append(pair[1] - pair[0])
    return _difference(name, float(values[0][0]), values[1], size)


def _difference(name: str, value: float, draws: Doubles, n: int) -> Metric:
    kept = draws[np.isfinite(draws)]
    if len(kept) == 0:
        raise ValueError(f"{name}: every bootstrap draw lacks a class; score more cases.")
    low, high = np.quantile(kept, [0.025, 0.975])
    return Metric(name=name, value=value, low=float(low), high=float(high), n=n)


MEAN = "mean_average_precision"
