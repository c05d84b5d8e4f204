"""Bad input through the real build: every file has its named reason or comes out with the right pixels."""

import io
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_faults import HEIGHT, WIDTH, encoded, picture, read_manifest, require_balanced, tiff, written_rows
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dataset_scripts.__main__ import main
from dataset_scripts.build_fusionrs import FusionRSConfig, TranslatorConfig, build_fusionrs
from dataset_scripts.build_run import EmptyBuildError
from dataset_scripts.engine import EngineConfig
from dataset_scripts.source_options import SourceOptions

Pixels = NDArray[Any]
# Mean absolute error of grey levels that JPEG may cost; a black or shifted image is tens of levels away.
_MAX_ERROR = 4.0


@dataclass
class Case:
    """One row of the folder."""

    name: str
    """Name of its file; the row says this."""
    data: bytes | None = None
    """Bytes of the file; None where there is no file of this name."""
    reason: str | None = None
    """Why it is left out; None where it is kept."""
    rgb: Pixels | None = None
    """The pixels that must come out."""
    infrared_name: str | None = None
    infrared_data: bytes | None = None
    infrared: Pixels | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    line: bytes | None = None
    """The line of metadata.jsonl, where it is not made of the other fields."""


def turned(pixels: Pixels, kind: str, **options: Any) -> bytes:
    """A file whose orientation tag says that it lies on its side; shown upright it is `pixels`."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(np.ascontiguousarray(np.rot90(pixels)), kind, exif=exif, **options)


def rgb_cases() -> list[Case]:
    one = [picture(number) for number in range(100)]
    images = [Image.fromarray(pixels) for pixels in one]
    jpeg = encoded(images[0], "JPEG")
    png = encoded(images[1])
    deep = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    alpha = images[2].convert("RGBA")
    alpha.putpixel((3, 3), (1, 2, 3, 0))
    nir = np.dstack([one[3], one[4][..., :1]])
    quantized = images[5].quantize(200)
    grey = np.asarray(images[6].convert("L"))
    cmyk = images[7].convert("CMYK")
    bad = [
        ("cut.jpg", jpeg[: len(jpeg) // 2], "truncated"),
        ("cut.png", png[:-40], "truncated"),
        ("only_a_header.jpg", jpeg[:24], "truncated"),
        ("zero_bytes.jpg", b"", "empty"),
        ("web_page.jpg", b"<!DOCTYPE html><title>404</title>", "not_an_image"),
        ("random_bytes.png", bytes(range(256)) * 3, "not_an_image"),
        ("bomb.png", encoded(Image.new("1", (20000, 20000))), "bomb"),
        ("strip.png", encoded(picture(8, 20, 200)), "aspect"),
        ("small.png", encoded(picture(9, 15, 20)), "too_small"),
        ("one_bit.png", encoded(images[10].convert("1")), "not_8_bit"),
        ("sixteen_bit_grey.png", encoded(deep[..., 0]), "not_8_bit"),
        ("sixteen_bit_rgb.png", _png_of_16_bits(deep), "not_8_bit"),
        ("sixteen_bit_rgb.tif", tiff(deep), "not_8_bit"),
        ("float.tif", encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"), "not_8_bit"),
        ("near_infrared_as_alpha.tif", encoded(Image.fromarray(nir), "TIFF"), "four_bands"),
        ("transparent.png", encoded(alpha), "transparent"),
        ("transparent_palette.png", encoded(quantized, transparency=3), "transparent"),
        ("animated.gif", encoded(images[11], "GIF", save_all=True, append_images=images[12:14]), "format_not_allowed"),
        ("bitmap.bmp", encoded(images[14], "BMP"), "format_not_allowed"),
        ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "format_not_allowed"),
        ("blank.png", encoded(np.full((HEIGHT, WIDTH, 3), 7, np.uint8)), "blank"),
        ("black.jpg", encoded(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "JPEG"), "blank"),
        ("broken_exif.png", encoded(images[15], exif=b"Exif\0\0not a directory"), "metadata_not_removable"),
        ("broken_exif.webp", encoded(images[16], "WEBP", exif=b"Exif\0\0MM"), "metadata_not_removable"),
    ]
    good = [
        ("plain.jpg", encoded(images[20], "JPEG", quality=95), one[20]),
        ("plain.png", encoded(images[21]), one[21]),
        ("plain.webp", encoded(images[22], "WEBP", lossless=True), one[22]),
        ("plain.tif", encoded(images[23], "TIFF"), one[23]),
        ("progressive.jpg", encoded(images[24], "JPEG", progressive=True, quality=95), one[24]),
        ("unspecified_fourth_band.tif", tiff(nir, extra_samples=[0]), one[3]),
        ("opaque.png", encoded(images[25].convert("RGBA")), one[25]),
        ("inks.jpg", encoded(cmyk, "JPEG", quality=95), np.asarray(cmyk.convert("RGB"))),
        ("palette.png", encoded(quantized), np.asarray(quantized.convert("RGB"))),
        ("grey.jpg", encoded(grey, "JPEG", quality=95), np.dstack([grey] * 3)),
        ("really_a_jpeg.png", encoded(images[26], "JPEG", quality=95), one[26]),
        ("turned.jpg", turned(one[27], "JPEG", quality=95), one[27]),
        ("turned.png", turned(one[28], "PNG"), one[28]),
        ("unreadable_exif.jpg", encoded(images[29], "JPEG", quality=95, exif=b"Exif\0\0not a directory"), one[29]),
        ("two_pages.tif", encoded(images[30], "TIFF", save_all=True, append_images=[images[31]]), one[30]),
        ("moving.webp", encoded(images[32], "WEBP", save_all=True, append_images=[images[33]], lossless=True), one[32]),
        ("moving.png", encoded(images[34], save_all=True, append_images=[images[35]]), one[34]),
        ("name with spaces.png", encoded(images[36]), one[36]),
        ("-rf.png", encoded(images[37]), one[37]),
        ("two\nlines.png", encoded(images[38]), one[38]),
        ("caf\u00e9.png", encoded(images[39]), one[39]),
        ("cafe\u0301.png", encoded(images[40]), one[40]),
        ("n" * 250 + ".png", encoded(images[41]), one[41]),
        ("quote'\"`$(touch x).png", encoded(images[42]), one[42]),
    ]
    return [
        *(Case(name, data, reason) for name, data, reason in bad),
        *(Case(name, data, rgb=pixels) for name, data, pixels in good),
    ]


def infrared_cases() -> list[Case]:
    grey = [np.asarray(Image.fromarray(picture(200 + number)).convert("L")) for number in range(30)]
    colours = picture(300)
    deep = grey[0].astype(np.uint16) * 37 + 5
    kelvin = grey[1].astype(np.float32) / 5 + 270
    missing = kelvin.copy()
    missing[3, 4] = np.nan
    png = encoded(grey[2])
    bad = [
        ("colour_map.png", encoded(colours), "infrared_not_grey"),
        ("inks.jpg", encoded(Image.fromarray(colours).convert("CMYK"), "JPEG"), "infrared_not_grey"),
        ("with_alpha.png", encoded(Image.fromarray(grey[3]).convert("LA")), "infrared_not_grey"),
        ("kelvin.tif", encoded(Image.fromarray(kelvin), "TIFF"), "infrared_depth"),
        ("not_a_number.tif", encoded(Image.fromarray(missing), "TIFF"), "infrared_depth"),
        ("signed.tif", tiff((deep.astype(np.int16) - 900)[..., None], photometric=1), "infrared_depth"),
        ("one_bit.png", encoded(Image.fromarray(grey[4]).convert("1")), "infrared_depth"),
        ("three_deep.png", _png_of_16_bits(np.dstack([deep] * 3)), "infrared_depth"),
        ("blank.png", encoded(np.full_like(grey[0], 9)), "infrared_blank"),
        ("blank_deep.png", encoded(np.full_like(deep, 900)), "infrared_blank"),
        ("smaller.png", encoded(grey[5][:-1]), "geometry_differs"),
        ("turned.png", turned(grey[6][:, :HEIGHT], "PNG"), "geometry_differs"),
        ("cut.png", png[:-40], "infrared_truncated"),
        ("zero_bytes.png", b"", "infrared_empty"),
        ("web_page.png", b"<!DOCTYPE html>", "infrared_not_an_image"),
        ("animated.gif", encoded(grey[7], "GIF"), "infrared_format_not_allowed"),
        ("broken_exif.png", encoded(grey[8], exif=b"Exif\0\0not a directory"), "infrared_metadata_not_removable"),
        ("absent.png", None, "missing_infrared"),
        ("../outside.png", None, "outside_source_folder"),
    ]
    good = [
        ("grey.png", encoded(grey[10]), grey[10]),
        ("grey.jpg", encoded(grey[11], "JPEG", quality=95), grey[11]),
        ("deep.png", encoded(deep), deep),
        ("deep.tif", encoded(Image.fromarray(deep + 1), "TIFF"), deep + 1),
        ("three_equal.png", encoded(np.dstack([grey[12]] * 3)), grey[12]),
        ("palette.png", encoded(Image.fromarray(grey[13]).convert("P")), grey[13]),
        ("turned_too.png", turned(grey[14], "PNG"), grey[14]),
    ]
    cases = []
    for number, (name, data, reason) in enumerate(bad):
        rgb = encoded(picture(400 + number))
        cases.append(Case(f"rgb_{name}.png".replace("/", "_"), rgb, reason, None, f"infrared/{name}", data))
    for number, (name, data, infrared) in enumerate(good):
        rgb = picture(500 + number)
        case = Case(f"rgb_{name}.png", encoded(rgb), None, rgb, f"infrared/{name}", data, infrared)
        cases.append(case)
    cases[len(bad) - 1].infrared_name = "../outside.png"
    # Both partners lie on their side, and stand upright together.
    rgb = picture(520)
    cases[-1].data, cases[-1].rgb = turned(rgb, "PNG"), rgb
    return cases


def text_cases() -> list[Case]:
    """Rows that are bad in what is said of them; their images are good, and differ."""
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("number_for_a_caption", {"caption": 5}, "malformed_row"),
        ("null_in_captions", {"captions": ["a", None]}, "malformed_row"),
        ("object_for_a_caption", {"caption": {"en": "a"}}, "malformed_row"),
        ("text_for_a_latitude", {"latitude": "north"}, "malformed_row"),
        ("latitude_of_91", {"latitude": 91.0, "longitude": 0.0}, "malformed_row"),
        ("unknown_split", {"split": "dev"}, "malformed_row"),
        ("licence_in_words", {"license": "free for all"}, "malformed_row"),
        ("number_for_infrared", {"infrared_file_name": 7}, "malformed_row"),
        ("empty_caption", {"caption": ""}, "no_caption"),
        ("caption_of_controls", {"caption": "\u0000\u200f \ufeff\n"}, "no_caption"),
        ("no_caption", {"caption": None}, "no_caption"),
    ]
    cases = [
        Case(f"{name}.png", encoded(picture(600 + number)), reason, None, fields=fields)
        for number, (name, fields, reason) in enumerate(wrong)
    ]
    kept: list[tuple[str, dict[str, Any]]] = [
        ("controls_inside", {"caption": "a\u0000 river\u202e\tnear\r\na road"}),
        ("a_million_letters", {"caption": "a river and a road, " * 50_000}),
        ("one_long_word", {"caption": "z" * 200_000}),
        ("markup", {"caption": "--- | <script>alert(1)</script> {{ x }} !!python/object:os.system"}),
        ("three_scripts", {"caption": "\u6cb3 \u0631\u0648\u062f \U0001f6f0 a river"}),
        ("decomposed", {"caption": "cafe\u0301 near a river"}),
    ]
    for number, (name, fields) in enumerate(kept):
        pixels = picture(620 + number)
        cases.append(Case(f"{name}.png", encoded(pixels), None, pixels, fields=fields))
    lines = [
        ("cut_line", b'{"file_name": "x.png", "capt'),
        ("list_for_an_object", b'["x.png", "a river"]'),
        ("not_utf8", b'{"file_name": "x.png", "caption": "caf\xe9"}'),
        ("not_a_number", b'{"file_name": "x.png", "caption": "a", "latitude": NaN}'),
        ("deep_nest", b'{"file_name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("no_file_name", b'{"caption": "a river"}'),
        ("number_for_a_file_name", b'{"file_name": 3, "caption": "a river"}'),
    ]
    return [*cases, *(Case(name, None, "malformed_row", line=line) for name, line in lines)]


def name_cases(folder: Path) -> list[Case]:
    """Rows whose file is not what its name says; makes what they name."""
    outside = folder.parent / "outside.png"
    outside.write_bytes(encoded(picture(700)))
    (folder / "link_out.png").symlink_to(outside)
    (folder / "link_to_nothing.png").symlink_to("nowhere")
    (folder / "link_to_itself.png").symlink_to("link_to_itself.png")
    (folder / "hidden").mkdir()
    pixels = picture(701)
    (folder / "hidden" / "target.dat").write_bytes(encoded(pixels))
    (folder / "link_inside.png").symlink_to(folder / "hidden" / "target.dat")
    (folder / "a_folder.jpg").mkdir()
    os.mkfifo(folder / "a_pipe.png")
    return [
        Case("link_out.png", reason="outside_source_folder"),
        Case("../outside.png", reason="outside_source_folder"),
        Case(str(outside), reason="outside_source_folder"),
        Case("C:\\images\\x.png", reason="outside_source_folder"),
        Case("link_to_nothing.png", reason="missing_image"),
        Case("link_to_itself.png", reason="unreadable_image"),
        Case("absent.png", reason="missing_image"),
        Case("a_folder.jpg", reason="missing_image"),
        Case("a_pipe.png", reason="missing_image"),
        Case("y" * 300 + ".png", reason="missing_image"),
        Case("nul\0.png", reason="missing_image"),
        Case("\ud800.png", reason="missing_image"),
        Case("plain.png", reason="duplicate_id"),
        Case("link_inside.png", rgb=pixels),
    ]


def _png_of_16_bits(pixels: NDArray[np.uint16]) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@dataclass
class Built:
    """The built dataset, and what went in."""

    cases: list[Case]
    manifest: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    reasons: dict[int, str]
    """By line of the metadata, from 0."""
    left_over: list[str]
    output: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("bad")
    folder = root / "images"
    (folder / "infrared").mkdir(parents=True)
    cases = [*rgb_cases(), *infrared_cases(), *text_cases(), *name_cases(folder)]
    for case in cases:
        if case.data is not None:
            (folder / case.name).write_bytes(case.data)
        if case.infrared_name is not None and case.infrared_data is not None:
            (folder / case.infrared_name).write_bytes(case.infrared_data)
    (folder / "not_listed.png").write_bytes(encoded(picture(702)))
    lines = [case.line if case.line is not None else json.dumps(_line(case, number)).encode()
             for number, case in enumerate(cases)]  # fmt: skip
    # Empty lines are no rows.
    (folder / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(lines))
    config = FusionRSConfig(
        source=(f"folder:{folder}",),
        sources=SourceOptions(infrared_band="thermal", license="CC-BY-4.0"),
        translator=TranslatorConfig(name="luminance"),
        output=root / "fusionrs",
        rows_per_part=1,
        engine=EngineConfig(workers=1),
    )
    build_fusionrs(config)
    reasons, left_over = _reasons(root / "fusionrs.work" / "journal.jsonl")
    rows = {row["source_id"]: row for row in written_rows(config.output)}
    return Built(cases, read_manifest(config.output), rows, reasons, left_over, config.output)


def _line(case: Case, number: int) -> dict[str, Any]:
    infrared = {} if case.infrared_name is None else {"infrared_file_name": case.infrared_name}
    return {"file_name": case.name, "caption": f"a river near the road number {number}", **infrared, **case.fields}


def _reasons(journal: Path) -> tuple[dict[int, str], list[str]]:
    """The reason of every row that was left out: a part holds one row, and the journal has a line for every part."""
    reasons: dict[int, str] = {}
    left_over = []
    for text in journal.read_text().splitlines():
        record = json.loads(text.partition(" ")[2])
        if record["step"] != "read":
            continue
        (reason,) = record["facts"]["rejected"] or [None]
        if "left-over" in record["shard"]:
            left_over.append(reason)
        elif reason is not None:
            reasons[int(record["shard"].rpartition("-")[2])] = reason
    return reasons, left_over


def test_at_least_ninety_kinds_each_have_their_own_reason_or_are_kept(built: Built) -> None:
    assert len(built.cases) >= 90
    expected = {number: case.reason for number, case in enumerate(built.cases) if case.reason is not None}
    found = {built.cases[number].name: reason for number, reason in built.reasons.items()}
    assert found == {built.cases[number].name: reason for number, reason in expected.items()}
    assert built.reasons == expected


def test_every_row_is_written_or_counted_with_its_reason(built: Built) -> None:
    kept = sorted(case.name for case in built.cases if case.reason is None)
    assert sorted(built.rows) == kept
    require_balanced(built.manifest["stages"], len(kept))
    read = built.manifest["stages"][0]
    # What lies in the folder and is in no line of the metadata: one image, and those that bad lines would have named.
    # Infrared images that a row names are not left over.
    of_bad_lines = ("malformed_row", "outside_source_folder")
    in_bad_lines = sum(case.data is not None and case.reason in of_bad_lines for case in built.cases)
    assert built.left_over == ["not_listed"] * (1 + in_bad_lines)
    assert read["rows_in"] == len(built.cases) + len(built.left_over)
    assert read["rejected"] == Counter([*built.reasons.values(), *built.left_over])
    assert {reject["reason"] for reject in read["rejected_sample"]} == set(read["rejected"])


def test_what_is_kept_has_the_right_pixels(built: Built) -> None:
    for case in built.cases:
        if case.reason is not None:
            continue
        row = built.rows[case.name]
        assert case.rgb is not None
        rgb = np.asarray(_upright(row["rgb"]["bytes"]).convert("RGB"), dtype=float)
        assert rgb.shape == case.rgb.shape, case.name
        assert np.abs(rgb - case.rgb).mean() < _MAX_ERROR, case.name
        infrared = np.asarray(_upright(row["infrared"]["bytes"]))
        if case.infrared is None:
            assert row["infrared_origin"] == "luminance"
            grey = np.asarray(Image.fromarray(case.rgb).convert("L"), dtype=float)
            assert np.abs(infrared - grey).mean() < _MAX_ERROR, case.name
        else:
            assert row["infrared_origin"] == "sensor"
            assert infrared.dtype == case.infrared.dtype, case.name
            lossy = case.infrared_name is not None and case.infrared_name.endswith(".jpg")
            assert np.abs(infrared.astype(float) - case.infrared).mean() <= (_MAX_ERROR if lossy else 0), case.name
        assert infrared.shape == rgb.shape[:2], case.name


def _upright(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    return ImageOps.exif_transpose(image)


def test_captions_are_cleaned_and_otherwise_whole(built: Built) -> None:
    captions = {name.removesuffix(".png"): row["captions"] for name, row in built.rows.items()}
    assert captions["controls_inside"] == ["a river near a road"]
    assert captions["a_million_letters"] == [("a river and a road, " * 50_000).strip()]
    assert captions["one_long_word"] == ["z" * 200_000]
    assert captions["markup"] == ["--- | <script>alert(1)</script> {{ x }} !!python/object:os.system"]
    assert captions["three_scripts"] == ["\u6cb3 \u0631\u0648\u062f \U0001f6f0 a river"]
    assert captions["decomposed"] == ["caf\u00e9 near a river"]
    for name in ("README.md", "manifest.json", "croissant.json"):
        text = (built.output / name).read_text()
        assert len(text) < 200_000
        assert "alert(1)" not in text


def folder_of(root: Path, files: dict[bytes, bytes]) -> Path:
    root.mkdir()
    for name, data in files.items():
        (root / os.fsdecode(name)).write_bytes(data)
    return root


def config_of(folder: Path, output: Path, **options: Any) -> FusionRSConfig:
    return FusionRSConfig(
        source=(f"folder:{folder}",),
        sources=SourceOptions(**options),
        output=output,
        rows_per_part=2,
        engine=EngineConfig(workers=1),
    )


def test_names_that_are_not_utf8_and_infrared_without_a_partner_have_reasons(tmp_path: Path) -> None:
    grey = [np.asarray(Image.fromarray(picture(number)).convert("L")) for number in range(4)]
    rgb = folder_of(
        tmp_path / "rgb",
        {
            **{f"{name}.png".encode(): encoded(picture(n)) for n, name in enumerate(("good", "twice", "alone"))},
            **{f"{name}.txt".encode(): b"a river\n\na road" for name in ("good", "twice", "alone", "latin")},
            b"caf\xe9.png": encoded(picture(10)),
            b"latin.txt": b"caf\xe9",
            b"latin.png": encoded(picture(11)),
            b"same.PNG": encoded(picture(0)),
            b"same.txt": b"\xef\xbb\xbfa lake",
            b".hidden.png": b"",
        },
    )
    infrared = folder_of(
        tmp_path / "infrared",
        {
            b"good.tif": encoded(Image.fromarray(grey[0]), "TIFF"),
            b"same.png": encoded(grey[1]),
            b"twice.png": encoded(grey[2]),
            b"twice.tif": encoded(Image.fromarray(grey[2]), "TIFF"),
            b"nobody.png": encoded(grey[3]),
            b"latin.png": encoded(grey[3]),
        },
    )
    config = config_of(rgb, tmp_path / "fusionrs", infrared_folder=infrared, infrared_band="thermal")
    build_fusionrs(config)
    stages = {stage["stage"]: stage for stage in read_manifest(config.output)["stages"]}
    assert stages["read"]["rows_in"] == 7
    assert stages["read"]["rejected"] == {
        "ambiguous_infrared": 1,  # twice.png
        "malformed_row": 2,  # a name, and a text, that are not UTF-8
        "missing_image": 1,  # nobody.png
        "missing_infrared": 1,  # alone.png
    }
    assert stages["exact_duplicates"]["rejected"] == {"equal_image": 1}
    (row,) = written_rows(config.output)
    assert row["source_id"] in ("good.png", "same.PNG")
    require_balanced(list(stages.values()), 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no images at any depth; known endings are"),
        ({b"notes.txt": b"a river"}, "holds no images at any depth; known endings are"),
        ({b"metadata.jsonl": b""}, "lists no rows"),
        ({b"metadata.jsonl": b'{"file_name": "a.png", "captoin": "a river"}'}, "has the columns 'captoin', which have"),
        ({b"metadata.csv": b"name,caption\n"}, "has the columns name, caption; wanted file_name"),
    ],
)
def test_a_folder_that_holds_nothing_of_use_is_refused_before_any_work(
    files: dict[bytes, bytes], message: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "folder", files)
    output = tmp_path / "fusionrs"
    with pytest.raises(SystemExit, match=message):
        main(["build", "fusionrs", "--source", f"folder:{folder}", "--output", str(output), "--workers", "1"])
    assert not output.exists()


def test_a_build_of_which_no_row_is_left_says_where_the_rows_went(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", {b"a.png": b"", b"a.txt": b"a river", b"b.png": encoded(picture(1))})
    config = config_of(folder, tmp_path / "fusionrs")
    with pytest.raises(EmptyBuildError, match=r"(?s)no row is left to write\..*read +2 +0 +0\.0%.*empty +-1.*no_cap"):
        build_fusionrs(config)
    assert not config.output.exists()
    (folder / "b.txt").write_text("a lake")
    with pytest.raises(EmptyBuildError, match=r"(?s)infrared +1 +0 +0\.0%\n +no_infrared +-1"):
        build_fusionrs(config)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_has_a_reason(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "folder", {b"a.png": encoded(picture(1)), b"metadata.jsonl": b'{"file_name": "a.png", "text": "a"}'}
    )
    (folder / "a.png").chmod(0)
    with pytest.raises(EmptyBuildError, match="unreadable_image"):
        build_fusionrs(config_of(folder, tmp_path / "fusionrs"))


def test_a_picture_that_changes_between_two_runs_is_read_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "folder", {b"a.png": encoded(picture(1)), b"a.txt": b"a river"})
    infrared = folder_of(tmp_path / "infrared", {b"a.png": encoded(picture(2)[..., 0])})
    config = config_of(folder, tmp_path / "fusionrs", infrared_folder=infrared, infrared_band="nir")
    images = []
    for number in (1, 3):
        (folder / "a.png").write_bytes(encoded(picture(number)))
        build_fusionrs(config)
        images.append(written_rows(config.output)[0]["rgb"]["bytes"])
    assert images == [encoded(picture(1)), encoded(picture(3))]
