"""The demo Space in Debian's Chromium: what is uploaded and clicked gives what the models give, and no error."""

import io
import json
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from space_site import SCENE_TILE, SPACE, Site, serve_site
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from dataset_scripts.scenes.scene_simulator import simulate_scene
from model_cards.captioning_pipeline import PairCaptioningPipeline
from model_cards.classification_pipeline import PairClassificationPipeline
from model_cards.localization_pipeline import SemanticLocalizationPipeline
from model_cards.retrieval_pipeline import CrossModalRetrievalPipeline
from processing import load_infrared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCREENSHOTS = SPACE.parent / "space_screenshots"
CHROMIUM = shutil.which("chromium")
if not (SPACE / ".ready").is_file() or CHROMIUM is None:
    pytest.skip("no .cache/space or no Chromium; `make .cache/space/.ready` puts them there", allow_module_level=True)
# Behind .venv, so that only what is not there is found there.
sys.path.extend(str(path) for path in (SPACE / "lib").glob("python3*/site-packages"))
from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402

LABELS, TEMPLATE = ["an airport", "<b>ships</b> & boats", "a forest"], "a photo of {} from above"
VIEWS = {"fused": "Pair", "rgb": "RGB alone", "infrared": "Infrared alone"}
# Events of the page's stream end when the page ends it; the browser calls that aborted.
STREAM = "/gradio_api/queue/data"
# The rightmost edge of what is to be seen; a container may cut off what it cannot show without scrolling.
RIGHTMOST = """() => Math.max(...[...document.querySelectorAll("h1, h3, p, span, label, button, img, section")]
    .filter(one => one.checkVisibility() && one.offsetWidth > 1).map(one => one.getBoundingClientRect().right))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files as people have them: an RGB image, 16-bit TIFFs, and some that must be refused."""
    place = tmp_path_factory.mktemp("images")
    scene, large = simulate_scene(3, 1, 96, "beach"), simulate_scene(3, 2, 160, "harbor")
    Image.fromarray(scene.rgb).save(place / "rgb.png")
    Image.fromarray(scene.infrared).save(place / "infrared.tif")
    Image.fromarray(large.rgb).save(place / "large.jpg", quality=95)
    Image.fromarray(large.infrared).save(place / "large.tif")
    (place / "text.tif").write_text("this is no image, whatever it is called")
    (place / "bomb.png").write_bytes(flat_png(7900, 7900))
    return {path.name: path for path in place.iterdir()}


def flat_png(width: int, height: int) -> bytes:
    """A white image of many pixels in few bytes."""
    lines = zlib.compress((b"\0" + b"\xff" * width) * height, 9)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", lines), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running.new_context()  # one for all, so that the page's code is fetched once
        running.close()


@pytest.fixture
def page(browser: Any, site: Site, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose every error, failed answer and request to elsewhere fails the test."""
    width = 390 if "phone" in request.node.name else 1280
    opened = browser.new_page()
    opened.set_viewport_size({"width": width, "height": 844})
    opened.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    opened.on("requestfailed", lambda sent: None if STREAM in sent.url else wrong.append(f"{sent.url} {sent.failure}"))
    opened.on("request", lambda sent: None if is_local(sent.url, site) else wrong.append(f"elsewhere: {sent.url}"))
    opened.goto(site.address)
    expect(opened.locator("#classify")).to_be_visible()
    yield opened
    opened.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()
    assert wrong == []


def is_local(url: str, site: Site) -> bool:
    return url.startswith((site.address, "data:", "blob:"))


def served(site: Site, name: str) -> dict[str, Any]:
    """A model as the tests load it: from its folder, with the classes of this repository."""
    auto = AutoModel if name == "clip" else AutoModelForImageTextToText
    return {
        "model": auto.from_pretrained(site.models[name]).eval(),
        "processor": AutoProcessor.from_pretrained(site.models[name]),
    }


def upload(page: Page, rgb: Path | None = None, infrared: Path | None = None) -> None:
    """Give files, and wait until the page shows what the model sees of them."""
    for name, path in (("rgb", rgb), ("infrared", infrared)):
        if path is not None:
            page.set_input_files(f"#{name}-file input[type=file]", path)
            expect(page.locator(f"#{name}-preview img")).to_be_visible()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def press(page: Page, button: str) -> None:
    page.locator(f"#{button}").click()


def refusal(page: Page) -> str:
    """The message of the newest refusal, which is closed then."""
    message = page.locator(".toast-body.error").last
    expect(message).to_be_visible()
    page.wait_for_function("toast => getComputedStyle(toast).opacity === '1'", arg=message.element_handle())
    page.screenshot(path=SCREENSHOTS / "refusal.png")
    text = message.inner_text()
    message.get_by_test_id("toast-close").click()
    expect(message).to_be_hidden()
    return text


def test_the_app_asks_the_hub_for_the_revisions_that_it_names(site: Site) -> None:
    files = [path for path in site.asked if "/resolve/" in path]
    assert any(path.endswith("model.safetensors") for path in files)
    assert any(path.endswith("localization_pipeline.py") for path in files)
    assert all(site.commits["clip"] in path or site.commits["captioner"] in path for path in files), files


def test_scores_of_a_pair_and_of_each_image_are_those_of_the_model(
    page: Page, site: Site, images: dict[str, Path]
) -> None:
    upload(page, images["rgb.png"], images["infrared.tif"])
    page.locator("#labels textarea").fill("\n".join([*LABELS, LABELS[0], " "]))
    page.locator("#template textarea, #template input").fill(TEMPLATE)
    press(page, "classify")
    cards = page.locator("#scores .scored")
    expect(cards).to_have_count(3)
    run = PairClassificationPipeline(**served(site, "clip"))
    pair = {"image": images["rgb.png"], "infrared": images["infrared.tif"]}
    for card, (view, title) in zip(cards.all(), VIEWS.items(), strict=True):
        wanted = run(pair, candidate_labels=LABELS, hypothesis_template=TEMPLATE, view=view)
        assert card.locator("h3").inner_text() == title
        assert card.locator(".label").all_inner_texts() == [one["label"] for one in wanted]
        assert card.locator(".score").all_inner_texts() == [f"{100 * one['score']:.1f} %" for one in wanted]
    page.locator("#rgb-file").get_by_label("Clear").click()
    press(page, "classify")
    expect(cards).to_have_count(1)
    assert cards.locator("h3").inner_text() == "Infrared alone"


def test_sixteen_bits_are_shown_by_the_rule_of_the_processor(page: Page, site: Site, images: dict[str, Path]) -> None:
    upload(page, infrared=images["infrared.tif"])
    expect(page.locator("#infrared-note")).to_contain_text("26500 is black, 31500 is white")
    assert_shown(
        page,
        load_infrared(
            images["infrared.tif"], scaling=served(site, "clip")["processor"].image_processor.infrared_scaling
        ).pixels,
    )
    page.get_by_role("button", name="How the infrared is read").click()
    page.get_by_label("1st to 99th percentile of the image").check()
    expect(page.locator("#infrared-note")).to_contain_text("percentile 1 is black, 99 is white")
    assert_shown(
        page, load_infrared(images["infrared.tif"], scaling={"rule": "percentile", "low": 1, "high": 99}).pixels
    )
    page.get_by_label("from low to high").check()
    expect(page.locator("#infrared-note")).to_contain_text("0 is black, 65535 is white")
    page.locator("#low input").fill("27000")
    expect(page.locator("#infrared-note")).to_contain_text("27000 is black")
    page.locator("#high input").fill("2600")
    expect(page.locator("#infrared-note .refused")).to_contain_text("wanted two numbers, low below high")
    expect(page.locator("#infrared-preview img")).to_be_hidden()
    press(page, "classify")
    assert "The range of the infrared goes from 27000 to 2600;" in refusal(page)


def assert_shown(page: Page, wanted: Any) -> None:
    """The preview is this image (H, W) from 0 to 1; it is sent with losses."""
    address = page.locator("#infrared-preview img").get_attribute("src")
    shown = np.asarray(Image.open(io.BytesIO(page.request.get(str(address)).body())).convert("L"), dtype=float) / 255
    assert shown.shape == wanted.shape
    assert np.abs(shown - wanted).mean() < 0.02
    assert wanted.std() > 0.03


def test_search_ranks_the_gallery_as_the_model_does(page: Page, site: Site, images: dict[str, Path]) -> None:
    open_tab(page, "Search")
    rows = read_gallery(site.folder)
    run = CrossModalRetrievalPipeline(**served(site, "clip"))
    galleries = {
        "fused": run.embed([{"image": row["image"], "infrared": row["infrared"]} for row in rows]),
        "infrared": run.embed([{"infrared": row["infrared"]} for row in rows]),
    }
    query, pair = "ships in a harbor", {"image": images["rgb.png"], "infrared": images["infrared.tif"]}
    page.locator("#query textarea, #query input").fill(query)
    press(page, "search")
    assert_found(page, rows, by_cosines(run(query, gallery=galleries["fused"], top_k=len(rows))))
    widths = page.locator("#found .hit img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert widths == [64] * 12
    upload(page, images["rgb.png"], images["infrared.tif"])
    page.locator("#search-view").get_by_label("Infrared alone").check()
    for choice, queries in (("the images above", [pair]), ("both", [query, pair])):
        page.locator("#search-by").get_by_label(choice).check()
        page.locator("#found .hit").first.evaluate("hit => hit.remove()")
        press(page, "search")
        found = [by_cosines(run(one, gallery=galleries["infrared"], top_k=len(rows))) for one in queries]
        assert_found(page, rows, [float(np.mean(scores)) for scores in zip(*found, strict=True)])


def read_gallery(folder: Path) -> list[dict[str, Any]]:
    """The gallery's rows with their images, from the data that the Space was made of."""
    shards = sorted((folder.parent / "fusionrs" / "data").glob("test-*.parquet"))
    by_id = {row["id"]: row for shard in shards for row in pq.read_table(shard).to_pylist()}
    rows = [by_id[row["id"]] for row in json.loads((folder / "gallery.json").read_text())]
    return [{**row, "image": row["rgb"]["bytes"], "infrared": row["infrared"]["bytes"]} for row in rows]


def by_cosines(found: list[dict[str, Any]]) -> list[float]:
    """Cosines in the order of the gallery."""
    return [one["score"] for one in sorted(found, key=lambda one: one["index"])]


def assert_found(page: Page, rows: list[dict[str, Any]], cosines: list[float]) -> None:
    """Six hits, the best first, with their similarities and captions."""
    hits = page.locator("#found .hit")
    expect(hits).to_have_count(6)
    order = sorted(range(len(rows)), key=lambda index: -cosines[index])[:6]
    shown = [float(text) for text in page.locator("#found .similarity b").all_inner_texts()]
    assert shown == pytest.approx([cosines[index] for index in order], abs=1.5e-4)
    assert hits.evaluate_all("all => all.map(hit => hit.dataset.id)") == [rows[index]["id"] for index in order]
    assert rows[order[0]]["captions"][0] in hits.first.inner_text()


def test_a_text_is_found_in_the_large_scene_and_in_an_upload(page: Page, site: Site, images: dict[str, Path]) -> None:
    open_tab(page, "Where")
    expect(page.locator("#scene-note")).to_contain_text("The large scene is simulated")
    expect(page.locator("#scene-note")).to_contain_text("no temperature")
    run = SemanticLocalizationPipeline(**served(site, "clip"))
    text, scene = "ships in a harbor", site.folder / "scene"
    pixels = {
        "image": np.asarray(Image.open(scene / "rgb.jpg")),
        "infrared": np.asarray(Image.open(scene / "infrared.png")),
    }
    assert pixels["infrared"].dtype == np.uint16
    assert pixels["image"].shape == (3 * SCENE_TILE, 4 * SCENE_TILE, 3)
    page.locator("#place textarea, #place input").fill(text)
    before = page.locator("#heat-infrared img").get_attribute("src")
    press(page, "localize")
    assert_located(page, run(pixels, candidate_labels=[text], window=64, stride=32)[0])
    assert page.locator("#heat-infrared img").get_attribute("src") != before
    upload(page, images["large.jpg"], images["large.tif"])
    page.locator("#scene").get_by_label("the images above").check()
    page.locator("#scene-view").get_by_label("RGB alone").check()
    page.locator("#place-found b").evaluate("old => old.remove()")
    press(page, "localize")
    large = {"image": np.asarray(Image.open(images["large.jpg"]))}
    assert_located(page, run(large, candidate_labels=[text], window=64, stride=32)[0])


def assert_located(page: Page, wanted: dict[str, Any]) -> None:
    """The box and the similarity are these, and the picture is brightest inside of the map's highest place."""
    line = page.locator("#place-found b")
    expect(line).to_have_text(f"{wanted['score']:.4f}")
    left, top, right, bottom = wanted["box"]
    assert f"from ({left}, {top}) to ({right}, {bottom})" in page.locator("#place-found").inner_text()
    address = page.locator("#heat-image img").get_attribute("src")
    shown = np.asarray(Image.open(io.BytesIO(page.request.get(str(address)).body())).convert("RGB"), dtype=float)
    heat = wanted["heat_map"]
    assert shown.shape[:2] == heat.shape
    assert shown[heat > 0.9].mean() > shown[heat < 0.5].mean() + 20


def test_captions_of_the_pair_stand_beside_those_of_each_image(page: Page, site: Site, images: dict[str, Path]) -> None:
    open_tab(page, "Captions")
    upload(page, images["rgb.png"], images["infrared.tif"])
    page.locator("#instruction textarea, #instruction input").fill("Say what the infrared shows.")
    page.locator("#length input[type=number]").fill("16")
    press(page, "caption")
    cards = page.locator("#captions .captioned")
    expect(cards).to_have_count(3)
    run = PairCaptioningPipeline(**served(site, "captioner"))
    pair = {"image": images["rgb.png"], "infrared": images["infrared.tif"]}
    given = {"fused": pair, "rgb": {"image": pair["image"]}, "infrared": {"infrared": pair["infrared"]}}
    wanted = [
        run(one, instruction="Say what the infrared shows.", max_new_tokens=16)["generated_text"]
        for one in given.values()
    ]
    assert cards.locator("h3").all_inner_texts() == list(VIEWS.values())
    shown = cards.locator(".caption").evaluate_all("all => all.map(one => one.innerHTML)")
    assert [re.sub(r"\s+", " ", text) for text in shown] == [
        re.sub(r"\s+", " ", escape(text, quote=False)) for text in wanted
    ]
    assert len(set(wanted)) == 3
    tops = cards.evaluate_all("all => all.map(card => card.getBoundingClientRect().top)")
    assert len(set(tops)) == 1


def test_what_cannot_be_read_is_refused_in_the_page(page: Page, images: dict[str, Path]) -> None:
    press(page, "classify")
    assert "There is no image yet" in refusal(page)
    for name, found in (("text.tif", "'text.tif') [undecodable]"), ("bomb.png", "[decompression_bomb]")):
        page.set_input_files("#infrared-file input[type=file]", images[name])
        expect(page.locator("#infrared-note .refused")).to_contain_text(found)
        press(page, "classify")
        assert found in refusal(page)
        page.locator("#infrared-file").get_by_label("Clear").click()
        expect(page.locator("#infrared-note")).to_be_hidden()
    upload(page, images["rgb.png"], images["large.tif"])
    press(page, "classify")
    message = refusal(page)
    assert "[geometry]: got 160 x 160 pixels, its RGB partner is 96 x 96" in message
    page.locator("#labels textarea").fill("only one")
    press(page, "classify")
    assert "The labels are 1 lines" in refusal(page)
    page.locator("#labels textarea").fill("\n".join(LABELS))
    page.locator("#template textarea, #template input").fill("no place")
    press(page, "classify")
    assert "wanted {} in it once" in refusal(page).replace("`", "")
    open_tab(page, "Where")
    page.locator("#scene").get_by_label("the images above").check()
    press(page, "localize")
    assert "wanted one grid" in refusal(page)
    expect(page.locator("#scores .scored")).to_have_count(0)


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, images: dict[str, Path]) -> None:
    upload(page, images["rgb.png"], images["infrared.tif"])
    for tab, button, answer in (
        ("Scores", "classify", "#scores .scored"),
        ("Search", "search", "#found .hit"),
        ("Where", "localize", "#place-found b"),
        ("Captions", "caption", "#captions .captioned"),
    ):
        open_tab(page, tab)
        press(page, button)
        expect(page.locator(answer).first).to_be_visible()
        assert page.evaluate(RIGHTMOST) <= 390
        page.screenshot(path=SCREENSHOTS / f"phone_{tab.lower()}.png", full_page=True)
    lefts = page.locator("#captions .captioned").evaluate_all(
        "all => all.map(card => card.getBoundingClientRect().left)"
    )
    assert len(set(lefts)) == 1


def test_an_example_fills_both_images(page: Page, site: Site) -> None:
    label = page.locator("#examples button, #examples .gallery-item").first
    label.click()
    expect(page.locator("#rgb-preview img")).to_be_visible()
    expect(page.locator("#infrared-preview img")).to_be_visible()
    press(page, "classify")
    expect(page.locator("#scores .scored")).to_have_count(3)
