"""The built `rs5m` folder, from a server that behaves well and badly and from trees of label-only images."""

import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from image_server import ADDRESSES, NETWORKS, ImageServer, free_port
from inline_engine import run_inline
from PIL import Image
from rs5m_inputs import (
    PATCH,
    folder_bytes,
    journal_lines,
    jpeg,
    manifest_of,
    photo,
    png,
    sha256,
    stages_of,
    state_of,
    url_id,
    write_fmow,
    write_json_lines,
    write_million_aid,
    write_parquet,
    write_patch,
    written_rows,
)

from dataset_scripts.build_rs5m import RS5MConfig, build_rs5m
from dataset_scripts.build_run import EmptyBuildError
from dataset_scripts.engine import EngineConfig
from dataset_scripts.rs5m_rows import rs5m_features, rs5m_row
from dataset_scripts.stages.caption_key import caption_key
from dataset_scripts.stages.decode_check import DEFAULT_LIMITS
from dataset_scripts.stages.download_limits import DownloadLimits
from dataset_scripts.stages.image_facts import rgb_facts
from dataset_scripts.stages.metadata_captions import check_metadata_caption, facts_from_mapping
from dataset_scripts.stages.perceptual_hash import grey_thumbnail, hash_thumbnails
from dataset_scripts.stages.splits import SplitSettings

ROOT = Path(__file__).parents[1]
SWAPPED = 100
LIMITS = DownloadLimits(timeout_seconds=2.0, retries=0, retry_pause_seconds=0.01, allowed_private_networks=(NETWORKS,))
RAW = png(10, remark="taken from a plane")
# Which of the server's addresses.
GOOD, BAD, ILL = 0, 1, 2


@pytest.fixture(scope="module", autouse=True)
def inline_engine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset_scripts.step.run_tasks", run_inline)
        # Somebody may be working on the code while this runs.
        patch.setattr("dataset_scripts.build_output.code_revision", lambda: "0" * 40)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    try:
        socket.create_server((ADDRESSES[0], 0)).close()
    except OSError:
        pytest.skip(f"{ADDRESSES[0]} is not an address of this machine; Linux has all of 127.0.0.0/8")
    with ImageServer() as running:
        running.images = {f"{number}.png": png(number) for number in range(60)}
        running.images |= {"raw.png": RAW, "near-90.png": jpeg(48, 90), "near-70.png": jpeg(48, 70)}
        running.images |= {f"swapped-{number}.png": png(300 + number) for number in range(SWAPPED)}
        running.images["letter.png"] = b"\x89PNG\r\n\x1a\n" + bytes(300)
        yield running


def web_rows(server: ImageServer) -> list[dict[str, Any]]:
    """Rows of one's own, good and bad; the name of a path tells what becomes of it."""
    rows: list[tuple[int, str, str, str | None]] = [
        (GOOD, "/image/0.png", "Aerial photo of a harbor", sha256(png(0))),
        (GOOD, "/image/1.png", "a cat on a sofa", None),
        (GOOD, "/to/2.png", "A Landsat scene of the delta", None),
        (GOOD, "/slow/3.png", "satellite image of a city at night", None),
        (GOOD, "/image/raw.png", "an aerial view of fields, as published", sha256(RAW).upper()),
        (GOOD, "/image/letter.png", "aerial view that is no picture", None),
        (BAD, "/status-404/4.png", "aerial view of nothing", None),
        (BAD, "/html-as-jpeg/5.png", "aerial view of a page", None),
        (BAD, "/declared-huge/6.png", "aerial view of a large place", None),
        (BAD, "/noai/7.png", "aerial view of a secret", None),
        (BAD, "/loop/8.png", "aerial view of a circle", None),
        (BAD, "/empty/9.png", "aerial view of emptiness", None),
        (ILL, "/ill-status-503/11.png", "aerial view of a busy place", None),
        (ILL, "/ill-truncated/12.png", "aerial view of a half", None),
        (3, "/ill-stalled/13.png", "aerial view of a queue", None),
    ]
    rows += [
        (GOOD, f"/image/swapped-{number}.png", f"aerial view {number}", sha256(b"what was there"))
        for number in range(SWAPPED)
    ]
    return [
        {"url": server.url(str(host), path), "caption": text, "sha256": published}
        for host, path, text, published in rows
    ]


def write_sources(server: ImageServer, folder: Path) -> tuple[str, ...]:
    rows = web_rows(server)
    write_json_lines(folder / "web" / "a.jsonl", [*rows[:8], {"url": rows[0]["url"], "caption": "aerial view again"}])
    write_parquet(folder / "web" / "b.parquet", rows[8:])
    same, other = server.url("0", "/image/20.png"), server.url("0", "/image/same-as-21.png")
    server.images["same-as-21.png"] = png(21)
    write_parquet(
        folder / "laion2b" / "a.parquet",
        [
            {"URL": same, "TEXT": "Google Earth view of a stadium", "NSFW": "UNLIKELY"},
            {"URL": server.url("0", "/image/21.png"), "TEXT": "Sentinel-2 image of an island", "NSFW": "UNSURE"},
            {"URL": server.url("0", "/image/22.png"), "TEXT": "aerial view", "NSFW": "NSFW"},
            {"URL": server.url("0", "/image/near-70.png"), "TEXT": "USGS map of a lake", "NSFW": "UNLIKELY"},
        ],
    )
    write_parquet(
        folder / "laioncoco" / "a.parquet",
        [
            {"URL": same, "top_caption": "an aerial photo of a stadium", "punsafe": 0.0},
            {"URL": other, "top_caption": "an aerial photo of an island", "punsafe": 0.0},
            {"URL": server.url("0", "/image/23.png"), "top_caption": "an aerial photo of a bridge", "punsafe": 0.0},
            {"URL": server.url("0", "/image/24.png"), "top_caption": "a dog", "punsafe": 0.0},
        ],
    )
    (folder / "cc3m").mkdir()
    (folder / "cc3m" / "Train.tsv").write_text(
        f"lake from above, satellite picture\t{server.url('0', '/image/near-90.png')}\n"
        f"a NAIP tile of a forest\t{server.url('0', '/image/25.png')}\n"
    )
    for number in range(2):
        write_fmow(folder / "fmow", number)
    write_fmow(folder / "fmow", 2, metadata=None)
    write_patch(folder / "bigearthnet")
    write_million_aid(folder / "millionaid", 2)
    names = ("web", "laion2b", "laioncoco", "cc3m", "fmow", "bigearthnet", "millionaid")
    return tuple(f"{name}:{folder / name}" for name in names)


def config_of(sources: tuple[str, ...], output: Path, **changes: Any) -> RS5MConfig:
    values = {
        "source": sources,
        "output": output,
        "rows_per_part": 50,
        "splits": SplitSettings(validation=0.1, test=0.1),
        "download": LIMITS,
        "engine": EngineConfig(workers=1),
        **changes,
    }
    return RS5MConfig(**values)


class Built:
    """Three runs of one command: while the server is ill, when it is well, and once more."""

    def __init__(self, server: ImageServer, root: Path) -> None:
        self.sources = write_sources(server, root / "in")
        self.folder = root / "rs5m"
        self.config = config_of(self.sources, self.folder)
        self.asked: list[dict[str, int]] = []
        self.stages: list[dict[str, tuple[int, int, dict[str, int]]]] = []
        self.lines: list[int] = []
        self.states: list[dict[str, tuple[int, int]]] = []
        for is_ill in (True, False, False):
            server.hits.clear()
            server.is_ill = is_ill
            build_rs5m(self.config)
            self.asked.append(server.asked())
            self.stages.append(stages_of(self.folder))
            self.lines.append(len(journal_lines(self.folder)))
            self.states.append(state_of(self.folder, self.config.work_folder))
        self.rows = {row["id"]: row for row in written_rows(self.folder)}


@pytest.fixture(scope="module")
def built(server: ImageServer, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(server, tmp_path_factory.mktemp("rs5m"))


ILL_PATHS = {"/ill-status-503/11.png", "/ill-truncated/12.png", "/ill-stalled/13.png"}


def test_every_row_that_is_left_out_has_a_name_and_the_funnel_adds_up(built: Built) -> None:
    ill, well, _ = built.stages
    permanent = {"content_changed": SWAPPED, "empty_body": 1, "http_4xx": 1, "not_an_image": 1, "opted_out": 1}
    permanent |= {"too_large": 1, "too_many_redirects": 1, "truncated": 1}
    assert well["download"][2] == permanent
    assert ill["download"][2] == {**permanent, "incomplete": 1, "server_error": 1, "timeout": 1}
    assert well["read"][2] == {"marked_unsafe": 1, "missing_metadata": 1, "no_keyword": 2}
    assert well["equal_ids"][2] == {"equal_id": 1}
    assert well["equal_addresses"][2] == {"equal_address": 1}
    assert well["exact_duplicates"][2] == {"equal_image": 1}
    assert well["near_duplicates"][2] == {"near_duplicate": 1}
    assert well["captions"][2] == {"no_caption": 2}
    for stages in (ill, well):
        left = stages["read"][1]
        for name, (rows_in, rows_out, rejected) in stages.items():
            assert rows_in == rows_out + sum(rejected.values()), name
            if name not in ("read", "write"):
                assert rows_in <= left, name
                left -= sum(rejected.values())
        assert stages["write"][:2] == (left, left)
    assert len(built.rows) == well["write"][1] == ill["write"][1] + 3
    sample = next(stage for stage in manifest_of(built.folder)["stages"] if stage["stage"] == "download")
    changed = [reject for reject in sample["rejected_sample"] if reject["reason"] == "content_changed"]
    assert len(changed) == 5
    assert "the source published" in changed[0]["detail"]


def test_only_what_may_pass_is_asked_for_again_and_a_third_run_asks_and_writes_nothing(built: Built) -> None:
    first, second, third = built.asked
    assert set(first.values()) <= {1, LIMITS.max_redirects + 1}
    assert set(first) >= ILL_PATHS
    # Of an address that two sets name, only one is asked for; a caption without a keyword asks for nothing.
    assert first["/image/20.png"] == 1
    assert not {"/image/1.png", "/image/22.png", "/image/24.png"} & set(first)
    assert second == dict.fromkeys(ILL_PATHS, 1)
    assert third == {}
    assert built.states[2] == built.states[1]
    assert built.lines[2] == built.lines[1]


def expected_image(data: bytes) -> dict[str, Any]:
    """What a row says of its image, by another way than the build's."""
    with Image.open(io.BytesIO(data)) as image:
        bits = int(hash_thumbnails([grey_thumbnail(image.convert("RGB"))])[0])
    clean = rgb_facts(data, DEFAULT_LIMITS)["image"]
    return {
        "image": {"bytes": clean, "path": None},
        "sha256": sha256(clean),
        "perceptual_hash": format(bits, "016x"),
    }


def expected_web_row(source: str, url: str, data: bytes, text: str, kind: str = "web", **fields: Any) -> dict[str, Any]:
    return {
        "id": f"{source}:{url_id(url)}",
        **expected_image(data),
        "caption": text,
        "captions": [{"text": text, "kind": kind, "score": None}],
        "subset": "pub11",
        "source": source,
        "url": url,
        "license": "unknown",
        "attribution": "",
        **dict.fromkeys(("latitude", "longitude", "utm_zone", "timestamp", "ground_sample_distance_metres")),
        **dict.fromkeys(("relevance_score", "classifier_score")),
        "caption_key": caption_key(text),
        **fields,
    }


def test_rows_of_the_web_have_exactly_these_values(built: Built, server: ImageServer) -> None:
    own = {"subset": None}
    laion = {"license": "images unknown; captions CC-BY-4.0", "attribution": "LAION-5B (laion2B-en)"}
    google = {
        "license": "images unknown; captions LicenseRef-Conceptual-Captions",
        "attribution": "Conceptual Captions, Google",
    }
    coco = {"license": "images unknown; captions CC-BY-4.0", "attribution": "LAION-COCO"}
    by_path = {row["url"].split(str(server.port))[1]: row["caption"] for row in web_rows(server)}
    expected = [
        expected_web_row("web", server.url(str(host), path), data, by_path[path], **own)
        for host, path, data in [
            (GOOD, "/image/0.png", png(0)),
            (GOOD, "/to/2.png", png(2)),
            (GOOD, "/slow/3.png", png(3)),
            (GOOD, "/image/raw.png", RAW),
            (ILL, "/ill-status-503/11.png", png(11)),
            (ILL, "/ill-truncated/12.png", png(12)),
            (3, "/ill-stalled/13.png", png(13)),
        ]
    ]
    expected += [
        expected_web_row("laion2b", server.url("0", path), data, text, **laion)
        for path, data, text in [
            ("/image/20.png", png(20), "Google Earth view of a stadium"),
            ("/image/21.png", png(21), "Sentinel-2 image of an island"),
            ("/image/near-70.png", jpeg(48, 70), "USGS map of a lake"),
        ]
    ]
    url = server.url("0", "/image/23.png")
    expected.append(expected_web_row("laioncoco", url, png(23), "an aerial photo of a bridge", "machine", **coco))
    expected.append(
        expected_web_row("cc3m", server.url("0", "/image/25.png"), png(25), "a NAIP tile of a forest", **google)
    )
    web = {row_id: row for row_id, row in built.rows.items() if row["url"] is not None}
    assert sorted(web) == sorted(row["id"] for row in expected)
    for row in expected:
        found = dict(web[row["id"]])
        assert len(found.pop("leak_group")) > 0
        assert found == row
    assert b"taken from a plane" in RAW
    assert b"taken from a plane" not in web[f"web:{url_id(server.url('0', '/image/raw.png'))}"]["image"]["bytes"]


def test_label_only_images_get_captions_that_read_back_as_their_facts(built: Built, tmp_path: Path) -> None:
    rows = {row_id: row for row_id, row in built.rows.items() if row["url"] is None}
    fmow = [f"fmow:train/airport/airport_{number}/airport_{number}_0_rgb" for number in range(2)]
    assert sorted(rows) == [f"bigearthnet:{PATCH}", *fmow]
    for number, row_id in enumerate(fmow):
        row = rows[row_id]
        assert {name: row[name] for name in expected_image(jpeg(1000 + number, 90))} == expected_image(
            jpeg(1000 + number, 90)
        )
        assert (row["subset"], row["source"], row["license"]) == ("rs3", "fmow", "unknown")
        assert (row["latitude"], row["longitude"], row["utm_zone"]) == (41.5, 12.5, "33N")
        assert (row["timestamp"], row["ground_sample_distance_metres"]) == ("2016-02-04T14:08:39+00:00", 2.0)
        assert row["captions"] == [{"text": row["caption"], "kind": "metadata", "score": None}]
        assert row["caption_key"] == caption_key(row["caption"])
        facts = {"class_name": "airport", "latitude": 41.5, "longitude": 12.5, "utm_zone": "33N", "country": "Italy"}
        facts |= {"timestamp": "2016-02-04T14:08:39+00:00", "ground_sample_distance_metres": 2.0}
        facts |= {"cloud_cover_percent": 3.0, "off_nadir_degrees": 33.1, "target_azimuth_degrees": 314.3}
        facts |= {"scan_direction": "forward", "box": [10.0, 10.0, 20.0, 20.0], "image_width": 48, "image_height": 40}
        assert check_metadata_caption(row["caption"], facts_from_mapping(facts)) == []
        assert "airport" in row["caption"]
    patch = rows[f"bigearthnet:{PATCH}"]
    assert (patch["subset"], patch["utm_zone"], patch["license"]) == ("rs3", "33N", "CDLA-Permissive-1.0")
    assert patch["longitude"] == pytest.approx(15.008, abs=5e-4)
    assert patch["captions"][0]["kind"] == "metadata"
    # Rows that may be published lie apart from those whose licence is not known.
    assert {path.name[:4] for path in (built.folder / "data").glob("*")} <= {"trai", "vali", "test"}
    public = [
        row["id"] for path in (built.folder / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert public == [f"bigearthnet:{PATCH}"]


def test_load_dataset_gives_the_images_and_the_schema(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loaded = load_dataset(str(built.folder), cache_dir=str(tmp_path / "cache"))
    rows = {row["id"]: row for split in loaded.values() for row in split}
    assert set(rows) == set(built.rows)
    assert next(iter(loaded.values())).features == rs5m_features()
    fmow = rows["fmow:train/airport/airport_0/airport_0_0_rgb"]["image"]
    assert np.array_equal(np.asarray(fmow), np.asarray(Image.open(io.BytesIO(jpeg(1000, 90)))))
    raw = next(row for row in rows.values() if row["caption"] == "an aerial view of fields, as published")
    assert np.array_equal(np.asarray(raw["image"]), photo(10))


def test_the_manifest_names_the_terms_of_every_source_and_no_network(built: Built) -> None:
    manifest = manifest_of(built.folder)
    sources = {source["name"]: source for source in manifest["sources"]}
    assert {name: source["rows"] for name, source in sources.items()} == {
        "bigearthnet": 1,
        "cc3m": 1,
        "fmow": 2,
        "laion2b": 3,
        "laioncoco": 1,
        "web": 7,
    }
    assert sources["bigearthnet"]["license"] == "CDLA-Permissive-1.0"
    assert sources["fmow"]["citation"].startswith("Christie et al., Functional Map of the World")
    assert sources["laion2b"]["homepage"] == "https://huggingface.co/datasets/laion/laion2B-en"
    assert manifest["config"]["download"] == {
        "max_bytes": LIMITS.max_bytes,
        "max_redirects": 3,
        "honours_robots_txt": True,
    }
    assert NETWORKS not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("source", "subset"),
    [("rs5m_pub11", "pub11"), ("rs5m_rs3", "rs3"), ("million_aid", "rs3"), ("yfcc15m", "pub11"), ("folder", None)],
)
def test_the_subset_is_that_of_the_source_in_rs5m(source: str, subset: str | None) -> None:
    staged = dict.fromkeys(("id", "url", "license", "attribution", "metadata", "sha256", "caption_key"))
    staged |= {"source": source, "captions": ["a"], "caption_kind": "web", "perceptual_hash": 1, "image": b""}
    assert rs5m_row(staged, "group")["subset"] == subset


def web_source(folder: Path, server: ImageServer, rows: int, *, path: str = "/image/{}.png") -> tuple[str, ...]:
    urls = [server.url("4", path.format(number)) for number in range(rows)]
    write_json_lines(folder / "a.jsonl", [{"url": url, "caption": f"aerial view {url[-8:]}"} for url in urls])
    return (f"web:{folder}",)


def test_a_server_that_is_down_is_no_crash_and_the_next_run_completes(tmp_path: Path) -> None:
    server = ImageServer(free_port())
    config = config_of(web_source(tmp_path / "in", server, 20), tmp_path / "rs5m", rows_per_part=10)
    with pytest.raises(EmptyBuildError, match="no row is left to write") as caught:
        build_rs5m(config)
    assert "connect_failure" in str(caught.value) or "host_unavailable" in str(caught.value)
    assert not config.output.exists()
    server.images = {f"{number}.png": png(number) for number in range(20)}
    with server:
        build_rs5m(config)
        assert server.asked() == {f"/image/{number}.png": 1 for number in range(20)}
    assert len(written_rows(config.output)) == 20
    before = state_of(config.output, config.work_folder)
    build_rs5m(config)
    assert state_of(config.output, config.work_folder) == before


def test_other_rules_ask_again_and_another_pace_does_not(server: ImageServer, tmp_path: Path) -> None:
    sources = web_source(tmp_path / "in", server, 6)
    config = config_of(sources, tmp_path / "rs5m", download=DownloadLimits(timeout_seconds=1.0, retries=0))
    with pytest.raises(EmptyBuildError, match="private_address"):
        build_rs5m(config)
    server.hits.clear()
    build_rs5m(config_of(sources, tmp_path / "rs5m"))
    assert server.asked() == {f"/image/{number}.png": 1 for number in range(6)}
    server.hits.clear()
    slower = DownloadLimits(concurrency=2, timeout_seconds=9.0, allowed_private_networks=(NETWORKS,))
    build_rs5m(config_of(sources, tmp_path / "rs5m", download=slower))
    assert server.asked() == {}
    # A limit of bytes is a rule: what is too large is not taken over from the run before.
    small = DownloadLimits(max_bytes=len(png(0)) - 1, allowed_private_networks=(NETWORKS,), retries=0)
    with pytest.raises(FileExistsError, match="built with other settings"):
        build_rs5m(config_of(sources, tmp_path / "rs5m", download=small))
    kept = [number for number in range(6) if len(png(number)) <= small.max_bytes]
    if kept:
        build_rs5m(config_of(sources, tmp_path / "rs5m", download=small, overwrite=True))
        assert len(written_rows(tmp_path / "rs5m")) == len(kept)


def test_an_address_that_changed_under_its_id_is_asked_for(server: ImageServer, tmp_path: Path) -> None:
    def write(picture: int) -> None:
        rows = [
            {"id": 7, "url": server.url("0", f"/image/{picture}.png"), "text": "aerial view of a dam"},
            {"id": 8, "url": server.url("1", "/status-404/x.png"), "text": "aerial view of a wall"},
        ]
        unsafe = {"nsfw_score_opennsfw2": 0.0, "nsfw_score_gantman": 0.0}
        write_parquet(tmp_path / "in" / "a.parquet", [{**row, **unsafe} for row in rows])

    config = config_of((f"coyo700m:{tmp_path / 'in'}",), tmp_path / "rs5m")
    for picture in (30, 31):
        write(picture)
        server.hits.clear()
        build_rs5m(config)
        [row] = written_rows(config.output)
        assert (row["id"], row["sha256"]) == ("coyo700m:7", sha256(png(picture)))
    # The dead address is the same as before, and is left alone.
    assert server.asked() == {"/image/31.png": 1}


def test_a_damaged_shard_of_downloads_is_made_again(server: ImageServer, tmp_path: Path) -> None:
    config = config_of(web_source(tmp_path / "in", server, 12), tmp_path / "rs5m", rows_per_part=6)
    build_rs5m(config)
    good = {path.name: path.read_bytes() for path in config.output.rglob("*.parquet")}
    damaged, *others = sorted((config.work_folder / "download").glob("*.parquet"))
    assert len(others) == 1
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    rows = pq.read_metadata(others[0]).num_rows
    server.hits.clear()
    build_rs5m(config)
    assert 0 < sum(server.asked().values()) == 12 - rows < 12
    assert {path.name: path.read_bytes() for path in config.output.rglob("*.parquet")} == good


def test_a_build_that_went_through_an_outage_ends_as_one_that_did_not(built: Built, tmp_path: Path) -> None:
    output = tmp_path / "rs5m"
    build_rs5m(config_of(built.sources, output))
    fresh, resumed = folder_bytes(output), folder_bytes(built.folder)
    assert len(fresh) > 6
    assert fresh == resumed


@pytest.mark.slow
def test_a_kill_in_the_middle_of_downloads_costs_the_shard_in_work_only(server: ImageServer, tmp_path: Path) -> None:
    """In processes of their own, as a user runs it."""
    server.images |= {f"{number}.png": png(number) for number in range(60)}
    sources = web_source(tmp_path / "in", server, 60, path="/slow/{}.png")
    output = tmp_path / "rs5m"
    command = [sys.executable, "-m", "dataset_scripts", "build", "rs5m", "--source", *sources, "--output", str(output)]
    command += ["--workers", "1", "--rows-per-part", "10", "--download.connections-per-host", "2"]
    command += ["--download.allowed-private-networks", NETWORKS]
    server.hits.clear()
    journal = tmp_path / "rs5m.work" / "journal.jsonl"
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal_lines(output).count("download") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    # Its worker notices that nobody is there any more, at the latest after the shard in work.
    time.sleep(4)
    done = journal_lines(output).count("download")
    assert 2 <= done < 6
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    assert len(written_rows(output)) == 60
    asked = server.asked()
    assert sorted(asked) == sorted(f"/slow/{number}.png" for number in range(60))
    # Two shards were noted when it was killed; what was noted is asked for once.
    assert set(asked.values()) <= {1, 2}
    assert sum(hits == 1 for hits in asked.values()) >= 2 * (60 // 6 - 2)
    assert sum(hits == 2 for hits in asked.values()) < 60 // 2
