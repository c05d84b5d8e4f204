"""Translates with an RSTranslatorModel, a U-Net saved in Hub form.

On one machine the same image gives the same bytes, whatever else is in the batch; another processor or another
release of PyTorch may round a pixel the other way.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModel

from .rejects import Reject
from .translate import (
    Translated,
    TranslationInput,
    TranslatorSettings,
    encode_translated,
    find_checkpoint,
    images_in_fixed_batches,
)

MODEL_TYPE = "rstranslator"


class UNetTranslator:
    """A loaded U-Net."""

    def __init__(self, settings: TranslatorSettings) -> None:
        folder, revision = find_checkpoint(settings)
        _check_model_type(folder)
        self.origin = f"translated:unet@{revision}"
        self.settings = settings
        model = AutoModel.from_pretrained(
            folder,
            trust_remote_code=settings.trust_remote_code,
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
        )
        self.model: Any = model.eval().to(settings.device)
        self.band: str | None = model.config.infrared_band

    def translate(self, batch: Sequence[TranslationInput]) -> tuple[list[Translated], list[Reject]]:
        """Translate every image in its own size."""
        rejects = [reject for row, item in enumerate(batch) if (reject := self._judge(row, item.rgb))]
        left_out = {reject.row for reject in rejects}
        sizes = [(row, item.rgb.size) for row, item in enumerate(batch) if row not in left_out]
        kept: list[Translated] = []
        for rows, padded in images_in_fixed_batches(sizes, self.settings.images_at_once):
            infrared = self._run([batch[row].rgb for row in padded])
            for row, unit in zip(rows, infrared, strict=False):  # the padding is dropped
                if np.isfinite(unit).all():
                    config = self.model.config
                    kept.append(encode_translated(row, quantise(unit, config.output_bits, config.output_window)))
                else:
                    rejects.append(not_finite(row, unit))
        return sorted(kept, key=lambda done: done.row), sorted(rejects, key=lambda reject: reject.row)

    def _judge(self, row: int, rgb: Image.Image) -> Reject | None:
        if rgb.mode != "RGB":
            return Reject(row, "not_rgb", f"mode {rgb.mode}")
        if rgb.width * rgb.height > self.settings.max_megapixels * 1e6:
            limit = f"{self.settings.max_megapixels:g} megapixels"
            return Reject(row, "too_large", f"{rgb.width}x{rgb.height} is more than {limit}")
        return None

    def _run(self, images: list[Image.Image]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).to(self.settings.device)
        with reproducible(self.settings.cpu_threads):
            infrared = self.model(pixel_values=pixels.permute(0, 3, 1, 2) / 255).infrared  # (B, 1, H, W)
        wanted = (len(images), 1, images[0].height, images[0].width)
        if tuple(infrared.shape) != wanted:
            raise RuntimeError(f"the model returned {tuple(infrared.shape)} for images of {wanted}; geometry is lost.")
        result: NDArray[np.float32] = infrared[:, 0].float().cpu().numpy()
        return result


@contextmanager
def reproducible(cpu_threads: int) -> Iterator[None]:
    """Inference with a fixed order of summation: so many threads on a CPU, deterministic kernels on a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(cpu_threads)
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(threads)


def quantise(
    unit: NDArray[np.float32], bits: int, window: Sequence[float] | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Bring [0, 1] to a window of pixel values, or to the whole range of 8 or 16 bits; what lies outside is clipped."""
    low, high = window or (0.0, 2**bits - 1)
    whole = np.rint(np.float32(low) + np.clip(unit, 0.0, 1.0) * np.float32(high - low))
    return whole.astype(np.uint8) if bits == 8 else whole.astype(np.uint16)


def not_finite(row: int, unit: NDArray[np.float32]) -> Reject:
    """What the network made of an image where it overflowed."""
    return Reject(row, "not_finite", f"{int((~np.isfinite(unit)).sum())} of {unit.size} pixels")


def _check_model_type(folder: Path) -> None:
    path = folder / "config.json"
    found = json.loads(path.read_text()).get("model_type") if path.is_file() else None
    if found != MODEL_TYPE:
        raise ValueError(
            f"{folder} holds a model of type {found!r}; 'unet' wants the folder of a saved RSTranslatorModel "
            f"({MODEL_TYPE!r})."
        )
