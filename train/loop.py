"""The recipe both programs share: build, prepare, loop, finish; a run folder that says what made it."""

import json
import math
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import send_to_device, set_seed
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from evaluation.rows import load_split

from .captioner_config import CaptionerConfig
from .clip_config import ClipConfig
from .data_order import DataOrder, RankBatches
from .engine_config import OptimConfig
from .loader import Batches, make_loader
from .run_state import RunState

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "peft", "tokenizers", "numpy", "pillow")
# What a shell reports of a process that SIGTERM ended; here after a checkpoint was saved.
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM

Losses = dict[str, torch.Tensor]
Step = Callable[[Accelerator, nn.Module, dict[str, torch.Tensor], int], Losses]


def fit(
    config: ClipConfig | CaptionerConfig,
    build: Callable[..., tuple[Any, Any]],
    batches_of: Callable[[Any], Batches],
    objective_of: Callable[[Any], nn.Module],
    run_step: Step,
) -> None:
    """Trains what a configuration describes and saves it.

    Args:
        config: The whole configuration of the run.
        build: Model configuration and rows to a model and its processor.
        batches_of: A processor to the function that turns rows into a batch.
        objective_of: A model to the module that is trained, which holds it.
        run_step: Forward and backward over this process's rows of a step; returns `loss` and its parts.
    """
    started, optim = time.time(), config.optim
    # Without a second search for unused parameters, DDP rebuilds its buckets after the first step, and a resumed run
    # would sum gradients in another order.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=config.save.deterministic)
    accelerator = Accelerator(mixed_precision=optim.mixed_precision, kwargs_handlers=[ddp])
    torch.use_deterministic_algorithms(config.save.deterministic)
    if accelerator.is_main_process:
        open_run(config.output, config.overwrite, config.save.resume)
    accelerator.wait_for_everyone()
    set_seed(config.seed)

    rows = load_split(config.data.path, config.data.train_split)
    model, processor = build(config.model, rows)
    if optim.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer, scheduler = make_optimizer(model, optim)
    objective, optimizer = accelerator.prepare(objective_of(model), optimizer)

    identity = {"rows": len(rows), "batch_size": optim.batch_size, "steps": optim.steps, "seed": config.seed}
    state = RunState(accelerator, objective, optimizer, scheduler, identity)
    first_step = state.resume(config.output) if config.save.resume else 0
    order = DataOrder(len(rows), optim.batch_size, config.seed)
    sampler = RankBatches(order, first_step, optim.steps, accelerator.process_index, accelerator.num_processes)
    loader = make_loader(rows, sampler, config.data, batches_of(processor))

    result = train(state, loader, config, first_step, run_step)
    if accelerator.is_main_process:
        model.save_pretrained(config.output / "model")
        processor.save_pretrained(config.output / "model")
        write_run(config.output, config, {"rows": len(rows), **result}, started)
    accelerator.end_training()


def open_run(output: Path, overwrite: bool, resume: bool = False) -> None:
    """Makes the run's folder; an earlier run in it is refused, removed when asked, or gone on with."""
    if resume:
        if (output / "run.json").exists():
            raise FileExistsError(f"{output} holds a finished run; there is nothing to resume.")
    elif (output / "run.json").exists() or (output / "checkpoints").exists():
        if not overwrite:
            raise FileExistsError(
                f"{output} already holds a run. Choose another --output, or pass --overwrite, or --save.resume to go "
                "on with it."
            )
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
    state: RunState,
    loader: DataLoader[dict[str, Any]],
    config: ClipConfig | CaptionerConfig,
    first_step: int,
    run_step: Step,
) -> dict[str, Any]:
    """Trains from a step to the end, saving on the way, and returns the last logged losses.

    Raises:
        FloatingPointError: The loss of a step is not finite.
        SystemExit: SIGTERM came; a checkpoint was saved.
    """
    accelerator, optim, save = state.accelerator, config.optim, config.save
    rows_of_process = -(-optim.batch_size // accelerator.num_processes)
    chunks = -(-rows_of_process // (optim.rows_at_once or rows_of_process))
    state.model.train()
    entry: dict[str, Any] = {}
    bar = tqdm(
        total=optim.steps, initial=first_step, desc="train", unit="step", disable=not accelerator.is_main_process
    )
    path = config.output / "log.jsonl"
    opened = _open_log(path, first_step) if accelerator.is_main_process else nullcontext()
    with bar, opened as log, stop_requests() as stop:
        for step, batch in enumerate(loader, start=first_step + 1):
            losses = run_step(accelerator, state.model, send_to_device(batch, accelerator.device), chunks)
            if not torch.isfinite(losses["loss"]):
                raise FloatingPointError(f"the loss is {losses['loss'].item()} at step {step}; see {config.output}.")
            norm = accelerator.clip_grad_norm_(state.model.parameters(), optim.max_gradient_norm)
            state.optimizer.step()
            state.scheduler.step()
            state.optimizer.zero_grad()
            entry = {"step": step, **{name: value.item() for name, value in losses.items()}}
            entry |= {"gradient_norm": float(norm), "learning_rate": state.scheduler.get_last_lr()[0]}
            if log is not None:
                log.write(json.dumps(entry) + "\n")
                log.flush()
            bar.update()
            bar.set_postfix(loss=f"{entry['loss']:.3f}")
            stopping = _on_any_process(accelerator, bool(stop))
            if stopping or (save.every_steps and step % save.every_steps == 0 and step < optim.steps):
                state.save(config.output, step, save.keep)
            if stopping and step < optim.steps:
                print(f"stopped by a signal; step {step} is saved, go on with --save.resume", file=sys.stderr)
                raise SystemExit(STOPPED_BY_SIGNAL)
    return {"steps": optim.steps, "final": entry}


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """The signals that asked to stop, in a list that fills as they come; a launcher may send several."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def _on_any_process(accelerator: Accelerator, value: bool) -> bool:
    """Whether it is so on any process: all must take part in saving, or none."""
    if accelerator.num_processes == 1:
        return value
    flag = torch.tensor(float(value), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)


def _open_log(path: Path, first_step: int) -> Any:
    """The log without steps that will be taken again."""
    kept = []
    if first_step and path.exists():
        kept = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= first_step]
    path.write_text("".join(f"{line}\n" for line in kept))
    return path.open("a")
