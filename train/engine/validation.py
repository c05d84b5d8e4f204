"""Measures on held-out rows while a run goes on; the run's random numbers are not drawn from.

Processes share the rows out. Where parameters are sharded, every process takes all rows, since each layer's parameters
are gathered from all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch import nn

from evaluation.rows import load_split

from ..data.config import DataConfig
from .config import ValidationConfig
from .random_state import kept_random_state
from .sharding import whole_root

VALIDATION = "validation/"
Measures = dict[str, float]
# Model, processor, the rows of this process, and how many at once.
Own = Callable[[Any, Any, Dataset, int], Any]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured: by each process on its rows, and then together."""

    own: Own
    together: Callable[[Sequence[Any]], Measures]
    """Results of all processes, in the order of rows, to measures by name."""
    columns: tuple[str, ...]
    """Columns of the rows that it reads."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A measure, ready to be taken of a model that is in training."""

    accelerator: Accelerator
    objective: nn.Module
    model: nn.Module
    processor: Any
    rows: Dataset
    batch_size: int
    measure: Measure

    def __call__(self) -> Measures:
        """The measures, on the first process; every process takes part."""
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        is_shared_out = not self.accelerator.is_fsdp2 and len(self.rows) >= ranks
        rows = self.rows
        if is_shared_out:
            rows = rows.select(range(len(rows) * rank // ranks, len(rows) * (rank + 1) // ranks))
        self.model.eval()
        with kept_random_state(), torch.no_grad(), self.accelerator.autocast(), whole_root(self.objective):
            own = self.measure.own(self.model, self.processor, rows, self.batch_size)
        self.objective.train()
        results = gather_object([own]) if is_shared_out else [own]
        return self.measure.together(results) if self.accelerator.is_main_process else {}


def load_held_out(validation: ValidationConfig, data: DataConfig, measure: Measure | None) -> Dataset | None:
    """The rows to validate on, None where a run is not validated.

    Raises:
        ValueError: the program measures nothing, or the rows are those that are trained on, or of another dataset.
    """
    if not validation.every_steps:
        return None
    if measure is None:
        raise ValueError("this program measures nothing on held-out rows; leave validation.every_steps at 0.")
    path = validation.path or data.path
    if (_place(path), validation.split) == (_place(data.path), data.train_split):
        raise ValueError(f"validation.split is {validation.split!r}, which is trained on; name a held-out split.")
    rows = load_split(path, validation.split)
    missing = [name for name in measure.columns if name not in rows.column_names]
    if missing:
        raise ValueError(
            f"split {validation.split!r} of {path} has no column {', '.join(missing)}; name a dataset of fusionrs with "
            "--validation.path, or leave validation.every_steps at 0."
        )
    return rows.select(range(min(validation.rows, len(rows))))


def _place(path: str) -> str:
    """One name for a folder, however it is written; a Hub id as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else path
