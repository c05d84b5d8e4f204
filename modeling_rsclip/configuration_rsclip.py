"""Configuration of the tri-modal CLIP: two towers of transformers, and what joins them to infrared."""

import math
from dataclasses import field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .adapters_rsclip import check_adapter

LOSS_PAIRS = ("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared", "fused_text")
VISION_MODEL_TYPES = ("clip_vision_model", "siglip_vision_model")
TEXT_MODEL_TYPES = ("clip_text_model", "siglip_text_model")


@strict
class RSCLIPConfig(PreTrainedConfig):
    """A CLIP or SigLIP pair of towers over RGB, infrared and text.

    Args:
        text_config: A `CLIPTextConfig` or `SiglipTextConfig` (or its dictionary with `model_type`).
        vision_config: A `CLIPVisionConfig` or `SiglipVisionConfig`; the RGB tower.
        projection_dim: Width of the shared space. `None` means that the towers already end in it, as SigLIP's do.
        infrared_tower: `shared` (one image encoder for both), `adapted` (shared attention and MLPs, own LayerNorms
            and patch embedding) or `separate` (a tower of its own).
        infrared_channels: Channels of the infrared patch embedding; `shared` towers always use the RGB tower's.
        fusion: How the pair becomes one embedding: `none`, `mean`, `gated` or `attention`.
        fusion_heads: Attention heads of `fusion="attention"`.
        loss: `softmax` (InfoNCE) or `sigmoid` (SigLIP).
        loss_weights: Weight of each pair in the training loss; a pair that is left out weighs nothing.
        logit_scale_init_value: Initial log of the inverse temperature.
        logit_scale_max: Upper clamp of the log inverse temperature.
        logit_bias_init_value: Initial bias of the logits; `None` for a loss without one.
        text_pad_token_id: What SigLIP texts are padded with, where they are shorter than the tower was trained on;
            `None` refuses them. The tokenizer knows it, the towers' configurations often do not.
        initializer_range: Standard deviation of the fusion's new weights.
        adapter: Adapters inside the towers that cannot be merged: `kind` (`bottleneck`, `prefix` or `unipelt`),
            `towers`, `reduction`, `prefix_length`, `rank`, `alpha`; `None` for plain towers.
    """

    model_type = "rsclip"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_text_model"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
    }

    text_config: Any = None
    vision_config: Any = None
    projection_dim: int | None = 512
    infrared_tower: Literal["shared", "adapted", "separate"] = "shared"
    infrared_channels: int = 1
    fusion: Literal["none", "mean", "gated", "attention"] = "none"
    fusion_heads: int = 8
    loss: Literal["softmax", "sigmoid"] = "softmax"
    loss_weights: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOSS_PAIRS, 1.0))
    logit_scale_init_value: float = math.log(1 / 0.07)
    logit_scale_max: float = math.log(100)
    logit_bias_init_value: float | None = None
    text_pad_token_id: int | None = None
    initializer_range: float = 0.02
    adapter: dict[str, Any] | None = None

    @property
    def embedding_dim(self) -> int:
        """Width of the embeddings that `get_*_features` return."""
        return self.projection_dim if self.projection_dim is not None else self.vision_config.hidden_size

    def validate_architecture(self) -> None:
        """Refuses what the model could not compute."""
        for name, config, known in (
            ("vision_config", self.vision_config, VISION_MODEL_TYPES),
            ("text_config", self.text_config, TEXT_MODEL_TYPES),
        ):
            if config.model_type not in known:
                raise ValueError(f"{name}.model_type is {config.model_type!r}; RSCLIP builds on one of {known}.")
        if self.adapter is not None:
            check_adapter(self.adapter, self.infrared_tower)
        unknown = set(self.loss_weights) - set(LOSS_PAIRS)
        if unknown:
            raise ValueError(f"loss_weights names {sorted(unknown)}; the pairs are {LOSS_PAIRS}.")
        if any(weight < 0 for weight in self.loss_weights.values()):
            raise ValueError(f"loss_weights must not be negative, got {self.loss_weights}.")
        if self.fusion == "attention" and self.embedding_dim % self.fusion_heads:
            raise ValueError(
                f"fusion_heads={self.fusion_heads} does not divide the embedding width {self.embedding_dim}."
            )
        if self.logit_scale_init_value > self.logit_scale_max:
            raise ValueError(
                f"logit_scale_init_value={self.logit_scale_init_value} lies above "
                f"logit_scale_max={self.logit_scale_max}."
            )


__all__ = ["RSCLIPConfig"]
