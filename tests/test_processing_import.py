"""The processor of an imported CLIP gives the pixels and tokens that the CLIP was trained with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_tokenizer
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from processing import import_processor

SQUARE = {"height": 32, "width": 32}


@pytest.fixture
def image() -> Image.Image:
    generator = np.random.default_rng(0)
    smooth = generator.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize((64, 48), Image.Resampling.BICUBIC)


def write_source(folder: Path, kind: str) -> None:
    make_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    if kind == "clip":
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE).save_pretrained(folder)
    else:
        SiglipImageProcessorPil(size=SQUARE).save_pretrained(folder)


@pytest.mark.parametrize(("kind", "levels"), [("clip", 1), ("siglip", 2)])
def test_rgb_pixels_are_the_sources(tmp_path: Path, image: Image.Image, kind: str, levels: int) -> None:
    write_source(tmp_path, kind)
    source = {"clip": CLIPImageProcessorPil, "siglip": SiglipImageProcessorPil}[kind].from_pretrained(tmp_path)
    processor = import_processor(tmp_path, image_size=32, siglip=kind == "siglip")
    expected = source(image, return_tensors="pt")["pixel_values"]
    actual = processor(images=image)["pixel_values"]
    step = 1 / 255 / min(source.image_std)
    assert (actual - expected).abs().max().item() <= levels * step * 1.01
    assert (actual - expected).abs().mean().item() < step / 4


def test_a_shared_tower_reads_infrared_as_fusionrs_clip_does(tmp_path: Path, image: Image.Image) -> None:
    (tmp_path / "model").mkdir()
    write_source(tmp_path / "model", "clip")
    scaling = {"rule": "dtype_range"}
    processor = import_processor(tmp_path, image_size=32, infrared_channels=3, infrared_scaling=scaling)
    grey = image.convert("L")
    source = CLIPImageProcessorPil.from_pretrained(tmp_path / "model")
    expected = source(grey.convert("RGB"), return_tensors="pt")["pixel_values"]
    actual = processor(infrared=grey)["infrared_values"]
    assert (actual - expected).abs().max().item() <= 1.01 / 255 / min(source.image_std)


def test_one_infrared_channel_is_normalised_by_the_mean_of_rgb(tmp_path: Path, image: Image.Image) -> None:
    write_source(tmp_path, "clip")
    processor = import_processor(tmp_path, image_size=32)
    assert processor.image_processor.infrared_mean == pytest.approx([np.mean(processor.image_processor.image_mean)])
    assert processor(infrared=image.convert("L"))["infrared_values"].shape == (1, 1, 32, 32)


def test_siglip_texts_are_padded_to_full_length(tmp_path: Path) -> None:
    write_source(tmp_path, "siglip")
    processor = import_processor(tmp_path, image_size=32, siglip=True)
    inputs = processor(text=["a ship", "two ships at a pier"], infrared_text=["dark", "bright"])
    assert inputs["input_ids"].shape == inputs["infrared_input_ids"].shape == (2, 64)
    assert not {"attention_mask", "infrared_attention_mask"} & set(inputs)


def test_an_open_clip_file_needs_a_tokenizer(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "RS5M_ViT-B-32.pt")
    with pytest.raises(ValueError, match="holds no tokenizer; pass tokenizer="):
        import_processor(tmp_path / "RS5M_ViT-B-32.pt", image_size=32)
    make_tokenizer().save_pretrained(tmp_path / "words")
    processor = import_processor(tmp_path / "RS5M_ViT-B-32.pt", image_size=32, tokenizer=tmp_path / "words")
    assert processor.image_processor.crop_size["height"] == 32
