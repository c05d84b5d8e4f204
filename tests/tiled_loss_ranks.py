"""One rank of the gathered loss: a small tower under DistributedDataParallel, all cases in turn.

python tests/tiled_loss_ranks.py FOLDER RANK RANKS

Rank 0 writes FOLDER/results.pt: in the order of cases, the loss of every rank and the gradients that DDP averaged.
"""

import gc
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

WIDTH, EMBEDDING = 12, 8


class Case(NamedTuple):
    kind: str
    counts: tuple[int, ...]
    keyed: bool
    masked: bool
    dtype: torch.dtype


class Towers(torch.nn.Module):
    """Two linear towers with the loss's scale and bias."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.image = torch.nn.Parameter(torch.randn(WIDTH, EMBEDDING, generator=generator).to(dtype))
        self.text = torch.nn.Parameter(torch.randn(WIDTH, EMBEDDING, generator=generator).to(dtype))
        self.logit_scale = torch.nn.Parameter(torch.tensor([3.0], dtype=dtype))
        self.logit_bias = torch.nn.Parameter(torch.tensor([-2.0], dtype=dtype))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embeddings = F.normalize(images @ self.image, dim=-1), F.normalize(texts @ self.text, dim=-1)
        return *embeddings, self.logit_scale.exp(), self.logit_bias * 1.0


def cases(ranks: int) -> list[Case]:
    uneven = [(8,) * (ranks - 1) + (last,) for last in (8, 5, 1, 0)]
    options = itertools.product(("softmax", "sigmoid"), uneven, (False, True), (False, True))
    return [Case(*option, dtype) for option in options for dtype in (torch.float32, torch.float64)]


def inputs(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Images, texts, keys and presence of all ranks' rows; under the mask, the first rank has two rows left."""
    generator = torch.Generator().manual_seed(5)
    total = sum(case.counts)
    images, texts = torch.randn(2, total, WIDTH, generator=generator).to(case.dtype)
    keys = torch.randint(0, 6, (total,), generator=generator) if case.keyed else None
    present = torch.arange(total) >= case.counts[0] - 2 if case.masked else None
    return images, texts, keys, present


def main(folder: Path, rank: int, ranks: int) -> None:
    from train.clip.gathered_loss import gathered_pair_loss

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks)
    results = []
    for case in cases(ranks):
        start = sum(case.counts[:rank])
        own = slice(start, start + case.counts[rank])
        images, texts, keys, present = (value if value is None else value[own] for value in inputs(case))
        model = DistributedDataParallel(Towers(case.dtype))
        loss = gathered_pair_loss(case.kind, *model(images, texts), keys, present)
        loss.backward()
        losses = [torch.zeros_like(loss.detach()) for _ in range(ranks)]
        dist.all_gather(losses, loss.detach())
        results.append((losses, {name: parameter.grad for name, parameter in model.module.named_parameters()}))
    if rank == 0:
        torch.save(results, folder / "results.pt")
    # The last wrapped model holds on to gloo's threads: it must be gone, on every rank, before the group is.
    del model, loss
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
