"""Small copies of what RS5M is built from: pictures that differ, sets of addresses, and trees of label-only images."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PATCH = "S2A_MSIL2A_20170613T101031_0_45"
FMOW_JSON: dict[str, Any] = {
    "gsd": 2.0,
    "img_width": 48,
    "img_height": 40,
    "utm": "33T",
    "country_code": "ITA",
    "cloud_cover": 3,
    "timestamp": "2016-02-04T14:08:39Z",
    "scan_direction": "Forward",
    "target_azimuth_dbl": 314.3,
    "off_nadir_angle_dbl": 33.1,
    "bounding_boxes": [
        {
            "category": "airport",
            "ID": 0,
            "box": [10, 10, 20, 20],
            "raw_location": "POLYGON ((12 41, 13 41, 13 42, 12 42, 12 41))",
        }
    ],
}


def photo(number: int) -> NDArray[np.uint8]:
    """Smooth colours, (40, 48, 3), another picture for every number."""
    small = np.random.default_rng(number).integers(30, 226, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC))


def png(number: int, remark: str | None = None) -> bytes:
    """A picture as PNG, with a remark in its metadata where one is given."""
    info = PngInfo()
    if remark is not None:
        info.add_text("Comment", remark)
    buffer = io.BytesIO()
    Image.fromarray(photo(number)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def jpeg(number: int, quality: int) -> bytes:
    """A picture as JPEG: other bytes for every quality, and hardly another picture."""
    buffer = io.BytesIO()
    Image.fromarray(photo(number)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def url_id(url: str) -> str:
    """The id that a row has by its address."""
    return sha256(url.encode())[:24]


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=4)


def write_fmow(folder: Path, number: int, metadata: Mapping[str, Any] | None = FMOW_JSON) -> bytes:
    """One image of `train/airport`; returns its bytes."""
    path = folder / "train" / "airport" / f"airport_{number}" / f"airport_{number}_0_rgb.jpg"
    path.parent.mkdir(parents=True)
    data = jpeg(1000 + number, 90)
    path.write_bytes(data)
    if metadata is not None:
        path.with_suffix(".json").write_text(json.dumps(metadata))
    return data


def write_patch(folder: Path) -> None:
    """One patch of BigEarthNet."""
    (folder / PATCH).mkdir(parents=True)
    ramp = np.arange(120 * 120, dtype=np.uint16).reshape(120, 120)
    for band, pixels in {"B04": ramp, "B03": ramp.T, "B02": ramp[::-1]}.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / PATCH / f"{PATCH}_{band}.tif")
    metadata = {
        "labels": ["Pastures"],
        "coordinates": {"ulx": 500000, "uly": 5300040, "lrx": 501200, "lry": 5298840},
        "projection": 'PROJCS["WGS 84 / UTM zone 33N",AUTHORITY["EPSG","32633"]]',
        "tile_source": "S2A_MSIL1C.SAFE",
        "acquisition_date": "2017-06-13 10:10:31",
    }
    (folder / PATCH / f"{PATCH}_labels_metadata.json").write_text(json.dumps(metadata))


def write_million_aid(folder: Path, images: int) -> None:
    """Images without captions."""
    folder.mkdir(parents=True)
    for number in range(images):
        (folder / f"P{number:07d}.jpg").write_bytes(jpeg(2000 + number, 90))


def written_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows with images, of `data` and of `local`."""
    files = [path for name in ("data", "local") for path in sorted((folder / name).glob("*.parquet"))]
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def stages_of(folder: Path) -> dict[str, tuple[int, int, dict[str, int]]]:
    """The funnel: rows in, rows out, and the reasons."""
    stages = manifest_of(folder)["stages"]
    return {stage["stage"]: (stage["rows_in"], stage["rows_out"], stage["rejected"]) for stage in stages}


def journal_lines(output: Path) -> list[str]:
    """The step of every shard that was ever finished, in order."""
    lines = (output.with_name(f"{output.name}.work") / "journal.jsonl").read_text().splitlines()
    return [json.loads(line.partition(" ")[2])["step"] for line in lines]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def state_of(*folders: Path) -> dict[str, tuple[int, int]]:
    """Which files there are, and when they were written."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}
