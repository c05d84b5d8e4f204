"""The state of a run: saved so that a resumed run is the uninterrupted one, bit for bit on a CPU."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_model, save_model
from torch import nn

from .checkpoint import newest_checkpoint, remove_leftovers, save_checkpoint, step_of
from .random_state import random_state, set_random_state

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
    ) -> None:
        """Takes prepared objects; `identity` names what must be the same for a checkpoint to be resumed from."""
        self.accelerator, self.model, self.optimizer, self.scheduler = accelerator, model, optimizer, scheduler
        self.identity = identity

    def save(self, output: Path, step: int, keep: int) -> None:
        """Write a checkpoint; every process takes part, the first one writes."""
        states = gather_object([random_state()])
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            record = {"step": step, "processes": self.accelerator.num_processes, "identity": self.identity}
            save_checkpoint(
                output / FOLDER,
                step,
                {
                    "model.safetensors": lambda path: save_model(self.accelerator.unwrap_model(self.model), str(path)),
                    "optimizer.pt": lambda path: torch.save(self.optimizer.state_dict(), path),
                    "scheduler.pt": lambda path: torch.save(self.scheduler.state_dict(), path),
                    "scaler.pt": lambda path: torch.save(scaler.state_dict() if scaler is not None else {}, path),
                    "random.pt": lambda path: torch.save(states, path),
                    "run.json": lambda path: _write_json(path, record),
                },
                keep=keep,
            )
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
        load_model(self.accelerator.unwrap_model(self.model), str(checkpoint / "model.safetensors"))
        self.optimizer.load_state_dict(_load(checkpoint / "optimizer.pt"))
        self.scheduler.load_state_dict(_load(checkpoint / "scheduler.pt"))
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(_load(checkpoint / "scaler.pt"))
        set_random_state(_load(checkpoint / "random.pt")[self.accelerator.process_index])
        return step_of(checkpoint)

    def _check(self, checkpoint: Path, record: dict[str, Any]) -> None:
        differing = [
            f"{name} was {record['identity'].get(name)!r} and is {value!r}"
            for name, value in self.identity.items()
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
