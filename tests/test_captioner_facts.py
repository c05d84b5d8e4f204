"""Questions that only the infrared answers, and how a captioner's answers to them are scored."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulated_dataset import build_simulated

from evaluation.captions import facts
from evaluation.captions.facts import FactsRun, ask_facts
from evaluation.captions.generation import Caption, day_or_night
from evaluation.rows import load_split
from evaluation.vqa.infrared_questions import BRIGHTNESS, STATE, balanced, infrared_questions
from evaluation.vqa.scene_questions import TIME

ROW: dict[str, Any] = {"id": "row-1", "class_name": "lake"}


def asked(*captions: str) -> dict[str, tuple[str, str]]:
    questions = infrared_questions({**ROW, "infrared_captions": list(captions)})
    return {question.question: (question.type, question.answers[0]) for question in questions}


def test_infrared_captions_give_questions_of_time_regions_and_states() -> None:
    found = asked(
        "In this night infrared image of a lake the water looks bright while the trees look dark and the sand looks in "
        "between.",
        "In the night infrared image of the lake, two of the three boats have bright engines and no roof glows bright.",
        "A night infrared scene of a lake where two of the three boats have bright engines and the water looks "
        "brighter than the trees.",
    )
    assert found == {
        "Was the infrared image taken by day or by night?": (TIME, "night"),
        "Does the water look bright or dark in the infrared image?": (BRIGHTNESS, "bright"),
        "Do the trees look bright or dark in the infrared image?": (BRIGHTNESS, "dark"),
        "Does any boat have a bright engine in the infrared image?": (STATE, "yes"),
        "Does any roof glow bright in the infrared image?": (STATE, "no"),
    }


@pytest.mark.parametrize(
    ("caption", "question", "answer"),
    [
        ("no seating bowl is bright", "Does any seating bowl look bright in the infrared image?", "no"),
        ("the seating bowl is bright all around", "Does any seating bowl look bright in the infrared image?", "yes"),
        ("no ship is bright at the stern", "Does any ship look bright at the stern in the infrared image?", "no"),
        ("all 29 large roofs glow bright", "Does any large roof glow bright in the infrared image?", "yes"),
        ("no locomotive shows bright vents", "Does any locomotive show bright vents in the infrared image?", "no"),
        ("one of the nine panel rows has one bright section in the middle", None, "yes"),
    ],
)
def test_a_state_is_asked_for_whether_it_is_on_or_off(caption: str, question: str | None, answer: str) -> None:
    found = asked(f"In the image of the scene, {caption}.")
    assert [kind for kind, _ in found.values()] == [STATE]
    if question is not None:
        assert list(found) == [question]
    assert next(iter(found.values()))[1] == answer


def test_captions_that_contradict_each_other_give_no_question() -> None:
    assert (
        asked("the sea looks bright while the sand looks dark", "the sand looks bright while the sea looks dark") == {}
    )
    assert asked("A busy harbor.") == {}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 60, seed=1)


def test_balanced_questions_have_each_answer_as_often_for_each_wording(data: Path) -> None:
    questions = [one for row in load_split(str(data), "train") for one in infrared_questions(row)]
    kept = balanced(questions)
    counts: dict[str, Counter[str]] = {}
    for question in kept:
        counts.setdefault(question.question, Counter())[question.answers[0]] += 1
    assert len(counts) >= 3
    assert all(len(answers) == 2 and len(set(answers.values())) == 1 for answers in counts.values())
    assert kept == balanced(questions)
    assert {one.id for one in kept} <= {one.id for one in questions}


class Oracle:
    """Answers right where it sees the infrared, and always the same where it does not."""

    def __init__(self, rows: Any) -> None:
        questions = [one for row in rows for one in infrared_questions(row)]
        self.answers = {(one.image_id, one.prompt): one.answers[0] for one in questions}
        self.times = {one.image_id: one.answers[0] for one in questions if one.type == TIME}
        self.of_infrared = {row["infrared"]["bytes"]: self.times[row["id"]] for row in rows}

    def __call__(self, model: Any, processor: Any, rows: Any, shown: str, instructions: Any, *_: Any) -> list[Caption]:
        said = []
        for row, instruction in zip(rows, instructions, strict=True):
            known = self.answers.get((row["id"], instruction))
            if known is None:
                time = self.of_infrared[row["infrared"]["bytes"]] if shown != "rgb" else "day"
                known = f"In this {time} infrared image."
            elif shown == "rgb":
                known = {"day": "day", "night": "day", "bright": "dark"}.get(known, known and "yes")
                known = "dark" if "bright or dark" in instruction else known
            said.append(Caption(id=row["id"], shown=shown, instruction=instruction, text=known))
        return said


def test_who_sees_scores_one_and_who_guesses_scores_half(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load_split(str(data), "train")
    monkeypatch.setattr(facts, "answer", Oracle(rows))
    metrics = {metric.name: metric for metric in ask_facts(None, None, rows).metrics}  # type: ignore[arg-type]
    for kind in (TIME, BRIGHTNESS, STATE, "caption/time_of_day"):
        assert metrics[f"pair/{kind}"].value == 1
        assert metrics[f"infrared/{kind}"].value == 1
        assert metrics[f"rgb/{kind}"].value == pytest.approx(0.5)
        assert metrics[f"rgb/{kind}"].low < 0.5 < metrics[f"rgb/{kind}"].high
    for kind in (TIME, BRIGHTNESS, STATE):
        assert metrics[f"chance/{kind}"].value == 0.5
    assert metrics["swapped/caption_changed"].value == 1
    assert metrics["swapped/time_followed"].value == 1
    assert day_or_night("In this night infrared image.") == "night"


def test_no_rows_are_not_all_rows() -> None:
    for wrong in ({"rows": 0}, {"rows": -3}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="wanted at least 1 of each"):
            FactsRun(model="m", output=Path("o"), **wrong)


def test_rows_that_state_no_time_are_refused(data: Path) -> None:
    rows = load_split(str(data), "train").select(range(1))
    with pytest.raises(ValueError, match="no infrared caption of the 1 rows says day or night, or all say the same"):
        ask_facts(None, None, rows)  # type: ignore[arg-type]
