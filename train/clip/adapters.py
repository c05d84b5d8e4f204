"""Parameter-efficient training of a CLIP: PEFT's LoRA, DoRA and IA3, and adapters inside the towers.

What is saved: `model/` always loads with AutoModel (PEFT's are merged into it, the others are part of it), and
`adapter/` holds only what was trained, to be put on the same CLIP with `load_adapter`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from modeling_rsclip import RSCLIPConfig, RSCLIPModel

from .config import MERGED_ADAPTERS, AdapterConfig
from .freezing import logit_parameters, own_infrared_parameters

TOWER_MODULES = {"text": "text_model", "rgb": "vision_model", "infrared": "infrared_model"}
SETTINGS, WEIGHTS = "rsclip_adapter.json", "trained_parameters.safetensors"


class AdaptedClip:
    """A CLIP with an adapter: `model` is trained, then saved."""

    def __init__(self, model: RSCLIPModel, config: AdapterConfig, source: str) -> None:
        """Adds the adapter and freezes all else but what `also_train` names.

        Raises:
            ValueError: the model has no layer of the names in `target_modules`.
        """
        self.config, self.source = config, source
        self.towers = config.towers if config.towers is not None else _own_towers(model)
        self.peft: PeftModel | None = None
        if config.kind in MERGED_ADAPTERS:
            self.peft = get_peft_model(model, _peft_config(model, config, self.towers))
            self.peft.peft_config["default"].base_model_name_or_path = source
            self.model = model
        else:
            settings: dict[str, Any] = {"kind": config.kind, "towers": list(self.towers), "reduction": config.reduction}
            settings |= {"prefix_length": config.prefix_length, "rank": config.rank, "alpha": config.alpha}
            self.model = _with_adapter(model, settings)
        for parameter in _parts(self.model, config.also_train, self.towers):
            parameter.requires_grad = True

    def facts(self) -> dict[str, Any]:
        """What the run records of the adapter."""
        return {**asdict(self.config), "towers": list(self.towers), "merged": self.peft is not None}

    def save(self, folder: Path) -> RSCLIPModel:
        """Writes the adapter, and returns the model to save: the towers with PEFT's adapters merged into them."""
        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if self.peft is not None:
            # Otherwise PEFT asks the Hub whether the source has another vocabulary.
            self.peft.save_pretrained(folder, save_embedding_layers=False)
            trained = {name: p for name, p in trained.items() if not _is_peft(name)}
        save_file({name: p.detach().cpu().contiguous() for name, p in trained.items()}, folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps(self._record(), indent=2) + "\n")
        if self.peft is None:
            return self.model
        merged: RSCLIPModel = self.peft.merge_and_unload(safe_merge=True)
        return merged

    def _record(self) -> dict[str, Any]:
        inside = self.model.config.adapter
        return {"source": self.source, "merged": self.peft is not None, "adapter": inside}


def load_adapter(model: RSCLIPModel, folder: Path | str) -> RSCLIPModel:
    """Puts a saved adapter on the CLIP that it was trained on.

    Args:
        model: The CLIP without adapters, e.g. `import_clip` of the source that `rsclip_adapter.json` names, with the
            same infrared tower and fusion.
        folder: The `adapter/` of a run.

    Returns:
        The model with the adapter in it, as AutoModel loads it from the run's `model/`.

    Raises:
        ValueError: the adapter holds weights that the model has no place for.
    """
    folder = Path(folder)
    record = json.loads((folder / SETTINGS).read_text())
    if record["merged"]:
        adapted = PeftModel.from_pretrained(model, folder)
        model = adapted.merge_and_unload(safe_merge=True)
    else:
        model = _with_adapter(model, record["adapter"])
    weights = load_file(folder / WEIGHTS)
    own = dict(model.named_parameters())
    unknown = sorted(set(weights) - set(own))
    if unknown:
        raise ValueError(
            f"{folder} holds {unknown[:3]}, for which the model has no place. Load the model that {record['source']!r} "
            "gives, with the infrared tower and fusion of the run."
        )
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    return model.eval()


def _own_towers(model: RSCLIPModel) -> tuple[str, ...]:
    separate = model.config.infrared_tower == "separate"
    return ("text", "rgb", "infrared") if separate else ("text", "rgb")


def _peft_config(model: RSCLIPModel, config: AdapterConfig, towers: tuple[str, ...]) -> PeftConfig:
    default = ("k_proj", "v_proj", "fc2") if config.kind == "ia3" else ("q_proj", "v_proj")
    targets = config.target_modules if config.target_modules is not None else default
    pattern = _pattern(towers, targets)
    if config.kind == "ia3":
        feedforward = [name for name in targets if name in ("fc1", "fc2")]
        return IA3Config(
            target_modules=pattern, feedforward_modules=_pattern(towers, feedforward) if feedforward else []
        )
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=pattern,
        use_dora=config.kind == "dora",
    )


def _pattern(towers: tuple[str, ...], targets: Any) -> str:
    """The layers of these names in the blocks of these towers."""
    modules = "|".join(TOWER_MODULES[name] for name in towers)
    return rf"({modules})\.encoder\.layers\.\d+\.(self_attn|mlp)\.({'|'.join(targets)})"


@torch.no_grad()
def _with_adapter(model: RSCLIPModel, settings: dict[str, Any]) -> RSCLIPModel:
    """The same model with adapters in its towers, which alone are trained."""
    if model.config.adapter is not None:
        raise ValueError("The model holds adapters already; start from one without, or train it on as it is.")
    adapted = RSCLIPModel(RSCLIPConfig.from_dict({**model.config.to_dict(), "adapter": settings}))
    missing, unexpected = adapted.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected, unexpected
    own = dict(adapted.named_parameters())
    for name, parameter in own.items():
        parameter.requires_grad_(name in missing)
    return adapted


def _parts(model: RSCLIPModel, names: tuple[str, ...], towers: tuple[str, ...]) -> list[nn.Parameter]:
    """Parameters of the parts that are trained beside an adapter."""
    found: list[nn.Parameter] = []
    if "logit_scale" in names:
        found += logit_parameters(model)
    if "fusion" in names and model.fusion is not None:
        found += list(model.fusion.parameters())
    if "projections" in names:
        projections = (model.text_projection, model.visual_projection, model.infrared_projection)
        found += [p for projection in projections if projection is not None for p in projection.parameters()]
    if "infrared_input" in names:
        own = {id(parameter) for parameter in own_infrared_parameters(model)}
        patches = model.infrared_model.embeddings.parameters() if model.infrared_model is not None else ()
        found += [parameter for parameter in patches if id(parameter) in own]
    if "norms" in names:
        modules = [module for tower in _with_infrared(model, towers) for module in tower.modules()]
        found += [p for module in modules if isinstance(module, nn.LayerNorm) for p in module.parameters()]
    return found


def _with_infrared(model: RSCLIPModel, towers: tuple[str, ...]) -> list[nn.Module]:
    """The towers of these names; with the RGB tower also an infrared tower that shares its attention."""
    found = [model.get_submodule(TOWER_MODULES[name]) for name in towers]
    if "rgb" in towers and model.config.infrared_tower == "adapted":
        found.append(model.get_submodule("infrared_model"))
    return found


def _is_peft(name: str) -> bool:
    return ".lora_" in name or ".ia3_" in name
