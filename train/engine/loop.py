"""The recipe that the programs share: build, prepare, loop, finish; a run folder that says what made it."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device, set_seed
from datasets import Dataset
from torch import nn

from ..data.config import DataConfig
from ..data.loader import Batches, make_loader, make_order, open_rows
from ..data.order import RankBatches
from ..data.row_ids import ROW_IDS, IdentifiedBatches, stop_at
from .final_weights import FinalWeights, train_in_float32
from .loss_curve import LOSS_CURVE, loss_curve
from .optimizer import make_optimizer
from .pixel_levels import FinishedBatches, in_levels
from .run_config import RunConfig, settings
from .run_folder import check_folder, prepare_folder, write_run
from .run_log import LOG, Entry, RunLog, check_trackers, open_log, read_log
from .run_state import RunState
from .sharding import layers_of, make_accelerator, make_whole, shard_objective
from .stop_requests import STOPPED_BY_SIGNAL, on_any_process, stop_requests
from .validation import VALIDATION, Measure, Validation, load_held_out
from .weight_averaging import WeightAverage

Losses = dict[str, torch.Tensor]
Step = Callable[[Accelerator, nn.Module, dict[str, torch.Tensor], int], Losses]

# A scaler halves its scale after each step that overflows; after this many, it is not the scale.
MOST_SKIPPED = 40


def fit(
    config: RunConfig,
    build: Callable[..., tuple[Any, Any]],
    batches_of: Callable[[Any], Batches],
    objective_of: Callable[[Any], nn.Module],
    run_step: Step,
    load_rows: Callable[[Any], Dataset] | None = None,
    save: Callable[[Any, Any, Path], dict[str, Any]] | None = None,
    *,
    measure: Measure | None = None,
) -> None:
    """Trains what a configuration describes and saves it.

    Args:
        config: The whole configuration of the run.
        build: Model configuration and rows to a model and its processor.
        batches_of: A processor to the function that turns rows into a batch.
        objective_of: A model to the module that is trained, which holds it.
        run_step: Forward and backward over this process's rows of a step; returns `loss` and its parts.
        load_rows: The data's configuration to rows; a split of FusionRS when not given.
        save: Writes a trained model and its processor under the run's folder and returns facts for `run.json`; saves
            both into `model/` when not given.
        measure: What to measure; without it `validation.every_steps` is refused.
    """
    check_trackers(config.log)
    accelerator = make_accelerator(
        mixed_precision=config.optim.mixed_precision,
        shard=config.optim.shard,
        deterministic=config.save.deterministic,
        log_with=list(config.log.to) or None,
        project_dir=config.output,
    )
    torch.use_deterministic_algorithms(config.save.deterministic)
    check_folder(config)
    program = Program(
        build=build,
        batches_of=batches_of,
        objective_of=objective_of,
        run_step=run_step,
        load_rows=load_rows or load_train_split,
        save=save or save_model,
        measure=measure,
    )
    stopped = fit_and_let_go(accelerator, config, program)
    # What holds gradients must be gone before the process group: a gloo group whose last holder is DDP's reducer waits,
    # with Python's lock, for threads that need the lock.
    accelerator.free_memory()
    accelerator.end_training()
    if stopped is not None:
        raise stopped


@dataclass(frozen=True, kw_only=True)
class Program:
    """What `fit` is given beside the configuration; its arguments say what each is."""

    build: Callable[..., tuple[Any, Any]]
    batches_of: Callable[[Any], Batches]
    objective_of: Callable[[Any], nn.Module]
    run_step: Step
    load_rows: Callable[[Any], Dataset]
    save: Callable[[Any, Any, Path], dict[str, Any]]
    measure: Measure | None


def fit_and_let_go(
    accelerator: Accelerator, config: RunConfig, program: Program
) -> FloatingPointError | SystemExit | None:
    """Trains and saves; what stopped the run is returned without its frames, which hold the model."""
    try:
        fit_program(accelerator, config, program)
    except (FloatingPointError, SystemExit) as error:
        return error.with_traceback(None)
    return None


def fit_program(accelerator: Accelerator, config: RunConfig, program: Program) -> None:
    """Builds, prepares, loops and finishes."""
    started, optim, validation = time.time(), config.optim, config.validation
    set_seed(config.seed)
    rows = program.load_rows(config.data)
    order = make_order(rows, optim.batch_size, config.seed)
    held_out = load_held_out(validation, config.data, program.measure)
    model, processor = program.build(config.model, rows)
    train_in_float32(model)
    if optim.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if optim.compile_layers:
        for layer in layers_of(model):
            layer.compile()
    final = FinalWeights(model, optim.wise_alpha)
    objective = program.objective_of(model)
    if optim.shard:
        shard_objective(accelerator, objective, model)
    optimizer, scheduler = make_optimizer(model, optim)
    objective, optimizer = accelerator.prepare(objective, optimizer)
    average = WeightAverage(model, optim.average_decay) if optim.average_decay is not None else None
    validate = None
    if held_out is not None and program.measure is not None:
        validate = Validation(
            accelerator=accelerator,
            objective=objective,
            model=model,
            processor=processor,
            rows=held_out,
            batch_size=validation.batch_size,
            measure=program.measure,
        )

    if accelerator.is_main_process:
        prepare_folder(config.output, config.save.resume)
    accelerator.wait_for_everyone()
    identity = {"rows": len(rows)} | settings(config) | final.identity
    state = RunState(accelerator, objective, optimizer, scheduler, identity, average)
    first_step = state.resume(config.output) if config.save.resume else 0
    sampler = RankBatches(order, first_step, optim.steps, accelerator.process_index, accelerator.num_processes)
    made = make_loader(rows, sampler, config.data, IdentifiedBatches(program.batches_of(in_levels(processor))))
    loader = FinishedBatches(made, processor, accelerator.device)

    with open_log(accelerator, config.output, config, config.log, first_step, optim.steps) as log:
        result = train(state, loader, config, first_step, program.run_step, log, validate, validation.every_steps)
    final.put_in_place(average)
    try:
        if validate is not None:
            result |= {"validation": validate()}
    finally:  # what was trained is saved, though its measure may fail
        make_whole(accelerator, objective)
        if accelerator.is_main_process:
            check_weights(model)
            facts = program.save(model, processor, config.output)
            entries = read_log(config.output / LOG)
            loss_curve(config.output / LOSS_CURVE, f"{config.output.name}, {optim.steps} steps", entries)
            write_run(config.output, config, {"rows": len(rows), **facts, **result}, started)


def load_train_split(data: DataConfig) -> Dataset:
    """The split of FusionRS that a configuration names."""
    return open_rows(data.path, data.train_split, data.streaming)


def check_weights(model: nn.Module) -> None:
    """Raises a FloatingPointError for weights that are not finite: the last step may have broken them."""
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise FloatingPointError(
            f"{len(broken)} weights are not finite after the last step, such as {broken[0]}; nothing is saved."
        )


def save_model(model: Any, processor: Any, output: Path) -> dict[str, Any]:
    """Saves a model and its processor beside each other, and has no more to tell."""
    model.save_pretrained(output / "model")
    processor.save_pretrained(output / "model")
    return {}


def train(
    state: RunState,
    loader: Iterable[dict[str, Any]],
    config: RunConfig,
    first_step: int,
    run_step: Step,
    log: RunLog,
    validate: Validation | None = None,
    validate_every: int = 0,
) -> dict[str, Any]:
    """Trains from a step to the end, saving on the way, and returns the last logged losses.

    Raises:
        FloatingPointError: The loss or the gradient of a step is not finite.
        SystemExit: SIGTERM came; a checkpoint was saved.
    """
    accelerator, optim, save = state.accelerator, config.optim, config.save
    rows_of_process = -(-optim.batch_size // accelerator.num_processes)
    chunks = -(-rows_of_process // (optim.rows_at_once or rows_of_process))
    state.model.train()
    entry: Entry = {}
    with stop_requests() as stop:
        for step, batch in enumerate(loader, start=first_step + 1):
            entry = take_step(state, batch, step, chunks, run_step, config)
            if validate is not None and validate_every and step % validate_every == 0:
                entry |= _validated(state, validate)
            log.write(entry)
            stopping = on_any_process(accelerator, bool(stop))
            if stopping or (save.every_steps and step % save.every_steps == 0 and step < optim.steps):
                state.save(config.output, step, save.keep)
            if stopping and step < optim.steps:
                print(f"stopped by a signal; step {step} is saved, go on with --save.resume", file=sys.stderr)
                raise SystemExit(STOPPED_BY_SIGNAL)
    return {"steps": optim.steps, "final": entry}


def take_step(
    state: RunState, batch: dict[str, Any], step: int, chunks: int, run_step: Step, config: RunConfig
) -> Entry:
    """One optimizer step, and what to log of it; nothing is changed by a loss or a gradient that is not finite."""
    accelerator, ids = state.accelerator, batch.pop(ROW_IDS)
    batch = send_to_device(batch, accelerator.device)
    losses = {name: value.item() for name, value in run_step(accelerator, state.model, batch, chunks).items()}
    entry: Entry = {"step": step, **losses}
    if not is_finite(losses["loss"]):
        raise stop_at(accelerator, f"the loss is {losses['loss']}", step, batch, ids, config.output)
    norm = float(accelerator.clip_grad_norm_(state.model.parameters(), config.optim.max_gradient_norm))
    if accelerator.scaler is None and not is_finite(norm):
        raise stop_at(accelerator, f"the norm of the gradient is {norm}", step, batch, ids, config.output)
    entry |= {"gradient_norm": norm, "learning_rate": max(state.scheduler.get_last_lr())}
    state.optimizer.step()
    if accelerator.scaler is not None and accelerator.optimizer_step_was_skipped:
        state.skipped += 1
        if state.skipped == MOST_SKIPPED:
            what = f"the norm of the gradient is {norm}, as in {MOST_SKIPPED} steps before it,"
            raise stop_at(accelerator, what, step, batch, ids, config.output)
    else:
        state.skipped = 0
        state.scheduler.step()
        if state.average is not None:
            state.average.update()
    state.optimizer.zero_grad()
    return entry


def is_finite(value: float) -> bool:
    """Whether a number is neither NaN nor infinite."""
    return abs(value) < float("inf")


def _validated(state: RunState, validate: Validation) -> Entry:
    """Measures of the weights that would be saved."""
    if state.average is None:
        measures = validate()
    else:
        with state.average.in_place():
            measures = validate()
    return {f"{VALIDATION}{name}": value for name, value in measures.items()}
