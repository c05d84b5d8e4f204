"""The optimizer, its parameter groups, and the schedule of the learning rate."""

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from .config import OptimConfig
from .muon import MuonAdamW, hidden_matrices


def make_optimizer(model: nn.Module, optim: OptimConfig) -> tuple[AdamW, LambdaLR]:
    """An optimizer that decays matrices only, each part of the model at its rate, under a linear warm-up and a cosine.

    Raises:
        ValueError: Muon is wanted, and the model has no matrices in layers to train.
    """
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    hidden = {id(weight) for weight in hidden_matrices(model)} if optim.optimizer == "muon" else set()
    for _, parameter, rate in parameter_rates(model, optim.part_rates):
        muon = id(parameter) in hidden
        groups.setdefault((rate, parameter.ndim >= 2, muon), []).append(parameter)
    if optim.optimizer == "muon" and not any(muon for _, _, muon in groups):
        raise ValueError("optim.optimizer is 'muon', but no matrix of a layer is trained; choose 'adamw'.")
    described = [
        {
            "params": parameters,
            "lr": optim.learning_rate * rate,
            "weight_decay": optim.weight_decay if decays else 0.0,
            **({"muon": muon} if optim.optimizer == "muon" else {}),
        }
        for (rate, decays, muon), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]
    kind = MuonAdamW if optim.optimizer == "muon" else AdamW
    optimizer = kind(described, lr=optim.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    return optimizer, LambdaLR(optimizer, lambda step: cosine_with_warmup(step, optim.warmup_steps, optim.steps))


def parameter_rates(model: nn.Module, part_rates: dict[str, float]) -> list[tuple[str, nn.Parameter, float]]:
    """Name of every trainable parameter, itself, and what multiplies its learning rate.

    Raises:
        ValueError: A part names no trainable parameter.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for part in part_rates:
        if not any(_belongs(name, part) for name, _ in trainable):
            parts = sorted({name.split(".")[0] for name, _ in trainable})
            raise ValueError(
                f"optim.part_rates names {part!r}, where the model has nothing to train; its parts are {parts}."
            )
    found = []
    for name, parameter in trainable:
        fitting = max((part for part in part_rates if _belongs(name, part)), key=len, default=None)
        found.append((name, parameter, 1.0 if fitting is None else part_rates[fitting]))
    return found


def cosine_with_warmup(step: int, warmup_steps: int, steps: int) -> float:
    """Share of the peak learning rate at a step."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def _belongs(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
