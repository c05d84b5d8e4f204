"""Which weights a run begins with and which it saves: float32 masters, their average, and WiSE-FT's mixture."""

import hashlib
import sys
from typing import Any

import torch
from torch import nn

from .full_state import Tensors, full_tensors, load_full_tensors
from .weight_averaging import WeightAverage, interpolated, put, trainable

LOW_PRECISION = (torch.bfloat16, torch.float16)


def train_in_float32(model: nn.Module) -> None:
    """Makes a model of lower precision float32 where it is trained.

    AdamW moves a bfloat16 weight in steps of 1/256 of its size, or not at all; `optim.mixed_precision` lowers the
    precision of what is computed instead.
    """
    low = {parameter.dtype for parameter in trainable(model).values() if parameter.dtype in LOW_PRECISION}
    if low:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in low))
        print(f"weights of {names} are trained, and saved, as float32", file=sys.stderr)
        model.float()


class FinalWeights:
    """Remembers where training began, if the saved weights are to lie between there and its end."""

    def __init__(self, model: nn.Module, alpha: float) -> None:
        self.model, self.alpha = model, alpha
        self.initial: Tensors = full_tensors(dict(trainable(model)), keep=True) if alpha != 1 else {}

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run must have begun with as well."""
        return {"initial_weights": sha256_of(self.initial)} if self.initial else {}

    def put_in_place(self, average: WeightAverage | None) -> None:
        """Overwrites the trained weights with those to save: the average if there is one, mixed with the initial."""
        if average is not None:
            put(average.parameters, average.weights)
        if self.initial:
            parameters = trainable(self.model)
            first: Tensors = {name: torch.empty_like(parameter) for name, parameter in parameters.items()}
            load_full_tensors(first, self.initial, "the initial model")
            put(parameters, {name: interpolated(first[name], p, self.alpha) for name, p in parameters.items()})


def sha256_of(tensors: Tensors) -> str:
    """One hash of tensors by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
