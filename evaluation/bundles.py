"""Reads a benchmark's data and embeds it: one bundle per split that the protocol needs.

Rows that a protocol cannot use (no class name, say) are left out and counted in the notes of the result.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from .box_sets import read_box_set
from .caption_sets import read_caption_set
from .classification.class_names import CLASS_SETS, PROMPT_SETS, class_text
from .classification.class_outcomes import SEPARATOR
from .embedding import Bundle
from .foreign_models import Clip, Floats, embed_images, embed_pairs, embed_texts
from .image_folders import read_image_folder
from .pair_conditions import PairCondition
from .retrieval.retrieval_fusionrs import NO_TEXT
from .retrieval.retrieval_rs import SKYSCRIPT_PREFIX
from .rows import is_built, load_split
from .score import NEEDS_VALIDATION, RETRIEVAL_RS, ProtocolOptions

PAIR_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where a benchmark's data is."""

    data: Path = Path("fusionrs")
    """A folder that the dataset builder wrote (retrieval-fusionrs, zero-shot-infrared, fusion, pair-retrieval,
    captions), a caption file .json or .jsonl (retrieval-rs and its variants), a folder of class folders (zero-shot), or
    a folder of NAME.json and images in NAME/ for each split (presence, linear-probe)."""
    images: Path | None = None
    """Folder of a caption file's images; the file's own folder when not given."""
    split: str = "test"
    """Split to score."""
    validation_split: str = "validation"
    """Split that fusion and linear-probe choose on."""
    train_split: str = "train"
    """Split that linear-probe fits on."""
    classes: str = "folders"
    """Class names of zero-shot: aid, resisc45, eurosat, eurosat-folders, or folders for the folders' own names."""
    pair_folders: tuple[str, str] = ("rgb", "infrared")
    """Folders of RGB and infrared images with equal names, where the data of pair-retrieval is no built dataset."""
    condition: PairCondition = "as_is"
    """What happened to the pairs of retrieval-fusionrs and pair-retrieval: an image is missing, the infrared has noise
    as strong as itself, or is shifted by a twelfth of its sides."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The bundles of a benchmark, and what the result should say about them."""

    test: Bundle
    validation: Bundle | None = None
    train: Bundle | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def bundles_of(protocol: str, clip: Clip, data: Data, options: ProtocolOptions, batch_size: int) -> Found:
    """Embeds what the protocol needs, and says so on one line per split."""
    if data.condition in ("no_rgb", "no_infrared") and protocol == "pair-retrieval":
        raise ValueError(f"condition is {data.condition!r}; pair-retrieval needs both images.")
    if protocol in RETRIEVAL_RS:
        return Found(test=caption_bundle(clip, data, batch_size, SKYSCRIPT_PREFIX if "sky" in protocol else ""))
    modality = options.modality_of(protocol)
    if protocol == "presence":
        prompts = options.prompts_of(protocol)
        return Found(test=box_bundle(clip, data, data.split, prompts, modality, batch_size))
    if protocol == "linear-probe":
        splits = (data.split, data.validation_split, data.train_split)
        test, validation, train = (box_bundle(clip, data, split, None, modality, batch_size) for split in splits)
        return Found(test=test, validation=validation, train=train)
    if protocol in ("zero-shot", "zero-shot-transductive"):
        return folder_bundle(clip, data, options.prompts_of(protocol), modality, batch_size)
    if protocol == "zero-shot-infrared":
        return scene_bundle(clip, data, options.prompts_of(protocol), batch_size)
    if protocol == "pair-retrieval" and not is_built(data.data):
        return Found(test=pair_bundle(clip, data, batch_size))
    test = row_bundle(clip, load_split(str(data.data), data.split), batch_size, data.condition)
    if protocol not in NEEDS_VALIDATION:
        return Found(test=test)
    return Found(test=test, validation=row_bundle(clip, load_split(str(data.data), data.validation_split), batch_size))


def row_bundle(clip: Clip, rows: Dataset, batch_size: int, condition: PairCondition = "as_is") -> Bundle:
    """Both images, the first caption and the first infrared caption of every row; it stays out where a row has none."""
    texts = rows.select_columns(["captions", "infrared_captions"]).to_list()
    lost = [row for row, one in zip(rows["id"], texts, strict=True) if not one["captions"]]
    if lost:
        raise ValueError(f"{len(lost)} rows have no caption, such as {lost[0]!r}; retrieval needs one for each.")
    arrays = _pairs_of(clip, rows, batch_size, condition)
    arrays["text"] = embed_texts(clip, [one["captions"][0] for one in texts])
    infrared_texts = [next(iter(one["infrared_captions"]), NO_TEXT) for one in texts]
    if any(infrared_texts):
        arrays["infrared_text"] = embed_texts(clip, infrared_texts)
        arrays["infrared_caption_key"] = np.array([text_key(text) if text else NO_TEXT for text in infrared_texts])
    return Bundle(
        id=np.array(rows["id"]),
        caption_key=np.array(rows["caption_key"]),
        label=np.array([name or "" for name in rows["class_name"]]),
        source=np.array(rows["source"]),
        **arrays,
    )


def text_key(text: str) -> str:
    """Equal for texts of equal words."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()[:16]


def scene_bundle(clip: Clip, data: Data, prompts: str, batch_size: int) -> Found:
    """Both images of the rows that name a class, and prompts of the classes that occur."""
    rows = load_split(str(data.data), data.split)
    named = [index for index, name in enumerate(rows["class_name"]) if name]
    if not named:
        raise ValueError(f"{data.data}: no row of {data.split!r} names a class; zero-shot-infrared needs classes.")
    kept = rows.select(named)
    labels = [class_text(name) for name in kept["class_name"]]
    texts, keys = prompt_texts(sorted(set(labels)), prompts)
    bundle = Bundle(
        id=np.array(kept["id"]),
        label=np.array(labels),
        source=np.array(kept["source"]),
        caption_key=np.array(keys),
        text=embed_texts(clip, texts),
        **_pairs_of(clip, kept, batch_size),
    )
    return Found(test=bundle, notes={"rows_without_class": len(rows) - len(kept)})


def caption_bundle(clip: Clip, data: Data, batch_size: int, prefix: str = "") -> Bundle:
    """RGB images and every caption, keyed by its literal text."""
    found = read_caption_set(data.data, data.images, data.split)
    texts = [text for captions in found.captions for text in captions]
    of = [name for name, captions in zip(found.ids, found.captions, strict=True) for _ in captions]
    return Bundle(
        id=np.array(found.ids),
        image_id=np.array(of),
        caption_key=np.array(texts),
        rgb=embed_images(clip, found.paths, [str(path) for path in found.paths], "rgb", batch_size),
        text=embed_texts(clip, [prefix + text for text in texts]),
    )


def folder_bundle(clip: Clip, data: Data, prompts: str, modality: str, batch_size: int) -> Found:
    """A classification set with its prompts."""
    found = read_image_folder(data.data, data.classes)
    texts, keys = prompt_texts(found.names, prompts)
    bundle = Bundle(
        id=np.array(found.ids),
        label=np.array(found.labels),
        caption_key=np.array(keys),
        text=embed_texts(clip, texts),
        **_one_image(clip, found.paths, modality, batch_size),
    )
    return Found(test=bundle, notes={"files_that_are_no_images": found.ignored_files})


def box_bundle(clip: Clip, data: Data, split: str, prompts: str | None, modality: str, batch_size: int) -> Bundle:
    """Images with the classes of their boxes, joined by `|`, and prompts where the protocol has any."""
    classes = CLASS_SETS["hit-uav"]
    found = read_box_set(data.data / f"{split}.json", data.data / split, classes)
    arrays: dict[str, Any] = _one_image(clip, found.paths, modality, batch_size)
    if prompts is not None:
        texts, keys = prompt_texts(classes.names, prompts)
        arrays |= {"text": embed_texts(clip, texts), "caption_key": np.array(keys)}
    return Bundle(id=np.array(found.ids), label=np.array([SEPARATOR.join(names) for names in found.shown]), **arrays)


def pair_bundle(clip: Clip, data: Data, batch_size: int) -> Bundle:
    """Pairs of two folders, by the names of the files without their suffix."""
    sides = [_by_stem(data.data / name) for name in data.pair_folders]
    alone = sorted(set(sides[0]) ^ set(sides[1]))
    if alone:
        raise ValueError(
            f"{data.data}: {len(alone)} images have no partner of the same name in {' and '.join(data.pair_folders)}, "
            f"such as {alone[0]!r}."
        )
    ids = sorted(sides[0])
    pairs = [(sides[0][name], sides[1][name]) for name in ids]
    names = [f"{rgb} with {infrared}" for rgb, infrared in pairs]
    arrays = embed_pairs(clip, pairs, names, batch_size, data.condition, ids)
    return Bundle(id=np.array(ids), **arrays)


def prompt_texts(names: Sequence[str], prompts: str) -> tuple[list[str], list[str]]:
    """Every prompt of every class, class by class, and the class of each."""
    templates = PROMPT_SETS[prompts].templates
    texts = [template.replace("{}", name) for name in names for template in templates]
    return texts, [name for name in names for _ in templates]


def _pairs_of(clip: Clip, rows: Dataset, batch_size: int, condition: PairCondition = "as_is") -> dict[str, Floats]:
    """Embeds row by row of images that are decoded a batch at a time."""
    parts: dict[str, list[Floats]] = {}
    for start in range(0, len(rows), 16 * batch_size):
        some = rows.select(range(start, min(start + 16 * batch_size, len(rows))))
        pairs = [(row["rgb"]["bytes"], row["infrared"]["bytes"]) for row in some]
        names = [f"row {name}" for name in some["id"]]
        for name, part in embed_pairs(clip, pairs, names, batch_size, condition).items():
            parts.setdefault(name, []).append(part)
    return {name: np.concatenate(part) for name, part in parts.items()}


def _one_image(clip: Clip, paths: Sequence[Path], modality: str, batch_size: int) -> dict[str, Floats]:
    if modality not in ("rgb", "infrared"):
        raise ValueError(f"modality is {modality!r}, but the data has one image each; wanted rgb or infrared.")
    kind: Any = modality
    return {modality: embed_images(clip, paths, [str(path) for path in paths], kind, batch_size)}


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; wanted one of the two folders of a pair (--pair-folders).")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PAIR_SUFFIXES)
    named = {path.stem: path for path in paths}
    if not named or len(named) < len(paths):
        raise ValueError(f"{folder} holds {len(paths)} images with {len(named)} names; wanted some, each name once.")
    return named
