"""What a translator minimises: sums over valid pixels and their counts, so that parts and processes add up exactly.

Shapes: B images (B, 1, H, W) in [0, 1], `valid` (B, 1, H, W) where there is data.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from evaluation.translation.metrics import ssim_map, valid_windows

from .config import TranslatorLoss

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Translated and true infrared to how far each image (B,) is from the other in features."""


def term_weights(loss: TranslatorLoss) -> dict[str, float]:
    """Weight of each term that is computed."""
    weights = {"absolute": loss.absolute, "structure": loss.structure, "features": loss.features}
    scales = {f"gradient_{2**scale}": loss.gradient / loss.gradient_scales for scale in range(loss.gradient_scales)}
    return {name: weight for name, weight in {**weights, **scales}.items() if weight}


def term_sums(
    prediction: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    loss: TranslatorLoss,
    distance: Distance | None = None,
) -> dict[str, torch.Tensor]:
    """Each term, summed over what `term_counts` counts; what is not valid has no part in it, nor any gradient."""
    target = torch.where(valid, target, 0)  # whatever stands there, NaN included
    prediction = torch.where(valid, prediction, target)
    sums = {}
    for name in term_weights(loss):
        match name.split("_"):
            case ["absolute"]:
                sums[name] = (prediction - target).abs().sum()
            case ["gradient", scale]:
                sums[name] = _differences(prediction - target, valid, int(scale)).abs().sum()
            case ["structure"]:
                sums[name] = torch.where(valid_windows(valid), 1 - ssim_map(prediction, target), 0).sum()
            case ["features"]:
                assert distance is not None
                sums[name] = distance(prediction, target).sum()
    return sums


def term_counts(valid: torch.Tensor, loss: TranslatorLoss) -> dict[str, torch.Tensor]:
    """Number of pixels, pairs of neighbours, windows or images behind each term."""
    counts = {}
    for name in term_weights(loss):
        match name.split("_"):
            case ["absolute"]:
                counts[name] = valid.sum().float()
            case ["gradient", scale]:
                right, below = _valid_neighbours(valid, int(scale))
                counts[name] = (right.sum() + below.sum()).float()
            case ["structure"]:
                counts[name] = valid_windows(valid).sum().float()
            case ["features"]:
                counts[name] = torch.tensor(float(len(valid)), device=valid.device)
    return counts


def _differences(error: torch.Tensor, valid: torch.Tensor, scale: int) -> torch.Tensor:
    """Differences of an error between neighbours to the right and below, of means over squares of `scale` pixels.

    A difference of images is the difference of their errors, as means and differences are linear.
    """
    means = F.avg_pool2d(error, scale)
    steps = (means.diff(dim=-1), means.diff(dim=-2))
    kept = [torch.where(pairs, step, 0) for pairs, step in zip(_valid_neighbours(valid, scale), steps, strict=True)]
    return torch.cat([step.flatten() for step in kept])


def _valid_neighbours(valid: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether both squares of a pair of neighbours, to the right and below, hold valid pixels only."""
    whole = F.max_pool2d((~valid).float(), scale) == 0
    return whole[..., 1:] & whole[..., :-1], whole[..., 1:, :] & whole[..., :-1, :]
