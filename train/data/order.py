"""Which rows belong to a step: a pure function of the seed, whatever the number of processes or workers.

An epoch is a permutation of all rows, cut into steps that differ by one row at most: none is lost, none seen twice.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from .draw import draw

RowOfEpoch = tuple[int, int]


class DataOrder:
    """Rows of every step; step 0 begins epoch 0."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        if rows < 1 or batch_size < 1:
            raise ValueError(f"{rows} rows in batches of {batch_size} make no step; both must be at least 1.")
        if rows < batch_size:
            raise ValueError(
                f"The split has {rows} rows, fewer than one batch of {batch_size}. Give a smaller optim.batch-size."
            )
        self.rows, self.seed = rows, seed
        self.steps_per_epoch = -(-rows // batch_size)
        self._epoch = -1
        self._order: list[int] = []

    def permutation(self, epoch: int) -> list[int]:
        """All rows in the order of an epoch."""
        order: list[int] = torch.randperm(self.rows, generator=draw(self.seed, "order", epoch)).tolist()
        return order

    def rows_of_step(self, step: int) -> list[RowOfEpoch]:
        """The (epoch, row) pairs of a step, of all processes together."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = self.permutation(epoch)
            self._epoch = epoch
        start, end = (self.rows * edge // self.steps_per_epoch for edge in (position, position + 1))
        return [(epoch, row) for row in self._order[start:end]]

    def rows_of_rank(self, step: int, rank: int, ranks: int) -> list[RowOfEpoch]:
        """A rank's share of a step; shares differ by one row at most.

        Raises:
            ValueError: there are fewer rows in the step than ranks.
        """
        rows = self.rows_of_step(step)
        if len(rows) < ranks:
            raise ValueError(f"step {step} has {len(rows)} rows for {ranks} processes; give a larger optim.batch-size.")
        start, end = (len(rows) * edge // ranks for edge in (rank, rank + 1))
        return rows[start:end]


class GroupedOrder(DataOrder):
    """An order for rows that are fetched by row group: each group is needed for a while, by one process.

    Groups are shuffled, and the rows within them. The sequence is cut into as many columns as a step has rows, and a
    step takes one row of each: its rows come from as many groups, and a rank's share from its own part of the sequence.
    So the order is the same for any number of ranks, and each of them fetches its groups only.

    Shapes: N rows, S steps in an epoch, b whole columns of S rows; the N - b S rows that remain fill one more column.
    """

    def __init__(self, groups: NDArray[np.int64], batch_size: int, seed: int) -> None:
        super().__init__(len(groups), batch_size, seed)
        self.groups = groups

    def permutation(self, epoch: int) -> list[int]:
        generator = draw(self.seed, "groups", epoch)
        place_of_group = torch.randperm(int(self.groups.max()) + 1, generator=generator).numpy()
        place_in_group = torch.randperm(self.rows, generator=generator).numpy()
        sequence = np.lexsort((place_in_group, place_of_group[self.groups]))  # (N,)
        steps, columns = self.steps_per_epoch, self.rows // self.steps_per_epoch
        edges = self.rows * np.arange(steps + 1) // steps
        order = np.empty(self.rows, dtype=np.int64)
        for column in range(columns):
            order[edges[:-1] + column] = sequence[column * steps : (column + 1) * steps]
        larger = np.diff(edges) > columns
        order[edges[1:][larger] - 1] = sequence[columns * steps :]
        ordered: list[int] = order.tolist()
        return ordered


class RankBatches(Sampler[list[RowOfEpoch]]):
    """The batches of one rank from a step on; what a DataLoader takes as `batch_sampler`."""

    def __init__(self, order: DataOrder, first_step: int, steps: int, rank: int, ranks: int) -> None:
        self.order, self.first_step, self.steps, self.rank, self.ranks = order, first_step, steps, rank, ranks

    def __iter__(self) -> Iterator[list[RowOfEpoch]]:
        for step in range(self.first_step, self.steps):
            yield self.order.rows_of_rank(step, self.rank, self.ranks)

    def __len__(self) -> int:
        return self.steps - self.first_step
