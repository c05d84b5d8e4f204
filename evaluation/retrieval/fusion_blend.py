"""Protocol `fusion-blend`: RGB and infrared mixed by one number, alpha, that the validation split chooses.

f = unit(alpha * unit(rgb) + (1 - alpha) * unit(infrared)). Images and texts are positives where their caption key is
equal. Reported on test: infrared alone (alpha 0), the plain mean (0.5), RGB alone (1) and the chosen alpha.
"""

from dataclasses import dataclass

import numpy as np

from ..results import Metric
from .anchored_ranks import RECALLS, Booleans, anchor, ranks_of_keys
from .exact_ranks import Ranks
from .pair_retrieval import six_recalls
from .recall import Floats, Keys

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FIXED = {"infrared_only": 0.0, "mean": 0.5, "rgb_only": 1.0}


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split's manifest, and what a model embedded of it in any order."""

    ids: Keys
    """Every row of the manifest."""
    caption_keys: Keys
    """The caption key of every row of the manifest."""
    embedded_ids: Keys
    rgb: Floats
    infrared: Floats
    text: Floats


def blend(rgb: Floats, infrared: Floats, alpha: float) -> Floats:
    """Unit mixture of two batches of unit embeddings (N, D); alpha is the share of RGB."""
    mixed = alpha * rgb + (1 - alpha) * infrared
    return (mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def mean_recalls(split: Split) -> dict[float, float]:
    """The mean of the six image-text recalls for every alpha."""
    return {alpha: _mean_recall(ranks) for alpha, ranks in _ranks(split, ALPHAS).items()}


def choose_alpha(means: dict[float, float]) -> float:
    """The alpha with the best mean; of equal ones the closest to 0.5, and of 0.25 and 0.75 the lower.

    Which of two equally close ones the original takes is not published. Means within 1e-12 are equal.
    """
    best = max(means.values())
    equal = [alpha for alpha, mean in means.items() if best - mean <= 1e-12]
    return min(equal, key=lambda alpha: (abs(alpha - 0.5), alpha))


def score(validation: Split, test: Split) -> tuple[float, list[Metric]]:
    """The alpha that validation chose, and the six recalls and their mean on test for it and for the fixed ones."""
    chosen = choose_alpha(mean_recalls(validation))
    rows = {**FIXED, "selected": chosen}
    ranks = _ranks(test, tuple(sorted(set(rows.values()))))
    metrics = []
    for row, alpha in rows.items():
        for metric in six_recalls(ranks[alpha]):
            named = {**vars(metric), "name": f"{row}/{metric.name}"}
            metrics.append(Metric(**named))
    return chosen, metrics


def _ranks(split: Split, alphas: tuple[float, ...]) -> dict[float, dict[str, Ranks]]:
    if len(split.ids) != len(split.caption_keys):
        raise ValueError(f"{len(split.ids)} ids and {len(split.caption_keys)} caption keys; one key per id.")
    rgb, present = anchor(split.ids, split.embedded_ids, split.rgb, "rgb")
    infrared, _ = anchor(split.ids, split.embedded_ids, split.infrared, "infrared")
    text, _ = anchor(split.ids, split.embedded_ids, split.text, "text")
    return {alpha: _directions(blend(rgb, infrared, alpha), text, split.caption_keys, present) for alpha in alphas}


def _directions(fused: Floats, text: Floats, keys: Keys, present: Booleans) -> dict[str, Ranks]:
    return {
        "fused_to_text": ranks_of_keys(fused, text, keys, keys, present, present),
        "text_to_fused": ranks_of_keys(text, fused, keys, keys, present, present),
    }


def _mean_recall(directions: dict[str, Ranks]) -> float:
    return float(np.mean([(ranks < k).mean() for ranks in directions.values() for k in RECALLS]))
