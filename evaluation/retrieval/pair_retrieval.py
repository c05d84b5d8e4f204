"""Protocol `pair-retrieval`: aligned images of two sensors find each other, as on Caltech Aerial RGB-T (279 pairs).

Exact pairs only: recall at 1, 5 and 10 in both directions and the mean of the six. Intervals resample pairs, and the
mean's resamples them jointly over both directions.
"""

from dataclasses import dataclass

import numpy as np

from ..intervals.joint_interval import Doubles, joint_interval
from ..results import Metric
from .anchored_ranks import RECALLS, anchor, ranks_of_keys
from .exact_ranks import Ranks
from .recall import Floats, Keys, mean_interval


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What a model embedded of one sensor, in any order; norms do not matter."""

    name: str
    ids: Keys
    embeddings: Floats


def score(ids: Keys, first: Sensor, second: Sensor) -> list[Metric]:
    """Recalls of `first` to `second` and back; a pair that either lacks is wrong for its queries.

    Args:
        ids: Every pair of the split.
        first: Embeddings of one sensor, by pair id.
        second: Embeddings of the other.
    """
    one, one_present = anchor(ids, first.ids, first.embeddings, first.name)
    other, other_present = anchor(ids, second.ids, second.embeddings, second.name)
    return six_recalls(
        {
            f"{first.name}_to_{second.name}": ranks_of_keys(one, other, ids, ids, one_present, other_present),
            f"{second.name}_to_{first.name}": ranks_of_keys(other, one, ids, ids, other_present, one_present),
        }
    )


def six_recalls(directions: dict[str, Ranks]) -> list[Metric]:
    """Recall at 1, 5 and 10 of directions whose queries are the same cases in the same order, and their mean."""
    metrics, parts = [], list[tuple[Doubles, Doubles]]()
    for name, ranks in directions.items():
        for k in RECALLS:
            hits = (ranks < k).astype(np.float64)
            low, high = mean_interval(hits)
            metrics.append(
                Metric(name=f"{name}/recall_at_{k}", value=float(hits.mean()), low=low, high=high, n=len(hits))
            )
            parts.append((hits, np.ones(len(hits))))
    low, high = joint_interval(parts)
    mean = float(np.mean([metric.value for metric in metrics]))
    return [*metrics, Metric(name="mean_recall", value=mean, low=low, high=high, n=len(parts[0][0]))]
