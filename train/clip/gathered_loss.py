"""The contrastive loss over the rows of all ranks, exact in value and gradient, each rank computing its own tiles.

Rows may differ in number between ranks (padded for the transfer, then cut); a rank without rows takes part as well.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from .tiled_loss import tiled_block_loss, tiled_pair_loss

OPERATIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX}


def gather_counts(rows: int, device: torch.device) -> list[int]:
    """Number of rows on each rank."""
    if not _several_ranks():
        return [rows]
    counts = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor(rows, device=device))
    return [int(count) for count in torch.stack(counts).tolist()]


def gather_rows(tensor: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Rows of all ranks, in the order of ranks, without a gradient; `counts` says how many each rank holds."""
    if not _several_ranks():
        return tensor
    rank = dist.get_rank()
    if len(counts) != dist.get_world_size() or len(tensor) != counts[rank]:
        raise ValueError(
            f"counts {counts} do not describe {dist.get_world_size()} ranks of which rank {rank} holds {len(tensor)} "
            "rows; pass what gather_counts returns."
        )
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gather_with_gradient(tensor: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Rows of all ranks; backward adds up, over ranks, the gradients that each of them has for a row.

    So a row's gradient is that of the *sum* of the ranks' losses. Every rank must run backward through it.
    """
    return _GatherWithGradient.apply(tensor, counts) if _several_ranks() else tensor  # type: ignore[no-any-return]


def gathered_pair_loss(
    kind: str,
    first: torch.Tensor,
    second: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    keys: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """`tiled_pair_loss` over the rows of all ranks, for a model under DistributedDataParallel.

    Each rank passes its own rows, computes the tiles of its own rows against all columns (1/ranks of the work), and
    returns the loss over all rows. The gradient of that loss is the sum of the ranks' parts, but DDP takes their mean:
    hence all gradients here are multiplied by the number of ranks. After DDP, towers, scale and bias have the gradient
    of one process with all rows; where nothing averages, sum the ranks' gradients and divide by their number.
    Arguments as of `tiled_pair_loss`; `keys`, `present`, `bias` are given on all ranks or on none. With one rank, or
    without a process group, it is `tiled_pair_loss`.
    """
    if not _several_ranks():
        return tiled_pair_loss(kind, first, second, scale, bias, keys, present)
    if present is not None:
        first, second = first[present], second[present]
        keys = keys[present] if keys is not None else None
    counts = gather_counts(len(first), first.device)
    return tiled_block_loss(
        kind,
        first,
        gather_with_gradient(second, counts),
        scale,
        bias,
        row_offset=sum(counts[: dist.get_rank()]),
        column_keys=gather_rows(keys, counts) if keys is not None else None,
        reduce=_all_reduce,
        gradient_weight=float(len(counts)),
    )


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, counts: list[int]) -> torch.Tensor:
        ctx.counts = counts
        return gather_rows(tensor, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        summed = _all_reduce(gradient.contiguous().clone(), "sum")
        start = sum(ctx.counts[: dist.get_rank()])
        return summed[start : start + ctx.counts[dist.get_rank()]], None


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _all_reduce(tensor: torch.Tensor, operation: str) -> torch.Tensor:
    dist.all_reduce(tensor, op=OPERATIONS[operation])
    return tensor
