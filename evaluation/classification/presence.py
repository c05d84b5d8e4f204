"""Protocol `presence`: which images show a class at all, by average precision; several classes may be in one image.

Images rank by their score for a class. AP is the mean over positive images of the precision at their place. Images
that tie have no order, so AP is the expectation over all their orders, in closed form: the original breaks ties by
`argsort`, where the order of the files decides.
Shapes: N images, C classes, B draws, G groups of equal score.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..results import Metric
from ..retrieval.anchored_ranks import refuse_duplicates
from ..retrieval.recall import Floats, Keys, mean_interval

Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

DRAWS = 1000
CHUNK = 100


def score(
    ids: Keys, truth: Booleans, scored_ids: Keys, scores: npt.NDArray[np.floating], names: Sequence[str]
) -> list[Metric]:
    """AP of each class, their mean (mAP), and the share of images whose best class is present.

    Args:
        ids: Every image (N,).
        truth: Which classes each image shows (N, C).
        scored_ids: The images that have scores, in any order.
        scores: Their scores (images, C), higher for more certain.
        names: Class names (C).

    An image without scores is wrong about every class: where positive it is never found, where negative it ranks
    before all. A best class that ties with an absent one is no hit, nor is an image that shows none of the classes.
    Intervals resample images, for mAP jointly over classes; a draw in which a class has no positive is left out.
    `n` of a class counts its positives.
    """
    if truth.shape != (len(ids), len(names)) or scores.shape != (len(scored_ids), len(names)):
        raise ValueError(
            f"truth has shape {truth.shape} and scores {scores.shape}, "
            f"wanted {(len(ids), len(names))} and {(len(scored_ids), len(names))}."
        )
    positives: Counts = truth.sum(axis=0)
    if (positives == 0).any():
        raise ValueError(f"no image shows {names[int(positives.argmin())]!r}: its average precision is undefined.")
    anchored, present = _anchor(ids, scored_ids, scores)
    weights = np.ones((1, len(ids)), dtype=np.int64)
    classes = range(len(names))
    values = np.array([average_precision(anchored[:, c], truth[:, c], present, weights)[0] for c in classes])
    draws = _draws(anchored, truth, present)
    metrics = [
        _metric(f"class/{name}/average_precision", values[c], draws[:, c], int(positives[c]))
        for c, name in enumerate(names)
    ]
    mean = _metric("mean_average_precision", values.mean(), draws.mean(axis=1), len(ids))
    hits = top_1_hits(anchored, truth) & present
    low, high = mean_interval(hits.astype(np.float64))
    return [*metrics, mean, Metric(name="top_1_hit", value=float(hits.mean()), low=low, high=high, n=len(ids))]


def average_precision(scores: Doubles, truth: Booleans, present: Booleans, weights: Counts) -> Doubles:
    """Expected AP (B,) over the orders of ties, with image i occurring weights[b, i] times; NaN without positives.

    A group of g images with p positives, after n images with q positives, adds to the sum of precisions
    p/g * sum over j = 1..g of (q + 1 + (j-1)(p-1)/(g-1)) / (n + j): place j holds a positive with chance p/g, and
    then (j-1)(p-1)/(g-1) are expected before it in the group. The sum is a difference of harmonic numbers.
    """
    order = np.argsort(-scores[present], kind="stable")
    ranked, weight = scores[present][order], weights[:, present][:, order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, dtype=np.int64)
    total = (weights * truth).sum(axis=1).astype(np.float64)
    ahead = (weights * (~present & ~truth)).sum(axis=1, keepdims=True)
    if len(starts) == 0:
        return np.where(total > 0, 0.0, np.nan)
    sizes = np.add.reduceat(weight, starts, axis=1)  # (B, G)
    found = np.add.reduceat(weight * truth[present][order], starts, axis=1)  # (B, G)
    before = ahead + np.cumsum(sizes, axis=1) - sizes
    hits_before = np.cumsum(found, axis=1) - found
    harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, int((before + sizes).max()) + 1))]
    slope = (found - 1) / np.maximum(sizes - 1, 1)
    sums = slope * sizes + (hits_before + 1 - slope * (before + 1)) * (harmonic[before + sizes] - harmonic[before])
    added = np.where(found > 0, found / np.maximum(sizes, 1) * sums, 0.0).sum(axis=1)
    return np.where(total > 0, added / np.maximum(total, 1), np.nan)


def top_1_hits(scores: Doubles, truth: Booleans) -> Booleans:
    """Whether the best class of each image (N,) is present; of classes that tie, all must be."""
    best = scores == scores.max(axis=1, keepdims=True)
    return (truth | ~best).all(axis=1)


def class_scores(images: Floats, classifier: Floats) -> Floats:
    """Cosine (N, C) of images of any norm to unit class vectors, such as `zero_shot.embed_classes` gives."""
    return (images / np.maximum(np.linalg.norm(images, axis=1, keepdims=True), 1e-12)) @ classifier.T


def _anchor(ids: Keys, scored_ids: Keys, scores: npt.NDArray[np.floating]) -> tuple[Doubles, Booleans]:
    refuse_duplicates(ids, "images of the manifest")
    refuse_duplicates(scored_ids, "scored images")
    rows = {key: row for row, key in enumerate(ids.tolist())}
    unknown = [key for key in scored_ids.tolist() if key not in rows]
    if unknown:
        raise ValueError(f"{len(unknown)} scored images are not in the manifest, such as {unknown[0]!r}.")
    broken = ~np.isfinite(scores).all(axis=1)
    if broken.any():
        raise ValueError(f"{int(broken.sum())} images have scores that are not finite: {str(scored_ids[broken][0])!r}.")
    place = np.array([rows[key] for key in scored_ids.tolist()], dtype=np.int64)
    anchored, present = np.zeros((len(ids), scores.shape[1])), np.zeros(len(ids), dtype=np.bool_)
    anchored[place], present[place] = scores, True
    return anchored, present


def _draws(scores: Doubles, truth: Booleans, present: Booleans) -> Doubles:
    """AP of every class in bootstrap samples of images (B, C)."""
    size, generator, draws = len(scores), np.random.default_rng(0), []
    for _ in range(0, DRAWS, CHUNK):
        weights = generator.multinomial(size, np.full(size, 1 / size), size=CHUNK)
        columns = [average_precision(scores[:, c], truth[:, c], present, weights) for c in range(scores.shape[1])]
        draws.append(np.stack(columns, axis=1))
    return np.concatenate(draws)


def _metric(name: str, value: float, draws: Doubles, n: int) -> Metric:
    kept = draws[np.isfinite(draws)]
    if len(kept) == 0:
        raise ValueError(f"{name}: every bootstrap sample lacks a positive of some class; score more images.")
    low, high = np.quantile(kept, [0.025, 0.975])
    return Metric(name=name, value=float(value), low=float(low), high=float(high), n=n)
