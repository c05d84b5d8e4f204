"""Captions images that have only a label: sample candidates, keep those a CLIP finds closest, choose one of them.

Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300: 20 candidates of BLIP-2, ranked by CLIP ViT-H/14 to 10 and
by CLIP RN50x64 to 5. RS5M drew lots between the first of them and the one most stable under rotation; here all that
were kept stay, with their scores.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .caption_candidates import Captioner, CaptionerSettings, clean_candidates
from .clip_scorer import ClipScorer, ClipScorerSettings, unit_rows
from .model_loading import as_rgb
from .rejects import Reject
from .rotation_invariance import RotationSettings, caption_cosines, choose_caption, rotate_image

REASONS = ("no_caption",)


@dataclass(frozen=True, kw_only=True)
class MachineCaptionSettings:
    """What writes, ranks and chooses captions."""

    captioner: CaptionerSettings
    first_scorer: ClipScorerSettings
    second_scorer: ClipScorerSettings | None = None
    """Ranks what the first one kept; None leaves the first ranking as it is. The last scorer also judges rotations."""
    keep_first: int = 10
    keep_second: int = 5
    """Not used without a second scorer."""
    rotation: RotationSettings = field(default_factory=RotationSettings)

    def __post_init__(self) -> None:
        if self.keep_first < 1 or self.keep_second < 1:
            raise ValueError(
                f"keep_first and keep_second are {self.keep_first} and {self.keep_second}; each must be at least 1."
            )
        if self.second_scorer is not None and self.keep_second > self.keep_first:
            raise ValueError(f"keep_second is {self.keep_second}, more than the {self.keep_first} of keep_first.")


@dataclass(frozen=True, slots=True)
class ScoredCaption:
    """A caption that was kept."""

    text: str
    similarity: float
    """Cosine with the whole image, by the last scorer."""
    rotation_mean: float
    """Mean of its cosines with the rotations, by the last scorer."""
    rotation_deviation: float
    """Their standard deviation."""


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """The captions of one image."""

    row: int
    captions: tuple[ScoredCaption, ...]
    """The most similar first."""
    chosen: int
    """Position of the caption that is similar and stable under rotation."""

    def entries(self) -> list[dict[str, str | float]]:
        """The captions as rows keep them: `text`, `kind` (the chosen one is `rotation_invariant`), `score`.

        The score is the similarity for both kinds, so that it can be compared within a row.
        """
        return [
            {
                "text": caption.text,
                "kind": "rotation_invariant" if position == self.chosen else "machine",
                "score": caption.similarity,
            }
            for position, caption in enumerate(self.captions)
        ]


def caption_images(
    images: Sequence[Image.Image], image_ids: Sequence[str], settings: MachineCaptionSettings
) -> tuple[list[CaptionedImage], list[Reject]]:
    """Caption a batch; the models are loaded by the first batch in a process, and stay.

    Args:
        images: 8-bit images.
        image_ids: names that are unique in the dataset and the same on every machine; with the captioner's seed they
            decide what is sampled.
        settings: what captions, ranks and chooses.
    """
    if len(images) != len(image_ids):
        raise ValueError(f"{len(images)} images have {len(image_ids)} ids; give each its own.")
    if repeated := sorted(name for name, count in Counter(image_ids).items() if count > 1):
        raise ValueError(f"image ids {repeated[:3]} come more than once; they would get equal random numbers.")
    captioner = Captioner.open(settings.captioner)
    kept: list[CaptionedImage] = []
    rejects: list[Reject] = []
    for row, (image, image_id) in enumerate(zip(images, image_ids, strict=True)):
        picture = as_rgb(image, row)
        written = captioner.write_candidates(picture, image_id)
        if candidates := clean_candidates(written):
            kept.append(rank_and_choose(row, picture, candidates, settings))
        else:
            rejects.append(
                Reject(row, "no_caption", f"{len(written)} candidates without a word, the first {written[0]!r}")
            )
    return kept, rejects


def rank_and_choose(
    row: int, image: Image.Image, candidates: Sequence[str], settings: MachineCaptionSettings
) -> CaptionedImage:
    """Rank the candidates of one image, at least one, and choose among the best."""
    scorer = ClipScorer.open(settings.first_scorer)
    captions, texts, similarities = _most_similar(scorer, row, image, candidates, settings.keep_first)
    if settings.second_scorer is not None:
        scorer = ClipScorer.open(settings.second_scorer)
        captions, texts, similarities = _most_similar(scorer, row, image, captions, settings.keep_second)
    turned = rotate_image(image, settings.rotation.rotations)
    rotations = unit_rows(scorer.embed_images(turned), "rotation", of_row=row)
    scores = choose_caption(caption_cosines(texts, rotations), settings.rotation.deviation_weight)
    columns = zip(captions, similarities.tolist(), scores.mean.tolist(), scores.deviation.tolist(), strict=True)
    return CaptionedImage(row, tuple(ScoredCaption(*caption) for caption in columns), scores.chosen)


def _most_similar(
    scorer: ClipScorer, row: int, image: Image.Image, captions: Sequence[str], keep: int
) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
    """Return the captions closest to the image, their embeddings (J, D) and their cosines (J,), the closest first."""
    texts = unit_rows(scorer.embed_texts(captions), "caption", of_row=row)
    cosines = texts @ unit_rows(scorer.embed_images([image]), "whole image", of_row=row)[0]
    order = np.argsort(-cosines, kind="stable")[:keep]
    return [captions[position] for position in order], texts[order], cosines[order]
