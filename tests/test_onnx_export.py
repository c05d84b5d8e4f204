"""The towers in ONNX Runtime give the embeddings of the model, for any batch, from the processor's tensors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processing_fixtures import make_scene
from served_models import INFRARED, save_served
from test_remote_code import CLIPS, build_clip, build_processor

from model_cards import onnx_export
from model_cards.onnx_export import export_towers
from processing import RSCLIPProcessor

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

TEXTS = ["ships in a harbor", "an infrared image of an airport at night", "photo", "a", "seen from above"]


def run(file: Path, **inputs: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


@torch.inference_mode()
def assert_texts_agree(folder: Path, model: Any, processor: RSCLIPProcessor) -> None:
    for texts in (TEXTS, TEXTS[2:3], TEXTS[3:]):
        tokens = processor(text=texts)
        torch.testing.assert_close(run(folder / "text.onnx", **tokens), model(**tokens).text_embeds, atol=1e-5, rtol=0)


@torch.inference_mode()
def assert_images_agree(folder: Path, model: Any, processor: RSCLIPProcessor) -> None:
    for rows in (1, 3):
        tensors = processor(images=[make_scene(seed=seed) for seed in range(rows)], infrared=[INFRARED] * rows)
        wanted = model(**tensors)
        found = run(folder / "rgb.onnx", pixel_values=tensors["pixel_values"])
        torch.testing.assert_close(found, wanted.image_embeds, atol=1e-5, rtol=0)
        found = run(folder / "infrared.onnx", infrared_values=tensors["infrared_values"])
        torch.testing.assert_close(found, wanted.infrared_embeds, atol=1e-5, rtol=0)


def test_the_text_tower_agrees_at_every_length_and_says_so(tmp_path: Path) -> None:
    model, processor = build_clip(**CLIPS["shared"]), build_processor("shared")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (exported,) = export_towers(model, processor, tmp_path / "onnx", ("text",))
    assert exported.largest_difference < 1e-5
    assert_texts_agree(tmp_path / "onnx", model, processor)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    record = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert record["towers"][0]["inputs"] == {name: ["batch", "length"] for name in ("input_ids", "attention_mask")}
    assert record["logit_scale"] == pytest.approx(model.clamped_logit_scale.item())
    assert record["embedding_dim"] == 16
    graph = onnx.load(tmp_path / "onnx" / "text.onnx").graph
    assert [output.name for output in graph.output] == ["text_embeds"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_every_tower_of_every_architecture_agrees_for_any_batch(name: str, tmp_path: Path) -> None:
    model, processor = build_clip(**CLIPS[name]), build_processor(name)
    exported = export_towers(model, processor, tmp_path / "onnx")
    assert [entry.tower for entry in exported] == ["text", "rgb", "infrared"]
    assert max(entry.largest_difference for entry in exported) < 1e-5
    assert_texts_agree(tmp_path / "onnx", model, processor)
    assert_images_agree(tmp_path / "onnx", model, processor)


def test_an_unknown_tower_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    model, processor = build_clip(**CLIPS["shared"]), build_processor("shared")
    with pytest.raises(ValueError, match=r"unknown towers \['depth'\]; wanted some of"):
        export_towers(model, processor, tmp_path / "onnx", ("rgb", "depth"))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="is not empty; choose another folder"):
        export_towers(model, processor, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_the_exporter_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "NEEDED", ("onnxscript", "no_such_library"))
    with pytest.raises(ImportError, match=r'no_such_library not installed\. Run `pip install "rsclip\[onnx\]"`'):
        export_towers(build_clip(**CLIPS["shared"]), build_processor("shared"), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.slow
def test_the_command_exports_a_clip_and_refuses_a_captioner(tmp_path: Path) -> None:
    clip, captioner = (save_served(name, tmp_path / name) for name in ("plain", "captioner"))

    def command(model: Path, *options: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "model_cards.onnx_export", str(model), "--output", str(tmp_path / "onnx")]
        return subprocess.run([*program, *options], capture_output=True, text=True, cwd=Path(__file__).parents[1])

    refused = command(captioner)
    assert refused.returncode == 1
    assert "holds a 'rscaptioner'; wanted an 'rsclip'" in refused.stderr
    done = command(clip, "--towers", "rgb")
    assert done.returncode == 0, done.stderr
    assert "rgb.onnx: {'pixel_values': ['batch', 3, 32, 32]} -> rgb_embeds" in done.stdout
    pixels = RSCLIPProcessor.from_pretrained(clip)(images=[make_scene()])["pixel_values"]
    embedding = run(tmp_path / "onnx" / "rgb.onnx", pixel_values=pixels)[0].numpy()
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert "is not empty" in command(clip).stderr
