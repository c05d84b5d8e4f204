"""Embeds the rows of a split with a model: the bundle that every retrieval protocol scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from tqdm import tqdm

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Embeddings (rows, width) and what they are of; saved as one `.npz`."""

    id: Array
    caption_key: Array
    label: Array
    source: Array
    text: Array | None = None
    rgb: Array | None = None
    infrared: Array | None = None
    fused: Array | None = None
    infrared_text: Array | None = None

    def save(self, path: Path) -> None:
        """Writes the arrays that exist."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **{name: value for name, value in arrays.items() if value is not None})


def load_bundle(path: Path) -> Bundle:
    """Reads what `Bundle.save` wrote."""
    with np.load(path) as arrays:
        return Bundle(**{name: arrays[name] for name in arrays.files})


@torch.inference_mode()
def embed(model: RSCLIPModel, processor: RSCLIPProcessor, rows: Dataset, batch_size: int = 64) -> Bundle:
    """Embeds the first caption, the first infrared caption and both images of every row.

    Rows keep their encoded images, as `datasets.Image(decode=False)` gives them.
    """
    parts: dict[str, list[Array]] = {}
    for batch in tqdm(list(_batches(rows, batch_size)), desc="embed", unit="batch"):
        inputs = processor(
            images=[row["rgb"]["bytes"] for row in batch],
            infrared=[row["infrared"]["bytes"] for row in batch],
            text=[row["captions"][0] for row in batch],
            infrared_text=[(row["infrared_captions"] or row["captions"])[0] for row in batch],
        )
        output = model(**{name: value.to(model.device) for name, value in inputs.items()})
        for name, value in (
            ("text", output.text_embeds),
            ("rgb", output.image_embeds),
            ("infrared", output.infrared_embeds),
            ("fused", output.fused_embeds),
            ("infrared_text", output.infrared_text_embeds),
        ):
            if value is not None:
                parts.setdefault(name, []).append(value.float().cpu().numpy())
    return Bundle(
        id=np.array(rows["id"]),
        caption_key=np.array(rows["caption_key"]),
        label=np.array([name or "" for name in rows["class_name"]]),
        source=np.array(rows["source"]),
        **{name: np.concatenate(value) for name, value in parts.items()},
    )


def _batches(rows: Dataset, size: int) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), size):
        yield [rows[index] for index in range(start, min(start + size, len(rows)))]
