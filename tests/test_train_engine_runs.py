"""Whole runs of the engine: resumed from any save, sharded, compiled, averaged and validated, killed."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launched_runs import (
    ROOT,
    arguments,
    assert_same_run,
    entries,
    finish,
    free_port,
    launch,
    losses,
    ranks_of,
    weights,
)
from safetensors.torch import load_file
from simulated_dataset import build_simulated
from train_engine_ranks import EXACT, cut_at

from modeling_rsclip import RSCLIPModel

# `RSCLIP_GRID=full` takes every cell: ranks 1 to 4, no workers and 2, five saves.
FULL = os.environ.get("RSCLIP_GRID") == "full"
CELLS = [(ranks, workers) for ranks in (1, 2, 3, 4) for workers in (0, 2)] if FULL else [(1, 2), (3, 0)]
SAVED = (2, 4, 6, 8, 10)
# A run takes seconds on an idle machine, and minutes where every core is shared by ten.
pytestmark = pytest.mark.timeout(1200)
STEPS = ("--optim.steps", "11")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 48, seed=5)


def run(data: Path, output: Path, ranks: int, *options: str, workers: int = 0) -> Path:
    finish(launch(data, output, ranks, *options, workers=workers))
    return output


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "workers"), CELLS)
def test_a_run_resumed_from_any_save_is_the_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, ranks: int, workers: int
) -> None:
    """Five saves; the runs follow each other in the same processes, which saves most of the time."""
    ports = ",".join(str(free_port()) for _ in range(len(SAVED) + 1))
    script = [sys.executable, str(ROOT / "tests" / "train_engine_ranks.py"), str(data), str(tmp_path), str(workers)]
    command = [*script, ",".join(map(str, SAVED)), ports]
    processes = ranks_of(command, ranks, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finish(processes, timeout_seconds=1100)
    for step in SAVED:
        assert_same_run(tmp_path / f"cut-{step}", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [(), ("--optim.shard",), ("--optim.shard", "--optim.optimizer", "muon")],
    ids=["replicated", "sharded", "sharded Muon"],
)
def test_averages_and_validation_resume_exactly(data: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    kept = ("--optim.average-decay", "0.9", "--optim.wise-alpha", "0.7", *options)
    kept += ("--validation.every-steps", "3", "--validation.rows", "4")
    whole = run(data, tmp_path / "whole", 2, *EXACT, *kept, "--save.every-steps", "4", "--save.keep", "5")
    cut = tmp_path / "cut"
    cut_at(4, whole, cut)
    assert_same_run(run(data, cut, 2, *EXACT, *kept, "--save.resume"), whole)
    assert sum("validation/mean_recall" in entry for entry in entries(cut)) == 3
    results = [json.loads((folder / "run.json").read_text())["validation"] for folder in (cut, whole)]
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("--optim.rows-at-once", "2"),
        ("--model.infrared-tower", "separate"),
        ("--optim.optimizer", "muon"),
    ],
)
def test_a_sharded_run_is_the_replicated_one(data: Path, tmp_path: Path, changes: tuple[str, ...]) -> None:
    whole = run(data, tmp_path / "whole", 2, *STEPS, *changes)
    sharded = run(data, tmp_path / "sharded", 2, *STEPS, *changes, "--optim.shard")
    assert losses(sharded) == pytest.approx(losses(whole), rel=2e-5)
    assert losses(sharded)[-1] < losses(sharded)[0]
    model, reference = (RSCLIPModel.from_pretrained(folder / "model") for folder in (sharded, whole))
    assert type(model).__name__ == "RSCLIPModel"
    assert model.config.architectures == ["RSCLIPModel"]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], rtol=1e-3, atol=2e-4)


@pytest.mark.slow
def test_a_sharded_checkpoint_is_that_of_a_replicated_run_and_refuses_to_be_taken_for_it(
    data: Path, tmp_path: Path
) -> None:
    saving = (*STEPS, "--save.every-steps", "1", "--save.keep", "11")
    folders = [
        run(data, tmp_path / name, 2, *saving, *options) / "checkpoints" / "step-000000001"
        for name, options in (("whole", ()), ("sharded", ("--optim.shard",)))
    ]
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5)
    moments = [torch.load(folder / "optimizer.pt")["state"] for folder in folders]
    assert [{name: value.shape for name, value in state.items()} for state in moments[0].values()] == [
        {name: value.shape for name, value in state.items()} for state in moments[1].values()
    ]
    (tmp_path / "sharded" / "run.json").unlink()
    finish(launch(data, tmp_path / "sharded", 2, *STEPS, "--save.resume"), 1)


@pytest.mark.slow
def test_compiled_layers_give_the_losses_of_eager_ones(data: Path, tmp_path: Path) -> None:
    steps = ("--optim.steps", "5")
    eager = run(data, tmp_path / "eager", 1, *steps)
    compiled = run(data, tmp_path / "compiled", 1, *steps, "--optim.compile-layers")
    assert losses(compiled) == pytest.approx(losses(eager), rel=1e-4)
    assert weights(compiled).keys() == weights(eager).keys()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_processes(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    finish(launch(data, output, 2, "--optim.learning-rate", "1e30", "--save.every-steps", "1"), 1)
    record = json.loads((output / "not_finite.json").read_text())
    assert len(record["rows"]) in (8, 9)
    assert record["rows_with_inputs_not_finite"] == []
    saved = [int(path.name.split("-")[1]) for path in (output / "checkpoints").iterdir()]
    assert max(saved) == record["step"] - 1


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_end(data: Path, tmp_path: Path) -> None:
    kills = int(os.environ.get("RSCLIP_RUN_KILLS", "3"))
    saving = ("--save.deterministic", "--optim.steps", "40", "--save.every-steps", "1")
    whole = run(data, tmp_path / "whole", 1, *saving)
    choose, done = random.Random(0), 0
    for number in range(kills):
        output = tmp_path / f"killed-{number}"
        (process,) = launch(data, output, 1, *saving)
        seen = wait_for_line(output / "log.jsonl", choose.randint(2, 25), process)
        time.sleep(choose.random() * 0.1)
        process.kill()
        process.wait()
        if (output / "run.json").exists():
            continue
        done += 1
        assert seen >= 2
        assert_same_run(run(data, output, 1, *saving, "--save.resume"), whole)
        assert not list((output / "checkpoints").glob("*.part"))
    assert done >= kills - 1


def wait_for_line(log: Path, lines: int, process: subprocess.Popen[Any]) -> int:
    """Until a log has so many lines, or its run has ended."""
    deadline = time.time() + 120
    while process.poll() is None and time.time() < deadline:
        found = len(log.read_text().splitlines()) if log.exists() else 0
        if found >= lines:
            return found
        time.sleep(0.02)
    return len(log.read_text().splitlines())


def test_the_arguments_of_a_small_run_can_be_replaced(tmp_path: Path) -> None:
    given = arguments(tmp_path, tmp_path, "--optim.steps", "3")
    assert given.count("--optim.steps") == 1
    assert given[given.index("--optim.steps") + 1] == "3"
