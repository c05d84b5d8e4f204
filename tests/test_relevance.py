"""How images are scored against remote sensing, with real loading of tiny models, and which pass the quantiles."""

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SIGLIP_TEXT, TEXT, VISION
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer
from saved_clips import SIZE, save_clip, spread
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from dataset_scripts.stages.clip_scorer import (
    ClipScorer,
    ClipScorerSettings,
    NonFiniteScoreError,
    projected_features,
    unit_rows,
)
from dataset_scripts.stages.model_loading import ModelSettings, as_rgb, pick_device
from dataset_scripts.stages.quantile_filter import (
    GRID_FRACTIONS,
    REASONS,
    QuantileSettings,
    filter_by_quantiles,
    quantile_threshold,
    survivor_grid,
)
from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.relevance import (
    ClassifierSettings,
    ImageClassifier,
    RelevanceSettings,
    score_relevance,
)
from dataset_scripts.stages.relevance_prompts import RELEVANCE_PROMPTS
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

REPOSITORY = Path(__file__).parents[1]
SIDES = [(48, 64), (32, 32), (90, 33), (17, 120), (64, 64), (40, 40), (33, 34)]
FAMILIES = ["clip", "siglip", "siglip2", "rsclip"]


def pictures() -> list[Image.Image]:
    return [Image.fromarray(make_scene(*side, seed=seed)) for seed, side in enumerate(SIDES)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folders of tiny CLIPs, by family."""
    root = tmp_path_factory.mktemp("clips")

    def folder(family: str) -> str:
        if not (root / family).exists():
            save_clip(family, root / family)
        return str(root / family)

    return folder


def naive_scores(family: str, folder: str) -> list[float]:
    """The score of each picture, written out with the model itself, one row at a time."""
    classes: dict[str, tuple[Any, Any]] = {
        "clip": (CLIPModel, CLIPProcessor),
        "siglip": (SiglipModel, SiglipProcessor),
        "siglip2": (Siglip2Model, Siglip2Processor),
        "rsclip": (RSCLIPModel, RSCLIPProcessor),
    }
    model, processor = (kind.from_pretrained(folder) for kind in classes[family])
    length = 24 if "siglip" in family else 40
    # As in the published training of SigLIP; the tokenizer class of SigLIP 2 pads on the left if it is not told.
    padding = {"padding": "max_length", "padding_side": "right"} if "siglip" in family else {}
    scores = []
    with torch.no_grad():
        texts = []
        for prompt in RELEVANCE_PROMPTS:
            tokens = processor.tokenizer(prompt, truncation=True, max_length=length, return_tensors="pt", **padding)
            texts.append(model.get_text_features(input_ids=tokens["input_ids"]).pooler_output[0])
        mean = torch.stack(texts).mean(dim=0)
        for picture in pictures():
            prepare = processor.image_processor if family == "siglip2" else processor
            pixels = prepare(images=picture, return_tensors="pt")
            image = model.get_image_features(**pixels).pooler_output[0]
            scores.append(float(torch.nn.functional.cosine_similarity(image, mean, dim=0)))
    return scores


def test_the_prompts_are_eleven_patterns_of_three_nouns() -> None:
    assert len(RELEVANCE_PROMPTS) == len(set(RELEVANCE_PROMPTS)) == 33
    assert RELEVANCE_PROMPTS[:2] == ("a remote sensing image", "a low resolution remote sensing image")
    assert RELEVANCE_PROMPTS[11] == "an aerial image"
    assert RELEVANCE_PROMPTS[19] == "a jpeg corrupted aerial image"
    assert RELEVANCE_PROMPTS[-1] == "a good satellite image"


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_a_loop_over_the_model_itself_whatever_the_batch(
    family: str, folders: Callable[[str], str]
) -> None:
    wanted = naive_scores(family, folders(family))
    assert max(wanted) - min(wanted) > 1e-3  # the pictures can be told apart
    for batch_size in (1, 3, 64):
        scorer = ClipScorer.open(ClipScorerSettings(model=folders(family), batch_size=batch_size))
        scores = scorer.score_images(pictures())
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, wanted, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_embedding_of_a_text_does_not_depend_on_its_neighbours(family: str, folders: Callable[[str], str]) -> None:
    scorer = ClipScorer.open(ClipScorerSettings(model=folders(family)))
    texts = ["sea", "a photo of an airport seen from above", "ships", "an infrared image " * 20]
    together = scorer.embed_texts(texts)
    alone = np.concatenate([scorer.embed_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-3


def test_the_mean_is_of_features_as_the_model_gives_them(folders: Callable[[str], str]) -> None:
    prompts = ("a photo of an airport", "ships", "an infrared image of ships in a harbor")
    scorer = ClipScorer.open(ClipScorerSettings(model=folders("clip"), prompts=prompts))
    features = scorer.embed_texts(prompts).astype(np.float64)
    plain, of_units = features.mean(axis=0), unit_rows(features, "text").mean(axis=0)
    np.testing.assert_allclose(scorer.prompt_direction, plain / np.linalg.norm(plain), atol=1e-6)
    assert np.abs(scorer.prompt_direction - of_units / np.linalg.norm(of_units)).max() > 1e-5


def test_settings_travel_to_a_worker_and_open_one_model_there(folders: Callable[[str], str]) -> None:
    settings = ClipScorerSettings(model=folders("clip"), batch_size=2)
    sent = pickle.loads(pickle.dumps(settings))
    assert sent == settings
    assert ClipScorer.open(sent) is ClipScorer.open(settings)
    assert ClipScorer.open(settings) is not ClipScorer.open(ClipScorerSettings(model=folders("clip"), batch_size=5))


def test_no_images_give_no_scores(folders: Callable[[str], str]) -> None:
    scorer = ClipScorer.open(ClipScorerSettings(model=folders("clip")))
    assert scorer.score_images([]).shape == (0,)
    assert scorer.embed_images([]).shape == (0, 16)
    assert scorer.resolved_revision is None


def test_grey_palette_and_transparent_images_count_as_their_rgb(folders: Callable[[str], str]) -> None:
    scorer = ClipScorer.open(ClipScorerSettings(model=folders("clip")))
    picture = pictures()[0]
    grey = picture.convert("L")
    palette = picture.quantize(16)
    wanted = scorer.score_images([grey.convert("RGB"), palette.convert("RGB"), picture])
    clear = picture.copy()
    clear.putalpha(7)
    np.testing.assert_array_equal(scorer.score_images([grey, palette, clear]), wanted)
    table = palette.copy()
    table.info["transparency"] = bytes(16)
    assert as_rgb(table, 0).tobytes() == palette.convert("RGB").tobytes()


def test_an_image_of_16_bits_is_refused_by_its_row(folders: Callable[[str], str]) -> None:
    scorer = ClipScorer.open(ClipScorerSettings(model=folders("clip"), batch_size=1))
    deep = Image.fromarray(np.full((32, 32), 3000, dtype=np.uint16))
    with pytest.raises(
        ValueError, match=r"^image 1 of the batch has mode I;16; wanted 8 bits, as 1, L, LA, P, PA, RGB, "
    ):
        scorer.score_images([pictures()[0], deep])


def test_a_score_that_is_not_finite_names_its_row(
    folders: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = ClipScorer(ClipScorerSettings(model=folders("clip"), batch_size=2))
    monkeypatch.setattr(scorer, "embed_images", lambda images: np.array([[1.0, 2.0] * 8, [np.nan] * 16, [0.0] * 16]))
    with pytest.raises(NonFiniteScoreError, match=r"^image 1 of the batch has an embedding of length nan") as caught:
        scorer.score_images(pictures()[:3])
    assert caught.value.row == 1
    with pytest.raises(NonFiniteScoreError, match=r"^text 0 of row 7 has an embedding of length 0\.0") as caught:
        unit_rows(np.zeros((1, 3)), "text", of_row=7)
    assert caught.value.row == 7


def test_features_come_as_a_tensor_or_as_a_pooled_output() -> None:
    features = torch.arange(6.0).reshape(2, 3)
    output = type("Output", (), {"pooler_output": features})()
    assert projected_features(features, "f") is features
    assert projected_features(output, "f") is features
    with pytest.raises(TypeError, match=r"^f gives \(2, 3, 1\); wanted one vector per row"):
        projected_features(features[..., None], "f")
    with pytest.raises(TypeError, match=r"^f gives tuple; wanted one vector per row"):
        projected_features((features,), "f")


def test_a_model_without_a_text_tower_is_refused(tmp_path: Path) -> None:
    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    wanted = r"\(CLIPVisionModel\) does not embed both images and texts; give a CLIP with both towers\.$"
    with pytest.raises(ValueError, match=wanted):
        ClipScorer.open(ClipScorerSettings(model=str(tmp_path)))


def test_a_folder_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has 2 tokens and cannot tell 'sea' from 'fog'"):
        ClipScorer.open(ClipScorerSettings(model=str(tmp_path)))


def test_a_folder_without_an_image_processor_is_refused(tmp_path: Path) -> None:
    SiglipModel(SiglipConfig(text_config=SIGLIP_TEXT, vision_config=VISION)).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises((ValueError, OSError), match="image"):
        ClipScorer.open(ClipScorerSettings(model=str(tmp_path)))


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    ViTModel(ViTConfig(**vit_fields()), add_pooling_layer=False).save_pretrained(tmp_path)
    ViTImageProcessor(size=SIZE).save_pretrained(tmp_path)
    wanted = r"lacks 2 weights of ViTForImageClassification \(classifier\.bias, classifier\.weight, \.\.\.\)"
    with pytest.raises(ValueError, match=wanted):
        ImageClassifier.open(ClassifierSettings(model=str(tmp_path), positive_label="LABEL_1"))


def vit_fields(**fields: Any) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    return {**{name: VISION[name] for name in names}, **fields}


def save_classifier(folder: Path, labels: list[str], **fields: Any) -> ViTForImageClassification:
    torch.manual_seed(1)
    id2label = dict(enumerate(labels))
    config = ViTConfig(
        **vit_fields(id2label=id2label, label2id={label: index for index, label in id2label.items()}, **fields)
    )
    model = spread(ViTForImageClassification(config))
    model.save_pretrained(folder)
    ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("labels", "problem"),
    [(["other", "remote sensing"], None), (["remote sensing"], None), (["a", "remote sensing", "b"], "multi_label")],
)
def test_the_classifier_gives_the_probability_of_its_positive_label(
    labels: list[str], problem: str | None, tmp_path: Path
) -> None:
    fields = {"problem_type": "multi_label_classification"} if problem else {}
    model = save_classifier(tmp_path, labels, **fields)
    processor = ViTImageProcessor.from_pretrained(tmp_path)
    wanted = []
    for picture in pictures():
        with torch.no_grad():
            logits = model(**processor(images=picture, return_tensors="pt")).logits[0].tolist()
        place = labels.index("remote sensing")
        if len(labels) == 2:
            wanted.append(math.exp(logits[place]) / sum(map(math.exp, logits)))
        else:
            wanted.append(1 / (1 + math.exp(-logits[place])))
    for batch_size in (1, 4):
        settings = ClassifierSettings(model=str(tmp_path), positive_label="remote sensing", batch_size=batch_size)
        np.testing.assert_allclose(ImageClassifier.open(settings).score_images(pictures()), wanted, atol=1e-5)
    assert ImageClassifier.open(settings).score_images([]).shape == (0,)


def test_an_unknown_label_is_answered_with_the_labels_there_are(tmp_path: Path) -> None:
    save_classifier(tmp_path, ["other", "remote sensing"])
    wanted = r"has 0 labels named 'Remote Sensing'; its labels are 'other', 'remote sensing'\.$"
    with pytest.raises(ValueError, match=wanted):
        ImageClassifier.open(ClassifierSettings(model=str(tmp_path), positive_label="Remote Sensing"))


def test_a_regression_is_not_taken_for_a_probability(tmp_path: Path) -> None:
    save_classifier(tmp_path, ["remote sensing"], problem_type="regression")
    with pytest.raises(ValueError, match="is a regression, which gives no probability"):
        ImageClassifier.open(ClassifierSettings(model=str(tmp_path), positive_label="remote sensing"))


def test_the_stage_gives_both_scores_of_a_batch(folders: Callable[[str], str], tmp_path: Path) -> None:
    save_classifier(tmp_path, ["other", "remote sensing"])
    clip = ClipScorerSettings(model=folders("clip"))
    classifier = ClassifierSettings(model=str(tmp_path), positive_label="remote sensing")
    scores = score_relevance(pictures(), RelevanceSettings(clip=clip, classifier=classifier))
    np.testing.assert_array_equal(scores.relevance, ClipScorer.open(clip).score_images(pictures()))
    assert scores.classifier is not None
    np.testing.assert_array_equal(scores.classifier, ImageClassifier.open(classifier).score_images(pictures()))
    assert score_relevance(pictures(), RelevanceSettings(clip=clip)).classifier is None


WORKER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from PIL import Image
from dataset_scripts.stages.clip_scorer import ClipScorer, ClipScorerSettings
assert not {"torch", "transformers"} & set(sys.modules)
found = {}
try:
    ClipScorer.open(ClipScorerSettings(model=sys.argv[2]))
except ValueError as error:
    found["refused"] = str(error)
scorer = ClipScorer.open(ClipScorerSettings(model=sys.argv[2], trust_remote_code=True))
found["class"] = type(scorer._model).__module__
found["scores"] = scorer.score_images([Image.open(path) for path in sys.argv[3:]]).tolist()
print(json.dumps(found))
"""


def test_our_own_model_is_scored_by_its_remote_code_only_where_that_is_trusted(
    folders: Callable[[str], str], tmp_path: Path
) -> None:
    paths = [str(tmp_path / f"{row}.png") for row in range(len(SIDES))]
    for picture, path in zip(pictures(), paths, strict=True):
        picture.save(path)
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", WORKER, str(REPOSITORY), folders("rsclip"), *paths],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "contains custom code which must be executed" in found["refused"]
    assert "trust_remote_code=True" in found["refused"]
    assert found["class"].startswith("transformers_modules.")
    np.testing.assert_allclose(found["scores"], naive_scores("rsclip", folders("rsclip")), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model is empty"),
        ({"dtype": "float64"}, "dtype is 'float64'; it must be one of float32, bfloat16, float16."),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1."),
        ({"prompts": ()}, "give at least one, none of them empty"),
        ({"prompts": ("a", " ")}, "give at least one, none of them empty"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipScorerSettings(**{"model": "m", **fields})


def test_a_device_that_is_named_is_the_one_taken() -> None:
    assert pick_device("cuda:3") == "cuda:3"
    assert (pick_device("auto") == "cpu") == (not torch.accelerator.is_available())
    assert ModelSettings(model="m").device == "auto"


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_gives_about_the_scores_of_float32(family: str, folders: Callable[[str], str]) -> None:
    exact = ClipScorer.open(ClipScorerSettings(model=folders(family))).score_images(pictures())
    coarse = ClipScorer(ClipScorerSettings(model=folders(family), dtype="bfloat16")).score_images(pictures())
    difference = np.abs(coarse - exact).max()
    assert 1e-7 < difference < 0.05


def naive_threshold(scores: list[float], percent: int) -> float:
    k = -(-percent * len(scores) // 100)
    return sorted(scores, reverse=True)[k - 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_split_equals_a_sort_also_with_ties(seed: int) -> None:
    generator = np.random.default_rng(seed)
    relevance = generator.integers(0, 60, 203).astype(np.float32) / 10
    classifier = generator.integers(0, 15, 203).astype(np.float32) / 10
    split = filter_by_quantiles(relevance, classifier)
    first, second = naive_threshold(relevance.tolist(), 90), naive_threshold(classifier.tolist(), 80)
    assert (split.relevance_threshold, split.classifier_threshold) == (first, second)
    wanted = [row for row in range(203) if relevance[row] >= first and classifier[row] >= second]
    assert split.kept.tolist() == wanted
    assert [reject.row for reject in split.rejects] == [row for row in range(203) if row not in wanted]
    for reject in split.rejects:
        assert reject.reason == ("low_relevance" if relevance[reject.row] < first else "low_classifier_score")
    assert {reject.reason for reject in split.rejects} == set(REASONS)


def test_a_small_split_by_hand() -> None:
    split = filter_by_quantiles(
        [0.5, 0.1, 0.3, 0.3], [0.9, 0.1, 0.2, 0.9], QuantileSettings(keep_relevance=0.5, keep_classifier=0.5)
    )
    assert split.kept.tolist() == [0, 3]
    assert split.rejects == [
        Reject(1, "low_relevance", "0.1 is below 0.3"),
        Reject(2, "low_classifier_score", "0.2 is below 0.9"),
    ]
    alone = filter_by_quantiles([0.5, 0.1, 0.3, 0.3], None, QuantileSettings(keep_relevance=0.5))
    assert (alone.kept.tolist(), alone.classifier_threshold) == ([0, 2, 3], None)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 100, 1000])
@pytest.mark.parametrize("percent", [1, 7, 10, 29, 55, 57, 58, 80, 90, 99, 100])
def test_exactly_the_ceiling_of_the_part_passes_where_no_scores_are_equal(size: int, percent: int) -> None:
    scores = np.random.default_rng(size).permutation(size)
    assert np.count_nonzero(scores >= quantile_threshold(scores, percent / 100)) == -(-percent * size // 100)


def test_the_split_does_not_depend_on_the_order_of_the_rows() -> None:
    generator = np.random.default_rng(0)
    relevance, classifier = generator.integers(0, 9, (2, 100))
    order = generator.permutation(100)
    straight = set(filter_by_quantiles(relevance, classifier).kept.tolist())
    shuffled = {int(order[row]) for row in filter_by_quantiles(relevance[order], classifier[order]).kept}
    assert straight == shuffled


def test_equal_scores_all_pass_and_no_rows_are_no_rows() -> None:
    assert filter_by_quantiles([1.0] * 5, [0.2] * 5).kept.tolist() == [0, 1, 2, 3, 4]
    empty = filter_by_quantiles([], [])
    assert (empty.kept.tolist(), empty.rejects, empty.relevance_threshold) == ([], [], math.inf)


def test_scores_that_are_missing_or_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^relevance of row 1 is nan; every row needs a finite score\.$"):
        filter_by_quantiles([0.1, math.nan, math.inf])
    with pytest.raises(ValueError, match=r"^2 rows have a relevance, but 1 a classifier score\.$"):
        filter_by_quantiles([0.1, 0.2], [0.3])
    with pytest.raises(ValueError, match=r"^relevance has shape \(1, 2\)"):
        filter_by_quantiles([[0.1, 0.2]])
    for fraction in (0, -0.1, 1.01, math.nan):
        with pytest.raises(ValueError, match="must be more than 0 and at most 1"):
            QuantileSettings(keep_relevance=fraction)


def test_the_grid_counts_the_survivors_of_every_pair() -> None:
    generator = np.random.default_rng(3)
    relevance, classifier = generator.integers(0, 40, (2, 300)) / 40
    grid = survivor_grid(relevance, classifier)
    assert grid.shape == (9, 9)
    assert grid[0, 0] == 300
    for row, first in enumerate(GRID_FRACTIONS):
        for column, second in enumerate(GRID_FRACTIONS):
            settings = QuantileSettings(keep_relevance=first, keep_classifier=second)
            assert grid[row, column] == len(filter_by_quantiles(relevance, classifier, settings).kept)
    # Scores that agree: the smaller part decides.
    ranks = np.arange(100)
    np.testing.assert_array_equal(
        survivor_grid(ranks, ranks, (0.9, 0.5)),
        [[90, 50], [50, 50]],
    )
