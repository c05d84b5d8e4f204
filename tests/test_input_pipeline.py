"""The input pipeline: the same pixels whatever is installed, orders, streamed rows, and what a worker sends."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, config
from loopback_hub import LoopbackHub
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer
from simulated_dataset import build_simulated

from evaluation.rows import load_split
from processing import BadImage, RSCLIPProcessor, RSImageProcessor, jpeg_rsclip, load_pair, load_rgb
from train import train_clip
from train.data.config import DataConfig
from train.data.loader import make_loader, make_order, open_rows
from train.data.order import DataOrder, GroupedOrder, RankBatches
from train.data.row_group_store import RowGroupStore
from train.data.streamed_rows import address, parse_address, parse_group, row_groups
from train.engine.pixel_levels import FinishedBatches, in_levels

pytest.importorskip("simplejpeg")
ROOT = Path(__file__).parents[1]
REAL_IMAGES = ROOT.parent / "shared" / "data" / "rsicd" / "images"


def jpeg(scene: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (scene if isinstance(scene, Image.Image) else Image.fromarray(scene)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def noisy(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(-30, 30, (height, width, 3))
    return Image.fromarray(np.clip(make_scene(height, width).astype(int) + noise, 0, 255).astype(np.uint8))


EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "4:4:4": (noisy(97, 131), {"subsampling": 0}),
    "4:2:2": (noisy(97, 131), {"subsampling": 1}),
    "4:2:0": (noisy(97, 131), {"subsampling": 2}),
    "progressive": (noisy(97, 131), {"progressive": True}),
    "restarts": (noisy(97, 131), {"restart_marker_blocks": 3}),
    "grey": (noisy(97, 131).convert("L"), {}),
    "stored as RGB": (noisy(97, 131), {"keep_rgb": True}),
    "CMYK": (noisy(97, 131).convert("CMYK"), {}),
    "turned": (noisy(97, 131), {"exif": EXIF_TURNED}),
    "profile": (noisy(97, 131), {"icc_profile": b"x" * 3000}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_pillow_with_and_without_simplejpeg(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, options = KINDS[kind]
    content = jpeg(scene, **options)
    fast = load_rgb(content)
    assert jpeg_rsclip.simplejpeg_equals_pillow()
    monkeypatch.setattr(jpeg_rsclip, "simplejpeg_equals_pillow", lambda: False)
    plain = load_rgb(content)
    assert np.array_equal(fast.pixels, plain.pixels)
    assert (fast.size, fast.orientation) == (plain.size, plain.orientation)
    with Image.open(io.BytesIO(content)) as opened:
        upright = np.asarray(opened.convert("RGB"))
    assert np.array_equal(fast.pixels, np.rot90(upright, -1) if kind == "turned" else upright)


def test_most_kinds_are_found_plain_and_the_others_are_left_to_pillow() -> None:
    found = {kind: jpeg_rsclip.plain_jpeg(jpeg(scene, **options)) for kind, (scene, options) in KINDS.items()}
    assert found.pop("grey") == ("L", (131, 97))
    assert {kind for kind, header in found.items() if header is None} == {"stored as RGB", "CMYK", "turned"}
    assert {header for header in found.values() if header is not None} == {("RGB", (131, 97))}
    for content in (b"", b"\xff\xd8", b"\x89PNG", jpeg(noisy(40, 50))[:30]):
        assert jpeg_rsclip.plain_jpeg(content) is None


def test_simplejpeg_is_not_used_where_its_pixels_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    real = jpeg_rsclip.simplejpeg.decode_jpeg
    check = jpeg_rsclip.simplejpeg_equals_pillow.__wrapped__
    assert check()
    monkeypatch.setattr(jpeg_rsclip.simplejpeg, "decode_jpeg", lambda *args, **rest: real(*args, **rest) ^ 1)
    assert not check()
    monkeypatch.setattr(jpeg_rsclip, "simplejpeg", None)
    assert not check()


@pytest.mark.parametrize("kind", ["4:2:0", "progressive", "grey"])
def test_damaged_files_give_the_same_pixels_or_the_same_error_as_pillow_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, options = KINDS[kind]
    whole = jpeg(scene, **options)
    generator = np.random.default_rng(0)
    damaged = [whole[:-2], whole[: len(whole) // 2], whole + b"tail", whole[:200] + b"\xff" + whole[200:]]
    for _ in range(60):
        content = bytearray(whole)
        content[int(generator.integers(2, len(whole)))] = int(generator.integers(256))
        damaged.append(bytes(content))
    fast = [outcome(content) for content in damaged]
    monkeypatch.setattr(jpeg_rsclip, "simplejpeg_equals_pillow", lambda: False)
    assert fast == [outcome(content) for content in damaged]
    assert fast[0] == fast[1] == "damaged"
    assert sum(isinstance(found, bytes) for found in fast) > 20


def outcome(content: bytes) -> bytes | str:
    try:
        return load_rgb(content).pixels.tobytes()
    except BadImage as error:
        return error.reason


def test_a_header_that_promises_too_many_pixels_is_refused_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytearray(jpeg(noisy(64, 64)))
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = (16_000).to_bytes(2, "big") + (16_000).to_bytes(2, "big")
    monkeypatch.setattr(jpeg_rsclip.simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(BadImage, match=r"scene 7 \[too_large\]: got 16000 x 16000 pixels"):
        load_rgb(bytes(content), name="scene 7")


@pytest.mark.slow
@pytest.mark.skipif(not REAL_IMAGES.is_dir(), reason="needs the RSICD images")
def test_real_jpegs_decode_to_the_pixels_of_pillow() -> None:
    for path in sorted(REAL_IMAGES.iterdir())[::40]:
        with Image.open(path) as opened:
            assert np.array_equal(load_rgb(path.read_bytes()).pixels, np.asarray(opened.convert("RGB")))


@pytest.mark.parametrize("has_simplejpeg", [True, False])
def test_scaled_decoding_is_close_and_never_enlarges(has_simplejpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_simplejpeg:
        monkeypatch.setattr(jpeg_rsclip, "simplejpeg_equals_pillow", lambda: False)
    content = jpeg(make_scene(500, 641), quality=90)
    for least_side, shrunk in (
        (224, (250, 321)),
        (126, (250, 321)),
        (125, (125, 161)),
        (62, (63, 81)),
        (251, (500, 641)),
    ):
        loaded = load_rgb(content, least_side=least_side)
        assert loaded.pixels.shape[:2] == shrunk
        assert loaded.size == (641, 500)
    exact, scaled = (
        RSImageProcessor(jpeg_decoding=how, do_normalize=False)(content)["pixel_values"] for how in ("exact", "scaled")
    )
    difference = (exact - scaled).abs() * 255
    assert exact.shape == scaled.shape
    assert 0 < difference.mean() < 3


def test_scaled_decoding_keeps_the_geometry_of_turned_images_and_pairs() -> None:
    turned = jpeg(make_scene(500, 640), exif=EXIF_TURNED)
    loaded = load_rgb(turned, least_side=224)
    assert loaded.size == (500, 640)
    assert loaded.pixels.shape == (320, 250, 3)
    infrared = make_scene(500, 640)[..., 0]
    pair = load_pair(jpeg(make_scene(500, 640)), infrared, scaling={"rule": "dtype_range"}, least_side=224)
    assert pair.rgb is not None
    assert pair.infrared is not None
    assert pair.rgb.size == pair.infrared.size == (640, 500)


def test_unnormalised_batches_finished_elsewhere_equal_whole_ones() -> None:
    small = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    images = RSImageProcessor(**small, infrared_mean=[0.4], infrared_std=[0.3])
    processor = RSCLIPProcessor(images, make_tokenizer(appends_eos=True), max_text_length=12)
    sent = in_levels(processor)
    inputs = {"images": [make_scene(48, 64)], "infrared": [make_scene(48, 64)[..., 0]], "text": ["a scene"]}
    levels, whole = sent(**inputs), processor(**inputs)
    assert levels["pixel_values"].dtype is torch.uint8
    (finished,) = FinishedBatches([{**levels, "ids": ["a"]}], processor, torch.device("cpu"))
    assert finished.pop("ids") == ["a"]
    assert finished.keys() == whole.keys()
    assert all(torch.equal(finished[name], value) for name, value in whole.items())
    (as_infrared,) = FinishedBatches([{"infrared_values": levels["pixel_values"]}], processor, torch.device("cpu"))
    assert torch.equal(as_infrared["infrared_values"], whole["pixel_values"])
    assert processor.image_processor.do_normalize
    assert sent.max_text_length == 12
    with pytest.raises(TypeError, match="normalised already"):
        images.normalise(whole)
    other = object()
    assert in_levels(other) is other


def test_the_line_from_levels_to_values_is_rescaling_and_normalisation() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    images = RSImageProcessor()
    values = images.normalise({"pixel_values": levels.contiguous()})["pixel_values"].double()
    mean, std = (
        torch.tensor(list(part), dtype=torch.float64)[:, None, None] for part in (images.image_mean, images.image_std)
    )
    assert (values - (levels.double() / 255 - mean) / std).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("sizes", "batch_size"), [([10] * 7, 8), ([7, 3, 12, 1, 9], 5), ([100, 20, 100, 20], 16), ([5], 5)]
)
def test_a_grouped_epoch_is_a_permutation_whatever_the_ranks(sizes: list[int], batch_size: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = GroupedOrder(groups, batch_size, seed=1)
    for epoch in range(2):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        whole = [order.rows_of_step(step) for step in steps]
        assert sorted(pair for step in whole for pair in step) == [(epoch, row) for row in range(len(groups))]
        assert max(map(len, whole)) - min(map(len, whole)) <= 1
        for ranks in (2, 3, 4):
            for step, rows in zip(steps, whole, strict=True):
                assert [row for rank in range(ranks) for row in order.rows_of_rank(step, rank, ranks)] == rows
    assert GroupedOrder(groups, batch_size, seed=1).rows_of_step(1) == order.rows_of_step(1)
    assert len(groups) == 5 or GroupedOrder(groups, batch_size, seed=2).rows_of_step(0) != order.rows_of_step(0)


def test_each_rank_needs_its_own_part_of_the_row_groups_and_a_step_mixes_many() -> None:
    groups = np.repeat(np.arange(80), 25)
    order = GroupedOrder(groups, 40, seed=0)
    for ranks in (2, 4):
        needed = [
            {groups[row] for step in range(order.steps_per_epoch) for _, row in order.rows_of_rank(step, rank, ranks)}
            for rank in range(ranks)
        ]
        assert all(len(found) <= 80 / ranks + 1 for found in needed)
    assert len({groups[row] for _, row in order.rows_of_step(10)}) >= 38


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 48, seed=3)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")


Seen = tuple[int, str, bytes, bytes]


def seen_rows(rows: list[dict[str, Any]]) -> Any:
    return [(row["epoch"], row["id"], row["rgb"]["bytes"], row["infrared"]["bytes"]) for row in rows]


def batches(rows: Dataset, first: int, steps: int, rank: int, ranks: int, workers: int) -> Iterator[list[Seen]]:
    sampler = RankBatches(make_order(rows, 8, seed=2), first, steps, rank, ranks)
    streaming = row_groups(rows) is not None
    yield from make_loader(rows, sampler, DataConfig(streaming=streaming, workers=workers), seen_rows)  # type: ignore[misc]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_every_streamed_row_is_seen_once_and_a_resumed_epoch_goes_on_exactly(
    data: Path, ranks: int, workers: int
) -> None:
    rows = open_rows(str(data), "train", streaming=True)
    steps = make_order(rows, 8, seed=2).steps_per_epoch
    expected = {row["id"]: row for row in load_split(str(data), "train")}
    seen = []
    for rank in range(ranks):
        whole = list(batches(rows, 0, steps, rank, ranks, workers))
        assert list(batches(rows, 2, steps, rank, ranks, workers)) == whole[2:]
        seen += [row for batch in whole for row in batch]
    assert sorted(name for _, name, _, _ in seen) == sorted(expected)
    for epoch, name, rgb, infrared in seen:
        assert (epoch, rgb) == (0, expected[name]["rgb"]["bytes"])
        assert infrared == expected[name]["infrared"]["bytes"]


def test_streamed_rows_are_the_kept_ones_without_their_images(data: Path, tmp_path: Path) -> None:
    streamed, kept = open_rows(str(data), "train", streaming=True), open_rows(str(data), "train")
    assert streamed.features == kept.features
    texts = [name for name in kept.column_names if name not in ("rgb", "infrared")]
    assert streamed.select_columns(texts).to_list() == kept.select_columns(texts).to_list()
    assert streamed[0]["rgb"]["bytes"] is None
    store = RowGroupStore(1, tmp_path / "store")
    (tmp_path / "store").mkdir()
    renamed = streamed.rename_column("rgb", "picture").select([3, 1])
    assert [row["picture"]["bytes"] for row in store.fill(renamed.to_list())] == [
        kept[3]["rgb"]["bytes"],
        kept[1]["rgb"]["bytes"],
    ]
    assert row_groups(kept) is None
    assert store.fill(kept.select([0]).to_list())[0]["rgb"] == kept[0]["rgb"]


def test_an_address_reads_back() -> None:
    text = address("hf://datasets/ORG/a b@1/c#d.parquet", "hub", "rgb/x", 12, 7)
    group, row = parse_address(text)
    assert row == 7
    assert parse_group(group) == ("hf://datasets/ORG/a b@1/c#d.parquet", "rgb/x", 12)


def test_the_store_keeps_to_its_size_and_fetches_again_what_it_removed(data: Path, tmp_path: Path) -> None:
    rows = open_rows(str(data), "train", streaming=True)
    kept = load_split(str(data), "train")
    store = RowGroupStore(1e-9, tmp_path)
    for _ in range(2):
        assert store.fill(rows.to_list())[-1]["infrared"] == kept[len(kept) - 1]["infrared"]
        assert len(list(tmp_path.glob("*.arrow"))) == 1
        store = RowGroupStore(1e-9, tmp_path)


def test_changed_shards_are_read_anew(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(data, folder)
    before = open_rows(str(folder), "train", streaming=True)[0]["rgb"]["path"]
    shard = next((folder / "data").glob("train-*"))
    os.utime(shard, ns=(1, 1))
    assert open_rows(str(folder), "train", streaming=True)[0]["rgb"]["path"] != before


def test_what_cannot_be_streamed_is_refused(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no shards nothing-"):
        open_rows(str(data), "nothing", streaming=True)
    with pytest.raises(ValueError, match="no column of images"):
        open_rows(str(without_images(data)), "train", streaming=True)
    with pytest.raises(ValueError, match=r"data.workers=-1 must not be negative"):
        DataConfig(workers=-1)
    with pytest.raises(ValueError, match=r"data.stream_gigabytes=0 must be positive"):
        DataConfig(stream_gigabytes=0)


def without_images(data: Path) -> Path:
    folder = data.parent / "index_only"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    load_split(str(data), "train").select_columns(["id"]).to_parquet(str(folder / "data" / "train-0.parquet"))
    return folder


def test_a_streamed_run_trains_and_resumes_only_streamed(data: Path, tmp_path: Path) -> None:
    small = {"image-size": 32, "width": 32, "vision-layers": 1, "text-layers": 1, "heads": 2, "vocabulary": 400}
    options = {"data.path": data, "data.workers": 0, "optim.steps": 4, "optim.warmup-steps": 1, "optim.batch-size": 8}
    options |= {f"model.size.{name}": value for name, value in small.items()} | {"output": tmp_path / "run"}
    arguments = ["debug", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
    train_clip.main([*arguments, "--data.streaming", "--save.every-steps", "2"])
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(ValueError, match=r"data.streaming was True and is False"):
        train_clip.main([*arguments, "--save.resume"])


HUB_PROGRAM = """
import sys
from train.data.order import RankBatches
from train.data.config import DataConfig

from train.data.loader import make_loader, make_order, open_rows
rows = open_rows("ORG/pairs", "train", streaming=True)
order = make_order(rows, 8, seed=2)
for rank in range(2):
    sampler = RankBatches(order, 0, order.steps_per_epoch, rank, 2)
    collate = lambda found: [(row["id"], len(row["rgb"]["bytes"]), len(row["infrared"]["bytes"])) for row in found]
    for batch in make_loader(rows, sampler, DataConfig(streaming=True, workers=2), collate):
        for row in batch:
            print(*row)
"""


UPLOAD_PROGRAM = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo("ORG/pairs", repo_type="dataset")
HfApi().upload_folder(
    folder_path=sys.argv[1], path_in_repo="data", repo_id="ORG/pairs", repo_type="dataset", allow_patterns="*.parquet"
)
"""


@pytest.mark.slow
def test_rows_stream_from_the_hub_by_ranges_and_each_is_seen_once(data: Path, tmp_path: Path) -> None:
    with LoopbackHub(tmp_path / "hub") as hub:
        # A cache of its own: an earlier run of this test has fetched the same shards.
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        environment = {**hub.environment(tmp_path / "home"), **own}
        output = [
            subprocess.run(
                [sys.executable, "-c", program, str(data / "data")], env=environment, stdout=subprocess.PIPE, check=True
            ).stdout.decode()
            for program in (UPLOAD_PROGRAM, HUB_PROGRAM)
        ]
        fetched = [request for request in hub.requests if request.method == "GET" and ".parquet" in request.path]
    expected = load_split(str(data), "train")
    lengths = [(row["id"], len(row["rgb"]["bytes"]), len(row["infrared"]["bytes"])) for row in expected]
    found = [line.split() for line in output[1].splitlines()]
    assert sorted((name, int(rgb), int(infrared)) for name, rgb, infrared in found) == sorted(lengths)
    assert fetched
    assert {request.status for request in fetched} == {206}
    assert not list((tmp_path / "home").rglob("*.parquet"))


def test_the_plain_order_is_kept_for_rows_on_this_disk(data: Path) -> None:
    rows = open_rows(str(data), "train")
    assert make_order(rows, 8, seed=4).rows_of_step(3) == DataOrder(len(rows), 8, seed=4).rows_of_step(3)
