"""Starts an RSCLIP from the weights users have: CLIP, SigLIP and SigLIP 2 of transformers, FusionRS-CLIP, open_clip.

`import_clip(source)` takes a folder or repository id in transformers form, the official FusionRS-CLIP folder (a CLIP in
`model/`), or an open_clip state dict in a file (GeoRSCLIP, RemoteCLIP, SkyCLIP).
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
)

from .configuration_rsclip import RSCLIPConfig
from .modeling_rsclip import RSCLIPModel
from .openclip_rsclip import convert_open_clip

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
SIGLIP_TYPES = ("siglip", "siglip2")


def import_clip(
    source: str | Path,
    *,
    activation: str | None = None,
    image_size: int | None = None,
    revision: str | None = None,
    **overrides: Any,
) -> RSCLIPModel:
    """Builds an `RSCLIPModel` on the weights of a CLIP, with the infrared tower started from the RGB tower.

    Args:
        source: Folder, repository id, or checkpoint file.
        activation: `quick_gelu` or `gelu`. Required for a checkpoint file, which does not carry it: OpenAI weights and
            what was tuned from them (GeoRSCLIP, RemoteCLIP and SkyCLIP of B/32 and L/14) use `quick_gelu`, OpenCLIP
            weights such as GeoRSCLIP H/14 use `gelu`. A wrong guess costs several points without any error.
        image_size: Side in pixels at which a SigLIP 2 NaFlex model is fixed; other models know their own.
        revision: Git revision of a repository.
        **overrides: Fields of `RSCLIPConfig`, e.g. `infrared_tower="adapted"`, `fusion="gated"`.
    """
    path = Path(source)
    if path.suffix in CHECKPOINT_SUFFIXES and path.is_file():
        state, fields = _read_open_clip(path, activation)
    else:
        state, fields = _read_transformers(_model_folder(source), activation, image_size, revision)
    model = RSCLIPModel(RSCLIPConfig(**{**fields, **overrides}))
    _load_strictly(model, state)
    model.start_infrared_from_rgb()
    return model.eval()


def _model_folder(source: str | Path) -> str | Path:
    """The folder that holds the CLIP: FusionRS-CLIP keeps it in `model/`."""
    nested = Path(source) / "model"
    if (nested / "config.json").is_file() and not (Path(source) / "config.json").is_file():
        return nested
    return source


def _read_transformers(
    source: str | Path, activation: str | None, image_size: int | None, revision: str | None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    config = AutoConfig.from_pretrained(source, revision=revision)
    if config.model_type not in ("clip", *SIGLIP_TYPES):
        raise ValueError(f"{source} is a {config.model_type!r} model; import_clip reads clip, siglip and siglip2.")
    recorded = config.vision_config.hidden_act
    if activation is not None and activation != recorded:
        raise ValueError(
            f"{source} records the activation {recorded!r}, not {activation!r}. Leave `activation` out, or correct its "
            "config.json."
        )
    model, info = AutoModel.from_pretrained(source, revision=revision, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        raise OSError(f"{source} lacks weights of its own architecture: {sorted(info['missing_keys'])[:5]}.")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["logit_scale"] = state["logit_scale"].reshape(1)
    fields = {
        "text_config": config.text_config,
        "vision_config": config.vision_config,
        "logit_scale_init_value": float(state["logit_scale"]),
    }
    if config.model_type == "clip":
        return state, {**fields, "projection_dim": config.projection_dim}
    fields["text_pad_token_id"] = _pad_token_id(source, revision)
    fields |= {"projection_dim": None, "loss": "sigmoid", "logit_bias_init_value": float(state["logit_bias"])}
    # SigLIP starts its scale at log 10 and some checkpoints end above CLIP's clamp.
    fields["logit_scale_max"] = max(RSCLIPConfig.logit_scale_max, fields["logit_scale_init_value"])
    if config.model_type == "siglip2":
        state, fields["vision_config"] = _fix_resolution(state, config.vision_config, image_size)
        fields["text_config"] = _as_siglip(config.text_config, SiglipTextConfig)
    return state, fields


def _pad_token_id(source: str | Path, revision: str | None) -> int | None:
    """The padding of the source's tokenizer, where it comes with one."""
    if Path(source).is_dir() and not (Path(source) / "tokenizer_config.json").is_file():
        return None
    return AutoTokenizer.from_pretrained(source, revision=revision).pad_token_id


def _fix_resolution(
    state: dict[str, torch.Tensor], vision: PreTrainedConfig, image_size: int | None
) -> tuple[dict[str, torch.Tensor], SiglipVisionConfig]:
    """A NaFlex tower, which reads any grid of patches, at one square grid: then it is a SigLIP tower."""
    patch, grid = vision.patch_size, int(vision.num_patches**0.5)
    image_size = image_size if image_size is not None else patch * grid
    if image_size % patch:
        raise ValueError(f"image_size={image_size} is no multiple of the {patch} pixels of a patch.")
    side, prefix = image_size // patch, "vision_model.embeddings"
    weight = state[f"{prefix}.patch_embedding.weight"]  # (W, patch * patch * C)
    weight = weight.unflatten(1, (patch, patch, vision.num_channels)).permute(0, 3, 1, 2)
    positions = state[f"{prefix}.position_embedding.weight"].unflatten(0, (grid, grid)).permute(2, 0, 1)[None]
    positions = F.interpolate(positions, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    state[f"{prefix}.patch_embedding.weight"] = weight.contiguous()
    state[f"{prefix}.position_embedding.weight"] = positions[0].flatten(1).t().contiguous()
    config = _as_siglip(vision, SiglipVisionConfig)
    config.image_size = image_size
    return state, config


def _as_siglip(config: PreTrainedConfig, kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    """The SigLIP configuration of the same architecture."""
    known = kind().to_dict()
    return kind(**{name: value for name, value in config.to_dict().items() if name in known and name != "model_type"})


def _read_open_clip(path: Path, activation: str | None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if activation not in ("quick_gelu", "gelu"):
        raise ValueError(
            f"{path.name} does not say which activation it was trained with, got activation={activation!r}. Pass "
            "'quick_gelu' (OpenAI weights and what was tuned from them: GeoRSCLIP, RemoteCLIP, SkyCLIP B/32 and L/14) "
            "or 'gelu' (OpenCLIP weights: GeoRSCLIP H/14)."
        )
    if path.suffix == ".safetensors":
        checkpoint = load_file(path)
    else:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    state, text, vision = convert_open_clip(checkpoint, path.name)
    fields = {
        "text_config": CLIPTextConfig(**text, hidden_act=activation),
        "vision_config": CLIPVisionConfig(**vision, hidden_act=activation),
        "projection_dim": text["projection_dim"],
        "logit_scale_init_value": float(state["logit_scale"]),
    }
    fields["logit_scale_max"] = max(RSCLIPConfig.logit_scale_max, fields["logit_scale_init_value"])
    return state, fields


def _load_strictly(model: RSCLIPModel, state: dict[str, torch.Tensor]) -> None:
    """Loads what the source has; only what is ours alone (infrared, fusion) may be absent from it."""
    if model.logit_bias is None:
        state.pop("logit_bias", None)
    missing, unexpected = model.load_state_dict(state, strict=False)
    ours = ("infrared_model.", "infrared_projection.", "fusion.", "logit_bias")
    lost = [name for name in missing if not name.startswith(ours)]
    if lost or unexpected:
        raise OSError(
            f"The checkpoint does not fit: it lacks {lost[:5]}, and holds {unexpected[:5]} that nothing reads."
        )


__all__ = ["import_clip"]
