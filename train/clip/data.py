"""Rows of FusionRS and RS5M to batches for the CLIP: the texts and images that the trained pairs need."""

import hashlib
from typing import Any

import torch

from processing import RSCLIPProcessor

from ..data.draw import draw
from .config import AugmentationConfig, ClipConfig, JpegDecoding, TextConfig
from .images import SCALED_INFRARED, RowImages, placeholder, squared, stacked_presence
from .rows import row_texts
from .text_choice import Fitted, choose_kind, draw_parts, fit_text


def text_key(text: str) -> int:
    """A text as an integer that fits a tensor; equal texts have equal keys."""
    return int.from_bytes(hashlib.sha256(text.casefold().encode()).digest()[:8], "little", signed=True)


def _keys(texts: list[str]) -> torch.Tensor:
    return torch.tensor([text_key(text) for text in texts])


class ClipBatches:
    """Rows to the inputs of RSCLIP that the trained pairs need."""

    def __init__(
        self,
        processor: RSCLIPProcessor,
        seed: int,
        modality_dropout: float,
        pairs: tuple[str, ...],
        text: TextConfig | None = None,
        augmentation: AugmentationConfig | None = None,
        infrared_view: Any = "rows",
        caption_kinds: tuple[str, ...] = ("preferred",),
        jpeg_decoding: JpegDecoding = "exact",
    ):
        self.processor, self.seed, self.modality_dropout = processor, seed, modality_dropout
        self.infrared = any("infrared" in pair or "fused" in pair for pair in pairs)
        self.infrared_text = "infrared_infrared_text" in pairs
        self.text = text if text is not None else TextConfig()
        self.caption_kinds, self.infrared_view = caption_kinds, infrared_view
        augmentation = augmentation if augmentation is not None else AugmentationConfig()
        images = processor.image_processor
        view = infrared_view if self.infrared else None
        self.images = RowImages(images, view, augmentation, seed, jpeg_decoding)
        self.settings = {**SCALED_INFRARED, **(squared(images) if augmentation.crop_area < 1 else {})}
        limit = processor.max_text_length
        self.text_tokens = int(limit if limit is not None else processor.tokenizer.model_max_length)

    @classmethod
    def of(cls, processor: RSCLIPProcessor, config: ClipConfig) -> "ClipBatches":
        """The batches that a configuration describes."""
        return cls(
            processor,
            config.seed,
            config.modality_dropout,
            config.model.pairs,
            config.text,
            config.augmentation,
            config.data.infrared_view,
            config.data.caption_kinds,
            config.data.jpeg_decoding,
        )

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        generators = [draw(self.seed, row["epoch"], row["id"]) for row in rows]
        views = [self.images(row) for row in rows]
        inputs: dict[str, Any] = {"images": [view.rgb for view in views]}
        inputs["text"], keys, cut = self._texts(rows, generators, self.text.scene, "text.scene")
        extra: dict[str, Any] = {"caption_keys": keys}
        if self.infrared_text:
            texts, keys, cut_too = self._texts(rows, generators, self.text.infrared, None)
            inputs["infrared_text"], cut = texts, cut | cut_too
            extra["infrared_caption_keys"] = keys
            extra["infrared_text_present"] = torch.tensor([bool(text) for text in texts])
        if self.text.equal_texts == "negatives":  # without keys, a row's only positive is its own
            extra = {name: value for name, value in extra.items() if not name.endswith("caption_keys")}
        extra["text_shortened"] = cut
        if self.modality_dropout:
            dice = torch.stack([torch.rand(2, generator=generator) for generator in generators])
            dropped, rgb = dice[:, 0] < self.modality_dropout, dice[:, 1] < 0.5
            extra["image_present"], extra["infrared_present"] = ~(dropped & rgb), ~(dropped & ~rgb)
        if self.infrared and self.infrared_view != "rgb_duplicate":
            inputs["infrared"] = [
                view.infrared if view.infrared is not None else placeholder(view.rgb) for view in views
            ]
            self._mark_rows_without_infrared(extra, stacked_presence(views))
        batch = {**self.processor(**inputs, **self.settings), **extra}
        if self.infrared and self.infrared_view == "rgb_duplicate":
            batch["infrared_values"] = batch["pixel_values"].clone()
        return batch

    def _texts(
        self,
        rows: list[dict[str, Any]],
        generators: list[torch.Generator],
        choices: tuple[str, ...],
        needed: str | None,
    ) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Texts, their keys, and which of them had to be shortened; empty where a row has none and none is needed."""
        found, keys = [], []
        for row, generator in zip(rows, generators, strict=True):
            kind = choose_kind(choices, generator)
            parts = draw_parts(row_texts(row, self.caption_kinds), kind, generator)
            if needed and not parts:
                raise ValueError(
                    f"row {row['id']!r} has no infrared caption, and {needed} may ask for one; take infrared_aware out "
                    "of its choices, or drop such rows."
                )
            fitted = fit_text(parts, self._count_tokens, self.text_tokens) if parts else Fitted("")
            found.append(fitted)
            # Equal scenes share a key even where their captions differ; other texts are equal by their words alone.
            keys.append(row["caption_key"] if kind == "conventional" else fitted.text)
        return [item.text for item in found], _keys(keys), torch.tensor([bool(item.left_out) for item in found])

    def _count_tokens(self, text: str) -> int:
        return len(self.processor.tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"])

    @staticmethod
    def _mark_rows_without_infrared(extra: dict[str, Any], present: torch.Tensor) -> None:
        """Rows without infrared are marked; where modality dropout took their RGB image, they keep it."""
        if present.all():
            return
        dropped = extra.get("infrared_present")
        extra["infrared_present"] = present if dropped is None else present & dropped
        if "image_present" in extra:
            extra["image_present"] = extra["image_present"] | ~present
