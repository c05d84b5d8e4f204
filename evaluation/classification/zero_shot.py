"""Protocols `zero-shot` and `zero-shot-infrared`: an image is of the class whose prompts it is closest to.

Shapes: N images, C classes, T templates, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..results import Metric
from ..retrieval.anchored_ranks import NEVER, Indices, anchor
from ..retrieval.exact_ranks import Ranks
from ..retrieval.recall import Floats, Keys, mean_interval
from .class_names import PromptOrder, PromptSet

TOPS = (1, 5)
DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class ZeroShotResult:
    """Metrics, and the confusion matrix (C, C + 1): rows the truth, columns the answer, the last one no answer."""

    metrics: list[Metric]
    confusion: Indices


def text_classifier(embeddings: npt.NDArray[np.floating], order: PromptOrder) -> Floats:
    """Unit class vectors (C, D) from un-normalised prompt embeddings (C, T, D).

    Args:
        embeddings: As the text tower gives them, before any normalisation.
        order: `mean_then_normalise` as RS5M, where long embeddings weigh more, or `normalise_then_mean` as CLIP.

    Raises:
        ValueError: The shape or the order is wrong, or an embedding is not finite.
    """
    if embeddings.ndim != 3:
        raise ValueError(f"prompt embeddings have shape {embeddings.shape}, wanted (classes, templates, width).")
    if not np.isfinite(embeddings).all():
        broken = np.argwhere(~np.isfinite(embeddings).all(axis=2))[0].tolist()
        raise ValueError(f"the prompt of class {broken[0]}, template {broken[1]} has an embedding that is not finite.")
    prompts = embeddings.astype(np.float64)
    match order:
        case "mean_then_normalise":
            classes = prompts.mean(axis=1)
        case "normalise_then_mean":
            classes = _unit(prompts).mean(axis=1)
        case _:
            raise ValueError(f"order is {order!r}, wanted 'mean_then_normalise' or 'normalise_then_mean'.")
    return _unit(classes).astype(np.float32)


def embed_classes(names: Sequence[str], prompts: PromptSet, encode: Callable[[list[str]], Floats]) -> Floats:
    """Class vectors (C, D) of a text tower.

    Args:
        names: What the prompts say for each class.
        prompts: Templates and the order of averaging.
        encode: Texts to un-normalised embeddings (texts, D).
    """
    classes = [encode([template.replace("{}", name) for template in prompts.templates]) for name in names]
    return text_classifier(np.stack(classes), prompts.order)


def score(
    ids: Keys, labels: Indices, embedded_ids: Keys, images: Floats, classifier: Floats, names: Sequence[str]
) -> ZeroShotResult:
    """Top-1 and top-5 over images, top-1 per class, their mean over classes, and the confusion matrix.

    Args:
        ids: Every image of the test set (N,); one that was not embedded is wrong.
        labels: Class index of every image (N,).
        embedded_ids: The images that were embedded, in any order.
        images: Their embeddings, of any norm.
        classifier: Class vectors (C, D), in the order of `names`.
        names: Class names.

    Classes that tie with the right one rank before it. Top-5 is left out where there are five classes or fewer. A
    class without images has an empty row and no metric. The interval of the mean over classes resamples images
    within each class.
    """
    if len(names) != len(classifier):
        raise ValueError(f"{len(classifier)} class vectors for {len(names)} names.")
    if len(labels) != len(ids) or len(ids) == 0:
        raise ValueError(f"{len(labels)} labels for {len(ids)} images; wanted one for each, and at least one.")
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, classes from 0 to {len(names) - 1}.")
    embedded, present = anchor(ids, embedded_ids, images, "images")
    ranks, answers = rank_labels(embedded @ classifier.T, labels)
    ranks[~present], answers[~present] = NEVER, len(names)
    metrics = [_share(f"top_{k}", ranks < k) for k in TOPS if k < max(len(names), 2)]
    per_class = [_share(f"class/{name}/top_1", ranks[labels == c] < 1) for c, name in enumerate(names) if c in labels]
    confusion = np.zeros((len(names), len(names) + 1), dtype=np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return ZeroShotResult(metrics=[*metrics, _mean_over_classes(per_class), *per_class], confusion=confusion)


def rank_labels(scores: Floats, labels: Indices) -> tuple[Ranks, Indices]:
    """Rank (N,) of the right class, from 0, and the answer (N,): another class wherever one ties with the right."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    right = np.arange(scores.shape[1])[None, :] == labels[:, None]
    ranks = ((scores >= own) & ~right).sum(axis=1)
    others = np.where(right, -np.inf, scores).argmax(axis=1)
    return ranks, np.where(ranks == 0, labels, others)


def _share(name: str, hits: npt.NDArray[np.bool_]) -> Metric:
    low, high = mean_interval(hits.astype(np.float64))
    return Metric(name=name, value=float(hits.mean()), low=low, high=high, n=len(hits))


def _mean_over_classes(per_class: list[Metric]) -> Metric:
    """A resample of n hits or misses has a binomial number of hits, so no index is drawn."""
    counts = np.array([metric.n for metric in per_class])
    shares = np.array([metric.value for metric in per_class])
    draws = np.random.default_rng(0).binomial(counts, shares, size=(DRAWS, len(counts))) / counts
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    name, value = "mean_per_class/top_1", float(shares.mean())
    return Metric(name=name, value=value, low=float(low), high=float(high), n=int(counts.sum()))


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
