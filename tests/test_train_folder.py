"""What a training program checks before anything is lost: the run's folder, its settings, its rows, its numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from simulated_dataset import build_simulated
from torch import nn

from evaluation.rows import shards
from modeling_rsclip import RSCLIPModel
from train import train_clip
from train.clip.build import build_clip
from train.clip.config import ClipModelConfig
from train.clip.validation import RETRIEVAL
from train.data.config import DataConfig
from train.engine.config import LogConfig, OptimConfig, ValidationConfig
from train.engine.loop import check_weights
from train.engine.run_state import OtherRunError
from train.engine.sharding import make_accelerator
from train.engine.validation import load_held_out

TINY = {"image-size": 32, "width": 32, "vision-layers": 1, "text-layers": 1, "heads": 2, "vocabulary": 400}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 40, size=32, seed=3)


def fit(data: Path, output: Path, *more: object) -> None:
    options = {"data.path": data, "data.workers": 0, "output": output, "optim.steps": 3, "optim.warmup-steps": 1}
    options |= {"optim.batch-size": 8, **{f"model.size.{name}": value for name, value in TINY.items()}}
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    train_clip.main(["debug", *words, *map(str, more)])


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "clip"
    fit(data, output, "--save.every-steps", 2)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_cannot_begin_leaves_the_one_before_it_whole(data: Path, finished: Path, tmp_path: Path) -> None:
    before = contents(finished)
    with pytest.raises(
        FileExistsError, match=r"already holds a finished run\. Choose another --output, or --overwrite"
    ):
        fit(data, finished)
    with pytest.raises(FileExistsError, match="holds a finished run; there is nothing to resume"):
        fit(data, finished, "--save.resume")
    with pytest.raises(ValueError, match="goes on with a run, overwrite replaces it; pass one"):
        fit(data, finished, "--save.resume", "--overwrite")
    with pytest.raises(ValueError, match=r"model\.source='.*model' lies in .*clip, which --overwrite replaces"):
        fit(data, finished, "--overwrite", "--model.source", finished / "model")
    with pytest.raises(FileNotFoundError):
        fit(tmp_path / "absent", finished, "--overwrite")
    with pytest.raises(ValueError, match="rows, fewer than one batch of 64"):
        fit(data, finished, "--overwrite", "--optim.batch-size", 64)
    assert contents(finished) == before


def test_only_what_a_run_wrote_is_replaced(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "home"
    (output / "checkpoints").mkdir(parents=True)
    (output / "thesis.txt").write_text("years")
    (output / "not_finite.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"already holds a run\. .* or --save\.resume to go on"):
        fit(data, output)
    fit(data, output, "--overwrite")
    assert (output / "thesis.txt").read_text() == "years"
    assert not (output / "not_finite.json").exists()
    assert not (output / "checkpoints").exists()
    assert (output / "run.json").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--text.equal-texts", "negatives"), "text.equal_texts was 'positives' and is 'negatives'"),
        (("--augmentation.orientation", "all"), "augmentation.orientation was 'none' and is 'all'"),
        (("--model.pairs", "rgb_text"), "model.pairs was "),
        (("--optim.weight-decay", "0.2"), "optim.weight_decay was 0.1 and is 0.2"),
    ],
)
def test_a_run_is_resumed_with_the_settings_it_had(
    data: Path, finished: Path, tmp_path: Path, changed: tuple[str, ...], message: str
) -> None:
    cut = tmp_path / "cut"
    (cut / "checkpoints").mkdir(parents=True)
    for name, value in contents(finished / "checkpoints").items():
        (cut / "checkpoints" / name).parent.mkdir(exist_ok=True)
        (cut / "checkpoints" / name).write_bytes(value)
    with pytest.raises(OtherRunError, match=message):
        fit(data, cut, "--save.resume", *changed)
    fit(data, cut, "--save.resume", "--save.keep", 3, "--validation.every-steps", 3, "--validation.rows", 2)
    wanted, found = (json.loads((run / "log.jsonl").read_text().splitlines()[-1]) for run in (finished, cut))
    assert found["step"] == 3
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


def test_a_trained_model_is_saved_though_its_last_measure_fails(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("the disk with the images is gone")

    monkeypatch.setattr("train.train_clip.RETRIEVAL", replace(RETRIEVAL, own=fail))
    with pytest.raises(OSError, match="the disk with the images is gone"):
        fit(data, tmp_path / "run", "--validation.every-steps", 100, "--validation.rows", 2)
    RSCLIPModel.from_pretrained(tmp_path / "run" / "model")
    assert "validation" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_rows_that_cannot_be_measured_are_refused_before_training(data: Path, tmp_path: Path) -> None:
    here, asked = DataConfig(path=str(data)), ValidationConfig(every_steps=1, split="train")
    with pytest.raises(ValueError, match="which is trained on; name a held-out split"):
        load_held_out(replace(asked, path=f"{data}/../fusionrs/"), here, RETRIEVAL)
    rows = Dataset.from_parquet(shards(data, "test")[0], cache_dir=str(tmp_path / "cache"))
    (tmp_path / "other" / "data").mkdir(parents=True)
    rows.remove_columns(["infrared_captions"]).to_parquet(tmp_path / "other" / "data" / "test-0.parquet")
    with pytest.raises(ValueError, match="has no column infrared_captions; name a dataset of fusionrs with"):
        load_held_out(replace(asked, path=str(tmp_path / "other"), split="test"), here, RETRIEVAL)


def test_a_model_without_fusion_is_not_asked_for_fused_texts(data: Path, finished: Path, tmp_path: Path) -> None:
    model = RSCLIPModel.from_pretrained(finished / "model")
    assert model.config.fusion == "gated"
    for path in (finished / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**record, "fusion": "none"}))
    rows = Dataset.from_dict({"captions": [["a"]]})
    with pytest.raises(ValueError, match=r"fuses nothing, and model\.pairs ask for fused_text; leave that pair out"):
        build_clip(ClipModelConfig(source=str(tmp_path)), rows)


def test_fp16_is_refused_on_a_cpu_where_it_would_be_float32() -> None:
    with pytest.raises(ValueError, match="fp16, which accelerate leaves out on a CPU; take bf16 or no"):
        make_accelerator(mixed_precision="fp16", shard=False, deterministic=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_gradient_norm": -1.0}, "max_gradient_norm must be positive, got -1.0"),
        ({"max_gradient_norm": math.nan}, "max_gradient_norm must be positive, got nan"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        ({"learning_rate": math.inf}, "learning_rate=inf must be finite"),
        ({"weight_decay": math.nan}, "weight_decay=nan too and not negative"),
        ({"weight_decay": -5.0}, "weight_decay=-5.0 too and not negative"),
        ({"warmup_steps": -3}, "warmup_steps=-3 must be from 0 to below the 1000 steps"),
        ({"part_rates": {"fusion": math.nan}}, "they must be finite, and none may be negative"),
    ],
)
def test_numbers_that_would_break_the_weights_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimConfig(**fields)


def test_a_project_is_a_name() -> None:
    for wrong in ("", "..", "../../x"):
        with pytest.raises(ValueError, match="wanted a name: TensorBoard makes a folder of it"):
            LogConfig(project=wrong)


def test_weights_that_are_not_finite_are_not_saved() -> None:
    model = nn.Linear(2, 2)
    check_weights(model)
    with torch.no_grad():
        model.bias[0] = math.nan
    with pytest.raises(FloatingPointError, match="1 weights are not finite after the last step, such as bias"):
        check_weights(model)
