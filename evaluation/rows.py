"""Rows of FusionRS, from a folder or from the Hub, with their images still encoded."""

from pathlib import Path

from datasets import Dataset, Image, load_dataset


def load_split(path: str, split: str) -> Dataset:
    """Opens a split of a folder or Hub dataset; images stay encoded until a batch needs them."""
    if Path(path).is_dir():
        rows = load_dataset("parquet", data_files=shards(Path(path), split), split="train")
    else:
        rows = load_dataset(path, split=split)
    for column in ("rgb", "infrared"):
        rows = rows.cast_column(column, Image(decode=False))
    return rows


def shards(folder: Path, split: str) -> list[str]:
    """The Parquet files of a split."""
    shards = sorted(str(path) for path in (folder / "data").glob(f"{split}-*.parquet"))
    if not shards:
        raise FileNotFoundError(
            f"{folder} has no shards data/{split}-*.parquet. Make a dataset with "
            f"`python -m dataset_scripts build fusionrs --source simulator --output {folder}`, or name another split."
        )
    return shards
