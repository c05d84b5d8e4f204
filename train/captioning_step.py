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
    """Cut the rows of a batch into parts that differ by one row at most; images follow the rows that show them."""
    if chunks == 1:
        return [batch]
    pieces = {name: value.tensor_split(chunks) for name, value in batch.items() if name != "pixel_values"}
    parts = [{name: piece[number] for name, piece in pieces.items()} for number in range(chunks)]
    if "pixel_values" in batch:
        images = [int((part["image_modalities"] != NO_IMAGE).sum()) for part in parts]
        for part, values in zip(parts, batch["pixel_values"].split(images), strict=True):
            part["pixel_values"] = values
    return parts
