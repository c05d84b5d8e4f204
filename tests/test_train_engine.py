"""The engine of training: groups, averages, logs, pictures, validation, and what stops a run."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from launched_runs import arguments, entries
from PIL import Image
from safetensors.torch import load_file
from simulated_dataset import build_simulated
from torch import nn

from evaluation.rows import load_split
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor
from train import train_captioner, train_clip
from train.clip.validation import RETRIEVAL, embed_rows, retrieval
from train.data.config import DataConfig
from train.data.row_ids import ROW_IDS, IdentifiedBatches, rows_not_finite
from train.engine.config import LogConfig, OptimConfig, ValidationConfig
from train.engine.final_weights import FinalWeights, train_in_float32
from train.engine.loop import MOST_SKIPPED, take_step
from train.engine.loss_curve import loss_curve, smoothed
from train.engine.optimizer import make_optimizer, parameter_rates
from train.engine.run_log import check_trackers, open_log, read_log
from train.engine.run_state import RunState
from train.engine.validation import load_held_out
from train.engine.weight_averaging import WeightAverage, averaged, decay_at, interpolated


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Any:
    """accelerate keeps the precision of the first Accelerator of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 60, seed=5)


@pytest.fixture(scope="module")
def clip_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "clip"
    train_clip.main(arguments(data, output, "--validation.every-steps", "4", "--validation.rows", "6"))
    return output


# Weights that are saved


def test_an_average_is_its_closed_form() -> None:
    """After n steps: d^n times the first, plus (1 - d) d^(n-i) times the i-th."""
    decay, values = 0.5, torch.tensor([3.0, -1.0, 4.0, 8.0])
    average = torch.tensor(7.0)
    for value in values:
        average = averaged(average, value, decay)
    wanted = decay**4 * 7.0 + sum(
        (1 - decay) * decay ** (3 - index) * float(value) for index, value in enumerate(values)
    )
    assert average.item() == pytest.approx(wanted)


def test_an_average_forgets_its_beginning_at_first() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(2.0)
    average = WeightAverage(model, 0.999)
    model.weight.data.fill_(5.0)
    average.update()
    assert decay_at(0.999, 0) == 0.1
    assert decay_at(0.999, 10**6) == 0.999
    assert decay_at(0.5, 10) == 0.5
    assert average.weights["weight"].item() == pytest.approx(0.1 * 2.0 + 0.9 * 5.0)


def test_an_average_in_place_is_taken_out_again_to_the_bit() -> None:
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    before = model.weight.detach().clone()
    average.weights["weight"].fill_(2.0)
    with average.in_place():
        assert model.weight.unique().tolist() == [2.0]
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_saved_weights_lie_between_the_initial_and_the_trained(alpha: float) -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(requires_grad=False)
    first, bias = model.weight.detach().clone(), model.bias.detach().clone()
    final = FinalWeights(model, alpha)
    last = torch.randn(2, 3)
    model.weight.data.copy_(last)
    final.put_in_place(None)
    torch.testing.assert_close(model.weight, (1 - alpha) * first + alpha * last)
    assert torch.equal(model.bias, bias)
    assert interpolated(first, last, 1.0).equal(last)


def test_a_run_saves_the_average_between_initial_and_trained_weights(data: Path, tmp_path: Path) -> None:
    """Its closed form, from the raw weights of every step and from a run that saves where it began."""
    steps = ("--optim.steps", "4", "--optim.warmup-steps", "1")
    runs = {
        "last": (*steps, "--save.every-steps", "1", "--save.keep", "9"),
        "initial": (*steps, "--optim.wise-alpha", "0"),
        "mixed": (*steps, "--optim.average-decay", "0.2", "--optim.wise-alpha", "0.25"),
    }
    for name, options in runs.items():
        train_clip.main(arguments(data, tmp_path / name, *options))
    saved = {name: load_file(tmp_path / name / "model" / "model.safetensors") for name in runs}
    raw = [load_file(path / "model.safetensors") for path in sorted((tmp_path / "last" / "checkpoints").iterdir())]
    assert len(raw) == 3
    for name, initial in saved["initial"].items():
        average = initial
        for updates, value in enumerate([*(weights[f"model.{name}"] for weights in raw), saved["last"][name]]):
            decay = min(0.2, (1 + updates) / (10 + updates))
            average = decay * average + (1 - decay) * value
        torch.testing.assert_close(saved["mixed"][name], 0.75 * initial + 0.25 * average, rtol=1e-5, atol=1e-6)
    assert not torch.equal(saved["initial"]["logit_scale"], saved["last"]["logit_scale"])


def test_the_identity_of_initial_weights_is_theirs() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    same = FinalWeights(model, 0.5).identity
    assert FinalWeights(model, 0.7).identity == same
    assert FinalWeights(model, 1.0).identity == {}
    model.weight.data[0, 0] += 1e-7
    assert FinalWeights(model, 0.5).identity != same


# Parameter groups and precision


def test_parts_have_rates_of_their_own(tiny_clip: Any) -> None:
    model = tiny_clip(infrared_tower="separate")
    optim = OptimConfig(
        steps=10,
        warmup_steps=1,
        learning_rate=0.5,
        part_rates={"vision_model": 0.1, "vision_model.embeddings": 0.0, "logit_scale": 2.0},
    )
    rates = {name: rate for name, _, rate in parameter_rates(model, optim.part_rates)}
    assert {rate for name, rate in rates.items() if name.startswith("vision_model.embeddings.")} == {0.0}
    assert {rate for name, rate in rates.items() if name.startswith("vision_model.encoder.")} == {0.1}
    assert {rate for name, rate in rates.items() if name.startswith(("text_model.", "infrared_model."))} == {1.0}
    optimizer, _ = make_optimizer(model, optim)
    by_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(by_parameter) == len(rates)
    scale = by_parameter[id(model.logit_scale)]
    assert (scale["initial_lr"], scale["weight_decay"]) == (1.0, 0.0)
    projection = by_parameter[id(model.visual_projection.weight)]
    assert (projection["initial_lr"], projection["weight_decay"]) == (0.5, 0.1)
    with pytest.raises(
        ValueError, match=r"part_rates names 'vision', where the model has nothing to train; its parts are"
    ):
        make_optimizer(model, OptimConfig(part_rates={"vision": 0.1}))


def test_only_matrices_decay_whatever_they_are_called(tiny_clip: Any) -> None:
    model = tiny_clip(infrared_tower="adapted", fusion="attention")
    optimizer, _ = make_optimizer(model, OptimConfig(steps=10, warmup_steps=1))
    kept = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    for name, parameter in model.named_parameters():
        small = parameter.ndim < 2
        assert (id(parameter) in kept) == small, name
        if any(part in name for part in ("norm", "bias", "logit_scale", "class_embedding")):
            assert small, name


def test_a_model_of_low_precision_is_trained_in_float32(tiny_clip: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_clip().to(torch.bfloat16)
    train_in_float32(model)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert "weights of bfloat16 are trained, and saved, as float32" in capsys.readouterr().err
    frozen = tiny_clip().to(torch.bfloat16).requires_grad_(requires_grad=False)
    train_in_float32(frozen)
    assert frozen.visual_projection.weight.dtype == torch.bfloat16


def test_the_scale_moves_in_bfloat16_runs_and_would_not_without_float32(
    clip_run: Path, data: Path, tmp_path: Path
) -> None:
    naive = nn.Parameter(torch.tensor([2.65625], dtype=torch.bfloat16))
    optimizer = torch.optim.AdamW([naive], lr=1e-3)
    for _ in range(20):
        naive.grad = torch.ones_like(naive)
        optimizer.step()
    assert naive.item() == 2.65625, "a step of 0.001 is below half the spacing of bfloat16 there"

    RSCLIPModel.from_pretrained(clip_run / "model").to(torch.bfloat16).save_pretrained(tmp_path / "source")
    for path in (clip_run / "model").iterdir():
        if path.name not in ("model.safetensors", "config.json"):
            (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
    output = tmp_path / "clip"
    options = ("--model.source", str(tmp_path / "source"), "--optim.mixed-precision", "bf16", "--optim.steps", "6")
    train_clip.main([*arguments(data, output, *options)])
    source, trained = (RSCLIPModel.from_pretrained(path) for path in (tmp_path / "source", output / "model"))
    moved = (trained.logit_scale - source.logit_scale).abs().item()
    # AdamW moves a parameter of steady gradient by the learning rate; the sum of the schedule is what it can reach.
    reachable = sum(entry["learning_rate"] for entry in entries(output))
    assert 0.05 * reachable < moved <= 1.01 * reachable
    assert moved < 2**-7, "less than bfloat16 can show, so the run would have frozen"
    assert trained.visual_projection.weight.dtype == torch.float32
    assert not torch.equal(trained.visual_projection.weight, source.visual_projection.weight.float())


class Overflowing:
    """A step whose gradient is infinite as often as asked for, under a gradient scaler."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, accelerator: Accelerator, model: nn.Module, batch: Any, chunks: int) -> dict[str, torch.Tensor]:
        loss = model(torch.ones(1, 2)).sum()
        accelerator.scaler.scale(loss).backward()
        if self.times:
            self.times -= 1
            model.weight.grad.fill_(math.inf)
        return {"loss": loss.detach()}


def scaled_state() -> tuple[RunState, Any]:
    """A linear model under a gradient scaler, on a CPU, where accelerate itself offers none."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optim = OptimConfig(steps=100, warmup_steps=1)
    optimizer, scheduler = make_optimizer(model, optim)
    model, optimizer = accelerator.prepare(model, optimizer)
    optimizer.scaler = accelerator.scaler
    accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
    average = WeightAverage(model, 0.9)
    return RunState(accelerator, model, optimizer, scheduler, {}, average), optim


def test_steps_that_overflow_are_skipped_and_change_nothing(tmp_path: Path) -> None:
    state, optim = scaled_state()
    config = SimpleNamespace(optim=optim, output=tmp_path)
    before, step = state.model.weight.detach().clone(), Overflowing(2)
    for number in (1, 2):
        entry = take_step(state, {ROW_IDS: ["a"]}, number, 1, step, config)
        assert entry["gradient_norm"] == math.inf or math.isnan(entry["gradient_norm"])
    assert torch.equal(state.model.weight, before)
    assert (state.skipped, state.scheduler.last_epoch, state.average.updates) == (2, 0, 0)
    assert state.accelerator.scaler.get_scale() == 1.0
    take_step(state, {ROW_IDS: ["a"]}, 3, 1, step, config)
    assert (state.skipped, state.scheduler.last_epoch, state.average.updates) == (0, 1, 1)
    assert not torch.equal(state.model.weight, before)


def test_a_run_that_only_overflows_stops(tmp_path: Path) -> None:
    state, optim = scaled_state()
    config = SimpleNamespace(optim=optim, output=tmp_path)
    step = Overflowing(MOST_SKIPPED + 1)
    for number in range(1, MOST_SKIPPED):
        take_step(state, {ROW_IDS: ["a"]}, number, 1, step, config)
    with pytest.raises(FloatingPointError, match=rf"as in {MOST_SKIPPED} steps before it, at step {MOST_SKIPPED}"):
        take_step(state, {ROW_IDS: ["a"]}, MOST_SKIPPED, 1, step, config)


# What is not finite


def test_rows_with_inputs_that_are_not_finite_are_found() -> None:
    values = torch.zeros(3, 1, 2, 2)
    values[1, 0, 1, 1] = math.nan
    batch = {"pixel_values": values, "keys": torch.arange(3), "scale": torch.tensor([math.inf])}
    assert rows_not_finite(batch, ["a", "b", "c"]) == ["b"]
    batch["weight"] = torch.tensor([1.0, 0.0, math.inf])
    assert rows_not_finite(batch, ["a", "b", "c"]) == ["b", "c"]


def test_ids_travel_beside_the_tensors() -> None:
    rows = [{"id": "a", "value": 1.0}, {"id": "b", "value": 2.0}]
    batches = IdentifiedBatches(lambda found: {"value": torch.tensor([row["value"] for row in found])})
    assert batches(rows)[ROW_IDS] == ["a", "b"]
    assert batches(rows)["value"].tolist() == [1.0, 2.0]


def test_a_poisoned_row_stops_the_run_by_name_and_no_checkpoint_is_written_of_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = load_split(str(data), "train")[7]["id"]

    def poison(state: RunState, batch: dict[str, Any], *rest: Any) -> Any:
        if poisoned in batch[ROW_IDS]:
            batch["pixel_values"][batch[ROW_IDS].index(poisoned), 0, 0, 0] = math.nan
        return take_step(state, batch, *rest)

    monkeypatch.setattr("train.engine.loop.take_step", poison)
    output = tmp_path / "clip"
    message = rf"the loss is nan at step \d+; inputs of {poisoned} are not finite: look at these rows"
    with pytest.raises(FloatingPointError, match=message):
        train_clip.main(arguments(data, output, "--save.every-steps", "1", "--save.keep", "9", "--optim.steps", "30"))
    record = json.loads((output / "not_finite.json").read_text())
    assert poisoned in record["rows"]
    assert len(record["rows"]) in (8, 9)
    assert record["rows_with_inputs_not_finite"] == [poisoned]
    saved = sorted(int(path.name.split("-")[1]) for path in (output / "checkpoints").glob("step-*"))
    assert saved == list(range(1, record["step"]))
    assert not (output / "run.json").exists()
    assert not (output / "model").exists()


# Logs and pictures


def test_a_tracker_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("train.engine.run_log.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"log.to asks for trackio, which is not installed. Run `pip install"):
        train_clip.main(arguments(data, tmp_path / "clip", "--log.to", "trackio"))
    assert not (tmp_path / "clip").exists()
    check_trackers(LogConfig())


def test_tensorboard_has_every_number_of_the_log(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = tmp_path / "clip"
    train_clip.main(arguments(data, output, "--log.to", "tensorboard", "--log.project", "mine"))
    events = EventAccumulator(str(next((output / "mine").glob("events*")).parent))
    events.Reload()
    for name in ("loss", "loss_rgb_text", "learning_rate"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(entry["step"], pytest.approx(entry[name])) for entry in entries(output)]


def test_a_log_forgets_the_steps_that_are_taken_again_and_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "lo')
    with open_log(Accelerator(cpu=True), tmp_path, {}, LogConfig(), 1, 3) as log:
        log.write({"step": 2, "loss": 1.0})
    assert read_log(path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]


def test_smoothing_looks_back_only() -> None:
    values = np.array([1.0, 3.0, 5.0, 100.0])
    assert smoothed(values, 2).tolist() == [1.0, 2.0, 4.0, 52.5]
    assert smoothed(values, 1).tolist() == values.tolist()
    assert smoothed(values, 99)[-1] == values.mean()


def test_a_run_ends_with_a_picture_of_its_losses(clip_run: Path, tmp_path: Path) -> None:
    with Image.open(clip_run / "loss.png") as picture:
        assert picture.size == (1200, 960)
    bare = [{"step": step, "loss": 1.0 / step, "gradient_norm": 1.0} for step in range(1, 4)]
    loss_curve(tmp_path / "bare.png", "three steps", bare)
    with Image.open(tmp_path / "bare.png") as picture:
        assert picture.size == (1200, 672)


# Validation


def test_a_run_is_validated_with_the_protocol_of_evaluation(clip_run: Path, data: Path) -> None:
    log, run = entries(clip_run), json.loads((clip_run / "run.json").read_text())
    measured = [entry["step"] for entry in log if "validation/mean_recall" in entry]
    assert measured == [4, 8]
    model = RSCLIPModel.from_pretrained(clip_run / "model").eval()
    rows = load_split(str(data), "validation").select(range(6))
    processor = RSCLIPProcessor.from_pretrained(clip_run / "model")
    assert retrieval([embed_rows(model, processor, rows, 64)]) == run["validation"]
    halves = [embed_rows(model, processor, rows.select(part), 2) for part in (range(2), range(2, 6))]
    assert retrieval(halves) == run["validation"]


def test_validation_does_not_change_what_is_trained(clip_run: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "clip"
    train_clip.main(arguments(data, output))
    without, with_validation = entries(output), entries(clip_run)
    for plain, other in zip(without, with_validation, strict=True):
        assert plain == {name: value for name, value in other.items() if not name.startswith("validation/")}
    for name, value in RSCLIPModel.from_pretrained(output / "model").state_dict().items():
        assert torch.equal(value, RSCLIPModel.from_pretrained(clip_run / "model").state_dict()[name]), name


def test_a_captioner_is_validated_by_its_loss(clip_run: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "captioner"
    options = ["--model.clip", clip_run / "model", "--model.size.width", 32, "--model.size.layers", 1]
    options += ["--model.size.heads", 2, "--optim.steps", 4, "--optim.warmup-steps", 1, "--optim.batch-size", 6]
    options += ["--data.path", data, "--data.workers", 0, "--output", output]
    options += ["--validation.every-steps", 2, "--validation.rows", 6, "--validation.batch-size", 4]
    train_captioner.main(["debug", *map(str, options)])
    log, run = entries(output), json.loads((output / "run.json").read_text())
    assert [entry["step"] for entry in log if "validation/loss" in entry] == [2, 4]
    # Untrained, every token is as likely as any other; the mean over tokens lies near the log of their number.
    assert 4 < log[1]["validation/loss"] < 8
    assert run["validation"]["loss"] == pytest.approx(log[3]["validation/loss"], abs=1e-5)
    assert run["validation"]["loss"] < log[1]["validation/loss"]


def test_impossible_validations_are_refused(data: Path) -> None:
    here = DataConfig(path=str(data))
    assert load_held_out(ValidationConfig(), here, None) is None
    with pytest.raises(ValueError, match="this program measures nothing on held-out rows"):
        load_held_out(ValidationConfig(every_steps=1), here, None)
    with pytest.raises(ValueError, match=r"validation.split is 'train', which is trained on; name a held-out split"):
        load_held_out(ValidationConfig(every_steps=1, split="train"), here, RETRIEVAL)
    with pytest.raises(FileNotFoundError, match="has no shards none-"):
        load_held_out(ValidationConfig(every_steps=1, split="none"), here, RETRIEVAL)
    assert len(load_held_out(ValidationConfig(every_steps=1, rows=3), here, RETRIEVAL)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average_decay": 1.0}, "average_decay must lie between 0 and 1, got 1.0"),
        ({"wise_alpha": 1.5}, r"wise_alpha must lie in \[0, 1\], got 1.5"),
        ({"part_rates": {"fusion": -1.0}}, "none may be negative"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimConfig(**fields)
