"""A picture of translations: RGB, the measured infrared, and every answer beside it with its PSNR and SSIM."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from .metrics import psnr, ssim


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One row of the picture."""

    id: str
    pair: dict[str, torch.Tensor]
    answers: dict[str, torch.Tensor]


def translation_figure(path: Path, shown: Sequence[Shown]) -> None:
    """Writes one line of images for each row; all infrared is drawn from 0 (black) to 1 (white)."""
    names = [name for name in shown[0].answers if name != "constant"]
    columns = 2 + len(names)
    figure = Figure(figsize=(2.5 * columns, 2.85 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for axes, one in zip(grid, shown, strict=True):
        target, valid = one.pair["infrared_values"], one.pair["valid"]
        axes[0].imshow(one.pair["pixel_values"].permute(1, 2, 0).numpy())
        axes[0].set_title(f"RGB, {one.id.split(':')[-1][-24:]}", fontsize=8)
        axes[1].imshow(target.where(valid, torch.nan)[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axes[1].set_title("measured", fontsize=8)
        for place, name in zip(axes[2:], names, strict=True):
            image = one.answers[name]
            place.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
            decibels, likeness = (float(m(image[None], target[None], valid[None])) for m in (psnr, ssim))
            place.set_title(f"{name}: {decibels:.1f} dB, SSIM {likeness:.2f}", fontsize=8)
        for place in axes:
            place.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
