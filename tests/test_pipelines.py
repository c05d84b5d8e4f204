"""The pipelines shipped with the weights: in a process that has transformers and nothing of ours."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene
from served_models import INFRARED, save_served
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor, pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from evaluation.localization.single_scale import heat_map
from model_cards.classification_pipeline import PairClassificationPipeline
from model_cards.localization_pipeline import SemanticLocalizationPipeline, heat_maps
from model_cards.shipped_files import PIPELINE_FILES, PIPELINES

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("pipelines_worker.py")
LABELS = ["airport", "harbor with ships", "photo"]
WINDOW, STRIDE = 32, 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pipelines")
    for name in ("separate", "plain", "captioner"):
        save_served(name, root / name)
    Image.fromarray(make_scene()).save(root / "rgb.png")
    Image.fromarray(make_scene(seed=1)).save(root / "other.png")
    Image.fromarray(INFRARED).save(root / "infrared.png")
    torch.save(scene(), root / "scene.pt")
    return root


def scene() -> dict[str, Any]:
    """A scene of several windows, none of the sides a multiple of the stride."""
    large = make_scene(75, 110, seed=3)
    return {"image": large, "infrared": large[..., 1].astype(np.uint16) * 40 + 1}


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Any]:
    """What a stranger's process gets."""
    job = {"clip": str(root / "separate"), "captioner": str(root / "captioner"), "pictures": str(root)}
    (root / "job.json").write_text(json.dumps({**job, "results": str(root / "results.pt")}))
    (root / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(WORKER), str(root / "job.json")],
        cwd=root / "empty",
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "home"), "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(torch.load(root / "results.pt", weights_only=False))


@pytest.fixture(scope="module")
def clip(root: Path) -> tuple[Any, Any]:
    folder = root / "separate"
    return AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


@torch.inference_mode()
def run(clip: tuple[Any, Any], **inputs: Any) -> Any:
    model, processor = clip
    return model(**processor(**inputs))


def test_the_classes_are_those_beside_the_weights(found: dict[str, Any]) -> None:
    for name, (implementation, _) in zip(found["clip"]["classes"], PIPELINES["rsclip"].values(), strict=True):
        assert name.startswith("transformers_modules.separate.")
        assert name.endswith(implementation)


def test_a_pair_is_classified_by_every_view_as_the_model_does(found: dict[str, Any], clip: tuple[Any, Any]) -> None:
    output = run(clip, images=[make_scene()], infrared=[INFRARED], text=LABELS)
    views = {"rgb": "logits_per_image", "infrared": "logits_per_infrared", "fused": "logits_per_fused"}
    for view, logits in views.items():
        scores = {entry["label"]: entry["score"] for entry in found["clip"]["classified by"][view]}
        wanted = output[logits].softmax(-1)[0].tolist()
        assert [scores[label] for label in LABELS] == pytest.approx(wanted, abs=1e-6)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert found["clip"]["classified"] == found["clip"]["classified by"]["fused"]


def test_a_list_is_classified_one_by_one_with_its_template(found: dict[str, Any], clip: tuple[Any, Any]) -> None:
    texts = [f"a {label}" for label in LABELS]
    pair = run(clip, images=[make_scene()], infrared=[INFRARED], text=texts).logits_per_fused
    other = run(clip, images=[make_scene(seed=1)], text=texts).logits_per_fused
    for answer, wanted in zip(found["clip"]["classified in a list"], (pair, other), strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert [scores[label] for label in LABELS] == pytest.approx(wanted.softmax(-1)[0].tolist(), abs=1e-6)


def test_a_gallery_of_all_kinds_is_embedded_and_ranked_by_cosine(found: dict[str, Any], clip: tuple[Any, Any]) -> None:
    both = run(clip, images=[make_scene()], infrared=[INFRARED], text=["an airport"])
    other = run(clip, images=[make_scene(seed=1)])
    rows = [both.fused_embeds, other.image_embeds, both.infrared_embeds, both.text_embeds, both.image_embeds]
    torch.testing.assert_close(found["clip"]["embedded"], torch.cat(rows))
    query = run(clip, text=["ships in a harbor"]).text_embeds[0]
    cosines = torch.cat(rows) @ query
    answer = found["clip"]["retrieved"]
    assert [entry["index"] for entry in answer] == cosines.argsort(descending=True)[:4].tolist()
    assert [entry["score"] for entry in answer] == pytest.approx(
        cosines.sort(descending=True)[0][:4].tolist(), abs=1e-6
    )
    pair, image = found["clip"]["retrieved for a list"]
    assert pair[0]["index"] == 0
    assert image[0]["index"] == 1
    assert [pair[0]["score"], image[0]["score"]] == pytest.approx([1, 1], abs=1e-6)


def test_localization_in_rgb_equals_the_evaluations(found: dict[str, Any], clip: tuple[Any, Any]) -> None:
    model, processor = clip
    wanted = heat_map(model, processor, scene()["image"], LABELS[:2], WINDOW, STRIDE)
    for entry, heat in zip(found["clip"]["localized in rgb"], wanted, strict=True):
        assert entry["heat_map"].shape == heat.shape == (75, 110)
        np.testing.assert_allclose(entry["heat_map"], heat, atol=1e-5)
        assert heat.max() == 1


@pytest.mark.parametrize(
    ("name", "kinds", "embeds"),
    [
        ("localized", ("images", "infrared"), "fused_embeds"),
        ("localized in infrared", ("infrared",), "infrared_embeds"),
    ],
)
def test_localization_of_other_kinds_equals_a_loop_over_pixels(
    found: dict[str, Any], clip: tuple[Any, Any], name: str, kinds: tuple[str, ...], embeds: str
) -> None:
    scenes = {"images": scene()["image"], "infrared": scene()["infrared"]}
    texts = run(clip, text=LABELS[:2]).text_embeds
    sums, counts, best = np.zeros((2, 75, 110)), np.zeros((75, 110)), [(-2.0, (0, 0))] * 2
    for y in (0, 16, 32, 43):
        for x in (0, 16, 32, 48, 64, 78):
            crops = {kind: [scenes[kind][y : y + 32, x : x + 32].copy()] for kind in kinds}
            cosines = (texts @ run(clip, **crops)[embeds][0]).numpy()
            sums[:, y : y + 32, x : x + 32] += cosines[:, None, None]
            counts[y : y + 32, x : x + 32] += 1
            best = [max(old, (float(new), (x, y))) for old, new in zip(best, cosines, strict=True)]
    means = sums / counts
    for entry, mean, (score, (left, top)) in zip(found["clip"][name], means, best, strict=True):
        wanted = (mean - mean.min()) / (mean.max() - mean.min())
        np.testing.assert_allclose(entry["heat_map"], wanted, atol=1e-4)
        assert entry["score"] == pytest.approx(score, abs=1e-6)
        assert entry["box"] == (left, top, left + 32, top + 32)


def test_a_flat_heat_map_is_zero_and_one_window_covers_the_scene() -> None:
    maps = heat_maps(np.full((2, 3), 0.5), [(0, 0), (0, 2), (0, 4)], 4, (4, 8))
    assert maps.shape == (2, 4, 8)
    assert not maps.any()
    maps = heat_maps(np.array([[0.0, 1.0]]), [(0, 0), (0, 4)], 4, (4, 8))
    np.testing.assert_allclose(maps[0], np.repeat([[0.0, 1.0]], 4, axis=1).repeat(4, axis=0), atol=1e-12)


def test_wrong_calls_say_what_is_wrong(found: dict[str, Any]) -> None:
    said = found["clip"]["errors"]
    wanted = {
        "no labels": "candidate_labels is (); wanted a list",
        "labels as text": "candidate_labels is 'airport'; wanted a list",
        "picture alone": "the input is a PngImageFile; wanted a mapping",
        "path as text": "pass pathlib.Path(...)",
        "empty": "the input has keys []; wanted",
        "unknown key": "the input has keys ['rgb']; wanted",
        "template": "wanted `{}` in it once",
        "view": "view is 'both'; wanted one of",
        "missing view": "view 'infrared' needs an image",
        "batch": "batch_size is not supported",
        "no gallery": "nothing to rank",
        "empty gallery": "the gallery is empty",
        "top": "top_k is 0; wanted at least 1",
        "large window": "less than one window of 500",
        "two grids": "wanted one grid for both",
        "stride": "window is 32 and stride 0",
        "gaps": "stride is 64 and window 32; wanted at most 32",
    }
    assert said.keys() == wanted.keys()
    for name, text in wanted.items():
        assert text in said[name], name


def test_captions_are_the_models(root: Path, found: dict[str, Any]) -> None:
    folder = root / "captioner"
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()

    def say(prompt: str, images: dict[str, Any], **options: Any) -> str:
        inputs = processor(text=prompt, **images)
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options)[0]
        return str(processor.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()

    pair = {"images": [make_scene()], "infrared": [INFRARED]}
    alone = {"infrared": [INFRARED]}
    pair_prompt = "USER: <image>\n<infrared>\nDescribe the scene.\nASSISTANT:"
    captions = found["captioner"]
    assert captions["caption"] == {"generated_text": say(pair_prompt, pair)}
    wanted = say("USER: <infrared>\nInfrared?\nASSISTANT:", alone)
    assert captions["caption of infrared"] == {"generated_text": wanted}
    beams = [entry["generated_text"] for entry in captions["captions"]]
    rgb_prompt = "USER: <image>\nDescribe the scene.\nASSISTANT:"
    assert beams == [say(pair_prompt, pair, num_beams=2), say(rgb_prompt, {"images": [make_scene()]}, num_beams=2)]
    assert captions["inferred task"] == "rgb-infrared-captioning"


def test_without_trust_no_pipeline_is_loaded(found: dict[str, Any]) -> None:
    assert "trust_remote_code=True" in found["without trust"]


def test_a_model_saved_again_still_names_its_pipelines(root: Path, found: dict[str, Any]) -> None:
    shipped = json.loads((root / "separate" / "config.json").read_text())["custom_pipelines"]
    assert found["clip"]["saved again"] == shipped


def test_a_model_without_fusion_refuses_pairs_and_takes_single_images(root: Path) -> None:
    classify = pipeline("rgb-infrared-classification", model=str(root / "plain"), trust_remote_code=True)
    alone = classify({"image": root / "rgb.png"}, LABELS)
    by_view = classify({"image": root / "rgb.png", "infrared": root / "infrared.png"}, LABELS, view="rgb")
    assert [entry["label"] for entry in alone] == [entry["label"] for entry in by_view]
    with pytest.raises(ValueError, match="pass view='rgb' or view='infrared'"):
        classify({"image": root / "rgb.png", "infrared": root / "infrared.png"}, LABELS)


@pytest.fixture
def registered() -> Iterator[str]:
    task = "rgb-infrared-classification"
    PIPELINE_REGISTRY.register_pipeline(
        task, pipeline_class=PairClassificationPipeline, pt_model=AutoModel, type="multimodal"
    )
    yield task
    del PIPELINE_REGISTRY.supported_tasks[task]


def test_a_registered_pipeline_saves_what_shipping_writes(root: Path, tmp_path: Path, registered: str) -> None:
    """The way of transformers' documentation, which keeps only the pipeline that is saved."""
    model = AutoModel.from_pretrained(root / "separate")
    pipe = pipeline(registered, model=model, processor=AutoProcessor.from_pretrained(root / "separate"))
    pipe.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["custom_pipelines"]
    shipped = json.loads((root / "separate" / "config.json").read_text())["custom_pipelines"]
    assert saved == {registered: shipped[registered]}
    for name in ("pair_pipeline.py", "classification_pipeline.py"):
        assert (tmp_path / name).read_text() == (root / "separate" / name).read_text()


def test_pipelines_import_only_one_another_and_the_listed_libraries() -> None:
    for files in PIPELINE_FILES.values():
        for name in files:
            for node in ast.walk(ast.parse((ROOT / "model_cards" / name).read_text())):
                if isinstance(node, ast.ImportFrom) and node.level:
                    assert f"{node.module}.py" in files
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    module = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
                    known = sys.stdlib_module_names | {"torch", "transformers", "numpy"}
                    assert module.split(".")[0] in known, f"{name} imports {module}"


def test_localization_is_a_class_of_its_own_file() -> None:
    implementation, _ = PIPELINES["rsclip"]["semantic-localization"]
    assert implementation == f"localization_pipeline.{SemanticLocalizationPipeline.__name__}"
