"""`python -m evaluation`: every benchmark from data to report on a tiny model, and what bad input is told."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from processing_fixtures import make_scene
from saved_clips import save_clip
from simulated_dataset import build_simulated
from transformers import AutoModel, AutoTokenizer

from dataset_scripts.stages.splits import SplitSettings
from evaluation import report_figures
from evaluation.__main__ import main
from evaluation.box_sets import read_box_set
from evaluation.bundles import Data, caption_bundle
from evaluation.caption_sets import read_caption_set
from evaluation.cases import Cases, Measured, metric_of, share
from evaluation.classification.class_names import HIT_UAV
from evaluation.embedding import load_bundle
from evaluation.foreign_models import embed_texts, load_clip
from evaluation.image_folders import read_image_folder
from evaluation.predictions import PredictionFile, read_predictions
from evaluation.protocols import PROTOCOLS, protocol_named
from evaluation.report import Result, labels
from evaluation.report_figures import interval_figure, short_names
from evaluation.results import SCHEMA_FILE, Metric, check_record, write_results
from evaluation.score import ProtocolOptions, ScoredProtocol, cases_path
from processing import BadImage

SHARED = "the same words above another scene"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated dataset, a captioned set, class folders, thermal images with boxes, and a model."""
    root = tmp_path_factory.mktemp("world")
    build_simulated(root / "fusionrs", 80, splits=SplitSettings(validation=0.2, test=0.3))
    save_clip("rsclip", root / "model")
    write_captions(root / "captions")
    for index in range(15):
        save_image(root / "classes" / f"class_{index % 3}" / f"{index}.png", index)
    for split, start in (("train", 0), ("validation", 30), ("test", 50)):
        write_boxes(root / "boxes", split, start)
    return root


def save_image(path: Path, seed: int, grey: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = make_scene(32, 40, seed)
    Image.fromarray(pixels[..., 0] if grey else pixels).save(path)


def write_captions(folder: Path) -> None:
    images = []
    for index in range(12):
        save_image(folder / "images" / f"{index}.jpg", index)
        texts = [f"scene {index} seen in way {way}" for way in range(5)]
        texts[4] = SHARED if index < 3 else texts[4]
        split = "test" if index < 10 else "train"
        images.append({"filename": f"{index}.jpg", "split": split, "sentences": [{"raw": text} for text in texts]})
    (folder / "captions.json").write_text(json.dumps({"images": images}))


def write_boxes(folder: Path, split: str, start: int) -> None:
    names = ["Person", "Car", "Bicycle", "OtherVehicle", "DontCare"]
    images, boxes = [], []
    for index in range(start, start + 20):
        save_image(folder / split / f"{index}.png", index, grey=True)
        images.append({"id": index, "filename": f"{index}.png"})
        boxes += [{"id": len(boxes), "image_id": index, "category_id": index % 5, "bbox": [0, 0, 5, 5]}]
        boxes += [{"id": len(boxes), "image_id": index, "category_id": index % 2, "bbox": [5, 5, 5, 5]}]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    record = {"images": images, "annotation": boxes, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(record))


def data_of(world: Path, benchmark: str) -> list[str]:
    if benchmark.startswith("retrieval-") and benchmark != "retrieval-fusionrs":
        return ["--data", str(world / "captions" / "captions.json"), "--images", str(world / "captions" / "images")]
    if benchmark in ("zero-shot", "zero-shot-transductive"):
        return ["--data", str(world / "classes"), "--prompts", "skyscript"]
    if benchmark in ("presence", "linear-probe"):
        return ["--data", str(world / "boxes")]
    return ["--data", str(world / "fusionrs")]


SCORED = list(get_args(ScoredProtocol))


@pytest.fixture(scope="module")
def results(world: Path) -> Path:
    """Every benchmark, run once."""
    for benchmark in SCORED:
        main(
            [
                "run",
                benchmark,
                "--model",
                str(world / "model"),
                *data_of(world, benchmark),
                "--output",
                str(world / "r"),
            ]
        )
    return world / "r"


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def values(path: Path) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in record(path)["metrics"]}


@pytest.mark.parametrize("benchmark", SCORED)
def test_every_benchmark_writes_a_result_of_the_schema(results: Path, benchmark: str) -> None:
    found = record(results / f"{benchmark}.json")
    jsonschema.validate(found, json.loads(SCHEMA_FILE.read_text()))
    assert found["benchmark"] == benchmark
    metrics = {metric["name"]: metric for metric in found["metrics"]}
    shown = [name for name in protocol_named(benchmark).headline if name in metrics]
    assert shown, "a table of this protocol would be empty"
    assert any(name.startswith("chance/") for name in metrics)
    for metric in metrics.values():
        assert metric["low"] <= metric["value"] <= metric["high"] or metric["low"] == pytest.approx(metric["value"])
    assert ("manifest_sha256" in found["dataset"]) == ((Path(found["dataset"]["id"]) / "manifest.json").is_file())


@pytest.mark.parametrize("benchmark", SCORED)
def test_the_bundle_of_a_run_scores_to_the_same_numbers(results: Path, benchmark: str, tmp_path: Path) -> None:
    extra = {
        "fusion": ["--validation", str(results / "fusion.validation.npz")],
        "linear-probe": [
            *("--validation", str(results / "linear-probe.validation.npz")),
            *("--train", str(results / "linear-probe.train.npz")),
        ],
        "zero-shot": ["--prompts", "skyscript"],
        "zero-shot-transductive": ["--prompts", "skyscript"],
    }
    output = tmp_path / "scored.json"
    bundle = str(results / f"{benchmark}.npz")
    main(["score", benchmark, "--bundle", bundle, "--output", str(output), *extra.get(benchmark, [])])
    ran, scored = record(results / f"{benchmark}.json"), record(output)
    assert scored["metrics"] == ran["metrics"]
    assert scored["protocol"] == ran["protocol"]
    assert scored["dataset"]["listing_sha256"] == ran["dataset"]["listing_sha256"]
    assert "bundle_sha256" in scored["model"]


def test_credit_for_shared_captions_lifts_chance_and_never_lowers_a_recall(results: Path) -> None:
    plain, dedup = (values(results / f"{name}.json") for name in ("retrieval-rs", "retrieval-rs-dedup"))
    assert all(dedup[name] >= plain[name] for name in plain)
    assert plain["chance/text_to_image/recall_at_1"] == pytest.approx(1 / 10)
    assert dedup["chance/text_to_image/recall_at_1"] == pytest.approx((47 / 10 + 3 * 3 / 10) / 50)
    assert plain["chance/image_to_text/recall_at_1"] == pytest.approx(5 / 50)


def test_a_report_has_a_table_a_figure_and_differences_for_each_protocol(results: Path, world: Path) -> None:
    save_clip("clip", world / "other")
    for benchmark in ("pair-retrieval", "presence"):
        arguments = ["--model", str(world / "other"), *data_of(world, benchmark), "--output", str(world / "r2")]
        main(["run", benchmark, *arguments])
    main(["report", str(results), str(world / "r2"), "--output", str(world / "report")])
    text = (world / "report" / "report.md").read_text()
    for protocol in SCORED:
        assert f"\n## {protocol}" in text
    assert text.count("![") == len(list((world / "report").glob("*.png"))) == len(SCORED)
    assert text.count("the same cases resampled for both") == 2
    ours, other = (values(world / folder / "presence.json")["mean_average_precision"] for folder in ("r", "r2"))
    row = next(line for line in text.splitlines() if line.startswith("| mean average precision |") and "pp" in line)
    assert f"{100 * (other - ours):+.1f} pp" in row


def test_a_model_against_itself_differs_by_nothing(results: Path, tmp_path: Path) -> None:
    for benchmark in ("presence", "retrieval-fusionrs", "zero-shot"):
        for suffix in (".json", ".cases.npz"):
            (tmp_path / f"{benchmark}-again{suffix}").write_bytes((results / f"{benchmark}{suffix}").read_bytes())
        arguments = [str(results / f"{benchmark}.json"), str(tmp_path / f"{benchmark}-again.json")]
        main(["report", *arguments, "--output", str(tmp_path / benchmark)])
        rows = [line for line in (tmp_path / benchmark / "report.md").read_text().splitlines() if " pp" in line]
        assert rows
        assert all("| +0.0 pp | [+0.0, +0.0] |" in row for row in rows)


def test_the_confusion_matrix_is_drawn(results: Path) -> None:
    for benchmark in ("zero-shot", "zero-shot-transductive", "zero-shot-infrared"):
        with Image.open(results / f"{benchmark}.confusion.png") as picture:
            assert min(picture.size) > 300


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_a_clip_of_transformers_embeds_as_in_transformers(tmp_path: Path, family: str) -> None:
    save_clip(family, tmp_path / family)
    clip = load_clip(str(tmp_path / family))
    reference = AutoModel.from_pretrained(tmp_path / family).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / family)
    length = reference.config.text_config.max_position_embeddings
    padding = "longest" if family == "clip" else "max_length"
    tokens = tokenizer(
        ["ships in a harbor"],
        padding=padding,
        max_length=length,
        truncation=True,
        padding_side="right",
        return_tensors="pt",
    )
    wanted = reference.get_text_features(tokens["input_ids"]).pooler_output.detach().numpy()
    np.testing.assert_allclose(embed_texts(clip, ["ships in a harbor"]), wanted, atol=1e-5)


def test_an_unreadable_image_stops_the_run_with_its_path(world: Path, tmp_path: Path) -> None:
    write_captions(tmp_path)
    broken = tmp_path / "images" / "7.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    clip = load_clip(str(world / "model"))
    with pytest.raises(BadImage, match=r"images/7\.jpg: "):
        caption_bundle(clip, Data(data=tmp_path / "captions.json", images=tmp_path / "images"), 4)
    broken.unlink()
    with pytest.raises(BadImage, match=r"images/7\.jpg: .*missing"):
        caption_bundle(clip, Data(data=tmp_path / "captions.json", images=tmp_path / "images"), 4)


def test_results_are_not_replaced_unless_asked(results: Path, world: Path) -> None:
    arguments = ["run", "pair-retrieval", "--model", str(world / "model"), *data_of(world, "pair-retrieval")]
    with pytest.raises(FileExistsError, match=r"pair-retrieval\.json exists\. Choose another --output, or pass --over"):
        main([*arguments, "--output", str(results)])


def test_the_list_names_every_protocol_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    text = capsys.readouterr().out
    for protocol in PROTOCOLS:
        assert f"{protocol.name}\n  {protocol.says}\n  Source: {protocol.source}." in text


def test_folders_must_be_the_classes_of_the_set(tmp_path: Path) -> None:
    save_image(tmp_path / "Forest" / "a.png", 0)
    with pytest.raises(ValueError, match="lacks 9 of the 10 classes of eurosat, such as 'annual crop land'"):
        read_image_folder(tmp_path, "eurosat")
    assert read_image_folder(tmp_path, "folders").names == ["forest"]
    (tmp_path / "Nonsense").mkdir()
    with pytest.raises(ValueError, match="folder 'Nonsense' is no class"):
        read_image_folder(tmp_path, "eurosat")
    with pytest.raises(ValueError, match=r"Nonsense holds no images"):
        read_image_folder(tmp_path, "folders")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.jpg", "captions": []}', r"rows\.jsonl, line 2 has captions \[\]; wanted at least one"),
        ('{"image": "a.jpg"}', r"rows\.jsonl, line 2 has no 'captions' of type list"),
        ('{"image": "b.jpg", "captions": ["x"]}', "holds 1 images more than once, such as 'b.jpg'"),
        ("nonsense", r"rows\.jsonl, line 2: not JSON"),
    ],
)
def test_a_bad_line_of_captions_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"image": "b.jpg", "captions": ["x"]}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_caption_set(tmp_path / "rows.jsonl", None, "test")


def test_captions_may_hold_any_character_and_blank_lines_are_none(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    lines = [json.dumps({"image": f"{number}.jpg", "captions": [text]}, ensure_ascii=False) for number in range(2)]
    (tmp_path / "rows.jsonl").write_text("\n\n".join(lines) + "\n\n", encoding="utf-8")
    assert read_caption_set(tmp_path / "rows.jsonl", None, "test").captions == [[text], [text]]


def test_text_that_is_not_utf_8_is_told_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(
        b'{"id": "a", "text": "x"}\n\n' + '{"id": "b", "text": "é"}'.encode("latin-1")
    )
    with pytest.raises(ValueError, match=r"latin\.jsonl, line 3: not UTF-8 .* Save the file as UTF-8"):
        read_predictions(PredictionFile(path=tmp_path / "latin.jsonl"), ["a", "b"])
    (tmp_path / "latin.json").write_bytes('{"images": "é"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.json is not JSON in UTF-8"):
        read_caption_set(tmp_path / "latin.json", None, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', r"test\.json is not JSON in UTF-8 \(Expecting value: line 1"),
        (b"\xff\xfe", r"test\.json is not JSON in UTF-8 \('utf-8' codec"),
        (b"[]", r"test\.json holds a list, wanted an object in COCO's form"),
        (b'{"images": [], "annotations": [], "categories": []}', r"test\.json lists no images; wanted at least one"),
        (
            b'{"images": [{"id": 0}], "annotations": [], "categories": [{"id": 0, "name": "Boat"}]}',
            r"test\.json: category 'Boat' is no class; wanted one of person, bicycle, car, other vehicle",
        ),
    ],
)
def test_boxes_that_cannot_be_read_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "test.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_box_set(tmp_path / "test.json", tmp_path, HIT_UAV)


def write_hits(path: Path, ids: str = "abcd", model: str = "m", protocol: str = "zero-shot:rs5m") -> Path:
    """A result whose cases are single letters."""
    measured = Measured(name="top_1", group="images", parts=[share(np.arange(len(ids)) % 2)])
    Cases(groups={"images": np.array(list(ids))}, measured=[measured]).save(cases_path(path))
    model_record, dataset = {"id": model, "weights_sha256": "0" * 64}, {"id": "data", "listing_sha256": "0" * 64}
    about: dict[str, Any] = {"benchmark": "zero-shot", "protocol": protocol, "config": {}}
    write_results(path, **about, metrics=[metric_of(measured)], model=model_record, dataset=dataset)
    return path


@pytest.mark.parametrize("content", [b"", b'{"protocol": "zero-shot:rs', "é".encode("latin-1")])
def test_a_report_names_the_json_that_it_cannot_read(tmp_path: Path, content: bytes) -> None:
    write_hits(tmp_path / "results" / "good.json")
    (tmp_path / "results" / "half.json").write_bytes(content)
    for place in (tmp_path / "results", tmp_path / "results" / "half.json"):
        with pytest.raises(
            ValueError, match=r"results/half\.json is not JSON in UTF-8 \(.*\)\. Write it again, or take"
        ):
            main(["report", str(place), "--output", str(tmp_path / "report")])
    assert not (tmp_path / "report").exists()


def test_a_report_leaves_out_json_of_something_else_and_refuses_it_by_name(tmp_path: Path) -> None:
    write_hits(tmp_path / "good.json")
    (tmp_path / "list.json").write_text("[]")
    main(["report", str(tmp_path), "--output", str(tmp_path / "report")])
    assert "left out: `list.json`" in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(ValueError, match=r"list\.json is no results file: it holds a list, wanted an object"):
        main(["report", str(tmp_path / "list.json")])
    write_hits(tmp_path / "other.json", protocol="zero-shot")
    record_of_other = record(tmp_path / "other.json") | {"protocol": "guessing"}
    (tmp_path / "other.json").write_text(json.dumps(record_of_other))
    with pytest.raises(ValueError, match=r"other\.json is no results file: 'guessing' is no protocol"):
        main(["report", str(tmp_path)])


def test_a_report_names_the_cases_that_it_cannot_compare_and_draws_nothing(tmp_path: Path) -> None:
    write_hits(tmp_path / "results" / "0.json", protocol="presence")  # the first section, in which nothing is wrong
    first, second = (write_hits(tmp_path / "results" / f"{name}.json", model=name) for name in ("1", "2"))
    whole = cases_path(second).read_bytes()
    arguments = ["report", str(tmp_path / "results"), "--output", str(tmp_path / "report")]
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    others = [(tmp_path / name).read_bytes() for name in ("array.npy", "other.npz")]
    for content in (b"", b"junk", whole[:-20], whole[:400] + bytes(60) + whole[460:], *others):
        cases_path(second).write_bytes(content)
        with pytest.raises(ValueError, match=r"results/2\.cases\.npz does not read as cases of a result \("):
            main(arguments)
    write_hits(second, ids="abce")
    pair = (
        rf"{re.escape(str(cases_path(first)))} and {re.escape(str(cases_path(second)))} do not compare: top_1: the two"
    )
    with pytest.raises(ValueError, match=pair):
        main(arguments)
    assert not (tmp_path / "report").exists()
    write_hits(second, ids="dcba", model="2")
    main(arguments)
    assert len(list((tmp_path / "report").glob("*.png"))) == 2


def test_models_are_called_by_the_ends_of_their_names_that_differ() -> None:
    assert short_names(["/a/b/run/model", "/a/c/other/model", "org/clip", "mine"]) == [
        *("run/model", "other/model"),
        *("org/clip", "mine"),
    ]
    assert short_names(["/a/b/run/model", "/a/c/run/model", "/a/b/run/model"]) == [
        *("b/run/model", "c/run/model"),
        "b/run/model",
    ]
    members = [Result(path=Path(name), record={}) for name in ("x/r/a.json", "y/r/a.json", "b.json")]
    assert labels(["m", "m", "n"], members) == ["m (x/r/a)", "m (y/r/a)", "n"]


@pytest.mark.parametrize("letters", [5, 40, 90, 150])
def test_a_legend_is_whole_and_no_two_models_look_alike(monkeypatch: pytest.MonkeyPatch, letters: int) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(report_figures, "_save", lambda figure, path: drawn.append(figure))
    entry = {"top_1": {"value": 0.5, "low": 0.4, "high": 0.6}, "chance/top_1": {"value": 0.1, "low": 0.1, "high": 0.1}}
    models = [f"{number:02d}-{'remoteclip-vit-b-32-' * 8}"[:letters] for number in range(16)]
    interval_figure(Path("x.png"), "title", ["top_1"], models, [entry] * len(models))
    [figure] = drawn
    figure.draw_without_rendering()
    [legend], [axes] = figure.legends, figure.axes
    whole, box = figure.bbox, legend.get_window_extent()
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= axes.get_window_extent().y0
    assert axes.get_window_extent().height / figure.dpi > 0.13 * len(models), "the legend took the place of the bars"
    looks = {(bars.lines[0].get_color(), bars.lines[0].get_marker()) for bars in axes.containers}
    assert len(looks) == len(models)


def test_a_split_that_is_empty_is_told_the_others(tmp_path: Path) -> None:
    write_captions(tmp_path)
    with pytest.raises(ValueError, match=r"no images of split 'val'; it has test, train\."):
        read_caption_set(tmp_path / "captions.json", None, "val")


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts is 'mine', wanted one of rs5m, "):
        ProtocolOptions(prompts="mine")


def test_a_record_that_the_schema_refuses_is_not_written(tmp_path: Path) -> None:
    metric = Metric(name="x", value=0.5, low=0.4, high=0.6, n=3)
    good: dict[str, Any] = {
        "benchmark": "b",
        "protocol": "b",
        "metrics": [metric],
        "model": {"id": "m", "weights_sha256": "0"},
        "dataset": {"id": "d", "listing_sha256": "0"},
        "config": {},
    }
    written = write_results(tmp_path / "good.json", **good)
    check_record(written)
    for change, message in (
        ({"model": {"id": "m"}}, "record.model needs one of 'weights_sha256' or 'bundle_sha256'"),
        ({"dataset": {"id": "d"}}, r"record\.dataset lacks 'listing_sha256'"),
        ({"metrics": []}, "record.metrics holds 0 entries, wanted at least 1"),
        ({"metrics": [metric, metric]}, "metric 'x' more than once"),
        (
            {"metrics": [Metric(name="x", value=0.5, low=0.4, high=0.6, n=0)]},
            r"metrics\[0\]\.n is 0, wanted at least 1",
        ),
        ({"metrics": [Metric(name="x", value=float("nan"), low=0.4, high=0.6, n=3)]}, "metric 'x' is nan"),
        ({"benchmark": True}, "record.benchmark is True, wanted string"),
    ):
        with pytest.raises(ValueError, match=message):
            write_results(tmp_path / "bad.json", **{**good, **change})
    assert not (tmp_path / "bad.json").exists()


def test_images_of_a_run_keep_their_ids(results: Path) -> None:
    bundle = load_bundle(results / "zero-shot.npz")
    assert bundle.id.tolist()[:2] == ["class_0/0.png", "class_0/12.png"]
    assert set(bundle.label.tolist()) == {"class 0", "class 1", "class 2"}
    assert len(bundle.caption_key) == 6
