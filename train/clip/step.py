"""One step of contrastive training: the loss over the rows of all processes, by gradient caching where they are many.

With gradient caching the towers run over a few rows at a time, twice: once for the embeddings, from which the loss and
its gradient with respect to each embedding follow, and once more to carry that gradient into the weights. The result is
that of one large batch; plain accumulation would contrast each part with itself only.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from modeling_rsclip import RSCLIPModel
from modeling_rsclip.losses_rsclip import weighted_mean

from ..engine.random_state import random_state, set_random_state
from .gathered_loss import gathered_pair_loss

EMBEDDING_INPUTS = (
    "input_ids",
    "attention_mask",
    "pixel_values",
    "infrared_values",
    "infrared_input_ids",
    "infrared_attention_mask",
    "image_present",
    "infrared_present",
)
Batch = dict[str, torch.Tensor]
Embeds = dict[str, torch.Tensor]


@dataclass(frozen=True)
class StepLosses:
    """Losses of a step, over the rows of all processes."""

    loss: torch.Tensor
    losses: dict[str, torch.Tensor]


class ContrastiveObjective(nn.Module):
    """What is wrapped for several processes, or sharded: every use of a tower's weight is inside `forward`."""

    def __init__(self, model: RSCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, gradients: Embeds | None = None, *, only_embed: bool = False
    ) -> StepLosses | torch.Tensor | Embeds:
        """Return the losses of a batch; or, given gradients of its embeddings, what they are the gradient of.

        With `only_embed`, return its unit embeddings by modality.
        """
        inputs: dict[str, Any] = {name: batch[name] for name in EMBEDDING_INPUTS if name in batch}
        embeds: Embeds = self.model.embed_modalities(**inputs)[0]
        if only_embed:
            return embeds
        if gradients is None:
            return self.losses(embeds, batch, self.model.clamped_logit_scale, self.model.logit_bias)
        embeds["logit_scale"] = self.model.clamped_logit_scale
        if self.model.logit_bias is not None:
            embeds["logit_bias"] = self.model.logit_bias
        return torch.stack([(embeds[name] * gradient).sum() for name, gradient in gradients.items()]).sum()

    def losses(self, embeds: Embeds, batch: Batch, scale: torch.Tensor, bias: torch.Tensor | None) -> StepLosses:
        """The losses of embeddings."""
        present = {
            "rgb": batch.get("image_present"),
            "infrared": batch.get("infrared_present"),
            "infrared_text": batch.get("infrared_text_present"),
        }
        keys = {"text": batch.get("caption_keys"), "infrared_text": batch.get("infrared_caption_keys")}

        def loss_of_pair(kind: str, first: Any, second: Any, _: Any, __: Any, *rest: Any) -> torch.Tensor:
            return gathered_pair_loss(kind, first, second, scale, bias, *rest)

        losses = self.model.pair_losses(embeds, present, keys, loss_of_pair)
        return StepLosses(weighted_mean(losses, self.model.config.loss_weights), losses)


def contrastive_step(accelerator: Accelerator, objective: nn.Module, batch: Batch, chunks: int) -> StepLosses:
    """Run forward and backward over this process's rows of a step.

    Args:
        accelerator: what the objective was prepared with.
        objective: a prepared `ContrastiveObjective`.
        batch: the rows of this process.
        chunks: parts that go through the towers one after another; the same number on every process.
    """
    if chunks == 1:
        result: StepLosses = objective(batch)
        accelerator.backward(result.loss)
        return result
    bare: ContrastiveObjective = accelerator.unwrap_model(objective)
    parts = split_batch(batch, chunks)
    states, embeds = _embed_parts(accelerator, bare, parts)
    result, gradients = _gradients_of_embeddings(bare, embeds, batch, chunks)
    for number, (part, state) in enumerate(zip(parts, states, strict=True)):
        is_last = number == chunks - 1
        wanted = {name: pieces[number] for name, pieces in gradients.items()}
        set_random_state(state)
        with nullcontext() if is_last else accelerator.no_sync(objective):
            accelerator.backward(objective(part, wanted))
    return result


def split_batch(batch: Batch, chunks: int) -> list[Batch]:
    """Cut the rows of a batch into parts that differ by one row at most."""
    pieces = {name: value.tensor_split(chunks) for name, value in batch.items()}
    return [{name: pieces[name][number] for name in batch} for number in range(chunks)]


def _embed_parts(accelerator: Accelerator, bare: ContrastiveObjective, parts: list[Batch]) -> tuple[list[Any], Embeds]:
    """Embeddings without a graph, and the random state that each part began with: dropout must be the same again."""
    states, found = [], []
    with torch.no_grad(), accelerator.autocast():
        for part in parts:
            states.append(random_state())
            found.append(bare(part, only_embed=True))
    return states, {name: torch.cat([embeds[name] for embeds in found]) for name in found[0]}


def _gradients_of_embeddings(
    bare: ContrastiveObjective, embeds: Embeds, batch: Batch, chunks: int
) -> tuple[StepLosses, dict[str, tuple[torch.Tensor, ...]]]:
    """Losses, and their gradient by embedding, cut as the batch was; those of scale and bias in equal parts."""
    leaves = {name: value.detach().requires_grad_() for name, value in embeds.items()}
    scale, bias = bare.model.clamped_logit_scale, bare.model.logit_bias
    scalars = {"logit_scale": scale.detach().requires_grad_()}
    if bias is not None:
        scalars["logit_bias"] = bias.detach().requires_grad_()
    result = bare.losses(leaves, batch, scalars["logit_scale"], scalars.get("logit_bias"))
    result.loss.backward()
    found = {name: leaf.grad.tensor_split(chunks) for name, leaf in leaves.items() if leaf.grad is not None}
    equal = {name: (leaf.grad / chunks,) * chunks for name, leaf in scalars.items() if leaf.grad is not None}
    return StepLosses(result.loss.detach(), result.losses), {**found, **equal}
