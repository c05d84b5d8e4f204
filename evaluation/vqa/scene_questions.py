"""Questions whose answers the columns of FusionRS rows prove: `class_name` and `infrared_captions`.

Counts and places are left out: no column states them, the captions only name them in free text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..rows import shards
from .questions import SEED, Question, hash_order, write_questions

SCENE, SCENE_PRESENCE, TIME = "scene_class", "scene_presence", "time_of_day"


@dataclass(frozen=True, kw_only=True)
class SceneQuestions:
    """Writes the questions of a split of FusionRS."""

    data: Path = Path("fusionrs")
    """Folder the dataset builder wrote."""
    split: str = "test"
    """Split to ask about."""
    output: Path
    """JSON-lines file to write."""
    overwrite: bool = False
    """Replace that file."""
    seed: int = SEED
    """Part of the hash that chooses the classes asked for in vain."""


def run_scene_questions(config: SceneQuestions) -> list[Question]:
    """Reads the columns, writes the questions."""
    questions = read_scene_questions(config.data, config.split, config.seed)
    if not questions:
        raise ValueError(f"no row of split {config.split!r} of {config.data} has a class or a time of day to ask for.")
    write_questions(questions, config.output, overwrite=config.overwrite)
    return questions


def read_scene_questions(data: Path, split: str, seed: int = SEED) -> list[Question]:
    """The questions that the columns of a built split prove; no image is read."""
    rows: list[dict[str, Any]] = []
    for shard in shards(data, split):
        rows += pq.read_table(shard, columns=["id", "class_name", "infrared_captions"]).to_pylist()
    return scene_questions(rows, seed)


def scene_questions(rows: Sequence[dict[str, Any]], seed: int = SEED, classes: Sequence[str] = ()) -> list[Question]:
    """Up to four questions a row.

    The scene: which class, and whether it is a given class, once with its own and once with another, chosen by hash.
    The time: day or night, of rows whose infrared captions agree on one. Where fewer than two classes occur there is
    nothing to ask of the scene.

    Args:
        rows: `id`, `class_name` and `infrared_captions` of each.
        seed: Part of the hash.
        classes: The classes to choose from, in lower case; left out, those of the rows.
    """
    classes = tuple(classes) or tuple(sorted({row["class_name"].lower() for row in rows if row["class_name"]}))
    questions = []
    for row in rows:
        key, name = row["id"], (row["class_name"] or "").lower()
        if name and len(classes) > 1:
            others = [other for other in classes if other != name]
            other = others[int(hash_order(seed, f"other:{key}"), 16) % len(others)]
            is_class = "Does this image show the scene class {}?"
            questions += [
                choice_question(key, SCENE, "What kind of scene does this image show?", name, classes),
                choice_question(key, SCENE_PRESENCE, is_class.format(name), "yes", ("yes", "no"), which="yes"),
                choice_question(key, SCENE_PRESENCE, is_class.format(other), "no", ("yes", "no"), which="no"),
            ]
        times = {time for text in row["infrared_captions"] or () if (time := _time(text)) is not None}
        if len(times) == 1:
            asked = "Was the infrared image taken by day or by night?"
            questions.append(choice_question(key, TIME, asked, times.pop(), ("day", "night")))
    return questions


def choice_question(
    key: str, kind: str, asked: str, answer: str, choices: tuple[str, ...], *, which: str = ""
) -> Question:
    """A question about one row, answered by one of the choices; `which` tells several of a kind apart."""
    return Question(
        id=f"{key}#{kind}-{which}" if which else f"{key}#{kind}",
        image_id=key,
        image=key,
        type=kind,
        question=asked,
        prompt=f"{asked} Answer with exactly one of: {', '.join(choices)}.",
        answers=(answer,),
        choices=choices,
    )


def _time(text: str) -> str | None:
    """`day` or `night` where a text names exactly one of them, as a whole word."""
    words = set("".join(letter if letter.isalpha() else " " for letter in text.lower()).split())
    said = words & {"day", "night"}
    return said.pop() if len(said) == 1 else None
