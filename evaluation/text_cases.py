"""What every row of generated text adds to a metric, as arrays in a file, and the paired difference of two models.

Shapes: N rows, s sums of a metric, B draws.
"""

import json
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .captions.bleu import ORDERS, bleu
from .captions.meteor import BANERJEE_LAVIE_2005, meteor
from .captions.meteor_java import ENGLISH
from .intervals.cluster_bootstrap import Doubles, Outcomes, Score, Statistic, ratio, resampled_sums

Array = npt.NDArray[Any]

# By the last part of a metric's name; all others are ratios of two sums.
CORPUS_STATISTICS: dict[str, Statistic] = {
    **{f"bleu_{order}": partial(bleu, order=order) for order in range(1, ORDERS + 1)},
    "meteor_exact_stem": partial(meteor, parameters=BANERJEE_LAVIE_2005),
    "meteor": partial(meteor, parameters=ENGLISH),
}


def statistic_of(name: str) -> Statistic:
    """What the sums of a metric say."""
    return CORPUS_STATISTICS.get(name.split("/")[-1], ratio)


def to_arrays(outcomes: Outcomes, prefix: str) -> dict[str, Array]:
    """Arrays that `from_arrays` reads."""
    arrays: dict[str, Array] = {
        f"{prefix}/keys": np.array(outcomes.keys),
        f"{prefix}/clusters": np.array(outcomes.clusters),
        f"{prefix}/rows": np.array(json.dumps({score.name: score.n for score in outcomes.scores})),
    }
    return arrays | {f"{prefix}/columns/{score.name}": score.columns for score in outcomes.scores}


def from_arrays(arrays: Any, prefix: str) -> Outcomes:
    """Reads what `to_arrays` made, from a mapping of names to arrays."""
    rows = json.loads(str(arrays[f"{prefix}/rows"]))
    scores = tuple(
        Score(name=name, columns=arrays[f"{prefix}/columns/{name}"], statistic=statistic_of(name), n=n)
        for name, n in rows.items()
    )
    keys, clusters = (tuple(arrays[f"{prefix}/{part}"].tolist()) for part in ("keys", "clusters"))
    return Outcomes(keys=keys, clusters=clusters, scores=scores)


def drawn_values(outcomes: Outcomes, other: Outcomes, name: str, draws: int) -> tuple[tuple[float, float], Doubles]:
    """A metric of both (2 values) and of both over the same draws of images (2, B).

    The rows that count may differ, such as where one model has no text; each draw takes each model's own.

    Raises:
        ValueError: The two hold other rows, or rows of other images.
    """
    place = {key: row for row, key in enumerate(other.keys)}
    if place.keys() != set(outcomes.keys):
        lost = sorted(place.keys() ^ set(outcomes.keys))
        raise ValueError(f"{name}: {len(lost)} rows are of one result only, such as {lost[0]!r}; no pairs to compare.")
    order = np.array([place[key] for key in outcomes.keys])
    if tuple(np.array(other.clusters)[order].tolist()) != outcomes.clusters:
        raise ValueError(f"{name}: the two results hold the same rows of other images; no pairs to compare.")
    one, two = (next(score for score in each.scores if score.name == name) for each in (outcomes, other))
    width = one.columns.shape[1]
    columns = np.concatenate([one.columns, two.columns[order]], axis=1)
    sums = resampled_sums(columns, outcomes.clusters, draws, 0)
    whole = columns.sum(axis=0, keepdims=True)
    values = float(one.statistic(whole[:, :width])[0]), float(two.statistic(whole[:, width:])[0])
    return values, np.stack([one.statistic(sums[:, :width]), two.statistic(sums[:, width:])])
