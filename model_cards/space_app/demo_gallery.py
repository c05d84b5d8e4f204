"""The small gallery of the search: rows, thumbnails, and embeddings that were made once."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Rows and, by view (`fused`, `rgb`, `infrared`), their unit embeddings (N, D)."""

    rows: list[dict[str, Any]]
    pictures: list[dict[str, str]]
    embeddings: dict[str, torch.Tensor]


def load_gallery(folder: Path) -> Gallery:
    """Read `gallery.json`, the thumbnails that it names, and `gallery.safetensors`."""
    rows = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    pictures = [{name: _data_uri(folder / row[name]) for name in ("rgb", "infrared")} for row in rows]
    return Gallery(rows=rows, pictures=pictures, embeddings=load_file(folder / "gallery.safetensors"))


def _data_uri(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
