"""Rows of `fusionrs` and `rs5m` under one set of columns, and the checks that a run's pairs can be trained on them."""

import functools
import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset, Image, concatenate_datasets

from ..data.loader import open_rows
from .config import ClipConfig, ClipDataConfig
from .text_choice import RowTexts

FUSIONRS_COLUMNS = ("id", "rgb", "infrared", "captions", "infrared_captions", "caption_key")
# What rows of rs5m are called here, so that both kinds of rows can be trained on together.
RS5M_COLUMNS = {
    "id": "id",
    "image": "rgb",
    "caption": "preferred_caption",
    "captions": "captions_by_kind",
    "caption_key": "caption_key",
}


def load_clip_rows(data: ClipDataConfig) -> Dataset:
    """Opens the split of every dataset; images stay encoded until a batch needs them."""
    parts = [_load(path, data.train_split, data.streaming) for path in (data.path, *data.also)]
    rows = parts[0] if len(parts) == 1 else concatenate_datasets(parts)
    return rows if data.share == 1 else rows.select(share_of_rows(rows["id"], data.share))


def share_of_rows(ids: Iterable[str], share: float) -> list[int]:
    """Where a share of the rows stands: the first in the order of the hashes of their ids, in the order of the rows."""
    hashes = [hashlib.sha256(one.encode()).digest() for one in ids]
    return sorted(sorted(range(len(hashes)), key=hashes.__getitem__)[: max(1, round(share * len(hashes)))])


def check_rows(rows: Dataset, config: ClipConfig) -> None:
    """Refuses rows that the pairs of a run cannot be trained on.

    Raises:
        ValueError: Rows without a caption, or infrared that no row has.
    """
    with_infrared = [pair for pair in config.model.pairs if "infrared" in pair or "fused" in pair]
    if with_infrared and "infrared" not in rows.column_names and config.data.infrared_view == "rows":
        raise ValueError(
            f"model.pairs has {', '.join(with_infrared)}, but the rows have no infrared images, only "
            f"{rows.column_names}. Train with `--model.pairs rgb_text`, on rows of fusionrs, or, as a control, with "
            "`--data.infrared-view luminance`."
        )
    without = _rows_without_captions(rows)
    if without:
        named = ", ".join(rows.select_columns("id")[index]["id"] for index in without[:5])
        raise ValueError(
            f"{len(without)} of {len(rows)} rows have no caption ({named}{', …' if len(without) > 5 else ''}). Drop or "
            "caption them; `python -m dataset_scripts check` names them all."
        )
    only_infrared = {
        name for name in ("scene", "infrared") if set(getattr(config.text, name)) == {"infrared_aware"}
    } - ({"infrared"} if "infrared_infrared_text" not in config.model.pairs else set())
    if only_infrared and not _has_infrared_captions(rows):
        raise ValueError(
            f"text.{', text.'.join(sorted(only_infrared))} asks for infrared captions, and no row has one. Add them "
            "with the dataset builder, leave out the pair infrared_infrared_text, or choose conventional texts."
        )


def row_texts(row: dict[str, Any], kinds: tuple[str, ...]) -> RowTexts:
    """The texts of a row of either dataset.

    Args:
        row: A row of `load_clip_rows`.
        kinds: Kinds of captions to take from rows of `rs5m`.
    """
    if row.get("captions") is not None:
        infrared = _written(row["infrared_captions"] or ())
        texts = RowTexts(_written(row["captions"]), infrared, infrared)
    else:
        found = row["captions_by_kind"] or ()
        chosen = [caption["text"] for caption in found if caption["kind"] in kinds]
        preferred = [row["preferred_caption"]] if "preferred" in kinds else []
        metadata = [caption["text"] for caption in found if caption["kind"] == "metadata"]
        texts = RowTexts(_written([*preferred, *chosen]), (), _written(metadata))
    if not texts.conventional:
        raise ValueError(
            f"row {row['id']!r} has no caption of {', '.join(kinds)}; name more of its kinds with --data.caption-kinds "
            "(`preferred` exists in every captioned row), or drop it."
        )
    return texts


def _written(texts: Any) -> tuple[str, ...]:
    return tuple(text for text in texts if text and text.strip())


def _load(path: str, split: str, streaming: bool) -> Dataset:
    rows = open_rows(path, split, streaming)
    if set(FUSIONRS_COLUMNS) <= set(rows.column_names):
        rows, images = rows.select_columns(list(FUSIONRS_COLUMNS)), ["rgb", "infrared"]
    elif set(RS5M_COLUMNS) <= set(rows.column_names):
        rows, images = rows.select_columns(list(RS5M_COLUMNS)).rename_columns(_renamed()), ["rgb"]
    else:
        raise ValueError(
            f"{path} has the columns {rows.column_names}; wanted those of fusionrs, {list(FUSIONRS_COLUMNS)}, or of "
            f"rs5m, {list(RS5M_COLUMNS)}. An `index` configuration holds no images: train on `default`."
        )
    for column in images:
        rows = rows.cast_column(column, Image(decode=False))
    return rows


def _renamed() -> dict[str, str]:
    return {name: ours for name, ours in RS5M_COLUMNS.items() if name != ours}


def _rows_without_captions(rows: Dataset) -> list[int]:
    """Numbers of rows without any caption, found without reading an image."""
    empty: list[int] = []
    first = 0
    for batch in rows.with_format("arrow").select_columns(_caption_columns(rows)).iter(100_000):
        captioned = functools.reduce(pc.or_, (_has_text(name, batch[name]) for name in batch.column_names))
        empty += [first + index for index in pc.indices_nonzero(pc.invert(captioned)).to_pylist()]
        first += batch.num_rows
    return empty


def _has_text(column: str, values: Any) -> Any:
    """Which rows have a caption in a column: a list of them, or one text."""
    trimmed = values if column == "captions" else pc.utf8_trim_whitespace(values)
    lengths = pc.list_value_length(trimmed) if column == "captions" else pc.utf8_length(trimmed)
    return pc.fill_null(pc.greater(lengths, 0), fill_value=False)


def _caption_columns(rows: Dataset) -> list[str]:
    return [name for name in ("captions", "preferred_caption") if name in rows.column_names]


def _has_infrared_captions(rows: Dataset) -> bool:
    if "infrared_captions" not in rows.column_names:
        return False
    batches = rows.with_format("arrow").select_columns("infrared_captions").iter(100_000)
    return any(pc.max(pc.list_value_length(batch["infrared_captions"])).as_py() for batch in batches)
