"""Croissant metadata: what stands in it, and that mlcroissant, where it is installed, reads the rows through it."""

import importlib
import io
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Features, Image, List, Value
from PIL import Image as PillowImage
from written_shards import write_shards

from dataset_scripts.croissant import croissant_metadata, record_set_name, write_croissant

FUSIONRS = Features(
    {
        "id": Value("string"),
        "rgb": Image(),
        "infrared": Image(),
        "captions": List(Value("string")),
        "class_name": Value("string"),
        "license": Value("string"),
    }
)
INDEX = Features({name: kind for name, kind in FUSIONRS.items() if name not in ("rgb", "infrared")})
RS5M = Features(
    {
        "id": Value("string"),
        "image": Image(),
        "captions": List({"text": Value("string"), "kind": Value("string"), "score": Value("float32")}),
        "latitude": Value("float64"),
    }
)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"a:{number}",
            "rgb": {"bytes": png(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)), "path": None},
            "infrared": {"bytes": png(rng.integers(0, 65536, (6, 5), dtype=np.uint16)), "path": None},
            "captions": [f"caption {n} of Z\u00fcrich" for n in range(number)],
            "class_name": None if number % 2 else "farm",
            "license": "CC-BY-4.0",
        }
        for number in range(count)
    ]


def make_manifest(shards: list[dict[str, Any]]) -> dict[str, Any]:
    sources = [
        {"name": "a", "license": "CC-BY-4.0", "attribution": "A & Sons", "citation": "arXiv:1"},
        {"name": "b", "license": "US-PD", "caption_license": "ODbL-1.0", "attribution": "", "citation": ""},
    ]
    return {"dataset": "fusionrs", "sources": sources, "shards": shards}


def describe(manifest: dict[str, Any], features: dict[str, Features], **values: Any) -> dict[str, Any]:
    own = {"name": "FusionRS", "description": "pairs", "url": "https://example.org", "public": True, **values}
    return croissant_metadata(manifest, features=features, **own)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fusionrs"


def write_fusionrs(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    shards = []
    for place, features in (("data", FUSIONRS), ("local", FUSIONRS), ("index", INDEX)):
        own = [{name: row[name] for name in features} for row in rows]
        shards += write_shards(
            iter(own), folder / place, split="train", row_count=len(rows), rows_per_shard=3, features=features
        )
    return make_manifest(shards)


@pytest.fixture
def mlcroissant() -> types.ModuleType:
    return importlib.import_module("mlcroissant")


# rdflib and pandas warn of what mlcroissant 1.1.1 calls.
reads_croissant = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def columns_of(record: dict[str, Any]) -> dict[str, Any]:
    """Records by column; text comes as bytes."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, dict):
            return columns_of(value)
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {name.rsplit("/", 1)[1]: plain(value) for name, value in record.items()}


def test_every_shard_that_may_go_out_stands_with_size_and_hash(folder: Path) -> None:
    manifest = write_fusionrs(folder, make_rows(4))
    features = {"default": FUSIONRS, "index": INDEX}
    metadata = describe(manifest, features)
    public = [shard for shard in manifest["shards"] if not shard["file"].startswith("local/")]
    assert [
        (file["@id"], file["contentUrl"], file["contentSize"], file["sha256"]) for file in metadata["distribution"]
    ] == [(shard["file"], shard["file"], f"{shard['bytes']} B", shard["sha256"]) for shard in public]
    assert len(public) == 4
    everything = describe(manifest, features, public=False, base_url="https://example.org/resolve/v1/")
    assert [file["contentUrl"] for file in everything["distribution"]][2:4] == [
        "https://example.org/resolve/v1/local/train-00000-of-00002.parquet",
        "https://example.org/resolve/v1/local/train-00001-of-00002.parquet",
    ]


def test_every_column_of_every_shard_is_a_field(folder: Path) -> None:
    metadata = describe(write_fusionrs(folder, make_rows(4)), {"default": FUSIONRS, "index": INDEX})
    names = [record_set["@id"] for record_set in metadata["recordSet"]]
    assert names == ["shards", *(f"{place}/train-0000{n}-of-00002" for place in ("data", "index") for n in range(2))]
    fields = {
        record_set["@id"]: [field["name"] for field in record_set["field"]] for record_set in metadata["recordSet"]
    }
    assert fields[names[1]] == list(FUSIONRS)
    assert fields[names[4]] == list(INDEX)
    assert metadata["recordSet"][0]["data"][1] == {
        "shards/record_set": "data/train-00001-of-00002",
        "shards/config": "default",
        "shards/split": "train",
        "shards/rows": 1,
    }
    identifiers = [field["@id"] for record_set in metadata["recordSet"] for field in record_set["field"]]
    assert len(set(identifiers)) == len(identifiers)


def test_licences_and_credits_are_those_of_the_sources(folder: Path) -> None:
    metadata = describe(write_fusionrs(folder, make_rows(1)), {"default": FUSIONRS, "index": INDEX}, version="1.0.0")
    assert metadata["license"] == [
        "https://spdx.org/licenses/CC-BY-4.0",
        "https://spdx.org/licenses/ODbL-1.0",
        "each row has its own: see the column `license`",
    ]
    assert metadata["creditText"] == "a: A & Sons; b: no attribution given"
    assert (metadata["citeAs"], metadata["version"]) == ("arXiv:1", "1.0.0")
    assert "datePublished" not in metadata


def test_columns_that_croissant_cannot_say_are_refused(folder: Path) -> None:
    manifest = write_fusionrs(folder, make_rows(1))
    with pytest.raises(ValueError, match="no features are given for index, of which there are shards"):
        describe(manifest, {"default": FUSIONRS})
    with pytest.raises(ValueError, match="column 'id' is large_binary; Croissant fields are of string, bool"):
        describe(manifest, {"default": Features({"id": Value("large_binary")}), "index": INDEX})
    with pytest.raises(ValueError, match=r"column 'x' is .*; there is no Croissant field for it"):
        describe(manifest, {"default": Features({"x": {"a": Value("string")}}), "index": INDEX})


@reads_croissant
def test_mlcroissant_finds_no_fault(folder: Path, mlcroissant: types.ModuleType) -> None:
    manifest = write_fusionrs(folder, make_rows(4))
    metadata = describe(
        manifest, {"default": FUSIONRS, "index": INDEX}, version="1.0.0", date_published="2026-01-31", name="a\n\u2028b"
    )
    path = write_croissant(folder, metadata)
    assert json.loads(path.read_text(encoding="utf-8")) == metadata
    issues = mlcroissant.Dataset(jsonld=str(path)).metadata.ctx.issues
    assert (set(issues.errors), set(issues.warnings)) == (set(), set())


@reads_croissant
def test_our_context_is_that_of_the_specification(folder: Path, mlcroissant: types.ModuleType) -> None:
    from mlcroissant._src.core.context import Context, CroissantVersion
    from mlcroissant._src.core.rdf import make_context

    metadata = describe(write_fusionrs(folder, make_rows(1)), {"default": FUSIONRS, "index": INDEX})
    assert metadata["@context"] == make_context(Context(conforms_to=CroissantVersion.V_1_1))


@reads_croissant
def test_mlcroissant_reads_both_images_and_all_columns_of_all_shards(
    folder: Path, mlcroissant: types.ModuleType
) -> None:
    rows = make_rows(4)
    manifest = write_fusionrs(folder, rows)
    path = write_croissant(folder, describe(manifest, {"default": FUSIONRS, "index": INDEX}))
    dataset = mlcroissant.Dataset(jsonld=str(path))
    shards = [columns_of(record) for record in dataset.records("shards")]
    assert sum(shard["rows"] for shard in shards if shard["config"] == "default") == 4
    read = [
        columns_of(record)
        for shard in shards
        if shard["config"] == "default"
        for record in dataset.records(shard["record_set"])
    ]
    assert len(read) == 4
    for row, record in zip(rows, read, strict=True):
        for name, mode in (("rgb", "RGB"), ("infrared", "I;16")):
            assert record[name].mode == mode
            expected = np.asarray(PillowImage.open(io.BytesIO(row[name]["bytes"])))
            assert np.array_equal(np.asarray(record[name]), expected)
        texts = {name: value for name, value in row.items() if name not in ("rgb", "infrared")}
        assert {name: record[name] for name in texts} == texts
    index = [columns_of(record) for record in dataset.records(record_set_name(manifest["shards"][-1]))]
    assert index == [{name: rows[3][name] for name in INDEX}]


@reads_croissant
def test_mlcroissant_reads_lists_of_captions_with_kind_and_score(folder: Path, mlcroissant: types.ModuleType) -> None:
    captions = [{"text": "a", "kind": "web", "score": None}, {"text": "b", "kind": "machine", "score": 0.5}]
    rows = [
        {"id": "a:1", "image": {"bytes": png(np.eye(4, dtype=np.uint8)), "path": None}, "captions": captions},
        {"id": "a:2", "image": None, "captions": captions[1:], "latitude": -12.5},
    ]
    shards = write_shards(iter(rows), folder / "data", split="test", row_count=2, rows_per_shard=2, features=RS5M)
    path = write_croissant(folder, describe(make_manifest(shards), {"default": RS5M}))
    records = mlcroissant.Dataset(jsonld=str(path)).records("data/test-00000-of-00001")
    first, second = (columns_of(record) for record in records)
    assert (first["captions"], first["latitude"]) == (captions, None)
    assert (second["captions"], second["latitude"], second["image"]) == (captions[1:], -12.5, None)
    assert np.array_equal(np.asarray(first["image"]), np.eye(4))


@reads_croissant
def test_a_shard_with_one_changed_bit_is_not_read(folder: Path, mlcroissant: types.ModuleType) -> None:
    manifest = write_fusionrs(folder, make_rows(4))
    path = write_croissant(folder, describe(manifest, {"default": FUSIONRS, "index": INDEX}))
    shard = folder / manifest["shards"][1]["file"]
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    dataset = mlcroissant.Dataset(jsonld=str(path))
    assert len(list(dataset.records("data/train-00000-of-00002"))) == 3
    with pytest.raises(Exception, match="Download") as failure:
        list(dataset.records("data/train-00001-of-00002"))
    assert "is not identical with the reference in the Croissant JSON-LD" in str(failure.value.__cause__)
