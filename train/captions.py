"""Every caption of a split."""

from datasets import Dataset


def all_captions(rows: Dataset) -> list[str]:
    """Every caption of a split, scene and infrared."""
    texts = rows.select_columns(["captions", "infrared_captions"])
    return [text for row in texts for text in (*row["captions"], *row["infrared_captions"])]
