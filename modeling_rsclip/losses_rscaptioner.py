"""The next-token loss of the captioner from hidden states, so that its logits are never held whole.

Logits of a batch are B * L * V numbers, several times what the rest of a training step holds. Here the head sees only
the positions that have a label, some at a time, and its logits are computed again in the backward pass.

Shapes: B rows, L tokens, T tokens with a label, D width, V vocabulary.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CHUNK_ENTRIES = 2**24  # logits of a part, 64 MiB in float32


def chunked_causal_loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden_states: torch.Tensor,
    labels: torch.Tensor,
    vocabulary: int,
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: torch.Tensor | None = None,
    chunk_entries: int = CHUNK_ENTRIES,
) -> torch.Tensor:
    """Returns what transformers' `ForCausalLMLoss` returns of `head(hidden_states)`.

    Args:
        head: Hidden states (n, D) to logits (n, V).
        hidden_states: (B, L, D); position i predicts label i + 1.
        labels: (B, L), `ignore_index` where no loss is wanted.
        vocabulary: V.
        num_items_in_batch: What the summed loss is divided by; left out, the number of labels that count.
        ignore_index: The label that does not count.
        shift_labels: (B, L) labels that are shifted already, instead of `labels`.
        chunk_entries: Logits that are held at a time.
    """
    if shift_labels is None:
        shift_labels = F.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    shift_labels = shift_labels.to(hidden_states.device)
    wanted = shift_labels != ignore_index  # (B, L)
    states, targets = hidden_states[wanted], shift_labels[wanted]  # (T, D), (T,)
    rows = max(1, chunk_entries // vocabulary)

    def summed(part: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(head(part).float(), target, reduction="sum")

    # Even without a label the head is used once: on several processes every parameter needs its (zero) gradient.
    losses = [
        checkpoint(summed, part, target, use_reentrant=False, preserve_rng_state=False)
        for part, target in zip(states.split(rows), targets.split(rows), strict=True)
    ]
    divisor = wanted.sum() if num_items_in_batch is None else num_items_in_batch
    if isinstance(divisor, torch.Tensor):
        divisor = divisor.to(hidden_states.device)
    return torch.stack(losses).sum() / divisor
