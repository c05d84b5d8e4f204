"""Measures on held-out rows while a run goes on; the run's random numbers are not drawn from.

Processes share the rows out. Where parameters are sharded, every process takes all rows, since each layer's parameters
are gathered from all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from datasets import Dataset
from torch import nn

from evaluation import retrieval_fusionrs
from evaluation.bundles import row_bundle
from evaluation.embedding import EMBEDDINGS, Bundle
from evaluation.foreign_models import Clip
from evaluation.rows import load_split
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from .engine_config import DataConfig, ValidationConfig
from .loader import Batches
from .random_state import kept_random_state
from .sharding import whole_root

VALIDATION = "validation/"
IGNORED = -100
DESCRIPTIONS = ("id", "caption_key", "label", "source")
Measures = dict[str, float]
# Model, processor, the rows of this process, and how many at once.
Own = Callable[[Any, Any, Dataset, int], Any]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured: by each process on its rows, and then together."""

    own: Own
    together: Callable[[Sequence[Any]], Measures]
    """Results of all processes, in the order of rows, to measures by name."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A measure, ready to be taken of a model that is in training."""

    accelerator: Accelerator
    objective: nn.Module
    model: nn.Module
    processor: Any
    rows: Dataset
    batch_size: int
    measure: Measure

    def __call__(self) -> Measures:
        """The measures, on the first process; every process takes part."""
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        is_shared_out = not self.accelerator.is_fsdp2 and len(self.rows) >= ranks
        rows = self.rows
        if is_shared_out:
            rows = rows.select(range(len(rows) * rank // ranks, len(rows) * (rank + 1) // ranks))
        self.model.eval()
        with kept_random_state(), torch.no_grad(), self.accelerator.autocast(), whole_root(self.objective):
            own = self.measure.own(self.model, self.processor, rows, self.batch_size)
        self.objective.train()
        results = gather_object([own]) if is_shared_out else [own]
        return self.measure.together(results) if self.accelerator.is_main_process else {}


def load_held_out(validation: ValidationConfig, data: DataConfig, measure: Measure | None) -> Dataset | None:
    """The rows to validate on, None where a run is not validated.

    Raises:
        ValueError: the program measures nothing, or the rows are those that are trained on.
    """
    if not validation.every_steps:
        return None
    if measure is None:
        raise ValueError("this program measures nothing on held-out rows; leave validation.every_steps at 0.")
    path = validation.path or data.path
    if (path, validation.split) == (data.path, data.train_split):
        raise ValueError(f"validation.split is {validation.split!r}, which is trained on; name a held-out split.")
    rows = load_split(path, validation.split)
    return rows.select(range(min(validation.rows, len(rows))))


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


RETRIEVAL = Measure(own=embed_rows, together=retrieval)


def answer_loss(batches_of: Callable[[Any], Batches]) -> Measure:
    """Mean loss of a captioner over the answer tokens of rows that are drawn as in the first epoch."""

    def own(model: nn.Module, processor: Any, rows: Dataset, batch_size: int) -> tuple[float, int]:
        batches, total, tokens = batches_of(processor), 0.0, 0
        device = next(model.parameters()).device
        for start in range(0, len(rows), batch_size):
            part = rows.select(range(start, min(start + batch_size, len(rows))))
            batch = send_to_device(batches([{**row, "epoch": 0} for row in part]), device)
            total += model(**batch, num_items_in_batch=torch.ones((), device=device)).loss.item()
            tokens += int((batch["labels"][:, 1:] != IGNORED).sum())
        return total, tokens

    return Measure(own=own, together=_mean_over_tokens)


def _mean_over_tokens(parts: Sequence[tuple[float, int]]) -> Measures:
    return {"loss": sum(total for total, _ in parts) / sum(tokens for _, tokens in parts)}
