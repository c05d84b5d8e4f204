"""Writing a shard of images and captions, beside the way that `datasets` documents: embed, then `to_parquet`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Value
from datasets.table import embed_table_storage

from dataset_scripts.ordered_parquet import write_ordered
from dataset_scripts.steps.staged_rows import shuffle_key

from .side_by_side import Comparison

_FEATURES = Features({"image": Image(), "caption": Value("string")})
_ROW_GROUP_ROWS = 100


def shard_writing(images: Sequence[Path], folder: Path) -> Comparison:
    """Files on the disk to one Parquet file; ours is shuffled and flushed to the disk as well, theirs is neither."""
    captions = [path.with_suffix(".txt").read_text().strip() for path in images]

    def rows() -> Iterator[dict[str, Any]]:
        for path, caption in zip(images, captions, strict=True):
            image = {"bytes": path.read_bytes(), "path": None}
            yield {"image": image, "caption": caption, "shuffle_key": shuffle_key("rsclip-1", path.name)}

    def ours() -> Path:
        path = folder / "ours.parquet"
        write_ordered(
            path,
            rows(),
            _FEATURES.arrow_schema,
            order_by="shuffle_key",
            row_group_rows=_ROW_GROUP_ROWS,
            uncompressed=("image",),
        )
        return path

    def theirs() -> Path:
        path = folder / "theirs.parquet"
        dataset = Dataset.from_dict({"image": [str(path) for path in images], "caption": captions}, features=_FEATURES)
        embedded = dataset.with_format("arrow").map(
            embed_table_storage, batched=True, keep_in_memory=True, load_from_cache_file=False
        )
        embedded.with_format(None).to_parquet(path, batch_size=_ROW_GROUP_ROWS)
        return path

    def agreement(results: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: sorted(_contents(path)) for name, path in results.items()}
        return {
            "equal_rows": found["rsclip"] == found["datasets_to_parquet"],
            "bytes": {name: path.stat().st_size for name, path in results.items()},
        }

    return Comparison(
        name="write_shard",
        what="image files and captions to one Parquet file; Dataset.map(embed_table_storage), to_parquet; unshuffled",
        rows=len(images),
        ours={"rsclip": ours},
        peers={"datasets_to_parquet": theirs},
        agreement=agreement,
    )


def _contents(path: Path) -> list[tuple[str, bytes]]:
    return [(row["caption"], row["image"]["bytes"]) for row in pq.read_table(path).to_pylist()]
