"""The demo's checks fail when a step did not do its job; the demo itself runs in `make check`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from simulated_dataset import build_simulated

from model_cards.demo import DemoConfig, count_lines, flags, folder_of, follow
from model_cards.demo_checks import (
    beats,
    beats_chance,
    check_captions,
    check_dataset,
    check_loss,
    check_reload,
    many_times_chance,
)
from model_cards.demo_pictures import loss_curves, show_infrared
from model_cards.demo_report import cell, points_at


def metric(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": 100}


@pytest.mark.parametrize(("back", "passed"), [(0.0101, True), (0.0099, False)])
def test_both_directions_are_many_times_above_chance(back: float, passed: bool) -> None:
    values = {"rgb_to_text": 0.05, "text_to_rgb": back}
    metrics = {f"{name}/recall_at_1": {"value": value} for name, value in values.items()}
    metrics |= {f"chance/{name}": {"value": 0.001} for name in list(metrics)}
    check = many_times_chance(metrics, "rgb", "text")
    assert check.passed is passed
    assert check.found == f"50.0 and {1000 * back:.1f} times"


def test_a_metric_beats_chance_only_with_its_whole_interval() -> None:
    metrics = {"x": metric(0.3, 0.2, 0.4), "chance/x": metric(0.19, 0.19, 0.19)}
    assert beats_chance(metrics, "x").passed
    metrics["chance/x"]["value"] = 0.25
    check = beats_chance(metrics, "x")
    assert not check.passed
    assert check.found == "30.0% [20.0%, 40.0%], chance 25.0%"


def test_the_control_must_lie_under_the_interval() -> None:
    ours = {"x": metric(0.3, 0.2, 0.4)}
    assert beats(ours, {"x": metric(0.15, 0.1, 0.2)}, "x").passed
    assert not beats(ours, {"x": metric(0.25, 0.2, 0.3)}, "x").passed


@pytest.mark.parametrize(("losses", "passed"), [([4.0, 3.9, 2.0, 1.9], True), ([4.0, 4.1, 3.9, 4.0], False)])
def test_a_run_that_does_not_learn_fails(tmp_path: Path, losses: list[float], passed: bool) -> None:
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({"loss": loss}) + "\n" for loss in losses))
    (tmp_path / "run.json").write_text(json.dumps({"seconds": 83.6}))
    check = check_loss(tmp_path)
    assert (check.passed, check.found[-8:]) == (passed, " in 84 s")


def test_a_reload_that_differs_fails() -> None:
    assert check_reload({"classes": ["A"], "equal": True}).passed
    assert not check_reload({"classes": ["A"], "equal": False}).passed


def test_eight_bit_infrared_or_few_classes_fail(tmp_path: Path) -> None:
    data = build_simulated(tmp_path / "fusionrs", 40)
    check = check_dataset(data)
    assert "infrared mode I;16" in check.found
    assert not check.passed, "four test rows cannot hold twelve classes"
    assert not check_captions({"pair/class_named": metric(0.3, 0.2, 0.4)}, data).passed
    assert check_captions({"pair/class_named": metric(1.0, 1.0, 1.0)}, data).passed


def test_a_failing_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    command = [sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"]
    with pytest.raises(RuntimeError, match=r"(?s)broken failed with exit code 3:.*the reason"):
        follow({"broken": command}, DemoConfig(output=tmp_path), 1, "step", lambda: 0)


def test_options_become_flags() -> None:
    assert flags(clip_steps=3, **{"data.path": "x"}) == ["--clip-steps", "3", "--data.path", "x"]
    assert folder_of("RGB only") == "clip-rgb-only"
    assert count_lines(Path("no such file")) == 0


def test_an_existing_demo_is_not_overwritten(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model_cards.demo", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert result.returncode == 1
    assert "exists. Choose another --output, or pass --overwrite." in result.stderr


def test_infrared_is_stretched_and_not_clipped_to_white(tmp_path: Path) -> None:
    counts = np.linspace(20_000, 22_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "infrared.png")
    shown = np.asarray(show_infrared((tmp_path / "infrared.png").read_bytes()))[..., 0]
    assert shown.min() == 0
    assert shown.max() == 255
    assert abs(float(shown.mean()) - 127.5) < 2


def test_the_better_arm_stands_out() -> None:
    assert cell(metric(0.5, 0.4, 0.6), 0.5).startswith('<td class="best">50.0%')
    assert cell(metric(0.5, 0.4, 0.6), 0.7).startswith("<td>50.0%")
    assert "no fusion" in cell(None, 0.5)


def test_a_heat_map_points_at_a_tile() -> None:
    heat = np.zeros((40, 40))
    heat[25, 12] = 1.0
    assert points_at(heat, tile=2 * 4 + 1, side=10)
    assert not points_at(heat, tile=0, side=10)


def test_loss_curves_draw_the_pairs_of_the_log(tmp_path: Path) -> None:
    entries = [{"step": step, "loss": 3.0, "loss_rgb_text": 3.0, "loss_rgb_infrared": 2.0} for step in (1, 2)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, entries)))
    svg = loss_curves(tmp_path / "log.jsonl", "a title")
    assert svg.startswith("<svg")
    assert all(text in svg for text in ("a title", "RGB, text", "RGB, infrared"))
    assert "fused, text" not in svg
