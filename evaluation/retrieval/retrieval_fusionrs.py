"""Protocol `retrieval-fusionrs`: RGB, infrared, fused pairs and texts find each other.

Images and texts are positives where their `caption_key` is equal (of infrared texts, `infrared_caption_key`), RGB and
infrared where they are one row.
"""

import numpy as np
import numpy.typing as npt

from ..embedding import Bundle
from ..results import Metric
from .recall import Keys, Ranks, chance_recall, mean_interval, ranks_both_ways, ranks_of_first_positive, recall_at

RECALLS = (1, 5, 10)
# The key of a row without an infrared text.
NO_TEXT = ""
DIRECTIONS = (
    ("rgb", "text"),
    ("text", "rgb"),
    ("infrared", "text"),
    ("text", "infrared"),
    ("fused", "text"),
    ("text", "fused"),
    ("rgb", "infrared"),
    ("infrared", "rgb"),
    ("infrared", "infrared_text"),
    ("infrared_text", "infrared"),
    ("fused", "infrared_text"),
    ("rgb", "infrared_text"),
)


def score(bundle: Bundle) -> list[Metric]:
    """Recall at 1, 5 and 10 of every direction that the bundle has, and what chance would give."""
    metrics = []
    known: dict[tuple[str, str], Ranks] = {}
    for query, gallery in DIRECTIONS:
        queries, entries = getattr(bundle, query), getattr(bundle, gallery)
        if queries is None or entries is None:
            continue
        rows = rows_asked(bundle, query, gallery)
        queries, entries, keys = queries[rows], entries[rows], positives_of(bundle, query, gallery)[rows]
        if (gallery, query) not in DIRECTIONS:
            known[query, gallery] = ranks_of_first_positive(queries, entries, keys, keys)
        elif (query, gallery) not in known:
            known[query, gallery], known[gallery, query] = ranks_both_ways(queries, entries, keys, keys)
        ranks = known[query, gallery]
        for k in RECALLS:
            low, high = mean_interval((ranks < k).astype(np.float64))
            name = f"{query}_to_{gallery}/recall_at_{k}"
            metrics.append(Metric(name=name, value=recall_at(ranks, k), low=low, high=high, n=len(ranks)))
            chance = chance_recall(keys, keys, k)
            metrics.append(Metric(name=f"chance/{name}", value=chance, low=chance, high=chance, n=len(ranks)))
    return metrics


def positives_of(bundle: Bundle, query: str, gallery: str) -> Keys:
    """The key that makes two rows positives of each other in this direction."""
    if "text" in (query, gallery):
        return bundle.caption_key
    if "infrared_text" in (query, gallery) and len(bundle.infrared_caption_key):
        return bundle.infrared_caption_key
    return bundle.id


def rows_asked(bundle: Bundle, query: str, gallery: str) -> npt.NDArray[np.bool_]:
    """The rows (N,) that take part in this direction: where infrared texts are asked for, those that have one."""
    if "infrared_text" not in (query, gallery) or not len(bundle.infrared_caption_key):
        return np.ones(len(bundle.id), dtype=np.bool_)
    found: npt.NDArray[np.bool_] = bundle.infrared_caption_key != NO_TEXT
    return found
