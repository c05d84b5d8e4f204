"""Several processes train what one process trains; a resumed run is the uninterrupted one."""

import json
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from launched_runs import ROOT, assert_same_run, finish, launch, ranks_of
from simulated_dataset import build_simulated
from train_ranks import CASES

STOPPED = 143


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 40, seed=5)


@pytest.mark.slow
def test_gradients_of_two_three_and_four_ranks_are_those_of_one(tmp_path: Path) -> None:
    """In double precision: all pairs, equal captions, missing modalities, uneven shares, and cut into parts."""
    for ranks in (1, 2, 3, 4):
        finish(ranks_of([sys.executable, str(ROOT / "tests" / "train_ranks.py"), "gradients", str(tmp_path)], ranks))
    results = {ranks: torch.load(tmp_path / f"gradients-{ranks}.pt") for ranks in (1, 2, 3, 4)}
    for case in CASES:
        whole_loss, whole = results[1][case[0], 1]
        assert len(whole) > 30
        for ranks in (1, 2, 3, 4):
            loss, found = results[ranks][case]
            assert loss.item() == pytest.approx(whole_loss.item(), rel=1e-12)
            assert found.keys() == whole.keys()
            # Gradients of key biases are zero but for rounding, so they are measured beside all others.
            least = 1e-3 * torch.stack([gradient.norm() for gradient in whole.values()]).norm()
            for name, gradient in found.items():
                error = (gradient - whole[name]).norm() / torch.maximum(whole[name].norm(), least)
                assert error < 1e-12, (case, ranks, name, float(error))


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 0), (3, 0)])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, ranks: int, workers: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(launch(data, whole, ranks, "--save.deterministic", workers=workers))
    finish(launch(data, cut, ranks, "--save.deterministic", "--save.every-steps", "4", workers=workers))
    # As if it had been killed after step 4: no result, and a log that goes too far.
    for path in ("run.json", "model/model.safetensors"):
        (cut / path).unlink()
    (cut / "checkpoints" / "step-000000008" / "model.safetensors").write_bytes(b"cut off")
    finish(launch(data, cut, ranks, "--save.deterministic", "--save.resume", workers=workers))
    assert_same_run(cut, whole)


@pytest.mark.slow
def test_a_signal_saves_and_other_numbers_of_processes_are_refused(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    processes = launch(data, output, 2, "--optim.steps", "2000")
    log = output / "log.jsonl"
    deadline = time.time() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 3):
        assert time.time() < deadline
        time.sleep(0.1)
    for _ in range(3):
        processes[0].send_signal(signal.SIGTERM)
    finish(processes, STOPPED)
    saved = sorted((output / "checkpoints").iterdir())
    assert len(saved) == 1
    step = json.loads((saved[0] / "run.json").read_text())["step"]
    assert len(log.read_text().splitlines()) == step
    (refused,) = launch(data, output, 1, "--optim.steps", "2000", "--save.resume")
    assert refused.wait(timeout=120) == 1
    assert sorted((output / "checkpoints").iterdir()) == saved
