"""The state of a run: saved so that a resumed run is the uninterrupted one, bit for bit on a CPU."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import nn

from .checkpoint import newest_checkpoint, remove_leftovers, save_checkpoint, step_of
from .full_state import full_optimizer_state, full_tensors, load_full_optimizer_state, load_full_tensors, weights_of
from .random_state import random_state, set_random_state
from .weight_averaging import WeightAverage

FOLDER = "checkpoints"


class OtherRunError(ValueError):
    """A checkpoint belongs to a run of other rows, another batch size or seed, or another number of processes."""


class RunState:
    """What changes while a run goes on, beside the position in the data, which is the step."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        identity: dict[str, Any],
        average: WeightAverage | None = None,
    ) -> None:
        """Takes prepared objects; `identity` names what must be the same for a checkpoint to be resumed from."""
        self.accelerator, self.model, self.optimizer, self.scheduler = accelerator, model, optimizer, scheduler
        self.identity, self.average = json.loads(json.dumps(identity)), average
        self.skipped = 0
        """Steps in a row that a gradient scaler skipped."""

    def save(self, output: Path, step: int, keep: int) -> None:
        """Write a checkpoint; every process takes part, the first one writes."""
        states = gather_object([random_state()])
        is_main, scaler = self.accelerator.is_main_process, self.accelerator.scaler
        weights = full_tensors(self._weights(), keep=is_main)
        moments = full_optimizer_state(self.optimizer, keep=is_main)
        average = full_tensors(self.average.weights, keep=is_main) if self.average is not None else {}
        record = {
            "step": step,
            "processes": self.accelerator.num_processes,
            "identity": self.identity,
            "skipped": self.skipped,
            "average_updates": self.average.updates if self.average is not None else 0,
        }
        if is_main:
            writers = {
                "model.safetensors": lambda path: save_file(weights, str(path)),
                "optimizer.pt": lambda path: torch.save(moments, path),
                "scheduler.pt": lambda path: torch.save(self.scheduler.state_dict(), path),
                "scaler.pt": lambda path: torch.save(scaler.state_dict() if scaler is not None else {}, path),
                "random.pt": lambda path: torch.save(states, path),
                "run.json": lambda path: _write_json(path, record),
            }
            if self.average is not None:
                writers["average.safetensors"] = lambda path: save_file(average, str(path))
            save_checkpoint(output / FOLDER, step, writers, keep=keep)
        self.accelerator.wait_for_everyone()

    def resume(self, output: Path) -> int:
        """Load the newest whole checkpoint into everything, and return its step; 0 where there is none.

        Raises:
            OtherRunError: the checkpoint is of another run.
        """
        if self.accelerator.is_main_process:
            remove_leftovers(output / FOLDER)
        self.accelerator.wait_for_everyone()
        checkpoint = newest_checkpoint(output / FOLDER)
        if checkpoint is None:
            return 0
        record = json.loads((checkpoint / "run.json").read_text())
        self._check(checkpoint, record)
        load_full_tensors(self._weights(), load_file(checkpoint / "model.safetensors"), str(checkpoint))
        load_full_optimizer_state(self.optimizer, _load(checkpoint / "optimizer.pt"))
        self.scheduler.load_state_dict(_load(checkpoint / "scheduler.pt"))
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(_load(checkpoint / "scaler.pt"))
        if self.average is not None:
            load_full_tensors(self.average.weights, load_file(checkpoint / "average.safetensors"), str(checkpoint))
            self.average.updates = record["average_updates"]
        self.skipped = record["skipped"]
        set_random_state(_load(checkpoint / "random.pt")[self.accelerator.process_index])
        return step_of(checkpoint)

    def _weights(self) -> dict[str, torch.Tensor]:
        return weights_of(self.accelerator.unwrap_model(self.model))

    def _check(self, checkpoint: Path, record: dict[str, Any]) -> None:
        differing = [
            f"{name} was {record['identity'].get(name)!r} and is {value!r}"
            for name, value in (dict.fromkeys(record["identity"]) | self.identity).items()
            if record["identity"].get(name) != value
        ]
        if record["processes"] != self.accelerator.num_processes:
            differing.append(f"processes were {record['processes']} and are {self.accelerator.num_processes}")
        if differing:
            raise OtherRunError(
                f"{checkpoint} is of another run: {'; '.join(differing)}. Resume with the settings it had, or choose "
                "another --output."
            )


def _write_json(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")


def _load(path: Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")
