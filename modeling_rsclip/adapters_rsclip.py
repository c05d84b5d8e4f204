"""Adapters that do not merge into a tower's weights: bottlenecks, prefixes, and UniPELT's gated sum of both and LoRA.

Shapes: B rows, T tokens, P prefix length, D width, H width of a head.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

PARTS = {"bottleneck": ("bottleneck",), "prefix": ("prefix",), "unipelt": ("lora", "prefix", "bottleneck")}
TOWERS_WITH_ADAPTERS = ("text", "rgb", "infrared")
SIZES = ("reduction", "prefix_length", "rank", "alpha")


class Bottleneck(nn.Module):
    """Pfeiffer's adapter: down, ReLU, up, added to its input. It starts as the identity."""

    def __init__(self, width: int, reduction: int):
        super().__init__()
        self.down = nn.Linear(width, max(1, width // reduction))
        self.up = nn.Linear(max(1, width // reduction), width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is added to `hidden` (B, T, D)."""
        change: torch.Tensor = self.up(F.relu(self.down(hidden)))
        return change


class LowRank(nn.Module):
    """LoRA's change of a projection. It starts at zero."""

    def __init__(self, width: int, rank: int, alpha: float):
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        self.scaling = alpha / rank

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is added to the projection of `hidden` (B, T, D)."""
        change: torch.Tensor = self.up(self.down(hidden)) * self.scaling
        return change


class Gate(nn.Module):
    """How much a row uses an adapter, read from the layer's input; it starts half open."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """One number per row (B, 1, 1)."""
        return torch.sigmoid(self.score(hidden)).mean(dim=1, keepdim=True)


class AdaptedMLP(nn.Module):
    """The MLP of a CLIP or SigLIP layer, under its own names, and a bottleneck behind it."""

    def __init__(self, mlp: Any, settings: Mapping[str, Any], gated: bool):
        super().__init__()
        self.activation_fn, self.fc1, self.fc2 = mlp.activation_fn, mlp.fc1, mlp.fc2
        self.bottleneck = Bottleneck(mlp.fc2.out_features, settings["reduction"])
        self.gate = Gate(mlp.fc1.in_features) if gated else None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        output = self.fc2(self.activation_fn(self.fc1(hidden_states)))
        change = self.bottleneck(output)
        adapted: torch.Tensor = output + (change if self.gate is None else self.gate(hidden_states) * change)
        return adapted


class AdaptedAttention(nn.Module):
    """The attention of a CLIP or SigLIP layer, under its own names, with prefixes and gated LoRA; SDPA computes it."""

    def __init__(self, attention: Any, settings: Mapping[str, Any], parts: tuple[str, ...], gated: bool):
        super().__init__()
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        self.scale, self.dropout = attention.scale, attention.dropout
        self.k_proj, self.v_proj = attention.k_proj, attention.v_proj
        self.q_proj, self.out_proj = attention.q_proj, attention.out_proj
        width = attention.q_proj.in_features
        self.prefix_keys = nn.Parameter(torch.empty(settings["prefix_length"], width))
        self.prefix_values = nn.Parameter(torch.empty(settings["prefix_length"], width))
        self.prefix_gate = Gate(width) if gated else None
        has_lora = "lora" in parts
        self.query_lora = LowRank(width, settings["rank"], settings["alpha"]) if has_lora else None
        self.value_lora = LowRank(width, settings["rank"], settings["alpha"]) if has_lora else None
        self.lora_gate = Gate(width) if has_lora and gated else None

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        queries, keys, values = (layer(hidden_states) for layer in (self.q_proj, self.k_proj, self.v_proj))
        if self.query_lora is not None and self.value_lora is not None:
            share = self.lora_gate(hidden_states) if self.lora_gate is not None else 1.0
            queries = queries + share * self.query_lora(hidden_states)
            values = values + share * self.value_lora(hidden_states)
        share = self.prefix_gate(hidden_states) if self.prefix_gate is not None else hidden_states.new_ones(1, 1, 1)
        rows = hidden_states.shape[0]
        keys = torch.cat([(share * self.prefix_keys).expand(rows, -1, -1).to(keys.dtype), keys], dim=1)  # (B, P+T, D)
        values = torch.cat([(share * self.prefix_values).expand(rows, -1, -1).to(values.dtype), values], dim=1)
        attended = F.scaled_dot_product_attention(
            self._split(queries),
            self._split(keys),
            self._split(values),
            attn_mask=self._mask(hidden_states, attention_mask, bool(kwargs.get("is_causal"))),
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)  # (B, heads, length, H)

    def _mask(self, hidden: torch.Tensor, mask: torch.Tensor | None, is_causal: bool) -> torch.Tensor | None:
        """The mask of the tokens, with a prefix that all of them see."""
        length, prefix = hidden.shape[1], len(self.prefix_keys)
        if mask is None and is_causal:
            mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=hidden.device).tril()
        if mask is None:
            return None
        if mask.ndim != 4:
            raise ValueError(
                f"a prefix needs a mask of queries and keys, got one of shape {tuple(mask.shape)}; load the model with "
                "attn_implementation='sdpa' or 'eager'."
            )
        return F.pad(mask, (prefix, 0), value=True if mask.dtype == torch.bool else 0.0)


def add_adapters(tower: PreTrainedModel, settings: Mapping[str, Any]) -> None:
    """Puts adapters into every layer of a tower; the names of its own weights stay."""
    parts, gated = PARTS[settings["kind"]], settings["kind"] == "unipelt"
    for layer in tower.encoder.layers:
        if "prefix" in parts:
            layer.self_attn = AdaptedAttention(layer.self_attn, settings, parts, gated)
        if "bottleneck" in parts:
            layer.mlp = AdaptedMLP(layer.mlp, settings, gated)


def check_adapter(settings: Mapping[str, Any], infrared_tower: str) -> None:
    """Refuses settings that do not describe an adapter of this model."""
    if settings.get("kind") not in PARTS:
        raise ValueError(f"adapter kind is {settings.get('kind')!r}; wanted one of {tuple(PARTS)}.")
    towers = settings.get("towers") or ()
    known = TOWERS_WITH_ADAPTERS if infrared_tower == "separate" else TOWERS_WITH_ADAPTERS[:2]
    if not towers or not set(towers) <= set(known):
        raise ValueError(f"adapter towers are {towers}; with infrared_tower={infrared_tower!r} wanted some of {known}.")
    if any(not settings.get(name, 0) > 0 for name in SIZES):
        raise ValueError(f"adapter {dict(settings)} needs {SIZES}, all above zero.")


def init_adapters(model: nn.Module, std: float) -> None:
    """Adapters start without an effect, but for prefixes, which attention always sees."""
    for module in model.modules():
        match module:
            case Bottleneck():
                init.normal_(module.down.weight, std=std)
                for parameter in (module.down.bias, module.up.weight, module.up.bias):
                    init.zeros_(parameter)
            case LowRank():
                init.kaiming_uniform_(module.down.weight, a=math.sqrt(5))
                init.zeros_(module.up.weight)
            case Gate():
                init.zeros_(module.score.weight)
                init.zeros_(module.score.bias)
            case AdaptedAttention():
                init.normal_(module.prefix_keys, std=std)
                init.normal_(module.prefix_values, std=std)
