"""What is an image, and the name of what is wrong with bytes that are not."""

import hashlib
import io
import random
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from dataset_scripts.stages.decode_check import (
    REASONS,
    CheckedImage,
    DecodeLimits,
    RefusedImageError,
    check_images,
    decode_image,
)


def noise(width: int = 64, height: int = 48, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values[:, :, 0] if channels == 1 else values)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, and whose pixels are one byte of zeros."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def reason(data: bytes, limits: DecodeLimits | None = None) -> str | None:
    kept, rejects = check_images([data], limits or DecodeLimits())
    assert len(kept) + len(rejects) == 1
    return rejects[0].reason if rejects else None


JPEG = encoded(noise(), "JPEG")
PNG = encoded(noise(), "PNG")


@pytest.mark.parametrize(
    ("image", "kind", "name"),
    [
        (noise(), "JPEG", "JPEG"),
        (noise(), "PNG", "PNG"),
        (noise(), "TIFF", "TIFF"),
        (noise(), "WEBP", "WEBP"),
        (noise(channels=1), "JPEG", "JPEG"),
        (noise(channels=4), "PNG", "PNG"),
        (Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)), "PNG", "PNG"),
        (Image.fromarray(np.arange(48 * 64, dtype=np.float32).reshape(48, 64)), "TIFF", "TIFF"),
        (noise().convert("CMYK"), "JPEG", "JPEG"),
        (noise().convert("P"), "PNG", "PNG"),
    ],
)
def test_a_good_image_gives_its_size_mode_format_and_hash(image: Image.Image, kind: str, name: str) -> None:
    data = encoded(image, kind)
    kept, rejects = check_images([data])
    assert rejects == []
    assert kept == [CheckedImage(0, name, image.mode, 64, 48, hashlib.sha256(data).hexdigest())]


def test_a_progressive_jpeg_and_a_jpeg_of_several_pictures_are_jpeg() -> None:
    progressive = encoded(noise(), "JPEG", progressive=True)
    several = encoded(noise(), "MPO", save_all=True, append_images=[noise()])
    kept, rejects = check_images([progressive, several])
    assert (rejects, [fact.format for fact in kept]) == ([], ["JPEG", "JPEG"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(b"\0", "not_an_image", id="one byte"),
        pytest.param(b"\0" * 5000, "not_an_image", id="zeros"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "not_an_image", id="html"),
        pytest.param(b'{"error": "gone"}', "not_an_image", id="json"),
        pytest.param(b"%PDF-1.7 ...", "not_an_image", id="pdf"),
        pytest.param(b"PK\x03\x04" + b"\0" * 100, "not_an_image", id="zip"),
        pytest.param(random.Random(0).randbytes(4096), "not_an_image", id="random bytes"),
        pytest.param(encoded(noise(), "GIF"), "format_not_allowed", id="gif"),
        pytest.param(encoded(noise(), "BMP"), "format_not_allowed", id="bmp"),
        pytest.param(encoded(noise(), "ICO"), "format_not_allowed", id="ico"),
        pytest.param(encoded(noise(), "PPM"), "format_not_allowed", id="ppm"),
        pytest.param(encoded(noise(), "EPS"), "format_not_allowed", id="eps"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format_not_allowed", id="svg"),
        pytest.param(b"8BPS" + b"\0" * 50, "format_not_allowed", id="psd"),
        pytest.param(b"\0\0\0\x20ftypavif" + b"\0" * 50, "format_not_allowed", id="avif"),
        pytest.param(b"\0\0\0\x20ftypheic" + b"\0" * 50, "format_not_allowed", id="heic"),
        pytest.param(JPEG[: len(JPEG) // 2], "truncated", id="half a jpeg"),
        pytest.param(JPEG[:30], "truncated", id="jpeg header"),
        pytest.param(JPEG[:3], "truncated", id="jpeg signature"),
        pytest.param(PNG[: len(PNG) // 2], "truncated", id="half a png"),
        pytest.param(PNG[:8], "truncated", id="png signature"),
        pytest.param(PNG[:200] + b"\0" * 64 + PNG[264:], "truncated", id="png with zeros inside"),
        pytest.param(encoded(noise(), "TIFF")[:-3000], "truncated", id="cut tiff"),
        pytest.param(encoded(noise(), "TIFF")[:8], "truncated", id="tiff signature"),
        pytest.param(encoded(noise(), "WEBP")[:-500], "truncated", id="cut webp"),
        pytest.param(png_of_size(64, 64), "truncated", id="png without its pixels"),
        pytest.param(png_of_size(30_000, 30_000), "bomb", id="900 megapixels"),
        pytest.param(png_of_size(12_000, 12_000), "bomb", id="144 megapixels"),
        pytest.param(png_of_size(9_000, 9_000), "bomb", id="81 megapixels"),
        pytest.param(encoded(noise(15, 40), "PNG"), "too_small", id="15 pixels wide"),
        pytest.param(encoded(noise(1, 1), "PNG"), "too_small", id="tracking pixel"),
        pytest.param(png_of_size(1, 20_000), "too_small", id="strip of one pixel"),
        pytest.param(encoded(noise(16, 129), "PNG"), "aspect", id="129 to 16"),
        pytest.param(encoded(noise(129, 16), "PNG"), "aspect", id="16 to 129"),
    ],
)
@pytest.mark.parametrize("warnings_are", ["error", "ignore"])
def test_bad_bytes_are_refused_by_name(data: bytes, expected: str, warnings_are: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(warnings_are)  # type: ignore[arg-type]
        assert reason(data) == expected


def test_limits_are_inclusive_and_configurable() -> None:
    assert reason(encoded(noise(16, 128), "PNG")) is None
    assert reason(encoded(noise(16, 128), "PNG"), DecodeLimits(min_side_pixels=17)) == "too_small"
    assert reason(encoded(noise(16, 32), "PNG"), DecodeLimits(max_aspect=1.9)) == "aspect"
    assert reason(PNG, DecodeLimits(max_megapixels=64 * 48 / 1e6)) is None
    assert reason(PNG, DecodeLimits(max_megapixels=(64 * 48 - 1) / 1e6)) == "bomb"
    assert reason(PNG, DecodeLimits(formats=("JPEG",))) == "format_not_allowed"
    assert reason(encoded(noise(), "GIF"), DecodeLimits(formats=("GIF",))) is None
    with pytest.raises(ValueError, match="accepts no image"):
        DecodeLimits(max_aspect=0.5)


def test_pillows_guard_stays_on_even_where_the_own_limit_is_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert reason(png_of_size(10_000, 9_000), DecodeLimits(max_megapixels=1000)) == "bomb"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reason(PNG) == "bomb"


def test_a_jpeg_of_very_many_scans_is_a_bomb() -> None:
    progressive = encoded(noise(), "JPEG", progressive=True)
    limits = DecodeLimits(max_megapixels=64 * 48 / 1e6)
    assert reason(progressive, limits) is None
    assert reason(progressive[:-2] + b"\xff\xda" * 16 + progressive[-2:], limits) == "bomb"


def test_a_png_text_that_unpacks_to_gigabytes_is_a_bomb() -> None:
    body = b"comment\0\0" + zlib.compress(b"\0" * 20_000_000)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    assert reason(PNG[:33] + chunk + PNG[33:]) == "bomb"


def test_a_batch_keeps_every_row_once_and_names_reasons_of_the_list() -> None:
    batch = [PNG, b"", JPEG, b"x", JPEG[:-900]]
    kept, rejects = check_images(batch)
    assert [fact.row for fact in kept] == [0, 2]
    assert [(reject.row, reject.reason) for reject in rejects] == [(1, "empty"), (3, "not_an_image"), (4, "truncated")]
    assert "truncated" in rejects[2].detail
    assert {reject.reason for reject in rejects} <= set(REASONS)


def test_a_refusal_says_what_was_seen() -> None:
    with pytest.raises(RefusedImageError, match=r"^too_small: 15x40; the shorter side must be 16$"):
        decode_image(encoded(noise(15, 40), "PNG"))


def test_a_process_that_lets_cut_images_through_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        check_images([JPEG])


def test_damaged_bytes_never_raise_anything_else_and_never_take_long() -> None:
    generator = random.Random(0)
    originals = [encoded(noise(), kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP")]
    originals.append(encoded(noise(), "TIFF", compression="tiff_lzw"))
    slowest, refused = 0.0, 0
    for number in range(2000):
        data = bytearray(originals[number % len(originals)])
        for _ in range(generator.randint(1, 20)):
            data[generator.randrange(min(len(data), generator.choice((64, 400, len(data)))))] = generator.randrange(256)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refused += reason(bytes(data)) is not None
        slowest = max(slowest, time.process_time() - start)
    assert 500 < refused < 2000
    assert slowest < 2.0
