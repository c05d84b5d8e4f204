"""What may be an RGB image, what may be its infrared partner, and what is kept of both."""

import hashlib
import io

import numpy as np
import pytest
from build_faults import HEIGHT, WIDTH, encoded, picture, tiff
from PIL import Image, ImageOps

from dataset_scripts.stages import infrared_check, rgb_check
from dataset_scripts.stages.decode_check import DEFAULT_LIMITS, decode_image
from dataset_scripts.stages.image_facts import infrared_facts, rgb_facts, upright
from dataset_scripts.stages.infrared_check import check_infrared
from dataset_scripts.stages.perceptual_hash import perceptual_hashes
from dataset_scripts.stages.rejects import RefusedError
from dataset_scripts.stages.rgb_check import check_rgb

SIZE = (WIDTH, HEIGHT)
RGB = Image.fromarray(picture(0))
GREY = RGB.convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 200 + 3)


def rgb_reason(image: Image.Image, channel_bits: int = 8) -> tuple[str, str] | None:
    try:
        check_rgb(image, channel_bits=channel_bits)
    except RefusedError as refusal:
        return _known(refusal, rgb_check.REASONS)
    return None


def infrared_reason(image: Image.Image, channel_bits: int = 8, size: tuple[int, int] = SIZE) -> tuple[str, str] | None:
    try:
        check_infrared(b"", image, channel_bits=channel_bits, rgb_size=size)
    except RefusedError as refusal:
        return _known(refusal, infrared_check.REASONS)
    return None


def _known(refusal: RefusedError, reasons: tuple[str, ...]) -> tuple[str, str]:
    assert refusal.reason in reasons
    return refusal.reason, refusal.detail


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBA", "LA", "PA"])
def test_eight_bit_photographs_of_every_mode_pass(mode: str) -> None:
    image = Image.merge("LAB", RGB.split()) if mode == "LAB" else RGB.convert("P" if mode == "PA" else mode)
    image = image.convert(mode)
    assert image.mode == mode
    assert rgb_reason(image) is None


@pytest.mark.parametrize("mode", ["1", "I", "F", "I;16"])
def test_other_depths_are_refused_by_their_mode(mode: str) -> None:
    assert rgb_reason(DEEP if mode == "I;16" else GREY.convert(mode)) == ("not_8_bit", f"mode {mode}")


def test_sixteen_bits_that_pillow_cut_to_eight_are_refused() -> None:
    detail = "16 bits a channel; write 8, by a range that you choose"
    assert rgb_reason(RGB, channel_bits=16) == ("not_8_bit", detail)
    assert rgb_reason(RGB.convert("RGBA"), channel_bits=16) == ("not_8_bit", detail)


def test_one_pixel_that_is_not_opaque_is_enough() -> None:
    image = RGB.convert("RGBA")
    assert rgb_reason(image) is None
    image.putpixel((5, 7), (*image.getpixel((5, 7))[:3], 254))
    assert rgb_reason(image) == ("transparent", "mode RGBA with pixels that are not opaque")
    keyed = decode_image(encoded(RGB, transparency=RGB.getpixel((0, 0))))
    assert keyed.mode == "RGB"
    assert rgb_reason(keyed) == ("transparent", "mode RGB with pixels that are not opaque")
    absent = next(
        colour for colour in [(0, 0, 1), (0, 0, 2)] if colour not in set(map(tuple, np.asarray(RGB).reshape(-1, 3)))
    )
    assert rgb_reason(decode_image(encoded(RGB, transparency=absent))) is None


def test_a_tiff_of_four_bands_is_no_photograph_even_if_the_fourth_is_opaque() -> None:
    image = decode_image(encoded(RGB.convert("RGBA"), "TIFF"))
    assert rgb_reason(image) == (
        "four_bands",
        "a TIFF of four bands; give red, green and blue in a file of their own",
    )


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (Image.new("RGB", SIZE, (1, 2, 3)), "(1, 2, 3)"),
        (Image.new("L", SIZE, 255), "(255,)"),
        (Image.new("CMYK", SIZE, (0, 0, 0, 9)), "(0, 0, 0, 9)"),
        (Image.new("RGB", SIZE, (4, 5, 6)).quantize(4), "(4, 5, 6)"),
    ],
)
def test_one_colour_is_blank_and_one_pixel_more_is_not(image: Image.Image, shown: str) -> None:
    assert rgb_reason(image) == ("blank", f"every pixel is {shown}")
    other = image.convert("RGB")
    other.putpixel((0, 0), (200, 100, 0))
    assert rgb_reason(other) is None


def test_a_palette_of_two_entries_of_one_colour_is_blank() -> None:
    image = Image.new("P", SIZE)
    image.putpalette([9, 9, 9, 9, 9, 9])
    image.putpixel((0, 0), 1)
    assert rgb_reason(image) == ("blank", "every pixel is (9, 9, 9)")


@pytest.mark.parametrize("image", [GREY, DEEP], ids=["8", "16"])
def test_one_channel_of_8_or_16_bits_keeps_its_bytes(image: Image.Image) -> None:
    data, kept = check_infrared(b"as it came", image, channel_bits=16, rgb_size=SIZE)
    assert data == b"as it came"
    assert kept is image


@pytest.mark.parametrize("image", [Image.merge("RGB", [GREY] * 3), GREY.convert("P")], ids=["RGB", "P"])
def test_three_equal_channels_become_one_without_loss(image: Image.Image) -> None:
    data, kept = check_infrared(b"as it came", image, channel_bits=8, rgb_size=SIZE)
    assert kept.mode == "L"
    written = Image.open(io.BytesIO(data))
    assert (written.format, written.mode) == ("PNG", "L")
    assert np.array_equal(np.asarray(written), np.asarray(GREY))


def test_infrared_is_refused_by_name() -> None:
    almost = np.asarray(Image.merge("RGB", [GREY] * 3)).copy()
    almost[3, 4, 2] ^= 1
    colours = ("infrared_not_grey", "its three channels differ: a colour map, or not infrared")
    assert infrared_reason(Image.fromarray(almost)) == colours
    assert infrared_reason(RGB) == colours
    assert infrared_reason(RGB.quantize(16)) == colours
    for mode in ("CMYK", "LA", "RGBA", "YCbCr", "HSV"):
        assert infrared_reason(RGB.convert(mode)) == ("infrared_not_grey", f"mode {mode}")
    for mode in ("1", "I", "F"):
        refused = ("infrared_depth", f"mode {mode}; write it as 8 or 16 bit, by a range that you choose")
        assert infrared_reason(GREY.convert(mode)) == refused
    deep = ("infrared_depth", "three channels of 16 bits; write one of them")
    assert infrared_reason(Image.merge("RGB", [GREY] * 3), channel_bits=16) == deep
    assert infrared_reason(Image.new("L", SIZE, 7)) == ("infrared_blank", "every pixel is 7")
    assert infrared_reason(Image.new("I;16", SIZE, 700)) == ("infrared_blank", "every pixel is 700")
    assert infrared_reason(Image.new("RGB", SIZE, (7, 7, 7))) == ("infrared_blank", "every pixel is 7")
    wanted = ("geometry_differs", f"infrared is {WIDTH}x{HEIGHT}, RGB is {HEIGHT}x{WIDTH}")
    assert infrared_reason(GREY, size=(HEIGHT, WIDTH)) == wanted


def test_facts_of_an_rgb_image_are_those_of_its_bytes() -> None:
    data = encoded(RGB, "JPEG", quality=90)
    facts = rgb_facts(data, DEFAULT_LIMITS)
    assert facts == {
        "image": data,
        "image_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": WIDTH,
        "height": HEIGHT,
        "perceptual_hash": int(perceptual_hashes([Image.open(io.BytesIO(data))])[0]),
    }


def test_position_and_camera_are_gone_and_the_orientation_stays() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "CAMERA 4711"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    lying = encoded(RGB.rotate(90, expand=True), "JPEG", exif=exif, quality=95)
    facts = rgb_facts(lying, DEFAULT_LIMITS)
    assert (facts["width"], facts["height"]) == SIZE
    assert b"CAMERA" in lying
    assert b"CAMERA" not in facts["image"]
    kept = Image.open(io.BytesIO(facts["image"]))
    assert dict(kept.getexif()) == {0x0112: 6}
    shown = np.asarray(ImageOps.exif_transpose(kept), dtype=float)
    assert np.abs(shown - np.asarray(RGB)).mean() < 3
    standing = rgb_facts(encoded(RGB, "JPEG", quality=95), DEFAULT_LIMITS)
    assert bin(standing["perceptual_hash"] ^ facts["perceptual_hash"]).count("1") <= 4
    assert facts["sha256"] != hashlib.sha256(lying).hexdigest()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_upright_is_what_readers_see_and_knows_its_format(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encoded(RGB, "PNG", exif=exif))
    turned = upright(image)
    assert turned.format == "PNG"
    assert np.array_equal(np.asarray(turned), np.asarray(ImageOps.exif_transpose(image)))
    assert not np.array_equal(np.asarray(turned), np.asarray(image))
    assert upright(turned) is turned


@pytest.mark.parametrize("orientation", [0, 1, 9, 255])
def test_an_orientation_that_means_nothing_changes_no_pixel(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(upright(decode_image(encoded(RGB, exif=exif)))), np.asarray(RGB))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_cannot_be_read_is_a_reason_and_no_crash(kind: str) -> None:
    broken = b"Exif\0\0this is no directory"
    with pytest.raises(RefusedError, match="metadata_not_removable: SyntaxError: not a TIFF file"):
        rgb_facts(encoded(RGB, kind, exif=broken), DEFAULT_LIMITS)
    with pytest.raises(RefusedError, match="infrared_metadata_not_removable: SyntaxError: not a TIFF file"):
        infrared_facts(encoded(GREY, kind, exif=broken), DEFAULT_LIMITS, rgb_size=SIZE)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_exif_ends_in_facts_or_in_a_refusal() -> None:
    random = np.random.default_rng(5)
    ends = {"kept": 0, "refused": 0}
    for number in range(300):
        block = bytearray(b"II*\0\x08\0\0\0" + random.bytes(int(random.integers(2, 90))))
        block[8:10] = bytes((int(random.integers(1, 6)), 0))
        if number % 2:  # an orientation first, so that the image is turned and its EXIF written anew
            block[10:22] = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
        data = encoded(RGB, ("PNG", "WEBP", "JPEG")[number % 3], exif=b"Exif\0\0" + bytes(block))
        try:
            facts = rgb_facts(data, DEFAULT_LIMITS)
        except RefusedError:
            ends["refused"] += 1
        else:
            ends["kept"] += 1
            assert {facts["width"], facts["height"]} == set(SIZE)
    assert ends["kept"] > 100


def test_a_dark_sixteen_bit_rgb_image_does_not_come_out_black() -> None:
    deep = np.asarray(picture(3)).astype(np.uint16) * 16  # 12 bits
    assert np.asarray(decode_image(tiff(deep))).max() < 16
    with pytest.raises(RefusedError, match="not_8_bit: 16 bits a channel"):
        rgb_facts(tiff(deep), DEFAULT_LIMITS)
    grey = np.dstack([deep[..., 0]] * 3)
    with pytest.raises(RefusedError, match="infrared_depth: three channels of 16 bits"):
        infrared_facts(tiff(grey), DEFAULT_LIMITS, rgb_size=SIZE)
    assert rgb_facts(tiff(picture(3)), DEFAULT_LIMITS)["width"] == WIDTH


def test_facts_of_infrared_keep_sixteen_bits_and_their_bytes() -> None:
    for kind in ("PNG", "TIFF"):
        data = encoded(DEEP, kind)
        facts = infrared_facts(data, DEFAULT_LIMITS, rgb_size=SIZE)
        kept = Image.open(io.BytesIO(facts["infrared"]))
        assert np.array_equal(np.asarray(kept), np.asarray(DEEP))
        assert facts["infrared_bytes"] == len(facts["infrared"])
        assert facts["infrared_sha256"] == hashlib.sha256(facts["infrared"]).hexdigest()
        assert facts["infrared_hash"] == int(perceptual_hashes([DEEP])[0])


def test_reasons_of_the_decoder_are_told_apart_for_infrared() -> None:
    for data, reason in ((b"", "empty"), (b"<html>", "not_an_image"), (encoded(GREY)[:-30], "truncated")):
        with pytest.raises(RefusedError, match=f"^{reason}:"):
            rgb_facts(data, DEFAULT_LIMITS)
        with pytest.raises(RefusedError, match=f"^infrared_{reason}:"):
            infrared_facts(data, DEFAULT_LIMITS, rgb_size=SIZE)
