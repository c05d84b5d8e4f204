"""What docs/serving.md says: its requests get its answers, its code runs, its commands and limits exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from processing_fixtures import make_scene
from served_models import INFRARED, infrared_text, rgb_text, save_served

from model_cards import onnx_export, serve_handler
from model_cards.endpoint_handler import Endpoint
from model_cards.limits_handler import Limits, RequestError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "serving.md").read_text()
IMAGES = {"<base64 RGB>": rgb_text(), "<base64 infrared>": infrared_text()}
NAMES = ["embeddings", "classification", "captions", "error"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    save_served("separate", folder / "CLIP")
    save_served("captioner", folder / "CAPTIONER")
    Image.fromarray(make_scene()).save(folder / "rgb.png")
    Image.fromarray(INFRARED).save(folder / "infrared.png")
    return folder


def with_images(request: Any) -> Any:
    if isinstance(request, dict):
        return {key: with_images(value) for key, value in request.items()}
    if isinstance(request, list):
        return [with_images(value) for value in request]
    return IMAGES.get(request, request) if isinstance(request, str) else request


def assert_shape(found: Any, page: Any) -> None:
    """An answer is as the page has it, with anything of its kind where that has `<...>`."""
    if page == ["<numbers>"]:
        assert found
        assert all(isinstance(value, float) for value in found)
    elif isinstance(page, dict):
        assert found.keys() == page.keys()
        for key, value in page.items():
            assert_shape(found[key], value)
    elif isinstance(page, list):
        assert len(found) == len(page)
        for one, other in zip(found, page, strict=True):
            assert_shape(one, other)
    elif isinstance(page, str) and page.startswith("<"):
        assert isinstance(found, float if page == "<number>" else str)
    else:
        assert found == page


@pytest.mark.parametrize("name", NAMES)
def test_a_request_of_the_page_gets_the_answer_of_the_page(folder: Path, name: str) -> None:
    found = [json.loads(text) for text in blocks("json")]
    assert len(found) == 2 * len(NAMES)
    request, page = found[2 * NAMES.index(name) : 2 * NAMES.index(name) + 2]
    endpoint = Endpoint(str(folder / ("CAPTIONER" if name == "captions" else "CLIP")))
    try:
        answer = endpoint(with_images(request))
    except RequestError as error:
        assert name == "error"
        answer = error.answer()
    assert_shape(answer, page)


def test_the_code_of_the_page_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    monkeypatch.chdir(folder)
    exec(code, {"scene": make_scene(75, 110)})
    lines = capsys.readouterr().out.splitlines()
    assert "'label'" in lines[0]
    assert lines[1].count("'index'") == 2
    assert lines[2].endswith("(75, 110)")


def test_the_commands_and_limits_of_the_page_are_those_of_the_code() -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert commands == [
        "python -m model_cards.serve_handler MODEL --port 8080",
        'pip install "rsclip[onnx]"',
        "python -m model_cards.onnx_export MODEL --output DIR",
    ]
    for module in (serve_handler, onnx_export):
        assert module.__doc__ is not None
        assert any(line in commands for line in module.__doc__.splitlines())
    limits = Limits()
    said = (
        f"{limits.body_bytes // 10**6} MB a body, {limits.image_bytes // 10**6} MB and "
        f"{limits.image_pixels / 1e6:.1f} megapixels an image, {limits.labels} labels, {limits.text_characters:,}"
    )
    assert said in " ".join(PAGE.split())
    assert f"a list of up to {limits.inputs}," in PAGE
    assert f"{limits.url_seconds:.0f} seconds" in PAGE


def test_the_links_of_the_page_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / link).resolve().exists(), link
