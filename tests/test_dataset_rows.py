"""The written `fusionrs` folder: rows, splits, shards, manifest, card, and its command."""

import hashlib
import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from dataset_scripts.__main__ import main
from dataset_scripts.fusionrs_rows import fusionrs_features, scene_row
from dataset_scripts.parquet_shards import file_sha256, shard_name, write_shards
from dataset_scripts.scenes.scene_simulator import simulate_scene
from dataset_scripts.simulate import SimulateConfig, write_fusionrs
from dataset_scripts.stages.caption_key import caption_key, normalise_caption
from dataset_scripts.stages.leak_groups import assign_splits, leak_groups

ROWS, SIZE, SEED = 60, 48, 4
FIRST_SHARDS = [("test", 0, 1), ("train", 0, 3), ("train", 1, 3)]


def config(output: Path, **changes: object) -> SimulateConfig:
    values = {"rows": ROWS, "size": SIZE, "seed": SEED, "rows_per_shard": 20, "output": output, **changes}
    return SimulateConfig(**values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fusionrs(config(tmp_path_factory.mktemp("one") / "fusionrs"))


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, list[dict]]:
    return {
        split: [
            row
            for path in sorted((folder / "data").glob(f"{split}-*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        for split in ("train", "validation", "test")
    }


@pytest.mark.parametrize(
    ("text", "normalised", "digest"),
    [
        ("A river.", "a river", "b51e72217578347c280d0292d6026e74ebd5f5b7fa1b10631fa1af15a367c3bb"),
        (
            "  Two  planes,\tparked\u2014near a TERMINAL!  ",
            "two planes parked near a terminal",
            "35fb42ff906e9cb7a8a411ad673831a472169505034878462d2ea52b52ef1b00",
        ),
        (
            "Stra\u00dfe \u2116 \u00bd \ufb01eld",
            "strasse no 1 2 field",
            "fff3381017e381a0e804d3e3e680485d2a9856bb99bd2e158def97d73bc4f95c",
        ),
        ("", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_caption_keys_have_golden_values(text, normalised, digest):
    assert normalise_caption(text) == normalised
    assert caption_key(text) == digest


def test_rows_that_share_any_key_are_one_group_in_any_order():
    keys = [["a"], ["b", "c"], ["d"], ["c", "a"], ["e"]]
    groups = leak_groups(keys)
    assert groups[0] == groups[1] == groups[3]
    assert len(set(groups)) == 3
    assert leak_groups(keys[::-1]) == groups[::-1]
    with pytest.raises(ValueError, match="row 1 has no key"):
        leak_groups([["a"], []])


def test_splits_hold_whole_groups_and_their_share_of_rows():
    groups = [f"g{n // 3}" for n in range(300)]
    splits = assign_splits(groups, validation_fraction=0.1, test_fraction=0.2, seed=0)
    assert {name: splits.count(name) for name in set(splits)} == {"train": 210, "validation": 30, "test": 60}
    assert all(len({split for split, own in zip(splits, groups, strict=True) if own == g}) == 1 for g in set(groups))
    assert assign_splits(groups, validation_fraction=0.1, test_fraction=0.2, seed=1) != splits


def test_every_row_is_what_its_seed_and_index_say(tables):
    rows = [row for table in tables.values() for row in table]
    assert sorted(row["id"] for row in rows) == [f"simulator:{SEED}-{n:07d}" for n in range(ROWS)]
    for row in rows[::7]:
        scene = simulate_scene(SEED, int(row["source_id"].split("-")[1]), SIZE)
        assert row == scene_row(scene, leak_group=row["leak_group"])
        assert row["captions"] == list(scene.captions)
        assert row["caption_key"] == caption_key(scene.captions[0])
        assert (row["infrared_origin"], row["infrared_band"]) == ("simulated", "thermal")
        assert (row["source"], row["license"], row["class_name"]) == ("simulator", "Apache-2.0", scene.class_name)
        assert hashlib.sha256(row["rgb"]["bytes"]).hexdigest() == row["rgb_sha256"]
        assert hashlib.sha256(row["infrared"]["bytes"]).hexdigest() == row["infrared_sha256"]
        decoded = Image.open(io.BytesIO(row["infrared"]["bytes"]))
        assert np.array_equal(np.asarray(decoded), scene.infrared)


def test_no_leak_group_and_no_caption_key_crosses_splits(tables):
    for column in ("leak_group", "caption_key", "rgb_sha256", "infrared_sha256"):
        train, validation, test = ({row[column] for row in tables[split]} for split in ("train", "validation", "test"))
        assert min(len(train), len(validation), len(test)) > 0
        assert not train & validation
        assert not train & test
        assert not validation & test
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 48, "validation": 6, "test": 6}


def test_bytes_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    other = write_fusionrs(config(tmp_path / "fusionrs", workers=2))
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    assert [str(path) for path in files][:3] == [f"data/{shard_name(*s)}" for s in FIRST_SHARDS]
    for path in files:
        assert (other / path).read_bytes() == (folder / path).read_bytes(), path


def test_manifest_counts_rows_and_its_hashes_are_those_of_the_files(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["stages"] == [
        {"stage": "simulate", "rows_in": ROWS, "rows_out": ROWS, "rejected": {}, "rejected_sample": []}
    ]
    assert manifest["config"]["seed"] == SEED
    assert set(manifest["versions"]) == {"python", "numpy", "pillow", "pyarrow", "datasets"}
    assert "code_revision" in manifest
    assert {shard["file"] for shard in manifest["shards"]} == {
        str(path.relative_to(folder)) for path in folder.rglob("*.parquet")
    }
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        assert shard["sha256"] == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
        assert shard["bytes"] == path.stat().st_size
        assert shard["rows"] == pq.ParquetFile(path).metadata.num_rows
    of_data = [shard["rows"] for shard in manifest["shards"] if shard["file"].startswith("data/")]
    assert of_data == [20, 20, 8, 6, 6]
    assert not list(folder.rglob("*.part"))


def test_load_dataset_gives_equal_pixels_and_keeps_sixteen_bits(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loaded = load_dataset("fusionrs", cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 48, "validation": 6, "test": 6}
    assert loaded["train"].features == fusionrs_features()
    for row in loaded["test"]:
        scene = simulate_scene(SEED, int(row["source_id"].split("-")[1]), SIZE)
        assert row["infrared"].mode == "I;16"
        assert row["rgb"].mode == "RGB"
        assert np.array_equal(np.asarray(row["infrared"]), scene.infrared)
        assert np.abs(np.asarray(row["rgb"]).astype(int) - scene.rgb).mean() < 6
    index = load_dataset("fusionrs", "index", cache_dir=str(tmp_path / "cache"))
    assert set(index["test"].column_names) == set(loaded["test"].column_names) - {"rgb", "infrared"}
    assert index["test"]["id"][:] == loaded["test"]["id"][:]
    streamed = load_dataset("fusionrs", split="validation", streaming=True, cache_dir=str(tmp_path / "cache"))
    assert [row["id"] for row in streamed] == loaded["validation"]["id"][:]


def test_image_columns_are_left_uncompressed_in_row_groups_of_a_hundred(tmp_path):
    row = scene_row(simulate_scene(0, 0, 16), leak_group="g")
    write_shards(
        (row for _ in range(250)),
        tmp_path / "data",
        split="train",
        row_count=250,
        rows_per_shard=300,
        features=fusionrs_features(),
    )
    metadata = pq.ParquetFile(tmp_path / "data" / "train-00000-of-00001.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [100, 100, 50]
    columns = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
    compression = {column.path_in_schema: column.compression for column in columns}
    assert compression["rgb.bytes"] == compression["infrared.bytes"] == "UNCOMPRESSED"
    assert compression["captions.list.element"] == compression["id"] == "ZSTD"


def test_too_few_rows_for_a_shard_are_an_error_and_leave_no_shard(tmp_path):
    row = scene_row(simulate_scene(0, 0, 16), leak_group="g")
    with pytest.raises(ValueError, match=r"train-00000-of-00001.parquet should hold 3 rows, .* ended after 2"):
        write_shards(
            iter([row, row]), tmp_path, split="train", row_count=3, rows_per_shard=5, features=fusionrs_features()
        )
    assert not list(tmp_path.glob("*.parquet"))


def test_an_existing_folder_is_refused_and_a_foreign_one_never_replaced(tmp_path):
    output = tmp_path / "fusionrs"
    write_fusionrs(config(output, rows=10, size=16))
    with pytest.raises(FileExistsError, match=r"fusionrs exists\. Choose another --output, or give --overwrite"):
        write_fusionrs(config(output, rows=10, size=16))
    write_fusionrs(config(output, rows=11, size=16, overwrite=True))
    assert json.loads((output / "manifest.json").read_text())["stages"][0]["rows_out"] == 11
    (output / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, which this program did not write"):
        write_fusionrs(config(output, rows=10, size=16, overwrite=True))
    assert (output / "notes.txt").read_text() == "mine"


def test_the_command_writes_a_folder_and_prints_a_summary(tmp_path, capsys):
    output = tmp_path / "fusionrs"
    main(["simulate", "--output", str(output), "--rows", "12", "--size", "16", "--seed", "1"])
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["split", "train", "validation", "test", "12"]
    assert "12/12" in printed.err
    assert (output / "README.md").read_text().startswith("---\nlicense: apache-2.0\n")
    with pytest.raises(SystemExit, match="unknown command 'simulat'"):
        main(["simulat"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must not be negative"),
        ({"validation_fraction": 0.6, "test_fraction": 0.4}, "must leave rows for train"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(Path("fusionrs"), **changes)


def test_the_card_never_presents_the_rows_as_observations(folder):
    card = (folder / "README.md").read_text()
    assert "nothing here was observed" in card
    assert "| train | 48 |" in card


def test_another_folder_of_the_same_name_is_not_taken_for_this_one(tmp_path):
    """`datasets` caches a folder under its name and card only."""
    for place, rows in (("first", 20), ("second", 30)):
        data = write_fusionrs(SimulateConfig(output=tmp_path / place / "fusionrs", rows=rows, size=32))
        loaded = load_dataset(str(data), cache_dir=str(tmp_path / "cache"))
        assert sum(len(split) for split in loaded.values()) == rows
