"""Studies: arms differ in one thing, runs are made once, and intervals over seeds are Student's."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from simulated_dataset import build_simulated

from evaluation.intervals.seed_interval import over_seeds, paired
from train import study, train_clip
from train.captioner.config import CaptionerConfig
from train.clip.presets import CLIP_PRESETS, DEBUG_CLIP
from train.clip.rows import share_of_rows
from train.studies import RGB_AND_TEXT, SHOWN, STUDIES
from train.study import Places, StudyConfig, folder_name, placed

DEBUG_RGB = CLIP_PRESETS["debug-rgb-only"][1]
TWO_STEPS = replace(DEBUG_CLIP.optim, steps=2, warmup_steps=1)


def differences(first: Any, second: Any, path: str = "") -> set[str]:
    if isinstance(first, dict):
        return {name for key in first for name in differences(first[key], second[key], f"{path}.{key}".lstrip("."))}
    return set() if first == second else {path}


def test_an_interval_of_three_seeds_is_students() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert found["high"] - 2.0 == pytest.approx(2.0 - found["low"])


def test_what_has_no_seeds_is_compared_with_each() -> None:
    assert paired([3.0, 5.0, 7.0], [1.0]) == [2.0, 4.0, 6.0]
    assert paired([1.0], [3.0, 5.0]) == [-2.0, -4.0]
    with pytest.raises(ValueError, match="2 values cannot be paired with 3"):
        paired([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("name", "arm", "other", "changed"),
    [
        ("infrared-aware-text", "infrared-aware", "conventional twice", {"text.infrared"}),
        ("infrared-aware-text", "trimodal", "no image pair", {"model.pairs"}),
        ("infrared-aware-text", "trimodal", "grey as infrared", {"data.infrared_view"}),
        ("infrared-aware-text", "trimodal", "RGB as infrared", {"data.infrared_view"}),
        ("infrared-aware-text", "trimodal", "equal texts negatives", {"text.equal_texts"}),
        ("infrared-aware-text", "infrared-aware", "infrared-aware, fused", {"model.pairs", "model.fusion"}),
        ("towers", "shared, gated", "adapted, gated", {"model.infrared_tower"}),
        ("towers", "adapted, mean", "adapted, gated", {"model.fusion"}),
        ("data-scale", "1/8", "all", {"data.share"}),
        ("text-limit", "12 tokens", "64 tokens", {"model.size.text_tokens"}),
        ("sensors", "sensor", "translated", {"data.path"}),
        ("sensors", "sensor", "grey as infrared", {"data.infrared_view"}),
        ("tuning", "full", "LoRA", {"adapter.kind"}),
        ("tuning", "full", "text tower frozen", {"model.freeze_text_tower"}),
        ("tuning", "full", "image tower frozen", {"model.freeze_rgb_tower"}),
        ("captioner", "trained on RGB", "trained on all three", {"inputs"}),
        ("captioner-text", "scene captions", "both", {"task.scene", "task.infrared"}),
        ("captioner-text", "infrared captions", "both", {"task.scene", "task.infrared"}),
    ],
)
def test_arms_differ_in_one_thing(name: str, arm: str, other: str, changed: set[str]) -> None:
    arms = STUDIES[name].arms
    one, two = arms[arm], arms[other]
    assert one is not None
    assert two is not None
    assert differences(asdict(one), asdict(two)) == changed


def test_captioners_of_other_texts_are_asked_as_many_questions() -> None:
    """What a row cannot be goes to the rest of its weights, so every row must show infrared."""
    for arm in STUDIES["captioner-text"].arms.values():
        assert isinstance(arm, CaptionerConfig)
        assert "rgb" not in arm.inputs
        assert arm.task.scene + arm.task.infrared == 2 * arm.task.question


def test_folders_of_arms_are_their_own() -> None:
    for found in STUDIES.values():
        assert len({folder_name(arm) for arm in found.arms}) == len(found.arms)
        assert found.baseline in found.arms


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    ids = [f"row:{number}" for number in range(1000)]
    eighth, half = share_of_rows(ids, 1 / 8), share_of_rows(ids, 1 / 2)
    assert (len(eighth), len(half)) == (125, 500)
    assert set(eighth) < set(half)
    assert half == sorted(half)
    again = share_of_rows(ids[::-1], 1 / 8)
    assert {999 - place for place in again} == set(eighth)


def test_equal_texts_are_negatives_only_where_that_is_asked_for() -> None:
    arms: dict[str, Any] = dict(STUDIES["infrared-aware-text"].arms)
    assert arms.pop("equal texts negatives").text.equal_texts == "negatives"
    assert {arm.text.equal_texts for arm in arms.values()} == {"positives"}


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_finds_its_folders(name: Any, tmp_path: Path) -> None:
    words = ("data", "translated", "naip", "forest", "hit_uav", "base")
    config = StudyConfig(name=name, output=tmp_path, places=Places(**{word: tmp_path / word for word in words}))
    for arm in config.chosen.values():
        if arm is None:
            continue
        found = placed(arm, config)
        assert Path(found.data.path).parent == tmp_path
        if isinstance(found, CaptionerConfig):
            assert found.model.clip == tmp_path / "base"
        elif name == "tuning":
            assert getattr(found.model, "source", None) == str(tmp_path / "base")
    assert {Path(config.folder(exam.place)).parent for exam in STUDIES[name].exams} == {tmp_path}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 120, seed=5)


def test_a_study_trains_what_is_missing_and_says_how_arms_differ(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []
    run = train_clip.run

    def counted(config: Any) -> None:
        trained.append(config.output.name)
        run(config)

    monkeypatch.setattr(train_clip, "run", counted)
    arms = ("--arms", "conventional twice", "infrared-aware")
    command = ["infrared-aware-text", "--data", str(data), "--output", str(tmp_path / "s"), "--seeds", "2", *arms]
    study.main([*command, "--steps", "2"])
    assert trained == ["conventional-twice-0", "infrared-aware-0", "conventional-twice-1", "infrared-aware-1"]
    record = json.loads((tmp_path / "s" / "study.json").read_text())
    name = "infrared_to_infrared_text/recall_at_10"
    base, other = (record["arms"][arm][name]["values"] for arm in ("conventional twice", "infrared-aware"))
    expected = [one - two for one, two in zip(other, base, strict=True)]
    assert record["differences"]["infrared-aware"][name]["values"] == pytest.approx(expected)
    (exam,) = record["exams"]
    assert exam["dataset"]["manifest_sha256"]
    assert exam["dataset"]["id"] == "fusionrs"
    assert record["chance"][name] == pytest.approx(10 / exam["n"], rel=0.01)
    assert "infrared-aware" in capsys.readouterr().out
    wanted = 'infrared-aware-text --seeds 2 --steps 2 --arms "conventional twice" "infrared-aware" --data fusionrs'
    assert record["command"] == f"python -m train.study {wanted} --output runs/infrared_aware_text"

    study.main([*command, "--steps", "2"])
    assert len(trained) == 4
    with pytest.raises(ValueError, match=r"was trained otherwise \(optim.steps was 2, wanted 3\)"):
        study.main([*command, "--steps", "3"])
    arms_of_study = dict(STUDIES["infrared-aware-text"].arms)
    arms_of_study["infrared-aware"] = replace(arms_of_study["infrared-aware"], modality_dropout=0.1)  # type: ignore[type-var]
    changed = replace(STUDIES["infrared-aware-text"], arms=arms_of_study)
    monkeypatch.setitem(STUDIES, "infrared-aware-text", changed)
    with pytest.raises(ValueError, match=r"otherwise \(modality_dropout was 0.0, wanted 0.1\)"):
        study.main([*command, "--steps", "2"])
    monkeypatch.undo()
    results = tmp_path / "s" / "infrared-aware-1" / "results" / "retrieval-fusionrs.json"
    said = results.read_text()
    assert '"split": "test"' in said
    results.write_text(said.replace('"split": "test"', '"split": "validation"'))
    with pytest.raises(ValueError, match=r"retrieval-fusionrs.json is of other weights or other rows"):
        study.main([*command, "--steps", "2"])
    results.write_text(said.replace(str(data), str(data.with_name("others"))))
    with pytest.raises(ValueError, match=r"retrieval-fusionrs.json is of other weights or other rows"):
        study.main([*command, "--steps", "2"])


def test_a_study_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an interval needs 2 to 10"):
        StudyConfig(name="towers", output=tmp_path, seeds=1)
    with pytest.raises(ValueError, match="towers has no arm 'shared', only shared, gated"):
        StudyConfig(name="towers", output=tmp_path, arms=("shared",))
    with pytest.raises(ValueError, match="translated-infrared needs --forest and --hit-uav and --naip"):
        StudyConfig(name="translated-infrared", output=tmp_path)
    with pytest.raises(ValueError, match="captioner needs --base"):
        StudyConfig(name="captioner", output=tmp_path)


def test_a_base_is_asked_once_tuned_as_it_is_and_asked_again_under_conditions(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    train_clip.run(replace(DEBUG_RGB, output=base, data=replace(DEBUG_RGB.data, path=str(data)), optim=TWO_STEPS))
    damaged = replace(STUDIES["towers"].exams[2], panels=(RGB_AND_TEXT,))
    study_of_two = replace(STUDIES["tuning"], exams=(*STUDIES["tuning"].exams, damaged))
    monkeypatch.setitem(STUDIES, "tuning", study_of_two)
    places = Places(data=data, base=base / "model")
    arms = ("base", "full", "text tower frozen")
    record = study.run_study(
        StudyConfig(name="tuning", output=tmp_path / "s", places=places, seeds=2, steps=2, arms=arms)
    )
    name = "rgb_to_text/recall_at_10"
    whole = record["arms"]["base"][name]
    assert (len(whole["values"]), whole["low"]) == (1, None)
    assert len(record["differences"]["base"][name]["values"]) == 2
    # Without infrared nothing changes for RGB and text.
    assert record["arms"]["full"][name] == record["arms"]["full"][f"infrared missing/{name}"]
    counted = {arm: found["trained"] for arm, found in record["parameters"].items()}
    assert counted["text tower frozen"] < counted["full"]
    assert [exam["protocol"] for exam in record["exams"]] == ["retrieval-fusionrs", "retrieval-fusionrs:no_infrared"]


def test_a_captioner_is_asked_what_it_sees(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base"
    train_clip.run(replace(DEBUG_CLIP, output=base, data=replace(DEBUG_CLIP.data, path=str(data)), optim=TWO_STEPS))
    monkeypatch.setattr(study, "CAPTIONED", 4)
    places = Places(data=data, base=base / "model")
    common: dict[str, Any] = {"output": tmp_path / "s", "places": places, "seeds": 2, "steps": 2}
    record = study.run_study(StudyConfig(name="captioner", arms=("trained on RGB",), **common))
    assert record["differences"] == {}
    assert "pair/rouge_l" in record["arms"]["trained on RGB"]
    assert record["exams"][0]["benchmark"] == "captions"
    facts = study.run_study(StudyConfig(name="captioner-facts", **common))
    # So few rows have no region that is bright as often as dark.
    assert set(facts["arms"]["debug-facts"]) == {f"{shown}/time_of_day" for shown in SHOWN}
    assert facts["chance"]["pair/time_of_day"] == 0.5
