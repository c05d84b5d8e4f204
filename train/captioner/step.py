"""One step of captioner training: the mean over the answer tokens of all processes and parts, not a mean of means."""

from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import nn

from modeling_rsclip.modeling_rscaptioner import NO_IMAGE

IGNORED = -100
Batch = dict[str, torch.Tensor]


def captioning_step(accelerator: Accelerator, model: nn.Module, batch: Batch, chunks: int) -> torch.Tensor:
    """Run forward and backward over this process's rows of a step, and return the loss over all of them.

    Args:
        accelerator: what the model was prepared with.
        model: a prepared captioner.
        batch: the rows of this process.
        chunks: parts that go through the model one after another; the same number on every process.
    """
    tokens = (batch["labels"][:, 1:] != IGNORED).sum()
    mean_tokens = accelerator.reduce(tokens.float(), "mean")
    total = torch.zeros((), device=tokens.device)
    for number, part in enumerate(split_rows(batch, chunks)):
        with nullcontext() if number == chunks - 1 else accelerator.no_sync(model):
            # Processes average their gradients: each divides by the mean number of tokens of a process.
            loss = model(**part, num_items_in_batch=mean_tokens).loss
            accelerator.backward(loss)
            total += loss.detach()
    return accelerator.reduce(total, "mean")


def split_rows(batch: Batch, chunks: int) -> list[Batch]:
    """Cut a batch into parts of rows of similar length, each as long as its own longest row.

    Which rows a step has does not change, nor does its loss: rows move between the parts of a step only. Parts differ
    by one row at most; one without a row of its own repeats a row without its labels, so that every process has as many
    parts. Images follow the rows that show them.
    """
    if chunks == 1:
        return [batch]
    lengths = batch["attention_mask"].sum(dim=1)
    order = lengths.argsort(stable=True)
    return [_part(batch, rows) if len(rows) else _nothing(batch) for rows in order.tensor_split(chunks)]


def _part(batch: Batch, rows: torch.Tensor) -> Batch:
    """Some rows without the columns that pad all of them."""
    part = {name: value[rows] for name, value in batch.items() if name != "pixel_values"}
    used = part["attention_mask"].any(dim=0)
    for name in ("input_ids", "attention_mask", "labels"):
        part[name] = part[name][:, used]
    if "pixel_values" in batch:
        images = (batch["image_modalities"] != NO_IMAGE).sum(dim=1)
        per_row = batch["pixel_values"].split(images.tolist())
        part["pixel_values"] = torch.cat([per_row[row] for row in rows.tolist()])
    return part


def _nothing(batch: Batch) -> Batch:
    part = _part(batch, torch.zeros(1, dtype=torch.long, device=batch["labels"].device))
    return {**part, "labels": torch.full_like(part["labels"], IGNORED)}
