"""One step of translator training: means over the valid pixels of all processes and parts, not means of means."""

from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import nn

from .config import TranslatorLoss
from .losses import Distance, term_counts, term_sums, term_weights

Batch = dict[str, torch.Tensor]


def translator_step(
    accelerator: Accelerator,
    model: nn.Module,
    batch: Batch,
    chunks: int,
    loss: TranslatorLoss,
    distance: Distance | None = None,
) -> dict[str, torch.Tensor]:
    """Run forward and backward over this process's rows of a step, and return the loss over all of them and its terms.

    Args:
        accelerator: what the model was prepared with.
        model: a prepared translator.
        batch: the rows of this process.
        chunks: parts that go through the model one after another; the same number on every process.
        loss: weights of the terms.
        distance: distance in features, where the loss has such a term.
    """
    weights = term_weights(loss)
    # Processes average their gradients: each divides by the mean count of a process. Without a valid pixel there is
    # nothing to divide.
    counts = {
        name: accelerator.reduce(count, "mean").clamp(min=torch.finfo(torch.float32).tiny)
        for name, count in term_counts(batch["valid"], loss).items()
    }
    terms = {name: torch.zeros((), device=accelerator.device) for name in weights}
    for number, part in enumerate(split_rows(batch, chunks)):
        pixels, target, valid = (part[name] for name in ("pixel_values", "infrared_values", "valid"))
        with nullcontext() if number == chunks - 1 else accelerator.no_sync(model):
            infrared = model(pixel_values=pixels).infrared
            sums = term_sums(infrared, target, valid, loss, distance)
            means = {name: value / counts[name] for name, value in sums.items()}
            accelerator.backward(sum(weights[name] * value for name, value in means.items()))
        terms = {name: terms[name] + value.detach() for name, value in means.items()}
    terms = {name: accelerator.reduce(value, "mean") for name, value in terms.items()}
    total = sum((weights[name] * value for name, value in terms.items()), torch.zeros((), device=accelerator.device))
    return {"loss": total, **{f"loss_{name}": value for name, value in terms.items()}}


def split_rows(batch: Batch, chunks: int) -> list[Batch]:
    """Cut the rows of a batch into parts that differ by one row at most.

    Every process runs every part, so one that would be empty is a row without valid pixels.
    """
    pieces = {name: values.tensor_split(chunks) for name, values in batch.items()}
    nothing = {name: values[:1] for name, values in batch.items()} | {"valid": torch.zeros_like(batch["valid"][:1])}
    parts = [{name: piece[number] for name, piece in pieces.items()} for number in range(chunks)]
    return [part if len(part["valid"]) else nothing for part in parts]
