"""Zero-shot, presence and probe protocols on bundles: metrics, chance beside them, and what each case adds.

Prompts are the `text` of a bundle, un-normalised, each with its class in `caption_key`. Shapes: N images, C classes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..cases import Cases, Measured, Outcome, Ranking, hits, metric_of, share
from ..embedding import Bundle
from ..results import Metric
from ..retrieval.anchored_ranks import NEVER, Booleans, Indices, anchor
from ..retrieval.recall import Floats
from ..retrieval.retrieval_outcomes import need
from . import linear_probe, presence, transductive, zero_shot
from .class_names import PromptOrder

Array = npt.NDArray[Any]
SEPARATOR = "|"


def classify(bundle: Bundle, tested: Bundle, modality: str, order: PromptOrder, protocol: str) -> Outcome:
    """`zero-shot` and `zero-shot-infrared`: each image alone."""
    names, classifier = classifier_of(bundle, order, protocol)
    images, labels = need(bundle, modality, protocol), labels_of(tested, names, protocol)
    result = zero_shot.score(tested.id, labels, bundle.id, images, classifier, names)
    unit, there = anchor(tested.id, bundle.id, images, "images")
    ranks, _ = zero_shot.rank_labels(unit @ classifier.T, labels)
    ranks[~there] = NEVER
    return Outcome(
        metrics=result.metrics + _class_chance(labels, len(names)),
        cases=Cases(groups={"images": tested.id}, measured=_class_cases(ranks, labels, len(names))),
        confusion=result.confusion,
        names=names,
    )


def classify_together(bundle: Bundle, tested: Bundle, modality: str, order: PromptOrder) -> Outcome:
    """`zero-shot-transductive`: all images at once, and the same images one by one for reference (`alone/`)."""
    protocol = "zero-shot-transductive"
    names, classifier = classifier_of(bundle, order, protocol)
    labels = labels_of(tested, names, protocol)
    unit, there = anchor(tested.id, bundle.id, need(bundle, modality, protocol), "images")
    alone, _ = zero_shot.rank_labels(unit @ classifier.T, labels)
    scores = np.zeros((len(labels), len(names)), dtype=np.float32)
    scores[there] = transductive.assign(unit[there], classifier)
    # Class vectors of one axis each turn assigned probabilities into the scores of the same scorer.
    axes = np.eye(len(names), dtype=np.float32)
    result = zero_shot.score(tested.id, labels, tested.id[there], scores[there], axes, names)
    ranks, _ = zero_shot.rank_labels(scores, labels)
    ranks[~there], alone[~there] = NEVER, NEVER
    measured = _class_cases(ranks, labels, len(names))
    reference = Measured(name="alone/top_1", group="images", parts=[hits(alone, 1)])
    return Outcome(
        metrics=[*result.metrics, metric_of(reference), *_class_chance(labels, len(names))],
        cases=Cases(groups={"images": tested.id}, measured=[*measured, reference]),
        confusion=result.confusion,
        names=names,
    )


def find_presence(bundle: Bundle, tested: Bundle, modality: str, order: PromptOrder) -> Outcome:
    """`presence`: images rank by their cosine to each class; several classes may be in one image."""
    names, classifier = classifier_of(bundle, order, "presence")
    truth = truth_of(tested, names, "presence")
    unit, there = anchor(tested.id, bundle.id, need(bundle, modality, "presence"), "images")
    return _ranked(tested, truth, presence.class_scores(unit, classifier).astype(np.float64), there, names)


def probe(bundle: Bundle, tested: Bundle, train: Bundle, validation: Bundle, modality: str) -> Outcome:
    """`linear-probe`: logistic regression on frozen embeddings of train and validation, scored on test."""
    names = sorted({name for label in need(train, "label", "linear-probe").tolist() for name in _split(label)})
    parts = []
    for split in (train, validation):
        unit, _ = anchor(split.id, split.id, need(split, modality, "linear-probe"), "images")
        parts.append((unit.astype(np.float64), truth_of(split, names, "linear-probe")))
    unit, there = anchor(tested.id, bundle.id, need(bundle, modality, "linear-probe"), "images")
    scores, chosen = linear_probe.probe(parts[0], parts[1], unit.astype(np.float64), names)
    edges = [name for name, strength in chosen.items() if strength in (linear_probe.GRID[0], linear_probe.GRID[-1])]
    notes = {"chosen_strengths": chosen, "classes_at_the_edge_of_the_grid": edges, "grid": list(linear_probe.GRID)}
    return _ranked(tested, truth_of(tested, names, "linear-probe"), scores, there, names, notes)


def classifier_of(bundle: Bundle, order: PromptOrder, protocol: str) -> tuple[list[str], Floats]:
    """Class names in the order of the prompts, and their vectors (C, D)."""
    texts, keys = need(bundle, "text", protocol), need(bundle, "caption_key", protocol).tolist()
    names = list(dict.fromkeys(keys))
    counts = {name: keys.count(name) for name in names}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{protocol}: classes have different numbers of prompts: {counts}.")
    places = {name: [row for row, key in enumerate(keys) if key == name] for name in names}
    return names, zero_shot.text_classifier(np.stack([texts[places[name]] for name in names]), order)


def labels_of(tested: Bundle, names: list[str], protocol: str) -> Indices:
    """Class index (N,) of each image, which shows one class."""
    labels = need(tested, "label", protocol).tolist()
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise ValueError(
            f"{protocol}: label {unknown[0]!r} has no prompts; wanted exactly one of the classes {', '.join(names)}."
        )
    return np.array([names.index(label) for label in labels], dtype=np.int64)


def truth_of(tested: Bundle, names: list[str], protocol: str) -> Booleans:
    """Which classes each image shows (N, C)."""
    shown = [_split(label) for label in need(tested, "label", protocol).tolist()]
    unknown = sorted({name for labels in shown for name in labels} - set(names))
    if unknown:
        raise ValueError(f"{protocol}: label {unknown[0]!r} is none of the classes {', '.join(names)}.")
    return np.array([[name in labels for name in names] for labels in shown], dtype=np.bool_)


def _split(label: str) -> list[str]:
    return [name for name in label.split(SEPARATOR) if name]


def _ranked(
    tested: Bundle,
    truth: Booleans,
    scores: npt.NDArray[np.float64],
    there: Booleans,
    names: list[str],
    notes: dict[str, Any] | None = None,
) -> Outcome:
    metrics = presence.score(tested.id, truth, tested.id[there], scores[there], names)
    ranking = Ranking(ids=tested.id, names=names, scores=scores, truth=truth, present=there)
    top = Measured(name="top_1_hit", group="images", parts=[share(presence.top_1_hits(scores, truth) & there)])
    cases = Cases(groups={"images": tested.id}, measured=[top], ranking=ranking)
    return Outcome(metrics=metrics + _ranking_chance(truth, names), cases=cases, notes=notes or {})


def _ranking_chance(truth: Booleans, names: list[str]) -> list[Metric]:
    """A random order of the images, and a random class for each: both expectations are exact."""
    ones, flat = np.ones((1, len(truth)), dtype=np.int64), np.zeros(len(truth))
    present = np.ones(len(truth), dtype=np.bool_)
    values = [float(presence.average_precision(flat, truth[:, c], present, ones)[0]) for c in range(len(names))]
    metrics = [
        _exact(f"class/{name}/average_precision", value, int(truth[:, c].sum()))
        for c, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    mean = _exact("mean_average_precision", float(np.mean(values)), len(truth))
    return [*metrics, mean, _exact("top_1_hit", float(truth.mean()), len(truth))]


def _class_cases(ranks: Array, labels: Indices, classes: int) -> list[Measured]:
    tops = [k for k in zero_shot.TOPS if k < max(classes, 2)]
    measured = [Measured(name=f"top_{k}", group="images", parts=[hits(ranks, k)]) for k in tops]
    right = ranks < 1
    parts = [
        ((right & (labels == c)).astype(np.float64), (labels == c).astype(np.float64))
        for c in range(classes)
        if (labels == c).any()
    ]
    return [*measured, Measured(name="mean_per_class/top_1", group="images", parts=parts)]


def _class_chance(labels: Indices, classes: int) -> list[Metric]:
    """A random class, and the most frequent one for every image."""
    metrics = [_exact(f"top_{k}", k / classes, len(labels)) for k in zero_shot.TOPS if k < max(classes, 2)]
    majority = float(np.bincount(labels).max() / len(labels))
    return [
        *metrics,
        _exact("mean_per_class/top_1", 1 / classes, len(labels)),
        Metric(name="majority/top_1", value=majority, low=majority, high=majority, n=len(labels)),
    ]


def _exact(name: str, value: float, n: int) -> Metric:
    return Metric(name=f"chance/{name}", value=value, low=value, high=value, n=n)
