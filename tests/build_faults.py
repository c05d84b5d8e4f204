"""What the tests of faults share: pictures that differ, a folder of them, the real command, what it left behind."""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 40, 48
_PLACES = ("a river", "an airport", "two ships", "a stadium", "a farm", "a bridge", "many houses", "a forest")


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Smooth colours, (height, width, 3), another picture for every number; JPEG hardly changes them."""
    random = np.random.default_rng(number)
    small = Image.fromarray(random.integers(30, 226, (5, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: NDArray[Any], *, photometric: int = 2, extra_samples: Sequence[int] = ()) -> bytes:
    """An uncompressed TIFF of (H, W, C) values of any depth, which Pillow reads and cannot write."""
    height, width, channels = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [pixels.dtype.itemsize * 8] * channels),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [pixels.nbytes]),
        339: ("H", [kind] * channels),
    }
    if extra_samples:
        tags[338] = ("H", extra_samples)
    packed = {tag: struct.pack(f"<{len(values)}{form}", *values) for tag, (form, values) in tags.items()}
    at = 8 + 2 + 12 * len(tags) + 4
    tags[273] = ("I", [at + sum(len(body) for body in packed.values() if len(body) > 4)])
    packed[273] = struct.pack("<I", *tags[273][1])
    entries = aside = b""
    for tag in sorted(tags):
        form, values = tags[tag]
        body = packed[tag]
        if len(body) > 4:
            body, aside = struct.pack("<I", at + len(aside)), aside + body
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[form], len(values)) + body.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + aside + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def write_folder(folder: Path, images: int) -> Path:
    """A folder for `--source folder`: pictures of 32 pixels with a caption each, the first of them listed twice."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(images):
        name = f"{number:04d}.jpg"
        (folder / name).write_bytes(encoded(picture(number, 32, 32), "JPEG", quality=90))
        caption = f"{_PLACES[number % len(_PLACES)]} and {_PLACES[number // len(_PLACES) % len(_PLACES)]} near a road"
        lines.append({"file_name": name, "caption": f"{caption}, number {number}"})
    lines.append(lines[0])
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def build_command(output: Path, folder: Path | None, *, scenes: int = 120, workers: int = 2) -> list[str]:
    """The command of a build in which all steps take part: the simulator, and a folder that lacks infrared images."""
    sources = ["simulator", *([] if folder is None else [f"folder:{folder}"])]
    return [
        *(sys.executable, "-m", "dataset_scripts", "build", "fusionrs", "--source", *sources),
        *("--num-scenes", str(scenes), "--sources.scene-size", "32", "--rows-per-part", "10"),
        *("--translator.name", "luminance", "--sources.license", "CC-BY-4.0", "--output", str(output)),
        *("--workers", str(workers)),
    ]


def environment() -> dict[str, str]:
    """One thread for each process, so that what is measured does not depend on the number of cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


def run_build(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own."""
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=240, check=False, **options
    )


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its name below the folder; also of files that should not be there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows with images, of `data` and of `local`."""
    files = [path for name in ("data", "local") for path in sorted((folder / name).glob("*.parquet"))]
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The account of a build."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def require_balanced(stages: Sequence[Mapping[str, Any]], rows: int) -> None:
    """Every row of the first stage is in the next, or has a reason; captions are lost without their row."""
    first = stages[0]
    assert first["rows_in"] == sum(first["rejected"].values()) + first["rows_out"]
    left = first["rows_out"]
    for stage in stages[1:]:
        assert stage["rows_in"] == sum(stage["rejected"].values()) + stage["rows_out"], stage
        if stage["stage"] != "infrared_captions":
            assert stage["rows_in"] <= left, stage
            left -= sum(stage["rejected"].values())
    assert left == stages[-1]["rows_out"] == rows
