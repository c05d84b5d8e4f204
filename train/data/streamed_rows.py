"""Rows of Parquet shards too large to keep: images are fetched by row group when needed, the other columns are kept.

A streamed split is an ordinary `datasets.Dataset`, so that all that selects, renames or joins rows works on it. Its
images hold an address in place of their bytes: shard, its stamp, column, row group and row.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, config
from datasets.arrow_writer import ArrowWriter
from filelock import FileLock
from numpy.typing import NDArray

from evaluation.rows import split_files

SCHEME = "rowgroup:"


def stream_split(path: str, split: str) -> Dataset:
    """Opens a split of a folder or Hub dataset without reading an image.

    The other columns are copied into the cache of `datasets`, once for each state of the shards.

    Raises:
        ValueError: the dataset is not Parquet, has no such split, or has no images.
    """
    files = _files(path, split)
    stamps = [_stamp(file) for file in files]
    key = hashlib.sha256("\n".join(f"{file} {stamp}" for file, stamp in zip(files, stamps, strict=True)).encode())
    index = cache_folder("row_index") / f"{key.hexdigest()[:24]}.arrow"
    with FileLock(f"{index}.lock"):
        if not index.exists():
            part = index.with_suffix(".part")
            _write_index(part, files, stamps)
            part.replace(index)
    return Dataset.from_file(str(index))


def cache_folder(name: str) -> Path:
    """A folder of ours in the cache of `datasets`."""
    folder = Path(config.HF_DATASETS_CACHE) / f"rsclip_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_shard(file: str) -> Any:
    """A shard, local or on the Hub; of a remote one only the asked ranges are read."""
    if "://" not in file:
        return fsspec.open(file, "rb").open()
    return fsspec.open(file, "rb", cache_type="none").open()


def address(file: str, stamp: str, column: str, group: int, row: int) -> str:
    """Where an image lies."""
    return f"{_group_address(file, stamp, column, group)}/{row}"


def parse_address(text: str) -> tuple[str, int]:
    """The address of the row group, and the row in it."""
    group, _, row = text.rpartition("/")
    return group, int(row)


def parse_group(text: str) -> tuple[str, str, int]:
    """Shard, column and number of a row group's address."""
    file, _, column, group = text.removeprefix(SCHEME).split("/")
    return unquote(file), unquote(column), int(group)


def row_groups(rows: Dataset) -> NDArray[np.int64] | None:
    """Which row group each row of a streamed split lies in, as numbers from 0; None for rows that are not streamed."""
    columns = [name for name, feature in rows.features.items() if isinstance(feature, Image)]
    if not columns:
        return None
    numbers: list[NDArray[np.int64]] = []
    known: dict[str, int] = {}
    for batch in rows.select_columns(columns[:1]).with_format("arrow").iter(100_000):
        paths = pc.struct_field(batch[columns[0]], "path")
        if not pc.all(pc.fill_null(pc.starts_with(paths, SCHEME), fill_value=False)).as_py():
            return None
        found = pc.replace_substring_regex(paths, "/[0-9]+$", "").combine_chunks().dictionary_encode()
        places = [known.setdefault(group, len(known)) for group in found.dictionary.to_pylist()]
        numbers.append(np.asarray(places, dtype=np.int64)[found.indices.to_numpy()])
    return np.concatenate(numbers) if numbers else None


def _group_address(file: str, stamp: str, column: str, group: int) -> str:
    return f"{SCHEME}{quote(file, safe='')}/{stamp}/{quote(column, safe='')}/{group}"


def _files(path: str, split: str) -> list[str]:
    files = split_files(path, split)
    if files is None:
        raise ValueError(f"{path} is not made of Parquet files, which streaming needs; train without data.streaming.")
    return [file if "://" in file else str(Path(file).resolve()) for file in files]


def _stamp(file: str) -> str:
    """Changes when a local file does; addresses on the Hub name their commit."""
    if "://" in file:
        return "hub"
    found = Path(file).stat()
    return hashlib.sha256(f"{found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:12]


def _write_index(path: Path, files: Sequence[str], stamps: Sequence[str]) -> None:
    writer, features = None, None
    for file, stamp in zip(files, stamps, strict=True):
        with open_shard(file) as opened:
            shard = pq.ParquetFile(opened)
            if features is None or writer is None:
                features = _undecoded(Features.from_arrow_schema(shard.schema_arrow), file)
                writer = ArrowWriter(path=str(path), features=features)
            images = [name for name, feature in features.items() if isinstance(feature, Image)]
            others = [name for name in features if name not in images]
            columns = dict(zip(others, shard.read(others).columns, strict=True))
            columns |= {name: _addresses(shard, file, stamp, name) for name in images}
            writer.write_table(pa.table({name: columns[name] for name in features}))
    if writer is not None:
        writer.finalize()


def _undecoded(features: Features, file: str) -> Features:
    found = Features({name: Image(decode=False) if _is_image(kind) else kind for name, kind in features.items()})
    if not any(map(_is_image, found.values())):
        raise ValueError(f"{file} has no column of images, only {list(features)}; an `index` configuration holds none.")
    return found


def _is_image(feature: Any) -> bool:
    return isinstance(feature, Image)


def _addresses(shard: pq.ParquetFile, file: str, stamp: str, column: str) -> pa.Array:
    """Images without bytes. A null image cannot be told from another without reading it, and has an address too."""
    paths = pa.array(_iterate_addresses(shard.metadata, file, stamp, column), pa.string())
    return pa.StructArray.from_arrays([pa.nulls(len(paths), pa.binary()), paths], ["bytes", "path"])


def _iterate_addresses(metadata: pq.FileMetaData, file: str, stamp: str, column: str) -> Iterator[str]:
    for group in range(metadata.num_row_groups):
        for row in range(metadata.row_group(group).num_rows):
            yield address(file, stamp, column, group, row)
