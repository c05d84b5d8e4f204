"""`RSImageProcessor`: parity with the CLIP processor, pairs, infrared channels, settings, errors by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene
from transformers import BatchFeature, SiglipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from processing import BadImage, RSImageProcessor
from processing.scaling_rsclip import percentiles

SCENE = make_scene()
GREY = SCENE[..., 1]
SMALL: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
PLAIN: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "do_normalize": False}


@pytest.mark.parametrize("shape", [(300, 400), (500, 333), (224, 224), (100, 700), (180, 150)])
def test_rgb_equals_the_clip_processor_to_a_level_or_two(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(-20, 20, (*shape, 3))
    image = np.clip(make_scene(*shape).astype(int) + noise, 0, 255).astype(np.uint8)
    ours, theirs = (
        kind(do_normalize=False)(Image.fromarray(image), return_tensors="pt")["pixel_values"]
        for kind in (RSImageProcessor, CLIPImageProcessorPil)
    )
    assert ours.shape == theirs.shape == (1, 3, 224, 224)
    assert (ours - theirs).abs().max() <= 1 / 127.5 + 1e-6
    assert (ours - theirs).abs().mean() <= 1e-4


def test_rgb_equals_the_siglip_processor_with_its_settings() -> None:
    theirs = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    ours = RSImageProcessor(
        size={"height": 64, "width": 64},
        do_center_crop=False,
        resample=theirs.resample,
        image_mean=theirs.image_mean,
        image_std=theirs.image_std,
    )
    image = Image.fromarray(make_scene(200, 300))
    difference = ours(image)["pixel_values"] - theirs(image, return_tensors="pt")["pixel_values"]
    assert difference.abs().max() <= 2 / 127.5 + 1e-6


def test_normalisation_is_mean_and_standard_deviation_per_channel() -> None:
    values = RSImageProcessor(**{**PLAIN, "do_normalize": True}, image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 4])(SCENE)
    wanted = (torch.from_numpy(SCENE).permute(2, 0, 1) / 255 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / (
        torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    )
    assert torch.allclose(values["pixel_values"][0], wanted, atol=1e-6)


def test_infrared_white_is_one_and_black_minus_one_with_the_default_statistics() -> None:
    white, black = (np.full((48, 64), value, np.uint16) for value in (65535, 0))
    values = RSImageProcessor(**SMALL)(infrared=[white, black])["infrared_values"]
    assert values.shape == (2, 1, 32, 32)
    assert torch.allclose(values[0], torch.ones(1, 32, 32), atol=1e-6)
    assert torch.equal(values[1], -torch.ones(1, 32, 32))


def test_three_infrared_channels_are_copies_normalised_by_their_own_statistics() -> None:
    one = RSImageProcessor(**SMALL, do_normalize=False)(infrared=GREY)["infrared_values"]
    three = RSImageProcessor(**SMALL, infrared_mean=[0, 0.5, 1], infrared_std=[1, 2, 4])(infrared=GREY)
    for channel, (mean, deviation) in enumerate([(0, 1), (0.5, 2), (1, 4)]):
        assert torch.allclose(three["infrared_values"][:, channel], (one[:, 0] - mean) / deviation)


def test_bicubic_overshoot_never_leaves_the_declared_range() -> None:
    edge = np.where(np.arange(64) < 32, 0, 65535).astype(np.uint16)[None].repeat(48, axis=0)
    values = RSImageProcessor(**SMALL, do_normalize=False)(infrared=edge)["infrared_values"]
    assert values.min() == 0
    assert values.max() == 1


def test_both_images_of_a_pair_get_the_same_geometry() -> None:
    ramp = np.linspace(0, 255, 128).astype(np.uint8)[None].repeat(80, axis=0)
    processor = RSImageProcessor(**SMALL, do_normalize=False)
    values = processor(images=np.dstack([ramp] * 3), infrared=ramp)
    assert (values["pixel_values"][:, :1] - values["infrared_values"]).abs().max() <= 1 / 255


def test_a_batch_of_mixed_sizes_equals_its_images_one_by_one() -> None:
    processor = RSImageProcessor(**SMALL)
    images = [make_scene(48, 64), make_scene(64, 48), make_scene(48, 64, seed=1)]
    infrared = [image[..., 1] for image in images]
    single = [processor(images=rgb, infrared=heat) for rgb, heat in zip(images, infrared, strict=True)]
    for disable_grouping in (True, False):
        batch = processor(images=images, infrared=infrared, disable_grouping=disable_grouping)
        for name in ("pixel_values", "infrared_values"):
            assert torch.equal(batch[name], torch.cat([values[name] for values in single]))


@pytest.mark.parametrize(
    "images",
    [SCENE, [SCENE], [[SCENE]], SCENE[None], torch.from_numpy(SCENE)[None], (Image.fromarray(SCENE),)],
)
def test_one_image_may_come_bare_in_a_list_or_in_a_batch(images: Any) -> None:
    values = RSImageProcessor(**SMALL)(images)["pixel_values"]
    assert torch.equal(values, RSImageProcessor(**SMALL)(images=[SCENE])["pixel_values"])


def test_outputs_follow_return_tensors() -> None:
    processor = RSImageProcessor(**SMALL)
    assert isinstance(processor(SCENE), BatchFeature)
    assert isinstance(processor(SCENE)["pixel_values"], torch.Tensor)
    assert isinstance(processor(SCENE, return_tensors="np")["pixel_values"], np.ndarray)
    assert isinstance(processor(SCENE, return_tensors=None)["pixel_values"], list)


def test_bad_images_are_named_by_their_place_in_the_batch(tmp_path: Path) -> None:
    processor = RSImageProcessor(**SMALL)
    with pytest.raises(BadImage, match=r"^infrared image 3 of batch \[not_finite\]"):
        processor(infrared=[GREY, GREY, GREY, np.full((48, 64), np.nan)])
    with pytest.raises(BadImage, match=r"^RGB image 1 of batch \[string_source\]"):
        processor(images=[SCENE, "http://127.0.0.1/secret.png"])
    with pytest.raises(BadImage, match=r"^infrared image 1 of batch \[geometry\]"):
        processor(images=[SCENE, SCENE], infrared=[GREY, GREY[:40]])
    with pytest.raises(BadImage, match=r"^RGB image 1 of batch \[type\]"):
        processor(images=[SCENE, None])
    (tmp_path / "empty.tif").touch()
    with pytest.raises(BadImage, match=r"^infrared image 0 of batch \('empty.tif'\) \[empty\]"):
        processor(infrared=tmp_path / "empty.tif")


def test_lists_of_two_lengths_are_not_pairs_unless_declared_so() -> None:
    processor = RSImageProcessor(**SMALL)
    with pytest.raises(ValueError, match="2 RGB images and 1 infrared images"):
        processor(images=[SCENE, SCENE], infrared=[GREY])
    values = processor(images=[SCENE, SCENE], infrared=[GREY[:40]], paired=False)
    assert (len(values["pixel_values"]), len(values["infrared_values"])) == (2, 1)
    with pytest.raises(ValueError, match="No images were given"):
        processor()


def test_settings_of_a_call_win_over_those_of_the_processor() -> None:
    kelvin = (260 + GREY / 255 * 60).astype(np.float32)
    processor = RSImageProcessor(**PLAIN)
    with pytest.raises(BadImage, match="no_dtype_range"):
        processor(infrared=kelvin)
    window = {"rule": "window", "low": 260, "high": 320}
    values = processor(infrared=kelvin, infrared_scaling=window, polarity="black_hot")["infrared_values"]
    assert torch.allclose(values[0, 0], 1 - torch.from_numpy(GREY / 255).float(), atol=1e-5)


def test_a_declared_mismatch_policy_resamples_the_infrared_image() -> None:
    values = RSImageProcessor(**SMALL, size_mismatch="resample_infrared")(images=SCENE, infrared=GREY[::2, ::2])
    assert values["infrared_values"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    "settings",
    [
        {"polarity": "hot"},
        {"polarity": "black_hot", "infrared_band": "nir"},
        {"infrared_band": "radar"},
        {"infrared_mean": [0.5, 0.5]},
        {"infrared_mean": [0.5], "infrared_std": [0.0]},
        {"infrared_mean": [0.5] * 3},
        {"infrared_scaling": {"rule": "auto"}},
        {"nodata": "none"},
        {"size_mismatch": "crop"},
        {"colour_infrared": "grey"},
        {"size": {"longest_edge": 32}},
        {"resample": 1},
        {"do_pad": True},
        {"data_format": "channels_last"},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"wanted|only|not supported"):
        RSImageProcessor(**settings)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="crop_size 300 x 300 exceeds the image"):
        RSImageProcessor(crop_size={"height": 300, "width": 300})(SCENE)


@pytest.mark.parametrize(("band", "emissive"), [("thermal", True), ("mwir", True), ("swir", False), ("nir", False)])
def test_the_band_says_whether_the_infrared_is_heat(band: str, emissive: bool) -> None:
    assert RSImageProcessor(infrared_band=band).infrared_is_emissive is emissive


def test_masked_pixels_reach_the_tensor_as_the_mean_of_the_valid_ones() -> None:
    counts = GREY.astype(np.int16)
    counts[:8] = -32768
    settings = {"infrared_scaling": {"rule": "window", "low": 0, "high": 255}, "nodata": -32768}
    values = RSImageProcessor(**PLAIN, **settings)(infrared=counts)["infrared_values"][0, 0]
    assert torch.allclose(values[:8], values[8:].mean().expand(8, 64), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_counted_percentiles_are_those_of_numpy(dtype: type) -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 7, 256, 4001):
        pixels = generator.integers(0, np.iinfo(dtype).max, size).astype(dtype)
        for low, high in ((0, 100), (1, 99), (2.5, 97.3), (33.3, 50)):
            assert percentiles(pixels, low, high) == tuple(np.percentile(pixels, (low, high)))
