"""Named bands and windows of GeoTIFFs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processing_fixtures import make_scene

import processing.geotiff_rsclip
from processing import BadImage, RSImageProcessor, load_infrared, load_pair, load_rgb, read_bands

SCENE = make_scene()
GREY = SCENE[..., 1] // 2 + 60
BANDS = np.concatenate([SCENE.transpose(2, 0, 1), GREY[None]])  # (4, 48, 64): red, green, blue, near infrared


def write(path: Path, bands: np.ndarray, descriptions: tuple[str, ...] = (), **profile: Any) -> Path:
    rasterio = pytest.importorskip("rasterio")
    count, height, width = bands.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=bands.dtype,
        crs="EPSG:32610",
        transform=rasterio.Affine(0.6, 0.0, 500000.0, 0.0, -0.6, 4000000.0),
        **profile,
    ) as dataset:
        dataset.write(bands)
        for number, description in enumerate(descriptions, start=1):
            dataset.set_band_description(number, description)
    return path


@pytest.fixture
def four_bands(tmp_path: Path) -> Path:
    """Red, green and blue by colour interpretation; the fourth band flagged as alpha, as many providers do."""
    return write(tmp_path / "naip.tif", BANDS, photometric="RGB", alpha="unspecified")


def test_bands_are_found_by_colour_and_by_declared_number(four_bands: Path) -> None:
    assert (read_bands(four_bands) == SCENE).all()
    near_infrared = read_bands(four_bands, bands=("nir",), band_numbers={"NIR": 4})
    assert (near_infrared == GREY).all()
    assert not near_infrared.mask.any()


def test_bands_are_found_by_description_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path / "named.tif", BANDS, ("Blue", "Green", "Red", "NIR"))
    assert (read_bands(path) == SCENE[..., ::-1]).all()
    assert (read_bands(path, bands=("nir",)) == GREY).all()


def test_a_window_is_the_same_part_of_the_whole(four_bands: Path) -> None:
    part = read_bands(four_bands, window=(10, 4, 32, 20))
    assert (part == SCENE[4:24, 10:42]).all()


@pytest.mark.parametrize("window", [(-1, 0, 20, 20), (50, 0, 20, 20), (0, 40, 20, 20)])
def test_a_window_outside_the_image_is_refused(four_bands: Path, window: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadImage, match=r"raster 'naip.tif' \[window\]"):
        read_bands(four_bands, window=window)


def test_a_window_that_is_too_small_or_too_long_is_refused(four_bands: Path) -> None:
    with pytest.raises(BadImage, match="too_small"):
        read_bands(four_bands, window=(0, 0, 8, 20))


def test_bands_that_the_file_does_not_know_are_refused(four_bands: Path) -> None:
    with pytest.raises(BadImage, match="no single band 'swir'"):
        read_bands(four_bands, bands=("swir",))
    with pytest.raises(BadImage, match="band number 9"):
        read_bands(four_bands, bands=("nir",), band_numbers={"nir": 9})


def test_nodata_of_the_file_becomes_a_mask_that_the_loader_honours(tmp_path: Path) -> None:
    kelvin = (270 + GREY / 8).astype(np.float32)
    kelvin[:6] = -9999
    path = write(tmp_path / "heat.tif", kelvin[None], ("thermal",), nodata=-9999)
    array = read_bands(path, bands=("thermal",))
    loaded = load_infrared(array, scaling={"rule": "window", "low": 260, "high": 320})
    assert loaded.valid is not None
    assert (~loaded.valid).sum() == 6 * 64
    assert loaded.pixels[6:] == pytest.approx((kelvin[6:] - 260) / 60, abs=1e-5)


def test_a_real_alpha_band_masks_the_colours(tmp_path: Path) -> None:
    alpha = np.full((1, 48, 64), 255, np.uint8)
    alpha[:, :7] = 0
    path = write(tmp_path / "alpha.tif", np.concatenate([BANDS[:3], alpha]), photometric="RGB", alpha="YES")
    loaded = load_rgb(read_bands(path))
    assert loaded.valid is not None
    assert (~loaded.valid).sum() == 7 * 64


def test_16_bit_colour_reaches_the_model_through_a_declared_range(tmp_path: Path) -> None:
    path = write(tmp_path / "reflectance.tif", BANDS[:3].astype(np.uint16) * 40, photometric="RGB")
    with pytest.raises(BadImage, match="sixteen_bit_colour"):
        load_rgb(path)
    assert (load_rgb(read_bands(path), rgb_range=(0, 10200)).pixels == SCENE).all()


@pytest.mark.parametrize(("count", "kind"), [(13, np.uint8), (13, np.uint16), (3, np.int16)])
def test_a_raster_that_no_picture_reader_opens_is_told_its_bands_and_bits(
    tmp_path: Path, count: int, kind: type[np.generic]
) -> None:
    path = write(tmp_path / "scene.tif", np.resize(BANDS, (count, 48, 64)).astype(kind))
    with pytest.raises(
        BadImage, match=r"bytes that do not open; wanted .* 1, 3 or 4 bands of 8 bits, or one band of 16"
    ):
        load_rgb(path)


def test_both_halves_of_a_four_band_file_make_a_pair(four_bands: Path) -> None:
    near_infrared = read_bands(four_bands, bands=("nir",), band_numbers={"nir": 4})
    pair = load_pair(read_bands(four_bands), near_infrared, scaling={"rule": "dtype_range"})
    assert pair.infrared is not None
    assert pair.infrared.pixels == pytest.approx(GREY / 255, abs=1e-6)
    values = RSImageProcessor(infrared_band="nir")(images=read_bands(four_bands), infrared=near_infrared)
    assert values["infrared_values"].shape == (1, 1, 224, 224)


def test_files_that_are_not_there_or_not_whole_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    with pytest.raises(BadImage, match="missing"):
        read_bands(tmp_path / "nothing.tif")
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(BadImage, match="undecodable"):
        read_bands(tmp_path / "text.tif")


def test_without_rasterio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processing.geotiff_rsclip, "rasterio", None)
    with pytest.raises(ImportError, match="pip install rasterio"):
        read_bands(tmp_path / "any.tif")
