"""The image towers: one of transformers' for RGB, and an infrared tower that shares all, some or none of it."""

import torch
from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipTextModel,
    SiglipVisionModel,
)

PATCH_EMBEDDING = "embeddings.patch_embedding"
TOWERS = {
    "clip_text_model": CLIPTextModel,
    "clip_vision_model": CLIPVisionModel,
    "siglip_text_model": SiglipTextModel,
    "siglip_vision_model": SiglipVisionModel,
}


def build_tower(config: PreTrainedConfig) -> PreTrainedModel:
    """The tower of transformers that a configuration describes, with random weights."""
    return TOWERS[config.model_type]._from_config(config)


def build_infrared_tower(vision_model: PreTrainedModel, kind: str, channels: int) -> PreTrainedModel | None:
    """Builds the infrared tower beside an RGB tower.

    Args:
        vision_model: The RGB tower.
        kind: `shared` gives None (the RGB tower serves both), `adapted` a tower whose attention and MLP modules *are*
            the RGB tower's and whose LayerNorms and patch embedding are its own, `separate` a tower of its own.
        channels: Channels of the infrared patch embedding.
    """
    if kind == "shared":
        return None
    config = infrared_vision_config(vision_model.config, channels)
    tower = build_tower(config)
    if kind == "adapted":
        _share_modules(tower, vision_model)
    return tower


def infrared_vision_config(vision_config: PreTrainedConfig, channels: int) -> PreTrainedConfig:
    """The RGB tower's configuration with the infrared number of channels, on the same attention implementation."""
    config = type(vision_config).from_dict({**vision_config.to_dict(), "num_channels": channels})
    config._attn_implementation = vision_config._attn_implementation
    return config


def shared_parameter_names(vision_model: nn.Module, infrared_model: nn.Module) -> list[str]:
    """Names, equal in both towers, of the parameters that both towers hold as one object."""
    own = dict(vision_model.named_parameters(remove_duplicate=False))
    other = infrared_model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in other if parameter is own.get(name)]


@torch.no_grad()
def start_from_rgb(infrared_model: nn.Module, vision_model: nn.Module) -> None:
    """Copies the RGB tower's weights, so that a grey image gets the same features from both towers.

    A patch embedding of fewer channels gets the sum over the RGB channels: on three equal channels the RGB
    convolution computes exactly that.
    """
    source = vision_model.state_dict()
    patch_weight = f"{PATCH_EMBEDDING}.weight"
    channels = infrared_model.state_dict()[patch_weight].shape[1]
    if channels == 1:
        source[patch_weight] = source[patch_weight].sum(dim=1, keepdim=True)
    elif channels != source[patch_weight].shape[1]:
        raise ValueError(
            f"An infrared patch embedding of {channels} channels cannot start from an RGB one of "
            f"{source[patch_weight].shape[1]}; use 1 or {source[patch_weight].shape[1]} infrared_channels."
        )
    infrared_model.load_state_dict(source, strict=True)


def match_channels(values: torch.Tensor, tower: PreTrainedModel) -> torch.Tensor:
    """Repeats a one-channel image (N, 1, H, W) for a tower that reads several channels."""
    channels = tower.config.num_channels
    if values.shape[1] == channels:
        return values
    if values.shape[1] == 1:
        return values.expand(-1, channels, -1, -1)
    raise ValueError(
        f"The infrared images have {values.shape[1]} channels, the tower reads {channels}; pass 1 or {channels}."
    )


def _share_modules(target: nn.Module, source: nn.Module) -> None:
    """Replaces in `target` every module by its twin in `source`, except LayerNorms and the patch embedding."""
    for name, child in target.named_children():
        if isinstance(child, nn.LayerNorm) or name == "patch_embedding":
            continue
        if any(isinstance(part, nn.LayerNorm) for part in child.modules()) or hasattr(child, "patch_embedding"):
            _share_modules(child, source.get_submodule(name))
        else:
            setattr(target, name, source.get_submodule(name))
    for name, _ in target.named_parameters(recurse=False):
        setattr(target, name, source.get_parameter(name))
