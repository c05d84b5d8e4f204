"""Rows of FusionRS to batches for the CLIP: one caption per row and epoch, the images that the trained pairs need."""

import hashlib
from typing import Any

import torch

from processing import RSCLIPProcessor

from .draw import draw, pick


def text_key(text: str) -> int:
    """A text as an integer that fits a tensor; equal texts have equal keys."""
    return int.from_bytes(hashlib.sha256(text.casefold().encode()).digest()[:8], "little", signed=True)


def _keys(texts: list[str]) -> torch.Tensor:
    return torch.tensor([text_key(text) for text in texts])


class ClipBatches:
    """Rows to the inputs of RSCLIP that the trained pairs need."""

    def __init__(self, processor: RSCLIPProcessor, seed: int, modality_dropout: float, pairs: tuple[str, ...]):
        self.processor, self.seed, self.modality_dropout = processor, seed, modality_dropout
        self.infrared = any("infrared" in pair or "fused" in pair for pair in pairs)
        self.infrared_text = "infrared_infrared_text" in pairs

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        generators = [draw(self.seed, row["epoch"], row["id"]) for row in rows]
        inputs: dict[str, Any] = {"images": [row["rgb"]["bytes"] for row in rows]}
        inputs["text"] = [pick(row["captions"], generator) for row, generator in zip(rows, generators, strict=True)]
        extra: dict[str, Any] = {"caption_keys": _keys([row["caption_key"] for row in rows])}
        if self.infrared:
            inputs["infrared"] = [row["infrared"]["bytes"] for row in rows]
        if self.infrared_text:
            texts = [
                pick(row["infrared_captions"] or [""], generator)
                for row, generator in zip(rows, generators, strict=True)
            ]
            inputs["infrared_text"] = texts
            extra["infrared_caption_keys"] = _keys(texts)
            extra["infrared_text_present"] = torch.tensor([bool(text) for text in texts])
        if self.modality_dropout:
            dice = torch.stack([torch.rand(2, generator=generator) for generator in generators])
            dropped, rgb = dice[:, 0] < self.modality_dropout, dice[:, 1] < 0.5
            extra["image_present"], extra["infrared_present"] = ~(dropped & rgb), ~(dropped & ~rgb)
        return {**self.processor(**inputs), **extra}
