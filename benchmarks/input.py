"""Images per second of the training input pipeline, beside transformers' own processor in a DataLoader and WebDataset.

python -m benchmarks.input --images ../shared/data/rsicd/images --output benchmarks/results/input.json
Every contender runs in a process of its own; `benchmarks/input_peers.py` says how to install the peers.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from datasets import Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from transformers.image_utils import OPENAI_CLIP_STD

from .generated_images import scene_like_jpeg
from .input_peers import CONTENDERS, PEERS_FOLDER, peer_versions
from .record import REPOSITORY, provenance, write_record
from .side_by_side import rates, ratios, rounded

OWN = [name for name in CONTENDERS if name.startswith("rsclip")]
PEERS = [name for name in CONTENDERS if name not in OWN]
ROW_GROUP_ROWS = 100
# Pillow and torch round the antialiased bicubic apart in a few pixels, torchvision's path as ours.
MAX_LEVELS, MEAN_LEVELS = 2.01, 0.01


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    images: Path | None = None
    """Folder of JPEGs; generated ones when not given."""
    sides: tuple[int, ...] = (224, 500)
    """Sides of the images; files of another side are resized and saved as JPEG of quality 90."""
    count: int = 512
    """Images in a pass."""
    workers: tuple[int, ...] = (0, 1)
    """Numbers of workers to time."""
    rounds: int = 3
    """Rounds; in each, every contender makes one pass."""


def main(config: Config) -> None:
    """Times all contenders and writes the record."""
    record: dict[str, Any] = {
        "what": "images a second from JPEGs in Parquet (WebDataset: in a tar) to normalised float batches of 64 "
        "on the CPU, per CPU-second of all processes and per second of wall time",
        "source": "real files" if config.images else "generated",
        "config": {**asdict(config), "output": config.output.name, "images": config.images and config.images.name},
        **provenance(["torch", "transformers", "datasets", "numpy", "pillow", "simplejpeg", "pyarrow"]),
        "peers": peer_versions(PEERS_FOLDER),
        "cases": [],
    }
    with tempfile.TemporaryDirectory() as scratch:
        for side in config.sides:
            data = Path(scratch) / str(side)
            _write_data(data, _jpegs(config.images, side, config.count))
            record["cases"].append(_case(data, side, config, Path(scratch)))
            write_record(config.output, record)
    print(json.dumps(record["cases"], indent=2))


def _case(data: Path, side: int, config: Config, scratch: Path) -> dict[str, Any]:
    differences = _pixel_differences(data, scratch)
    for name, found in differences.items():
        is_equal = found["max_grey_levels"] <= MAX_LEVELS and found["mean_grey_levels"] <= MEAN_LEVELS
        if name != "rsclip_scaled" and not is_equal:
            raise AssertionError(f"{name} differs by {found} from transformers_pil; the speeds compare nothing.")
    timed = {str(workers): _time(data, workers, config.rounds, scratch) for workers in config.workers}
    return {"side": side, "images": config.count, "difference_from_transformers_pil": differences, "workers": timed}


def _time(data: Path, workers: int, rounds: int, scratch: Path) -> dict[str, Any]:
    """All contenders wait in their processes; in each round every one makes a pass, beginning with another."""
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(
                _process(name, data, workers, scratch, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for name in CONTENDERS
        }
        for number in range(rounds + 1):
            names = list(running)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                found = _pass(name, running[name])
                if number:  # the first pass warms up
                    seconds[name].append(found)
                    print(
                        f"{data.name} px, {workers} workers: {name} {found['cpu']:.2f} s", file=sys.stderr, flush=True
                    )
    images = int(seconds[PEERS[0]][0]["images"])
    cpu, wall = ({name: [found[kind] for found in seconds[name]] for name in seconds} for kind in ("cpu", "wall"))
    return {
        "images_per_cpu_second": {name: rates(images, cpu[name]) for name in cpu},
        "images_per_second": {name: rates(images, wall[name]) for name in wall},
        "ratios": {
            f"{own}_over_{peer}": {"cpu": ratios(cpu[peer], cpu[own]), "wall": ratios(wall[peer], wall[own])}
            for own in OWN
            for peer in PEERS
        },
    }


def _pass(name: str, process: "subprocess.Popen[str]") -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{name} ended; see its error above.")
    found: dict[str, float] = json.loads(line)
    return found


def _process(
    name: str, data: Path, workers: int, scratch: Path, *arguments: str, **pipes: Any
) -> "subprocess.Popen[str]":
    paths = [str(REPOSITORY)] + ([str(PEERS_FOLDER)] if "torchvision" in name else [])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(scratch / "home"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "benchmarks.input_peers", "--contender", name, "--data", str(data)]
    return subprocess.Popen([*command, "--workers", str(workers), *arguments], env=environment, text=True, **pipes)


def _pixel_differences(data: Path, scratch: Path) -> dict[str, dict[str, float]]:
    """Of every image of every contender, in grey levels."""
    found = {}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(_process(name, data, 0, scratch, "--pixels", str(scratch / f"{name}.npz")))
            for name in CONTENDERS
        }
    for name, process in running.items():
        if process.returncode != 0:
            raise RuntimeError(f"{name} ended with code {process.returncode}; see its error above.")
        with np.load(scratch / f"{name}.npz") as pixels:
            found[name] = {key: pixels[key] for key in pixels}
    return {
        name: _difference(found["transformers_pil"], found[name]) for name in CONTENDERS if name != "transformers_pil"
    }


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, float]:
    if first.keys() != second.keys():
        raise AssertionError(f"{len(first)} and {len(second)} images, not the same ones.")
    levels = 255 * np.asarray(OPENAI_CLIP_STD, dtype=np.float32)[:, None, None]
    each = [np.abs(first[key] - second[key]) * levels for key in first]
    largest, mean = max(float(one.max()) for one in each), float(np.mean([one.mean() for one in each]))
    return {"max_grey_levels": rounded(largest), "mean_grey_levels": rounded(mean)}


def _jpegs(folder: Path | None, side: int, count: int) -> list[bytes]:
    if folder is None:
        return [scene_like_jpeg(seed, side) for seed in range(count)]
    paths = sorted(folder.glob("*.jpg"))[:count]
    if len(paths) < count:
        raise ValueError(f"{folder} has {len(paths)} JPEGs, fewer than count={count}.")
    return [_of_side(path.read_bytes(), side) for path in paths]


def _of_side(content: bytes, side: int) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        if image.size == (side, side):
            return content
        buffer = io.BytesIO()
        image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def _write_data(folder: Path, jpegs: Sequence[bytes]) -> None:
    """The same images as a Parquet shard and as a tar."""
    (folder / "data").mkdir(parents=True)
    schema = Features({"id": Value("string"), "rgb": ImageFeature()}).arrow_schema
    ids = [f"{number:06d}" for number in range(len(jpegs))]
    images = pa.array([{"bytes": content, "path": None} for content in jpegs], schema.field("rgb").type)
    table = pa.table([pa.array(ids), images], schema=schema)
    shard = folder / "data" / "train-00000-of-00001.parquet"
    pq.write_table(table, shard, row_group_size=ROW_GROUP_ROWS, compression="none")
    with tarfile.open(folder / "images.tar", "w") as tar:
        for name, content in zip(ids, jpegs, strict=True):
            entry = tarfile.TarInfo(f"{name}.jpg")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
