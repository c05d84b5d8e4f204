"""Weights users have, in the formats they have them: features must equal those of the library they come from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SIGLIP_TEXT, SIGLIP_VISION, TEXT, VISION
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from modeling_rsclip import RSCLIPModel, import_clip

REPOSITORY = Path(__file__).parents[1]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(5, 99, (3, 9), generator=generator)
    texts[:, -1] = TEXT["eos_token_id"]
    return {"images": torch.randn(3, 3, 32, 32, generator=generator), "texts": texts}


def randomise(model: PreTrainedModel) -> PreTrainedModel:
    """Random biases and norms too: fresh ones are zeros and ones, which would hide a lost or swapped weight."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1) / 2, std=0.1)
    return model.eval()


def check(model: RSCLIPModel, source: PreTrainedModel, inputs: dict[str, torch.Tensor], **text: Any) -> None:
    with torch.no_grad():
        image = source.get_image_features(inputs["images"]).pooler_output
        words = source.get_text_features(inputs["texts"], **text).pooler_output
        torch.testing.assert_close(model.get_image_features(inputs["images"]).pooler_output, image, **TOLERANCE)
        torch.testing.assert_close(model.get_text_features(inputs["texts"], **text).pooler_output, words, **TOLERANCE)
        torch.testing.assert_close(model.get_infrared_features(inputs["images"]).pooler_output, image, **TOLERANCE)


@pytest.mark.parametrize("layout", ["plain", "fusionrs_clip"])
def test_clip_of_transformers(tmp_path: Path, inputs: dict[str, torch.Tensor], layout: str) -> None:
    source = randomise(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)))
    source.save_pretrained(tmp_path / "model" if layout == "fusionrs_clip" else tmp_path)
    model = import_clip(tmp_path)
    check(model, source, inputs, attention_mask=torch.ones_like(inputs["texts"]))
    with torch.no_grad():
        expected = source(input_ids=inputs["texts"], pixel_values=inputs["images"], return_loss=True)
        actual = model(input_ids=inputs["texts"], pixel_values=inputs["images"], return_loss=True)
    torch.testing.assert_close(actual.logits_per_image, expected.logits_per_image, **TOLERANCE)
    torch.testing.assert_close(actual.loss, expected.loss, **TOLERANCE)


def test_siglip_of_transformers(tmp_path: Path, inputs: dict[str, torch.Tensor]) -> None:
    inputs["texts"] = inputs["texts"][:, : SIGLIP_TEXT["max_position_embeddings"]]
    config = SiglipConfig(text_config=SIGLIP_TEXT, vision_config=SIGLIP_VISION)
    source = randomise(SiglipModel(config))
    source.save_pretrained(tmp_path)
    model = import_clip(tmp_path)
    check(model, source, inputs)
    with torch.no_grad():
        expected = source(input_ids=inputs["texts"], pixel_values=inputs["images"], return_loss=True)
        actual = model(input_ids=inputs["texts"], pixel_values=inputs["images"], return_loss=True)
    torch.testing.assert_close(actual.logits_per_image, expected.logits_per_image, **TOLERANCE)
    torch.testing.assert_close(actual.loss, expected.loss, **TOLERANCE)


@pytest.mark.parametrize("image_size", [32, 48])
def test_siglip2_naflex_at_one_resolution(tmp_path: Path, image_size: int) -> None:
    vision = {**SIGLIP_VISION, "model_type": "siglip2_vision_model", "num_patches": 16}
    del vision["image_size"]
    text = {**SIGLIP_TEXT, "model_type": "siglip2_text_model"}
    source = randomise(Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)))
    source.save_pretrained(tmp_path)
    model = import_clip(tmp_path, image_size=image_size)

    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, image_size, image_size, generator=generator)
    texts = torch.randint(5, 99, (2, SIGLIP_TEXT["max_position_embeddings"]), generator=generator)
    side = image_size // 8
    # NaFlex reads patches as rows of (height, width, channel).
    patches = images.unflatten(3, (side, 8)).unflatten(2, (side, 8)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
    with torch.no_grad():
        expected = source.get_image_features(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(2, side * side),
            spatial_shapes=torch.full((2, 2), side),
        ).pooler_output
        torch.testing.assert_close(model.get_image_features(images).pooler_output, expected, **TOLERANCE)
        expected = source.get_text_features(texts).pooler_output
        torch.testing.assert_close(model.get_text_features(texts).pooler_output, expected, **TOLERANCE)


@pytest.mark.parity
@pytest.mark.parametrize(("activation", "width"), [("quick_gelu", 128), ("gelu", 128), ("gelu", 1280)])
def test_open_clip_state_dicts(tmp_path: Path, activation: str, width: int) -> None:
    if not (REPOSITORY / ".cache" / "open_clip" / "open_clip").is_dir():
        pytest.skip("open_clip is not in .cache/open_clip; `make setup` puts it there")
    command = [
        sys.executable,
        str(REPOSITORY / "tests" / "open_clip_reference.py"),
        str(tmp_path),
        activation,
        str(width),
    ]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    source = torch.load(tmp_path / "features.pt")
    for name in ("bare.pt", "training.pt"):
        model = import_clip(tmp_path / name, activation=activation)
        with torch.no_grad():
            image = model.get_image_features(source["images"]).pooler_output
            text = model.get_text_features(source["texts"]).pooler_output
        torch.testing.assert_close(image, source["image"], **TOLERANCE)
        torch.testing.assert_close(text, source["text"], **TOLERANCE)
        assert model.logit_scale.item() == pytest.approx(3.0)
        assert model.config.vision_config.hidden_act == activation
    wrong = {"quick_gelu": "gelu", "gelu": "quick_gelu"}[activation]
    with torch.no_grad():
        guess = import_clip(tmp_path / "bare.pt", activation=wrong).get_image_features(source["images"]).pooler_output
    assert (guess - source["image"]).abs().max().item() > 1e-3, "the test would not notice a wrong activation"


@pytest.mark.parametrize("tower", ["adapted", "separate"])
def test_an_infrared_tower_starts_from_the_imported_weights(
    tmp_path: Path, inputs: dict[str, torch.Tensor], tower: str
) -> None:
    source = randomise(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)))
    source.save_pretrained(tmp_path)
    model = import_clip(tmp_path, infrared_tower=tower, fusion="gated")
    infrared = inputs["images"][:, :1]
    with torch.no_grad():
        expected = source.get_image_features(infrared.expand(-1, 3, -1, -1)).pooler_output
        actual = model.get_infrared_features(infrared).pooler_output
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_an_open_clip_file_needs_its_activation_named(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "RS5M_ViT-B-32.pt")
    with pytest.raises(ValueError, match=r"RS5M_ViT-B-32.pt does not say which activation .* Pass 'quick_gelu'"):
        import_clip(tmp_path / "RS5M_ViT-B-32.pt")


def test_a_file_that_is_no_vit_clip_is_refused(tmp_path: Path) -> None:
    torch.save({"visual.layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "RN50.pt")
    with pytest.raises(ValueError, match="ResNet towers are not supported"):
        import_clip(tmp_path / "RN50.pt", activation="quick_gelu")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"visual.proj": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        import_clip(tmp_path / "evil.pt", activation="gelu")
    assert not (tmp_path / "ran").exists()


def test_a_contradicting_activation_is_refused(tmp_path: Path) -> None:
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="records the activation 'quick_gelu', not 'gelu'"):
        import_clip(tmp_path, activation="gelu")
