"""Model steps of both builds, with tiny models: what they write, what a new model makes again, and what is refused."""

import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from inline_engine import run_inline
from PIL import Image
from rs5m_inputs import (
    folder_bytes,
    journal_lines,
    manifest_of,
    png,
    sha256,
    stages_of,
    state_of,
    write_json_lines,
    write_million_aid,
    written_rows,
)
from saved_clips import save_clip
from tiny_models import save_classifier, save_diffusion, save_llava, save_unet

from dataset_scripts.__main__ import main
from dataset_scripts.build_fusionrs import FusionRSConfig, TranslatorConfig, build_fusionrs
from dataset_scripts.build_rs5m import MachineCaptionConfig, RelevanceConfig, RS5MConfig, build_rs5m
from dataset_scripts.engine import EngineConfig
from dataset_scripts.source_options import SourceOptions
from dataset_scripts.stages import caption_candidates, clip_scorer, relevance
from dataset_scripts.stages.caption_candidates import CaptionerSettings
from dataset_scripts.stages.caption_key import caption_key
from dataset_scripts.stages.clip_scorer import ClipScorerSettings
from dataset_scripts.stages.infrared_caption_filters import REASONS as FILTER_REASONS
from dataset_scripts.stages.machine_captions import MachineCaptionSettings, caption_images
from dataset_scripts.stages.quantile_filter import GRID_FRACTIONS
from dataset_scripts.stages.relevance import ClassifierSettings, RelevanceSettings, score_relevance
from dataset_scripts.stages.splits import SplitSettings
from dataset_scripts.stages.translate import TranslationInput, TranslatorSettings, folder_sha256, open_translator
from dataset_scripts.step import Step
from dataset_scripts.steps.infrared_caption_step import InfraredCaptionConfig

IMAGES = 12
LONG = "satellite view of a port " + "and of one more quay " * 30


def forget_models() -> None:
    """What the end of a worker process does."""
    clip_scorer._open_scorer.cache_clear()
    relevance._open_classifier.cache_clear()
    caption_candidates._open_captioner.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def inline_engine() -> Iterator[None]:
    def run(*arguments: Any, **options: Any) -> Any:
        forget_models()
        return run_inline(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset_scripts.step.run_tasks", run)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_clip("clip", root / "clip")
    save_clip("siglip", root / "siglip")
    save_classifier(root / "classifier")
    save_llava(root / "llava")
    save_unet(root / "unet")
    return root


def write_photos(folder: Path, count: int = IMAGES) -> Path:
    """Photos with captions, as PNG files that the build leaves as they are."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:02d}.png").write_bytes(png(number))
    captions = [LONG if number == 3 else f"an airport beside a river, number {number}" for number in range(count)]
    lines = [{"file_name": f"{number:02d}.png", "caption": text} for number, text in enumerate(captions)]
    write_json_lines(folder / "metadata.jsonl", lines)
    return folder


def settings(root: Path, source: str, **changes: Any) -> dict[str, Any]:
    return {
        "source": (source,),
        "output": root / "out",
        "rows_per_part": 5,
        "splits": SplitSettings(validation=0.1, test=0.1),
        "sources": SourceOptions(license="CC-BY-4.0"),
        "engine": EngineConfig(workers=1),
        **changes,
    }


def added(output: Path, before: int) -> dict[str, int]:
    """Shards made since the journal had so many lines, by step."""
    return dict(Counter(journal_lines(output)[before:]))


# Relevance.


def relevance_config(models: Path) -> RelevanceConfig:
    return RelevanceConfig(
        clip=str(models / "clip"),
        classifier=str(models / "classifier"),
        positive_label="remote sensing",
        keep_relevance=0.75,
        keep_classifier=0.5,
        device="cpu",
    )


def test_scores_are_kept_quantiles_decide_and_the_grid_counts_survivors(tmp_path: Path, models: Path) -> None:
    folder = write_photos(tmp_path / "photos")
    config = RS5MConfig(**settings(tmp_path, f"folder:{folder}", relevance=relevance_config(models)))
    build_rs5m(config)
    images = [Image.open(io.BytesIO(png(number))) for number in range(IMAGES)]
    scores = score_relevance(
        images,
        RelevanceSettings(
            clip=ClipScorerSettings(model=str(models / "clip"), device="cpu"),
            classifier=ClassifierSettings(
                model=str(models / "classifier"), device="cpu", positive_label="remote sensing"
            ),
        ),
    )
    assert scores.classifier is not None
    first, second = sorted(scores.relevance)[-9], sorted(scores.classifier)[-6]
    passing = {n for n in range(IMAGES) if scores.relevance[n] >= first and scores.classifier[n] >= second}
    assert 0 < len(passing) < 6
    rows = {row["id"]: row for row in written_rows(config.output)}
    assert set(rows) == {f"image_folder:{number:02d}.png" for number in passing}
    for number in passing:
        row = rows[f"image_folder:{number:02d}.png"]
        assert row["relevance_score"] == pytest.approx(scores.relevance[number], abs=1e-5)
        assert row["classifier_score"] == pytest.approx(scores.classifier[number], abs=1e-5)
    low = sum(score < first for score in scores.relevance)
    assert stages_of(config.output)["relevance"] == (
        IMAGES,
        len(passing),
        {"low_relevance": low, "low_classifier_score": IMAGES - low - len(passing)},
    )
    notes = manifest_of(config.output)["notes"]
    assert notes["relevance_threshold"] == pytest.approx(first, abs=1e-5)
    assert notes["classifier_threshold"] == pytest.approx(second, abs=1e-5)
    best, likely = sorted(scores.relevance)[::-1], sorted(scores.classifier)[::-1]
    places = [math.ceil(Fraction(str(fraction)) * IMAGES) - 1 for fraction in GRID_FRACTIONS]
    both = list(zip(scores.relevance, scores.classifier, strict=True))
    grid = [[sum(a >= best[row] and b >= likely[column] for a, b in both) for column in places] for row in places]
    assert notes["survivor_grid"] == grid
    assert notes["weights_sha256"]["relevance_scores"] == [
        folder_sha256(models / name) for name in ("clip", "classifier")
    ]


def test_other_weights_of_the_classifier_make_again_what_depends_on_them_and_nothing_else(
    tmp_path: Path, models: Path
) -> None:
    own = tmp_path / "models"
    save_clip("clip", own / "clip")
    save_classifier(own / "classifier")
    folder = write_photos(tmp_path / "photos")
    config = RS5MConfig(**settings(tmp_path, f"folder:{folder}", relevance=relevance_config(own)))
    build_rs5m(config)
    lines = len(journal_lines(config.output))
    before = state_of(config.output, config.work_folder)
    build_rs5m(config)
    assert state_of(config.output, config.work_folder) == before
    scores = {row["id"]: row["classifier_score"] for row in written_rows(config.output)}
    save_classifier(own / "classifier", seed=2)
    build_rs5m(config)
    again = added(config.output, lines)
    assert set(again) == {"relevance_scores", "captions", "write"}
    assert again["relevance_scores"] == sum(line == "read" for line in journal_lines(config.output))
    rows = {row["id"]: row["classifier_score"] for row in written_rows(config.output)}
    assert rows
    assert all(rows[name] != scores[name] for name in set(rows) & set(scores))
    # A note beside the weights is no model.
    (own / "classifier" / "README.md").write_text("a card")
    lines = len(journal_lines(config.output))
    build_rs5m(config)
    assert added(config.output, lines) == {}


# Machine captions.


def machine_config(models: Path, **changes: Any) -> MachineCaptionConfig:
    values = {
        "captioner": str(models / "llava"),
        "first_scorer": str(models / "clip"),
        "second_scorer": str(models / "siglip"),
        "candidates": 4,
        "device": "cpu",
        **changes,
    }
    return MachineCaptionConfig(**values)


def test_label_only_images_are_captioned_and_the_chosen_caption_is_trained_on(tmp_path: Path, models: Path) -> None:
    write_million_aid(tmp_path / "million", 7)
    machine = machine_config(models)
    config = RS5MConfig(**settings(tmp_path, f"millionaid:{tmp_path / 'million'}", machine_captions=machine))
    build_rs5m(config)
    rows = {row["id"]: row for row in written_rows(config.output)}
    ids = [f"million_aid:P{number:07d}.jpg" for number in range(7)]
    assert sorted(rows) == ids
    forget_models()
    common = {"device": "cpu"}
    wanted = MachineCaptionSettings(
        captioner=CaptionerSettings(model=str(models / "llava"), candidates=4, **common),
        first_scorer=ClipScorerSettings(model=str(models / "clip"), **common),
        second_scorer=ClipScorerSettings(model=str(models / "siglip"), **common),
    )
    images = [Image.open(io.BytesIO(rows[row_id]["image"]["bytes"])).convert("RGB") for row_id in ids]
    captioned, rejects = caption_images(images, ids, wanted)
    assert not rejects
    for made in captioned:
        row = rows[ids[made.row]]
        kinds = [caption["kind"] for caption in row["captions"]]
        assert (kinds.count("rotation_invariant"), set(kinds) - {"machine"}) == (1, {"rotation_invariant"})
        assert [caption["text"] for caption in row["captions"]] == [caption.text for caption in made.captions]
        assert [caption["score"] for caption in row["captions"]] == pytest.approx(
            [caption.similarity for caption in made.captions], abs=1e-5
        )
        assert row["caption"] == made.captions[made.chosen].text
        assert row["caption_key"] == caption_key(row["caption"])
        assert (row["subset"], row["latitude"]) == ("rs3", None)
    weights = manifest_of(config.output)["notes"]["weights_sha256"]["captions"]
    assert weights == [folder_sha256(models / name) for name in ("llava", "clip", "siglip")]


def test_a_new_captioner_leaves_the_rows_that_were_read(tmp_path: Path, models: Path) -> None:
    own = tmp_path / "models"
    save_llava(own / "llava")
    save_clip("clip", own / "clip")
    write_million_aid(tmp_path / "million", 4)
    machine = machine_config(own, second_scorer=None)
    config = RS5MConfig(**settings(tmp_path, f"millionaid:{tmp_path / 'million'}", machine_captions=machine))
    build_rs5m(config)
    captions = {row["id"]: row["caption"] for row in written_rows(config.output)}
    lines = len(journal_lines(config.output))
    save_llava(own / "llava", seed=5)
    build_rs5m(config)
    assert set(added(config.output, lines)) == {"captions", "write"}
    again = {row["id"]: row["caption"] for row in written_rows(config.output)}
    assert set(again) == set(captions)
    assert all(again[row_id] != captions[row_id] for row_id in captions)


# Infrared.


def test_the_unet_translates_and_every_row_says_which_one(tmp_path: Path, models: Path) -> None:
    own = tmp_path / "unet"
    save_unet(own)
    folder = write_photos(tmp_path / "photos")
    translator = TranslatorConfig(name="unet", checkpoint=str(own), trust_remote_code=True)
    config = FusionRSConfig(**settings(tmp_path, f"folder:{folder}", translator=translator))
    build_fusionrs(config)
    rows = written_rows(config.output)
    assert len(rows) == IMAGES
    origin = f"translated:unet@{folder_sha256(own)}"
    direct = open_translator(TranslatorSettings(name="unet", checkpoint=str(own), trust_remote_code=True))
    for row in rows:
        assert (row["infrared_origin"], row["infrared_band"]) == (origin, "thermal")
        with Image.open(io.BytesIO(row["rgb"]["bytes"])) as rgb:
            [made], _ = direct.translate([TranslationInput(row["id"], rgb.convert("RGB"))])
        with Image.open(io.BytesIO(row["infrared"]["bytes"])) as infrared:
            assert np.array_equal(np.asarray(infrared), np.asarray(made.infrared))
        assert row["infrared_sha256"] == sha256(row["infrared"]["bytes"])
    lines = len(journal_lines(config.output))
    save_unet(own, seed=9)
    build_fusionrs(config)
    # Captions of infrared images are written from their pixels.
    assert set(added(config.output, lines)) == {"infrared", "infrared_captions", "write"}
    assert {row["infrared_origin"] for row in written_rows(config.output)} == {f"translated:unet@{folder_sha256(own)}"}
    assert folder_sha256(own) not in origin


# The scheduler of diffusers turns a tensor into an array as NumPy 2 no longer likes it.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_a_diffusion_model_translates_too(tmp_path: Path) -> None:
    save_diffusion(tmp_path / "diffv2ir")
    folder = write_photos(tmp_path / "photos", 3)
    translator = TranslatorConfig(
        name="diffv2ir", checkpoint=str(tmp_path / "diffv2ir"), segmentation="absent", steps=1
    )
    config = FusionRSConfig(**settings(tmp_path, f"folder:{folder}", translator=translator))
    build_fusionrs(config)
    rows = written_rows(config.output)
    origin = f"translated:diffv2ir@{folder_sha256(tmp_path / 'diffv2ir')}"
    assert [row["infrared_origin"] for row in rows] == [origin] * 3
    for row in rows:
        with Image.open(io.BytesIO(row["infrared"]["bytes"])) as infrared:
            assert (infrared.mode, infrared.size) == ("L", (48, 40))


def test_captions_of_a_model_that_babbles_are_refused_and_kept_aside(tmp_path: Path, models: Path) -> None:
    folder = write_photos(tmp_path / "photos", 6)
    captions = InfraredCaptionConfig(writer="model", model=str(models / "llava"), temperature=1.0, max_new_tokens=60)
    translator = TranslatorConfig(name="luminance")
    config = FusionRSConfig(**settings(tmp_path, f"folder:{folder}", translator=translator, infrared_captions=captions))
    build_fusionrs(config)
    rows = written_rows(config.output)
    assert [row["infrared_captions"] for row in rows] == [[]] * 6
    assert {row["infrared_origin"] for row in rows} == {"luminance"}
    staged = [
        row
        for path in sorted((config.work_folder / "infrared_captions").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert len(staged) == 6
    assert len({row["rejected_caption"] for row in staged}) > 3
    reasons = Counter(row["rejected_reason"] for row in staged)
    assert set(reasons) <= set(FILTER_REASONS)
    rows_in, rows_out, rejected = stages_of(config.output)["infrared_captions"]
    assert (rows_in, rows_out, rejected) == (6, 0, dict(sorted(reasons.items())))
    weights = manifest_of(config.output)["notes"]["weights_sha256"]
    assert weights == {"infrared_captions": folder_sha256(models / "llava")}


# What cannot work.

BABBLER = ["fusionrs", "--infrared-captions.writer", "model", "--infrared-captions.model", "full"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rs5m", "--relevance.clip", "gone/clip"], "--relevance.clip 'gone/clip' is no folder"),
        (
            ["rs5m", "--machine-captions.captioner", "gone/blip", "--machine-captions.first-scorer", "gone/clip"],
            "--machine-captions.captioner 'gone/blip' is no folder",
        ),
        (
            ["fusionrs", "--translator.name", "unet", "--translator.checkpoint", "gone/unet"],
            "--translator.checkpoint 'gone/unet' is no folder",
        ),
        (
            ["fusionrs", "--infrared-captions.writer", "model", "--infrared-captions.model", "gone/llava"],
            "--infrared-captions.model 'gone/llava' is no folder",
        ),
        (["rs5m", "--relevance.clip", "empty"], "--relevance.clip 'empty' is an empty folder"),
        (
            [*BABBLER, "--infrared-captions.temperature", "9"],
            "temperature is 9.0; wanted 0",
        ),
    ],
)
def test_a_model_that_is_not_there_is_named_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text("{}")
    dataset, *options = arguments
    with pytest.raises(SystemExit, match=message) as caught:
        main(["build", dataset, "--source", "simulator", "--output", "out", *options])
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.work").exists()


def test_a_tokenizer_that_is_not_there_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer 'gone' is no folder; give that of a saved tokenizer"):
        RS5MConfig(source=("simulator",), output=tmp_path / "out", tokenizer=Path("gone"))


def test_a_model_without_its_label_stops_the_build_in_a_sentence(tmp_path: Path, models: Path) -> None:
    folder = write_photos(tmp_path / "photos", 3)
    options = ["--relevance.clip", str(models / "clip"), "--relevance.classifier", str(models / "classifier")]
    options += ["--relevance.positive-label", "sea", "--output", str(tmp_path / "out"), "--workers", "1"]
    with pytest.raises(SystemExit) as caught:
        main(["build", "rs5m", "--source", f"folder:{folder}", *options])
    assert str(caught.value) == (
        f"{models / 'classifier'} has 0 labels named 'sea'; its labels are 'other', 'remote sensing'."
    )


# The limit of tokens.


def test_captions_that_a_text_tower_would_cut_are_warned_of_and_noted(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_photos(tmp_path / "photos")
    config = RS5MConfig(**settings(tmp_path, f"folder:{folder}"))
    build_rs5m(config)
    note = manifest_of(config.output)["notes"]["token_limit"]
    [summary] = note["captions"]
    assert note["rows"] == IMAGES
    assert summary["rows"] == IMAGES
    assert summary["kind"] == written_rows(config.output)[0]["captions"][0]["kind"]
    assert (summary["wholly_lost"], summary["partly_lost"]) == (0.0, pytest.approx(1 / IMAGES))
    assert (summary["limit"], summary["median_start_token"], summary["is_estimate"]) == (77, 1.0, True)
    warning = f"{summary['kind']}: 0.0% of 12 lie wholly and 8.3% partly beyond 77 tokens"
    assert warning in capsys.readouterr().err
    # A tokenizer changes the judgement and none of the shards.
    shards = {name: data for name, data in folder_bytes(config.output).items() if name.endswith(".parquet")}
    build_rs5m(RS5MConfig(**settings(tmp_path, f"folder:{folder}", tokenizer=models / "clip")))
    [judged] = manifest_of(config.output)["notes"]["token_limit"]["captions"]
    assert not judged["is_estimate"]
    assert "(an estimate" not in capsys.readouterr().err
    assert {name: data for name, data in folder_bytes(config.output).items() if name.endswith(".parquet")} == shards


def test_both_captions_of_a_pair_are_judged_and_short_ones_are_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = FusionRSConfig(**settings(tmp_path, "simulator", num_scenes=12, sources=SourceOptions(scene_size=16)))
    build_fusionrs(config)
    note = manifest_of(config.output)["notes"]["token_limit"]
    assert [(one["kind"], one["rows"]) for one in note["captions"]] == [("captions", 12), ("infrared_captions", 12)]
    cut = any(one["wholly_lost"] or one["partly_lost"] for one in note["captions"])
    assert ("warning: captions are cut off" in capsys.readouterr().err) == cut


def test_a_large_build_is_judged_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataset_scripts.caption_lint.SAMPLE_ROWS", 5)
    config = FusionRSConfig(**settings(tmp_path, "simulator", num_scenes=12, sources=SourceOptions(scene_size=16)))
    build_fusionrs(config)
    note = manifest_of(config.output)["notes"]["token_limit"]
    assert (note["rows"], [one["rows"] for one in note["captions"]]) == (5, [5, 5])


def test_model_steps_hold_the_gpus_of_the_configuration_and_others_none(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, bool] = {}

    def run(work: Step, tasks: Any, config: EngineConfig, *, on_gpu: bool = False) -> Any:
        held[work.name] = on_gpu
        return run_inline(work, tasks, config)

    monkeypatch.setattr("dataset_scripts.step.run_tasks", run)
    write_million_aid(tmp_path / "million", 2)
    build_rs5m(
        RS5MConfig(
            **settings(
                tmp_path,
                f"millionaid:{tmp_path / 'million'}",
                relevance=relevance_config(models),
                machine_captions=machine_config(models, second_scorer=None, candidates=1),
            )
        )
    )
    assert held == {"read": False, "relevance_scores": True, "captions": True, "write": False}


@pytest.mark.slow
def test_one_worker_process_and_two_write_the_same_bytes(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also: the code in the folder of a translator runs in a process that has never seen this project's models."""
    from dataset_scripts.engine import run_tasks

    monkeypatch.setattr("dataset_scripts.step.run_tasks", run_tasks)
    # Somebody may be working on the code while this runs.
    monkeypatch.setattr("dataset_scripts.build_output.code_revision", lambda: "0" * 40)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    photos = write_photos(tmp_path / "photos")
    write_million_aid(tmp_path / "million", 6)
    results: dict[str, list[dict[str, bytes]]] = {"fusionrs": [], "rs5m": []}
    for workers in (1, 2):
        fusionrs = ["--translator.name", "unet", "--translator.checkpoint", str(models / "unet")]
        fusionrs += ["--translator.trust-remote-code", "--infrared-captions.writer", "model"]
        fusionrs += ["--infrared-captions.model", str(models / "llava"), "--infrared-captions.max-new-tokens", "40"]
        rs5m = ["--relevance.clip", str(models / "clip"), "--machine-captions.captioner", str(models / "llava")]
        rs5m += ["--machine-captions.first-scorer", str(models / "clip"), "--machine-captions.candidates", "2"]
        sources = {"fusionrs": [f"folder:{photos}"], "rs5m": [f"folder:{photos}", f"millionaid:{tmp_path / 'million'}"]}
        for dataset, options in {"fusionrs": fusionrs, "rs5m": rs5m}.items():
            output = tmp_path / str(workers) / dataset
            common = ["--output", str(output), "--workers", str(workers), "--rows-per-part", "4"]
            main(["build", dataset, "--source", *sources[dataset], *common, *options])
            results[dataset].append(folder_bytes(output))
    for first, second in results.values():
        assert len(first) > 4
        assert first == second
    manifest = json.loads(results["fusionrs"][0]["manifest.json"])
    assert manifest["notes"]["weights_sha256"]["infrared"] == folder_sha256(models / "unet")
