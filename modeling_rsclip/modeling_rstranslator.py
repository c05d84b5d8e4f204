"""RSTranslator: a residual U-Net that turns an RGB image of any size into an infrared image of the same size.

Shapes: B images, H and W their sides, C channels of a level, h and w the sides at that level.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_rstranslator import RSTranslatorConfig
from .pretrained_rsclip import LoudPreTrainedModel


@dataclass
class RSTranslatorOutput(ModelOutput):
    """The infrared image (B, 1, H, W) in [0, 1], and its mean absolute error where a target was given."""

    loss: torch.Tensor | None = None
    infrared: torch.Tensor | None = None


class RSTranslatorBlock(GradientCheckpointingLayer):
    """Two normalised convolutions around which the input is carried."""

    def __init__(self, in_channels: int, out_channels: int, norm_groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm2 = nn.GroupNorm(norm_groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(change)))


class RSTranslatorModel(LoudPreTrainedModel):
    """The U-Net. Images are padded by reflection to a multiple of 2**depth, and cropped back."""

    config: RSTranslatorConfig
    main_input_name = "pixel_values"
    base_model_prefix = "translator"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["RSTranslatorBlock"]
    _can_compile_fullgraph = True
    hub_auto_map = {
        "AutoConfig": "configuration_rstranslator.RSTranslatorConfig",
        "AutoModel": "modeling_rstranslator.RSTranslatorModel",
    }

    def __init__(self, config: RSTranslatorConfig):
        super().__init__(config)
        widths, groups = config.level_channels, config.norm_groups
        last_first = list(reversed(widths))
        self.stem = nn.Conv2d(3, widths[0], kernel_size=3, padding=1)
        self.down_blocks = nn.ModuleList(self._blocks(width, width) for width in widths[:-1])
        self.down_samples = nn.ModuleList(
            nn.Conv2d(wide, wider, kernel_size=3, stride=2, padding=1) for wide, wider in pairwise(widths)
        )
        self.middle = self._blocks(widths[-1], widths[-1])
        self.up_samples = nn.ModuleList(
            nn.Conv2d(wider, wide, kernel_size=3, padding=1) for wider, wide in pairwise(last_first)
        )
        self.up_blocks = nn.ModuleList(self._blocks(2 * width, width) for width in last_first[1:])
        self.norm_out = nn.GroupNorm(groups, widths[0])
        self.conv_out = nn.Conv2d(widths[0], 1, kernel_size=3, padding=1)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, infrared_values: torch.Tensor | None = None, **kwargs: Any
    ) -> RSTranslatorOutput:
        """Translates a batch of images of one size.

        Args:
            pixel_values: RGB images (B, 3, H, W) in [0, 1], not normalised; any H and W.
            infrared_values: The infrared images (B, 1, H, W) in [0, 1] to learn.
        """
        _check_shapes(pixel_values, infrared_values)
        height, width = pixel_values.shape[-2:]
        x = self.stem(_pad_by_reflection(2 * pixel_values.to(self.dtype) - 1, 2**self.config.depth))
        skips = []
        for blocks, down_sample in zip(self.down_blocks, self.down_samples, strict=True):
            x = blocks(x)
            skips.append(x)  # (B, C, h, w)
            x = down_sample(x)
        x = self.middle(x)
        for up_sample, blocks in zip(self.up_samples, self.up_blocks, strict=True):
            x = up_sample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = blocks(torch.cat([x, skips.pop()], dim=1))  # (B, 2C, h, w) to (B, C, h, w)
        logits = self.conv_out(F.silu(self.norm_out(x)))
        # In float32, because bfloat16 has fewer steps near 1 than an 8-bit image.
        infrared = torch.sigmoid(logits.float())[..., :height, :width]  # (B, 1, H, W)
        loss = None if infrared_values is None else F.l1_loss(infrared, infrared_values.float())
        return RSTranslatorOutput(loss=loss, infrared=infrared)

    def to_pixels(self, infrared: torch.Tensor) -> torch.Tensor:
        """The pixels (int32) to save for images in [0, 1]: rounded counts of the sensor, clipped to their limits."""
        low, high = self.config.output_limits
        return (low + infrared.float().clamp(0, 1) * (high - low)).round().to(torch.int32)

    def _blocks(self, in_channels: int, out_channels: int) -> nn.Sequential:
        starts = [in_channels] + [out_channels] * (self.config.blocks_per_level - 1)
        return nn.Sequential(*(RSTranslatorBlock(start, out_channels, self.config.norm_groups) for start in starts))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """He's initialisation; the 0.02 that transformers gives convolutions leaves a deep U-Net without signal."""
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)
        else:
            super()._init_weights(module)


def _check_shapes(pixel_values: torch.Tensor, infrared_values: torch.Tensor | None) -> None:
    shape = tuple(pixel_values.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise ValueError(f"pixel_values have the shape {shape}; wanted RGB images (batch, 3, height, width).")
    wanted = (shape[0], 1, *shape[2:])
    if infrared_values is not None and tuple(infrared_values.shape) != wanted:
        raise ValueError(
            f"infrared_values have the shape {tuple(infrared_values.shape)}; wanted {wanted}, the geometry of "
            "pixel_values in one channel."
        )


def _pad_by_reflection(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Mirrors images at their right and lower edges, as often as it takes: `F.pad` refuses more than one image."""
    for dim in (-2, -1):
        size = images.shape[dim]
        padding = -size % multiple
        if padding:
            period = max(2 * size - 2, 1)
            index = torch.arange(size + padding, device=images.device) % period
            images = images.index_select(dim, torch.where(index < size, index, period - index))
    return images


__all__ = ["RSTranslatorModel", "RSTranslatorOutput"]
