"""Rows in the order of a sampler to batches."""

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler

from .data_order import RowOfEpoch
from .engine_config import DataConfig

Batches = Callable[[list[dict[str, Any]]], dict[str, Any]]


class EpochRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows that know the epoch they are drawn for."""

    def __init__(self, rows: Dataset):
        self.rows = rows

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        epoch, row = index
        return {**self.rows[row], "epoch": epoch}


def make_loader(
    rows: Dataset, batches: Sampler[list[RowOfEpoch]], data: DataConfig, collate: Batches
) -> DataLoader[dict[str, Any]]:
    """Batches in the order of a sampler, whatever the number of workers."""
    return DataLoader(
        EpochRows(rows),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=data.workers,
        generator=torch.Generator(),  # its own, so that the run's random numbers are not drawn from
        persistent_workers=False,
    )
