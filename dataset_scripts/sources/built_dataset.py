"""A folder that a build of ours wrote, as a source: RS5M for FusionRS, or several builds joined into one.

Rows keep the names of their own sources and their licences. Rows of the index alone have no image, and are not read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..rights import parse_license
from ..stages.metadata_facts import FACT_NAMES
from ..stages.rejects import Reject
from .file_parts import fingerprint, list_files, part_of, require_rows_per_part, require_unchanged
from .source_row import Part, SourceRow

SHARD_FOLDERS = ("data", "local")


@dataclass(frozen=True, kw_only=True)
class BuiltDataset:
    """The shards of an `rs5m` or `fusionrs` folder."""

    folder: Path

    @property
    def name(self) -> str:
        return "dataset"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List ranges of row groups of every shard.

        Raises:
            ValueError: the folder has no shards.
        """
        require_rows_per_part(rows_per_part)
        names = [name for name in list_files(self.folder, (".parquet",)) if name.split("/")[0] in SHARD_FOLDERS]
        if not names:
            raise ValueError(
                f"{str(self.folder)!r} has no shards in {' or '.join(SHARD_FOLDERS)}; is it a built folder?"
            )
        parts: list[Part] = []
        for name in names:
            state = fingerprint(self.folder, [name])
            for first, last, rows in _ranges(self.folder / name, rows_per_part):
                parts.append(part_of(len(parts), name, state, {"file": name, "groups": [first, last]}, rows))
        return parts

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a range of row groups."""
        name = part.where["file"]
        require_unchanged(self.folder, [name], part)
        split = Path(name).name.split("-")[0]
        with pq.ParquetFile(self.folder / name, page_checksum_verification=True) as file:
            for group in range(*part.where["groups"]):
                for row in file.read_row_group(group).to_pylist():
                    yield _pair_row(row, split) if "rgb" in row else _image_row(row, split)


def _ranges(path: Path, rows_per_part: int) -> Iterator[tuple[int, int, int]]:
    """Runs of row groups of about so many rows: the first, the one behind the last, and their rows."""
    metadata = pq.read_metadata(path)
    first = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= rows_per_part or group == metadata.num_row_groups - 1:
            yield first, group + 1, rows
            first, rows = group + 1, 0


def _common(row: Mapping[str, Any], split: str) -> dict[str, Any]:
    images, captions = parse_license(row["license"])
    return {
        "source": row["source"],
        "source_id": row["id"].removeprefix(f"{row['source']}:"),
        "license": images,
        "caption_license": captions,
        "attribution": row["attribution"] or "",
        "split": split,
    }


def _pair_row(row: Mapping[str, Any], split: str) -> SourceRow:
    """A row of FusionRS."""
    return SourceRow(
        **_common(row, split),
        image=row["rgb"]["bytes"],
        infrared=row["infrared"]["bytes"],
        infrared_origin=row["infrared_origin"],
        infrared_band=row["infrared_band"],
        captions=tuple(row["captions"]),
        caption_kind="human",
        infrared_captions=tuple(row["infrared_captions"]),
        class_name=row["class_name"],
    )


def _image_row(row: Mapping[str, Any], split: str) -> SourceRow:
    """A row of RS5M; the caption to train on comes first."""
    texts = dict.fromkeys([row["caption"], *(caption["text"] for caption in row["captions"])])
    kinds = {caption["text"]: caption["kind"] for caption in reversed(row["captions"])}
    return SourceRow(
        **_common(row, split),
        image=row["image"]["bytes"],
        url=row["url"],
        captions=tuple(texts),
        caption_kind=kinds[row["caption"]],
        metadata={name: row[name] for name in FACT_NAMES if row.get(name) is not None},
    )
