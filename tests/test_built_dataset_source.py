"""A built folder as the source of another build."""

import pickle
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from simulated_dataset import build_simulated, simulated_config
from written_shards import write_shards

from dataset_scripts.build_fusionrs import build_fusionrs
from dataset_scripts.rs5m_rows import rs5m_features
from dataset_scripts.sources.built_dataset import BuiltDataset
from dataset_scripts.sources.source_row import SourceRow
from dataset_scripts.steps.write_step import image_columns


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("first") / "fusionrs", 30, rows_per_part=10)


def rows_of(folder: Path) -> dict[str, dict]:
    tables = [pq.read_table(path).to_pylist() for path in sorted(folder.glob("data/*.parquet"))]
    return {row["id"]: row for table in tables for row in table}


def test_a_build_of_a_built_folder_holds_the_same_rows(built: Path, tmp_path: Path) -> None:
    config = simulated_config(tmp_path / "again", 30, source=(f"dataset:{built}",))
    assert rows_of(build_fusionrs(config)) == rows_of(built)


def test_parts_hold_every_row_once_however_they_are_cut(built: Path) -> None:
    source = pickle.loads(pickle.dumps(BuiltDataset(folder=built)))
    for rows_per_part in (1, 7, 1000):
        parts = source.parts(rows_per_part)
        read = [row for part in parts for row in source.read(part)]
        assert len(read) == sum(part.rows for part in parts) == 30
        assert {f"{row.source}:{row.source_id}" for row in read} == set(rows_of(built))
        assert len({part.name for part in parts}) == len(parts)


def test_a_row_of_rs5m_brings_its_captions_licences_and_facts(tmp_path: Path) -> None:
    row = dict.fromkeys(rs5m_features())
    row |= {
        "id": "fmow:airport_1",
        "source": "fmow",
        "image": {"bytes": b"jpeg", "path": None},
        "caption": "An airport with two runways.",
        "captions": [
            {"text": "A satellite image of an airport in Kenya.", "kind": "metadata", "score": None},
            {"text": "An airport with two runways.", "kind": "rotation_invariant", "score": 0.3},
        ],
        "license": "images CC-BY-4.0; captions unknown",
        "latitude": -1.5,
        "longitude": 36.0,
    }
    write_shards(
        iter([row]), tmp_path / "local", split="validation", row_count=1, rows_per_shard=1, features=rs5m_features()
    )
    source = BuiltDataset(folder=tmp_path)
    assert list(source.read(source.parts(10)[0])) == [
        SourceRow(
            source="fmow",
            source_id="airport_1",
            image=b"jpeg",
            captions=("An airport with two runways.", "A satellite image of an airport in Kenya."),
            caption_kind="rotation_invariant",
            license="CC-BY-4.0",
            caption_license="unknown",
            split="validation",
            metadata={"latitude": -1.5, "longitude": 36.0},
        )
    ]
    assert image_columns(rs5m_features()) == ("image",)


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no shards in data or local; is it a built folder"):
        BuiltDataset(folder=tmp_path).parts(10)
