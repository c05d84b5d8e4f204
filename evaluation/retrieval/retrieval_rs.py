"""Protocols `retrieval-rs`, `retrieval-rs-dedup` and `retrieval-rs-skyscript`: RSICD and RSITMD, five captions each.

Numbers of different protocols do not compare. Intervals resample images with all their captions (a cluster bootstrap).
Shapes: I images, T captions, K distinct captions, D width.
"""

from dataclasses import dataclass

import numpy as np

from ..intervals.joint_interval import Doubles, joint_interval
from ..results import Metric
from .anchored_ranks import (
    RECALLS,
    Booleans,
    Indices,
    anchor,
    ranks_of_keys,
    ranks_of_pairs,
    refuse_duplicates,
)
from .recall import Floats, Keys, Ranks

CAPTIONS_PER_IMAGE = 5
# The SkyScript, FarSLIP and DOFA-CLIP evaluations put this before every caption they embed.
SKYSCRIPT_PREFIX = "a satellite image. "


@dataclass(frozen=True, kw_only=True)
class CaptionManifest:
    """Every image and caption of a test split, embedded or not."""

    image_ids: Keys
    """(I,), unique."""
    caption_ids: Keys
    """(T,), unique."""
    caption_image_ids: Keys
    """The image of each caption (T,)."""
    caption_keys: Keys
    """What makes captions one (T,): for RSICD and RSITMD the literal text."""
    captions_per_image: int | None = CAPTIONS_PER_IMAGE
    """How many captions each image must have; None for any number from one."""

    def __post_init__(self) -> None:
        refuse_duplicates(self.image_ids, "images of the manifest")
        refuse_duplicates(self.caption_ids, "captions of the manifest")
        if not len(self.caption_ids) == len(self.caption_image_ids) == len(self.caption_keys):
            raise ValueError("caption_ids, caption_image_ids and caption_keys differ in length.")
        lost = ~np.isin(self.caption_image_ids, self.image_ids)
        if lost.any():
            caption, image = str(self.caption_ids[lost][0]), str(self.caption_image_ids[lost][0])
            raise ValueError(f"caption {caption!r} is of image {image!r}, which the manifest lacks.")
        counts = np.bincount(self.images_of_captions, minlength=len(self.image_ids))
        wanted = self.captions_per_image
        wrong = counts == 0 if wanted is None else counts != wanted
        if wrong.any():
            image, got = str(self.image_ids[wrong][0]), int(counts[wrong][0])
            raise ValueError(f"image {image!r} has {got} captions, wanted {wanted or 'at least 1'}.")

    @property
    def images_of_captions(self) -> Indices:
        """Index of the image of each caption (T,)."""
        order = np.argsort(self.image_ids)
        return order[np.searchsorted(self.image_ids, self.caption_image_ids, sorter=order)]


@dataclass(frozen=True, kw_only=True)
class CaptionEmbeddings:
    """What a model embedded of a split, in any order; norms do not matter."""

    image_ids: Keys
    images: Floats
    caption_ids: Keys
    captions: Floats


def score(manifest: CaptionManifest, embeddings: CaptionEmbeddings) -> list[Metric]:
    """`retrieval-rs`: an image's own captions are its only positives, as RS5M and RemoteCLIP score.

    An image hits at k if any of its captions is among the k best; mean_recall is the mean of the six recalls. The
    original breaks ties by the order of `topk`; here a negative that ties ranks first.
    """
    images, image_present, captions, caption_present = _anchored(manifest, embeddings)
    own, of = manifest.image_ids, manifest.caption_image_ids
    to_text = ranks_of_keys(images, captions, own, of, image_present, caption_present)
    to_image = ranks_of_keys(captions, images, of, own, caption_present, image_present)
    return _six_and_mean(manifest, to_text, to_image)


def score_dedup(manifest: CaptionManifest, embeddings: CaptionEmbeddings) -> list[Metric]:
    """`retrieval-rs-dedup`: a caption that is also another image's is right for both images.

    The queries, and so the denominators, are those of `retrieval-rs`.
    """
    images, image_present, captions, caption_present = _anchored(manifest, embeddings)
    caption_index, image_index = _shared_pairs(manifest.caption_keys, manifest)
    to_text = ranks_of_pairs(images, captions, (image_index, caption_index), image_present, caption_present)
    to_image = ranks_of_pairs(captions, images, (caption_index, image_index), caption_present, image_present)
    return _six_and_mean(manifest, to_text, to_image)


def score_skyscript(manifest: CaptionManifest, embeddings: CaptionEmbeddings) -> list[Metric]:
    """`retrieval-rs-skyscript`: captions merged by text, any image with that text is right, one mean per direction.

    Embed the captions with `SKYSCRIPT_PREFIX`. Each distinct text is one query and one gallery entry, as in
    wangzhecheng/SkyScript df09dc8 cross_modal_retrieval.ipynb (which also has recall at 100), so the intervals of
    text to image resample texts.
    """
    images, image_present, captions, caption_present = _anchored(manifest, embeddings)
    texts, of_caption = np.unique(manifest.caption_keys, return_inverse=True)
    # The embedding of a text is that of its first caption that has one: absent captions sort last.
    order = np.lexsort((np.arange(len(of_caption)), ~caption_present, of_caption))
    first = order[np.searchsorted(of_caption[order], np.arange(len(texts)))]
    text_index, image_index = _shared_pairs(texts, manifest)
    to_text = ranks_of_pairs(images, captions[first], (image_index, text_index), image_present, caption_present[first])
    to_image = ranks_of_pairs(captions[first], images, (text_index, image_index), caption_present[first], image_present)
    metrics = []
    for name, ranks in (("image_to_text", to_text), ("text_to_image", to_image)):
        parts = [_hits(ranks, k) for k in RECALLS]
        metrics += [_metric(f"{name}/recall_at_{k}", [part]) for k, part in zip(RECALLS, parts, strict=True)]
        metrics.append(_metric(f"{name}/mean_recall", parts))
    return metrics


def _anchored(manifest: CaptionManifest, embeddings: CaptionEmbeddings) -> tuple[Floats, Booleans, Floats, Booleans]:
    images, image_present = anchor(manifest.image_ids, embeddings.image_ids, embeddings.images, "images")
    captions, caption_present = anchor(manifest.caption_ids, embeddings.caption_ids, embeddings.captions, "captions")
    return images, image_present, captions, caption_present


def _shared_pairs(keys: Keys, manifest: CaptionManifest) -> tuple[Indices, Indices]:
    """Every (text, image) where some caption of the image has the text's key."""
    images: dict[str, set[int]] = {}
    for key, image in zip(manifest.caption_keys.tolist(), manifest.images_of_captions.tolist(), strict=True):
        images.setdefault(key, set()).add(image)
    pairs = [(text, image) for text, key in enumerate(keys.tolist()) for image in sorted(images[key])]
    table = np.array(pairs, dtype=np.int64)
    return table[:, 0], table[:, 1]


def _six_and_mean(manifest: CaptionManifest, to_text: Ranks, to_image: Ranks) -> list[Metric]:
    size, of = len(manifest.image_ids), manifest.images_of_captions
    counts = np.bincount(of, minlength=size).astype(np.float64)
    image_parts = [_hits(to_text, k) for k in RECALLS]
    caption_parts: list[tuple[Doubles, Doubles]] = []
    for k in RECALLS:
        found = np.bincount(of, weights=(to_image < k), minlength=size).astype(np.float64)
        caption_parts.append((found, counts))
    metrics = []
    for name, parts in (("image_to_text", image_parts), ("text_to_image", caption_parts)):
        metrics += [_metric(f"{name}/recall_at_{k}", [part]) for k, part in zip(RECALLS, parts, strict=True)]
    return [*metrics, _metric("mean_recall", [*image_parts, *caption_parts])]


def _hits(ranks: Ranks, k: int) -> tuple[Doubles, Doubles]:
    return (ranks < k).astype(np.float64), np.ones(len(ranks))


def _metric(name: str, parts: list[tuple[Doubles, Doubles]]) -> Metric:
    """The mean of ratios; `n` counts the queries of one ratio, and of a mean the cases that are resampled."""
    low, high = joint_interval(parts)
    value = float(np.mean([sums.sum() / counts.sum() for sums, counts in parts]))
    n = int(parts[0][1].sum()) if len(parts) == 1 else len(parts[0][0])
    return Metric(name=name, value=value, low=low, high=high, n=n)
