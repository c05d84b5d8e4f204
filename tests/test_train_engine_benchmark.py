"""The GPU benchmark: its count of FLOPs is torch's, its program runs, and the page shows what it measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu_steps
from benchmarks.gpu_steps import Case, Config, Towers, build, main, random_batch, step_flops, table

ROOT = Path(__file__).parents[1]
SMALL = Towers(width=32, layers=2, heads=2, patch=8, text_width=16, text_layers=3, text_heads=2, embedding=12, image=32)


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Any:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_flops_are_those_that_torch_counts() -> None:
    rows, model = 3, build(SMALL).eval()
    model.set_attn_implementation("eager")
    batch = random_batch(SMALL, rows, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**batch)
    # The model's own logits, of every image with every text, are what the loss is counted as.
    assert step_flops(SMALL, rows) == pytest.approx(3 * counter.get_total_flops(), rel=1e-3)


def test_the_program_measures_every_case_and_prints_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_steps, "MODELS", {"small": SMALL})
    cases = (Case(model="small", batch=4), Case(model="small", batch=4, chunks=2))
    monkeypatch.setattr(gpu_steps, "CPU_CASES", cases)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main(Config(output=tmp_path / "gpu.json", models=("small",), steps=2))
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["device"] == "CPU"
    assert record["data_sheet_tflops"] is None
    whole, cached = record["cases"]
    assert whole["loss"] == pytest.approx(cached["loss"], rel=1e-4)
    assert whole["pairs_per_second"] == pytest.approx(4 / whole["seconds"]["median"])
    tflops = whole["model_tflop_per_step"] / whole["seconds"]["median"]
    assert whole["utilisation"] == pytest.approx(tflops / record["matmul_tflops"], rel=1e-2)
    printed = capsys.readouterr().out
    assert printed == table(record) + "\n"
    assert "| small | 4 | 2 | no |" in printed


def test_a_case_that_does_not_fit_is_a_line_of_the_table() -> None:
    record = {"device": "GPU", "threads": None, "precision": "bf16", "date": "2000-01-01", "matmul_tflops": 1.0}
    record |= {"data_sheet_tflops": 989.0, "cases": [{"model": "L/14", "batch": 8, "chunks": 1, "compiled": True}]}
    assert "| L/14 | 8 | 8 | yes | out of memory |  |  |  |" in table(record)


def test_the_page_shows_what_was_measured() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "gpu.json").read_text())
    assert table(record) in (ROOT / "docs" / "training-engine.md").read_text()
