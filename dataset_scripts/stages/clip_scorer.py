"""Embeds images and texts with any CLIP of transformers (CLIP, SigLIP, SigLIP 2, our RSCLIP), and compares them.

In float32 a result does not depend on the batch by more than rounding (1e-5).
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .model_loading import ModelSettings, as_rgb, load_model, load_processor
from .relevance_prompts import RELEVANCE_PROMPTS

# Trained on texts filled up to full length, without an attention mask.
_FULL_LENGTH_TEXT_TOWERS = ("siglip_text_model", "siglip2_text_model")
_MAX_MODELS_PER_PROCESS = 4


# Shapes: N images or texts, D width
@dataclass(frozen=True, kw_only=True)
class ClipScorerSettings(ModelSettings):
    """Which CLIP, and what it holds images against."""

    batch_size: int = 32
    """Images or texts that go through the model together."""
    prompts: tuple[str, ...] = RELEVANCE_PROMPTS
    """Texts whose mean is what `score_images` compares with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it must be at least 1.")
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ValueError(f"prompts are {self.prompts!r}; give at least one, none of them empty.")


class NonFiniteScoreError(ValueError):
    """An image or text whose embedding has no direction; `row` is its position in the batch."""

    def __init__(self, row: int, detail: str) -> None:
        super().__init__(detail)
        self.row = row


class ClipScorer:
    """A loaded CLIP."""

    def __init__(self, settings: ClipScorerSettings) -> None:
        from transformers import AutoModel

        self.settings = settings
        self._model = load_model(AutoModel, settings)
        text_config = getattr(self._model.config, "text_config", None)
        methods = [getattr(self._model, method, None) for method in ("get_image_features", "get_text_features")]
        if text_config is None or None in methods:
            raise ValueError(
                f"{settings.model} ({type(self._model).__name__}) does not embed both images and texts; "
                "give a CLIP with both towers."
            )
        self._processor = load_processor(settings)
        self._text_arguments = self._choose_text_arguments(text_config)
        self._drops_attention_mask = self._text_arguments["padding"] == "max_length"

    @classmethod
    def open(cls, settings: ClipScorerSettings) -> "ClipScorer":
        """Return the scorer of these settings; it is loaded once in a process, whoever asks."""
        return _open_scorer(settings)

    @property
    def resolved_revision(self) -> str | None:
        """The commit that was loaded from the Hub; None for a folder."""
        revision: str | None = getattr(self._model.config, "_commit_hash", None)
        return revision

    @cached_property
    def prompt_direction(self) -> NDArray[np.float32]:
        """(D,) The mean of the prompts' features, brought to length 1.

        The features are averaged as the model gives them and normalised after, as in RS5M's published zero-shot code;
        the paper's filter does not say. Averaging normalised ones would give each prompt the same weight.
        """
        mean = self.embed_texts(self.settings.prompts).mean(axis=0, dtype=np.float64, keepdims=True)
        return unit_rows(mean, "prompt mean")[0].astype(np.float32)

    def score_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return (N,) cosines between each image and the mean of the prompts."""
        direction = self.prompt_direction.astype(np.float64)
        scores: NDArray[np.float32] = (unit_rows(self.embed_images(images), "image") @ direction).astype(np.float32)
        return scores

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return (N, D) projected image features, not normalised; images are 8-bit, of any size and mode."""
        return self._embed(images, self._prepare_images, self._model.get_image_features)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) projected text features, not normalised; texts are cut at the length the model takes."""
        return self._embed(texts, self._prepare_texts, self._model.get_text_features)

    def _embed(self, rows: Sequence[Any], prepare: Any, get_features: Any) -> NDArray[np.float32]:
        import torch

        if not rows:
            return np.zeros((0, len(self.prompt_direction)), dtype=np.float32)
        named = inspect.signature(get_features).parameters
        parts = []
        for start in range(0, len(rows), self.settings.batch_size):
            inputs = prepare(rows[start : start + self.settings.batch_size], start)
            # Tokenizers also make what a tower does not take, such as token_type_ids.
            taken = {name: self._to_device(value) for name, value in inputs.items() if name in named}
            with torch.inference_mode():
                features = projected_features(get_features(**taken), f"{self.settings.model}.{get_features.__name__}")
            parts.append(features.float().cpu().numpy())
        return np.concatenate(parts)

    def _prepare_images(self, images: Sequence[Image.Image], start: int) -> Mapping[str, Any]:
        pictures = [as_rgb(image, row) for row, image in enumerate(images, start)]
        # Not through the processor: that of SigLIP 2 has settings of its own, which override the saved ones.
        inputs: Mapping[str, Any] = self._processor.image_processor(images=pictures, return_tensors="pt")
        return inputs

    def _prepare_texts(self, texts: Sequence[str], start: int) -> Mapping[str, Any]:
        inputs = dict(self._processor(text=list(texts), **self._text_arguments))
        if self._drops_attention_mask:
            inputs.pop("attention_mask", None)
        return inputs

    def _choose_text_arguments(self, text_config: Any) -> dict[str, Any]:
        # A tokenizer without a limit of its own says 1e30.
        positions = getattr(text_config, "max_position_embeddings", self._processor.tokenizer.model_max_length)
        return {
            "padding": "max_length" if text_config.model_type in _FULL_LENGTH_TEXT_TOWERS else "longest",
            "padding_side": "right",  # positions are counted from the left
            "truncation": True,
            "max_length": min(self._processor.tokenizer.model_max_length, positions),
            "return_tensors": "pt",
        }

    def _to_device(self, tensor: Any) -> Any:
        return tensor.to(self._model.device, dtype=self.settings.torch_dtype if tensor.is_floating_point() else None)


@lru_cache(maxsize=_MAX_MODELS_PER_PROCESS)
def _open_scorer(settings: ClipScorerSettings) -> ClipScorer:
    return ClipScorer(settings)


def projected_features(output: Any, what: str) -> Any:
    """Return the (N, D) tensor of `get_image_features` or `get_text_features`.

    transformers 5 gives an output whose `pooler_output` they are; transformers 4 and much remote code give the tensor.
    """
    import torch

    features = output if isinstance(output, torch.Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        found = tuple(features.shape) if isinstance(features, torch.Tensor) else type(output).__name__
        raise TypeError(f"{what} gives {found}; wanted one vector per row, as a tensor or in `pooler_output`.")
    return features


def unit_rows(features: NDArray[Any], what: str, *, of_row: int | None = None) -> NDArray[Any]:
    """Return the rows at length 1, in float64.

    Args:
        features: (N, D).
        what: what a row of features is, for the error.
        of_row: the row of the batch that all features belong to; None where each is a row of its own.

    Raises:
        NonFiniteScoreError: a row has numbers that are not finite, or is zero; its cosine would be NaN.
    """
    wide = features.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if bad.size:
        found = int(bad[0])
        place = "the batch" if of_row is None else f"row {of_row}"
        raise NonFiniteScoreError(
            found if of_row is None else of_row,
            f"{what} {found} of {place} has an embedding of length {norms[found, 0]}, so its score is not finite; "
            "look at its pixels or text, or run the model in float32.",
        )
    unit: NDArray[Any] = wide / norms
    return unit
