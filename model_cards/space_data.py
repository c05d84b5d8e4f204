"""The images of a Space: rows that may be handed on as its gallery and examples, and a large simulated scene."""

import io
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from dataset_scripts.rights import may_publish, withhold
from dataset_scripts.scenes.scene_classes import SCENE_CLASSES, make_scene_graph
from dataset_scripts.scenes.scene_encoding import ATTRIBUTION, LICENSE
from dataset_scripts.scenes.scene_graph import at_hour
from dataset_scripts.scenes.scene_simulator import render_scene
from evaluation.rows import load_split

from .space_models import GalleryModel

SPLIT = "test"
EXAMPLES = 3
THUMBNAIL_SIDE, JPEG_QUALITY = 192, 85
FACTS = ("id", "class_name", "license", "attribution", "infrared_origin", "infrared_band")
# One hour for all of the large scene: after midnight, when what was heated shows.
SCENE_SEED, SCENE_HOUR = 0, 1.5
SCENE_COLUMNS, SCENE_ROWS = 4, 3
SCENE_NOTE = (
    "The large scene is **simulated**: twelve scenes of the RSCLIP scene simulator side by side, its infrared a small "
    "thermal model at half past one at night. It shows no place, and no temperature. "
    f"{LICENSE}. {ATTRIBUTION}"
)


@dataclass(frozen=True, kw_only=True)
class SpaceRow:
    """A row that may be handed on: its two image files, and what is said of them."""

    rgb: bytes
    infrared: bytes
    facts: dict[str, str]


def choose_rows(data: Path, count: int) -> list[SpaceRow]:
    """Test rows whose licence permits handing on images and captions; the classes take turns, so that each is there.

    Raises:
        ValueError: there are too few.
    """
    split = load_split(str(data), SPLIT)
    about = split.select_columns([*FACTS, "captions", "infrared_captions"])
    by_class: dict[str, list[int]] = defaultdict(list)
    refused: Counter[str] = Counter()
    for index, row in enumerate(about):
        if may_publish(row["license"], row["infrared_origin"]):
            by_class[row["class_name"] or ""].append(index)
        else:
            refused[str(row["license"])] += 1
    turns = [(turn, name, index) for name, indices in by_class.items() for turn, index in enumerate(indices)]
    chosen = [index for _, _, index in sorted(turns)[:count]]
    if len(chosen) < EXAMPLES:
        kept_back = ", ".join(f"{number} under {name!r}" for name, number in refused.most_common()) or "none"
        raise ValueError(
            f"{data} has {len(chosen)} {SPLIT} rows that may be handed on; wanted at least {EXAMPLES}. Withheld by "
            f"their licence: {kept_back}."
        )
    return [_space_row(split[index]) for index in chosen]


def write_gallery(folder: Path, rows: list[SpaceRow], model: GalleryModel) -> None:
    """Thumbnails, `gallery.json`, and `gallery.safetensors` with the embeddings of each view.

    Raises:
        ValueError: the model's processor refuses an image.
    """
    place = folder / "gallery"
    place.mkdir()
    listed = []
    for number, row in enumerate(rows):
        names = {kind: f"gallery/{number:03}_{kind}.jpg" for kind in ("rgb", "infrared")}
        try:
            pictures = {"rgb": model.show_rgb(row.rgb), "infrared": model.show_infrared(row.infrared)}
        except ValueError as error:
            raise ValueError(f"row {row.facts['id']}: {error}") from error
        for kind, picture in pictures.items():
            picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            picture.save(folder / names[kind], "JPEG", quality=JPEG_QUALITY)
        listed.append({**row.facts, **names})
    (folder / "gallery.json").write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    embeddings = model.embed([{"image": row.rgb, "infrared": row.infrared} for row in rows])
    save_file({name: rows.contiguous() for name, rows in embeddings.items()}, folder / "gallery.safetensors")


def write_examples(folder: Path, rows: list[SpaceRow]) -> list[dict[str, str]]:
    """The first rows whole, infrared in its own depth; returns what they are called, and their files.

    Raises:
        ValueError: infrared of a form that PNG does not hold.
    """
    place = folder / "examples"
    place.mkdir()
    examples = []
    for number, row in enumerate(rows[:EXAMPLES]):
        rgb, infrared = (Image.open(io.BytesIO(content)) for content in (row.rgb, row.infrared))
        if infrared.mode not in ("L", "I;16"):
            raise ValueError(
                f"the infrared of row {row.facts['id']} is {infrared.mode}; wanted one channel, 8 or 16 bits."
            )
        names = {"rgb": f"{number}_rgb.jpg", "infrared": f"{number}_infrared.png"}
        Image.fromarray(np.asarray(rgb.convert("RGB"))).save(place / names["rgb"], "JPEG", quality=92)
        Image.fromarray(np.asarray(infrared)).save(place / names["infrared"], "PNG")
        examples.append({"label": row.facts["class_name"] or row.facts["id"], **names})
    return examples


def write_scene(folder: Path, tile: int) -> str:
    """Simulated scenes side by side as one, RGB and 16-bit infrared; returns what the page says of it."""
    place = folder / "scene"
    place.mkdir()
    names = sorted(SCENE_CLASSES)[: SCENE_COLUMNS * SCENE_ROWS]
    graphs = [make_scene_graph(SCENE_SEED, number, name) for number, name in enumerate(names)]
    scenes = [render_scene(at_hour(graph, SCENE_HOUR), tile) for graph in graphs]
    rgb, infrared = (_side_by_side(images) for images in zip(*((one.rgb, one.infrared) for one in scenes), strict=True))
    Image.fromarray(rgb).save(place / "rgb.jpg", "JPEG", quality=92)
    Image.fromarray(infrared).save(place / "infrared.png", "PNG")
    return SCENE_NOTE


def _side_by_side(images: Any) -> Any:
    """Equal images in the columns and rows of the scene."""
    rows = [
        np.concatenate(images[start : start + SCENE_COLUMNS], axis=1) for start in range(0, len(images), SCENE_COLUMNS)
    ]
    return np.concatenate(rows, axis=0)


def _space_row(row: dict[str, Any]) -> SpaceRow:
    public = withhold(row)
    texts = {"caption": "captions", "infrared_caption": "infrared_captions"}
    facts = {name: str(row[name] or "") for name in FACTS}
    facts |= {name: next(iter(public[column]), "") for name, column in texts.items()}
    return SpaceRow(rgb=row["rgb"]["bytes"], infrared=row["infrared"]["bytes"], facts=facts)
