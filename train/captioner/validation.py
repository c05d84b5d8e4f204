"""The loss of a captioner that is in training, on held-out answers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from torch import nn

from ..data.loader import Batches
from ..engine.validation import Measure, Measures

IGNORED = -100
COLUMNS = ("id", "rgb", "infrared", "captions", "infrared_captions", "class_name")


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

    return Measure(own=own, together=_mean_over_tokens, columns=COLUMNS)


def _mean_over_tokens(parts: Sequence[tuple[float, int]]) -> Measures:
    return {"loss": sum(total for total, _ in parts) / sum(tokens for _, tokens in parts)}
