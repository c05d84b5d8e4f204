"""Tiny models that the tests share; every one is deterministic."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before `datasets` is imported: tests do not fill the cache of whoever runs them.
os.environ["HF_DATASETS_CACHE"] = str(Path(__file__).parents[1] / ".cache" / "datasets")

import pytest
import torch

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration, RSCLIPConfig, RSCLIPModel

torch.set_num_threads(1)

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "model_type": "clip_text_model",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
}
SIGLIP_VISION = {**VISION, "model_type": "siglip_vision_model"}
SIGLIP_TEXT = {**TEXT, "model_type": "siglip_text_model", "projection_size": 32, "max_position_embeddings": 8}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
}
IMAGE_TOKEN = 4


@pytest.fixture
def tiny_clip() -> Callable[..., RSCLIPModel]:
    """Builds a seeded RSCLIPModel; keyword arguments are fields of RSCLIPConfig."""

    def build(seed: int = 0, **fields: Any) -> RSCLIPModel:
        torch.manual_seed(seed)
        defaults = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16, "fusion_heads": 4}
        return RSCLIPModel(RSCLIPConfig(**{**defaults, **fields})).eval()

    return build


@pytest.fixture
def tiny_siglip(tiny_clip: Callable[..., RSCLIPModel]) -> Callable[..., RSCLIPModel]:
    """The same on SigLIP towers with the sigmoid loss."""

    def build(**fields: Any) -> RSCLIPModel:
        defaults = {
            "text_config": SIGLIP_TEXT,
            "vision_config": SIGLIP_VISION,
            "projection_dim": None,
            "loss": "sigmoid",
            "logit_bias_init_value": -10.0,
        }
        return tiny_clip(**{**defaults, **fields})

    return build


@pytest.fixture
def tiny_captioner() -> Callable[..., RSCaptionerForConditionalGeneration]:
    """Builds a seeded captioner that never stops early; keyword arguments are fields of RSCaptionerConfig."""

    def build(seed: int = 0, **fields: Any) -> RSCaptionerForConditionalGeneration:
        torch.manual_seed(seed)
        defaults = {"vision_config": VISION, "text_config": LLAMA, "image_token_id": IMAGE_TOKEN}
        model = RSCaptionerForConditionalGeneration(RSCaptionerConfig(**{**defaults, **fields})).eval()
        model.generation_config.pad_token_id = 1
        model.generation_config.eos_token_id = None
        return model

    return build


@pytest.fixture
def triplet() -> dict[str, torch.Tensor]:
    """Four rows of texts, RGB and infrared images for `tiny_clip`."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 99, (4, 8), generator=generator)
    input_ids[:, -1] = TEXT["eos_token_id"]
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "pixel_values": torch.randn(4, 3, 32, 32, generator=generator),
        "infrared_values": torch.randn(4, 1, 32, 32, generator=generator),
    }
