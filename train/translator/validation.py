"""Measures of a translator that is in training: PSNR and SSIM of whole held-out images, one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from torch import nn

from evaluation.translation.metrics import psnr, ssim
from evaluation.translation.pairs import read_pair

from ..engine.validation import Measure

MEASURES = {"psnr": psnr, "ssim": ssim}


def translate_rows(model: nn.Module, processor: Any, rows: Dataset, batch_size: int) -> list[list[float]]:
    """PSNR and SSIM of every row; images may differ in size, so `batch_size` is not asked for."""
    device, found = next(model.parameters()).device, []
    for row in rows:
        pair = {name: image[None].to(device) for name, image in read_pair(row, processor).items()}
        infrared = model(pixel_values=pair["pixel_values"]).infrared
        target, valid = pair["infrared_values"], pair["valid"]
        found.append([float(measure(infrared, target, valid)) for measure in MEASURES.values()])
    return found


def mean_measures(parts: Sequence[list[list[float]]]) -> dict[str, float]:
    """Means over the rows of all processes."""
    means = np.concatenate([np.array(part) for part in parts]).mean(axis=0)
    return dict(zip(MEASURES, means.tolist(), strict=True))


CLOSENESS = Measure(own=translate_rows, together=mean_measures, columns=("id", "rgb", "infrared"))
