"""Configuration of the captioner: RSCLIP's image towers in front of any causal language model."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class RSCaptionerConfig(PreTrainedConfig):
    """A Llava-style captioner of RGB, infrared, or both.

    Args:
        vision_config: A `CLIPVisionConfig` or `SiglipVisionConfig`.
        text_config: The configuration of any causal language model of transformers.
        infrared_tower: `shared`, `adapted` or `separate`, as in `RSCLIPConfig`.
        infrared_channels: Channels of the infrared patch embedding of an adapted or separate tower.
        image_token_id: The one placeholder token; every image, RGB or infrared, fills `num_image_tokens` of them.
        projector_hidden_act: Activation inside the projector.
        projector_reduction: Side of the square of neighbouring patches that become one token (pixel shuffle).
        vision_feature_layer: Hidden state of the tower that is projected.
        lm_head_bias: Whether the language model's head has a bias, as Phi's has.
        logits_multiplier: Factor of the logits, which Cohere's and Granite's models have.
        vision_feature_select_strategy: `default` drops the class token, `full` keeps every token (SigLIP has none).
    """

    model_type = "rscaptioner"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    vision_config: Any = None
    text_config: Any = None
    infrared_tower: Literal["shared", "adapted", "separate"] = "shared"
    infrared_channels: int = 1
    image_token_id: int = 32000
    projector_hidden_act: str = "gelu"
    projector_reduction: int = 1
    vision_feature_layer: int = -2
    vision_feature_select_strategy: Literal["default", "full"] = "default"
    lm_head_bias: bool = False
    logits_multiplier: float = 1.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    @property
    def num_image_tokens(self) -> int:
        """Placeholder tokens of one image."""
        side = self.vision_config.image_size // self.vision_config.patch_size
        return (side // self.projector_reduction) ** 2

    def validate_architecture(self) -> None:
        """Refuses what the model could not compute."""
        side = self.vision_config.image_size // self.vision_config.patch_size
        if self.projector_reduction < 1 or side % self.projector_reduction:
            raise ValueError(
                f"projector_reduction={self.projector_reduction} does not divide the {side} patches of an image side."
            )
        if self.vision_feature_select_strategy == "default" and self.vision_config.model_type == "siglip_vision_model":
            raise ValueError(
                "SigLIP towers have no class token to drop; set vision_feature_select_strategy='full' "
                "(with 'default' one patch would be lost)."
            )
        if self.vision_feature_select_strategy == "full" and self.vision_config.model_type == "clip_vision_model":
            raise ValueError(
                "A CLIP tower's class token does not fit the patch grid; set vision_feature_select_strategy='default'."
            )


__all__ = ["RSCaptionerConfig"]
