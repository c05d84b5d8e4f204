"""Distance of infrared images in the patch features of a frozen RSCLIP: what a retrieval model sees of a translation.

Shapes: B images (B, 1, H, W) in [0, 1], P patches, D width.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from modeling_rsclip import RSCLIPModel
from processing import RSImageProcessor


class FeatureDistance:
    """1 - cosine between patch features of two images (B,) in the infrared tower of an RSCLIP, which is not trained."""

    def __init__(self, clip: Path) -> None:
        self.clip = RSCLIPModel.from_pretrained(clip).eval().requires_grad_(requires_grad=False)
        processor = RSImageProcessor.from_pretrained(clip)
        self.side = self.clip.config.vision_config.image_size
        self.mean, self.std = (
            torch.tensor(tuple(numbers)).view(1, -1, 1, 1)
            for numbers in (processor.infrared_mean, processor.infrared_std)
        )

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.clip.to(prediction.device)
        with torch.no_grad():
            wanted = self._features(target)
        return (1 - F.cosine_similarity(self._features(prediction), wanted, dim=-1)).mean(dim=1)  # (B, P) to (B,)

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        sized = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        values = (sized - self.mean.to(images.device)) / self.std.to(images.device)
        return self.clip.get_infrared_features(values).last_hidden_state  # (B, P, D)
