"""Scores how much an image is one of remote sensing: by a CLIP and the 33 prompts, and by a classifier of images.

Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300. Rows keep both scores; which of them pass is decided over
all rows at once, by `quantile_filter`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .clip_scorer import ClipScorer, ClipScorerSettings, NonFiniteScoreError
from .model_loading import ModelSettings, as_rgb, load_image_processor, load_model


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(ModelSettings):
    """Which image classifier, and which of its labels means remote sensing."""

    positive_label: str
    """A label as the model's configuration spells it."""
    batch_size: int = 32
    """Images that go through the model together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class RelevanceSettings:
    """What judges the images."""

    clip: ClipScorerSettings
    """RS5M took a CLIP with a ConvNeXt-XXL; any CLIP of transformers will do."""
    classifier: ClassifierSettings | None = None
    """RS5M trained one on MillionAID and LAION against ImageNet; None leaves the second score out."""


@dataclass(frozen=True, slots=True)
class RelevanceScores:
    """Scores of a batch, in its order."""

    relevance: NDArray[np.float32]
    """(N,) cosine with the mean of the prompts."""
    classifier: NDArray[np.float32] | None
    """(N,) probability of remote sensing."""


def score_relevance(images: Sequence[Image.Image], settings: RelevanceSettings) -> RelevanceScores:
    """Score a batch; the models are loaded by the first batch in a process, and stay.

    Raises:
        NonFiniteScoreError: a score is not a finite number; it names the row.
    """
    relevance = ClipScorer.open(settings.clip).score_images(images)
    if settings.classifier is None:
        return RelevanceScores(relevance, None)
    return RelevanceScores(relevance, ImageClassifier.open(settings.classifier).score_images(images))


class ImageClassifier:
    """A loaded image classifier with one label that counts."""

    def __init__(self, settings: ClassifierSettings) -> None:
        from transformers import AutoModelForImageClassification

        self.settings = settings
        self._model = load_model(AutoModelForImageClassification, settings)
        self._processor = load_image_processor(settings)
        config = self._model.config
        found = [int(index) for index, label in config.id2label.items() if label == settings.positive_label]
        if len(found) != 1:
            raise ValueError(
                f"{settings.model} has {len(found)} labels named {settings.positive_label!r}; "
                f"its labels are {', '.join(map(repr, config.id2label.values()))}."
            )
        if config.problem_type == "regression":
            raise ValueError(f"{settings.model} is a regression, which gives no probability; give a classifier.")
        self._label = found[0]
        self._labels_are_independent = len(config.id2label) == 1 or config.problem_type == "multi_label_classification"

    @classmethod
    def open(cls, settings: ClassifierSettings) -> "ImageClassifier":
        """Return the classifier of these settings; it is loaded once in a process."""
        return _open_classifier(settings)

    def score_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return (N,) probabilities of the positive label."""
        parts = [np.zeros(0, dtype=np.float32)]
        for start in range(0, len(images), self.settings.batch_size):
            pictures = [
                as_rgb(image, row) for row, image in enumerate(images[start : start + self.settings.batch_size], start)
            ]
            parts.append(self._probabilities(pictures))
        scores = np.concatenate(parts)
        if not (finite := np.isfinite(scores)).all():
            row = int(np.argmin(finite))
            raise NonFiniteScoreError(row, f"the classifier's score of image {row} of the batch is {scores[row]}.")
        return scores

    def _probabilities(self, pictures: list[Image.Image]) -> Any:
        import torch

        inputs = self._processor(images=pictures, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._model.device, self.settings.torch_dtype)).logits.float()
        probabilities = logits.sigmoid() if self._labels_are_independent else logits.softmax(dim=-1)
        return probabilities[:, self._label].cpu().numpy()


@lru_cache(maxsize=1)
def _open_classifier(settings: ClassifierSettings) -> ImageClassifier:
    return ImageClassifier(settings)
