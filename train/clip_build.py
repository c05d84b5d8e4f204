"""Builds the CLIP of a run and its processor, from a source or from random weights."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import CLIPTextConfig, CLIPVisionConfig

from modeling_rsclip import RSCLIPConfig, RSCLIPModel, import_clip
from modeling_rsclip.configuration_rsclip import LOSS_PAIRS
from processing import RSCLIPProcessor, RSImageProcessor, import_processor

from .captions import all_captions
from .clip_config import ClipModelConfig, TowerSize
from .vocabulary import learn_clip_tokenizer


def build_clip(config: ClipModelConfig, rows: Dataset) -> tuple[RSCLIPModel, RSCLIPProcessor]:
    """The model and processor to train."""
    fields: dict[str, Any] = {
        "infrared_tower": config.infrared_tower,
        "fusion": config.fusion,
        "loss": config.loss,
        "loss_weights": {name: float(name in config.pairs) for name in LOSS_PAIRS},
    }
    if config.loss == "sigmoid":
        fields["logit_bias_init_value"] = -10.0  # SigLIP's start: at first nearly every pair is a negative
    if config.source is None:
        return _small_clip(config.size, rows, fields)
    if _is_rsclip(config.source):
        model = RSCLIPModel.from_pretrained(config.source)
        model.config.loss_weights = fields["loss_weights"]
        return model, RSCLIPProcessor.from_pretrained(config.source)
    model = import_clip(config.source, activation=config.activation, **fields)
    return model, _imported_processor(config.source, config, model)


def _is_rsclip(source: Path) -> bool:
    config = source / "config.json"
    return config.is_file() and json.loads(config.read_text())["model_type"] == "rsclip"


def _small_clip(size: TowerSize, rows: Dataset, fields: dict[str, Any]) -> tuple[RSCLIPModel, RSCLIPProcessor]:
    tokenizer = learn_clip_tokenizer(all_captions(rows), size.vocabulary, size.text_tokens)
    shape = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_attention_heads": size.heads,
        "hidden_act": "gelu",
    }
    vision = CLIPVisionConfig(
        **shape, num_hidden_layers=size.vision_layers, image_size=size.image_size, patch_size=size.patch_size
    )
    text = CLIPTextConfig(
        **shape,
        num_hidden_layers=size.text_layers,
        vocab_size=len(tokenizer),
        max_position_embeddings=size.text_tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = RSCLIPConfig(text_config=text, vision_config=vision, projection_dim=size.width, **fields)
    images = RSImageProcessor(
        size={"shortest_edge": size.image_size},
        crop_size={"height": size.image_size, "width": size.image_size},
        infrared_scaling={"rule": "percentile", "low": 1.0, "high": 99.0},
    )
    return RSCLIPModel(config), RSCLIPProcessor(images, tokenizer, max_text_length=size.text_tokens)


def _imported_processor(source: Path, config: ClipModelConfig, model: RSCLIPModel) -> RSCLIPProcessor:
    vision = model.config.vision_config
    return import_processor(
        source,
        image_size=vision.image_size,
        infrared_channels=vision.num_channels if config.infrared_tower == "shared" else model.config.infrared_channels,
        tokenizer=config.tokenizer,
        siglip=vision.model_type.startswith("siglip"),
    )
