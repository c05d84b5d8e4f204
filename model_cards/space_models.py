"""The models of a Space when it is assembled: their pipelines are checked, and the CLIP embeds the gallery."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoProcessor

from .retrieval_pipeline import CrossModalRetrievalPipeline
from .shipped_files import PIPELINES


@dataclass(frozen=True, kw_only=True)
class GalleryModel:
    """A CLIP that embeds rows as the Space's own pipeline does."""

    pipeline: CrossModalRetrievalPipeline
    fuses: bool

    def embed(self, pairs: list[dict[str, bytes]]) -> dict[str, torch.Tensor]:
        """By view, unit embeddings (N, D) of pairs."""
        views = {
            "rgb": [{"image": pair["image"]} for pair in pairs],
            "infrared": [{"infrared": pair["infrared"]} for pair in pairs],
        }
        if self.fuses:
            views["fused"] = pairs
        return {view: self.pipeline.embed(items) for view, items in views.items()}

    def show_rgb(self, encoded: bytes) -> Image.Image:
        """An RGB image as the model reads it."""
        loaded = self._loader.load_rgb(encoded, rgb_range=self._images.rgb_range)
        return Image.fromarray(np.ascontiguousarray(loaded.pixels))

    def show_infrared(self, encoded: bytes) -> Image.Image:
        """An infrared image in 8 bits, by the processor's rule."""
        names = ("nodata", "polarity", "colour_infrared")
        settings = {name: getattr(self._images, name) for name in names}
        loaded = self._loader.load_infrared(encoded, scaling=self._images.infrared_scaling, **settings)
        return Image.fromarray(np.rint(loaded.pixels * 255).astype(np.uint8))

    @property
    def _images(self) -> Any:
        return self.pipeline.processor.image_processor

    @property
    def _loader(self) -> Any:
        package = type(self._images).__module__.rpartition(".")[0]
        return import_module(f"{package}.loading_rsclip")


def load_gallery_model(name: str, revision: str | None) -> GalleryModel:
    """Load a CLIP by its name or folder, with the code that lies beside it.

    Raises:
        ValueError: it is no CLIP of ours, or brings no pipelines.
    """
    config = _checked_config(name, revision, "rsclip")
    where: dict[str, Any] = {"revision": revision, "trust_remote_code": True}
    model = AutoModel.from_pretrained(name, **where).eval()
    processor = AutoProcessor.from_pretrained(name, **where)
    pipeline = CrossModalRetrievalPipeline(model=model, processor=processor)
    return GalleryModel(pipeline=pipeline, fuses=config["fusion"] != "none")


def check_captioner(name: str, revision: str | None) -> None:
    """Raise ValueError where it is no captioner of ours, or brings no pipeline."""
    _checked_config(name, revision, "rscaptioner")


def _checked_config(name: str, revision: str | None, kind: str) -> Mapping[str, Any]:
    config: dict[str, Any] = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=True).to_dict()
    if config["model_type"] != kind:
        raise ValueError(f"{name} is a {config['model_type']!r}; wanted a {kind!r}.")
    if missing := sorted(set(PIPELINES[kind]) - set(config.get("custom_pipelines", {}))):
        raise ValueError(
            f"{name} brings no pipeline {missing[0]!r}. Publish it with `python -m model_cards.publish model`, or put "
            "the pipelines into its folder with `model_cards.shipped_files.ship_pipelines`."
        )
    return config
