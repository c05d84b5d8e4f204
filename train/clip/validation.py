"""Retrieval among held-out rows by a CLIP that is in training."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from evaluation.bundles import row_bundle
from evaluation.embedding import EMBEDDINGS, Bundle
from evaluation.foreign_models import Clip
from evaluation.retrieval import retrieval_fusionrs
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from ..engine.validation import Measure, Measures

DESCRIPTIONS = ("id", "caption_key", "label", "source")


def embed_rows(model: RSCLIPModel, processor: RSCLIPProcessor, rows: Dataset, batch_size: int) -> Bundle:
    """Embeddings of rows, as evaluation makes them."""
    return row_bundle(Clip(id="", weights_sha256="", model=model, processor=processor), rows, batch_size)


def retrieval(parts: Sequence[Bundle]) -> Measures:
    """Recall at 1, 5 and 10 of every direction that the model has, by evaluation's protocol, and their mean."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in DESCRIPTIONS}
    for name in EMBEDDINGS:
        found = [getattr(part, name) for part in parts]
        # One process may find an infrared caption in all of its rows, and another not.
        if all(array is not None for array in found):
            arrays[name] = np.concatenate(found)
    metrics = retrieval_fusionrs.score(Bundle(**arrays))
    recalls = {metric.name: metric.value for metric in metrics if not metric.name.startswith("chance/")}
    return {**recalls, "mean_recall": float(np.mean(list(recalls.values())))}


RETRIEVAL = Measure(
    own=embed_rows,
    together=retrieval,
    columns=("id", "rgb", "infrared", "captions", "infrared_captions", "caption_key", "class_name", "source"),
)
