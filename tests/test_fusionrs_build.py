"""The built `fusionrs` folder: rows, splits, shards, manifest, card, its command, and building it twice."""

import hashlib
import io
import json
import re
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image
from simulated_dataset import build_simulated, simulated_config

from dataset_scripts.__main__ import main
from dataset_scripts.build_fusionrs import build_fusionrs
from dataset_scripts.durable_files import file_sha256
from dataset_scripts.engine import EngineConfig
from dataset_scripts.fusionrs_rows import fusionrs_features
from dataset_scripts.scenes.scene_encoding import encode_infrared, encode_rgb
from dataset_scripts.scenes.scene_simulator import simulate_scene
from dataset_scripts.stages.caption_key import caption_key, normalise_caption
from dataset_scripts.stages.leak_groups import leak_groups

ROWS, SIZE, SEED = 60, 48, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("one") / "fusionrs", ROWS, size=SIZE, seed=SEED, rows_per_part=25)


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


def test_every_row_is_what_its_seed_and_index_say(tables):
    rows = [row for table in tables.values() for row in table]
    assert sorted(row["id"] for row in rows) == [f"simulator:{SEED}-{n:07d}" for n in range(ROWS)]
    for row in rows[::7]:
        scene = simulate_scene(SEED, int(row["source_id"].split("-")[1]), SIZE)
        assert row["rgb"] == {"bytes": encode_rgb(scene.rgb), "path": None}
        assert row["infrared"] == {"bytes": encode_infrared(scene.infrared), "path": None}
        assert row["captions"] == list(scene.captions)
        assert row["infrared_captions"] == list(scene.infrared_captions)
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


@pytest.mark.parametrize("changes", [{"engine": EngineConfig(workers=4)}, {"rows_per_part": 7}])
def test_bytes_do_not_depend_on_the_number_of_workers_nor_of_parts(folder, tmp_path, changes):
    other = build_simulated(tmp_path / "fusionrs", ROWS, size=SIZE, seed=SEED, **{"rows_per_part": 25, **changes})
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    assert len(files) == 6
    for path in files:
        assert (other / path).read_bytes() == (folder / path).read_bytes(), path


def test_manifest_counts_rows_and_its_hashes_are_those_of_the_files(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {stage["stage"]: (stage["rows_in"], stage["rows_out"]) for stage in manifest["stages"]} == dict.fromkeys(
        ("read", "equal_ids", "exact_duplicates", "write"), (ROWS, ROWS)
    )
    assert manifest["config"]["sources"]["scene_seed"] == SEED
    assert set(manifest["versions"]) == {"python", "numpy", "pillow", "pyarrow", "datasets", "daft"}
    assert "code_revision" in manifest
    assert manifest["audit"]["groups_across_splits"] == manifest["audit"]["caption_keys_across_splits"] == 0
    assert {shard["file"] for shard in manifest["shards"]} == {
        str(path.relative_to(folder)) for path in folder.rglob("*.parquet")
    }
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        assert shard["sha256"] == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
        assert shard["bytes"] == path.stat().st_size
        assert shard["rows"] == pq.ParquetFile(path).metadata.num_rows
    assert {name: file_sha256(folder / name) for name in manifest["files"]} == manifest["files"]
    assert not list(folder.rglob("*.part"))
    assert not list(folder.with_name("fusionrs.work").rglob("*.part"))


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
        assert np.abs(np.asarray(row["rgb"]).astype(int) - scene.rgb).mean() < 8
    index = load_dataset("fusionrs", "index", cache_dir=str(tmp_path / "cache"))
    assert set(index["test"].column_names) == set(loaded["test"].column_names) - {"rgb", "infrared"}
    assert index["test"]["id"][:] == loaded["test"]["id"][:]
    streamed = load_dataset("fusionrs", split="validation", streaming=True, cache_dir=str(tmp_path / "cache"))
    assert [row["id"] for row in streamed] == loaded["validation"]["id"][:]


def test_image_columns_are_left_uncompressed_with_checksums_of_their_pages(folder):
    metadata = pq.ParquetFile(folder / "data" / "train-00000-of-00001.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [48]
    columns = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
    compression = {column.path_in_schema: column.compression for column in columns}
    assert compression["rgb.bytes"] == compression["infrared.bytes"] == "UNCOMPRESSED"
    assert compression["captions.list.element"] == compression["id"] == "ZSTD"


def test_a_finished_build_writes_nothing_when_it_is_run_again(folder):
    def state() -> dict[str, tuple[int, int]]:
        places = (folder, folder.with_name("fusionrs.work"))
        files = [path for place in places for path in place.rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

    before = state()
    build_simulated(folder, ROWS, size=SIZE, seed=SEED, rows_per_part=25)
    assert state() == before


def test_a_shard_that_was_damaged_deleted_or_truncated_is_made_again(folder):
    damaged = folder / "data" / "train-00000-of-00001.parquet"
    staged = next(folder.with_name("fusionrs.work").glob("read/*.parquet"))
    deleted = folder / "index" / "test-00000-of-00001.parquet"
    good = {path: path.read_bytes() for path in (damaged, staged, deleted)}
    flipped = bytearray(good[damaged])
    flipped[len(flipped) // 2] ^= 1
    damaged.write_bytes(flipped)
    staged.write_bytes(good[staged][:-10])
    deleted.unlink()
    build_simulated(folder, ROWS, size=SIZE, seed=SEED, rows_per_part=25)
    assert {path: path.read_bytes() for path in good} == good


def test_other_settings_need_a_word_and_a_foreign_folder_is_never_replaced(tmp_path):
    output = tmp_path / "fusionrs"
    build_simulated(output, 10, size=16)
    with pytest.raises(FileExistsError, match=r"built with other settings\. Choose another --output, or give --over"):
        build_simulated(output, 11, size=16)
    build_simulated(output, 11, size=16, overwrite=True)
    assert json.loads((output / "manifest.json").read_text())["stages"][0]["rows_out"] == 11
    (output / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, which this program did not write"):
        build_simulated(output, 10, size=16, overwrite=True)
    assert (output / "notes.txt").read_text() == "mine"


def test_the_command_writes_a_folder_and_prints_a_summary(tmp_path, capsys):
    output = tmp_path / "fusionrs"
    arguments = ["--num-scenes", "12", "--sources.scene-size", "16", "--sources.scene-seed", "1", "--workers", "1"]
    main(["build", "fusionrs", "--source", "simulator", "--output", str(output), *arguments])
    printed = capsys.readouterr()
    first = [line.split()[0] for line in printed.out.splitlines() if line.strip()]
    assert first == ["stage", "read", "equal_ids", "exact_duplicates", "write", "split", "train", *first[7:-1], "12"]
    assert "12/12" in printed.err
    assert "license: apache-2.0\n" in (output / "README.md").read_text().split("---")[1]
    with pytest.raises(SystemExit, match="unknown command 'buidl'"):
        main(["buidl"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rs4m"], "'rs4m' is no dataset of this program; it builds fusionrs and rs5m"),
        (["fusionrs", "--source", "simulator", "--num-scenes", "0"], "num_scenes is 0"),
        (["fusionrs", "--source", "rsicd"], "source 'rsicd' needs the folder of your copy: --source rsicd:FOLDER"),
        (["fusionrs", "--source", "rsicd:nowhere"], "source 'rsicd': nowhere does not exist"),
        (["fusionrs", "--source", "rsidc:x"], "source 'rsidc' is not known; there are"),
        (["fusionrs", "--source", "simulator", "simulator"], "source simulator is given twice"),
        (["fusionrs", "--source", "simulator", "--workers", "0"], "workers is 0"),
        (["fusionrs", "--source", "simulator", "--ray-address", "x"], "the engine is local"),
        (["fusionrs", "--source", "simulator", "--translator.name", "unet"], "checkpoint is None for 'unet'"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(["build", *arguments])
    assert not (tmp_path / "fusionrs").exists()


def test_two_builds_do_not_share_a_work_folder(tmp_path):
    from dataset_scripts.journal import BuildLockedError, locked

    config = simulated_config(tmp_path / "fusionrs", 10)
    import subprocess
    import sys

    holder = (
        "import sys, time; from pathlib import Path; from dataset_scripts.journal import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(config.work_folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BuildLockedError, match="another process is building"):
            build_fusionrs(config)
        process.kill()
    with locked(config.work_folder):
        pass


def test_the_card_says_that_infrared_is_no_temperature(folder):
    card = (folder / "README.md").read_text()
    assert "No infrared image here is a temperature" in card
    assert "Every row is simulated; nothing here was observed." in card
    assert "| train | 48 |" in card


def test_another_folder_of_the_same_name_is_not_taken_for_this_one(tmp_path):
    """`datasets` caches a folder under its name and card only."""
    for place, rows in (("first", 20), ("second", 30)):
        data = build_simulated(tmp_path / place / "fusionrs", rows)
        loaded = load_dataset(str(data), cache_dir=str(tmp_path / "cache"))
        assert sum(len(split) for split in loaded.values()) == rows


def test_rows_on_the_list_of_exclusions_are_left_out_and_counted(folder, tables, tmp_path):
    rows = [row for table in tables.values() for row in table]
    by_id, by_hash = rows[0]["id"], rows[1]["rgb_sha256"]
    listed = tmp_path / "exclusions.txt"
    listed.write_text(f"# taken out on request\n{by_id} # asked for by its owner\n\n{by_hash}\nnobody:1\n")
    other = build_simulated(tmp_path / "fusionrs", ROWS, size=SIZE, seed=SEED, exclusions=listed)
    manifest = json.loads((other / "manifest.json").read_text())
    stage = next(stage for stage in manifest["stages"] if stage["stage"] == "exclusions")
    assert (stage["rows_in"], stage["rows_out"], stage["rejected"]) == (ROWS, ROWS - 2, {"excluded": 2})
    kept = {row["id"] for path in other.rglob("data/*.parquet") for row in pq.read_table(path).to_pylist()}
    assert kept == {row["id"] for row in rows[2:]}
    with pytest.raises(FileExistsError, match="built with other settings"):
        build_simulated(other, ROWS, size=SIZE, seed=SEED)


def test_of_equal_images_the_one_with_measured_infrared_and_an_open_licence_stays():
    from dataset_scripts.duplicate_decisions import one_of_each_image
    from dataset_scripts.row_table import RowTable

    columns = {
        "id": ["a", "b", "c", "d", "e", "f"],
        "source": ["laioncoco", "x", "x", "x", "x", "x"],
        "license": ["unknown", "CC-BY-4.0", "CC-BY-4.0", "unknown", "unknown", "CC-BY-4.0"],
        "infrared_origin": ["sensor", "luminance", None, "simulated", None, None],
        "sha256": ["one", "one", "one", "one", "two", "two"],
    }
    table = RowTable(pa.table(columns), np.zeros(6, dtype=np.int32), np.arange(6))
    kept, rejects = one_of_each_image(table)
    assert [columns["id"][row] for row in kept] == ["a", "f"]
    assert {reject.detail for reject in rejects} == {"same as a", "same as f"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--source", "simulator", "--sources.license", "CC-BY4.0"],
            "'CC-BY4.0' is not one .* did you mean 'cc-by-4.0'",
        ),
        (["--source", "web:."], "holds addresses, not images. Build rs5m of it first"),
    ],
)
def test_mistakes_that_would_cost_rows_are_refused_before_any_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["build", "fusionrs", *arguments])
    said = f"{caught.value} {capsys.readouterr().err}".replace("\n", " ")
    assert re.search(message, re.sub(r"[│ ]+", " ", said))
    assert not (tmp_path / "fusionrs").exists()
