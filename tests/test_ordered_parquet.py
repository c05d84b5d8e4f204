"""Rows written in order, read back by position, joined with later steps, and cut into output shards."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_scripts.durable_files import file_sha256
from dataset_scripts.journal import ShardRecord
from dataset_scripts.ordered_parquet import parquet_options, write_ordered
from dataset_scripts.row_table import RowTable, driver_stage
from dataset_scripts.shard_plan import cut_shards, number_of_shards, write_tasks
from dataset_scripts.stages.rejects import Reject
from dataset_scripts.steps.staged_rows import joined_rows, read_columns

SCHEMA = pa.schema([("id", pa.string()), ("image", pa.binary()), ("texts", pa.list_(pa.string())), ("n", pa.int64())])
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows_of(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in a random order, some of them with equal keys, empty values or none."""
    random = np.random.default_rng(seed)
    return [
        {
            "id": f"row {number}",
            "image": None if number % 7 == 0 else random.bytes(int(random.integers(0, 400))),
            "texts": None if number % 11 == 0 else [f"{number}-{k}" for k in range(number % 3)],
            "n": None if number % 5 == 0 else number,
            "key": int(random.integers(0, 2**64, dtype=np.uint64)) if number % 4 else 7,
        }
        for number in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]], *, group: int = 10) -> int:
    return write_ordered(
        path, iter(rows), SCHEMA, order_by="key", row_group_rows=group, uncompressed=("image",)
    )  # fmt: skip


def without_key(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "key"}


@pytest.mark.parametrize("count", [0, 1, 9, 10, 63, 64, 65, 200])
def test_rows_come_out_sorted_with_ties_in_the_order_they_came(tmp_path: Path, count: int) -> None:
    rows = rows_of(count)
    path = tmp_path / "read" / "a.parquet"
    assert write(path, rows) == count
    assert pq.read_table(path).to_pylist() == [without_key(row) for row in sorted(rows, key=lambda row: row["key"])]
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sum(sizes) == count
    assert all(size == 10 for size in sizes[:-1])
    assert [file.name for file in path.parent.iterdir()] == ["a.parquet"]


def test_bytes_depend_on_the_rows_and_not_on_the_order_in_which_they_came(tmp_path: Path) -> None:
    rows = [{**row, "key": number} for number, row in enumerate(rows_of(150))]
    for name, order in (("a", rows), ("b", rows[::-1]), ("c", rows[75:] + rows[:75])):
        write(tmp_path / name, order)
    assert file_sha256(tmp_path / "a") == file_sha256(tmp_path / "b") == file_sha256(tmp_path / "c")


def test_keys_above_two_to_the_63_are_sorted_as_they_are(tmp_path: Path) -> None:
    keys = [2**64 - 1, 0, 2**63, 2**63 - 1]
    write(tmp_path / "a", [{"id": str(key), "image": b"", "texts": [], "n": 0, "key": key} for key in keys])
    assert pq.read_table(tmp_path / "a")["id"].to_pylist() == [str(key) for key in sorted(keys)]


def test_the_key_is_written_where_it_is_a_column(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64()), ("key", pa.uint64())])
    rows = [{"n": 1, "key": 5}, {"n": 2, "key": 3}]
    write_ordered(tmp_path / "a", rows, schema, order_by="key", row_group_rows=10)
    assert pq.read_table(tmp_path / "a").to_pylist() == [{"n": 2, "key": 3}, {"n": 1, "key": 5}]


def test_a_source_that_fails_half_way_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, rows_of(5))
    before = path.read_bytes()

    def broken() -> Any:
        yield from rows_of(100)
        raise ValueError("the source ended")

    with pytest.raises(ValueError, match="the source ended"):
        write_ordered(path, broken(), SCHEMA, order_by="key", row_group_rows=10)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_image_bytes_are_left_as_they_are_and_all_else_is_compressed(tmp_path: Path) -> None:
    schema = pa.schema([("rgb", IMAGE), ("texts", pa.list_(pa.string())), ("id", pa.string())])
    options = parquet_options(schema, ("rgb",))
    assert options["compression"] == {
        "rgb.bytes": "none",
        "rgb.path": "none",
        "texts.list.element": "zstd",
        "id": "zstd",
    }
    assert options["use_dictionary"] == options["write_statistics"] == ["id", "texts.list.element"]
    noise = np.random.default_rng(0).bytes(5000)
    rows = [{"rgb": {"bytes": noise, "path": None}, "texts": ["a"], "id": str(n), "key": n} for n in range(3)]
    write_ordered(tmp_path / "a", rows, schema, order_by="key", row_group_rows=10, uncompressed=("rgb",))
    group = pq.ParquetFile(tmp_path / "a").metadata.row_group(0)
    found = {group.column(n).path_in_schema: group.column(n).compression for n in range(group.num_columns)}
    assert found == {
        name: kind.upper().replace("NONE", "UNCOMPRESSED") for name, kind in options["compression"].items()
    }
    assert (tmp_path / "a").read_bytes().count(noise) == 3


def test_a_flipped_bit_in_a_page_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    rows = [{"id": "a", "image": noise, "texts": [], "n": 1, "key": 1}]
    write(tmp_path / "a", rows)
    data = bytearray((tmp_path / "a").read_bytes())
    data[data.index(noise) + 2500] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        read_columns(tmp_path / "a", ["image"])


def staged(folder: Path, name: str, rows: list[dict[str, Any]], schema: pa.Schema, order_by: str) -> ShardRecord:
    write_ordered(folder / name, rows, schema, order_by=order_by, row_group_rows=4)
    path = folder / name
    return ShardRecord(
        step="s",
        shard=name,
        key="k",
        file=name,
        rows=len(rows),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        facts={},
    )


LATER = pa.schema([("position", pa.int64()), ("n", pa.int64()), ("extra", pa.string())])


@pytest.mark.parametrize("seed", range(8))
def test_joined_rows_are_those_of_a_naive_join(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    first = [{**row, "key": number} for number, row in enumerate(rows_of(40, seed))]
    staged(tmp_path, "first", first, SCHEMA, "key")
    expected = [without_key(row) for row in first]
    files = [{"file": "first"}]
    for step in range(2):
        places = sorted(random.choice(40, int(random.integers(0, 41)), replace=False).tolist())
        later = [{"position": place, "n": place * 100 + step, "extra": f"{step} {place}"} for place in places]
        staged(tmp_path, f"later{step}", later, LATER, "position")
        files.append({"file": f"later{step}"})
        for row in later:
            expected[row["position"]].update(n=row["n"], extra=row["extra"])
    positions = sorted(random.choice(40, int(random.integers(0, 41)), replace=False).tolist())
    columns = ("id", "n", "extra", "texts")
    found = list(joined_rows(tmp_path, files, positions, columns))
    assert found == [
        {name: value for name, value in expected[position].items() if name in columns} for position in positions
    ]


TABLE = pa.schema([("id", pa.string()), ("shuffle_key", pa.uint64()), ("n", pa.int64())])


def make_table(folder: Path, sizes: tuple[int, ...] = (5, 0, 9, 3)) -> tuple[RowTable, list[ShardRecord]]:
    random = np.random.default_rng(3)
    records = []
    for shard, size in enumerate(sizes):
        rows = [
            {"id": f"{shard}.{n}", "shuffle_key": int(random.integers(0, 2**63)), "n": n, "key": n} for n in range(size)
        ]
        records.append(staged(folder, f"shard{shard}", rows, TABLE, "key"))
    return RowTable.load(folder, records, TABLE.names), records


def test_a_table_names_rows_by_shard_and_position_however_often_some_are_left_out(tmp_path: Path) -> None:
    table, _ = make_table(tmp_path)
    assert len(table) == 17
    names = [f"{shard}.{position}" for shard, position in zip(table.shard, table.position, strict=True)]
    assert table.values("id") == names
    kept = table.keep(np.array([16, 3, 5, 0])).keep(np.array([True, False, True, True]))
    assert kept.values("id") == ["3.2", "2.0", "0.0"]
    assert (kept.shard.tolist(), kept.position.tolist()) == ([3, 2, 0], [2, 0, 0])
    assert table.keep(np.array([8, 16, 1, 0, 5])).positions_by_shard() == {0: [0, 1], 2: [0, 3], 3: [2]}
    nothing = table.keep(np.zeros(17, dtype=bool))
    assert len(nothing) == 0
    assert nothing.positions_by_shard() == {}
    assert RowTable.load(tmp_path, [], ["id"]).values("id") == []


def test_a_join_finds_values_by_shard_and_position_and_keeps_what_has_none(tmp_path: Path) -> None:
    table, _ = make_table(tmp_path)
    later = {
        3: staged(tmp_path, "later3", [{"position": 2, "n": -1, "extra": "c"}], LATER, "position"),
        0: staged(
            tmp_path,
            "later0",
            [{"position": 1, "n": -2, "extra": "a"}, {"position": 4, "n": None, "extra": "b"}],
            LATER,
            "position",
        ),
        2: staged(tmp_path, "later2", [], LATER, "position"),
    }
    order = np.random.default_rng(0).permutation(17)
    joined = table.keep(order).join(tmp_path, later, ["n", "extra"])
    found = {name: (n, extra) for name, n, extra in zip(*map(joined.values, ("id", "n", "extra")), strict=True)}
    plain = {f"{shard}.{n}": (n, None) for shard, size in enumerate((5, 0, 9, 3)) for n in range(size)}
    assert found == {**plain, "3.2": (-1, "c"), "0.1": (-2, "a"), "0.4": (4, "b")}
    assert table.join(tmp_path, {}, ["extra"]) is table
    empty = table.join(tmp_path, {2: later[2]}, ["extra"])
    assert empty.is_null("extra").all()


def test_a_decision_over_all_rows_is_accounted_for(tmp_path: Path) -> None:
    table, _ = make_table(tmp_path)
    rejects = [Reject(row, "odd", "x" * 400) for row in range(1, 17, 2)]
    kept, account = driver_stage("parity", table, lambda rows: (list(range(0, 17, 2)), iter(rejects)))
    assert kept.values("id") == table.values("id")[::2]
    assert (account["rows_in"], account["rows_out"], account["rejected"]) == (17, 9, {"odd": 8})
    assert account["rejected_sample"] == [
        {"id": table.values("id")[row], "reason": "odd", "detail": "x" * 300} for row in range(1, 11, 2)
    ]


@pytest.mark.parametrize(
    ("rows", "total_bytes", "multiple", "shards"),
    [
        (0, 0, 8, 0),
        (1, 10, 8, 1),
        (199, 10, 8, 1),
        (200, 10, 8, 2),  # the largest divisor of 8 that leaves 100 rows in each
        (399, 10, 8, 2),
        (400, 10, 8, 4),
        (800, 10, 8, 8),
        (10_000, 1001, 8, 8),  # two are needed
        (10_000, 8001, 8, 16),  # nine are needed
        (300, 9000, 8, 9),  # too few rows for 16, and size goes before the divisor
        (3, 9000, 8, 3),  # never more than rows
        (600, 10, 6, 6),
        (5, 10, 1, 1),
    ],
)
def test_the_number_of_shards(rows: int, total_bytes: int, multiple: int, shards: int) -> None:
    assert number_of_shards(rows, total_bytes, target_bytes=1000, multiple=multiple) == shards


def test_shards_differ_by_one_row_at_most_and_lose_none() -> None:
    order = np.random.default_rng(0).permutation(103)
    parts = cut_shards(order, 8)
    assert {len(part) for part in parts} == {12, 13}
    assert np.array_equal(np.concatenate(parts), order)
    assert cut_shards(order[:0], 0) == []


def test_every_row_is_in_one_output_shard_in_the_order_of_its_key(tmp_path: Path) -> None:
    table, records = make_table(tmp_path, (150, 0, 180, 120))
    later = {2: staged(tmp_path, "later", [{"position": 0, "n": 1, "extra": ""}], LATER, "position")}
    folders = ["local" if n % 9 == 0 else "data" for n in range(450)]
    splits = ["test" if n % 10 == 3 else "train" for n in range(450)]
    groups = [f"g{name}" for name in table.values("id")]
    tasks = write_tasks(
        table,
        pa.array(folders),
        splits,
        pa.array(groups).dictionary_encode(),
        [dict(enumerate(records)), later],
        work=tmp_path,
        target_bytes=10**6,
        multiple=4,
        row_bytes=np.full(450, 10),
    )
    keys = dict(zip(table.values("id"), table.values("shuffle_key"), strict=True))
    seen: dict[tuple[str, str], list[list[str]]] = {}
    for task in tasks:
        inputs = task.inputs
        names = []
        plan = (tmp_path / inputs["plan"]["file"]).read_bytes()
        assert hashlib.sha256(plan).hexdigest() == inputs["plan"]["sha256"]
        for piece in json.loads(plan):
            assert piece["positions"] == sorted(piece["positions"])
            shard = int(piece["files"][0]["file"].removeprefix("shard"))
            files = [piece["files"][0]["file"]] + (["later"] if shard == 2 else [])
            assert [file["file"] for file in piece["files"]] == files
            assert piece["files"][0]["sha256"] == records[shard].sha256
            here = [f"{shard}.{position}" for position in piece["positions"]]
            assert piece["leak_groups"] == [f"g{name}" for name in here]
            names += here
        assert task.rows == len(names)
        assert task.shard == f"{inputs['folder']}/{inputs['split']}-{inputs['number']:05d}-of-{inputs['shards']:05d}"
        seen.setdefault((inputs["folder"], inputs["split"]), []).append(sorted(names, key=keys.__getitem__))
    for (folder, split), shards in seen.items():
        rows = [n for n in range(450) if (folders[n], splits[n]) == (folder, split)]
        wanted = sorted((table.values("id")[n] for n in rows), key=keys.__getitem__)
        assert [name for shard in shards for name in shard] == wanted
    assert len(seen[("data", "train")]) == 2
    assert set(seen) == {("data", "train"), ("data", "test"), ("local", "train"), ("local", "test")}
