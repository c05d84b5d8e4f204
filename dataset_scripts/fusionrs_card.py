"""The dataset card of a simulated `fusionrs` folder, rendered from its manifest."""

import hashlib
from typing import Any

_CARD = """\
---
license: apache-2.0
pretty_name: FusionRS (simulated)
task_categories:
- image-to-text
- zero-shot-image-classification
tags:
- remote sensing
- infrared
- simulated
configs:
- config_name: default
  default: true
  description: content {content}
  data_files:
{default_files}
- config_name: index
  description: content {content}
  data_files:
{index_files}
---
# FusionRS, simulated

{rows} RGB-infrared pairs of simulated aerial scenes, {size} by {size} pixels, with scene captions and captions of what
the infrared image shows. Every row has `infrared_origin` = `simulated`: nothing here was observed.

```python
from datasets import load_dataset

pairs = load_dataset("{folder}")
rows_without_images = load_dataset("{folder}", "index")
```

| split | rows | leak groups |
|---|---|---|
{split_rows}

## How it was made

A scene graph (land cover, roads, objects with their materials and hidden states) is drawn once, and both images are
looked up from that drawing, so their geometry is the same. The RGB image is a daylight image. The infrared image
follows a small model of materials, hour and season, and it alone shows the hidden states: a running engine, a
filled tank, a bright roof, a spot used a short time ago, the hour being day or night.

Infrared pixels are 16-bit counts of a simulated camera. They are **not temperature**, and no caption says so.

- `captions`: five captions of the RGB image; `caption_key` is the hash of the first, normalised.
- `infrared_captions`: one to three captions of the infrared image.
- `leak_group`: rows with equal `caption_key`; a group lies in one split.
- `manifest.json`: configuration, versions, and rows, bytes and SHA-256 of every shard.

Made with seed {seed}, code revision {revision}.

## What it is for

Tests, demonstrations, and controlled measurements of infrared-aware training. Scores on it say nothing about real
imagery.
"""


def render_card(manifest: dict[str, Any], *, folder: str) -> str:
    """Return README.md, with the configurations that `load_dataset` reads."""
    splits: dict[str, dict[str, int]] = manifest["splits"]
    return _CARD.format(
        default_files=_data_files("data", splits),
        index_files=_data_files("index", splits),
        rows=manifest["stages"][0]["rows_out"],
        size=manifest["config"]["size"],
        seed=manifest["config"]["seed"],
        folder=folder,
        content=_content(manifest["shards"]),
        split_rows="\n".join(
            f"| {name} | {facts['rows']} | {facts['leak_groups']} |" for name, facts in splits.items()
        ),
        revision=manifest["code_revision"] or "unknown",
    )


def _data_files(folder: str, splits: dict[str, dict[str, int]]) -> str:
    return "\n".join(f"  - split: {name}\n    path: {folder}/{name}-*.parquet" for name in splits)


def _content(shards: list[dict[str, Any]]) -> str:
    """A name for the content of the shards.

    `datasets` caches a folder under its name and its card, and does not look at the files: without this, another
    `fusionrs` folder that was loaded before would be returned in place of this one.
    """
    return hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()[:16]
