"""`run` on generated texts and on scenes, from the command line to the report; and the pages name what exists."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from processing_fixtures import make_scene
from saved_clips import save_captioner, save_clip
from simulated_dataset import build_simulated

from dataset_scripts.stages.splits import SplitSettings
from evaluation.__main__ import main, parse
from evaluation.captions.benchmark import outcomes_of
from evaluation.captions.fusionrs_score import rouge_l_f1
from evaluation.captions.generation import INFRARED_PROMPT, SCENE_PROMPT, Caption, answer
from evaluation.cases import Cases, load_cases, paired_difference
from evaluation.intervals.cluster_bootstrap import Outcomes, mean_score, with_intervals
from evaluation.localization.run import LocalizationRun, scene_set
from evaluation.protocols import PROTOCOLS, protocol_named
from evaluation.results import SCHEMA_FILE, file_sha256
from evaluation.rows import load_split
from evaluation.vqa.answering import AnswersRun, questions_of
from evaluation.vqa.questions import read_questions, write_questions
from modeling_rsclip import RSCaptionerForConditionalGeneration
from processing import RSCaptionerProcessor

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("evaluation.md", "evaluation-localization.md", "evaluation-text.md")]
UNSCORED = ["localization", "captions", "caption-facts", "captioning", "vqa", "text-audit"]


def write_scenes(folder: Path) -> None:
    """Three queries on two scenes, in the form of AIR-SLT."""
    for number in (1, 2):
        (folder / "imgs").mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene(600, 700, number)).save(folder / "imgs" / f"{number}.png")
    square = [[100, 100], [300, 100], [300, 300], [100, 300]]
    rows = [
        {"caption": text, "jpg_name": f"{number}.png", "points": [square]}
        for text, number in (("a pond", 1), ("a road", 1), ("ships", 2))
    ]
    (folder / "annotations").mkdir()
    (folder / "annotations" / "anno.json").write_text(json.dumps(rows))


def write_thermal(folder: Path) -> None:
    """Two images with two classes for each split, in the form of HIT-UAV."""
    images = [{"id": number, "width": 64, "height": 48, "filename": f"{number}.jpg"} for number in (1, 2)]
    boxes = [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 1, 5, 5]}]
    boxes += [{"id": 2, "image_id": 2, "category_id": 1, "bbox": [40, 1, 5, 5]}]
    classes = [{"id": number, "name": name} for number, name in enumerate(("Person", "Car"))]
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}.json").write_text(
            json.dumps({"images": images, "annotation": boxes, "categories": classes})
        )
        for number in (1, 2):
            grey = Image.fromarray(make_scene(64, 48, number)).convert("L").convert("RGB")
            grey.save(folder / split / f"{number}.jpg")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every benchmark that reads more than embeddings, run from the command line."""
    root = tmp_path_factory.mktemp("texts")
    build_simulated(root / "fusionrs", 60, splits=SplitSettings(validation=0.2, test=0.3))
    rows = load_split(str(root / "fusionrs"), "test")
    save_clip("rsclip", root / "model")
    save_captioner(root / "captioner")
    write_scenes(root / "scenes")
    # One model copies a reference, the other says the caption of the next row, and of one row nothing.
    said = [row["captions"][0] for row in rows]
    lines = [{"id": key, "text": text} for key, text in zip(rows["id"], said, strict=True)]
    write_lines(root / "copies.jsonl", lines)
    others = [{"id": key, "text": text} for key, text in zip(rows["id"], said[1:] + said[:1], strict=True)]
    write_lines(root / "others.jsonl", others[:-1])
    for split in ("train", "test"):
        command("questions", "scenes", data=root / "fusionrs", split=split, output=root / f"{split}.questions.jsonl")
    questions = [json.loads(line) for line in (root / "test.questions.jsonl").read_text().splitlines()]
    write_lines(root / "answers.jsonl", [{"id": one["id"], "text": one["answers"][0]} for one in questions])
    write_lines(root / "yes.jsonl", [{"id": one["id"], "text": "It is yes."} for one in questions])
    results = root / "results"
    command("run", "localization", model=root / "model", data=root / "scenes", output=results)
    command("run", "captions", model=root / "captioner", data=root / "fusionrs", rows=6, output=results)
    command("run", "caption-facts", model=root / "captioner", data=root / "fusionrs", rows=12, output=results)
    write_thermal(root / "thermal")
    for name in ("fusionrs", "thermal"):
        options = {"model": root / "captioner", "data": root / name, "output": results, "name": f"vqa-of-{name}"}
        command("run", "answers", **options)
    references = {"references": root / "fusionrs", "output": results}
    for name in ("copies", "others"):
        command("run", "captioning", predictions=root / f"{name}.jsonl", **references, name=f"captioning-{name}")
        command("run", "text-audit", predictions=root / f"{name}.jsonl", **references, name=f"text-audit-{name}")
    asked = {"questions": root / "test.questions.jsonl", "train-questions": root / "train.questions.jsonl"}
    for name in ("answers", "yes"):
        command("run", "vqa", predictions=root / f"{name}.jsonl", **asked, output=results, name=f"vqa-{name}")
    command("report", results, output=root / "report")
    return root


def command(*words: object, **options: object) -> None:
    main([*map(str, words), *(part for name, value in options.items() for part in (f"--{name}", str(value)))])


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def values(path: Path) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in record(path)["metrics"]}


def test_every_run_writes_a_result_of_the_schema_with_a_figure_and_cases(world: Path) -> None:
    paths = sorted((world / "results").glob("*.json"))
    found = [record(path) for path in paths]
    assert {one["protocol"] for one in found} == set(UNSCORED)
    for path, one in zip(paths, found, strict=True):
        jsonschema.validate(one, json.loads(SCHEMA_FILE.read_text()))
        names = {metric["name"] for metric in one["metrics"]}
        assert names & set(protocol_named(one["protocol"]).headline)
        with Image.open(path.with_suffix(".png")) as picture:
            assert min(picture.size) > 250
        cases = load_cases(path.with_suffix(".cases.npz"))
        for name in (name for name in names if not name.startswith("chance/")):
            assert paired_difference(cases, cases, name).value == 0


def test_what_was_tested_is_hashed(world: Path) -> None:
    results = world / "results"
    questions = record(results / "vqa-yes.json")
    assert questions["dataset"]["listing_sha256"] == file_sha256(world / "test.questions.jsonl")
    assert questions["model"] == {"id": "yes", "predictions_sha256": file_sha256(world / "yes.jsonl")}
    scenes = record(results / "localization.json")
    assert scenes["dataset"]["listing_sha256"] == file_sha256(world / "scenes" / "annotations" / "anno.json")
    manifest = file_sha256(world / "fusionrs" / "manifest.json")
    for name in ("captions", "captioning-copies", "text-audit-copies"):
        assert record(results / f"{name}.json")["dataset"]["manifest_sha256"] == manifest


def test_copies_and_right_answers_have_full_marks_and_what_is_missing_none(world: Path) -> None:
    copies, others = (values(world / "results" / f"captioning-{name}.json") for name in ("copies", "others"))
    for name in ("bleu_1", "bleu_4", "rouge_l", "fusionrs/rouge_l"):
        assert copies[name] == pytest.approx(1)
        assert others[name] < 0.9
    assert record(world / "results" / "captioning-others.json")["config"]["missing"] == 1
    assert values(world / "results" / "vqa-answers.json")["accuracy"] == 1
    yes = values(world / "results" / "vqa-yes.json")
    assert yes["scene_presence/accuracy"] == 0.5
    assert yes["exact_match"] == 0


@pytest.mark.parametrize(
    ("name", "shown", "asked"), [("fusionrs", "pair", "test.questions.jsonl"), ("thermal", "infrared", None)]
)
def test_a_captioner_answers_about_the_images_and_is_scored(
    world: Path, name: str, shown: str, asked: str | None
) -> None:
    """The answers are those of asking row by row, and score as a file of them does."""
    said = [json.loads(line) for line in (world / "results" / f"vqa-of-{name}.jsonl").read_text().splitlines()]
    if asked is None:
        command(
            "questions", "hit-uav", annotations=world / name / "test.json", output=world / f"{name}.questions.jsonl"
        )
    questions = read_questions(world / (asked or f"{name}.questions.jsonl"))
    assert [one["id"] for one in said] == [question.id for question in questions]
    rows = {row["id"]: row for row in load_split(str(world / "fusionrs"), "test")}
    captioner = RSCaptionerForConditionalGeneration.from_pretrained(world / "captioner").eval()
    processor = RSCaptionerProcessor.from_pretrained(world / "captioner")
    last = questions[-1]
    row = rows.get(last.image_id) or {
        "id": last.id,
        "infrared": {"bytes": (world / name / "test" / last.image).read_bytes()},
    }
    assert said[-1]["text"] == answer(captioner, processor, [row], shown, [last.prompt], max_new_tokens=32)[0].text
    write_questions(questions_of(world / name, "train"), world / f"{name}.train.jsonl", overwrite=True)
    stem = world / "results" / f"vqa-of-{name}"
    again = {"questions": stem.with_suffix(".questions.jsonl"), "train-questions": world / f"{name}.train.jsonl"}
    command("run", "vqa", predictions=stem.with_suffix(".jsonl"), **again, output=world / "again", name=name)
    ours, scored = record(stem.with_suffix(".json")), record(world / "again" / f"{name}.json")
    assert ours["metrics"] == scored["metrics"]
    assert ours["dataset"]["listing_sha256"] == scored["dataset"]["listing_sha256"]
    assert "baseline/majority/accuracy" in values(stem.with_suffix(".json"))


def test_what_cannot_be_answered_about_is_refused(world: Path, tmp_path: Path) -> None:
    options = {"output": tmp_path}
    with pytest.raises(ValueError, match="answers needs a captioner"):
        command("run", "answers", model=world / "model", data=world / "fusionrs", **options)
    with pytest.raises(ValueError, match="both 'test'; no baseline may learn what it answers"):
        AnswersRun(model="m", data=world / "fusionrs", train_split="test", **options)
    with pytest.raises(ValueError, match="infrared images only; leave --shown out"):
        AnswersRun(model=str(world / "captioner"), data=world / "thermal", shown="rgb", **options)
    with pytest.raises(FileNotFoundError, match=r"absent.json is no file; wanted boxes"):
        command("run", "answers", model=world / "captioner", data=world / "thermal", split="absent", **options)


def test_the_report_compares_texts_row_by_row(world: Path) -> None:
    text = (world / "report" / "report.md").read_text()
    copies, others = (values(world / "results" / f"captioning-{name}.json") for name in ("copies", "others"))
    gap = f"{100 * (others['bleu_4'] - copies['bleu_4']):+.1f} pp"
    assert f"| BLEU-4 | others | **{gap}** |" in text
    cider = f"{others['cider_d'] - copies['cider_d']:+.3f}"
    assert f"| CIDEr-D | others | **{cider}** |" in text
    for protocol in UNSCORED:
        assert f"\n## {protocol}\n" in text
    assert "Ras (less is better)" in text


def test_the_captioner_is_held_against_both_kinds_of_captions(world: Path) -> None:
    found = values(world / "results" / "captions.json")
    lines = [json.loads(line) for line in (world / "results" / "captions.jsonl").read_text().splitlines()]
    rows = load_split(str(world / "fusionrs"), "test").select(range(6))
    for shown in ("rgb", "infrared", "pair"):
        texts = {one["id"]: one["text"] for one in lines if (one["shown"], one["instruction"]) == (shown, SCENE_PROMPT)}
        wanted = [rouge_l_f1(texts[row["id"]], row["captions"]) for row in rows]
        assert found[f"{shown}/fusionrs/rouge_l"] == pytest.approx(np.mean(wanted))
        for name in ("bleu_4", "meteor_exact_stem", "cider_d", "rouge_l"):
            assert {f"{shown}/{name}", f"{shown}/infrared_captions/{name}"} <= found.keys()
    keys = {key for one in load_cases(world / "results" / "captions.cases.npz").texts for key in one.keys}
    assert f"{rows[0]['id']} | pair | {INFRARED_PROMPT}" in keys


def test_rows_that_state_nothing_leave_a_metric_out_and_say_so(world: Path) -> None:
    rows = load_split(str(world / "fusionrs"), "test").select(range(4))
    bare = rows.remove_columns(["infrared_captions"]).add_column("infrared_captions", [[], [], [], []])  # type: ignore[call-arg]
    texts = ("by day", "a warm red roof", "", "a dark roof")
    said = [
        Caption(id=key, shown="rgb", instruction=INFRARED_PROMPT, text=text)
        for key, text in zip(rows["id"], texts, strict=True)
    ]
    (audit,), absent = outcomes_of(bare, said, "rgb", INFRARED_PROMPT)
    assert absent == {"infrared_captions", "time_right"}
    assert {metric.name: metric.value for metric in with_intervals(audit)} == {
        "rgb/infrared_captions/no_text": 0.25,
        "rgb/infrared_captions/infrared_cue": pytest.approx(1 / 3),
        "rgb/infrared_captions/physical_claim": pytest.approx(1 / 3),
        "rgb/infrared_captions/colour_word": pytest.approx(1 / 3),
        "rgb/infrared_captions/refusal": 0,
    }


def outcomes(values: list[float], counts: list[bool], reverse: bool = False) -> Outcomes:
    order = slice(None, None, -1 if reverse else 1)
    keys = tuple(f"r{number}" for number in range(len(values)))[order]
    score = mean_score("x", values[order], counts[order])
    return Outcomes(keys=keys, clusters=tuple(key[-1] for key in keys), scores=(score,))


def test_the_difference_of_texts_pairs_rows_by_key_whatever_their_order(tmp_path: Path) -> None:
    first, second = outcomes([0, 1, 1, 0], [True] * 4), outcomes([1, 1, 1, 0], [True, True, True, False], reverse=True)
    Cases(texts=(first,)).save(tmp_path / "first.npz")
    Cases(texts=(second,)).save(tmp_path / "second.npz")
    one, two = (load_cases(tmp_path / f"{name}.npz") for name in ("first", "second"))
    assert with_intervals(one.texts[0]) == with_intervals(first)
    found = paired_difference(one, two, "x")
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(0.5), 4)
    same = paired_difference(one, Cases(texts=(outcomes([0, 1, 1, 0], [True] * 4, reverse=True),)), "x")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = Cases(texts=(Outcomes(keys=("r0",), clusters=("0",), scores=(mean_score("x", [1.0]),)),))
    with pytest.raises(ValueError, match="x: 3 rows are of one result only, such as 'r1'; no pairs to compare"):
        paired_difference(one, other, "x")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            "run captioning --predictions absent --references fusionrs --output o",
            FileNotFoundError,
            "absent is no file",
        ),
        (
            "run captions --model m --output o --activation gelu",
            ValueError,
            "captions reads no activation; leave --act",
        ),
        (
            "run captions --model m --output o --condition no_rgb",
            ValueError,
            "captions reads no condition; leave --con",
        ),
        ("run zero-shot --model m --output o --split val", ValueError, "zero-shot reads no split; leave --split out"),
        ("run zero-shot --model m --output o --rows 3", ValueError, "zero-shot reads no rows; leave --rows out"),
        (
            "run retrieval-fusionrs --model m --output o --prompts rs5m --classes aid --captions-per-image 1",
            ValueError,
            "retrieval-fusionrs reads no classes, prompts, captions_per_image; leave --classes out",
        ),
        ("run zero-shot --model m --output file/o", ValueError, "cannot be written: .*file is no folder, or not yours"),
        ("questions scenes --data absent --output o.jsonl", FileNotFoundError, r"absent has no shards test-\*"),
    ],
)
def test_what_cannot_be_is_refused(
    words: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(error, match=message):
        main(words.split())


def test_nothing_is_replaced_unless_asked(world: Path) -> None:
    again = ["run", "localization", "--model", str(world / "model"), "--data", str(world / "scenes")]
    again += ["--output", str(world / "results")]
    with pytest.raises(FileExistsError, match=r"localization\.json exists"):
        main(again)
    before = record(world / "results" / "localization.json")["metrics"]
    main([*again, "--overwrite"])
    assert record(world / "results" / "localization.json")["metrics"] == before
    assert len(list((world / "results" / "localization" / "figures").glob("*.png"))) == 3
    with pytest.raises(
        FileExistsError, match=r"questions\.jsonl exists\. Choose another --output, or pass --overwrite"
    ):
        main(
            ["questions", "scenes", "--data", str(world / "fusionrs"), "--output", str(world / "test.questions.jsonl")]
        )


def test_other_windows_are_another_protocol(tmp_path: Path) -> None:
    config = LocalizationRun(model="m", data=tmp_path, output=tmp_path, scales=(64, 128), as_published=False)
    assert config.protocol == "localization:64-128:without-jpeg"
    with pytest.raises(ValueError, match="name is 'a/b', wanted a file name without folder or suffix"):
        LocalizationRun(model="m", data=tmp_path, output=tmp_path, name="a/b")
    with pytest.raises(FileNotFoundError, match=r"holds 0 of annotations/anno\.json and anno\.json; wanted one"):
        scene_set(tmp_path, None)


def test_every_protocol_has_its_section() -> None:
    text = PAGES[0].read_text()
    for protocol in PROTOCOLS:
        section = text.split(f"\n## {protocol.name}\n")
        assert len(section) == 2, protocol.name
        assert f"python -m evaluation run {protocol.name} " in section[1].split("\n## ")[0], protocol.name


def commands() -> Iterator[tuple[str, str]]:
    for page in [*PAGES, ROOT / "README.md"]:
        for line in re.findall(r"python -m evaluation [^`\n#]+", page.read_text()):
            yield page.name, line.strip()


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_every_command_of_the_pages_parses(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"\S+\.jsonl", line):
        (tmp_path / name).touch()
    parse(shlex.split(line)[3:])
