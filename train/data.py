"""Rows of FusionRS to batches: deterministic order, one caption per row and epoch, images through the one loader."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler

from processing import RSCaptionerProcessor, RSCLIPProcessor

from .config import DataConfig

Batches = Callable[[list[dict[str, Any]]], dict[str, Any]]

SCENE_PROMPT = "Describe the scene."
INFRARED_PROMPT = "Describe what the infrared shows."
IMAGES = {"rgb": ("image",), "infrared": ("infrared",), "pair": ("image", "infrared")}


def draw(seed: int, *names: object) -> torch.Generator:
    """A random generator that depends on its arguments only: not on the process, the worker or what came before."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def text_key(text: str) -> int:
    """A text as an integer that fits a tensor; equal texts have equal keys."""
    return int.from_bytes(hashlib.sha256(text.casefold().encode()).digest()[:8], "little", signed=True)


def pick(options: list[str] | tuple[str, ...], generator: torch.Generator) -> str:
    """One of the options at random."""
    return options[int(torch.randint(len(options), (1,), generator=generator))]


class StepSampler(Sampler[tuple[int, int]]):
    """Indices (epoch, row) for a number of batches; every epoch is its own permutation."""

    def __init__(self, rows: int, batches: int, batch_size: int, seed: int):
        if rows < batch_size:
            raise ValueError(f"The split has {rows} rows, fewer than one batch of {batch_size}.")
        self.rows, self.batches, self.batch_size, self.seed = rows, batches, batch_size, seed

    def __iter__(self) -> Iterator[tuple[int, int]]:
        per_epoch = self.rows // self.batch_size
        for batch in range(self.batches):
            epoch, position = divmod(batch, per_epoch)
            if position == 0:
                order = torch.randperm(self.rows, generator=draw(self.seed, "order", epoch)).tolist()
            for row in order[position * self.batch_size : (position + 1) * self.batch_size]:
                yield epoch, row

    def __len__(self) -> int:
        return self.batches * self.batch_size


class EpochRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows that know the epoch they are drawn for."""

    def __init__(self, rows: Dataset):
        self.rows = rows

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        epoch, row = index
        return {**self.rows[row], "epoch": epoch}


class ClipBatches:
    """Rows to the inputs of RSCLIP."""

    def __init__(self, processor: RSCLIPProcessor, seed: int, modality_dropout: float):
        self.processor, self.seed, self.modality_dropout = processor, seed, modality_dropout

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        generators = [draw(self.seed, row["epoch"], row["id"]) for row in rows]
        texts = [pick(row["captions"], generator) for row, generator in zip(rows, generators, strict=True)]
        infrared_texts = [
            pick(row["infrared_captions"] or [""], generator) for row, generator in zip(rows, generators, strict=True)
        ]
        batch = self.processor(
            images=[row["rgb"]["bytes"] for row in rows],
            infrared=[row["infrared"]["bytes"] for row in rows],
            text=texts,
            infrared_text=infrared_texts,
        )
        batch["caption_keys"] = torch.tensor([text_key(row["caption_key"]) for row in rows])
        batch["infrared_caption_keys"] = torch.tensor([text_key(text) for text in infrared_texts])
        batch["infrared_text_present"] = torch.tensor([bool(row["infrared_captions"]) for row in rows])
        if self.modality_dropout:
            dice = torch.stack([torch.rand(2, generator=generator) for generator in generators])
            dropped, rgb = dice[:, 0] < self.modality_dropout, dice[:, 1] < 0.5
            batch["image_present"], batch["infrared_present"] = ~(dropped & rgb), ~(dropped & ~rgb)
        return {**batch, "return_loss": True}


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


def prompt(processor: RSCaptionerProcessor, shown: str, instruction: str) -> str:
    """The captioner's prompt for what it is shown: `rgb`, `infrared` or `pair`."""
    content = [{"type": kind} for kind in IMAGES[shown]] + [{"type": "text", "text": instruction}]
    conversation = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))


def make_loader(
    rows: Dataset, batches: int, batch_size: int, seed: int, data: DataConfig, collate: Batches
) -> DataLoader[dict[str, Any]]:
    """Batches in an order that depends on the seed alone."""
    return DataLoader(
        EpochRows(rows),
        batch_size=batch_size,
        sampler=StepSampler(len(rows), batches, batch_size, seed),
        collate_fn=collate,
        num_workers=data.workers,
        generator=torch.Generator(),
        persistent_workers=False,
    )
