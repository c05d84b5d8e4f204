"""Every caption of a split."""

from datasets import Dataset

TEXT_COLUMNS = ("captions", "infrared_captions", "preferred_caption", "captions_by_kind")


def all_captions(rows: Dataset) -> list[str]:
    """Every caption of a split, of `fusionrs` or `rs5m`: scene, infrared, and of every kind."""
    texts = rows.select_columns([name for name in TEXT_COLUMNS if name in rows.column_names])
    return [text for row in texts for column in row.values() for text in _texts(column)]


def _texts(column: object) -> list[str]:
    if column is None:
        return []
    if isinstance(column, str):
        return [column]
    return [item if isinstance(item, str) else item["text"] for item in column]  # type: ignore[attr-defined]
