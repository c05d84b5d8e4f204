"""`load_dataset` by name: where folders are found, what is refused, what is cached, and what a stream does."""

import itertools
import json
import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import written_shards
from datasets import IterableDataset, get_dataset_config_names, interleave_datasets, load_dataset
from datasets.distributed import split_dataset_by_node
from simulated_dataset import build_simulated

import dataset_scripts
from dataset_scripts import registered_datasets
from dataset_scripts.dataset_card import render_card
from dataset_scripts.fusionrs_rows import fusionrs_row
from dataset_scripts.rs5m_rows import rs5m_row
from dataset_scripts.scenes.scene_encoding import encode_infrared, encode_rgb
from dataset_scripts.steps.write_step import features_of

ROOT = Path(__file__).parents[1]
SHARDS, ROWS_PER_SHARD, ROW_GROUP_ROWS = 8, 12, 5
TRAIN_IDS = [f"made:train-{number}" for number in range(SHARDS * ROWS_PER_SHARD)]
TEXTS = ("source", "source_id", "license", "attribution", "infrared_origin", "infrared_band", "caption_key", "sha256")


def infrared_of(number: int) -> np.ndarray:
    """A ramp that 8 bits could not hold."""
    return (np.arange(256, dtype=np.uint16).reshape(16, 16) * 7 + 300 * number).astype(np.uint16)


def made_row(dataset: str, name: str, number: int) -> dict[str, Any]:
    image = encode_rgb(np.full((16, 16, 3), number % 200, dtype=np.uint8))
    staged = {
        **dict.fromkeys(TEXTS, "x"),
        "id": f"made:{name}-{number}",
        "image": image,
        "infrared": encode_infrared(infrared_of(number)),
        "captions": [f"caption {number}"],
        "infrared_captions": [],
        "class_name": "even" if number % 2 == 0 else "odd",
        "infrared_sha256": "x",
        "caption_kind": "web",
        "metadata": None,
        "url": None,
        "perceptual_hash": number,
    }
    return fusionrs_row(staged, "g") if dataset == "fusionrs" else rs5m_row(staged, "g")


def made_folder(folder: Path, dataset: str = "fusionrs", *, first: int = 0, train: int = len(TRAIN_IDS)) -> Path:
    """A folder with two shards of test rows, one of which must stay here; rows are numbered from `first`."""
    shards: list[dict[str, Any]] = []
    places = [("data", "train", train), ("data", "test", 3), ("local", "test", 2)]
    for place, split, rows in [*places, ("index", "train", train), ("index", "test", 5)]:
        features = features_of(dataset, place)
        name = "local" if place == "local" else split
        made = (made_row(dataset, name, first + number) for number in range(rows))
        shards += written_shards.write_shards(
            ({column: row[column] for column in features} for row in made),
            folder / place,
            split=split,
            row_count=rows,
            rows_per_shard=ROWS_PER_SHARD if place == "data" else max(rows, 1),
            features=features,
        )
    source = {"name": "made", "license": "Apache-2.0", "attribution": "", "citation": "", "rows": train + 5}
    splits = {split: {"rows": rows, "leak_groups": rows} for split, rows in (("train", train), ("test", 5))}
    manifest = {"dataset": dataset, "sources": [source], "stages": [], "splits": splits, "shards": shards}
    (folder / "README.md").write_text(render_card(manifest, folder=folder.name, public=False))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_row_groups_and_no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(written_shards, "ROW_GROUP_ROWS", ROW_GROUP_ROWS)
        # A pass over a shuffled stream would end with a pause of five seconds.
        patch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What RSCLIP_DATASETS is for: a folder with both datasets."""
    place = tmp_path_factory.mktemp("datasets")
    for name in ("fusionrs", "rs5m"):
        made_folder(place / name, name)
    return place


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an empty cache."""
    monkeypatch.delenv("RSCLIP_DATASETS", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def streamed(place: Path, **options: Any) -> IterableDataset:
    return load_dataset("fusionrs", data_dir=str(place / "fusionrs"), split="train", streaming=True, **options)


def ids(rows: Any) -> list[str]:
    return [row["id"] for row in rows]


# Finding the folder.


@pytest.mark.parametrize("how", ["data_dir", "variable", "working_directory"])
def test_both_names_are_found_in_each_of_three_ways(
    how: str, place: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("RSCLIP_DATASETS", str(place))
    if how == "working_directory":
        monkeypatch.chdir(place)
    for name, image in (("fusionrs", "rgb"), ("rs5m", "image")):
        options = {"data_dir": str(place / name)} if how == "data_dir" else {}
        loaded = load_dataset(name, **options)
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": len(TRAIN_IDS), "test": 5}
        assert ids(loaded["train"].select_columns("id")) == TRAIN_IDS
        assert sorted(loaded["test"]["id"][:]) == [
            "made:local-0",
            "made:local-1",
            "made:test-0",
            "made:test-1",
            "made:test-2",
        ]
        assert loaded["train"].features == features_of(name, "data")
        assert loaded["train"][3][image].mode == "RGB"
        index = load_dataset(name, "index", split="test", **options)
        assert index.features == features_of(name, "index")
        assert len(index) == 5
        assert ids(load_dataset(name, split="train", streaming=True, **options)) == TRAIN_IDS


def test_sixteen_bits_stay_sixteen_bits_streamed_and_not(place: Path) -> None:
    folder = str(place / "fusionrs")
    for streaming in (False, True):
        rows = load_dataset("fusionrs", data_dir=folder, split="train", streaming=streaming)
        for number, row in enumerate(itertools.islice(rows, 30)):
            assert row["infrared"].mode == "I;16"
            assert np.array_equal(np.asarray(row["infrared"]), infrared_of(number))


def test_columns_filters_data_files_and_processes_pass_through(place: Path) -> None:
    folder = str(place / "fusionrs")
    rows = load_dataset("fusionrs", data_dir=folder, split="train", columns=["id", "class_name"], num_proc=2)
    assert rows.column_names == ["id", "class_name"]
    assert ids(rows) == TRAIN_IDS
    odd = streamed(place, columns=["id"], filters=[("class_name", "==", "odd")])
    assert ids(odd) == TRAIN_IDS[1::2]
    one = load_dataset("fusionrs", data_dir=folder, data_files="data/train-00001-*.parquet", split="train")
    assert ids(one.select_columns("id")) == TRAIN_IDS[ROWS_PER_SHARD : 2 * ROWS_PER_SHARD]
    with pytest.raises(ValueError, match=r"BuilderConfig 'pairs' not found\. Available: \['default', 'index'\]"):
        load_dataset("fusionrs", "pairs", data_dir=folder)


def test_names_of_configurations_are_listed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSCLIP_DATASETS", str(place))
    assert get_dataset_config_names("rs5m") == ["default", "index"]


def test_the_place_that_is_named_is_the_only_one_that_is_looked_at(
    place: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        load_dataset("fusionrs")
    assert str(refusal.value) == (
        f"dataset 'fusionrs' is not at {elsewhere}/fusionrs: neither data_dir nor the environment variable "
        "RSCLIP_DATASETS is given. Give data_dir=FOLDER, or set RSCLIP_DATASETS to the folder that holds fusionrs/, or "
        "run where ./fusionrs is; from the Hub, load ORG/fusionrs. `python -m dataset_scripts build fusionrs` builds "
        "it."
    )
    monkeypatch.chdir(place)
    monkeypatch.setenv("RSCLIP_DATASETS", str(elsewhere))
    with pytest.raises(FileNotFoundError, match=f"the environment variable RSCLIP_DATASETS is '{elsewhere}'"):
        load_dataset("fusionrs")
    assert registered_datasets.find_folder("fusionrs", place / "rs5m") == place / "rs5m"
    with pytest.raises(FileNotFoundError, match="data_dir is 'nowhere'"):
        load_dataset("fusionrs", data_dir="nowhere")
    assert len(load_dataset("./fusionrs", split="test")) == 5


def test_what_is_not_a_finished_whole_build_of_that_name_is_refused(place: Path, tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "fusionrs", train=ROWS_PER_SHARD)

    def refused(match: str, error: type[Exception] = FileNotFoundError, **options: Any) -> None:
        with pytest.raises(error, match=match):
            load_dataset("fusionrs", **{"data_dir": str(folder), **options})

    refused(r"holds no manifest\.json, .* It holds fusionrs/: is that the folder\?", data_dir=str(tmp_path))
    refused("holds 'rs5m', not 'fusionrs'; load it by that name", ValueError, data_dir=str(place / "rs5m"))
    refused("has no revision; from the Hub, load ORG/fusionrs", ValueError, revision="main")
    shard = folder / "data" / "train-00000-of-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    refused(rf"train-00000-of-00001\.parquet has {len(whole) - 1} bytes, not {len(whole)}: the folder was not copied")
    shard.unlink()
    refused(r"train-00000-of-00001\.parquet is missing")
    for text in ("{", "[]", '{"dataset": "fusionrs"}', '{"dataset": "fusionrs", "shards": []}', '{"shards": [{}]}'):
        (folder / "manifest.json").write_text(text)
        refused(r"manifest\.json is not a manifest of this program", ValueError)
    (folder / "manifest.json").unlink()
    refused("so it is no finished build of 'fusionrs': run `python -m dataset_scripts build fusionrs`")


def test_the_cache_knows_content_not_names_and_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_folder(tmp_path / "one" / "fusionrs", train=ROWS_PER_SHARD)
    other = made_folder(tmp_path / "two" / "fusionrs", first=50, train=ROWS_PER_SHARD)
    (other / "README.md").write_text((first / "README.md").read_text())
    copy = made_folder(tmp_path / "a-copy", train=ROWS_PER_SHARD)
    (copy / "README.md").write_text((first / "README.md").read_text())
    files = []
    for folder, start in ((first, 0), (other, 50), (copy, 0)):
        rows = load_dataset("fusionrs", data_dir=str(folder), split="train")
        assert ids(rows) == [f"made:train-{start + number}" for number in range(ROWS_PER_SHARD)]
        files.append(rows.cache_files[0]["filename"])
    assert files[0] != files[1]
    assert files[0] == files[2]
    made_folder(first, first=70, train=ROWS_PER_SHARD)  # built again in its place
    assert load_dataset("fusionrs", data_dir=str(first), split="train")["id"][0] == "made:train-70"


# Being registered.

_BOTH_ORDERS = {
    "dataset_scripts first": "import sys, dataset_scripts\nassert 'datasets' not in sys.modules\nimport datasets",
    "datasets first": "import datasets\nimport dataset_scripts",
}


@pytest.mark.parametrize("order", _BOTH_ORDERS)
def test_importing_is_cheap_and_works_in_both_orders_in_any_folder(order: str, place: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
{_BOTH_ORDERS[order]}
import importlib
importlib.reload(dataset_scripts)
rows = datasets.load_dataset("fusionrs", "index", split="train")
print(rows["id"][0], datasets.get_dataset_config_names("fusionrs"))
print(sum(type(finder).__module__.startswith("dataset_scripts") for finder in sys.meta_path))
"""
    environment = {"RSCLIP_DATASETS": str(place), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.splitlines() == ["made:train-0 ['default', 'index']", "0"], result.stderr


def test_another_datasets_inside_is_named_and_left_as_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "__version__", "9.1.0")
    load = ModuleType("datasets.load")

    def other(name: str) -> None: ...

    for function in (None, other):
        caplog.clear()
        load.dataset_module_factory = function
        with caplog.at_level(logging.WARNING):
            registered_datasets._give_names_to(load)
        assert caplog.messages == [
            "load_dataset('fusionrs' or 'rs5m') finds a built folder by its name with datasets >=5.2,<6; datasets "
            "9.1.0 is different inside. Give the path of the folder in place of the name."
        ]
        assert load.dataset_module_factory is function


def test_other_names_are_left_to_datasets(elsewhere: Path) -> None:
    dataset_scripts.register()
    with pytest.raises(Exception, match=r"Couldn't (find|reach) .*somebody/fusionrs"):
        load_dataset("somebody/fusionrs")
    (elsewhere / "rows.csv").write_text("id\na\nb\n")
    assert ids(load_dataset("csv", data_files="rows.csv", split="train")) == ["a", "b"]


# Streaming.


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("shuffled", [False, True])
def test_no_row_comes_twice_or_is_lost_among_processes(place: Path, world_size: int, shuffled: bool) -> None:
    parts = []
    for rank in range(world_size):
        rows = split_dataset_by_node(streamed(place, columns=["id"]), rank=rank, world_size=world_size)
        parts.append(ids(rows.shuffle(seed=1, buffer_size=1) if shuffled else rows))
    assert sorted(itertools.chain(*parts)) == sorted(TRAIN_IDS)
    assert {len(part) for part in parts} == {len(TRAIN_IDS) // world_size}
    if world_size in (2, 4, 8) and not shuffled:
        # Whole shards of its own.
        assert len({TRAIN_IDS.index(row) // ROWS_PER_SHARD for row in parts[0]}) == SHARDS // world_size


@pytest.mark.parametrize("buffer_size", [1, 20])
def test_a_shuffle_is_decided_by_seed_and_epoch(place: Path, buffer_size: int) -> None:
    def order(seed: int, epoch: int) -> list[str]:
        rows = streamed(place, columns=["id"]).shuffle(seed=seed, buffer_size=buffer_size)
        rows.set_epoch(epoch)
        return ids(rows)

    assert order(1, 2) == order(1, 2)
    orders = [TRAIN_IDS, order(1, 0), order(1, 1), order(2, 0)]
    assert all(sorted(rows) == sorted(TRAIN_IDS) for rows in orders)
    assert all(one != other for one, other in itertools.combinations(orders, 2))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # this machine may have few cores
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_workers_of_a_loader_share_the_rows(place: Path, workers: int) -> None:
    rows = streamed(place, columns=["id"]).shuffle(seed=1, buffer_size=1)
    loader = torch.utils.data.DataLoader(rows, batch_size=None, num_workers=workers)
    got = ids(loader)
    assert sorted(got) == sorted(TRAIN_IDS)
    assert got != TRAIN_IDS


def renamed(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"] + "-other"}


def of_even_number(row: dict[str, Any]) -> bool:
    return int(row["id"].split("-")[1]) % 2 == 0


STREAMS: dict[str, Callable[[IterableDataset], IterableDataset]] = {
    "plain": lambda rows: rows,
    "one of two processes": lambda rows: split_dataset_by_node(rows, rank=1, world_size=2),
    "one of three processes": lambda rows: split_dataset_by_node(rows, rank=1, world_size=3),
    "mapped": lambda rows: rows.map(renamed),
    "filtered": lambda rows: rows.filter(of_even_number),
    "interleaved": lambda rows: interleave_datasets([rows, rows.map(renamed)]),
    "interleaved by chance": lambda rows: interleave_datasets([rows, rows.map(renamed)], [0.7, 0.3], seed=1),
    "by row groups": lambda rows: rows.reshard(),
    "shuffled": lambda rows: rows.shuffle(seed=1, buffer_size=1),
    "shuffled shards": lambda rows: rows.shuffle(seed=1, buffer_size=1, max_buffer_input_shards=1),
    "shuffled, one of two processes": lambda rows: split_dataset_by_node(rows, rank=1, world_size=2).shuffle(
        seed=1, buffer_size=1
    ),
}


def resumed(make: Callable[[], IterableDataset], cuts: list[int]) -> list[str]:
    """Rows of a stream that is interrupted after each cut, and continued by a new object from JSON."""
    got, state = [], None
    for cut in [*cuts, None]:
        rows = make()
        if state is not None:
            rows.load_state_dict(json.loads(state))
        got += ids(itertools.islice(rows, cut))
        state = json.dumps(rows.state_dict())
    return got


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("cuts", [[17, 9], [10, 10, 1]])
def test_a_stream_goes_on_exactly_however_often_it_is_interrupted(place: Path, name: str, cuts: list[int]) -> None:
    def make() -> IterableDataset:
        return STREAMS[name](streamed(place, columns=["id"]))

    assert resumed(make, cuts) == ids(make())


def test_decoded_images_go_on_exactly_too(place: Path) -> None:
    def make() -> IterableDataset:
        return streamed(place).shuffle(seed=1, buffer_size=1)

    rows = make()
    first = list(itertools.islice(rows, 17))
    state = rows.state_dict()
    rows = make()
    rows.load_state_dict(state)
    got = [*first, *rows]
    assert ids(got) == ids(make())
    for row in got:
        assert np.array_equal(np.asarray(row["infrared"]), infrared_of(TRAIN_IDS.index(row["id"])))


def test_a_state_is_for_its_epoch_and_the_next_one_is_whole(place: Path) -> None:
    def make(epoch: int) -> IterableDataset:
        rows = streamed(place, columns=["id"]).shuffle(seed=1, buffer_size=1)
        rows.set_epoch(epoch)
        return rows

    rows = make(3)
    before = ids(itertools.islice(rows, 17))
    state = rows.state_dict()
    assert state["epoch"] == 3
    rows = make(0)
    rows.load_state_dict(state)
    rows.set_epoch(3)
    assert before + ids(rows) == ids(make(3))
    rows.set_epoch(4)
    assert ids(rows) == ids(make(4))


def test_a_shuffle_buffer_loses_rows_on_resuming_as_the_page_says(place: Path) -> None:
    got = resumed(lambda: streamed(place, columns=["id"]).shuffle(seed=1, buffer_size=20), [17, 9])
    assert len(set(TRAIN_IDS) - set(got)) > 0
    assert max(Counter(got).values()) > 1


# torchdata calls what torch has deprecated.
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_goes_on_exactly_twice(place: Path, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make() -> Any:
        rows = streamed(place, columns=["id"]).shuffle(seed=1, buffer_size=1, max_buffer_input_shards=1)
        return stateful.StatefulDataLoader(rows, batch_size=None, num_workers=workers)

    got, state = [], None
    for cut in (17, 9, None):
        loader = make()
        if state is not None:
            loader.load_state_dict(state)
        batches = iter(loader)
        got += ids(itertools.islice(batches, cut))
        state = loader.state_dict()
        del batches
    assert got == ids(make())


# The page.


def test_code_of_the_page_runs(elsewhere: Path) -> None:
    build_simulated(elsewhere / "fusionrs", 60, size=16)
    page = (ROOT / "docs" / "datasets_loading.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    assert len(code) == 5
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RSCLIP_DATASETS", "")
        exec("\n".join(code), {"__name__": "page"})
