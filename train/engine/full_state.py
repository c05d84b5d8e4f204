"""Weights and optimizer state as whole CPU tensors, whether a process holds all of them or a shard, and back."""

from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

Tensors = dict[str, torch.Tensor]


def full_tensors(tensors: Tensors, *, keep: bool) -> Tensors:
    """Whole copies on the CPU; every process takes part, and those that do not keep them get nothing."""
    found = {}
    for name, tensor in tensors.items():
        whole = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
        if keep:
            found[name] = whole.to("cpu", copy=True).contiguous()
    return found


@torch.no_grad()
def load_full_tensors(tensors: Tensors, values: Tensors, what: str) -> None:
    """Overwrites tensors with whole ones.

    Raises:
        ValueError: names or shapes differ.
    """
    differing = sorted(tensors.keys() ^ values.keys())
    differing += [name for name in tensors.keys() & values.keys() if tensors[name].shape != values[name].shape]
    if differing:
        raise ValueError(f"{what} is of another model: {len(differing)} tensors differ, such as {differing[0]!r}.")
    for name, tensor in tensors.items():
        tensor.copy_(like(tensor, values[name]))


def weights_of(model: nn.Module) -> Tensors:
    """Parameters and saved buffers of a model, shared ones once."""
    found: Tensors = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def full_optimizer_state(optimizer: torch.optim.Optimizer, *, keep: bool) -> dict[str, Any]:
    """The state of an optimizer with whole tensors; every process takes part."""
    state = optimizer.state_dict()
    moments = {index: full_tensors(_tensors(values), keep=keep) for index, values in state["state"].items()}
    return {"state": moments, "param_groups": state["param_groups"]}


def load_full_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts the state back, each tensor in the place of its parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        index: {
            name: like(parameters[index], value) if value.shape == parameters[index].shape else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})


def like(tensor: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """A whole tensor, shared out as the other is."""
    if not isinstance(tensor, DTensor):
        return whole
    return distribute_tensor(whole.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)


def _tensors(values: dict[str, Any]) -> Tensors:
    assert all(isinstance(value, torch.Tensor) for value in values.values()), "optimizers keep tensors only"
    return values
