"""Conditions of pairs: values of the damage itself, and what an evaluation under one contains."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene
from saved_clips import save_clip, spread
from simulated_dataset import build_simulated

from dataset_scripts.stages.splits import SplitSettings
from evaluation.__main__ import main
from evaluation.bundles import Data, pair_bundle
from evaluation.embedding import Bundle, load_bundle
from evaluation.foreign_models import load_clip
from evaluation.pair_conditions import shifted, under_condition, with_noise
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor


def pair() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    infrared = 3 + 2 * torch.rand(2, 1, 24, 36)
    return {"pixel_values": torch.rand(2, 3, 24, 36), "infrared_values": infrared.expand(-1, 3, -1, -1) * 1.0}


def test_infrared_is_shifted_by_a_twelfth_and_its_edge_repeats() -> None:
    image = pair()["infrared_values"]
    moved = shifted(image)
    assert moved.shape == image.shape
    assert torch.equal(moved[..., 2:, 3:], image[..., :-2, :-3])
    assert torch.equal(moved[..., :2, 3:], image[..., :1, :-3].expand(-1, -1, 2, -1))
    assert torch.equal(moved[..., 2:, :3], image[..., :-2, :1].expand(-1, -1, -1, 3))


def test_noise_is_as_strong_as_the_image_follows_from_the_name_and_is_one_band() -> None:
    image = pair()["infrared_values"]
    noisy = with_noise(image, ["a", "b"])
    noise = noisy - image
    assert torch.equal(noise[:, :1].expand_as(noise), noise)
    assert noise.std(dim=(-2, -1))[:, 0] == pytest.approx(image.std(dim=(-2, -1))[:, 0], rel=0.1)
    assert torch.equal(with_noise(image[:1], ["a"]), noisy[:1])
    assert not torch.allclose(with_noise(image[:1], ["b"]), noisy[:1])


@pytest.mark.parametrize(
    ("condition", "same"),
    [
        ("as_is", {"pixel_values", "infrared_values"}),
        ("no_rgb", {"infrared_values"}),
        ("no_infrared", {"pixel_values"}),
        ("noisy_infrared", {"pixel_values"}),
        ("shifted_infrared", {"pixel_values"}),
    ],
)
def test_a_condition_leaves_the_rest_as_it_is(condition: Any, same: set[str]) -> None:
    inputs = pair()
    found = under_condition(condition, inputs, ["a", "b"])
    assert {name for name in found if torch.equal(found[name], inputs[name])} == same
    assert set(found) == (same if condition.startswith("no_") else set(inputs))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    build_simulated(root / "fusionrs", 40, splits=SplitSettings(validation=0.2, test=0.3))
    save_clip("rsclip", root / "model")
    torch.manual_seed(1)
    model = RSCLIPModel.from_pretrained(root / "model")
    config = model.config
    config.fusion = "gated"
    spread(RSCLIPModel(config)).save_pretrained(root / "fused")
    RSCLIPProcessor.from_pretrained(root / "model").save_pretrained(root / "fused")
    return root


def run(world: Path, condition: str, benchmark: str = "retrieval-fusionrs") -> Bundle:
    words = ["run", benchmark, "--model", str(world / "fused"), "--data", str(world / "fusionrs")]
    main([*words, "--condition", condition, "--output", str(world / condition), "--overwrite"])
    return load_bundle(world / condition / f"{benchmark}.npz")


def test_an_evaluation_without_an_image_scores_the_other_and_says_so(world: Path) -> None:
    whole, alone = run(world, "as_is"), run(world, "no_infrared")
    assert alone.infrared is None
    assert alone.rgb == pytest.approx(whole.rgb, abs=1e-6)
    assert alone.rgb is not None
    assert alone.fused is not None
    # Of one image alone the fusion is that image.
    one, other = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in (alone.fused, alone.rgb))
    assert one == pytest.approx(other, abs=1e-5)
    record = json.loads((world / "no_infrared" / "retrieval-fusionrs.json").read_text())
    assert record["protocol"] == "retrieval-fusionrs:no_infrared"
    names = {metric["name"] for metric in record["metrics"]}
    assert "fused_to_text/recall_at_10" in names
    assert not any("infrared" in name.replace("infrared_text", "") for name in names)


def test_damaged_infrared_changes_its_embedding_and_the_fused_one(world: Path) -> None:
    whole, noisy = run(world, "as_is"), run(world, "noisy_infrared")
    assert noisy.rgb == pytest.approx(whole.rgb, abs=1e-6)
    for name in ("infrared", "fused"):
        assert not np.allclose(getattr(noisy, name), getattr(whole, name), atol=1e-3), name


def test_a_condition_of_what_is_no_pair_is_refused(world: Path) -> None:
    with pytest.raises(ValueError, match="zero-shot-infrared reads no condition; leave --condition out"):
        run(world, "no_rgb", "zero-shot-infrared")
    with pytest.raises(ValueError, match="condition is 'no_infrared'; pair-retrieval needs both images"):
        run(world, "no_infrared", "pair-retrieval")


def test_noise_is_the_same_wherever_the_files_are(world: Path, tmp_path: Path) -> None:
    found = []
    for place in ("here", "there"):
        for side in ("rgb", "infrared"):
            folder = tmp_path / place / side
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = make_scene(40, 40, number)
                Image.fromarray(pixels if side == "rgb" else pixels[..., 0]).save(folder / f"{number}.png")
        data = Data(data=tmp_path / place, condition="noisy_infrared")
        found.append(pair_bundle(load_clip(str(world / "fused")), data, 2))
    assert found[0].infrared == pytest.approx(found[1].infrared, abs=0)
