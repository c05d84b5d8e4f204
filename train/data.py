"""Rows of FusionRS to batches: deterministic order, one caption per row and epoch, images through the one loader."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler

from evaluation.captioning import INFRARED_PROMPT, SCENE_PROMPT, prompt
from processing import RSCaptionerProcessor, RSCLIPProcessor

from .config import DataConfig
from .data_order import RowOfEpoch
from .draw import draw, pick

Batches = Callable[[list[dict[str, Any]]], dict[str, Any]]


def text_key(text: str) -> int:
    """A text as an integer that fits a tensor; equal texts have equal keys."""
    return int.from_bytes(hashlib.sha256(text.casefold().encode()).digest()[:8], "little", signed=True)


def _keys(texts: list[str]) -> torch.Tensor:
    return torch.tensor([text_key(text) for text in texts])


class EpochRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows that know the epoch they are drawn for."""

    def __init__(self, rows: Dataset):
        self.rows = rows

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        epoch, row = index
        return {**self.rows[row], "epoch": epoch}


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


class CaptionerBatches:
    """Rows to prompts, images and answers of the captioner."""

    def __init__(self, processor: RSCaptionerProcessor, seed: int, inputs: tuple[str, ...]):
        self.processor, self.seed, self.inputs = processor, seed, inputs

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompts, answers, images, infrared = [], [], [], []
        for row in rows:
            generator = draw(self.seed, row["epoch"], row["id"])
            shown = pick(self.inputs, generator)
            about_infrared = shown != "rgb" and row["infrared_captions"] and torch.rand(1, generator=generator) < 0.5
            captions = row["infrared_captions"] if about_infrared else row["captions"]
            prompts.append(prompt(self.processor, shown, INFRARED_PROMPT if about_infrared else SCENE_PROMPT))
            answers.append(pick(captions, generator))
            images.append([row["rgb"]["bytes"]] if shown != "infrared" else [])
            infrared.append([row["infrared"]["bytes"]] if shown != "rgb" else [])
        return dict(self.processor(images=images, infrared=infrared, text=prompts, suffix=answers))


def make_loader(
    rows: Dataset, batches: Sampler[list[RowOfEpoch]], data: DataConfig, collate: Batches
) -> DataLoader[dict[str, Any]]:
    """Batches in the order of a sampler, whatever the number of workers."""
    return DataLoader(
        EpochRows(rows),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=data.workers,
        generator=torch.Generator(),  # its own, so that the run's random numbers are not drawn from
        persistent_workers=False,
    )
