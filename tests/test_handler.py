"""The endpoint's handler: right answers, alone, in batches and from many threads, in the process of a stranger."""

import ast
import gc
import json
import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene
from served_models import INFRARED, encode, infrared_text, rgb_text, save_served, to_text
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from model_cards.endpoint_handler import Endpoint
from model_cards.limits_handler import RequestError
from model_cards.shipped_files import HANDLER_FILES, HANDLER_REQUIREMENTS, ship_handler, ship_pipelines

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("handler_worker.py")
LABELS = ["airport", "harbor with ships", "photo"]
CLASSIFY = {"candidate_labels": LABELS}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    for name in ("separate", "siglip", "plain", "captioner"):
        save_served(name, root / name)
    return root


@pytest.fixture(scope="module")
def clip(root: Path) -> Endpoint:
    return Endpoint(str(root / "separate"))


@pytest.fixture(scope="module")
def captioner(root: Path) -> Endpoint:
    return Endpoint(str(root / "captioner"))


@torch.inference_mode()
def by_hand(folder: Path, **inputs: Any) -> Any:
    """What the model gives without a handler."""
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    return AutoModel.from_pretrained(folder, trust_remote_code=True).eval()(**processor(**inputs))


def test_embeddings_are_the_models(root: Path, clip: Endpoint) -> None:
    answer = clip({"inputs": {"image": rgb_text(), "infrared": infrared_text(), "text": "ships"}})
    wanted = by_hand(root / "separate", images=[make_scene()], infrared=[INFRARED], text=["ships"])
    assert answer.keys() == {"image", "infrared", "fused", "text"}
    for name, embedding in answer.items():
        torch.testing.assert_close(torch.tensor([embedding]), wanted[f"{name}_embeds"])
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert len({tuple(embedding) for embedding in answer.values()}) == 4


@pytest.mark.parametrize(
    ("view", "logits"),
    [(None, "fused"), ("fused", "fused"), ("rgb", "image"), ("infrared", "infrared")],
)
@pytest.mark.parametrize("name", ["separate", "siglip"])
def test_labels_are_scored_by_the_chosen_view(root: Path, name: str, view: str | None, logits: str) -> None:
    endpoint = Endpoint(str(root / name))
    parameters = {**CLASSIFY, "view": view, "hypothesis_template": "a photo of {}"}
    answer = endpoint({"inputs": {"image": rgb_text(), "infrared": infrared_text()}, "parameters": parameters})
    texts = [f"a photo of {label}" for label in LABELS]
    output = by_hand(root / name, images=[make_scene()], infrared=[INFRARED], text=texts)
    wanted = output[f"logits_per_{logits}"].softmax(-1)[0].tolist()
    scores = {entry["label"]: entry["score"] for entry in answer}
    assert [scores[label] for label in LABELS] == pytest.approx(wanted, abs=1e-5)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_a_model_without_fusion_classifies_one_image_and_asks_which_of_two(root: Path) -> None:
    endpoint = Endpoint(str(root / "plain"))
    alone = endpoint({"inputs": infrared_pair()["image"], "parameters": CLASSIFY})
    chosen = endpoint({"inputs": infrared_pair(), "parameters": {**CLASSIFY, "view": "rgb"}})
    assert [entry["score"] for entry in alone] == pytest.approx([entry["score"] for entry in chosen], abs=1e-6)
    with pytest.raises(RequestError, match="set `view` to 'rgb' or 'infrared'"):
        endpoint({"inputs": infrared_pair(), "parameters": CLASSIFY})
    with pytest.raises(RequestError, match="fuses no pairs"):
        endpoint({"inputs": infrared_pair(), "parameters": {**CLASSIFY, "view": "fused"}})


def infrared_pair() -> dict[str, str]:
    return {"image": rgb_text(), "infrared": infrared_text()}


def mixed_inputs() -> list[dict[str, str]]:
    """Every combination of modalities, several of each, in no order."""
    wide = to_text(encode(make_scene(40, 90, seed=5)))
    return [
        {"image": rgb_text(1)},
        {"infrared": infrared_text(), "text": "an airport"},
        {"text": "ships in a harbor, seen from above in the afternoon"},
        {"image": rgb_text(2), "infrared": infrared_text()},
        {"image": wide, "text": "b"},
        {"image": rgb_text(3), "infrared": infrared_text(), "text": "airport"},
        {"text": "a"},
        {"image": rgb_text(4)},
    ]


def test_an_input_alone_and_in_a_batch_gets_the_same_embeddings(clip: Endpoint) -> None:
    inputs = mixed_inputs()
    together = clip({"inputs": inputs})
    for item, found in zip(inputs, together, strict=True):
        alone = clip({"inputs": item})
        assert alone.keys() == found.keys()
        for name, embedding in alone.items():
            assert 1 - np.dot(embedding, found[name]) <= 1e-6


def test_an_input_alone_and_in_a_batch_gets_the_same_scores(clip: Endpoint) -> None:
    inputs = [{key: item[key] for key in ("image", "infrared") if key in item} for item in mixed_inputs()]
    inputs = [item for item in inputs if item]
    together = clip({"inputs": inputs, "parameters": CLASSIFY})
    for item, found in zip(inputs, together, strict=True):
        alone = {entry["label"]: entry["score"] for entry in clip({"inputs": item, "parameters": CLASSIFY})}
        assert {entry["label"]: entry["score"] for entry in found} == pytest.approx(alone, abs=1e-6)


def test_captions_are_those_of_the_model_alone_and_in_a_batch(root: Path, captioner: Endpoint) -> None:
    inputs = [infrared_pair(), {"infrared": infrared_text(), "text": "Describe what the infrared shows."}]
    inputs.append({"image": rgb_text(7)})
    together = captioner({"inputs": inputs, "parameters": {"max_new_tokens": 8}})
    assert len({entry["generated_text"] for entry in together}) > 1
    for item, found in zip(inputs, together, strict=True):
        assert captioner({"inputs": item, "parameters": {"max_new_tokens": 8}}) == found
    folder = root / "captioner"
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True).eval()
    prompt = "USER: <image>\n<infrared>\nDescribe the scene.\nASSISTANT:"
    prepared = processor(text=prompt, images=[make_scene()], infrared=[INFRARED])
    ids = model.generate(**prepared, max_new_tokens=8, do_sample=False)[0]
    wanted = processor.tokenizer.decode(ids[prepared["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert together[0]["generated_text"] == wanted


def test_a_placeholder_that_a_client_types_asks_for_no_image(captioner: Endpoint) -> None:
    answer = captioner({"inputs": {"image": rgb_text(), "text": "<image><infrared> here"}})
    assert answer.keys() == {"generated_text"}


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (encode(INFRARED), {}),
        (encode(INFRARED, "TIFF"), {}),
        (encode(INFRARED.astype(np.float32), "TIFF"), {}),
        (encode(np.where(np.arange(64) < 8, -9999, INFRARED).astype(np.float32), "TIFF"), {"nodata": -9999}),
        (encode(np.where(np.arange(64) < 8, np.nan, INFRARED).astype(np.float32), "TIFF"), {"nodata": "nan"}),
        (encode(make_scene()[..., 1]), {"infrared_scaling": {"rule": "percentile", "low": 1, "high": 99}}),
        (encode(make_scene()), {"colour_infrared": "luminance", "infrared_scaling": {"rule": "dtype_range"}}),
    ],
    ids=["png", "tiff", "float", "nodata", "nan", "eight bits", "colour"],
)
def test_infrared_of_every_kind_reads_as_the_processor_reads_it(
    root: Path, clip: Endpoint, content: bytes, options: dict[str, Any]
) -> None:
    answer = clip({"inputs": {"infrared": to_text(content)}, "parameters": options})
    wanted = by_hand(root / "separate", infrared=[content], **options).infrared_embeds
    torch.testing.assert_close(torch.tensor([answer["infrared"]]), wanted)


def test_palette_and_cmyk_are_read_as_rgb(root: Path, clip: Endpoint) -> None:
    scene = make_scene()
    for content in (encode(scene, mode="P"), encode(scene, "JPEG", mode="CMYK", quality=95), encode(scene, "WEBP")):
        answer = clip({"inputs": to_text(content)})
        wanted = by_hand(root / "separate", images=[content]).image_embeds
        torch.testing.assert_close(torch.tensor([answer["image"]]), wanted)
        assert np.dot(answer["image"], clip({"inputs": rgb_text()})["image"]) > 0.95


def test_an_image_that_the_toolkit_has_decoded_is_read(clip: Endpoint) -> None:
    assert clip({"inputs": Image.fromarray(make_scene())})["image"] == clip({"inputs": rgb_text()})["image"]


def test_sixteen_threads_get_the_answers_of_one(clip: Endpoint, captioner: Endpoint) -> None:
    requests: list[tuple[Endpoint, Any]] = [(clip, {"inputs": item}) for item in mixed_inputs()]
    requests += [(clip, {"inputs": rgb_text(seed), "parameters": CLASSIFY}) for seed in range(4)]
    requests.append((captioner, {"inputs": infrared_pair(), "parameters": {"max_new_tokens": 4}}))
    wanted = [endpoint(request) for endpoint, request in requests]
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(endpoint, request) for _ in range(12) for endpoint, request in requests]
        found = [job.result() for job in jobs]
    assert found == wanted * 12


@pytest.mark.slow
def test_memory_does_not_grow_over_two_thousand_requests(clip: Endpoint) -> None:
    requests = [{"inputs": item} for item in mixed_inputs()] + [{"inputs": rgb_text(), "parameters": CLASSIFY}]

    def run(count: int) -> int:
        for index in range(count):
            clip(requests[index % len(requests)])
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = run(500)
    assert run(2000) - before < 2 * 5_000_000


def test_a_stranger_gets_the_same_answers_and_errors_as_json_in_the_toolkits_400(
    root: Path, clip: Endpoint, captioner: Endpoint, tmp_path: Path
) -> None:
    good = {"clip": {"inputs": infrared_pair()}, "captioner": {"inputs": infrared_pair()}}
    bad = [{"inputs": "?"}, {"inputs": to_text(encode(np.zeros((16, 5000), np.uint8)))}]
    folders = {"clip": str(root / "separate"), "captioner": str(root / "captioner")}
    handlers = {name: (folder, [good[name], *bad]) for name, folder in folders.items()}
    (tmp_path / "job.json").write_text(json.dumps({"handlers": handlers, "results": str(tmp_path / "results.json")}))
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(WORKER), str(tmp_path / "job.json")],
        cwd=tmp_path / "empty",
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "results.json").read_text())
    for name, endpoint in (("clip", clip), ("captioner", captioner)):
        first, malformed, strip = answers[name]
        assert first == {"status": 200, "body": endpoint(good[name])}
        assert malformed["status"] == strip["status"] == 400
        assert json.loads(malformed["body"]["error"])["type"] == "bad_base64"
        assert json.loads(strip["body"]["error"]) == {
            "type": "image_aspect_ratio",
            "message": json.loads(strip["body"]["error"])["message"],
            "status": 422,
        }


def test_the_handlers_files_need_nothing_but_one_another_and_the_listed_libraries() -> None:
    for name in HANDLER_FILES:
        for node in ast.walk(ast.parse((ROOT / "model_cards" / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                assert f"{node.module}.py" in HANDLER_FILES
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                for module in modules:
                    known = sys.stdlib_module_names | {"torch", "transformers", "PIL", "numpy"}
                    assert module.split(".")[0] in known, f"{name} imports {module}"


def test_what_is_shipped_has_names_of_its_own_and_the_projects_lower_bounds(root: Path) -> None:
    uploaded = {path.name for package in ("modeling_rsclip", "processing") for path in (ROOT / package).glob("*.py")}
    assert not uploaded & set(HANDLER_FILES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(HANDLER_REQUIREMENTS) <= set(project)
    assert (root / "plain" / "requirements.txt").read_text().split() == list(HANDLER_REQUIREMENTS)


def test_shipping_to_a_folder_that_is_no_model_of_ours_is_refused(tmp_path: Path) -> None:
    for ship in (ship_handler, ship_pipelines):
        with pytest.raises(ValueError, match=r"holds no config\.json"):
            ship(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    for ship in (ship_handler, ship_pipelines):
        with pytest.raises(ValueError, match="holds a 'clip'; wanted one of"):
            ship(tmp_path)
    assert not (tmp_path / "handler.py").exists()
    (tmp_path / "config.json").write_text('{"model_type": "rstranslator"}')
    with pytest.raises(ValueError, match=re.escape("'rstranslator'")):
        ship_handler(tmp_path)
