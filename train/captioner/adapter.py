"""Low-rank adapters of the captioner's language model: `adapter/` keeps them, `model/` has them merged."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from modeling_rsclip import RSCaptionerForConditionalGeneration
from processing import RSCaptionerProcessor

from .config import LoraConfig

NAME = "default"


class CaptionerWithAdapter(PeftModel):
    """A captioner whose projector is trained as it is, and whose language model by adapters.

    Its state is what is trained: a checkpoint does not hold the frozen language model, which the source gives again.
    """

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The trained parameters."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        state = super().state_dict(*arguments, **options)
        return {name: value for name, value in state.items() if name in trained}


def save_captioner(model: Any, processor: RSCaptionerProcessor, output: Path) -> dict[str, Any]:
    """Writes `model/`, and before it `adapter/` where adapters were trained; returns what `run.json` says of them."""
    facts: dict[str, Any] = {}
    if isinstance(model, CaptionerWithAdapter):
        model.save_pretrained(output / "adapter")
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        facts = {"adapter": {"folder": "adapter", "trained_parameters": trained}}
        model = merge(model)
    model.save_pretrained(output / "model")
    processor.save_pretrained(output / "model")
    return facts


def add_adapter(captioner: RSCaptionerForConditionalGeneration, lora: LoraConfig) -> CaptionerWithAdapter:
    """Adapters on every linear layer of the language model; the projector stays trainable beside them."""
    names = {
        name.rpartition(".")[2]
        for name, module in captioner.model.language_model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    config = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf".*\.language_model\..*\.({'|'.join(sorted(names))})",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in captioner.model.language_model.modules()),
        modules_to_save=["projector"],
    )
    return CaptionerWithAdapter(captioner, config)


def merge(model: CaptionerWithAdapter) -> RSCaptionerForConditionalGeneration:
    """The captioner with its adapters in its weights; weights of four bits become what they stood for."""
    for name, module in list(model.base_model.model.named_modules()):
        if isinstance(module, LoraLayer) and hasattr(module.get_base_layer().weight, "quant_state"):
            parent, _, own = name.rpartition(".")
            setattr(model.base_model.model.get_submodule(parent), own, _merged_linear(module))
    captioner: RSCaptionerForConditionalGeneration = model.merge_and_unload()
    for name in ("hf_quantizer", "quantization_method"):
        captioner.__dict__.pop(name, None)
    for config in (captioner.config, captioner.config.text_config):
        config.__dict__.pop("quantization_config", None)
    return captioner


@torch.no_grad()
def _merged_linear(layer: Any) -> nn.Linear:
    """A layer of four bits and its adapter as one of floating point."""
    from bitsandbytes.functional import dequantize_4bit  # type: ignore[import-not-found]

    base = layer.get_base_layer()
    base.state_dict()  # on a CPU, evaluation packs the weights in another order; asking for the state puts them back
    weight = dequantize_4bit(base.weight.data, base.weight.quant_state).float()
    weight += layer.get_delta_weight(NAME).to(weight)
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device=weight.device)
    linear.weight.copy_(weight)
    if base.bias is not None:
        linear.bias.copy_(base.bias)
    return linear
