"""Cosines of every window of a scene with every text: each window is read, cropped and encoded once, in batches.

Shapes: N windows, T texts, D width.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from .heat_map import CellMaps, cell_maps
from .scene import Scene
from .windows import SCALES, Pixels, Windows, crop_for_encoder, windows_of

Floats = npt.NDArray[np.float32]

# A window with less data than this says nothing of what lies there.
LEAST_DATA = 0.5


class Encoder(Protocol):
    """Any model that puts images and texts in one space; norms do not matter."""

    def encode_images(self, images: list[Pixels]) -> npt.NDArray[Any]:
        """RGB crops (256, 256, 3) to embeddings (N, D)."""

    def encode_texts(self, texts: list[str]) -> npt.NDArray[Any]:
        """Texts to embeddings (T, D)."""


class ModelEncoder:
    """An `Encoder` of a model with `get_image_features` and `get_text_features`, and of its processor.

    RSCLIP, CLIP, SigLIP and what follows their interface in transformers.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model.eval()
        self.processor = processor
        self.text_settings: dict[str, Any] = {}
        if model.config.model_type != "rsclip":  # whose processor knows by itself
            # SigLIP was trained on full-length texts.
            full = str(model.config.model_type).startswith("siglip")
            longest = model.config.text_config.max_position_embeddings
            self.text_settings = {"padding": "max_length" if full else True, "truncation": True, "max_length": longest}

    @torch.inference_mode()
    def encode_images(self, images: list[Pixels]) -> npt.NDArray[Any]:
        """See `Encoder`."""
        inputs = self.processor(images=images, return_tensors="pt").to(self.model.device)
        return _pooled(self.model.get_image_features(**inputs))

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> npt.NDArray[Any]:
        """See `Encoder`."""
        inputs = self.processor(text=texts, return_tensors="pt", **self.text_settings)
        return _pooled(self.model.get_text_features(**inputs.to(self.model.device)))


def scene_maps(
    scene: Scene,
    texts: list[str],
    encoder: Encoder,
    *,
    scales: tuple[int, ...] = SCALES,
    batch_size: int = 64,
    as_published: bool = True,
) -> CellMaps:
    """Maps of all texts over a scene; `heat_map.heat_levels` makes the heat map of each.

    Args:
        scene: Read window by window, once.
        texts: Queries.
        encoder: The model.
        scales: Sides of the windows in pixels.
        batch_size: Windows encoded at once.
        as_published: Whether crops pass through a JPEG.
    """
    windows = windows_of(scene.height, scene.width, scales)
    cosines = window_cosines(scene, windows, texts, encoder, batch_size=batch_size, jpeg=as_published)
    return cell_maps(windows, cosines, scene.height, scene.width)


def window_cosines(
    scene: Scene, windows: Windows, texts: list[str], encoder: Encoder, *, batch_size: int = 64, jpeg: bool = True
) -> Floats:
    """Cosine (T, N) of every text with every window; NaN for windows of which less than half is data.

    Args:
        scene: Read window by window.
        windows: As `windows_of` gives them (N, 4).
        texts: Queries.
        encoder: The model.
        batch_size: Windows encoded at once.
        jpeg: Whether crops pass through a JPEG, as published.

    Raises:
        ValueError: The encoder returns the wrong number of rows, or values that are not finite.
    """
    text_embeddings = _unit(encoder.encode_texts(texts), len(texts), f"texts of scene {scene.name!r}")
    cosines = np.full((len(texts), len(windows)), np.nan, dtype=np.float32)
    for start in tqdm(range(0, len(windows), batch_size), desc=f"windows of {scene.name}", unit="batch", leave=False):
        rows, crops = [], []
        for row in range(start, min(start + batch_size, len(windows))):
            pixels, data = scene.read(*windows[row].tolist())
            if data >= LEAST_DATA:
                rows.append(row)
                crops.append(crop_for_encoder(pixels, jpeg))
        if rows:
            images = _unit(encoder.encode_images(crops), len(crops), f"windows of scene {scene.name!r}")
            if images.shape[1] != text_embeddings.shape[1]:
                raise ValueError(
                    f"images have {images.shape[1]} dimensions, texts {text_embeddings.shape[1]}; "
                    "wanted one space. Use the projected embeddings of one model."
                )
            cosines[:, rows] = text_embeddings @ images.T
    return cosines


def _pooled(features: Any) -> npt.NDArray[Any]:
    pooled = features if isinstance(features, torch.Tensor) else features.pooler_output
    return np.asarray(pooled.float().cpu().numpy())


def _unit(embeddings: npt.NDArray[Any], count: int, name: str) -> Floats:
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise ValueError(f"the {name}: embeddings of shape {embeddings.shape}, wanted ({count}, width).")
    broken = ~np.isfinite(embeddings).all(axis=1)
    if broken.any():
        raise ValueError(
            f"the {name}: {int(broken.sum())} of {count} embeddings are not finite, row {broken.argmax()}."
        )
    vectors = embeddings.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
