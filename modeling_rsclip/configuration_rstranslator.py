"""Configuration of the translator: a U-Net from RGB to one infrared channel."""

import math
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class RSTranslatorConfig(PreTrainedConfig):
    """A residual U-Net from an RGB image to an infrared image of the same size.

    Args:
        base_channels: Width of the first level; it doubles at each level.
        max_channels: Width at which it stops to double.
        depth: How often the image is halved.
        blocks_per_level: Residual blocks of each level, on the way down and on the way up.
        norm_groups: Groups of each group normalisation.
        output_bits: Bits of the pixels that the image is to be saved with, 8 or 16; the network itself gives [0, 1].
        output_window: Pixel values that 0 and 1 stand for, in the counts of the sensor that was learnt from; without it
            the whole range of `output_bits`.
        infrared_band: `thermal`, `mwir`, `swir` or `nir`: what the infrared images were that the model learnt from.
    """

    model_type = "rstranslator"

    base_channels: int = 32
    max_channels: int = 256
    depth: int = 4
    blocks_per_level: int = 1
    norm_groups: int = 8
    output_bits: Literal[8, 16] = 8
    output_window: list[float] | None = None
    infrared_band: Literal["thermal", "mwir", "swir", "nir"] | None = None

    @property
    def output_limits(self) -> tuple[float, float]:
        """Pixel values that 0 and 1 stand for."""
        if self.output_window is None:
            return 0.0, float(2**self.output_bits - 1)
        return self.output_window[0], self.output_window[1]

    @property
    def level_channels(self) -> list[int]:
        """Width of each level, the full resolution first."""
        return [min(self.base_channels * 2**level, self.max_channels) for level in range(self.depth + 1)]

    def validate_architecture(self) -> None:
        """Refuses what the model could not compute."""
        for name in ("base_channels", "max_channels", "blocks_per_level", "norm_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; it must be at least 1.")
        if not 0 <= self.depth <= 10:
            raise ValueError(f"depth={self.depth}; it must lie in 0..10.")
        wrong = [channels for channels in self.level_channels if channels % self.norm_groups]
        if wrong:
            raise ValueError(
                f"norm_groups={self.norm_groups} does not divide the width {wrong[0]}; the levels have "
                f"{self.level_channels} channels."
            )
        window, highest = self.output_window, 2**self.output_bits - 1
        if window is not None and not (
            len(window) == 2 and all(map(math.isfinite, window)) and 0 <= window[0] < window[1] <= highest
        ):
            raise ValueError(
                f"output_window={window}; it must be a lower and a higher pixel value in 0..{highest}, what "
                f"output_bits={self.output_bits} can hold."
            )


__all__ = ["RSTranslatorConfig"]
