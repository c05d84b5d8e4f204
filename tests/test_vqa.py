"""Questions from boxes and columns, the two parsers, the baselines, and the whole score."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.predictions import PredictionFile
from evaluation.vqa.baselines import blind_answers, constant_answers, majority_answers
from evaluation.vqa.outcomes import VqaScoring, run_vqa, vqa_outcomes
from evaluation.vqa.questions import (
    CLASSES,
    REGIONS,
    HitUavQuestions,
    Question,
    dominant_class,
    hit_uav_questions,
    read_questions,
    region,
    run_hit_uav_questions,
    write_questions,
)
from evaluation.vqa.scene_questions import SceneQuestions, run_scene_questions
from evaluation.vqa.scoring import exact_match, is_right, parse, parse_as_published, token_f1

CATEGORIES = [
    {"id": number, "name": name} for number, name in enumerate(["Person", "Car", "Bicycle", "OtherVehicle", "DontCare"])
]


def annotations(boxes: dict[int, list[tuple[int, list[float]]]]) -> dict[str, object]:
    """Per image its boxes as (category, x y width height)."""
    return {
        "images": [{"id": image, "filename": f"{image}.jpg", "width": 90, "height": 60} for image in boxes],
        "categories": CATEGORIES,
        "annotation": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box}
            for number, (image, category, box) in enumerate(
                (image, category, box) for image, own in boxes.items() for category, box in own
            )
        ],
    }


LEFT, RIGHT = [0.0, 25.0, 10.0, 10.0], [80.0, 25.0, 10.0, 10.0]
SCENES = {
    1: [(0, LEFT), (0, RIGHT), (1, LEFT)],  # two persons about the center, one car
    2: [(1, RIGHT), (4, LEFT)],  # a car and what nobody cares for
    3: [(2, [40, 0, 10, 10]), (0, [80, 50, 10, 10])],  # a tie
    4: [(4, LEFT)],
}


def test_questions_of_hand_made_boxes() -> None:
    questions = hit_uav_questions(annotations(SCENES))
    found = [(question.type, question.image_id, question.object_class, question.answers[0]) for question in questions]
    presence = [row for row in found if row[0] == "object_presence"]
    # persons in 1, 3; cars in 1, 2; bicycles in 3 alone; no other vehicle: as many without as with
    assert Counter((name, answer) for _, _, name, answer in presence) == {
        ("person", "yes"): 2,
        ("person", "no"): 2,
        ("car", "yes"): 2,
        ("car", "no"): 2,
        ("bicycle", "yes"): 1,
        ("bicycle", "no"): 1,
    }
    assert found[len(presence) :] == [
        ("object_count", "HIT-UAV:1", "car", "1"),
        ("group_location", "HIT-UAV:1", "car", "left"),
        ("object_count", "HIT-UAV:1", "person", "2"),
        ("group_location", "HIT-UAV:1", "person", "center"),
        ("dominant_object_class", "HIT-UAV:1", None, "person"),
        ("object_count", "HIT-UAV:2", "car", "1"),
        ("group_location", "HIT-UAV:2", "car", "right"),
        ("dominant_object_class", "HIT-UAV:2", None, "car"),
        ("object_count", "HIT-UAV:3", "bicycle", "1"),
        ("group_location", "HIT-UAV:3", "bicycle", "upper"),
        ("object_count", "HIT-UAV:3", "person", "1"),
        ("group_location", "HIT-UAV:3", "person", "lower-right"),
        ("dominant_object_class", "HIT-UAV:4", None, "none"),
    ]
    assert [question.id for question in questions[:2]] == ["HITVQA-00001", "HITVQA-00002"]


def test_presence_takes_the_images_whose_hash_comes_first() -> None:
    boxes: dict[int, list[tuple[int, list[float]]]] = {image: [] for image in range(20)}
    boxes[7] = [(2, LEFT)]
    (yes, no) = [q for q in hit_uav_questions(annotations(boxes)) if q.object_class == "bicycle"][:2]
    first = min(set(range(20)) - {7}, key=lambda i: hashlib.sha256(f"20260726:presence:bicycle:{i}".encode()).digest())
    assert (yes.image_id, no.image_id) == ("HIT-UAV:7", f"HIT-UAV:{first}")


def test_the_totals_follow_from_the_boxes_alone() -> None:
    generator = np.random.default_rng(0)
    boxes = {
        image: [(int(category), LEFT) for category in generator.integers(5, size=generator.integers(6))]
        for image in range(60)
    }
    totals = Counter(question.type for question in hit_uav_questions(annotations(boxes)))
    shown = [[image for image in boxes if category in dict(boxes[image])] for category in range(4)]
    assert totals["object_presence"] == sum(2 * min(len(own), 60 - len(own)) for own in shown)
    assert totals["object_count"] == totals["group_location"] == sum(map(len, shown))
    ties = sum(
        len(top := Counter(category for category, _ in own if category < 4).most_common(2)) == 2
        and top[0][1] == top[1][1]
        for own in boxes.values()
    )
    assert totals["dominant_object_class"] == 60 - ties


@pytest.mark.parametrize(
    ("centre", "cell"),
    [
        *(((29.9, 19.9), "upper-left"), ((30, 20), "center"), ((60, 40), "center"), ((60.1, 40.1), "lower-right")),
        *(((45, 10), "upper"), ((10, 30), "left"), ((80, 10), "upper-right"), ((10, 50), "lower-left")),
    ],
)
def test_a_point_on_a_line_of_the_grid_is_in_the_middle(centre: tuple[float, float], cell: str) -> None:
    assert region(centre, (90, 60)) == cell
    assert cell in REGIONS


def test_the_dominant_class_has_no_tie() -> None:
    assert dominant_class({"car": 3, "person": 2, "bicycle": 2}) == "car"
    assert dominant_class({"car": 2, "person": 2, "bicycle": 1}) is None
    assert dominant_class({}) == "none"


def test_annotations_that_are_not_of_hit_uav_are_refused(tmp_path: Path) -> None:
    wrong = annotations(SCENES)
    with pytest.raises(ValueError, match=r"categories hold \['Ship'\], wanted those of HIT-UAV"):
        hit_uav_questions(wrong | {"categories": [{"id": 0, "name": "Ship"}]})
    with pytest.raises(ValueError, match="box 0 is of an image or a category that the file lacks"):
        hit_uav_questions(wrong | {"images": []})
    with pytest.raises(ValueError, match=r"annotations hold \['images'\], wanted images, categories"):
        hit_uav_questions({"images": []})
    (tmp_path / "test.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        run_hit_uav_questions(HitUavQuestions(annotations=tmp_path / "test.json", output=tmp_path / "questions.jsonl"))


def test_questions_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(annotations(SCENES)))
    config = HitUavQuestions(annotations=tmp_path / "test.json", output=tmp_path / "questions.jsonl")
    questions = run_hit_uav_questions(config)
    assert read_questions(config.output) == questions
    write_questions([*questions, questions[0]], config.output, overwrite=True)
    with pytest.raises(ValueError, match="holds question 'HITVQA-00001' more than once"):
        read_questions(config.output)
    config.output.write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match="line 1: fields \\['id'\\], wanted"):
        read_questions(config.output)


# Parsers


def question(kind: str, answer: str, *others: str) -> Question:
    choices = {
        "object_presence": ("yes", "no"),
        "group_location": REGIONS,
        "dominant_object_class": (*CLASSES, "none"),
        "scene_class": ("dense residential", "residential", "lake", "beach"),
    }.get(kind, ())
    return Question(
        id="q",
        image_id="i",
        image="i.jpg",
        type=kind,
        question="?",
        prompt="?",
        answers=(answer, *others),
        choices=choices,
    )


@pytest.mark.parametrize(
    ("kind", "text", "published", "corrected"),
    [
        ("object_presence", "Yes.", "yes", "yes"),
        ("object_presence", "No, there is no car", "no", "no"),
        ("object_presence", "yes or no", "yes", None),
        ("object_presence", "nothing", None, None),
        ("object_count", "There are 3 cars", "3", "3"),
        ("object_count", "three (3)", "3", "3"),
        ("object_count", "two of the ten", "2", None),
        ("object_count", "ten cars and two persons", "2", None),  # the list's order, not the text's
        ("object_count", "twenty-one", "1", "21"),
        ("object_count", "1,200", "1", "1200"),
        ("object_count", "2.5", "2", None),
        ("object_count", "someone", None, None),
        ("group_location", "Top-left corner", "upper-left", "upper-left"),
        ("group_location", "the left of the upper part", "upper", "upper-left"),
        ("group_location", "upper center", "center", "upper"),
        ("group_location", "bright area", "right", None),
        ("group_location", "on a rooftop", "upper", None),
        ("group_location", "in the middle", None, "center"),
        ("group_location", "left and right", "left", None),
        ("dominant_object_class", "cars", "car", "car"),
        ("dominant_object_class", "a carpark", "car", None),
        ("dominant_object_class", "people", None, "person"),
        ("dominant_object_class", "Other-Vehicle", "other vehicle", "other vehicle"),
        ("dominant_object_class", "car, not bicycle", "bicycle", None),
        ("dominant_object_class", "nonetheless", "none", None),
    ],
)
def test_the_published_parser_with_its_faults_and_the_corrected_one(
    kind: str, text: str, published: str | None, corrected: str | None
) -> None:
    asked = question(kind, {"object_count": "3", "group_location": "left", "object_presence": "no"}.get(kind, "car"))
    assert parse_as_published(asked, text) == published
    assert parse(asked, text) == corrected


def test_a_longer_choice_is_not_also_the_shorter_one_inside_it() -> None:
    asked = question("scene_class", "dense residential")
    assert parse(asked, "It is a dense, residential area.") == "dense residential"
    assert parse(asked, "residential") == "residential"
    assert parse(asked, "lake or beaches") is None
    with pytest.raises(ValueError, match="type 'scene_class', which was never published"):
        parse_as_published(asked, "x")


def test_strict_scores_are_the_fusionrs_benchmarks() -> None:
    asked = question("group_location", "upper-left", "top left")
    assert exact_match(asked, "The Upper-Left!")
    assert exact_match(asked, "top left")
    assert not exact_match(asked, "the upper-left region")
    assert token_f1(asked, "the upper-left region") == pytest.approx(2 * 2 / (3 + 2))
    assert token_f1(asked, "") == 0.0
    assert not is_right(asked, None)


# Baselines and the whole


def asked(number: int, kind: str, answer: str, wording: str) -> Question:
    choices = ("yes", "no") if kind == "object_presence" else ()
    return Question(
        id=f"q{number}", image_id=f"i{number // 2}", image="i", type=kind, question=wording, prompt=wording,
        answers=(answer,), choices=choices,
    )  # fmt: skip


TEST = [
    asked(0, "object_presence", "yes", "car?"),
    asked(1, "object_presence", "no", "person?"),
    asked(2, "object_count", "2", "cars?"),
    asked(3, "object_count", "2", "persons?"),
    asked(4, "object_count", "5", "persons?"),
]
TRAIN = [
    *(asked(number, "object_presence", "yes", "car?") for number in range(3)),
    *(asked(number, "object_presence", "no", "person?") for number in range(2)),
    *(asked(number, "object_count", "5", "persons?") for number in range(2)),
    asked(9, "object_count", "2", "cars?"),
]


def test_baselines_answer_without_an_image() -> None:
    assert constant_answers(TEST) == ["no", "no", "2", "2", "2"]  # of equals the first in the alphabet
    assert majority_answers(TRAIN, TEST) == ["yes", "yes", "5", "5", "5"]
    assert blind_answers(TRAIN, TEST) == ["yes", "no", "2", "5", "5"]
    with pytest.raises(ValueError, match="no training question is like 'cars\\?'"):
        blind_answers(TRAIN[:-1], TEST)


def test_the_whole_score_with_a_missing_answer(tmp_path: Path) -> None:
    write_questions(TEST, tmp_path / "test.jsonl")
    write_questions([asked(n, q.type, q.answers[0], q.question) for n, q in enumerate(TRAIN)], tmp_path / "train.jsonl")
    said = ["Yes, a car.", "no", "two", "two or three"]
    (tmp_path / "said.jsonl").write_text(
        "".join(json.dumps({"id": f"q{number}", "text": text}) + "\n" for number, text in enumerate(said))
    )
    result = run_vqa(
        VqaScoring(
            predictions=PredictionFile(path=tmp_path / "said.jsonl"),
            questions=tmp_path / "test.jsonl",
            train_questions=tmp_path / "train.jsonl",
        )
    )
    assert (result.rows, result.missing, result.failed) == (5, 1, 0)
    values = {metric.name: (metric.value, metric.n) for metric in result.metrics}
    assert values["accuracy"] == (3 / 5, 5)
    assert values["accuracy_as_published"] == (4 / 5, 5)  # "two or three" reads as two
    assert values["exact_match"] == (1 / 5, 5)
    assert values["token_f1"] == (pytest.approx((2 / 3 + 1) / 5), 5)
    assert values["unparsed"] == (2 / 5, 5)
    assert values["object_count/accuracy"] == (1 / 3, 3)
    assert values["object_presence/yes/accuracy"] == (1.0, 1)
    assert values["baseline/constant_per_type/accuracy"] == (3 / 5, 5)
    assert values["baseline/majority/accuracy"] == (2 / 5, 5)
    assert values["baseline/blind/accuracy"] == (4 / 5, 5)
    assert len(set(result.outcomes.clusters)) == 3


def test_questions_of_scenes_come_from_their_columns(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = {
        "id": ["s:1", "s:2", "s:3"],
        "class_name": ["lake", "Beach", None],
        "infrared_captions": [["a night scene", "NIGHT view"], ["by day", "by night"], ["holiday homes by day"]],
    }
    pq.write_table(pa.table(rows), tmp_path / "data" / "test-00000-of-00001.parquet")
    questions = run_scene_questions(SceneQuestions(data=tmp_path, output=tmp_path / "questions.jsonl"))
    assert [(question.id, question.answers[0]) for question in questions] == [
        ("s:1#scene_class", "lake"),
        ("s:1#scene_presence-yes", "yes"),
        ("s:1#scene_presence-no", "no"),
        ("s:1#time_of_day", "night"),
        ("s:2#scene_class", "beach"),
        ("s:2#scene_presence-yes", "yes"),
        ("s:2#scene_presence-no", "no"),
        ("s:3#time_of_day", "day"),
    ]
    assert questions[2].question == "Does this image show the scene class beach?"
    assert read_questions(tmp_path / "questions.jsonl") == questions
    right = vqa_outcomes(questions, [question.answers[0] for question in questions])
    names = {score.name: score.statistic(score.columns.sum(axis=0, keepdims=True))[0] for score in right.scores}
    assert names["accuracy"] == names["exact_match"] == names["scene_presence/no/accuracy"] == 1.0
    assert "accuracy_as_published" not in names
