"""Rows of FusionRS or RS5M, from a folder or from the Hub, with their images still encoded."""

from pathlib import Path

from datasets import Dataset, Image, load_dataset, load_dataset_builder

# Where a build puts shards with images, by whether their licences let them be handed on.
FOLDERS = ("data", "local")


def load_split(path: str, split: str) -> Dataset:
    """Opens a split of a folder or Hub dataset; images stay encoded until a batch needs them.

    The rows are copied into the cache of `datasets`; of a dataset of Parquet files, those of this split only.
    """
    files = split_files(path, split)
    if files is None:
        rows = load_dataset(path, split=split)
    else:
        rows = load_dataset("parquet", data_files=files, split="train")
    for name, feature in rows.features.items():
        if isinstance(feature, Image):
            rows = rows.cast_column(name, Image(decode=False))
    return rows


def split_files(path: str, split: str) -> list[str] | None:
    """The Parquet files of a split, paths or addresses that name their commit; None where it is not of Parquet files.

    Raises:
        ValueError: there is no such split.
    """
    if Path(path).is_dir():
        return shards(Path(path), split)
    data_files = load_dataset_builder(path).config.data_files or {}
    if not data_files:
        return None
    if split not in data_files:
        raise ValueError(f"{path} has no split {split!r}, only {', '.join(sorted(map(str, data_files)))}.")
    files = [str(file) for file in data_files[split]]
    return files if all(file.endswith(".parquet") for file in files) else None


def shards(folder: Path, split: str) -> list[str]:
    """The Parquet files of a split: those that may be handed on, and those that stay on this machine."""
    found = sorted(str(path) for place in FOLDERS for path in (folder / place).glob(f"{split}-*.parquet"))
    if not found:
        raise FileNotFoundError(
            f"{folder} has no shards {split}-*.parquet in {' or '.join(f'{place}/' for place in FOLDERS)}. Make a "
            f"dataset with `python -m dataset_scripts build fusionrs --source simulator --output {folder}`, or name "
            "another split."
        )
    return found


def is_built(folder: Path) -> bool:
    """Whether a folder is one that the dataset builder wrote."""
    return any((folder / place).is_dir() for place in FOLDERS)
