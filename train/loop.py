"""The recipe both programs share: build, prepare, loop, finish; a run folder that says what made it."""

import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from evaluation.rows import load_split

from .config import CaptionerConfig, ClipConfig, OptimConfig
from .data import Batches, make_loader

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "peft", "tokenizers", "numpy", "pillow")


def fit(
    config: ClipConfig | CaptionerConfig, build: Callable[..., tuple[Any, Any]], batches_of: Callable[[Any], Batches]
) -> None:
    """Trains what a configuration describes and saves it.

    Args:
        config: The whole configuration of the run.
        build: Model configuration and rows to a model and its processor.
        batches_of: A processor to the function that turns rows into a batch.
    """
    started, optim = time.time(), config.optim
    accelerator = Accelerator(mixed_precision=optim.mixed_precision, gradient_accumulation_steps=optim.accumulate)
    if accelerator.is_main_process:
        open_run(config.output, config.overwrite)
    accelerator.wait_for_everyone()
    set_seed(config.seed)

    rows = load_split(config.data.path, config.data.train_split)
    model, processor = build(config.model, rows)
    if optim.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    batches = optim.steps * optim.accumulate * accelerator.num_processes
    loader = make_loader(rows, batches, optim.batch_size, config.seed, config.data, batches_of(processor))
    optimizer, scheduler = make_optimizer(model, optim)
    prepared, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)

    result = train(accelerator, prepared, optimizer, scheduler, loader, optim, config.output / "log.jsonl")
    if accelerator.is_main_process:
        model.save_pretrained(config.output / "model")
        processor.save_pretrained(config.output / "model")
        write_run(config.output, config, {"rows": len(rows), **result}, started)
    accelerator.end_training()


def open_run(output: Path, overwrite: bool) -> None:
    """Makes the run's folder; an earlier run in it is refused, or removed when asked."""
    if (output / "run.json").exists():
        if not overwrite:
            raise FileExistsError(f"{output} already holds a run. Choose another --output, or pass --overwrite.")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)


def write_run(output: Path, config: Any, result: dict[str, Any], started: float) -> None:
    """Writes `run.json`: the resolved configuration, what it gave, and what it ran on."""
    record = {
        "config": asdict(config),
        **result,
        "seconds": round(time.time() - started, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "versions": {name: version(name) for name in LIBRARIES},
    }
    (output / "run.json").write_text(json.dumps(record, indent=2, default=str) + "\n")


def make_optimizer(model: nn.Module, optim: OptimConfig) -> tuple[AdamW, LambdaLR]:
    """AdamW that decays matrices only, under a linear warm-up and a cosine."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=optim.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    return optimizer, LambdaLR(optimizer, lambda step: cosine_with_warmup(step, optim.warmup_steps, optim.steps))


def cosine_with_warmup(step: int, warmup_steps: int, steps: int) -> float:
    """Share of the peak learning rate at a step."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def train(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    batches: Iterable[dict[str, torch.Tensor]],
    optim: OptimConfig,
    log: Path,
) -> dict[str, Any]:
    """Trains over prepared batches and returns the last logged losses.

    Raises:
        FloatingPointError: The loss of a batch is not finite.
    """
    model.train()
    step, entry = 0, {}
    bar = tqdm(total=optim.steps, desc="train", unit="step", disable=not accelerator.is_main_process)
    with log.open("w") as file:
        for batch in batches:
            with accelerator.accumulate(model):
                output = model(**batch)
                if not torch.isfinite(output.loss):
                    raise FloatingPointError(f"the loss is {output.loss.item()} at step {step}; see {log}.")
                accelerator.backward(output.loss)
                if not accelerator.sync_gradients:
                    continue
                norm = accelerator.clip_grad_norm_(model.parameters(), optim.max_gradient_norm)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            step += 1
            entry = {"step": step, "loss": output.loss.item(), **_parts(output), "gradient_norm": float(norm)}
            entry["learning_rate"] = scheduler.get_last_lr()[0]
            if accelerator.is_main_process:
                file.write(json.dumps(entry) + "\n")
                file.flush()
            bar.update()
            bar.set_postfix(loss=f"{entry['loss']:.3f}")
    bar.close()
    return {"steps": step, "final": entry}


def _parts(output: Any) -> dict[str, float]:
    """The loss of each pair of modalities, where a model has several."""
    losses = output.get("losses") or {}
    return {f"loss_{name}": value.item() for name, value in losses.items()}
