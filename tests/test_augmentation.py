"""Views of a pair: one geometry for both images, infrared at its true range, nodata kept, the same for every run."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene

from processing import BadImage, RSImageProcessor
from train.clip.augmentation import Geometry, augment_infrared, draw_geometry
from train.clip.config import AugmentationConfig, ClipConfig
from train.clip.images import SCALED_INFRARED, RowImages, smallest_side, squared
from train.data.draw import draw

NONE = AugmentationConfig()


def encoded(pixels: Any, kind: str = "PNG") -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return {"bytes": buffer.getvalue()}


def pair(seed: int = 0, sixteen_bits: bool = True) -> dict[str, Any]:
    """A row whose infrared is a known function of its red channel, so that its geometry can be read off."""
    rgb = make_scene(seed=seed)
    infrared = rgb[..., 0].astype(np.uint16) * 257 if sixteen_bits else rgb[..., 0]
    return {"id": f"row {seed}", "epoch": 0, "rgb": encoded(rgb), "infrared": encoded(infrared)}


def images_of(augmentation: AugmentationConfig, view: str = "rows", **settings: Any) -> RowImages:
    processor = RSImageProcessor(**{"infrared_scaling": {"rule": "dtype_range"}, **settings})
    return RowImages(processor, view, augmentation, seed=0)


@pytest.mark.parametrize("orientation", ["mirror", "all"])
def test_both_images_of_a_pair_are_cropped_and_turned_alike(orientation: str) -> None:
    images = images_of(AugmentationConfig(orientation=orientation, crop_area=0.5))
    whole, shapes = make_scene(), set()
    for epoch in range(20):
        view = images({**pair(), "epoch": epoch})
        assert view.infrared is not None
        np.testing.assert_allclose(view.infrared, view.rgb[..., 0] / 255, atol=1e-6)
        shapes.add(view.rgb.shape)
    assert len(shapes) > 10
    assert max(height * width for height, width, _ in shapes) < whole.shape[0] * whole.shape[1]


def test_the_eight_orientations_are_all_drawn_and_each_is_another_image() -> None:
    config = AugmentationConfig(orientation="all")
    pixels = make_scene(40, 40)
    drawn = [draw_geometry(40, 40, config, draw(0, "orientation", number)) for number in range(400)]
    counts = {geometry: drawn.count(geometry) for geometry in set(drawn)}
    assert len(counts) == 8
    # 50 of 400 each: six standard deviations are 40.
    assert all(10 < count < 90 for count in counts.values())
    assert len({geometry.apply(pixels).tobytes() for geometry in counts}) == 8


def test_a_geometry_is_numpy_written_out() -> None:
    pixels = make_scene(20, 30)
    view = Geometry((2, 3, 10, 16), quarter_turns=1, mirrored=True).apply(pixels)
    assert np.array_equal(view, np.fliplr(np.rot90(pixels[2:12, 3:19])))
    assert view.flags.c_contiguous


def test_crops_keep_their_share_of_the_area_and_their_aspect() -> None:
    config = AugmentationConfig(crop_area=0.25, crop_aspect=2.0)
    boxes = [draw_geometry(400, 400, config, draw(0, number)).box for number in range(500)]
    shares = np.array([height * width / 160_000 for _, _, height, width in boxes])
    aspects = np.array([width / height for _, _, height, width in boxes])
    inside = np.array([max(height, width) < 400 for _, _, height, width in boxes])  # others were cut to the image
    assert 0.24 < shares.min() < 0.3
    assert shares.max() <= 1
    assert aspects[inside].min() == pytest.approx(0.5, abs=0.05)
    assert aspects[inside].max() == pytest.approx(2.0, abs=0.1)
    assert all(top + height <= 400 and left + width <= 400 for top, left, height, width in boxes)
    small = draw_geometry(20, 40, AugmentationConfig(crop_area=0.01), draw(0, "small")).box
    assert min(small[2:]) >= 16, "the processor refuses smaller images"


def test_a_view_depends_on_seed_epoch_and_row_alone() -> None:
    config = AugmentationConfig(orientation="all", crop_area=0.5, infrared_noise=0.1, infrared_gamma=2.0)
    images = images_of(config)
    first = images(pair())
    images(pair(seed=1))
    again, later = images(pair()), images({**pair(), "epoch": 1})
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.infrared, again.infrared)
    assert first.infrared.shape != later.infrared.shape or not np.array_equal(first.infrared, later.infrared)


@pytest.mark.parametrize("rule", [{"rule": "dtype_range"}, {"rule": "percentile", "low": 1.0, "high": 99.0}])
def test_an_unvaried_view_is_what_the_processor_makes_of_the_files(rule: dict[str, Any]) -> None:
    processor = RSImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        infrared_scaling=rule,
        polarity="black_hot",
        nodata=0,
    )
    row = pair()
    counts = np.array(Image.open(io.BytesIO(row["infrared"]["bytes"]))).astype(np.uint16)
    counts[:10, :10] = 0
    row["infrared"] = encoded(counts)
    direct = processor(images=[row["rgb"]["bytes"]], infrared=[row["infrared"]["bytes"]])
    view = RowImages(processor, "rows", NONE, seed=0)(row)
    through = processor(images=[view.rgb], infrared=[view.infrared], **SCALED_INFRARED)
    for name in ("pixel_values", "infrared_values"):
        assert torch.equal(direct[name], through[name]), name


def test_sixteen_bits_keep_their_levels() -> None:
    counts = (np.arange(64 * 64, dtype=np.uint16) + 30_000).reshape(64, 64)
    row = {**pair(), "rgb": encoded(make_scene(64, 64)), "infrared": encoded(counts)}
    view = images_of(AugmentationConfig(infrared_gamma=1.5))(row)
    assert len(np.unique(view.infrared)) == 64 * 64, "an 8-bit path would leave 16 levels"


def test_missing_data_stays_missing() -> None:
    pixels = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    valid = np.ones((20, 20), dtype=bool)
    valid[5:9, 5:9] = False
    config = AugmentationConfig(infrared_gamma=2.0, infrared_contrast=0.5, infrared_noise=0.3, infrared_inversion=1.0)
    result = augment_infrared(pixels, valid, config, draw(0, "nodata"))
    assert len(np.unique(result[~valid])) == 1
    assert result[~valid][0] == pytest.approx(result[valid].mean(), abs=1e-5)
    changed = pixels.copy()
    changed[~valid] = 0.9  # what lies where there is no data must not matter
    other = augment_infrared(changed, valid, config, draw(0, "nodata"))
    np.testing.assert_array_equal(other, result)


def test_infrared_without_a_declared_nodata_value_is_refused_by_row() -> None:
    infrared = np.ones((48, 64), dtype=np.float32)
    infrared[3, 3] = np.nan
    with pytest.raises(BadImage, match=r"infrared image of row 'row 0' \[not_finite\]"):
        images_of(NONE)({**pair(), "infrared": encoded(infrared, "TIFF")})


def test_nan_is_missing_data_once_it_is_declared() -> None:
    infrared = np.full((48, 64), 0.25, dtype=np.float32)
    infrared[:24], infrared[0, 0] = 0.75, np.nan
    row = {**pair(), "infrared": encoded(infrared, "TIFF")}
    view = images_of(AugmentationConfig(infrared_inversion=1.0), nodata="nan")(row)
    assert np.isfinite(view.infrared).all()
    assert view.infrared[0, 1] == pytest.approx(0.25)
    assert view.infrared[0, 0] == pytest.approx(0.5, abs=1e-3)


def test_each_radiometric_change_in_closed_form() -> None:
    pixels = np.linspace(0.2, 0.8, 400, dtype=np.float32).reshape(20, 20)
    inverted = augment_infrared(pixels, None, AugmentationConfig(infrared_inversion=1.0), draw(0))
    np.testing.assert_allclose(inverted, 1 - pixels, atol=1e-6)

    bent = augment_infrared(pixels, None, AugmentationConfig(infrared_gamma=3.0), draw(0))
    exponents = np.log(bent) / np.log(pixels)
    assert np.ptp(exponents) < 1e-4
    assert 1 / 3 <= exponents.mean() <= 3

    stretched = augment_infrared(pixels, None, AugmentationConfig(infrared_contrast=0.5), draw(0))
    factors = (stretched - 0.5) / (pixels - 0.5)
    assert np.ptp(factors) < 1e-3
    assert 0.5 <= factors.mean() <= 1.5

    grey = np.full((200, 200), 0.5, dtype=np.float32)
    noisy = [augment_infrared(grey, None, AugmentationConfig(infrared_noise=0.1), draw(number)) for number in range(30)]
    deviations = [image.std() for image in noisy]
    assert max(deviations) <= 0.101
    assert np.mean(deviations) == pytest.approx(0.05, abs=0.02)


def test_exponents_are_as_often_above_one_as_below() -> None:
    pixels = np.full((16, 16), 0.5, dtype=np.float32)
    config = AugmentationConfig(infrared_gamma=4.0)
    exponents = [
        math.log(augment_infrared(pixels, None, config, draw(number))[0, 0]) / math.log(0.5) for number in range(300)
    ]
    assert 110 < sum(exponent > 1 for exponent in exponents) < 190


def test_crops_fill_the_square_of_the_model_whatever_their_aspect() -> None:
    processor = RSImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    wide = make_scene(24, 48)
    whole = processor(images=[wide], **squared(processor))["pixel_values"]
    assert whole.shape == (1, 3, 32, 32)
    left, right = wide.copy(), wide.copy()
    left[:, :4], right[:, -4:] = 0, 0
    for changed in (left, right):  # a centre crop would not see the margins
        assert not torch.equal(processor(images=[changed], **squared(processor))["pixel_values"], whole)


def test_the_luminance_control_shows_the_grey_of_the_rgb_image() -> None:
    row = pair()
    row["infrared"] = None
    view = images_of(NONE, "luminance")(row)
    grey = np.asarray(Image.fromarray(make_scene()).convert("L"))
    np.testing.assert_allclose(view.infrared, grey / np.float32(255), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_area": 0.0}, "crop_area must be above 0 and at most 1"),
        ({"crop_aspect": 0.5}, "crop_aspect must be from 1 to 8"),
        ({"infrared_gamma": 0.5}, "infrared_gamma must be from 1 to 10"),
        ({"infrared_contrast": 1.0}, "infrared_contrast must be at least 0 and below 1"),
        ({"infrared_inversion": 2.0}, "infrared_inversion must be from 0 to 1"),
    ],
)
def test_impossible_augmentations_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentationConfig(**fields)


def photograph(height: int, width: int) -> dict[str, Any]:
    """A large JPEG with an infrared image of the same scene, both smooth as photographs are."""
    small = Image.fromarray(make_scene(24, 24))
    rgb = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return {"id": "large", "epoch": 0, "rgb": encoded(rgb, "JPEG"), "infrared": encoded(rgb[..., 0])}


@pytest.mark.parametrize("orientation", ["none", "all"])
@pytest.mark.parametrize("crop_area", [1.0, 0.5])
def test_scaled_decoding_shows_the_same_view_of_fewer_pixels(crop_area: float, orientation: Any) -> None:
    config = AugmentationConfig(crop_area=crop_area, orientation=orientation)
    processor = RSImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, infrared_scaling={"rule": "dtype_range"}
    )
    exact, scaled = (RowImages(processor, "rows", config, 0, decoding) for decoding in ("exact", "scaled"))
    settings = {**SCALED_INFRARED, **(squared(processor) if crop_area < 1 else {})}
    for epoch in range(6):
        row = {**photograph(403, 517), "epoch": epoch}
        whole, part = exact(row), scaled(row)
        assert part.rgb.shape[0] < whole.rgb.shape[0] / 3
        assert min(part.rgb.shape[:2]) >= 32
        assert whole.infrared is not None
        assert part.infrared is not None
        np.testing.assert_array_equal(part.infrared, whole.infrared)
        one, other = (processor(images=[view.rgb], **settings)["pixel_values"] for view in (whole, part))
        # Two grey levels of 255 in the mean, in units of the normalised image.
        assert (one - other).abs().mean() < 2 / 255 / 0.26
        other_view = processor(images=[np.rot90(part.rgb, 2).copy()], **settings)["pixel_values"]
        assert (one - other_view).abs().mean() > 5 * (one - other).abs().mean()


def test_the_smallest_crop_of_a_scaled_image_is_not_enlarged() -> None:
    processor = RSImageProcessor(size={"shortest_edge": 64})
    assert smallest_side(processor, AugmentationConfig()) == 64
    assert smallest_side(processor, AugmentationConfig(crop_area=0.25, crop_aspect=1.0)) == 128
    assert smallest_side(RSImageProcessor(size={"height": 48, "width": 64}), AugmentationConfig()) == 64


def test_scaled_decoding_is_off_by_default_and_reaches_the_images() -> None:
    processor = RSImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    row = {name: value for name, value in photograph(403, 517).items() if name != "infrared"}
    assert RowImages(processor, None, NONE, seed=0)(row).rgb.shape == (403, 517, 3)
    assert ClipConfig().data.jpeg_decoding == "exact"
    assert RowImages(processor, None, NONE, 0, "scaled")(row).rgb.shape == (51, 65, 3)
