"""Reads an open_clip state dict of a ViT CLIP: architecture from the shapes, weights under transformers' names."""

import re
from typing import Any

import torch

# Widths of open_clip's vision transformers whose heads are not 64 wide: H/14, g/14, bigG/14.
HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}

BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
RENAMED = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
IGNORED = {"attn_mask", "input_resolution", "context_length", "vocab_size"}


def convert_open_clip(
    checkpoint: dict[str, Any], name: str
) -> tuple[dict[str, torch.Tensor], dict[str, int], dict[str, int]]:
    """Converts a checkpoint.

    Args:
        checkpoint: State dict, or a training checkpoint that holds one under `state_dict`.
        name: What to call it in errors.

    Returns:
        The state dict under the names of `RSCLIPModel`, and the fields of its text and of its vision configuration.
    """
    state = checkpoint.get("state_dict", checkpoint)
    # Some releases wrap the text tower (`text.`), training wraps all of it (`module.`).
    state = {re.sub(r"^(module\.)?(text\.)?", "", key): value for key, value in state.items()}
    if "visual.conv1.weight" not in state or "visual.proj" not in state:
        raise ValueError(
            f"{name} is no open_clip state dict of a ViT CLIP: it has no 'visual.conv1.weight' and 'visual.proj'. "
            "ResNet towers are not supported."
        )
    converted: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key not in IGNORED:
            converted |= _rename(key, value.float(), name)
    return converted, _text_fields(state), _vision_fields(state)


def _rename(key: str, value: torch.Tensor, name: str) -> dict[str, torch.Tensor]:
    if key in RENAMED:
        return {RENAMED[key]: value}
    match key:
        case "text_projection":
            return {"text_projection.weight": value.t().contiguous()}
        case "visual.proj":
            return {"visual_projection.weight": value.t().contiguous()}
        case "logit_scale":
            return {"logit_scale": value.reshape(1)}
    found = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)\.?(in_proj_)?(weight|bias)", key)
    if found is None:
        raise ValueError(f"{name} holds {key!r}, which no ViT CLIP of open_clip has.")
    visual, layer, part, in_proj, kind = found.groups()
    prefix = f"{'vision' if visual else 'text'}_model.encoder.layers.{layer}"
    if in_proj:
        thirds = value.chunk(3)
        return {f"{prefix}.self_attn.{p}_proj.{kind}": third for p, third in zip("qkv", thirds, strict=True)}
    return {f"{prefix}.{BLOCK[part]}.{kind}": value}


def _layers(state: dict[str, torch.Tensor], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    return 1 + max(int(found[1]) for key in state if (found := pattern.match(key)))


def _text_fields(state: dict[str, torch.Tensor]) -> dict[str, int]:
    vocabulary, width = state["token_embedding.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _layers(state, ""),
        "num_attention_heads": width // 64,
        "max_position_embeddings": state["positional_embedding"].shape[0],
        "projection_dim": state["text_projection"].shape[1],
        # CLIP's vocabularies end with the start and the end of text.
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def _vision_fields(state: dict[str, torch.Tensor]) -> dict[str, int]:
    width, channels, patch, _ = state["visual.conv1.weight"].shape
    side = int((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "hidden_size": width,
        "intermediate_size": state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _layers(state, "visual."),
        "num_attention_heads": width // HEAD_WIDTHS.get(width, 64),
        "num_channels": channels,
        "patch_size": patch,
        "image_size": patch * side,
        "projection_dim": state["visual.proj"].shape[1],
    }
