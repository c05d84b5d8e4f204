"""`check` finds every damage to a built folder and every row that is wrong; `build` repairs the damage."""

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from simulated_dataset import build_simulated

from dataset_scripts.__main__ import main
from dataset_scripts.check import check_folder, published_problems
from dataset_scripts.checking.folder_problem import KINDS, Problem
from dataset_scripts.dataset_manifest import manifest_text
from dataset_scripts.durable_files import file_sha256
from dataset_scripts.manifest_seal import is_sealed, sealed
from dataset_scripts.ordered_parquet import parquet_options
from dataset_scripts.rs5m_rows import rs5m_features, rs5m_row
from dataset_scripts.stages.caption_key import caption_key

ROWS, SIZE, SEED = 40, 32, 3
TRAIN = "data/train-00000-of-00001.parquet"
TEST = "data/test-00000-of-00001.parquet"
INDEX = "index/train-00000-of-00001.parquet"
_NO_SHARD = json.dumps(
    {"dataset": "fusionrs", "files": {"README.md": "", "croissant.json": ""}, "splits": {}, "shards": [{}]}
)


def build(folder: Path) -> Path:
    return build_simulated(folder, ROWS, size=SIZE, seed=SEED)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "fusionrs")


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "fusionrs"))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def kinds(problems: list[Problem]) -> set[str]:
    return {problem.kind for problem in problems}


def reseal(folder: Path, **changes: Any) -> None:
    """Change the manifest as one who knows how."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if path.is_file():
            shard.update(bytes=path.stat().st_size, sha256=file_sha256(path))
    (folder / "manifest.json").write_text(manifest_text(sealed({**manifest, **changes})))


def rewrite(folder: Path, file: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change rows of a shard, and make all hashes fit."""
    path = folder / file
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    options = parquet_options(table.schema, [name for name in ("rgb", "infrared") if name in table.column_names])
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    reseal(folder)


def test_a_folder_as_it_was_built_has_no_problem(folder: Path) -> None:
    assert check_folder(folder, quick=True) == []
    assert check_folder(folder) == []


def test_two_hundred_changed_bits_over_all_files_are_all_found(folder: Path) -> None:
    chance = random.Random(20)
    files = files_of(folder)
    assert len(files) == 9
    hit = set()
    for number in range(200):
        path = files[number % len(files)]
        data = path.read_bytes()
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        problems = check_folder(folder, quick=True)
        name = path.relative_to(folder).as_posix()
        assert name in {problem.file for problem in problems} or (problems and name == "manifest.json"), (name, at, bit)
        hit.add(name)
        path.write_bytes(data)
    assert len(hit) == 9
    assert check_folder(folder, quick=True) == []


def test_every_truncation_and_deletion_is_found(folder: Path) -> None:
    for path in files_of(folder):
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        for length in (0, 1, 4, len(data) // 2, len(data) - 9, len(data) - 8, len(data) - 1):
            path.write_bytes(data[:length])
            assert [problem.file for problem in check_folder(folder, quick=True)] == [name], length
        path.write_bytes(data + b"\0")
        assert [problem.file for problem in check_folder(folder, quick=True)] == [name]
        path.unlink()
        expected = "manifest_missing" if name == "manifest.json" else "missing"
        found = check_folder(folder, quick=True)
        assert [(problem.file, problem.kind) for problem in found] == [(name, expected)]
        path.mkdir()
        assert (name, expected) in [(problem.file, problem.kind) for problem in check_folder(folder, quick=True)]
        path.rmdir()
        path.write_bytes(data)
    assert check_folder(folder, quick=True) == []


def test_whatever_the_manifest_does_not_list_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "data" / "train-00001-of-00002.parquet").write_bytes(b"x")
    (folder / "data" / ".train-00000-of-00001.parquet.77.part").write_bytes(b"x")
    (folder / ".hidden" / "deep").mkdir(parents=True)
    (folder / ".hidden" / "deep" / "notes").write_text("x")
    (folder / ".gitattributes").write_text("x")
    (folder / "local").symlink_to(tmp_path)
    assert {(problem.file, problem.kind) for problem in check_folder(folder, quick=True)} == {
        ("data/train-00001-of-00002.parquet", "unlisted"),
        ("data/.train-00000-of-00001.parquet.77.part", "leftover"),
        (".hidden/deep/notes", "unlisted"),
        (".gitattributes", "unlisted"),
        ("local", "unlisted"),
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "manifest_unreadable"),
        ("[]", "manifest_unreadable"),
        ("[" * 100_000, "manifest_unreadable"),
        ('{"dataset": "fusionrs"}', "manifest_unreadable"),
        (_NO_SHARD, "manifest_unreadable"),
        ('{"dataset": "\\ud800"}', "manifest_unreadable"),
    ],
)
def test_a_manifest_that_is_none_is_said_to_be_none(folder: Path, text: str, kind: str) -> None:
    (folder / "manifest.json").write_text(text)
    assert kinds(check_folder(folder)) == {kind}


@pytest.mark.parametrize(
    "file", ["../outside.parquet", "/etc/passwd", "data/../../x.parquet", "data//x.parquet", "other/x.parquet", "x"]
)
def test_a_manifest_cannot_lead_out_of_the_folder(folder: Path, file: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["file"] = file
    (folder / "manifest.json").write_text(manifest_text(sealed(manifest)))
    assert kinds(check_folder(folder)) == {"manifest_unreadable"}


def test_the_manifest_carries_its_own_hash_and_one_way_of_writing(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert is_sealed(manifest)
    assert list(manifest)[-1] == "self_sha256"
    assert sealed(sealed(manifest)) == manifest
    path.write_text(json.dumps(manifest))
    assert kinds(check_folder(folder, quick=True)) == {"manifest_not_canonical"}
    path.write_text(manifest_text({**manifest, "code_revision": "another"}))
    assert kinds(check_folder(folder, quick=True)) == {"manifest_seal"}


def test_row_counts_must_add_up(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"]["rows"] += 1
    manifest["splits"]["test"]["leak_groups"] -= 1
    reseal(folder, splits=manifest["splits"])
    problems = check_folder(folder)
    assert kinds(problems) == {"counts"}
    assert [problem.detail for problem in problems][:2] == [
        "train has 33 rows, its index 32",
        "train has 33 rows, its shards with images 32, and 0 are withheld",
    ]
    assert "test has 4 rows in 4 leak groups" in problems[-1].detail


def png(size: tuple[int, int], mode: str = "L", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(buffer, "PNG", **options)
    return buffer.getvalue()


def put_image(column: str, data: bytes | None) -> Callable[[dict[str, Any]], None]:
    """Another image with the hash that belongs to it."""

    def change(row: dict[str, Any]) -> None:
        from hashlib import sha256

        row[column] = {"bytes": data, "path": None}
        row[f"{column}_sha256"] = sha256(data or b"").hexdigest()

    return change


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update(values)


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return png((SIZE, SIZE), "RGB", exif=exif)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    from dataset_scripts.stages.strip_metadata import strip_metadata

    return strip_metadata(png((SIZE, SIZE + 8), exif=exif))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda row: row["rgb"].update(bytes=row["rgb"]["bytes"][:-9]), {"image_sha256", "image_undecodable"}),
        (put_image("rgb", b"no image"), {"image_undecodable"}),
        (put_image("infrared", png((SIZE, SIZE + 1))), {"geometry"}),
        (put_image("infrared", turned()), {"geometry"}),
        (put_image("infrared", png((SIZE, SIZE), "RGB")), {"infrared_channels"}),
        (put_image("rgb", with_exif()), {"image_metadata"}),
        (put_image("rgb", None), {"image_missing"}),
        (lambda row: row["rgb"].update(path="/home/me/a.jpg"), {"image_path"}),
        (put(caption_key=caption_key("another")), {"caption_key"}),
        (put(license="unknown"), {"license"}),
        (put(infrared_origin="translated:x@1", license="CC-BY-ND-4.0"), {"license"}),
    ],
)
def test_a_row_that_is_wrong_is_found_whatever_its_hashes(
    folder: Path, change: Callable[[dict[str, Any]], None], found: set[str]
) -> None:
    row_id = ""

    def one(rows: list[dict[str, Any]]) -> None:
        nonlocal row_id
        change(rows[1])
        row_id = rows[1]["id"]

    rewrite(folder, TEST, one)
    problems = [problem for problem in check_folder(folder) if problem.kind != "index_row"]
    assert kinds(problems) == found
    assert all(row_id in problem.detail and problem.file == TEST for problem in problems)


def test_the_index_must_hold_the_same_rows(folder: Path) -> None:
    rewrite(folder, INDEX, lambda rows: rows[5].update(class_name="another"))
    first = [(problem.file, problem.kind) for problem in check_folder(folder)]
    assert first == [(TRAIN, "index_row"), (INDEX, "index_row")]


def test_what_the_index_withholds_must_be_empty(folder: Path) -> None:
    rewrite(folder, INDEX, lambda rows: rows[5].update(license="unknown"))
    manifest = json.loads((folder / "manifest.json").read_text())
    found = published_problems(folder, manifest)
    assert {(problem.file, problem.kind) for problem in found} == {(INDEX, "not_withheld")}
    columns = {problem.detail.split()[0] for problem in found}
    assert columns == {"captions", "infrared_captions", "class_name"}


def test_a_token_in_a_text_is_found_and_not_repeated(folder: Path) -> None:
    token = "hf_" + "a1B2" * 9
    rewrite(folder, INDEX, lambda rows: rows[0]["captions"].append(f"see {token}"))
    rewrite(folder, TRAIN, lambda rows: rows[0].update(attribution=token))
    found = published_problems(folder, json.loads((folder / "manifest.json").read_text()))
    assert [(problem.file, problem.kind) for problem in found] == [(TRAIN, "secret"), (INDEX, "secret")]
    assert token not in str(found)


def test_an_id_that_is_there_twice_is_named(folder: Path) -> None:
    rewrite(folder, TRAIN, lambda rows: rows[1].update(id=rows[0]["id"]))
    problems = [problem for problem in check_folder(folder) if problem.kind == "equal_ids"]
    row_id = pq.read_table(folder / TRAIN, columns=["id"])["id"][0].as_py()
    assert problems == [Problem(TRAIN, "equal_ids", f"{row_id} is there 2 times, also in {TRAIN}")]


@pytest.mark.parametrize("column", ["leak_group", "caption_key"])
def test_what_crosses_splits_is_named(folder: Path, column: str) -> None:
    value = pq.read_table(folder / TRAIN, columns=[column])[column][0].as_py()
    for place in ("data", "index"):
        rewrite(folder, f"{place}/test-00000-of-00001.parquet", lambda rows: rows[0].update({column: value}))
    problems = [problem for problem in check_folder(folder) if problem.kind == "split_leak"]
    assert len(problems) == 1
    assert f"1 of {column} lie in several splits, such as {value}" in problems[0].detail


def test_a_changed_bit_in_a_page_is_found_by_its_checksum_though_all_hashes_fit(folder: Path) -> None:
    path = folder / TRAIN
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    reseal(folder)
    assert check_folder(folder, quick=True) == []
    problems = check_folder(folder)
    assert "unreadable" in kinds(problems)
    assert next(problem for problem in problems if problem.kind == "unreadable").file == TRAIN


def test_other_columns_are_named(folder: Path) -> None:
    table = pq.read_table(folder / INDEX)
    pq.write_table(table.drop_columns(["license"]), folder / INDEX)
    reseal(folder)
    assert Problem(INDEX, "columns", "columns license are missing or too many") in check_folder(folder)
    pq.write_table(table.set_column(0, "id", table["id"].cast(pa.large_string())), folder / INDEX)
    reseal(folder)
    assert Problem(INDEX, "columns", "column id is large_string; it should be string") in check_folder(folder)


@pytest.mark.parametrize("name", ["README.md", "croissant.json", "manifest.json"])
def test_build_repairs_damaged_texts_exactly(built: Path, name: str) -> None:
    path = built / name
    good = path.read_bytes()

    def damages() -> Iterator[bytes | None]:
        chance = random.Random(name)
        for _ in range(3):
            at = chance.randrange(len(good))
            yield good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :]
        yield good[:-1]
        yield good.replace(b"\n", b"\r\n")
        yield good[:50] + b"\xff" + good[51:]
        yield good.replace(b'"config_key": "', b'"config_key": "0')
        yield b""
        yield None

    for damaged in damages():
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        build(built)
        assert path.read_bytes() == good
    assert check_folder(built) == []


def test_the_command_reports_and_exits_with_one_on_problems(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["check", str(folder), "--workers", "1"])
    out = capfd.readouterr().out
    assert "80 rows" in out
    assert "80 images" in out
    assert f"{folder}: no problem" in out
    (folder / "README.md").unlink()
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(folder), "--quick"])
    assert stopped.value.code == 1
    assert "README.md: missing" in capfd.readouterr().err
    with pytest.raises(SystemExit, match=r"NotADirectoryError: .*nowhere is no folder"):
        main(["check", str(folder / "nowhere")])


def test_processes_find_what_one_process_finds(folder: Path) -> None:
    rewrite(folder, TEST, lambda rows: rows[0].update(caption_key="x"))
    assert check_folder(folder, workers=2) == check_folder(folder, workers=1) != []


def rs5m_folder(folder: Path) -> Path:
    """Ten rows written by hand."""
    from hashlib import sha256

    rows = []
    for number in range(10):
        data = png((20, 20 + number), "RGB")
        staged = {
            **dict.fromkeys(("url", "attribution"), "x"),
            "id": f"web:{number}",
            "source": "web",
            "license": "CC-BY-4.0",
            "metadata": None,
            "image": data,
            "sha256": sha256(data).hexdigest(),
            "perceptual_hash": number,
            "captions": [f"an aerial image {number}"],
            "caption_kind": "web",
            "caption_key": caption_key(f"an aerial image {number}"),
        }
        rows.append(rs5m_row(staged, f"group-{number}"))
    shards = []
    for place in ("data", "index"):
        features = rs5m_features()
        if place == "index":
            del features["image"]
        (folder / place).mkdir(parents=True)
        path = folder / place / "train-00000-of-00001.parquet"
        pq.write_table(
            pa.Table.from_pylist(rows, schema=features.arrow_schema), path, write_page_checksum=True, row_group_size=4
        )
        facts = {"file": f"{place}/{path.name}", "split": "train", "rows": 10, "bytes": 0, "sha256": ""}
        shards.append(facts)
    for name in ("README.md", "croissant.json"):
        (folder / name).write_text(name)
    manifest = {
        "dataset": "rs5m",
        "splits": {"train": {"rows": 10, "leak_groups": 10}},
        "shards": shards,
        "files": {name: file_sha256(folder / name) for name in ("README.md", "croissant.json")},
    }
    (folder / "manifest.json").write_text(manifest_text(manifest))
    reseal(folder)
    return folder


def test_rows_of_rs5m_are_checked_too(tmp_path: Path) -> None:
    folder = rs5m_folder(tmp_path / "rs5m")
    assert check_folder(folder) == []
    file = "data/train-00000-of-00001.parquet"

    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["image"]["bytes"] = png((30, 30), "RGB")
        rows[1]["captions"][0]["text"] = "another"
        rows[2]["license"] = "CC-BY-5.0"

    rewrite(folder, file, change)
    found = {(problem.kind, problem.file) for problem in check_folder(folder)}
    index = "index/train-00000-of-00001.parquet"
    assert found == {(kind, file) for kind in ("image_sha256", "caption_key", "license", "index_row")} | {
        ("index_row", index)
    }


def test_every_kind_says_what_it_means() -> None:
    assert all(text and not text.endswith(".") for text in KINDS.values())
    with pytest.raises(AssertionError):
        Problem("x", "bad")
