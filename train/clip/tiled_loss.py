"""The contrastive loss of a pair of modalities in tiles: value and gradients of `pair_loss`, no (N, N) tensor.

Logits are computed tile by tile, and once more in backward. A known bound on them (scale times the largest norms)
spares the running maximum, so that one exponential per entry serves its row and its column.

Shapes: n rows at hand, N columns (n = N in one process), D width of the embeddings, G groups of positives.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

TILE_ROWS = 512
TILE_COLUMNS = 2048
# exp overflows float32 at 88; N columns add log N to the largest exponent.
LARGEST_EXPONENT = 60.0
# Below this sum, entries that were lost to underflow (1e-38) could count: such batches take the slower path.
SMALLEST_SUM = 1e-28

# Combines a tensor over processes by "sum" or "max", in place or not, and returns it.
Reduce = Callable[[torch.Tensor, str], torch.Tensor]


def alone(tensor: torch.Tensor, operation: str) -> torch.Tensor:
    """The `Reduce` of one process."""
    return tensor


def tiled_pair_loss(
    kind: str,
    first: torch.Tensor,
    second: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    keys: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """`modeling_rsclip.losses_rsclip.pair_loss` in O(N D) memory; see there for the arguments.

    Embeddings need not be exactly of unit norm. Computed in float32, or in float64 for float64 embeddings.
    """
    if present is not None:
        first, second = first[present], second[present]
        keys = keys[present] if keys is not None else None
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} rows and second {len(second)}; row i of one is the partner of row i.")
    if keys is not None and keys.shape != (len(first),):
        raise ValueError(f"keys must hold one key for each of the {len(first)} rows, got shape {tuple(keys.shape)}.")
    return tiled_block_loss(kind, first, second, scale, bias, row_offset=0, column_keys=keys)


def tiled_block_loss(
    kind: str,
    rows: torch.Tensor,
    columns: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    row_offset: int,
    column_keys: torch.Tensor | None,
    reduce: Reduce = alone,
    gradient_weight: float = 1.0,
) -> torch.Tensor:
    """The loss over all rows, of which this process holds a block and computes the tiles.

    Args:
        kind: `softmax` or `sigmoid`.
        rows: Embeddings (n, D) of this process; row i is the partner of column `row_offset + i`.
        columns: Embeddings (N, D) of all processes.
        scale: Inverse temperature, already exponentiated and clamped.
        bias: Added to the logits; the softmax does not feel it.
        row_offset: Place of the first row among the columns.
        column_keys: One integer per column; a row is a positive of the columns that share its partner's key.
        reduce: Combines over processes; all of them must call this function.
        gradient_weight: Factor on all gradients, not on the value.

    Returns:
        The loss over all rows, equal in every process. Its gradients are those of this block's tiles: to be summed
        over processes for `columns`, `scale` and `bias`, complete for `rows`.
    """
    if kind not in ("softmax", "sigmoid"):
        raise ValueError(f"loss {kind!r} is not one of 'softmax', 'sigmoid'.")
    dtype = torch.promote_types(rows.dtype, torch.float32)
    with torch.autocast(rows.device.type, enabled=False):
        rows, columns, scale = rows.to(dtype), columns.to(dtype), scale.to(dtype)
        bias = bias.to(dtype) if bias is not None else None
        if len(columns) == 0:
            return (rows.sum() + columns.sum()) * 0.0
        row_groups = torch.arange(row_offset, row_offset + len(rows), device=rows.device)
        column_groups = None
        if column_keys is not None:
            column_groups = torch.unique(column_keys, return_inverse=True)[1]
            row_groups = column_groups[row_groups]
        if kind == "softmax":
            return _TiledSoftmax.apply(rows, columns, scale, bias, row_groups, column_groups, reduce, gradient_weight)  # type: ignore[no-any-return]
        if column_groups is None:
            column_groups = torch.arange(len(columns), device=columns.device)
        else:  # in the order of groups, positives fill a band and most tiles have none
            row_order, column_order = row_groups.argsort(), column_groups.argsort()
            rows, row_groups = rows[row_order], row_groups[row_order]
            columns, column_groups = columns[column_order], column_groups[column_order]
        return _TiledSigmoid.apply(rows, columns, scale, bias, row_groups, column_groups, reduce, gradient_weight)  # type: ignore[no-any-return]


class _TiledSoftmax(torch.autograd.Function):
    """Mean log-sum-exp of rows and of columns, less the mean logit of positives.

    A row's mean over its positives is its product with the mean embedding of its group: no tile knows of positives.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        row_groups: torch.Tensor,
        column_groups: torch.Tensor | None,
        reduce: Reduce,
        gradient_weight: float,
    ) -> torch.Tensor:
        rows, columns = rows.contiguous(), columns.contiguous()
        total = len(columns)
        bound = abs(scale.item()) * reduce(_largest_norm(rows), "max").item() * _largest_norm(columns).item()
        shift = max(0.0, bound - LARGEST_EXPONENT)
        row_sums, column_sums = _bounded_sums(rows, columns, scale, shift)
        column_sums = reduce(column_sums, "sum")
        unsafe = ~((row_sums > SMALLEST_SUM).all() & (column_sums > SMALLEST_SUM).all() & column_sums.isfinite().all())
        ctx.bounded = reduce(unsafe.to(rows.dtype), "max").item() == 0
        if ctx.bounded:
            row_logs, column_logs = row_sums.double().log() + shift, column_sums.double().log() + shift
            ctx.save_for_backward(rows, columns, scale, bias, row_groups, column_groups, 1 / row_sums, 1 / column_sums)
        else:
            row_logs, column_logs = _log_sums_of_any_logits(rows, columns, scale, reduce)
            saved_logs = row_logs.to(rows.dtype), column_logs.to(rows.dtype)
            ctx.save_for_backward(rows, columns, scale, bias, row_groups, column_groups, *saved_logs)
        ctx.shift, ctx.gradient_weight = shift, gradient_weight
        centres, _ = _group_means(columns, column_groups)
        own = row_logs.sum() / 2
        for start, end in _spans(len(rows), TILE_ROWS):
            positives = (rows[start:end] * centres[row_groups[start:end]]).sum(dim=1, dtype=torch.float64)
            own -= scale.double().squeeze() * positives.sum()
        return ((reduce(own, "sum") + column_logs.sum() / 2) / total).to(rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, columns, scale, bias, row_groups, column_groups, row_norms, column_norms = ctx.saved_tensors
        row_gradient, column_gradient = torch.zeros_like(rows), torch.zeros_like(columns)
        second_tile = _tile(rows)
        for own, other, logits in _logit_tiles(rows, columns, scale):
            row_norm, column_norm = row_norms[own, None], column_norms[None, other]
            scratch = second_tile[: logits.numel()].view_as(logits)
            if ctx.bounded:
                if ctx.shift:
                    logits.sub_(ctx.shift)
                logits.exp_().mul_(torch.add(row_norm, column_norm, out=scratch))
            else:
                torch.sub(logits, column_norm, out=scratch).exp_()
                logits.sub_(row_norm).exp_().add_(scratch)
            row_gradient[own].addmm_(logits, columns[other], alpha=0.5)
            column_gradient[other].addmm_(logits.t(), rows[own], alpha=0.5)
        centres, counts = _group_means(columns, column_groups)
        for start, end in _spans(len(rows), TILE_ROWS):
            row_gradient[start:end] -= centres[row_groups[start:end]]
        if column_groups is None:
            column_gradient.index_add_(0, row_groups, rows, alpha=-1)
        else:
            shares = torch.zeros_like(centres).index_add_(0, row_groups, rows).div_(counts[:, None])
            for start, end in _spans(len(columns), TILE_ROWS):
                column_gradient[start:end] -= shares[column_groups[start:end]]
        factor = gradient * ctx.gradient_weight / len(columns)
        bias_gradient = torch.zeros_like(bias) if bias is not None else None
        return *_finish(rows, scale, row_gradient, column_gradient, factor), bias_gradient, None, None, None, None


class _TiledSigmoid(torch.autograd.Function):
    """A binary question for every entry; groups ascend along rows and columns."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        row_groups: torch.Tensor,
        column_groups: torch.Tensor,
        reduce: Reduce,
        gradient_weight: float,
    ) -> torch.Tensor:
        rows, columns = rows.contiguous(), columns.contiguous()
        ctx.save_for_backward(rows, columns, scale, bias, row_groups, column_groups)
        ctx.gradient_weight = gradient_weight
        own_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
        for own, other, logits in _logit_tiles(rows, columns, scale):
            if bias is not None:
                logits.add_(bias)
            signs = _signs(row_groups[own], column_groups[other], logits.dtype)
            if signs is not None:
                logits.mul_(signs)
            own_sum += F.softplus(logits, threshold=40.0).sum(dim=1).sum(dtype=torch.float64)
        return (reduce(own_sum, "sum") / len(columns)).to(rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, columns, scale, bias, row_groups, column_groups = ctx.saved_tensors
        row_gradient, column_gradient = torch.zeros_like(rows), torch.zeros_like(columns)
        bias_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
        for own, other, logits in _logit_tiles(rows, columns, scale):
            if bias is not None:
                logits.add_(bias)
            signs = _signs(row_groups[own], column_groups[other], logits.dtype)
            if signs is None:
                logits.sigmoid_()
            else:
                logits.mul_(signs).sigmoid_().mul_(signs)
            row_gradient[own].addmm_(logits, columns[other])
            column_gradient[other].addmm_(logits.t(), rows[own])
            if bias is not None:
                bias_sum += logits.sum(dim=1).sum(dtype=torch.float64)
        factor = gradient * ctx.gradient_weight / len(columns)
        bias_gradient = (bias_sum * factor).to(bias.dtype).expand_as(bias) if bias is not None else None
        return *_finish(rows, scale, row_gradient, column_gradient, factor), bias_gradient, None, None, None, None


def _spans(length: int, tile: int) -> list[tuple[int, int]]:
    return [(start, min(start + tile, length)) for start in range(0, length, tile)]


def _tile(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=like.dtype, device=like.device)


def _logit_tiles(
    rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Where a tile lies and its scaled products, in memory that the next tile takes over."""
    memory = _tile(rows)
    for start, end in _spans(len(rows), TILE_ROWS):
        scaled = rows[start:end] * scale
        for left, right in _spans(len(columns), TILE_COLUMNS):
            logits = memory[: (end - start) * (right - left)].view(end - start, right - left)
            torch.mm(scaled, columns[left:right].t(), out=logits)
            yield slice(start, end), slice(left, right), logits


def _largest_norm(embeddings: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(embeddings, dim=1)
    return norms.max() if len(norms) else norms.new_zeros(())


def _bounded_sums(
    rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor, shift: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of exp(logit - shift) over each row (n,) and each column (N,)."""
    row_sums, column_sums = rows.new_zeros(len(rows)), columns.new_zeros(len(columns))
    for own, other, logits in _logit_tiles(rows, columns, scale):
        if shift:
            logits.sub_(shift)
        logits.exp_()
        row_sums[own] += logits.sum(dim=1)
        column_sums[other] += logits.sum(dim=0)
    return row_sums, column_sums


def _log_sums_of_any_logits(
    rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor, reduce: Reduce
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-sum-exp of rows and columns in float64, with the largest logits found first (one more product)."""
    row_peaks, column_peaks = rows.new_full((len(rows),), -torch.inf), columns.new_full((len(columns),), -torch.inf)
    for own, other, logits in _logit_tiles(rows, columns, scale):
        row_peaks[own] = torch.maximum(row_peaks[own], logits.amax(dim=1))
        column_peaks[other] = torch.maximum(column_peaks[other], logits.amax(dim=0))
    column_peaks = reduce(column_peaks, "max")
    row_sums, column_sums = rows.new_zeros(len(rows)), columns.new_zeros(len(columns))
    for own, other, logits in _logit_tiles(rows, columns, scale):
        column_sums[other] += (logits - column_peaks[None, other]).exp_().sum(dim=0)
        row_sums[own] += logits.sub_(row_peaks[own, None]).exp_().sum(dim=1)
    column_sums = reduce(column_sums, "sum")
    return row_peaks.double() + row_sums.double().log(), column_peaks.double() + column_sums.double().log()


def _group_means(columns: torch.Tensor, column_groups: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean embedding (G, D) and size (G,) of each group of columns; without groups, the columns themselves."""
    if column_groups is None:
        return columns, columns.new_ones(())
    counts = torch.bincount(column_groups).to(columns.dtype)
    sums = columns.new_zeros(len(counts), columns.shape[1]).index_add_(0, column_groups, columns)
    return sums.div_(counts[:, None]), counts


def _signs(row_groups: torch.Tensor, column_groups: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """-1 where a row meets a positive, else 1; None where the ascending groups of a tile cannot meet."""
    if row_groups[-1] < column_groups[0] or column_groups[-1] < row_groups[0]:
        return None
    return 1 - 2 * (row_groups[:, None] == column_groups[None, :]).to(dtype)


def _finish(
    rows: torch.Tensor,
    scale: torch.Tensor,
    row_gradient: torch.Tensor,
    column_gradient: torch.Tensor,
    factor: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of rows, columns and scale from those of the bare products' factors, which are overwritten."""
    scale_sum = torch.zeros((), dtype=torch.float64, device=rows.device)
    for start, end in _spans(len(rows), TILE_ROWS):
        scale_sum += (rows[start:end] * row_gradient[start:end]).sum(dtype=torch.float64)
    scale_gradient = (scale_sum * factor).to(scale.dtype).expand_as(scale)
    return row_gradient.mul_(scale * factor), column_gradient.mul_(scale * factor), scale_gradient
