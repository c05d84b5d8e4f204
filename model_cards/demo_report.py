"""Renders the demo report: one HTML file that needs nothing beside it."""

import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from evaluation.embedding import load_bundle
from evaluation.localization.single_scale import heat_map
from evaluation.retrieval.retrieval_fusionrs import positives_of
from evaluation.rows import load_split
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from .demo_checks import Check, metrics_of
from .demo_pictures import data_uri, loss_curves, mosaic, overlay, show_infrared, show_rgb

STYLE = Path(__file__).with_suffix(".css").read_text()
SHOWN_DIRECTIONS = (
    ("rgb_to_text", "RGB to text"),
    ("infrared_to_text", "infrared to text"),
    ("fused_to_text", "fused pair to text"),
    ("infrared_to_infrared_text", "infrared to infrared text"),
    ("rgb_to_infrared", "RGB to infrared"),
    ("infrared_to_rgb", "infrared to RGB"),
)
CAPTION_METRICS = ("rouge_l", "class_named", "time_right")
NAMES = ("RGB", "infrared")
MOSAIC_SIDE = 4


def write_report(output: Path, data: Path, checks: list[Check], seconds: float) -> Path:
    """Writes `report.html` into the demo's folder."""
    rows = load_split(str(data), "test")
    sections = [
        header(rows, checks, seconds),
        section("What the simulator makes", PAIRS_TEXT, pairs(rows)),
        section("How the models learn", CURVES_TEXT, curves(output)),
        section("Retrieval on held-out scenes", RETRIEVAL_TEXT, retrieval_table(output)),
        section("What the tri-modal model finds", TOP_TEXT, top_retrievals(output, rows)),
        section("Where in a large scene", HEAT_TEXT, heat_maps(output, rows)),
        section("Captions of held-out pairs", CAPTION_TEXT, captions(output, rows)),
        section("Exported, and loaded elsewhere", RELOAD_TEXT, reload(output)),
    ]
    path = output / "report.html"
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>RSCLIP demo</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )
    return path


PAIRS_TEXT = (
    "Each row is a pair of equal geometry: an RGB image and 16-bit infrared, with scene captions and captions of what "
    "the infrared shows. The infrared knows the time of day, running engines, filled tanks and heated roofs; the RGB "
    "does not. It is simulated, and no measurement of temperature."
)
CURVES_TEXT = "Contrastive loss of each pair of modalities, and the captioner's cross-entropy; means of ten steps."
RETRIEVAL_TEXT = (
    "Recall at 10 with 95 % intervals over queries. The control saw RGB and text only and reads infrared as a grey "
    "image. Texts with equal caption keys count as one."
)
TOP_TEXT = "The query is on the left. A dark frame marks the very scene, a light one another scene of the same class."
HEAT_TEXT = (
    "Sixteen held-out scenes side by side. Windows slide over them; the map is the mean similarity of a pixel's "
    "windows to a text. The frame is around the scene that the text was written for."
)
CAPTION_TEXT = (
    "From RGB alone, from infrared alone, from the pair. The time of day is in the infrared only; where an interval "
    "includes 50 %, it was guessed."
)
RELOAD_TEXT = (
    "A fresh process in an empty folder, offline and without this repository, loads the exported folders through "
    "<code>AutoModel</code>, <code>AutoModelForImageTextToText</code> and <code>AutoProcessor</code>."
)


def header(rows: Dataset, checks: list[Check], seconds: float) -> str:
    """Title and what every step showed."""
    passed = sum(check.passed for check in checks)
    verdicts = {True: '<td class="pass">ok</td>', False: '<td class="fail">failed</td>'}
    lines = "".join(
        f"<tr><td>{escape(check.what)}</td><td>{escape(check.found)}</td>{verdicts[check.passed]}</tr>"
        for check in checks
    )
    return (
        "<h1>RSCLIP demo</h1>"
        f'<p class="quiet">Simulated, trained, retrieved, captioned and exported on this machine in {seconds:.0f} s. '
        f"{passed} of {len(checks)} checks passed; {len(rows)} held-out scenes.</p>"
        f'<div class="card small"><table>{lines}</table></div>'
    )


def section(title: str, text: str, body: str) -> str:
    """A titled part of the report."""
    return f'<h2>{escape(title)}</h2><p class="quiet">{text}</p>{body}'


def pairs(rows: Dataset) -> str:
    """One pair of each of eight classes."""
    cards = []
    for row in one_per_class(rows)[:8]:
        infrared = (row["infrared_captions"] or ["(none)"])[0]
        cards.append(
            f'<div class="card small">{pair_images(row)}<b>{escape(str(row["class_name"]))}</b><br>'
            f"{escape(row['captions'][0])}<br><span class='quiet'>{escape(infrared)}</span></div>"
        )
    return f'<div class="grid two">{"".join(cards)}</div>'


def pair_images(row: dict[str, Any]) -> str:
    """The two images of a row side by side."""
    images = (show_rgb(row["rgb"]["bytes"]), show_infrared(row["infrared"]["bytes"]))
    tags = "".join(f'<img alt="{name}" src="{data_uri(image)}">' for name, image in zip(NAMES, images, strict=True))
    return f'<div class="pair">{tags}</div>'


def curves(output: Path) -> str:
    """Loss curves of the three runs."""
    runs = {"clip-tri-modal": "tri-modal CLIP", "clip-rgb-only": "RGB-only CLIP", "captioner": "captioner"}
    cards = [f'<div class="card">{loss_curves(output / run / "log.jsonl", title)}</div>' for run, title in runs.items()]
    return f'<div class="grid two">{"".join(cards)}</div>'


def retrieval_table(output: Path) -> str:
    """Chance, control and tri-modal model, recall at 10 of each direction."""
    arms = [metrics_of(output / "results" / f"clip-{arm}.json") for arm in ("rgb-only", "tri-modal")]
    lines = []
    for direction, label in SHOWN_DIRECTIONS:
        name = f"{direction}/recall_at_10"
        best = max(arm[name]["value"] for arm in arms if name in arm)
        cells = "".join(cell(arm.get(name), best) for arm in arms)
        lines.append(f"<tr><td>{label}</td><td>{arms[1][f'chance/{name}']['value']:.1%}</td>{cells}</tr>")
    head = "<tr><th>recall at 10</th><th>chance</th><th>RGB only</th><th>tri-modal</th></tr>"
    return f'<div class="card"><table>{head}{"".join(lines)}</table></div>'


def cell(metric: dict[str, Any] | None, best: float) -> str:
    """A metric with its interval; the better of the arms stands out."""
    if metric is None:
        return '<td class="quiet">no fusion</td>'
    mark = ' class="best"' if metric["value"] == best else ""
    interval = f"[{metric['low']:.1%}, {metric['high']:.1%}]"
    return f'<td{mark}>{metric["value"]:.1%} <span class="quiet small">{interval}</span></td>'


def top_retrievals(output: Path, rows: Dataset) -> str:
    """Five best answers to texts and to infrared images."""
    bundle = load_bundle(output / "results" / "clip-tri-modal.npz")
    queries = [row["id"] for row in one_per_class(rows)]
    index = {name: position for position, name in enumerate(bundle.id.tolist())}
    lines = []
    for query, gallery, chosen in (("text", "rgb", queries[1:5]), ("infrared", "rgb", queries[5:8])):
        keys = positives_of(bundle, query, gallery)
        vectors, entries = getattr(bundle, query), getattr(bundle, gallery)
        for name in chosen:
            position = index[name]
            best = np.argsort(-(entries @ vectors[position]))[:5].tolist()
            lines.append(retrieval_line(rows, query, position, best, keys))
    return "".join(lines)


def retrieval_line(rows: Dataset, query: str, position: int, best: list[int], keys: npt.NDArray[np.str_]) -> str:
    """A query and its five best answers."""
    row = rows[position]
    if query == "text":
        asked = f'<div class="small">{escape(row["captions"][0])}</div>'
    else:
        asked = f'<figure><img alt="infrared query" src="{data_uri(show_infrared(row["infrared"]["bytes"]))}">'
        asked += f"<figcaption>infrared, {escape(row['class_name'])}</figcaption></figure>"
    answers = []
    for answer in best:
        found = rows[answer]
        same_class = "class" if found["class_name"] == row["class_name"] else ""
        kind = "exact" if keys[answer] == keys[position] else same_class
        answers.append(
            f'<figure class="{kind}"><img alt="answer" src="{data_uri(show_rgb(found["rgb"]["bytes"]))}">'
            f"<figcaption>{escape(found['class_name'])}</figcaption></figure>"
        )
    return f'<div class="five">{asked}{"".join(answers)}</div>'


def heat_maps(output: Path, rows: Dataset) -> str:
    """A mosaic of scenes, where three texts are found in it, and how often the map points at the right scene."""
    chosen = one_per_class(rows)
    chosen = (chosen * (-(-(MOSAIC_SIDE**2) // len(chosen))))[: MOSAIC_SIDE**2]
    tiles = [show_rgb(row["rgb"]["bytes"]) for row in chosen]
    scene, side = mosaic(tiles, MOSAIC_SIDE), tiles[0].width
    folder = output / "clip-tri-modal" / "model"
    model, processor = RSCLIPModel.from_pretrained(folder).eval(), RSCLIPProcessor.from_pretrained(folder)
    texts = [row["captions"][0] for row in chosen]
    heats = heat_map(model, processor, np.asarray(scene), texts, window=side, stride=side // 4)
    hits = sum(points_at(heat, tile, side) for tile, heat in enumerate(heats))
    cards = [f'<div class="card small"><img alt="mosaic" src="{data_uri(scene)}">the whole scene</div>']
    for tile in (1, 6, 11):
        top, left = (side * index for index in divmod(tile, MOSAIC_SIDE))
        picture = data_uri(overlay(scene, heats[tile], (left, top, left + side - 1, top + side - 1)))
        cards.append(f'<div class="card small"><img alt="heat map" src="{picture}">{escape(texts[tile])}</div>')
    verdict = f"<p>The brightest pixel lies in the right scene for {hits} of {len(texts)} captions; chance is 1.</p>"
    return f'{verdict}<div class="grid two">{"".join(cards)}</div>'


def points_at(heat: npt.NDArray[Any], tile: int, side: int) -> bool:
    """Whether the brightest pixel of a map lies in a tile of the mosaic."""
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    return int(y) // side * MOSAIC_SIDE + int(x) // side == tile


def captions(output: Path, rows: Dataset) -> str:
    """Scores by what the captioner saw, and six pairs with what it said."""
    metrics = metrics_of(output / "results" / "captions.json")
    lines = [json.loads(line) for line in (output / "results" / "captions.jsonl").read_text().splitlines()]
    said = {(line["id"], line["shown"], line["instruction"]): line["text"] for line in lines}
    instructions = sorted({line["instruction"] for line in lines})
    table = "".join(
        f"<tr><td>{label}</td>{''.join(cell(metrics[f'{shown}/{name}'], 2.0) for name in CAPTION_METRICS)}</tr>"
        for shown, label in (("rgb", "RGB alone"), ("infrared", "infrared alone"), ("pair", "the pair"))
    )
    head = "<tr><th>captions from</th><th>ROUGE-L</th><th>class named</th><th>day or night right</th></tr>"
    known = {line["id"] for line in lines}
    cards = []
    for row in [row for row in one_per_class(rows) if row["id"] in known][:6]:
        spoken = "".join(f"<b>{escape(said[row['id'], 'pair', asked])}</b><br>" for asked in instructions[::-1])
        references = "<br>".join(escape(text) for text in (row["captions"][0], *row["infrared_captions"][:1]))
        cards.append(f'<div class="card small">{pair_images(row)}{spoken}<span class="quiet">{references}</span></div>')
    return f'<div class="card"><table>{head}{table}</table></div><br><div class="grid two">{"".join(cards)}</div>'


def reload(output: Path) -> str:
    """What the fresh process loaded and said."""
    result = json.loads((output / "reload.json").read_text())
    verdict = (
        '<span class="pass">equal bit for bit</span>' if result["equal"] else '<span class="fail">different</span>'
    )
    return (
        f'<div class="card">{escape(", ".join(result["classes"]))}: embeddings and caption {verdict}.<br>'
        f"<span class='quiet'>It said: {escape(result['caption'])}</span></div>"
    )


def one_per_class(rows: Dataset) -> list[dict[str, Any]]:
    """The first row of each class, in the order of the classes' names."""
    first: dict[str, int] = {}
    for position, name in enumerate(rows["class_name"]):
        first.setdefault(name, position)
    return [rows[first[name]] for name in sorted(first)]
