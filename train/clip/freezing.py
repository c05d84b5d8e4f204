"""Which parameters of a CLIP are trained: all, all but named parts, and never what no pair of a run reaches."""

from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedModel

from modeling_rsclip import RSCLIPModel

from .config import ClipModelConfig


def freeze_parts(model: RSCLIPModel, config: ClipModelConfig) -> None:
    """Freezes what a configuration names.

    Raises:
        ValueError: more layers are to be frozen than a tower has, or nothing is left to train.
    """
    infrared = own_infrared_parameters(model)
    if config.freeze_text_tower:
        _freeze(_parameters(model.text_model, model.text_projection))
    if config.freeze_rgb_tower:
        _freeze(_parameters(model.vision_model, model.visual_projection))
    if config.freeze_infrared_tower:
        _freeze(infrared)
    if config.freeze_logit_scale:
        _freeze(logit_parameters(model))
    _freeze_first_layers(model.text_model, config.frozen_text_layers, "model.frozen-text-layers")
    for tower in (model.vision_model, model.infrared_model):
        if tower is not None:
            _freeze_first_layers(tower, config.frozen_image_layers, "model.frozen-image-layers")


def freeze_unreached(model: RSCLIPModel, pairs: Iterable[str]) -> list[str]:
    """Freezes what no pair reaches, so that nothing is wrapped or decayed that has no gradient; names those parts."""
    pairs = set(pairs)
    images = {
        "rgb": bool(pairs & {"rgb_text", "rgb_infrared", "fused_text"}),
        "infrared": bool(pairs - {"rgb_text"}),
    }
    unreached: dict[str, list[nn.Parameter]] = {}
    if not pairs - {"rgb_infrared"}:
        unreached["text_model"] = _parameters(model.text_model, model.text_projection)
    if not images["infrared"]:
        unreached["infrared_model"] = own_infrared_parameters(model)
    if not images["rgb"] and model.infrared_model is not None:
        shared = {id(p) for p in _parameters(model.infrared_model)}
        rgb = _parameters(model.vision_model)
        if model.infrared_projection is not None:
            rgb += _parameters(model.visual_projection)
        unreached["vision_model"] = [p for p in rgb if id(p) not in shared]
    if "fused_text" not in pairs and model.fusion is not None:
        unreached["fusion"] = _parameters(model.fusion)
    for parameters in unreached.values():
        _freeze(parameters)
    return sorted(name for name, parameters in unreached.items() if parameters)


def check_trainable(model: nn.Module) -> None:
    """Refuses a model of which nothing is trained."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("Every parameter is frozen; leave at least one part of the model to be trained.")


def own_infrared_parameters(model: RSCLIPModel) -> list[nn.Parameter]:
    """What the infrared tower has of its own."""
    if model.infrared_model is None:
        return []
    rgb = {id(parameter) for parameter in model.vision_model.parameters()}
    own = _parameters(model.infrared_model, model.infrared_projection)
    return [parameter for parameter in own if id(parameter) not in rgb]


def logit_parameters(model: RSCLIPModel) -> list[nn.Parameter]:
    """Temperature and bias of the logits."""
    return [parameter for parameter in (model.logit_scale, model.logit_bias) if parameter is not None]


def count_parameters(model: nn.Module) -> dict[str, object]:
    """Numbers of parameters: of all, of those trained, and of those by part of the model."""
    trained: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            trained[part] = trained.get(part, 0) + parameter.numel()
    total = sum(parameter.numel() for parameter in model.parameters())
    return {"total": total, "trained": sum(trained.values()), "trained_by_part": trained}


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


def _freeze(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad = False


def _freeze_first_layers(tower: PreTrainedModel, layers: int, option: str) -> None:
    if not layers:
        return
    found = list(tower.get_submodule("encoder.layers").children())
    if layers > len(found):
        raise ValueError(f"{option}={layers}, but the tower has {len(found)} layers.")
    # CLIP's image towers have a norm between the embeddings and the layers.
    below = [module for name, module in tower.named_children() if name in ("embeddings", "pre_layrnorm")]
    _freeze(_parameters(*below, *found[:layers]))
