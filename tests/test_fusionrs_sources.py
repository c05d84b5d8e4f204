"""What the sources of FusionRS yield from folders laid out as their authors publish them, and what they refuse."""

import csv
import dataclasses
import gzip
import hashlib
import io
import json
import os
import pickle
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dataset_scripts.scenes.scene_encoding import encode_infrared, encode_rgb
from dataset_scripts.scenes.scene_simulator import simulate_scene
from dataset_scripts.sources import confined_files
from dataset_scripts.sources.confined_files import confined_name
from dataset_scripts.sources.fusionrs_index import FusionRSIndex
from dataset_scripts.sources.image_folder import ImageFolder
from dataset_scripts.sources.karpathy_captions import RSICD, RSITMD, NWPUCaptions
from dataset_scripts.sources.listing_text import class_of_file, clean_text
from dataset_scripts.sources.parts import REASONS
from dataset_scripts.sources.simulated_scenes import SimulatedScenes
from dataset_scripts.sources.skyscript import COLLECTIONS, SkyScript, license_of_image
from dataset_scripts.sources.source_row import Part, Source, SourceRow
from dataset_scripts.stages.rejects import RefusedError, Reject

Row = SourceRow | Reject


def put_image(path: Path, shade: int = 0) -> bytes:
    """Write a small PNG and return its bytes."""
    buffer = io.BytesIO()
    Image.new("L", (2, 2), shade).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def put_lines(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")


def put_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read_all(source: Source, rows_per_part: int = 1000) -> list[Row]:
    """All rows, through parts that went to another process and back."""
    copy = pickle.loads(pickle.dumps(source))
    parts = [
        dataclasses.replace(part, where=json.loads(json.dumps(part.where))) for part in source.parts(rows_per_part)
    ]
    assert len({part.name for part in parts}) == len(parts)
    found = []
    for part in parts:
        rows = list(copy.read(part))
        assert part.rows == len(rows) <= rows_per_part
        assert [row.row for row in rows if isinstance(row, Reject)] == [
            position for position, row in enumerate(rows) if isinstance(row, Reject)
        ]
        found += rows
    assert {row.reason for row in found if isinstance(row, Reject)} <= set(REASONS)
    return found


def reasons(rows: Iterable[Row]) -> list[str | tuple[str, str]]:
    """The id of each row, or the reason and detail of its reject."""
    return [(row.reason, row.detail) if isinstance(row, Reject) else row.source_id for row in rows]


def fingerprints(source: Source, rows_per_part: int = 2) -> list[str]:
    return [part.fingerprint for part in source.parts(rows_per_part)]


def karpathy(*entries: Any) -> str:
    return json.dumps({"images": list(entries), "dataset": "rsicd"})


def entry(name: str, *captions: str, split: str = "train") -> dict[str, Any]:
    sentences = [{"raw": caption, "tokens": caption.split(), "imgid": 0, "sentid": 0} for caption in captions]
    return {"filename": name, "split": split, "sentences": sentences, "imgid": 0, "sentids": [0]}


def put_rsicd(folder: Path, count: int = 7) -> RSICD:
    for number in range(count):
        put_image(folder / "RSICD_images" / f"airport_{number}.jpg", number)
    entries = [entry(f"airport_{number}.jpg", f"caption {number} .") for number in range(count)]
    (folder / "dataset_rsicd.json").write_text(karpathy(*entries), encoding="utf-8")
    return RSICD(folder=folder)


def test_text_is_normalised_without_controls_and_otherwise_as_published() -> None:
    assert clean_text("  Cafe\u0301\u0000 \tof\x1b the\n\u202eport\u2028.\ufeff ") == "Caf\u00e9 of the port ."
    assert clean_text("\ud800a\udfff") == "a"
    assert clean_text("12 m\u00b2, \u4e00\u4e2a\u673a\u573a \U0001f468\u200d\U0001f33e") == (
        "12 m\u00b2, \u4e00\u4e2a\u673a\u573a \U0001f468\u200d\U0001f33e"
    )


def test_the_class_is_taken_from_names_that_are_class_and_number_only() -> None:
    names = ("airport_12", "dense_residential_3", "00623", "a1234_US_33", "airport", "_1")
    assert [class_of_file(name) for name in names] == ["airport", "dense_residential", None, None, None, None]


@pytest.mark.parametrize("name", ["a\0.jpg", "\ud800.jpg", "x/" + "y" * 256])
def test_a_name_that_no_file_can_have_is_a_missing_image(name: str) -> None:
    with pytest.raises(RefusedError, match=r"missing_image: no file can have the name"):
        confined_name(name)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "a/../../b.jpg", "C:\\a.jpg", "..\\a.jpg", "\\a.jpg"])
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=r"outside_source_folder"):
        confined_name(name)


def test_one_file_has_one_name() -> None:
    assert {confined_name(name) for name in ("a/b.jpg", "./a//b.jpg", "a\\b.jpg", "a/./b.jpg")} == {"a/b.jpg"}


def test_rsicd_rows_are_exact(tmp_path: Path) -> None:
    first = put_image(tmp_path / "RSICD_images" / "airport_1.jpg", 1)
    second = put_image(tmp_path / "RSICD_images" / "00623.jpg", 2)
    listing = karpathy(
        entry("airport_1.jpg", "many planes .", "many  planes\n.", "", split="val"),
        entry("00623.jpg", "a river .", split="test"),
    )
    (tmp_path / "dataset_rsicd.json").write_text("\ufeff" + listing, encoding="utf-8")
    common: dict[str, Any] = {
        "source": "rsicd",
        "caption_kind": "human",
        "license": "unknown",
        "attribution": "RSICD (X. Lu and others, 2018)",
    }
    assert read_all(RSICD(folder=tmp_path)) == [
        SourceRow(
            source_id="airport_1.jpg",
            image=first,
            captions=("many planes .", "many planes ."),
            class_name="airport",
            split="validation",
            **common,
        ),
        SourceRow(source_id="00623.jpg", image=second, captions=("a river .",), split="test", **common),
    ]


def test_rsitmd_reads_its_own_folder_of_tif_files(tmp_path: Path) -> None:
    data = put_image(tmp_path / "images" / "boat_34.tif")
    (tmp_path / "dataset_RSITMD.json").write_text(karpathy(entry("boat_34.tif", "boats")), encoding="utf-8")
    (row,) = read_all(RSITMD(folder=tmp_path))
    assert isinstance(row, SourceRow)
    assert (row.source_id, row.image, row.class_name, row.split) == ("boat_34.tif", data, "boat", "train")


def test_nwpu_captions_reads_five_sentences_from_class_folders(tmp_path: Path) -> None:
    data = put_image(tmp_path / "NWPU_images" / "ship" / "ship_001.jpg")
    sentences = {"raw": "one", "raw_1": "two", "raw_2": "three", "raw_3": "four", "raw_4": "five"}
    content = {"ship": [{"filename": "ship_001.jpg", "split": "test", "imgid": 3, **sentences}, {"filename": 3}]}
    (tmp_path / "dataset_nwpu.json").write_text(json.dumps(content), encoding="utf-8")
    row, reject = read_all(NWPUCaptions(folder=tmp_path))
    assert row == SourceRow(
        source="nwpu_captions",
        source_id="ship/ship_001.jpg",
        image=data,
        captions=("one", "two", "three", "four", "five"),
        caption_kind="human",
        class_name="ship",
        license="CC-BY-NC-4.0",
        caption_license="unknown",
        attribution=NWPUCaptions.attribution,
        split="test",
    )
    assert reject == Reject(1, "malformed_row", "ship[1]: filename is 3, wanted the name of a file")


def test_the_split_files_are_read_in_their_order_with_the_given_class(tmp_path: Path) -> None:
    for name in ("images/airport_1.jpg", "images/00001.jpg"):
        put_image(tmp_path / name)
    put_lines(tmp_path / "val.jsonl", [{"image": "images/00001.jpg", "captions": ["b"], "class_name": "playground"}])
    put_lines(tmp_path / "train.jsonl", [{"image": "images/airport_1.jpg", "captions": ["a"], "class_name": None}])
    rows = read_all(RSICD(folder=tmp_path))
    found = [(row.source_id, row.class_name, row.split) for row in rows if isinstance(row, SourceRow)]
    assert found == [
        ("images/airport_1.jpg", "airport", "train"),
        ("images/00001.jpg", "playground", "validation"),
    ]


def test_every_row_that_cannot_be_read_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    put_image(tmp_path / "secret.jpg")
    put_image(folder / "a.jpg")
    (folder / "big.jpg").write_bytes(b"x" * 5000)
    (folder / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "in.jpg").symlink_to("a.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    monkeypatch.setattr(confined_files, "MAX_FILE_BYTES", 4999)
    captions = {"captions": ["c"]}
    put_lines(
        folder / "train.jsonl",
        [
            {"image": "a.jpg", **captions},
            {"image": "./a.jpg", **captions},
            {"image": "../secret.jpg", **captions},
            {"image": str(tmp_path / "secret.jpg"), **captions},
            {"image": "out.jpg", **captions},
            {"image": "in.jpg", **captions},
            "",
            {"image": "none.jpg", **captions},
            {"image": "loop.jpg", **captions},
            {"image": "pipe.jpg", **captions},
            {"image": "folder.jpg", **captions},
            {"image": "big.jpg", **captions},
            {"image": "a\0.jpg", **captions},
            {"image": "\ud800.jpg", **captions},
            {"image": "b.jpg", "captions": [" ", "\u0007"]},
            {"image": "b.jpg", "captions": "one"} | {"split": "later"},
            {"image": "b.jpg", "captions": ["one", 2]},
            {"captions": ["one"]},
            ["b.jpg"],
            '{"image": "b.jpg", "captions": [NaN]}',
            '{"image": ',
        ],
    )
    with (folder / "train.jsonl").open("ab") as file:
        file.write(b'{"image": "b.jpg", "captions": ["\xb8\xdb"]}\n')
        file.write(b"[" * 100_000 + b"\n")
    found = reasons(read_all(RSICD(folder=folder), 4))
    assert found[:-2] == [
        "a.jpg",
        ("duplicate_id", "a.jpg"),
        ("outside_source_folder", "'../secret.jpg' leads out of the folder of the source"),
        ("outside_source_folder", f"{str(tmp_path / 'secret.jpg')!r} leads out of the folder of the source"),
        ("outside_source_folder", "'out.jpg' is a link that leads out of the folder of the source"),
        "in.jpg",
        ("missing_image", "there is no 'none.jpg'"),
        ("unreadable_image", "'loop.jpg': Too many levels of symbolic links"),
        ("missing_image", "'pipe.jpg' is not a regular file"),
        ("missing_image", "'folder.jpg' is not a regular file"),
        ("file_too_large", "'big.jpg' has 5000 bytes, at most 4999; cut it into tiles"),
        ("missing_image", "no file can have the name 'a\\x00.jpg'"),
        ("missing_image", "no file can have the name '\\ud800.jpg'"),
        ("no_caption", "train.jsonl, line 15: b.jpg"),
        (
            "malformed_row",
            "train.jsonl, line 16: split is 'later', wanted one of train, val, valid, validation, test",
        ),
        ("malformed_row", "train.jsonl, line 17: captions are ['one', 2], wanted a list of strings"),
        ("malformed_row", "train.jsonl, line 18: image is absent, wanted the name of a file"),
        ("malformed_row", "train.jsonl, line 19: a list, wanted an object"),
        ("malformed_row", "train.jsonl, line 20: NaN is not JSON"),
        ("malformed_row", "train.jsonl, line 21: Expecting value: line 2 column 1 (char 11)"),
    ]
    assert found[-2] == ("malformed_row", "train.jsonl, line 22: not UTF-8")
    assert found[-1][0] == "malformed_row"
    assert found[-1][1].startswith("train.jsonl, line 23: ")
    assert len(found) == 22


@pytest.mark.parametrize("rows_per_part", [1, 2, 5])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_parts_begin_at_the_right_byte_after_text_of_any_script(
    tmp_path: Path, rows_per_part: int, ending: str
) -> None:
    captions = ["\u673a\u573a", "a\u0301e\u0300roport", "\U0001f6eb", "x", "\u6c34"]
    for number in range(5):
        put_image(tmp_path / f"{number}.jpg")
    rows = [{"image": f"{number}.jpg", "captions": [caption]} for number, caption in enumerate(captions)]
    text = "\ufeff" + ending.join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "train.jsonl").write_bytes(text.encode())
    found = read_all(RSICD(folder=tmp_path), rows_per_part)
    assert [row.captions for row in found if isinstance(row, SourceRow)] == [
        (text,) for text in ("\u673a\u573a", "\u00e1\u00e8roport", "\U0001f6eb", "x", "\u6c34")
    ]


@pytest.mark.parametrize("rows_per_part", [1, 2, 3, 6, 7, 8, 1000])
def test_all_parts_together_are_the_whole_listing_in_order(tmp_path: Path, rows_per_part: int) -> None:
    source = put_rsicd(tmp_path)
    rows = read_all(source, rows_per_part)
    assert reasons(rows) == [f"airport_{number}.jpg" for number in range(7)]
    assert rows == read_all(source, 7)
    assert len(source.parts(rows_per_part)) == -(-7 // rows_per_part)


def test_a_fingerprint_changes_with_the_files_of_its_part_only(tmp_path: Path) -> None:
    source = put_rsicd(tmp_path / "a", 4)
    before = fingerprints(source)
    assert len(set(before)) == 2
    (tmp_path / "a" / "README").write_text("new", encoding="utf-8")
    (tmp_path / "a").rename(tmp_path / "b")
    source = RSICD(folder=tmp_path / "b")
    assert fingerprints(source) == before

    image = tmp_path / "b" / "RSICD_images" / "airport_3.jpg"
    old = image.stat()
    image.write_bytes(image.read_bytes() + b"x")
    os.utime(image, ns=(old.st_atime_ns, old.st_mtime_ns))
    grown = fingerprints(source)
    assert (grown[0], grown[1] != before[1]) == (before[0], True)
    os.utime(image, ns=(1, 1))
    assert fingerprints(source)[1] not in (before[1], grown[1])
    image.unlink()
    assert fingerprints(source)[0] == before[0]

    os.utime(tmp_path / "b" / "dataset_rsicd.json", ns=(1, 1))
    assert not set(fingerprints(source)) & set(before)


def test_a_listing_that_shrank_since_it_was_cut_is_an_error(tmp_path: Path) -> None:
    source = put_rsicd(tmp_path, 3)
    part = source.parts(2)[1]
    (tmp_path / "dataset_rsicd.json").write_text(karpathy(entry("airport_0.jpg", "c")), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"has 0 rows, 1 were listed: its files changed. List it again"):
        list(source.read(part))


def test_a_json_listing_that_is_not_utf_8_says_where_and_what_to_do(tmp_path: Path) -> None:
    put_image(tmp_path / "RSICD_images" / "a.jpg")
    text = '{"images": [\n{"filename": "a.jpg", "sentences": [{"raw": "\u673a\u573a"}]}]}'
    (tmp_path / "dataset_rsicd.json").write_bytes(text.encode("gb18030"))
    with pytest.raises(ValueError, match=r"is not UTF-8: byte 0xbb on line 2. Convert it first, .*iconv -f GB18030"):
        RSICD(folder=tmp_path).parts(10)


def test_a_listing_that_is_not_one_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Give the folder that holds the data"):
        RSICD(folder=tmp_path / "none").parts(10)
    with pytest.raises(FileNotFoundError, match=r"holds neither dataset_rsicd.json nor any of train.jsonl"):
        RSICD(folder=tmp_path).parts(10)
    listing = tmp_path / "dataset_rsicd.json"
    listing.write_text('{"images": [', encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"RSICD_images' is not a folder"):
        RSICD(folder=tmp_path).parts(10)
    (tmp_path / "RSICD_images").mkdir()
    with pytest.raises(ValueError, match=r"is not a whole JSON file: .*line 1 column"):
        RSICD(folder=tmp_path).parts(10)
    listing.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no list under the key 'images'"):
        RSICD(folder=tmp_path).parts(10)
    listing.write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"lists no rows"):
        RSICD(folder=tmp_path).parts(10)
    put_lines(tmp_path / "train.jsonl", [])
    with pytest.raises(ValueError, match=r"dataset_rsicd.json and train.jsonl, two listings; keep one"):
        RSICD(folder=tmp_path).parts(10)
    with pytest.raises(ValueError, match=r"rows_per_part is 0; it must be at least 1"):
        put_rsicd(tmp_path / "good").parts(0)


def test_the_folder_of_images_may_be_elsewhere(tmp_path: Path) -> None:
    put_image(tmp_path / "elsewhere" / "a_1.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset_rsicd.json").write_text(karpathy(entry("a_1.jpg", "c")), encoding="utf-8")
    source = RSICD(folder=tmp_path / "set", image_folder=tmp_path / "elsewhere")
    assert reasons(read_all(source)) == ["a_1.jpg"]


def put_skyscript(folder: Path) -> None:
    names = ["images2/a198234555_CH_19.jpg", "images3/w7_US_20.jpg", "images3/n8_XX_21.jpg", "images7/odd.jpg"]
    for name in names:
        put_image(folder / name)
    rows = [
        ["filepath", "title", "title_multi_objects"],
        [names[0], "road of residential", "road of residential,\n surrounded by forest"],
        [names[1], "pond", "pond"],
        [names[2], "", "bridge"],
        [names[3], "tower", ""],
        ["images4/n9_L8_21.jpg", "", " "],
        [names[1], "again", "again"],
        [names[3], "short"],
        ["../images2/n9_L8_21.jpg", "x", "y"],
    ]
    put_csv(folder / "dataframe" / "SkyScript_train_top30pct_filtered_by_CLIP_openai.csv", rows)


@pytest.mark.parametrize("rows_per_part", [1, 3, 100])
def test_skyscript_rows_are_exact(tmp_path: Path, rows_per_part: int) -> None:
    put_skyscript(tmp_path)
    rows = read_all(SkyScript(folder=tmp_path), rows_per_part)
    file = "SkyScript_train_top30pct_filtered_by_CLIP_openai.csv"
    assert reasons(rows) == [
        "images2/a198234555_CH_19.jpg",
        "images3/w7_US_20.jpg",
        "images3/n8_XX_21.jpg",
        "images7/odd.jpg",
        ("no_caption", f"dataframe/{file}, line 7: images4/n9_L8_21.jpg"),
        ("duplicate_id", "images3/w7_US_20.jpg"),
        ("malformed_row", f"{file}, line 9: 2 cells, wanted 3"),
        ("outside_source_folder", "'../images2/n9_L8_21.jpg' leads out of the folder of the source"),
    ]
    good = [row for row in rows if isinstance(row, SourceRow)]
    assert [row.captions for row in good] == [
        ("road of residential", "road of residential, surrounded by forest"),
        ("pond",),
        ("bridge",),
        ("tower",),
    ]
    assert [row.license for row in good] == ["LicenseRef-swisstopo-OGD", "public-domain"] + ["unknown"] * 2
    assert {(row.caption_license, row.caption_kind, row.split) for row in good} == {("ODbL-1.0", "metadata", "train")}
    assert good[0].attribution == f"Federal Office of Topography swisstopo, {SkyScript.attribution}"
    assert good[3].attribution == SkyScript.attribution


def test_the_licence_of_a_skyscript_image_is_that_of_its_collection_or_unknown() -> None:
    licences = {code: license_of_image(f"images2/a1_{code}_20.jpg")[0] for code in COLLECTIONS}
    assert licences == {
        "US": "public-domain",
        "CH": "LicenseRef-swisstopo-OGD",
        "DE": "DL-DE-BY-2.0",
        "FI": "CC-BY-4.0",
        "ES": "CC-BY-4.0",
        "P3": "CC-BY-4.0",
        "P5": "CC-BY-4.0",
        "S2": "copernicus-sentinel",
        "L8": "public-domain",
        "L9": "public-domain",
    }
    assert {license_of_image(name) for name in ("US.jpg", "a1_us_20.jpg", "x1_US_20.jpg", "a1_US.jpg", "")} == {
        ("unknown", "")
    }


def test_skyscript_files_of_one_split_must_be_chosen_from(tmp_path: Path) -> None:
    put_skyscript(tmp_path)
    other = "SkyScript_train_top50pct_filtered_by_CLIP_laion_RS_language_polished.csv"
    put_csv(tmp_path / other, [["filepath", "title"], ["images7/odd.jpg", "A tower."]])
    with pytest.raises(ValueError, match=r"are captions of one split \(train\), and their rows overlap; say which"):
        SkyScript(folder=tmp_path).parts(10)
    (row,) = read_all(SkyScript(folder=tmp_path, captions=(other,)))
    assert isinstance(row, SourceRow)
    assert (row.captions, row.caption_kind) == (("A tower.",), "machine")
    put_csv(tmp_path / "bad.csv", [["path;title"], ["x;y"]])
    with pytest.raises(ValueError, match=r"bad.csv has the columns path;title; wanted filepath and title or"):
        SkyScript(folder=tmp_path, captions=("bad.csv",)).parts(10)


def test_text_files_beside_images_are_their_captions(tmp_path: Path) -> None:
    data = put_image(tmp_path / "b" / "two.PNG")
    for name in ("one.jpg", "three.tif", "._one.jpg", ".cache/x.jpg"):
        put_image(tmp_path / name)
    (tmp_path / "b" / "two.txt").write_text("\ufefffirst\r\n\r\nsecond  one\n", encoding="utf-8")
    (tmp_path / "one.txt").write_bytes("\u673a\u573a".encode("gb18030"))
    (tmp_path / "b" / "link").symlink_to(tmp_path, target_is_directory=True)
    rows = read_all(ImageFolder(folder=tmp_path, name="mine", license="CC0-1.0", attribution="me"))
    assert rows[0] == SourceRow(
        source="mine",
        source_id="b/two.PNG",
        image=data,
        captions=("first", "second one"),
        caption_kind="human",
        license="CC0-1.0",
        attribution="me",
    )
    assert reasons(rows[1:]) == [
        ("malformed_row", "one.txt is not UTF-8"),
        ("no_caption", "three.tif"),
        ("outside_source_folder", "'b/link' is a link to a folder; such links are not followed"),
    ]


def test_a_class_folder_gives_captions_only_by_a_template_that_was_asked_for(tmp_path: Path) -> None:
    put_image(tmp_path / "dense_forest" / "1.jpg")
    put_image(tmp_path / "top.jpg")
    plain = ImageFolder(folder=tmp_path, captions_from="folder")
    assert reasons(read_all(plain)) == [("no_caption", "dense_forest/1.jpg"), ("no_caption", "top.jpg")]
    asked = dataclasses.replace(plain, caption_template="a {class} scene")
    row, reject = read_all(asked)
    assert isinstance(row, SourceRow)
    assert (row.captions, row.class_name) == (("a dense forest scene",), "dense_forest")
    assert reasons([reject]) == [("no_caption", "top.jpg")]
    without = [
        row for row in read_all(dataclasses.replace(plain, require_captions=False)) if isinstance(row, SourceRow)
    ]
    assert [(row.captions, row.class_name) for row in without] == [((), "dense_forest"), ((), None)]
    assert fingerprints(plain) != fingerprints(asked)


def test_metadata_json_lines_name_captions_infrared_images_and_facts(tmp_path: Path) -> None:
    rgb, infrared = put_image(tmp_path / "a.jpg", 1), put_image(tmp_path / "ir" / "a.png", 2)
    for name in ("b.jpg", "extra.jpg"):
        put_image(tmp_path / name)
    put_lines(
        tmp_path / "metadata.jsonl",
        [
            {
                "file_name": "a.jpg",
                "caption": "one",
                "captions": ["two", "three"],
                "infrared_file_name": "ir/a.png",
                "infrared_captions": ["warm roof"],
                "class_name": "roof",
                "license": "CC-BY-4.0",
                "attribution": "you",
                "split": "test",
                "latitude": 48.5,
                "longitude": 11,
                "timestamp": "2019-07-01",
            },
            {"file_name": "b.jpg", "text": "b", "infrared_file_name": "ir/b.png"},
            {"file_name": "b.jpg", "text": "b"},
            {"file_name": "c.jpg", "text": "c", "latitude": "north"},
            {"file_name": "c.jpg", "text": "c", "license": "CC BY 4.0"},
            {"file_name": "c.jpg", "text": "c", "latitude": 91},
        ],
    )
    source = ImageFolder(folder=tmp_path, infrared_band="thermal", attribution="me")
    rows = read_all(source, 2)
    assert rows[0] == SourceRow(
        source="image_folder",
        source_id="a.jpg",
        image=rgb,
        infrared=infrared,
        infrared_origin="sensor",
        infrared_band="thermal",
        captions=("one", "two", "three"),
        caption_kind="human",
        infrared_captions=("warm roof",),
        class_name="roof",
        license="CC-BY-4.0",
        attribution="you",
        split="test",
        metadata={"latitude": 48.5, "longitude": 11, "timestamp": "2019-07-01"},
    )
    found = reasons(rows[1:])
    assert found[:3] == [
        ("missing_infrared", "there is no 'ir/b.png'"),
        ("duplicate_id", "b.jpg"),
        ("malformed_row", "metadata.jsonl, line 4: latitude is 'north', wanted a number"),
    ]
    assert found[3][1].startswith("metadata.jsonl, line 5: licence 'CC BY 4.0' is not an identifier")
    assert found[4][1].startswith("metadata.jsonl, line 6: latitude")
    assert found[5:] == [("not_listed", "'extra.jpg' is not in metadata.jsonl")]
    with pytest.raises(ValueError, match=r"metadata.jsonl names infrared images; say what it shows by infrared_band"):
        ImageFolder(folder=tmp_path).parts(10)


def test_metadata_csv_has_types_and_its_other_columns_must_be_ignored_by_name(tmp_path: Path) -> None:
    put_image(tmp_path / "x" / "a.jpg")
    rows = [
        ["file_name", "captions", "latitude", "longitude", "infrared_file_name", "id"],
        ["x\\a.jpg", '["one", "two, or more"]', "-1.5", "2", "", "7"],
        ["b.jpg", "[not json", "", "", "", "8"],
    ]
    put_csv(tmp_path / "metadata.csv", rows)
    with pytest.raises(
        ValueError, match=r"has the columns 'id', which have no meaning here; leave them out by ignored"
    ):
        ImageFolder(folder=tmp_path).parts(10)
    row, missing = read_all(ImageFolder(folder=tmp_path, ignored_columns=("id",)))
    assert isinstance(row, SourceRow)
    assert (row.source_id, row.captions) == ("x/a.jpg", ("one", "two, or more"))
    assert row.metadata == {"latitude": -1.5, "longitude": 2}
    assert reasons([missing]) == [("missing_image", "there is no 'b.jpg'")]
    put_csv(tmp_path / "metadata.csv", [["image", "caption"], ["a.jpg", "x"]])
    with pytest.raises(ValueError, match=r"metadata.csv has the columns image, caption; wanted file_name"):
        ImageFolder(folder=tmp_path).parts(10)
    put_lines(tmp_path / "metadata.jsonl", [])
    with pytest.raises(ValueError, match=r"metadata.jsonl and metadata.csv; keep one of them"):
        ImageFolder(folder=tmp_path).parts(10)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("rows_per_part", [1, 2, 50])
def test_infrared_partners_have_equal_stems_in_a_parallel_folder(
    tmp_path: Path, inside: bool, rows_per_part: int
) -> None:
    root = tmp_path / "rgb"
    nir = root / "nir" if inside else tmp_path / "nir"
    for name in ("a.jpg", "b.jpg", "sub/a.jpg", "twice.jpg"):
        put_image(root / name)
    partner = put_image(nir / "a.png", 9)
    for name in ("sub/a.tif", "twice.png", "twice.tif", "alone.png"):
        put_image(nir / name)
    source = ImageFolder(folder=root, infrared_folder=nir, infrared_band="nir", require_captions=False)
    rows = read_all(source, rows_per_part)
    assert reasons(rows) == [
        "a.jpg",
        ("missing_infrared", "b.jpg has 0 infrared partners"),
        "sub/a.jpg",
        ("ambiguous_infrared", "twice.jpg has 2 infrared partners twice.png, twice.tif"),
        ("missing_image", "'alone.png' is an infrared image without an RGB partner"),
    ]
    assert isinstance(rows[0], SourceRow)
    assert (rows[0].infrared, rows[0].infrared_origin, rows[0].infrared_band) == (partner, "sensor", "nir")
    before = fingerprints(source, 1)
    put_image(nir / "sub" / "a.tif", 200)
    os.utime(nir / "sub" / "a.tif", ns=(5, 5))
    changed = [old != new for old, new in zip(before, fingerprints(source, 1), strict=True)]
    assert changed == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "My Data"}, "name is 'My Data'; use small letters"),
        ({"caption_template": "a {class}"}, 'give captions_from="folder" too'),
        ({"caption_template": "a scene", "captions_from": "folder"}, "it must contain {class}"),
        ({"caption_kind": "mine"}, "wanted one of web, machine, rotation_invariant, metadata, human"),
        ({"license": "CC BY 4.0"}, "'CC BY 4.0' is not an identifier such as 'CC-BY-4.0'"),
        ({"infrared_band": "infrared"}, "wanted one of thermal, mwir, swir, nir"),
        ({"infrared_origin": "translated"}, "translated:NAME@REVISION"),
        ({"infrared_folder": Path("x")}, "infrared_folder is given; say what it shows by infrared_band"),
    ],
)
def test_settings_of_an_image_folder_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFolder(folder=Path("images"), **settings)


def test_an_empty_image_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no images at any depth; known endings are"):
        ImageFolder(folder=tmp_path).parts(10)
    with pytest.raises(FileNotFoundError, match=r"is not a folder"):
        ImageFolder(folder=tmp_path / "none").parts(10)


def test_simulated_scenes_are_those_of_the_simulator(tmp_path: Path) -> None:
    source = SimulatedScenes(num_scenes=3, seed=5, size=32)
    rows = read_all(source, 2)
    scene = simulate_scene(5, 2, 32)
    assert rows[2] == SourceRow(
        source="simulator",
        source_id="5-0000002",
        image=encode_rgb(scene.rgb),
        infrared=encode_infrared(scene.infrared),
        infrared_origin="simulated",
        infrared_band="thermal",
        captions=scene.captions,
        caption_kind="metadata",
        infrared_captions=scene.infrared_captions,
        class_name=scene.class_name,
        license="Apache-2.0",
        attribution="Made by the RSCLIP scene simulator; not an observation of any place.",
    )
    assert rows == read_all(source, 3)
    assert rows[:2] == read_all(SimulatedScenes(num_scenes=2, seed=5, size=32))
    assert fingerprints(source) == fingerprints(SimulatedScenes(num_scenes=3, seed=5, size=32))
    assert not set(fingerprints(source)) & set(fingerprints(SimulatedScenes(num_scenes=3, seed=6, size=32)))
    with pytest.raises(ValueError, match=r"both must be at least 1"):
        SimulatedScenes(num_scenes=0)


def index_row(number: int, upstream: str, locator: str, split: str = "train", **changes: Any) -> dict[str, Any]:
    sample = f"{upstream}_{number:05d}"
    return {
        "schema_version": "fusionrs-public-index-v1",
        "sample_id": sample,
        "source_dataset": upstream,
        "source_record_id": sample,
        "source_locator": locator,
        "source_rights_code": "x",
        "split": split,
        "joint_group_id": "joint-group:" + "a" * 24,
        "phash4_component_id": f"singleton_{sample}",
        "canonical_component_representative": sample,
        "is_canonical_component_representative": True,
        "is_eval_representative": False,
        "caption_supervision_available_upstream": True,
        "vlm_train_identity": False,
        "prior_reused_protected": False,
        "translation": {"model": "DiffV2IR", "output_key": f"{upstream}/{sample}.png", "redistribution": "conditional"},
        **changes,
    }


def put_fusionrs(folder: Path) -> FusionRSIndex:
    """Copies of four sets, and an index in which the sets alternate."""
    put_rsicd(folder / "rsicd", 2)
    put_image(folder / "rsicd" / "RSICD_images" / "silent.jpg")
    put_skyscript(folder / "sky")
    for name in ("x/1.jpg", "x/2.jpg"):
        put_image(folder / "rs5m" / name)
    (folder / "rs5m" / "x" / "1.txt").write_text("a web caption", encoding="utf-8")
    put_image(folder / "nwpu" / "NWPU_images" / "ship" / "ship_001.jpg")
    content = {"ship": [{"filename": "ship_001.jpg", "split": "train", "raw": "a ship"}]}
    (folder / "nwpu" / "dataset_nwpu.json").write_text(json.dumps(content), encoding="utf-8")
    rows = [
        index_row(1, "RSICD", "images/rsicd_images/airport_1.jpg", "test"),
        index_row(2, "SkyScript", "images2/a198234555_CH_19.jpg", "val"),
        index_row(3, "RSITMD", "images/boat_1.tif"),
        index_row(4, "RS5M", "x/1.jpg"),
        index_row(5, "RSICD", "RSICD_images/airport_0.jpg", caption_supervision_available_upstream=False),
        index_row(6, "RSICD", "images/rsicd_images/silent.jpg"),
        index_row(7, "RSICD", "images/rsicd_images/gone.jpg"),
        index_row(1, "RSICD", "images/rsicd_images/airport_0.jpg"),
        index_row(8, "RSICD", "../rsicd_images/airport_0.jpg"),
        index_row(9, "NWPU", "images/ship/ship_001.jpg"),
        index_row(10, "RS5M", "x/2.jpg"),
        index_row(11, "RSICD", "a.jpg", schema_version="fusionrs-index-v1"),
        index_row(12, "UCM", "a.jpg"),
        index_row(13, "RSICD", "a.jpg", caption_supervision_available_upstream="yes"),
        "{",
    ]
    index = folder / "index.jsonl.gz"
    with gzip.open(index, "wt", encoding="utf-8") as file:
        file.writelines(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    roots = {"RSICD": folder / "rsicd", "SkyScript": folder / "sky", "RS5M": folder / "rs5m", "NWPU": folder / "nwpu"}
    return FusionRSIndex(index=index, roots=roots)


@pytest.mark.parametrize("rows_per_part", [1, 2, 100])
def test_the_fusionrs_index_is_joined_to_the_copies_that_are_given(tmp_path: Path, rows_per_part: int) -> None:
    source = put_fusionrs(tmp_path)
    rows = read_all(source, rows_per_part)
    found = set(reasons(rows))
    schema = "wanted fusionrs-public-index-v1 of a known set"
    name = "index.jsonl.gz"
    assert len(rows) == 15
    assert found == {
        "RSICD_00001",
        "SkyScript_00002",
        ("source_not_given", "RSITMD_00003 is an image of RSITMD"),
        "RS5M_00004",
        ("no_caption", "RSICD_00005: upstream has no usable caption, says the index"),
        ("no_caption", "RSICD_00006: RSICD lists no caption of 'images/rsicd_images/silent.jpg'"),
        ("missing_image", "RSICD_00007: RSICD has no 'images/rsicd_images/gone.jpg'"),
        ("duplicate_id", "RSICD_00001"),
        ("outside_source_folder", "'../rsicd_images/airport_0.jpg' leads out of the folder of the source"),
        "NWPU_00009",
        ("no_caption", "RS5M_00010: RS5M lists no caption of 'x/2.jpg'"),
        ("malformed_row", f"{name}, line 12: 'fusionrs-index-v1' of 'RSICD', {schema}"),
        ("malformed_row", f"{name}, line 13: 'fusionrs-public-index-v1' of 'UCM', {schema}"),
        ("malformed_row", f"{name}, line 14: caption_supervision_available_upstream is no boolean"),
        (
            "malformed_row",
            f"{name}, line 15: Expecting property name enclosed in double quotes: line 2 column 1 (char 2)",
        ),
    }
    good = {row.source_id: row for row in rows if isinstance(row, SourceRow)}
    assert good["RSICD_00001"] == SourceRow(
        source="fusionrs",
        source_id="RSICD_00001",
        image=(tmp_path / "rsicd" / "RSICD_images" / "airport_1.jpg").read_bytes(),
        captions=("caption 1 .",),
        caption_kind="human",
        class_name="airport",
        attribution="RSICD (X. Lu and others, 2018); selected by FusionRS (2026)",
        split="test",
    )
    sky = good["SkyScript_00002"]
    assert (sky.license, sky.caption_license, sky.split) == ("LicenseRef-swisstopo-OGD", "ODbL-1.0", "validation")
    assert (good["RS5M_00004"].captions, good["RS5M_00004"].caption_kind) == (("a web caption",), "web")
    assert (good["NWPU_00009"].license, good["NWPU_00009"].class_name) == ("CC-BY-NC-4.0", "ship")


def test_two_upstream_images_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("a/p_1.jpg", "b/p_1.jpg"):
        put_image(tmp_path / "copy" / name)
    rows = [{"image": name, "captions": ["c"]} for name in ("a/p_1.jpg", "b/p_1.jpg")]
    put_lines(tmp_path / "copy" / "train.jsonl", rows)
    put_lines(tmp_path / "index.jsonl", [index_row(1, "RSICD", "images/p_1.jpg")])
    source = FusionRSIndex(index=tmp_path / "index.jsonl", roots={"RSICD": tmp_path / "copy"})
    assert reasons(read_all(source)) == [("ambiguous_image", "RSICD_00001 may be a/p_1.jpg or b/p_1.jpg of RSICD")]


def test_an_index_of_another_hash_or_a_broken_one_is_a_clear_error(tmp_path: Path) -> None:
    source = put_fusionrs(tmp_path)
    digest = hashlib.sha256(source.index.read_bytes()).hexdigest()
    assert len(dataclasses.replace(source, index_sha256=digest.upper()).parts(100)) == 6
    with pytest.raises(ValueError, match=f"has the SHA-256 {digest}, wanted b595b388.*another version or damaged"):
        dataclasses.replace(source, index_sha256=FusionRSIndex.published_sha256).parts(100)
    with pytest.raises(ValueError, match=r"roots names UCM; the sets are NWPU, RS5M, RSICD, RSITMD, SkyScript"):
        FusionRSIndex(index=source.index, roots={"UCM": tmp_path})
    with pytest.raises(FileNotFoundError, match=r"the copy of RSICD"):
        dataclasses.replace(source, roots={"RSICD": tmp_path / "none"}).parts(100)
    source.index.write_bytes(source.index.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"is damaged: .*Download it again"):
        source.parts(100)


def test_the_published_hash_of_the_index_is_a_sha_256() -> None:
    assert len(bytes.fromhex(FusionRSIndex.published_sha256)) == 32


def test_every_source_names_its_origin_and_rights() -> None:
    for source in (RSICD, RSITMD, NWPUCaptions, SkyScript, FusionRSIndex):
        assert source.citation
        assert source.homepage.startswith("https://")
        assert source.attribution
        assert source.image_license
        assert source.caption_license
    assert (RSICD.image_license, RSITMD.caption_license, NWPUCaptions.caption_license) == ("unknown",) * 3


def test_a_listing_of_twenty_thousand_images_is_cut_within_two_seconds(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.jpg", "captions": ["a caption of usual length ."] * 5} for number in range(20_000)]
    put_lines(tmp_path / "train.jsonl", [*rows, rows[0]])
    source = RSICD(folder=tmp_path)
    start = time.process_time()
    parts: Sequence[Part] = source.parts(1000)
    assert time.process_time() - start < 2
    assert (len(parts), sum(part.rows or 0 for part in parts)) == (21, 20_001)
    assert reasons(source.read(parts[-1])) == [("duplicate_id", "0.jpg")]
