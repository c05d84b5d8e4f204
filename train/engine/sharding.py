"""FSDP2: parameters, gradients and optimizer state shared out among the processes, on GPUs and on CPUs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from .full_state import full_tensors, weights_of

COMPUTE_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def make_accelerator(*, mixed_precision: str, shard: bool, deterministic: bool, **options: Any) -> Accelerator:
    """The accelerator of a run: DistributedDataParallel, or FSDP2 where sharding is asked for.

    Raises:
        ValueError: sharding is asked for in one process, or by the launcher and not by the program, or fp16 on a CPU.
    """
    if mixed_precision == "fp16" and PartialState().device.type == "cpu":
        raise ValueError("optim.mixed_precision is fp16, which accelerate leaves out on a CPU; take bf16 or no.")
    # Without a second search for unused parameters, DDP rebuilds its buckets after the first step, and a resumed run
    # would sum gradients in another order.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=deterministic)
    plugin = None
    if shard:
        # What is sharded, and how it is cast, says `shard_objective`; accelerate does the rest.
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="no_wrap", cpu_ram_efficient_loading=False, reshard_after_forward=True
        )
    accelerator = Accelerator(mixed_precision=mixed_precision, kwargs_handlers=[ddp], fsdp_plugin=plugin, **options)
    if shard and accelerator.num_processes == 1:
        raise ValueError("optim.shard shares the model out among processes, and there is one; launch several.")
    if shard and accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate leaves the plugin out without a word where there is no GPU, though FSDP2 works over gloo.
        for state in (PartialState, AcceleratorState):
            state._shared_state["distributed_type"] = DistributedType.FSDP
        AcceleratorState._shared_state["fsdp_plugin"] = plugin
    if accelerator.distributed_type == DistributedType.FSDP and not shard:
        raise ValueError("the launcher asks for FSDP; leave --use_fsdp out there, and pass --optim.shard instead.")
    return accelerator


def shard_objective(accelerator: Accelerator, objective: nn.Module, model: nn.Module) -> None:
    """Shards a model in place, each layer by itself and the rest together; the optimizer is made afterwards.

    Layers compute in the mixed precision of the run, and their gradients are summed in float32.
    """
    compute = COMPUTE_TYPES.get(accelerator.mixed_precision)
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32) if compute else None
    objective.to(accelerator.device)
    # The towers' residual additions are not in place, which is what the warning is about.
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    for unit in units_of(model):
        fully_shard(unit, mp_policy=policy or MixedPrecisionPolicy())
    fully_shard(objective)  # scale and projections stay in float32 here; autocast lowers what may be lowered
    if compute is not None:
        objective.forward = accelerator.autocast()(objective.forward)  # type: ignore[method-assign]


def units_of(model: nn.Module) -> list[nn.Module]:
    """The largest modules below the model's layers that share no parameter with any other module.

    Layers of an adapted infrared tower share attention and MLP with those of the RGB tower: there these are the units.
    """
    holders: dict[int, set[int]] = {}
    parents: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), set()).add(id(module))
        for child in module.children():
            parents.setdefault(id(child), set()).add(id(module))
    units: dict[int, nn.Module] = {}

    def collect(module: nn.Module) -> None:
        inside = {id(part) for part in module.modules()}
        stands_alone = all(holders[id(parameter)] <= inside for parameter in module.parameters())
        stands_alone &= all(parents[part] <= inside for part in inside - {id(module)})
        if not stands_alone:
            for child in module.children():
                collect(child)
        elif any(parameter.requires_grad for parameter in module.parameters()):
            units[id(module)] = module

    for layer in layers_of(model):
        collect(layer)
    return list(units.values())


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of the towers, as the model's class names them."""
    names = set(model._no_split_modules or ())  # type: ignore[arg-type]
    return [module for module in model.modules() if type(module).__name__ in names]


@contextmanager
def whole_root(objective: nn.Module) -> Iterator[None]:
    """What no layer holds is whole meanwhile, so that parts of the model can be called by themselves."""
    if not isinstance(objective, FSDPModule):
        yield
        return
    objective.unshard()
    try:
        yield
    finally:
        objective.reshard()


def make_whole(accelerator: Accelerator, objective: nn.Module) -> None:
    """Turns a sharded model into an ordinary one on the CPU of the first process, to be saved there.

    Every process takes part; without sharding nothing happens. The model is no longer for training.
    """
    if not isinstance(objective, FSDPModule):
        return
    sharded = weights_of(objective)
    whole = full_tensors(sharded, keep=accelerator.is_main_process)
    if not accelerator.is_main_process:
        return
    by_identity = {id(sharded[name]): nn.Parameter(value, requires_grad=False) for name, value in whole.items()}
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__bases__[1]  # fully_shard put a class of its own before it
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, by_identity[id(parameter)])
    objective.cpu()
