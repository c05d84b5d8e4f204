"""The loader: every odd input gives the right pixels or a `BadImage` that names the image."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from processing_fixtures import make_scene

from processing import BadImage, Scaling, load_infrared, load_pair, load_rgb

SCENE = make_scene()  # (48, 64, 3)
GREY = SCENE[..., 1]  # (48, 64)
GREY16 = GREY.astype(np.uint16) * 257
KELVIN = (260 + GREY / 255 * 60).astype(np.float32)
DTYPE_RANGE = {"rule": "dtype_range"}
WINDOW = {"rule": "window", "low": 260, "high": 320}
PERCENTILE = {"rule": "percentile", "low": 0, "high": 100}
STRETCHED = (GREY - GREY.min()) / (GREY.max() - GREY.min())
ROOT = Path(__file__).parent.parent


def encode(array: Any, image_format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, image_format, **options)
    return buffer.getvalue()


def with_orientation(array: np.ndarray, orientation: int) -> Image.Image:
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return image


def oriented(array: np.ndarray, orientation: int, image_format: str = "JPEG") -> bytes:
    image = with_orientation(array, orientation)
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 97} if image_format == "JPEG" else {}
    return encode(image, image_format, exif=image.getexif(), **options)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 1) * min(height, 4)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def sixteen_bit_rgb_png() -> bytes:
    rows = SCENE.astype(">u2") * 257
    raw = b"".join(b"\x00" + row.tobytes() for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def alpha_scene(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([SCENE, alpha.astype(np.uint8)]))


def masked_corner(rows: int) -> np.ndarray:
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:rows] = 0
    return alpha


def palette_with_transparency() -> bytes:
    image = Image.fromarray(SCENE).quantize(255)
    return encode(image, transparency=0)


def two_frames(image_format: str) -> bytes:
    frames = [Image.fromarray(SCENE), Image.fromarray(SCENE[::-1].copy())]
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:])


def flipped_bytes(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 20]) + content[middle + 20 :]


def white_is_zero() -> bytes:
    return encode(GREY16, "TIFF", tiffinfo={262: 0})


RGB_RIGHT: dict[str, Callable[[], Any]] = {
    "PIL RGB": lambda: Image.fromarray(SCENE),
    "PNG bytes": lambda: encode(SCENE),
    "bytearray": lambda: bytearray(encode(SCENE)),
    "JPEG bytes": lambda: encode(SCENE, "JPEG", quality=95),
    "WebP bytes": lambda: encode(SCENE, "WEBP", lossless=True),
    "TIFF bytes": lambda: encode(SCENE, "TIFF"),
    "CMYK JPEG": lambda: encode(SCENE, "JPEG", "CMYK", quality=95),
    "PIL CMYK": lambda: Image.fromarray(SCENE).convert("CMYK"),
    "PIL YCbCr": lambda: Image.fromarray(SCENE).convert("YCbCr"),
    "PIL HSV": lambda: Image.fromarray(SCENE).convert("HSV"),
    "palette PNG": lambda: encode(Image.fromarray(SCENE).quantize(256)),
    "RGBA opaque": lambda: alpha_scene(masked_corner(0)),
    "numpy HWC": lambda: SCENE,
    "numpy CHW": lambda: SCENE.transpose(2, 0, 1),
    "numpy float 0..1": lambda: SCENE / 255,
    "numpy float16 0..1": lambda: (SCENE / 255).astype(np.float16),
    "read-only array": lambda: np.frombuffer(SCENE.tobytes(), np.uint8).reshape(SCENE.shape),
    "negative strides": lambda: SCENE[::-1].copy()[::-1],
    "torch CHW": lambda: torch.from_numpy(SCENE).permute(2, 0, 1),
    "torch float with gradient": lambda: (torch.from_numpy(SCENE) / 255).requires_grad_(),
    "torch bfloat16": lambda: (torch.from_numpy(SCENE) / 255).bfloat16(),
    "EXIF orientation 6": lambda: oriented(np.rot90(SCENE).copy(), 6),
    "EXIF orientation in WebP": lambda: oriented(np.rot90(SCENE).copy(), 6, "WEBP"),
    "EXIF orientation in TIFF": lambda: oriented(np.rot90(SCENE).copy(), 6, "TIFF"),
    "EXIF orientation in PNG": lambda: oriented(np.rot90(SCENE).copy(), 6, "PNG"),
    "EXIF orientation of a PIL image": lambda: with_orientation(np.rot90(SCENE).copy(), 6),
    "EXIF orientation unknown": lambda: oriented(SCENE, 9),
}

RGB_BAD: dict[str, tuple[str, Callable[[], Any]]] = {
    "a path as string": ("string_source", lambda: "/etc/hostname"),
    "a URL": ("string_source", lambda: "http://127.0.0.1/x.png"),
    "None": ("type", lambda: None),
    "a list": ("type", lambda: [1, 2, 3]),
    "a missing file": ("missing", lambda: Path("/nowhere/x.png")),
    "a folder": ("missing", lambda: ROOT),
    "a device file": ("missing", lambda: Path("/dev/zero")),
    "no bytes": ("empty", lambda: b""),
    "HTML": ("undecodable", lambda: b"<!doctype html><html>404</html>"),
    "a header alone": ("undecodable", lambda: encode(SCENE)[:20]),
    "GIF": ("undecodable", lambda: encode(SCENE, "GIF")),
    "BMP": ("undecodable", lambda: encode(SCENE, "BMP")),
    "EPS": ("undecodable", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"),
    "too many bytes": ("too_many_bytes", lambda: bytes(50_000_001)),
    "truncated JPEG": ("damaged", lambda: encode(SCENE, "JPEG", quality=95)[:-600]),
    "truncated PNG": ("damaged", lambda: encode(SCENE)[:-600]),
    "truncated TIFF": ("undecodable", lambda: encode(SCENE, "TIFF", compression="tiff_deflate")[:-3000]),
    "truncated WebP": ("undecodable", lambda: encode(SCENE, "WEBP", lossless=True)[:-600]),
    "PNG with flipped bytes": ("damaged", lambda: flipped_bytes(encode(SCENE))),
    "169-megapixel PNG": ("too_large", lambda: png_header(13000, 13000)),
    "268-megapixel PNG": ("too_large", lambda: png_header(16383, 16383)),
    "65-megapixel PNG": ("too_large", lambda: png_header(8100, 8100)),
    "strip of 17000 pixels": ("too_large", lambda: png_header(17000, 3000)),
    "strip 1 x 1000": ("too_small", lambda: png_header(1, 1000)),
    "strip 1 x 20000": ("too_small", lambda: png_header(20000, 1)),
    "strip 16 x 5000": ("aspect_ratio", lambda: png_header(16, 5000)),
    "strip as array": ("aspect_ratio", lambda: np.zeros((16, 5000, 3), np.uint8)),
    "15 pixels wide": ("too_small", lambda: SCENE[:, :15]),
    "empty array": ("too_small", lambda: np.zeros((0, 0, 3), np.uint8)),
    "64-megapixel bomb": ("decompression_bomb", lambda: png_header(8000, 8000)),
    "animated WebP": ("several_frames", lambda: two_frames("WEBP")),
    "animated PNG": ("several_frames", lambda: two_frames("PNG")),
    "two-page TIFF": ("several_frames", lambda: two_frames("TIFF")),
    "MPO": ("several_frames", lambda: two_frames("MPO")),
    "4-band array HWC": ("channels", lambda: np.dstack([SCENE, GREY])),
    "4-band array CHW": ("channels", lambda: np.dstack([SCENE, GREY]).transpose(2, 0, 1)),
    "4-band TIFF": ("ambiguous_alpha", lambda: encode(alpha_scene(GREY), "TIFF")),
    "soft alpha": ("ambiguous_alpha", lambda: alpha_scene(np.tile(np.arange(64) * 4, (48, 1)))),
    "60 % transparent": ("mostly_nodata", lambda: alpha_scene(masked_corner(29))),
    "premultiplied RGBa": ("premultiplied_alpha", lambda: alpha_scene(masked_corner(20)).convert("RGBa")),
    "2 channels": ("channels", lambda: SCENE[..., :2]),
    "13 channels": ("channels", lambda: np.zeros((48, 64, 13), np.uint8)),
    "a batch": ("channels", lambda: np.zeros((2, 48, 64, 3), np.uint8)),
    "one row": ("channels", lambda: np.zeros(64, np.uint8)),
    "3 x W x 3": ("ambiguous_axes", lambda: np.zeros((3, 64, 3), np.uint8)),
    "float 0..255": ("undeclared_range", lambda: SCENE.astype(np.float32)),
    "float -1..1": ("undeclared_range", lambda: SCENE / 127.5 - 1),
    "uint16 array": ("undeclared_range", lambda: SCENE.astype(np.uint16) * 257),
    "int16 array": ("undeclared_range", lambda: SCENE.astype(np.int16)),
    "int64 array": ("undeclared_range", lambda: SCENE.astype(np.int64)),
    "NaN array": ("not_finite", lambda: np.where(SCENE > 200, np.nan, SCENE / 255)),
    "infinite array": ("not_finite", lambda: np.where(SCENE > 200, np.inf, SCENE / 255)),
    "bool array": ("dtype", lambda: SCENE > 100),
    "complex array": ("dtype", lambda: SCENE.astype(np.complex64)),
    "object array": ("dtype", lambda: SCENE.astype(object)),
    "sparse tensor": ("dtype", lambda: torch.from_numpy(GREY.copy()).to_sparse()),
    "16-bit RGB PNG": ("sixteen_bit_colour", sixteen_bit_rgb_png),
    "16-bit grey as RGB": ("undeclared_range", lambda: encode(GREY16)),
    "kelvin TIFF as RGB": ("undeclared_range", lambda: encode(KELVIN, "TIFF")),
    "bilevel": ("bilevel", lambda: Image.fromarray(GREY).convert("1")),
}

INFRARED_RIGHT: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "PIL L": (DTYPE_RANGE, lambda: Image.fromarray(GREY)),
    "PIL LA opaque": (DTYPE_RANGE, lambda: Image.fromarray(GREY).convert("LA")),
    "PIL RGB grey": (DTYPE_RANGE, lambda: Image.fromarray(GREY).convert("RGB")),
    "palette grey": (DTYPE_RANGE, lambda: Image.fromarray(GREY).convert("P")),
    "grey JPEG in colour": (DTYPE_RANGE, lambda: encode(np.dstack([GREY] * 3), "JPEG", quality=95)),
    "16-bit PNG": (DTYPE_RANGE, lambda: encode(GREY16)),
    "16-bit TIFF": (DTYPE_RANGE, lambda: encode(GREY16, "TIFF")),
    "big-endian TIFF": (
        DTYPE_RANGE,
        lambda: encode(Image.frombytes("I;16B", (64, 48), GREY16.astype(">u2").tobytes()), "TIFF"),
    ),
    "PIL I;16": (DTYPE_RANGE, lambda: Image.fromarray(GREY16)),
    "PIL I;16B": (DTYPE_RANGE, lambda: Image.frombytes("I;16B", (64, 48), GREY16.astype(">u2").tobytes())),
    "PIL I": ({"rule": "window", "low": 0, "high": 65535}, lambda: Image.fromarray(GREY16.astype(np.int32))),
    "PIL F 0..1": (DTYPE_RANGE, lambda: Image.fromarray((GREY / 255).astype(np.float32))),
    "kelvin TIFF": (WINDOW, lambda: encode(KELVIN, "TIFF")),
    "numpy u8 HW": (DTYPE_RANGE, lambda: GREY),
    "numpy u8 1HW": (DTYPE_RANGE, lambda: GREY[None]),
    "numpy u8 HW1": (DTYPE_RANGE, lambda: GREY[..., None]),
    "numpy u16": (DTYPE_RANGE, lambda: GREY16),
    "numpy big-endian u16": (DTYPE_RANGE, lambda: GREY16.astype(">u2")),
    "numpy 12 bits": (
        {"rule": "dtype_range", "bits": 12},
        lambda: (GREY.astype(np.uint32) * 4095 // 255).astype(np.uint16),
    ),
    "numpy i16": ({"rule": "window", "low": -100, "high": 155}, lambda: GREY.astype(np.int16) - 100),
    "numpy i8": ({"rule": "window", "low": -128, "high": 127}, lambda: (GREY.astype(np.int16) - 128).astype(np.int8)),
    "numpy i32": ({"rule": "window", "low": 0, "high": 255000}, lambda: GREY.astype(np.int32) * 1000),
    "numpy f32": (WINDOW, lambda: KELVIN),
    "numpy f64": (WINDOW, lambda: KELVIN.astype(np.float64)),
    "numpy big-endian f32": (WINDOW, lambda: KELVIN.astype(">f4")),
    "numpy f16": (WINDOW, lambda: KELVIN.astype(np.float16)),
    "torch u8": (DTYPE_RANGE, lambda: torch.from_numpy(GREY.copy())),
    "torch u16": (DTYPE_RANGE, lambda: torch.from_numpy(GREY16.copy())),
    "torch f32 1HW": (WINDOW, lambda: torch.from_numpy(KELVIN)[None]),
    "EXIF orientation 8": (DTYPE_RANGE, lambda: oriented(np.rot90(GREY, -1).copy(), 8, "PNG")),
}

INFRARED_BAD: dict[str, tuple[str, dict[str, Any], Callable[[], Any]]] = {
    "12-bit counts without a range": ("undeclared_bits", DTYPE_RANGE, lambda: 2000 + GREY.astype(np.uint16) * 12),
    "12-bit counts as PNG": ("undeclared_bits", DTYPE_RANGE, lambda: encode(2000 + GREY.astype(np.uint16) * 12)),
    "more than the declared bits": ("bits", {"rule": "dtype_range", "bits": 12}, lambda: GREY16),
    "kelvin without a range": ("no_dtype_range", DTYPE_RANGE, lambda: encode(KELVIN, "TIFF")),
    "int32 without a range": ("no_dtype_range", DTYPE_RANGE, lambda: Image.fromarray(GREY16.astype(np.int32))),
    "int16 without a range": ("no_dtype_range", DTYPE_RANGE, lambda: GREY.astype(np.int16)),
    "NaN": ("not_finite", WINDOW, lambda: np.where(GREY > 200, np.nan, KELVIN)),
    "infinity": ("not_finite", WINDOW, lambda: np.where(GREY > 200, np.inf, KELVIN)),
    "-9999 undeclared": ("undeclared_nodata", WINDOW, lambda: np.where(GREY > 200, -9999, KELVIN)),
    "-9999 under percentiles": (
        "undeclared_nodata",
        {"rule": "percentile", "low": 50, "high": 99},
        lambda: np.where(GREY > 200, -9999, KELVIN),
    ),
    "lowest int16 undeclared": (
        "undeclared_nodata",
        {"rule": "window", "low": 0, "high": 255},
        lambda: np.where(GREY > 200, np.int16(-32768), GREY),
    ),
    "no contrast": ("no_contrast", PERCENTILE, lambda: np.full((48, 64), 7, np.uint8)),
    "colour map": ("colour_infrared", DTYPE_RANGE, lambda: SCENE),
    "false-colour palette": ("colour_infrared", DTYPE_RANGE, lambda: encode(Image.fromarray(SCENE).quantize(64))),
    "colour RGBA": ("colour_infrared", DTYPE_RANGE, lambda: alpha_scene(masked_corner(0))),
    "60 % transparent LA": (
        "mostly_nodata",
        DTYPE_RANGE,
        lambda: Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(masked_corner(29)))),
    ),
    "WhiteIsZero in 16 bits": ("white_is_zero", DTYPE_RANGE, white_is_zero),
    "bool": ("dtype", DTYPE_RANGE, lambda: GREY > 100),
    "2 channels": ("channels", DTYPE_RANGE, lambda: SCENE[..., :2]),
    "a stack of images": ("channels", DTYPE_RANGE, lambda: np.zeros((5, 48, 64), np.uint16)),
    "string": ("string_source", DTYPE_RANGE, lambda: "thermal.tif"),
    "truncated 16-bit PNG": ("damaged", DTYPE_RANGE, lambda: encode(GREY16)[:-300]),
    "strip": ("aspect_ratio", DTYPE_RANGE, lambda: np.zeros((16, 1000), np.uint16)),
}


@pytest.mark.parametrize("case", RGB_RIGHT)
def test_rgb_sources_give_the_scene(case: str) -> None:
    loaded = load_rgb(RGB_RIGHT[case]())
    assert loaded.pixels.dtype == np.uint8
    assert np.abs(loaded.pixels / 255 - SCENE / 255).mean() <= 0.02
    assert loaded.valid is None


@pytest.mark.parametrize("case", RGB_BAD)
def test_bad_rgb_is_refused_by_name(case: str) -> None:
    reason, build = RGB_BAD[case]
    source = build()
    with pytest.raises(BadImage) as caught:
        load_rgb(source, name=f"RGB image of {case}")
    assert caught.value.reason == reason
    assert f"RGB image of {case}" in str(caught.value)
    assert "got " in str(caught.value)
    assert "wanted " in str(caught.value)
    assert " object at 0x" not in str(caught.value)


@pytest.mark.parametrize("case", INFRARED_RIGHT)
def test_infrared_sources_give_the_scene(case: str) -> None:
    scaling, build = INFRARED_RIGHT[case]
    loaded = load_infrared(build(), scaling=scaling)
    assert loaded.pixels.dtype == np.float32
    assert loaded.pixels.shape == GREY.shape
    assert np.abs(loaded.pixels - GREY / 255).mean() <= (0.02 if "JPEG" in case else 2e-3)


@pytest.mark.parametrize("case", INFRARED_BAD)
def test_bad_infrared_is_refused_by_name(case: str) -> None:
    reason, scaling, build = INFRARED_BAD[case]
    source = build()
    with pytest.raises(BadImage) as caught:
        load_infrared(source, scaling=scaling, name=f"infrared image of {case}")
    assert caught.value.reason == reason
    assert f"infrared image of {case}" in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_all_eight_orientations_come_out_as_pillow_turns_them(orientation: int, image_format: str) -> None:
    from PIL import ImageOps

    content = oriented(SCENE, orientation, image_format)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(oriented(SCENE, orientation, "PNG"))))
    loaded = load_rgb(content)
    assert loaded.orientation == orientation
    assert loaded.pixels.shape == np.asarray(turned).shape
    assert np.abs(loaded.pixels.astype(int) - np.asarray(turned).astype(int)).mean() < 3


def test_a_truncated_file_is_refused_although_pillow_was_told_to_accept_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BadImage, match="truncation_allowed"):
        load_rgb(encode(SCENE, "JPEG", quality=95)[:-600])


def test_loading_leaves_warning_filters_and_bomb_guard_alone() -> None:
    import warnings

    filters, guard = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    for content in (png_header(13000, 13000), encode(SCENE)):
        try:
            load_rgb(content)
        except BadImage:
            continue
    assert warnings.filters == filters
    assert guard == Image.MAX_IMAGE_PIXELS


def test_a_lazily_opened_bomb_is_refused_before_its_pixels_are_decoded() -> None:
    image = Image.open(io.BytesIO(png_header(8000, 8000)))
    with pytest.raises(BadImage, match="decompression_bomb"):
        load_rgb(image)


def test_a_path_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "scene_17.png"
    path.write_bytes(encode(SCENE)[:-600])
    with pytest.raises(BadImage, match=r"RGB image \('scene_17.png'\) \[damaged\]"):
        load_rgb(path)


def test_the_error_survives_pickling_and_a_data_loader_worker() -> None:
    import pickle

    error = BadImage("infrared image 3", "geometry", "90 x 100", "400 x 300", "Register them.").inside("prompt 1")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.reason) == (str(error), "geometry")
    assert str(BadImage("a whole message")) == "a whole message"


def test_transparent_pixels_are_masked_and_filled_with_the_mean_of_the_others() -> None:
    loaded = load_rgb(encode(alpha_scene(masked_corner(12))))
    assert loaded.valid is not None
    assert (loaded.valid == (masked_corner(12) == 255)).all()
    assert (loaded.pixels[12:] == SCENE[12:]).all()
    assert (loaded.pixels[:12] == np.rint(SCENE[12:].reshape(-1, 3).mean(0))).all()


def test_the_transparent_palette_index_is_masked() -> None:
    content = palette_with_transparency()
    index = np.asarray(Image.open(io.BytesIO(content)))
    loaded = load_rgb(content)
    assert loaded.valid is not None
    assert (loaded.valid == (index != 0)).all()


def test_rgb_of_another_range_needs_and_uses_the_declared_range() -> None:
    reflectance = SCENE.astype(np.uint16) * 40
    assert (load_rgb(reflectance, rgb_range=(0, 10200)).pixels == SCENE).all()
    with pytest.raises(ValueError, match="low < high"):
        load_rgb(reflectance, rgb_range=(5, 5))


# Golden values of each infrared rule


@pytest.mark.parametrize(
    ("array", "scaling", "wanted"),
    [
        (np.array([0, 51, 255], np.uint8), DTYPE_RANGE, [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), DTYPE_RANGE, [0, 0.2, 1]),
        (np.array([0, 13107, 65535], ">u2"), DTYPE_RANGE, [0, 0.2, 1]),
        (np.array([0, 819, 4095], np.uint16), {"rule": "dtype_range", "bits": 12}, [0, 0.2, 1]),
        (np.array([0, 819, 4095], np.uint16), {"rule": "dtype_range", "bits": 16}, [0, 0.0124971, 0.0624857]),
        (np.array([0.0, 0.25, 1.0], np.float32), DTYPE_RANGE, [0, 0.25, 1]),
        (np.array([240.0, 290.0, 400.0], np.float32), WINDOW, [0, 0.5, 1]),
        (np.array([-50, 0, 150], np.int16), {"rule": "window", "low": -50, "high": 50}, [0, 0.5, 1]),
        (np.array([7, 17, 27], np.int32), PERCENTILE, [0, 0.5, 1]),
    ],
)
def test_golden_values(array: np.ndarray, scaling: dict[str, Any], wanted: list[float]) -> None:
    image = np.repeat(array, 16)[None].repeat(16, axis=0)
    values = load_infrared(image, scaling=scaling).pixels[0, ::16]
    assert values == pytest.approx(wanted, abs=1e-6)


def test_a_16_bit_ramp_keeps_all_its_steps() -> None:
    ramp = np.linspace(0, 65535, 256 * 64).astype(np.uint16).reshape(64, 256)
    values = load_infrared(encode(ramp), scaling=DTYPE_RANGE).pixels
    assert len(np.unique(values)) == 256 * 64
    assert values.mean() == pytest.approx(0.5, abs=1e-4)
    assert (values == 1).mean() < 1e-4


def test_percentiles_are_those_of_numpy_on_valid_pixels() -> None:
    counts = np.arange(100 * 100, dtype=np.uint16).reshape(100, 100) + 3000
    counts[0] = 0
    loaded = load_infrared(counts, scaling={"rule": "percentile", "low": 2, "high": 98}, nodata=0)
    low, high = np.percentile(counts[1:], (2, 98))
    wanted = np.clip((counts[1:] - low) / (high - low), 0, 1)
    assert loaded.pixels[1:] == pytest.approx(wanted, abs=1e-6)
    assert loaded.pixels[0] == pytest.approx(wanted.mean(), abs=1e-6)


@pytest.mark.parametrize("nodata", [-9999, "nan"])
def test_nodata_is_masked_and_filled_with_the_mean(nodata: float | str) -> None:
    image = KELVIN.copy()
    image[:10] = float(nodata)
    image[10, 0] = np.nan
    loaded = load_infrared(image, scaling=WINDOW, nodata=nodata)
    assert loaded.valid is not None
    assert loaded.valid.sum() == 38 * 64 - 1
    assert loaded.pixels[loaded.valid] == pytest.approx((KELVIN[loaded.valid] - 260) / 60, abs=1e-5)
    assert loaded.pixels[~loaded.valid] == pytest.approx(loaded.pixels[loaded.valid].mean(), abs=1e-5)


def test_more_than_half_without_data_is_refused() -> None:
    image = KELVIN.copy()
    image[:25] = -9999
    with pytest.raises(BadImage, match="mostly_nodata"):
        load_infrared(image, scaling=WINDOW, nodata=-9999)


def test_a_masked_array_keeps_its_mask() -> None:
    masked = np.ma.MaskedArray(GREY, masked_corner(6) == 0)
    loaded = load_infrared(masked, scaling=DTYPE_RANGE)
    assert loaded.valid is not None
    assert (~loaded.valid).sum() == 6 * 64


def test_the_nodata_value_inside_a_tiff_is_honoured() -> None:
    image = KELVIN.copy()
    image[:5] = -9999
    loaded = load_infrared(encode(image, "TIFF", tiffinfo={42113: "-9999"}), scaling=WINDOW)
    assert loaded.valid is not None
    assert (~loaded.valid).sum() == 5 * 64


def test_black_hot_is_inverted() -> None:
    white, black = (load_infrared(GREY, scaling=DTYPE_RANGE, polarity=kind) for kind in ("white_hot", "black_hot"))
    assert black.pixels == pytest.approx(1 - white.pixels, abs=1e-6)


def test_declared_colour_infrared_becomes_luminance() -> None:
    loaded = load_infrared(SCENE, scaling=DTYPE_RANGE, colour_infrared="luminance")
    wanted = np.rint(SCENE @ np.array([0.299, 0.587, 0.114])) / 255
    assert loaded.pixels == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"rule": "minmax"},
        {"rule": "window"},
        {"rule": "window", "low": 1},
        {"rule": "window", "low": 5, "high": 5},
        {"rule": "window", "low": 0, "high": float("nan")},
        {"rule": "percentile", "low": -1, "high": 99},
        {"rule": "percentile", "low": 1, "high": 99, "bits": 12},
        {"rule": "dtype_range", "low": 0},
        {"rule": "dtype_range", "bits": 17},
    ],
)
def test_a_wrong_rule_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="infrared"):
        Scaling.parse(declared)


# Pairs


def test_a_pair_comes_out_on_one_grid() -> None:
    pair = load_pair(encode(SCENE), encode(GREY16), scaling=DTYPE_RANGE)
    assert pair.rgb is not None
    assert pair.infrared is not None
    assert pair.rgb.size == pair.infrared.size == (64, 48)


def test_one_image_alone_is_a_pair_with_one_side_empty() -> None:
    assert load_pair(SCENE).infrared is None
    assert load_pair(infrared=GREY, scaling=DTYPE_RANGE).rgb is None
    with pytest.raises(ValueError, match="at least one"):
        load_pair()
    with pytest.raises(ValueError, match="without `scaling`"):
        load_pair(SCENE, GREY)


def test_a_pair_of_two_sizes_is_refused_by_name() -> None:
    with pytest.raises(BadImage) as caught:
        load_pair(np.zeros((300, 400, 3), np.uint8), np.zeros((100, 90), np.uint8), scaling=DTYPE_RANGE)
    assert caught.value.reason == "geometry"
    assert "infrared image [geometry]: got 90 x 100 pixels, its RGB partner is 400 x 300" in str(caught.value)


def test_a_pair_of_two_orientations_is_refused_even_when_the_sizes_agree() -> None:
    square = SCENE[:48, :48]
    with pytest.raises(BadImage, match="EXIF orientation 1, its RGB partner has 6"):
        load_pair(oriented(square, 6), encode(square[..., 1]), scaling=DTYPE_RANGE)


def test_a_pair_with_one_orientation_is_turned_together() -> None:
    turned = np.rot90(SCENE).copy()
    pair = load_pair(oriented(turned, 6), oriented(turned[..., 1].copy(), 6, "TIFF"), scaling=DTYPE_RANGE)
    assert pair.infrared is not None
    assert np.abs(pair.infrared.pixels - GREY / 255).max() < 1e-6


def test_declared_resampling_brings_infrared_to_the_rgb_grid() -> None:
    rows, columns = np.mgrid[0:24, 0:32]
    coarse = (rows * 6 + columns * 3).astype(np.uint8)
    pair = load_pair(SCENE, coarse, scaling=DTYPE_RANGE, size_mismatch="resample_infrared")
    assert pair.infrared is not None
    fine_rows, fine_columns = np.mgrid[0:48, 0:64]
    wanted = ((fine_rows / 2 - 0.25) * 6 + (fine_columns / 2 - 0.25) * 3) / 255
    assert pair.infrared.pixels[2:-2, 2:-2] == pytest.approx(wanted[2:-2, 2:-2], abs=1e-5)


def test_resampling_never_stretches_another_shape() -> None:
    with pytest.raises(BadImage, match="geometry"):
        load_pair(SCENE, np.zeros((48, 48), np.uint8), scaling=DTYPE_RANGE, size_mismatch="resample_infrared")


BOMBS = """
import io, resource, sys, time
import numpy as np
from PIL import Image
from processing import BadImage, load_rgb
from test_pair_loading import png_header

def webp():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "WEBP", lossless=True)
    content = bytearray(buffer.getvalue())
    position = content.index(b"VP8L") + 9
    content[position:position + 4] = (16382 | 16382 << 14).to_bytes(4, "little")
    return bytes(content)

sizes = [(13000, 13000), (16383, 16383), (8000, 8000), (1, 20000), (20000, 1), (16, 16000), (4000, 400), (16, 5000)]
sources = [png_header(*size) for size in sizes]
sources += [webp(), bytes(50_000_001), np.broadcast_to(np.uint8(0), (9000, 9000, 3))]
load_rgb(np.zeros((64, 64, 3), np.uint8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for source in sources:
    start = time.perf_counter()
    try:
        load_rgb(source)
    except BadImage as error:
        print(error.reason, round(time.perf_counter() - start, 3))
    else:
        print("decoded", 99)
print("MEGABYTES", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_bombs_cost_less_than_a_second_and_300_megabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOMBS],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
    )
    *cases, memory = done.stdout.strip().splitlines()
    assert len(cases) == 11
    assert all(float(case.split()[1]) <= 1.0 for case in cases), "\n".join(cases)
    assert float(memory.split()[1]) <= 300
