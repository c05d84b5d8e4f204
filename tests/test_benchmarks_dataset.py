"""The benchmarks of the dataset builds run, at tiny sizes, and their results have what tables are made of."""

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks import dataset, dataset_memory, engine, engine_contenders
from benchmarks.dataset_stages import StageSizes
from benchmarks.generated_images import write_captioned_folder
from benchmarks.process_memory import run_sampled
from benchmarks.side_by_side import Comparison, measure_side_by_side
from dataset_scripts.durable_files import file_sha256

TINY = StageSizes(images=3, sides=(64,), hashes=60, captions=200, split_rows=200, shard_rows=12)
PROVENANCE = {"machine", "load_before", "versions", "commit", "date"}


def test_a_ratio_is_how_many_times_faster_we_are_within_a_round_and_an_absent_peer_has_none() -> None:
    comparison = Comparison(
        name="sleep",
        what="waits",
        rows=10,
        ours={"ours": lambda: time.sleep(0.01)},
        peers={"slow": lambda: time.sleep(0.1), "missing": None},
        agreement=lambda results: {"names": sorted(results)},
    )
    result = measure_side_by_side(comparison, 3)
    wall = result["ratios"]["ours_over_slow"]["wall"]
    assert 2 < wall["min"] <= wall["median"] <= wall["max"] < 10.5
    assert result["rows_per_second"]["slow"]["max"] <= 100
    assert list(result["ratios"]) == ["ours_over_slow"]
    assert result["absent_peers"] == ["missing"]
    assert result["agreement"] == {"names": ["ours", "slow"]}


def test_fewer_rounds_than_make_a_spread_are_refused() -> None:
    comparison = Comparison(name="none", what="", rows=1, ours={"ours": lambda: None}, peers={})
    with pytest.raises(ValueError, match="rounds is 2; a spread needs at least 3"):
        measure_side_by_side(comparison, 2)


def test_sampled_memory_tells_the_driver_from_its_workers(tmp_path: Path) -> None:
    child = "import time; held = bytearray(60 << 20); time.sleep(1.0)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    run = run_sampled([sys.executable, "-c", code], log=tmp_path / "log", interval_seconds=0.02)
    assert 60 < run.largest_worker.anonymous_mib < 90
    assert 0 < run.driver.anonymous_mib < 30
    assert run.all_workers.anonymous_mib == run.largest_worker.anonymous_mib
    assert run.largest_worker.resident_mib > run.largest_worker.anonymous_mib
    assert (run.most_processes, run.wall_seconds > 1.0, run.cpu_seconds > 0) == (2, True, True)


def test_a_command_that_fails_is_reported_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3:\n.*no such luck"):
        run_sampled([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], log=tmp_path / "log")


def test_every_stage_is_measured_and_agrees_with_its_peers(tmp_path: Path) -> None:
    config = dataset.Config(
        output=tmp_path / "results" / "dataset.json",
        stages=TINY,
        peers=tmp_path / "no_peers",
        build_rounds=0,
    )
    dataset.main(config)
    record = json.loads(config.output.read_text())
    assert record.keys() >= PROVENANCE | {"what", "rounds", "stages", "builds", "peers"}
    stages = {stage["name"]: stage for stage in record["stages"]}
    assert list(stages) == [
        "perceptual_hash_64",
        "perceptual_hash_decoded_64",
        "decode_check_64",
        "near_duplicates",
        "exact_duplicates",
        "keyword_selection",
        "splits",
        "luminance",
        "rule_captions",
        "write_shard",
    ]
    # Peers that were not installed are named, and have no ratio.
    assert (record["peers"], stages["perceptual_hash_64"]["absent_peers"]) == ({}, ["imagehash"])
    assert stages["near_duplicates"]["absent_peers"] == ["bk_tree"]
    assert list(stages["near_duplicates"]["ratios"]) == ["rsclip_over_brute_force"]
    assert stages["perceptual_hash_64"]["ratios"] == {}
    for name in ("decode_check_64", "near_duplicates", "exact_duplicates"):
        assert stages[name]["agreement"] == {"equal_results": True}, name
    assert stages["luminance"]["agreement"]["same_pixels"] is True
    assert stages["write_shard"]["agreement"]["equal_rows"] is True
    assert stages["keyword_selection"]["agreement"] == {"kept": 10, "kept_by_42_searches": 10}
    assert stages["splits"]["agreement"]["rsclip"] == {"test": 10, "validation": 10}
    assert stages["rule_captions"]["agreement"] == {"written": 3}
    for stage in record["stages"]:
        for rates in (*stage["rows_per_second"].values(), *stage["rows_per_cpu_second"].values()):
            assert 0 < rates["min"] <= rates["median"] <= rates["max"]
    assert record["builds"] == []
    table = dataset.markdown_table(record)
    assert all(f"| {name}" in table for name in stages)


@pytest.mark.slow
def test_whole_builds_of_both_sources_are_measured(tmp_path: Path) -> None:
    config = dataset.Config(
        output=tmp_path / "dataset.json", stages=TINY, build_rows=6, build_side=32, build_workers=(1,), build_rounds=1
    )
    builds = dataset.main(config)["builds"]
    assert [(build["source"], build["workers"], len(build["runs"])) for build in builds] == [
        ("simulator", 1, 1),
        ("folder", 1, 1),
    ]
    assert [build["runs"][0]["rows"] for build in builds] == [6, 12]
    table = dataset.markdown_table({"stages": [], "builds": builds})
    assert "| whole build of simulator, 1 worker(s), rows/s wall: " in table
    assert "| whole build of folder, 1 worker(s), rows/s wall: " in table


def test_peers_that_are_there_are_run(tmp_path: Path) -> None:
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "pybktree.py").write_text(
        "class BKTree:\n"
        "    def __init__(self, distance):\n"
        "        self.distance, self.items = distance, []\n"
        "    def add(self, item):\n"
        "        self.items.append(item)\n"
        "    def find(self, item, radius):\n"
        "        found = [(self.distance(item, other), other) for other in self.items]\n"
        "        return [pair for pair in found if pair[0] <= radius]\n"
    )
    config = dataset.Config(output=tmp_path / "one.json", stages=TINY, peers=peers, only=("near",))
    try:
        (stage,) = dataset.main(config)["stages"]
    finally:
        sys.modules.pop("pybktree", None)
        sys.path.remove(str(peers))
    assert stage["absent_peers"] == []
    assert set(stage["ratios"]) == {"rsclip_over_bk_tree", "rsclip_over_brute_force"}
    assert stage["agreement"] == {"equal_results": True}


def test_settings_that_measure_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rounds is 2; a spread needs at least 3"):
        dataset.Config(output=tmp_path / "x.json", rounds=2)
    with pytest.raises(ValueError, match="leaves nothing to measure; all numbers must be at least 1"):
        StageSizes(images=0)
    with pytest.raises(ValueError, match="leaves nothing to measure"):
        StageSizes(sides=())
    with pytest.raises(ValueError, match="no comparison begins with resize, crop"):
        dataset.main(dataset.Config(output=tmp_path / "x.json", stages=TINY, only=("resize", "crop")))
    assert not (tmp_path / "x.json").exists()


def test_growth_of_memory_is_counted_in_bytes_per_row() -> None:
    builds = [
        {
            "rows": rows,
            "driver": {"anonymous_mib": driver},
            "largest_worker": {"anonymous_mib": worker},
            "all_processes": {"anonymous_mib": driver + 2 * worker},
        }
        for rows, driver, worker in ((1024, 100.0, 80.0), (2048, 102.0, 100.0))
    ]
    assert dataset_memory.growth(*builds) == {
        "rows": [1024, 2048],
        "driver_anonymous_bytes_per_row": 2048,
        "largest_worker_anonymous_mib": [80.0, 100.0],
        "largest_worker_ratio": 1.25,
        "all_processes_anonymous_mib": [260.0, 302.0],
        "all_processes_ratio": 1.162,
    }
    with pytest.raises(ValueError, match=r"rows are \(5, 5\); give numbers of rows, ascending"):
        dataset_memory.Config(output=Path("x.json"), rows=(5, 5))


def test_memory_of_a_build_is_written(tmp_path: Path) -> None:
    config = dataset_memory.Config(output=tmp_path / "memory.json", rows=(4,), workers=1)
    dataset_memory.main(config)
    record = json.loads(config.output.read_text())
    assert record.keys() >= PROVENANCE | {"what", "side", "builds", "growth"}
    assert [build["rows"] for build in record["builds"]] == [4]
    assert record["growth"] == []
    for build in record["builds"]:
        assert build["rows_per_second"] == pytest.approx(build["rows"] / build["wall_seconds"], abs=0.06)
        assert build["driver"]["anonymous_mib"] > 0
        assert build["largest_worker"]["anonymous_mib"] > 0


def test_an_engine_is_given_two_steps_without_work_and_then_the_read_step(tmp_path: Path) -> None:
    write_captioned_folder(tmp_path / "images", 5, 32)
    job = engine_contenders.Job(
        name="process_pool",
        images=tmp_path / "images",
        work=tmp_path / "work",
        output=tmp_path / "facts.json",
        workers=1,
        rows_per_part=3,
    )
    engine_contenders.main(job)
    facts = json.loads(job.output.read_text())
    assert facts["rows"] == 5
    shards = {path.stem: file_sha256(path) for path in (tmp_path / "work" / "read").iterdir()}
    assert facts["sha256"] == shards
    assert len(shards) == 2
    assert min(facts[name] for name in ("start_up_seconds", "next_step_seconds", "seconds")) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_engines_make_the_same_shards(tmp_path: Path) -> None:
    names = ("daft_native", "daft_ray", "ray_data", "process_pool")
    config = engine.Config(output=tmp_path / "engine.json", images=8, side=32, rows_per_part=4, workers=2, rounds=2)
    engine.main(config)
    record = json.loads(config.output.read_text())
    assert record.keys() >= PROVENANCE | {"what", "engines", "equal_shards", "conclusion", "workers"}
    assert record["equal_shards"] is True
    assert tuple(record["engines"]) == names
    for facts in record["engines"].values():
        for name in (
            "start_up_seconds",
            "next_step_seconds",
            "rows_per_second",
            "rows_per_cpu_second",
            "anonymous_mib",
            "resident_mib",
            "processes",
        ):
            assert 0 < facts[name]["min"] <= facts[name]["median"] <= facts[name]["max"], name
    table = engine.markdown_table(record).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in names]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engines spark are not known; there are daft_native, daft_ray, ray_data"):
        engine.Config(output=Path("x.json"), engines=("spark",))
