"""Embeddings and zero-shot classification of the endpoint, with an RSCLIP.

Shapes: B inputs, N labels, D width.
"""

import threading
from collections import defaultdict
from typing import Any

import torch

from .images_handler import refusing
from .limits_handler import unusable
from .request_handler import CLIP_TASKS, Request

EMBEDS = {"image_embeds": "image", "infrared_embeds": "infrared", "fused_embeds": "fused"}
LOGITS = {"rgb": "logits_per_image", "infrared": "logits_per_infrared", "fused": "logits_per_fused"}
NEEDED = {"rgb": {"pixel_values"}, "infrared": {"infrared_values"}, "fused": set()}


class ClipAnswers:
    """Answers what a CLIP can."""

    tasks = CLIP_TASKS

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor
        # One forward at a time is as fast as two on the same cores; the tokenizer must not be shared between threads.
        self._lock = threading.Lock()

    def prepare(self, images: dict[str, Any], settings: dict[str, Any], where: str) -> dict[str, torch.Tensor]:
        """Tensors of the images of one input, a row each."""
        with refusing(self._processor, where):
            return dict(self._processor.image_processor(**images, **settings)) if images else {}

    @torch.inference_mode()
    def answer(self, request: Request, prepared: list[dict[str, torch.Tensor]]) -> list[Any]:
        """One answer per input. Inputs of the same modalities go through the model together."""
        answers: list[Any] = [{} for _ in prepared]
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, tensors in enumerate(prepared):
            groups[tuple(sorted(tensors))].append(index)
        with self._lock:
            for names, rows in groups.items():
                pixels = {name: torch.cat([prepared[row][name] for row in rows]).to(self._device) for name in names}
                run = self._classify if request.task == "classify" else self._embed
                for row, found in zip(rows, run(request, pixels, rows), strict=True):
                    answers[row] = found
        return answers

    @property
    def _device(self) -> torch.device:
        return torch.device(self._model.device)

    def _tokens(self, texts: list[str]) -> dict[str, torch.Tensor]:
        return {name: value.to(self._device) for name, value in self._processor(text=texts).items()}

    def _embed(self, request: Request, pixels: dict[str, torch.Tensor], rows: list[int]) -> list[dict[str, Any]]:
        """Unit embeddings of whatever an input holds."""
        found: list[dict[str, Any]] = [{} for _ in rows]
        if pixels:
            output = self._model(**pixels)
            for name, shown in EMBEDS.items():
                if (embeddings := getattr(output, name)) is not None:
                    for entry, embedding in zip(found, embeddings.float().tolist(), strict=True):
                        entry[shown] = embedding
        with_text = [(place, request.inputs[row].text) for place, row in enumerate(rows)]
        texts = [(place, text) for place, text in with_text if text is not None]
        if texts:
            embeddings = self._model(**self._tokens([text for _, text in texts])).text_embeds
            for (place, _), embedding in zip(texts, embeddings.float().tolist(), strict=True):
                found[place]["text"] = embedding
        return found

    def _classify(
        self, request: Request, pixels: dict[str, torch.Tensor], rows: list[int]
    ) -> list[list[dict[str, Any]]]:
        """Labels with their probabilities, the best first."""
        view = request.view or self._default_view(set(pixels), rows[0])
        if not NEEDED[view] <= set(pixels):
            raise unusable("bad_parameter", f"`inputs[{rows[0]}]` has no {view} image for `view` {view!r}.")
        output = self._model(**pixels, **self._tokens(list(request.labels)))
        logits = getattr(output, LOGITS[view])  # (B, N)
        if logits is None:
            raise unusable("bad_parameter", "this model fuses no pairs; set `view` to 'rgb' or 'infrared'.")
        scores = logits.float().softmax(dim=-1).tolist()
        return [_ranked(request.names, row) for row in scores]

    def _default_view(self, given: set[str], row: int) -> str:
        if self._model.config.fusion != "none":
            return "fused"
        if len(given) > 1:
            raise unusable(
                "bad_parameter",
                f"`inputs[{row}]` is a pair, and this model fuses none; set `view` to 'rgb' or 'infrared'.",
            )
        return "rgb" if "pixel_values" in given else "infrared"


def _ranked(names: tuple[str, ...], scores: list[float]) -> list[dict[str, Any]]:
    best_first = sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])
    return [{"label": name, "score": score} for name, score in best_first]


__all__ = ["ClipAnswers"]
