"""Images with boxes in COCO's form, HIT-UAV: which classes each image shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .classification.class_names import ClassSet
from .predictions import read_json

IGNORED = ("dontcare",)


@dataclass(frozen=True, kw_only=True)
class BoxSet:
    """Images of a split and the class names that each shows, in the order of the class set."""

    ids: list[str]
    paths: list[Path]
    shown: list[list[str]]


def read_boxes(file: Path) -> dict[str, Any]:
    """The object of a file in COCO's form; what is in it is not looked at."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; wanted boxes in COCO's form.")
    record = read_json(file)
    if not isinstance(record, dict):
        raise ValueError(f"{file} holds a {type(record).__name__}, wanted an object in COCO's form.")
    return record


def read_box_set(file: Path, images: Path, classes: ClassSet) -> BoxSet:
    """Reads `train.json`, `val.json` or `test.json`; boxes of DontCare are ignored.

    HIT-UAV spells two keys in its own way (`annotation`, `filename`); COCO's spelling is read too.

    Raises:
        ValueError: The file has another form or no images, names a class that is not in the set, or boxes of an
            unknown image.
    """
    record = read_boxes(file)
    boxes = _first(record, ("annotations", "annotation"), str(file))
    if not _first(record, ("images",), str(file)):
        raise ValueError(f"{file} lists no images; wanted at least one. Is it of another split?")
    names: dict[int, str | None] = {}
    for category in _first(record, ("categories",), str(file)):
        ignored = category["name"].replace(" ", "").lower() in IGNORED
        names[category["id"]] = (
            None if ignored else classes.names[classes.index_of(category["name"], f"{file}: category")]
        )
    found: dict[int, set[str]] = {image["id"]: set() for image in record["images"]}
    for box in boxes:
        if box["image_id"] not in found or box["category_id"] not in names:
            raise ValueError(
                f"{file}: box {box.get('id')} is of image {box['image_id']} and category {box['category_id']}, which "
                "the file does not both hold."
            )
        name = names[box["category_id"]]
        if name is not None:
            found[box["image_id"]].add(name)
    ids = [str(_first(image, ("file_name", "filename"), str(file))) for image in record["images"]]
    shown = [[name for name in classes.names if name in found[image["id"]]] for image in record["images"]]
    return BoxSet(ids=ids, paths=[images / name for name in ids], shown=shown)


def _first(record: dict[str, Any], keys: tuple[str, ...], place: str) -> Any:
    for key in keys:
        if key in record:
            return record[key]
    raise ValueError(f"{place} has no {' or '.join(map(repr, keys))}; wanted COCO's form.")
