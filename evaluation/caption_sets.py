"""Sets of captioned images, RSICD and RSITMD: Karpathy's JSON, or JSON lines of `image`, `captions`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .predictions import json_lines, read_json


@dataclass(frozen=True, kw_only=True)
class CaptionSet:
    """Images of a split, and for each its captions, literally."""

    ids: list[str]
    paths: list[Path]
    captions: list[list[str]]


def read_caption_set(file: Path, images: Path | None, split: str) -> CaptionSet:
    """Reads a split.

    Args:
        file: `dataset_rsicd.json` in Karpathy's form, or a `.jsonl` that is one split.
        images: Folder of the images; the folder of the file when not given.
        split: Of Karpathy's form; a `.jsonl` has one.

    Raises:
        ValueError: The file has another form, the split is empty, or an image occurs twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; wanted Karpathy's .json or a .jsonl of image and captions.")
    rows = _json_lines(file) if file.suffix == ".jsonl" else _karpathy(file, split)
    names = [name for name, _ in rows]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{file} holds {len(twice)} images more than once, such as {twice[0]!r}.")
    folder = images if images is not None else file.parent
    return CaptionSet(ids=names, paths=[folder / name for name in names], captions=[texts for _, texts in rows])


def _karpathy(file: Path, split: str) -> list[tuple[str, list[str]]]:
    record = read_json(file)
    if not isinstance(record, dict) or not isinstance(record.get("images"), list):
        raise ValueError(f"{file} has no list 'images'; wanted Karpathy's form.")
    rows, splits = [], set()
    for number, image in enumerate(record["images"]):
        place = f"{file}: images[{number}]"
        splits.add(_field(image, "split", str, place))
        if image["split"] == split:
            sentences = _field(image, "sentences", list, place)
            texts = [_field(sentence, "raw", str, place) for sentence in sentences]
            rows.append((_field(image, "filename", str, place), _texts(texts, place)))
    if not rows:
        raise ValueError(f"{file} has no images of split {split!r}; it has {', '.join(sorted(splits)) or 'none'}.")
    return rows


def _json_lines(file: Path) -> list[tuple[str, list[str]]]:
    rows = []
    for number, record in json_lines(file):
        place = f"{file}, line {number}"
        captions = _field(record, "captions", list, place)
        rows.append((_field(record, "image", str, place), _texts(captions, place)))
    if not rows:
        raise ValueError(f"{file} is empty.")
    return rows


def _field(record: Any, name: str, kind: type, place: str) -> Any:
    if not isinstance(record, dict) or not isinstance(record.get(name), kind):
        raise ValueError(f"{place} has no {name!r} of type {kind.__name__}.")
    return record[name]


def _texts(texts: list[Any], place: str) -> list[str]:
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{place} has captions {texts!r}; wanted at least one, none of them empty.")
    return texts
