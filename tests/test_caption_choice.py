"""The choice among a machine's captions: rules on scores set by hand, and the record it makes."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from saved_clips import save_captioner, save_clip
from simulated_dataset import build_simulated

import benchmarks.caption_choice as choice
from benchmarks.caption_choice import BASELINE, DRAWN, RULES, Config, main, quality, scores_of, settings_of
from dataset_scripts.stages.machine_captions import CaptionedImage, ScoredCaption
from evaluation.rows import load_split
from model_cards.study_page import asked, described, table

KEPT = [
    ScoredCaption("a lake", similarity=0.9, rotation_mean=0.5, rotation_deviation=0.40),
    ScoredCaption("a harbor", similarity=0.8, rotation_mean=0.7, rotation_deviation=0.35),
    ScoredCaption("an image", similarity=0.7, rotation_mean=0.1, rotation_deviation=0.01),
    ScoredCaption("some water", similarity=0.6, rotation_mean=0.6, rotation_deviation=0.10),
]


def test_each_rule_takes_what_it_wants_most() -> None:
    taken = [max(KEPT, key=worth).text for worth in RULES.values()]
    assert taken == ["a lake", "a harbor", "an image", "some water"]


def test_a_drawn_caption_scores_what_is_expected_of_one() -> None:
    rows = Dataset.from_list(
        [
            {"class_name": "lake", "captions": ["a blue lake", "some water"]},
            {"class_name": "harbor", "captions": ["a harbor"]},
        ]
    )
    found = quality(rows, [["a lake", "some water", "two lakes", "a pond"], ["a harbor"]])
    # Named in two of four and one of one. ROUGE-L of "a lake": 2 of 2 and of 3 words, F1 0.8; then 1; "two lakes" none;
    # "a pond" 1 of 2 and of 3, F1 0.4.
    assert found == {"class_named": pytest.approx(0.75), "rouge_l": pytest.approx(((0.8 + 1 + 0 + 0.4) / 4 + 1) / 2)}


def test_the_record_is_a_study_that_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of seed 1 name the class, those of seed 0 do not; the ranking is set by hand."""
    data = build_simulated(tmp_path / "fusionrs", 40)
    rows = load_split(str(data), "test")
    classes = dict(zip(rows["id"], rows["class_name"], strict=True))

    class Writer:
        def __init__(self, seed: int) -> None:
            self.seed = seed

        def write_candidates(self, image: Any, row: str) -> list[str]:
            return ["nothing", "nothing", " ", f"a {classes[row]}" if self.seed else "something"]

    def rank(row: int, image: Any, candidates: list[str], settings: Any) -> CaptionedImage:
        first, second = candidates
        return CaptionedImage(0, (ScoredCaption(first, 0.9, 0.1, 0.2), ScoredCaption(second, 0.8, 0.5, 0.1)), 0)

    monkeypatch.setattr(choice.Captioner, "open", lambda settings: Writer(settings.seed))
    monkeypatch.setattr(choice, "rank_and_choose", rank)
    output = tmp_path / "caption-choice.json"
    runs = {name: tmp_path / name for name in "abcd"}
    for run, steps in zip(runs.values(), (9, 9, 1, 2), strict=True):
        (run / "model").mkdir(parents=True)
        (run / "model" / "model.safetensors").write_bytes(bytes(steps))
        (run / "run.json").write_text(json.dumps({"steps": steps}))
    models = ["--captioners", str(runs["a"]), str(runs["b"]), "--judges", str(runs["c"]), str(runs["d"])]
    command = [*models, "--data", str(data), "--rows", "3", "--output", str(output)]
    main(command)
    record = json.loads(output.read_text())
    assert list(record["arms"]) == [*DRAWN, *RULES]
    found = {rule: arm["class_named"]["values"] for rule, arm in record["arms"].items()}
    assert found == {
        "drawn from all": [0.0, pytest.approx(1 / 3)],
        "drawn from the closest": [0.0, 0.5],
        **{rule: [0.0, 0.0 if rule == BASELINE else 1.0] for rule in RULES},
    }
    assert record["differences"]["least change of turns"]["class_named"]["values"] == [0.0, 1.0]
    assert record["arms"][BASELINE]["distinct_texts"]["values"] == [pytest.approx(1 / 3)] * 2
    assert record["command"].endswith("--captioners a b --judges c d --data fusionrs --rows 3 --output choice.json")
    assert record["models"]["a"] == record["models"]["b"] != record["models"]["c"]
    (exam,) = record["exams"]
    assert "| least change of turns | 50.0 [" in table(record, exam)
    assert asked(exam).startswith("`caption-choice:5-of-20` on `fusionrs`, n = 3, manifest")
    assert "9 steps a run" in described(record)
    (runs["b"] / "run.json").write_text('{"steps": 8}')
    with pytest.raises(ValueError, match=r"trained for \[8, 9\] steps; wanted equal ones"):
        main(command)


def test_saved_models_write_and_judge(tmp_path: Path) -> None:
    """Random weights write little of sense; what they write is ranked, and all rules choose among it."""
    data = build_simulated(tmp_path / "fusionrs", 40)
    for run, save in (("a", save_captioner), ("b", save_captioner)):
        save(tmp_path / run / "model")
        (tmp_path / run / "run.json").write_text('{"steps": 3}')
    save_clip("rsclip", tmp_path / "judge" / "model")
    config = Config(
        captioners=(tmp_path / "a", tmp_path / "b"),
        judges=(tmp_path / "judge", tmp_path / "judge"),
        data=data,
        output=tmp_path / "choice.json",
    )
    rows = load_split(str(data), "test").select(range(2))
    found = [scores_of(rows, settings_of(config.captioners[0], config.judges[0], seed, config)) for seed in (0, 0, 1)]
    assert list(found[0]) == [*DRAWN, *RULES]
    assert found[0] == found[1], "one seed samples the same"
    assert all(0 <= value <= 1 for scores in found[0].values() for value in scores.values())


def test_a_judge_is_wanted_for_each_captioner(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 captioners and 1 judges; wanted one of each"):
        Config(captioners=(Path("a"), Path("b")), judges=(Path("c"),), output=tmp_path)
