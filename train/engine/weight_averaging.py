"""Moving averages of weights, and interpolation between initial and trained weights (WiSE-FT, arXiv 2109.01903)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


def decay_at(decay: float, updates: int) -> float:
    """Decay of an average that was updated this often: lower at first, so that it forgets where it began."""
    return min(decay, (1 + updates) / (10 + updates))


def averaged(average: torch.Tensor, weights: torch.Tensor, decay: float) -> torch.Tensor:
    """decay * average + (1 - decay) * weights."""
    return torch.lerp(average, weights, 1 - decay)


def interpolated(first: torch.Tensor, last: torch.Tensor, alpha: float) -> torch.Tensor:
    """(1 - alpha) * first + alpha * last."""
    return torch.lerp(first, last, alpha)


class WeightAverage:
    """An exponential moving average of the trainable parameters of a model; sharded where they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters = trainable(model)
        self.decay, self.updates = decay, 0
        self.weights: Weights = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the parameters of a step in."""
        decay = decay_at(self.decay, self.updates)
        for name, parameter in self.parameters.items():
            self.weights[name].copy_(averaged(self.weights[name], parameter, decay))
        self.updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with averaged weights, which are taken out again afterwards, to the bit."""
        kept = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        put(self.parameters, self.weights)
        try:
            yield
        finally:
            put(self.parameters, kept)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, shared ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def put(parameters: Mapping[str, nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    """Overwrites parameters; names must be the same."""
    if parameters.keys() != values.keys():
        raise ValueError(f"weights differ in names: {sorted(parameters.keys() ^ values.keys())[:5]}.")
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
