"""Contrastive losses over one pair of modalities, with several positives per row. Pure functions.

Shapes: N rows of the pair, D width of the embeddings.
"""

import torch
import torch.nn.functional as F


def positive_pairs(rows: int, keys: torch.Tensor | None, device: torch.device) -> torch.Tensor:
    """Which (row, column) describe the same thing: (N, N) booleans, the diagonal always among them."""
    identity = torch.eye(rows, dtype=torch.bool, device=device)
    if keys is None:
        return identity
    if keys.shape != (rows,):
        raise ValueError(f"keys must hold one key for each of the {rows} rows, got shape {tuple(keys.shape)}.")
    return identity | (keys[:, None] == keys[None, :])


def softmax_loss(logits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE; a row with several positives aims at all of them alike.

    With P(i) the positives of row i: -1/|P(i)| sum over j in P(i) of log softmax(logits[i])[j], averaged over rows
    and over both directions. With one positive per row this is CLIP's loss.
    """
    targets = positives / positives.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.t(), targets)) / 2


def sigmoid_loss(logits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """SigLIP's loss: every (row, column) is a binary question; summed over columns, averaged over rows."""
    signs = positives.to(logits.dtype) * 2 - 1
    return -F.logsigmoid(signs * logits).sum(dim=1).mean()


def pair_loss(
    kind: str,
    first: torch.Tensor,
    second: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    keys: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of one pair of modalities, computed in float32.

    Args:
        kind: `softmax` or `sigmoid`.
        first: Unit embeddings (N, D) of one modality; row i of `second` is its partner.
        second: Unit embeddings (N, D) of the other.
        scale: Inverse temperature, already exponentiated and clamped.
        bias: Added to the logits; the softmax does not feel it.
        keys: One integer per row; rows with equal keys are positives of each other.
        present: Rows (N,) in which both modalities exist; the others take no part.

    Returns:
        A scalar; exactly zero, and still part of the graph, when no row has both modalities.
    """
    if present is not None:
        first, second = first[present], second[present]
        keys = keys[present] if keys is not None else None
    if len(first) == 0:
        return (first.sum() + second.sum()) * 0.0
    with torch.autocast(first.device.type, enabled=False):
        logits = scale.float() * first.float() @ second.float().t()
        if bias is not None:
            logits = logits + bias.float()
        positives = positive_pairs(len(logits), keys, logits.device)
        match kind:
            case "softmax":
                return softmax_loss(logits, positives)
            case "sigmoid":
                return sigmoid_loss(logits, positives)
    raise ValueError(f"loss {kind!r} is not one of 'softmax', 'sigmoid'.")


def weighted_mean(losses: dict[str, torch.Tensor], weights: dict[str, float]) -> torch.Tensor:
    """Sum of weight times loss over the pairs at hand, divided by the sum of their weights."""
    weighted = torch.stack([weights[name] * loss for name, loss in losses.items()])
    return weighted.sum() / sum(weights[name] for name in losses)
