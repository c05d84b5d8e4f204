"""Reference texts and the manifest of rows they define: from a FusionRS folder or from a JSON-lines file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..predictions import json_lines
from ..rows import shards

COLUMNS = ("captions", "infrared_captions")


@dataclass(frozen=True, kw_only=True)
class ReferenceSource:
    """Where references are.

    A JSON-lines file has lines `{"id": …, "references": […]}`, and if they should count `image_id` (rows of one image
    are resampled together) and `source`.
    """

    path: Path
    """Folder the dataset builder wrote, or a .jsonl file."""
    split: str = "test"
    """Split of the folder."""
    column: str = "captions"
    """Column of the folder: `captions` or `infrared_captions`."""

    def __post_init__(self) -> None:
        if self.column not in COLUMNS:
            raise ValueError(f"column is {self.column!r}, wanted one of {', '.join(COLUMNS)}.")


@dataclass(frozen=True, kw_only=True)
class References:
    """The rows of a manifest, in its order. A row may have no reference."""

    ids: tuple[str, ...]
    images: tuple[str, ...]
    sources: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.ids:
            raise ValueError("the references hold no row; wanted at least one.")
        seen: set[str] = set()
        for key in self.ids:
            if key in seen:
                raise ValueError(f"the references hold {key!r} twice; wanted one row with all its references.")
            seen.add(key)


def read_references(source: ReferenceSource) -> References:
    """Reads a split of a folder or a JSON-lines file."""
    if source.path.is_dir():
        return _from_folder(source)
    if not source.path.is_file():
        raise FileNotFoundError(f"{source.path} is neither a folder of the dataset builder nor a JSON-lines file.")
    rows = [_row(line, f"{source.path}, line {number}") for number, line in json_lines(source.path)]
    return References(
        ids=tuple(row["id"] for row in rows),
        images=tuple(row["image_id"] for row in rows),
        sources=tuple(row["source"] for row in rows),
        texts=tuple(tuple(row["references"]) for row in rows),
    )


def _from_folder(source: ReferenceSource) -> References:
    rows: list[dict[str, Any]] = []
    for shard in shards(source.path, source.split):
        rows += pq.read_table(shard, columns=["id", "source", source.column]).to_pylist()
    ids = tuple(row["id"] for row in rows)
    return References(
        ids=ids,
        images=ids,
        sources=tuple(row["source"] for row in rows),
        texts=tuple(tuple(row[source.column]) for row in rows),
    )


def _row(line: dict[str, Any], at: str) -> dict[str, Any]:
    key, references = line.get("id"), line.get("references")
    if not isinstance(key, str):
        raise ValueError(f"{at}: id is {key!r}, wanted a string.")
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        raise ValueError(f"{at}: references of {key!r} are {references!r}, wanted a list of strings.")
    image, origin = line.get("image_id", key), line.get("source", "")
    return {"id": key, "references": references, "image_id": str(image), "source": str(origin)}
