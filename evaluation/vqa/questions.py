"""Questions whose answers the boxes of HIT-UAV prove, and the file format of questions.

After code/dataset/scripts/build_hit_uav_vqa.py and code/benchmark/prepare_hit_uav_real_vqa_manifest.py of
frozy129/FusionRS at 43d9d82, question by question: its test split gives 3,223.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..box_sets import read_boxes
from ..predictions import json_lines

SEED = 20260726
CLASS_NAMES = {"Person": "person", "Car": "car", "Bicycle": "bicycle", "OtherVehicle": "other vehicle"}
IGNORED = "DontCare"
CLASSES = tuple(sorted(CLASS_NAMES.values()))
REGIONS = (*("upper-left", "upper", "upper-right", "left", "center", "right", "lower-left", "lower", "lower-right"),)
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
# Types: what the scorer must parse.
PRESENCE, COUNT, LOCATION, DOMINANT = "object_presence", "object_count", "group_location", "dominant_object_class"
PUBLISHED_TYPES = frozenset((PRESENCE, COUNT, LOCATION, DOMINANT))
_CONTEXT = "Use only the visible content of this real sensor-captured thermal aerial image."
_FORMATS = {
    PRESENCE: "Answer with exactly yes or no.",
    COUNT: "Answer with exactly one non-negative integer.",
    LOCATION: "Answer with exactly one region label from: upper-left, upper, upper-right, left, center, right, "
    "lower-left, lower, lower-right.",
    DOMINANT: "Answer with exactly one class label from: person, car, bicycle, other vehicle, none.",
}
_CHOICES = {
    PRESENCE: ("yes", "no"),
    COUNT: (),
    LOCATION: REGIONS,
    DOMINANT: ("person", "car", "bicycle", "other vehicle", "none"),
}
_REGION_SYNONYMS = {"upper": "top", "lower": "bottom"}


@dataclass(frozen=True, kw_only=True)
class HitUavQuestions:
    """Writes the questions of a split of HIT-UAV."""

    annotations: Path
    """COCO-style JSON of the split, such as test.json."""
    output: Path
    """JSON-lines file to write."""
    overwrite: bool = False
    """Replace that file."""
    seed: int = SEED
    """Part of the hash that orders images; the benchmark's by default."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about one image."""

    id: str
    image_id: str
    image: str
    """File name of the image, or the id of its row."""
    type: str
    question: str
    prompt: str
    """The question with the instruction on the format of the answer."""
    answers: tuple[str, ...]
    """Accepted answers, the canonical one first."""
    choices: tuple[str, ...] = ()
    """The answers a closed question allows, in lower case; none for a number."""
    object_class: str | None = None

    def __post_init__(self) -> None:
        if not self.answers or not all(answer.strip() for answer in self.answers):
            raise ValueError(f"question {self.id!r} has the answers {self.answers!r}, wanted at least one, none empty.")
        if self.choices and self.answers[0] not in self.choices:
            raise ValueError(f"question {self.id!r}: {self.answers[0]!r} is not among its choices {self.choices!r}.")


def run_hit_uav_questions(config: HitUavQuestions) -> list[Question]:
    """Reads the boxes, writes the questions."""
    questions = read_hit_uav_questions(config.annotations, config.seed)
    write_questions(questions, config.output, overwrite=config.overwrite)
    return questions


def read_hit_uav_questions(file: Path, seed: int = SEED) -> list[Question]:
    """The questions that a COCO-style file of boxes proves."""
    return hit_uav_questions(read_boxes(file), seed)


def hit_uav_questions(annotations: dict[str, Any], seed: int = SEED) -> list[Question]:
    """The questions of a COCO-style annotation dictionary.

    Presence: for each class as many images with it as without, in the order of a hash. Count and location (the mean of
    the box centres in a grid of three by three): for each class an image shows. Dominant class: unless two classes
    tie; `none` for an image without objects. DontCare boxes are ignored.

    Args:
        annotations: `images`, `categories` and `annotation` or `annotations`, boxes as x, y, width, height.
        seed: Part of the hash.
    """
    images, boxes = _images_and_boxes(annotations)
    found = [(PRESENCE, name, image, answer) for name in CLASSES for image, answer in _balanced(boxes, name, seed)]
    for image in sorted(images):
        present = {name: boxes[image][name] for name in CLASSES if boxes[image][name]}
        for name, own in present.items():
            found.append((COUNT, name, image, str(len(own))))
            size = int(images[image]["width"]), int(images[image]["height"])
            found.append((LOCATION, name, image, region(_mean_centre(own), size)))
        dominant = dominant_class({name: len(own) for name, own in present.items()})
        if dominant is not None:
            found.append((DOMINANT, "", image, dominant))
    return [
        _hit_uav_question(number, kind, name, images[image], answer)
        for number, (kind, name, image, answer) in enumerate(found, start=1)
    ]


def region(centre: tuple[float, float], size: tuple[int, int]) -> str:
    """The cell of a three by three grid; a point on a line between cells is in the middle one."""
    (x, y), (width, height) = centre, size
    horizontal = "left" if x < width / 3 else "right" if x > 2 * width / 3 else ""
    vertical = "upper" if y < height / 3 else "lower" if y > 2 * height / 3 else ""
    return "-".join(part for part in (vertical, horizontal) if part) or "center"


def dominant_class(counts: dict[str, int]) -> str | None:
    """The class with the most objects; `none` if there is no object, None if classes tie."""
    if not counts:
        return "none"
    most = max(counts.values())
    winners = [name for name, count in counts.items() if count == most]
    return winners[0] if len(winners) == 1 else None


def write_questions(questions: Sequence[Question], path: Path, *, overwrite: bool = False) -> None:
    """Writes one question a line.

    Raises:
        FileExistsError: The file exists and may not be replaced.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Choose another --output, or pass --overwrite.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(question)) + "\n" for question in questions), encoding="utf-8")


def read_questions(path: Path) -> list[Question]:
    """Reads what `write_questions` wrote; ids must be unique."""
    questions = [_question(line, f"{path}, line {number}") for number, line in json_lines(path)]
    twice = [key for key, count in Counter(question.id for question in questions).items() if count > 1]
    if twice:
        raise ValueError(f"{path} holds question {twice[0]!r} more than once; ids must be unique.")
    if not questions:
        raise ValueError(f"{path} holds no question.")
    return questions


def hash_order(seed: int, text: str) -> str:
    """A key to sort by that depends on the text and the seed only."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()


def _question(line: dict[str, Any], at: str) -> Question:
    optional = {"choices", "object_class"}
    names = {field.name for field in fields(Question)}
    if not names - optional <= set(line) <= names:
        raise ValueError(
            f"{at}: fields {sorted(line)}, wanted {sorted(names - optional)} and perhaps {sorted(optional)}."
        )
    for name in ("answers", "choices"):
        value = line.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{at}: {name} are {value!r}, wanted a list of strings.")
    for name in names - {"answers", "choices", "object_class"}:
        if not isinstance(line[name], str):
            raise ValueError(f"{at}: {name} is {line[name]!r}, wanted a string.")
    return Question(**(line | {"answers": tuple(line["answers"]), "choices": tuple(line.get("choices", []))}))


def _images_and_boxes(
    annotations: dict[str, Any],
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, list[list[float]]]]]:
    lost = [name for name in ("images", "categories") if name not in annotations]
    if lost or not {"annotation", "annotations"} & set(annotations):
        raise ValueError(f"annotations hold {sorted(annotations)}, wanted images, categories and annotation(s).")
    names = {row["id"]: row["name"] for row in annotations["categories"]}
    unknown = set(names.values()) - set(CLASS_NAMES) - {IGNORED}
    if unknown:
        raise ValueError(f"categories hold {sorted(unknown)}, wanted those of HIT-UAV: {', '.join(CLASS_NAMES)}.")
    images = {row["id"]: row for row in annotations["images"]}
    if len(images) != len(annotations["images"]):
        raise ValueError("two images have one id; wanted unique ids.")
    boxes: dict[int, dict[str, list[list[float]]]] = {image: {name: [] for name in CLASSES} for image in images}
    for row in annotations["annotations" if "annotations" in annotations else "annotation"]:
        if row["image_id"] not in images or row["category_id"] not in names:
            raise ValueError(f"box {row.get('id')!r} is of an image or a category that the file lacks.")
        if names[row["category_id"]] != IGNORED:
            boxes[row["image_id"]][CLASS_NAMES[names[row["category_id"]]]].append(row["bbox"])
    return images, boxes


def _balanced(boxes: dict[int, dict[str, list[list[float]]]], name: str, seed: int) -> list[tuple[int, str]]:
    shown = [image for image in boxes if boxes[image][name]]
    absent = [image for image in boxes if not boxes[image][name]]
    shown.sort(key=lambda image: hash_order(seed, f"presence-positive:{name}:{image}"))
    absent.sort(key=lambda image: hash_order(seed, f"presence:{name}:{image}"))
    half = min(len(shown), len(absent))
    return [(image, "yes") for image in shown[:half]] + [(image, "no") for image in absent[:half]]


def _mean_centre(boxes: Sequence[Sequence[float]]) -> tuple[float, float]:
    x = sum(box[0] + box[2] / 2 for box in boxes) / len(boxes)
    y = sum(box[1] + box[3] / 2 for box in boxes) / len(boxes)
    return x, y


def _hit_uav_question(number: int, kind: str, name: str, image: dict[str, Any], answer: str) -> Question:
    asked = {
        PRESENCE: f"Is a {name} visible in this thermal image?",
        COUNT: f"How many {name} objects are visible?",
        LOCATION: f"In which image region is the center of the {name} group located?",
        DOMINANT: "Which annotated object class appears most frequently?",
    }[kind]
    return Question(
        id=f"HITVQA-{number:05d}",
        image_id=f"HIT-UAV:{image['id']}",
        image=image["file_name"] if "file_name" in image else image["filename"],
        type=kind,
        question=asked,
        prompt=f"{_CONTEXT} {asked} {_FORMATS[kind]}",
        answers=_accepted(kind, answer),
        choices=_CHOICES[kind],
        object_class=name or None,
    )


def _accepted(kind: str, answer: str) -> tuple[str, ...]:
    """The canonical answer and its other spellings."""
    if kind == COUNT and int(answer) < len(NUMBER_WORDS):
        return answer, NUMBER_WORDS[int(answer)]
    if kind != LOCATION or answer in ("left", "right"):
        return (answer,)
    if answer == "center":
        return answer, "middle", "centre"
    vertical, dash, horizontal = answer.partition("-")
    other = _REGION_SYNONYMS[vertical]
    return (
        (answer, f"{vertical} {horizontal}", f"{other}-{horizontal}", f"{other} {horizontal}")
        if dash
        else (
            answer,
            other,
        )
    )
