"""Muon for the matrices of a model's layers, AdamW for everything else, as one optimizer.

Muon (Jordan and others 2024; scaled as in arXiv 2502.16982) makes the singular values of each update about equal, so
that directions with small gradients are learnt as fast as those with large ones.
Shapes: K matrices of one shape, M rows, N columns.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from transformers.pytorch_utils import Conv1D

from .full_state import like

# Keller Jordan's quintic: five rounds bring singular values to between 0.7 and 1.2, in bfloat16 too.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5
_MOMENTUM = 0.95
# The root mean square of AdamW's updates is about this; one learning rate then serves both.
_ADAMW_RMS = 0.2
# Numbers of the matrices that are worked on together: enough to fill a GPU, little beside a model that needs sharding.
_TOGETHER = 2**26


class MuonAdamW(AdamW):
    """Groups with `muon` set are of matrices and take Muon's step, all others AdamW's."""

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        super().__init__([{"muon": False} | group for group in groups], **options)
        shapes = [tuple(found.shape) for group in self.param_groups if group["muon"] for found in group["params"]]
        if any(len(shape) != 2 for shape in shapes):
            raise ValueError(f"Muon takes matrices only, got shape {next(one for one in shapes if len(one) != 2)}.")

    def __setstate__(self, state: dict[str, Any]) -> None:
        # AdamW's own looks for a count of steps in every state, which Muon has no need of.
        Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both; `closure` computes the loss again, with gradients."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["muon"]]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                self._muon_step(group)
        return loss

    def _muon_step(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, parameters in by_shape.items():
            count = max(1, _TOGETHER // shape.numel())
            for start in range(0, len(parameters), count):
                self._move(parameters[start : start + count], group)

    def _move(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        updates = orthogonalized(torch.stack([self._direction(parameter) for parameter in parameters]))
        rate = group["lr"] * _ADAMW_RMS * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, updates.to(parameters[0].dtype), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(like(parameter, update), alpha=-rate)

    def _direction(self, parameter: Tensor) -> Tensor:
        """Nesterov's momentum, whole: a shard has not the singular values of its matrix."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - _MOMENTUM)
        direction = parameter.grad.lerp(state["momentum"], _MOMENTUM)
        return direction.full_tensor() if isinstance(direction, DTensor) else direction


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices (K, M, N) with the same singular vectors and singular values near one; a zero matrix stays zero."""
    wide = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = wide.shape[1] > wide.shape[2]
    wide = wide.mT if tall else wide
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return wide.mT if tall else wide


def hidden_matrices(model: nn.Module) -> Iterator[nn.Parameter]:
    """Matrices of linear maps inside repeated layers: no embedding, no map into or out of a tower, no learnt token."""
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList):
            for module in stack.modules():
                if isinstance(module, nn.Linear | Conv1D) and isinstance(module.weight, nn.Parameter):
                    yield module.weight
