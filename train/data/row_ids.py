"""Which rows a batch is of: ids travel beside the tensors, and name what made a loss that is not finite."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from .loader import Batches

ROW_IDS = "row_ids"
NOT_FINITE = "not_finite.json"
NAMED = 8


class IdentifiedBatches:
    """Rows to a batch that also holds their ids, a list of strings that stays where it is."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self.batches(rows), ROW_IDS: [row["id"] for row in rows]}


def rows_not_finite(batch: dict[str, Any], ids: list[str]) -> list[str]:
    """Ids of the rows of which an input holds NaN or infinity; inputs that are not one for each row are passed over."""
    broken = torch.zeros(len(ids), dtype=torch.bool)
    for value in batch.values():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and len(value) == len(ids):
            broken |= ~torch.isfinite(value.flatten(1) if value.ndim > 1 else value[:, None]).all(dim=1).cpu()
    return [name for name, is_broken in zip(ids, broken.tolist(), strict=True) if is_broken]


def stop_at(
    accelerator: Accelerator, what: str, step: int, batch: dict[str, Any], ids: list[str], output: Path
) -> FloatingPointError:
    """The error of a step that is not finite; every process takes part, and the first writes `not_finite.json`."""
    all_ids: list[str] = gather_object(ids)
    broken: list[str] = gather_object(rows_not_finite(batch, ids))
    path = output / NOT_FINITE
    if accelerator.is_main_process:
        record = {"step": step, "what": what, "rows": all_ids, "rows_with_inputs_not_finite": broken}
        path.write_text(json.dumps(record, indent=2) + "\n")
    cause = (
        f"inputs of {_some(broken)} are not finite: look at these rows, or leave them out"
        if broken
        else f"all inputs are finite, of {_some(all_ids)}: try a smaller optim.learning-rate, more optim.warmup-steps, "
        "or bf16 in place of fp16"
    )
    return FloatingPointError(f"{what} at step {step}; {cause}. No checkpoint holds this step. All rows: {path}.")


def _some(ids: list[str]) -> str:
    shown = ", ".join(ids[:NAMED])
    return shown if len(ids) <= NAMED else f"{shown} and {len(ids) - NAMED} more"
