"""Fusion of an RGB and an infrared embedding into one; either may be missing.

Shapes: B pairs, D width of the embeddings, W width of a tower, P patches of one image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class ImageView:
    """One modality as fusion sees it: embedding (B, D), patch features (B, P, W), which rows exist (B,)."""

    embedding: torch.Tensor
    tokens: torch.Tensor
    present: torch.Tensor


class MeanFusion(nn.Module):
    """Mean of the unit embeddings that exist."""

    def forward(self, rgb: ImageView, infrared: ImageView) -> torch.Tensor:
        return _blend(rgb, infrared, 0.5)


class GatedFusion(nn.Module):
    """A learned gate per dimension, read from both embeddings; it starts as the mean."""

    def __init__(self, embedding_dim: int):
        super().__init__()
        self.gate = nn.Linear(2 * embedding_dim, embedding_dim)

    def forward(self, rgb: ImageView, infrared: ImageView) -> torch.Tensor:
        both = torch.cat([_unit(rgb), _unit(infrared)], dim=-1)  # (B, 2D)
        return _blend(rgb, infrared, torch.sigmoid(self.gate(both)))


class AttentionFusion(nn.Module):
    """The mean, corrected by one query that attends to the patches of both images; it starts as the mean."""

    def __init__(self, embedding_dim: int, tower_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(embedding_dim, embedding_dim)
        self.key = nn.Linear(tower_width, embedding_dim)
        self.value = nn.Linear(tower_width, embedding_dim)
        self.out = nn.Linear(embedding_dim, embedding_dim)
        self.modality = nn.Embedding(2, tower_width)
        self.token_norm = nn.LayerNorm(tower_width)

    def forward(self, rgb: ImageView, infrared: ImageView) -> torch.Tensor:
        mean = _blend(rgb, infrared, 0.5)  # (B, D)
        tokens = torch.cat(
            [
                self.token_norm(_known(rgb.tokens, rgb.present)) + self.modality.weight[0],
                self.token_norm(_known(infrared.tokens, infrared.present)) + self.modality.weight[1],
            ],
            dim=1,
        )  # (B, 2P, W)
        visible = torch.cat(
            [
                rgb.present[:, None].expand(-1, rgb.tokens.shape[1]),
                infrared.present[:, None].expand(-1, infrared.tokens.shape[1]),
            ],
            dim=1,
        )  # (B, 2P)
        visible = visible | ~visible.any(dim=1, keepdim=True)  # a row without any image must not become NaN
        query = self._split(self.query(mean)[:, None])
        attended = F.scaled_dot_product_attention(
            query, self._split(self.key(tokens)), self._split(self.value(tokens)), attn_mask=visible[:, None, None]
        )  # (B, heads, 1, D / heads)
        return mean + self.out(attended.transpose(1, 2).flatten(2)[:, 0])

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, length, D / heads)


def build_fusion(kind: str, embedding_dim: int, tower_width: int, heads: int) -> nn.Module | None:
    """The fusion module of a configuration; None for `none`."""
    match kind:
        case "none":
            return None
        case "mean":
            return MeanFusion()
        case "gated":
            return GatedFusion(embedding_dim)
        case "attention":
            return AttentionFusion(embedding_dim, tower_width, heads)
    raise ValueError(f"fusion {kind!r} is not one of 'none', 'mean', 'gated', 'attention'.")


def corrections(fusion: nn.Module | None) -> list[torch.Tensor]:
    """The parameters that move a fusion away from the mean; at zero it is the mean."""
    match fusion:
        case GatedFusion():
            return [fusion.gate.weight, fusion.gate.bias]
        case AttentionFusion():
            return [fusion.out.weight, fusion.out.bias]
    return []


def _known(values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Zeroes the rows of a missing image, so that neither its values nor its gradient pass."""
    return torch.where(present.view(-1, *[1] * (values.ndim - 1)), values, torch.zeros_like(values))


def _unit(view: ImageView) -> torch.Tensor:
    return _known(F.normalize(view.embedding, dim=-1), view.present)


def _blend(rgb: ImageView, infrared: ImageView, rgb_share: torch.Tensor | float) -> torch.Tensor:
    """Weighted mean of the unit embeddings (B, D); where one image is missing the other one takes the whole weight."""
    both = rgb.present & infrared.present
    first, second = _unit(rgb), _unit(infrared)
    return torch.where(both[:, None], rgb_share * first + (1 - rgb_share) * second, first + second)
