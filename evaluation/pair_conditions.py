"""What can happen to a pair between the sensors and the model: an image is missing, infrared is noisy or out of line.

Applied to the pixels as the model reads them, so that it is the same for every size, depth and scaling of the files.
Shapes: B pairs, C channels, H and W pixels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

PairCondition = Literal["as_is", "no_rgb", "no_infrared", "noisy_infrared", "shifted_infrared"]
# Gaussian noise as strong as the image: its standard deviation is the image's own.
NOISE = 1.0
# 8 of 96 pixels, to the right and down.
SHIFT = 1 / 12


def under_condition(
    condition: PairCondition, inputs: Mapping[str, torch.Tensor], names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Pixels of pairs under a condition; a missing image is left out.

    Args:
        condition: What happened.
        inputs: `pixel_values` (B, C, H, W) and `infrared_values` (B, C, H, W).
        names: Of the pairs (B); the noise of a pair follows from its name.
    """
    changed = dict(inputs)
    match condition:
        case "as_is":
            pass
        case "no_rgb":
            del changed["pixel_values"]
        case "no_infrared":
            del changed["infrared_values"]
        case "noisy_infrared":
            changed["infrared_values"] = with_noise(inputs["infrared_values"], names)
        case "shifted_infrared":
            changed["infrared_values"] = shifted(inputs["infrared_values"])
    return changed


def with_noise(images: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
    """Images (B, C, H, W) with noise; channels that repeat one band get equal noise."""
    fields = []
    for name in names:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
        fields.append(torch.randn(1, *images.shape[-2:], generator=torch.Generator().manual_seed(seed)))
    noise = torch.stack(fields).to(images.device, images.dtype)
    return images + NOISE * noise * images.std(dim=(-2, -1), keepdim=True)


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Images (B, C, H, W) moved to the right and down; what comes in repeats the edge."""
    height, width = images.shape[-2:]
    down, right = round(height * SHIFT), round(width * SHIFT)
    padded = torch.nn.functional.pad(images, (right, 0, down, 0), mode="replicate")
    return padded[..., :height, :width]
