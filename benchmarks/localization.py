"""CPU seconds of semantic localization for 59 queries over one scene, beside the published procedure; peak memory.

python -m benchmarks.localization --output benchmarks/results/localization.json

The published procedure encodes every window again for every query, one by one, and adds and divides pixel by pixel.
It is timed for two queries and multiplied. Every measurement has a process and a thread of its own, and counts the
seconds of that process, so that a busy machine slows neither. Linux only (/proc/self).
"""

import json
import multiprocessing
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro
from transformers import CLIPTextConfig, CLIPVisionConfig

from evaluation.localization.encoder import scene_maps, window_cosines
from evaluation.localization.heat_map import CellMaps, cell_maps, heat_levels
from evaluation.localization.metrics import score_heat
from evaluation.localization.scene import PictureScene
from evaluation.localization.windows import Pixels, crop_for_encoder, windows_of
from modeling_rsclip import RSCLIPConfig, RSCLIPModel

Floats = npt.NDArray[np.float64]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
REGION = ((300.0, 300.0), (900.0, 320.0), (880.0, 900.0), (310.0, 880.0))


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    side: int = 2_048
    """Side of the scene in pixels."""
    queries: int = 59
    """Texts over that scene; the number of AIR-SLT."""
    measured_queries: int = 2
    """Queries that the published procedure runs; the others are extrapolated."""
    large_side: int = 10_000
    """Side of the scene whose memory is measured, with an encoder that costs nothing."""
    batch_size: int = 32
    """Windows encoded at once by ours."""
    layers: int = 12
    """Layers of the two towers; 12 is ViT-B/32."""
    width: int = 768
    """Width of the image tower, in heads of 64; 768 is ViT-B/32."""
    scored_queries: int = 5
    """Heat maps that are scored."""


class RandomTower:
    """CLIP of the size asked for with random weights, whose texts are random tokens."""

    def __init__(self, config: Config) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        heads, text_width = config.width // 64, config.width * 2 // 3
        vision = CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=heads,
        )
        text = CLIPTextConfig(
            hidden_size=text_width,
            intermediate_size=4 * text_width,
            num_hidden_layers=config.layers,
            num_attention_heads=max(text_width // 64, 1),
        )
        self.model = RSCLIPModel(
            RSCLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=512)
        ).eval()

    @torch.inference_mode()
    def encode_images(self, images: list[Pixels]) -> npt.NDArray[Any]:
        """Resized to 224 pixels and normalised as CLIP does."""
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255  # (N, 3, 256, 256)
        pixels = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        return np.asarray(self.model.get_image_features((pixels - mean) / std).pooler_output.numpy())

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> npt.NDArray[Any]:
        """Tokens drawn from the seed that a text is."""
        tokens = torch.stack(
            [torch.randint(5, 40_000, (16,), generator=torch.Generator().manual_seed(int(text))) for text in texts]
        )
        tokens[:, -1] = 49_407
        return np.asarray(self.model.get_text_features(tokens).pooler_output.numpy())


class MeanColour:
    """An encoder that costs nothing, so that what is left is ours."""

    def encode_images(self, images: list[Pixels]) -> npt.NDArray[Any]:
        """Mean colours."""
        return np.stack([image.mean(axis=(0, 1)) for image in images])

    def encode_texts(self, texts: list[str]) -> npt.NDArray[Any]:
        """Random directions."""
        return np.random.default_rng(0).random((len(texts), 3))


def main(config: Config) -> None:
    """Runs all measurements in turn and writes them."""
    context = multiprocessing.get_context("spawn")
    results = {}
    for name, measure in (("speed", measure_speed), ("large_scene", measure_large_scene)):
        with context.Pool(1) as pool:
            results[name] = pool.apply(measure, (config,))
        print(json.dumps({name: results[name]}, indent=2))
    record = {
        "what": f"semantic localization of {config.queries} queries over one scene; CPU seconds, one thread",
        **results,
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    config.output.write_text(json.dumps(record, indent=2) + "\n")


def measure_speed(config: Config) -> dict[str, Any]:
    """Both procedures on one scene with one encoder, and how far their maps differ."""
    encoder, pixels = RandomTower(config), scene_pixels(config.side)
    texts = [str(number) for number in range(config.queries)]
    encoder.encode_images([pixels[:256, :256]])  # first calls cost more
    encoder.encode_texts(texts[:1])
    theirs = [published_query(encoder, pixels, text) for text in texts[: config.measured_queries]]
    start = time.process_time()
    maps = scene_maps(PictureScene(pixels), texts, encoder, batch_size=config.batch_size)
    encoded = time.process_time()
    heats = [heat_levels(maps, place) for place in range(config.queries)]
    mapped = time.process_time()
    for heat in heats[: config.scored_queries]:
        score_heat(heat, (REGION,))
    scored = time.process_time()
    differences = [
        float(np.abs(maps.expand(maps.relative(place)) - relative).max()) for place, (relative, _) in enumerate(theirs)
    ]
    seconds = [sum(parts.values()) for _, parts in theirs]
    per_query = sum(seconds) / len(seconds)
    ratio = config.queries * per_query / (mapped - start)
    return {
        "scene_pixels": [config.side, config.side],
        "windows": len(windows_of(config.side, config.side)),
        "queries": config.queries,
        "encoder": f"random weights, {config.layers} layers, width {config.width}, patches of 32, float32",
        "published_seconds_per_query": [round(value, 2) for value in seconds],
        "published_parts": {name: round(theirs[0][1][name], 2) for name in theirs[0][1]},
        "published_seconds_extrapolated": round(config.queries * per_query, 1),
        "rsclip_seconds": round(mapped - start, 2),
        "rsclip_parts": {"encode": round(encoded - start, 2), "heat_maps": round(mapped - encoded, 2)},
        "rsclip_score_seconds_per_query": round((scored - mapped) / config.scored_queries, 2),
        "ratio": round(ratio, 1),
        "largest_difference_of_maps": max(differences),
    }


def published_query(encoder: RandomTower, pixels: Pixels, text: str) -> tuple[Floats, dict[str, float]]:
    """One query as published: its map from 0 to 1 before the filter, and the seconds of each part.

    Its median filter is left out of the time: OpenCV's, about 0.2 s here, is not installed.
    """
    start = time.process_time()
    crops = {w: crop_for_encoder(pixels[w[0] : w[1], w[2] : w[3]], jpeg=True) for w in windows_list(pixels)}
    cut = time.process_time()
    target = torch.from_numpy(encoder.encode_texts([text]))
    scores = {}
    for window, crop in crops.items():
        image = torch.from_numpy(encoder.encode_images([crop]))
        scores[window] = torch.nn.functional.cosine_similarity(image, target).item()
    encoded = time.process_time()
    height, width = pixels.shape[:2]
    heat, seen = np.zeros((height, width)), np.zeros((height, width))
    for (top, bottom, left, right), cosine in scores.items():
        heat[top:bottom, left:right] += cosine
        seen[top:bottom, left:right] += 1
    for y in range(height):
        for x in range(width):
            heat[y, x] = heat[y, x] / seen[y, x]
    lifted = heat - heat.min()
    relative = lifted / lifted.max()
    end = time.process_time()
    return relative, {"cut": cut - start, "encode": encoded - cut, "accumulate": end - encoded}


def windows_list(pixels: Pixels) -> list[tuple[int, int, int, int]]:
    """Both procedures look at the same windows."""
    windows = windows_of(pixels.shape[0], pixels.shape[1]).tolist()
    return [(top, bottom, left, right) for top, bottom, left, right in windows]


def measure_large_scene(config: Config) -> dict[str, Any]:
    """Seconds and memory of all but the encoder, over a scene that is never held whole."""
    torch.set_num_threads(1)
    scene, texts = TiledScene(config.large_side), [str(number) for number in range(config.queries)]
    before = _resident_megabytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.process_time()
    windows = windows_of(scene.height, scene.width)
    cosines = window_cosines(scene, windows, texts, MeanColour(), batch_size=config.batch_size)
    maps: CellMaps = cell_maps(windows, cosines, scene.height, scene.width)
    accumulated, peak_of_maps = time.process_time(), _peak_megabytes()
    heat = heat_levels(maps, 0)
    filtered, peak_of_heat = time.process_time(), _peak_megabytes()
    score_heat(heat, (REGION,))
    scored = time.process_time()
    return {
        "scene_pixels": [config.large_side, config.large_side],
        "windows": len(windows),
        "cells": list(maps.cosines.shape[1:]),
        "queries": config.queries,
        "seconds_to_read_crop_and_accumulate": round(accumulated - start, 2),
        "heat_map_seconds_per_query": round(filtered - accumulated, 2),
        "score_seconds_per_query": round(scored - filtered, 2),
        "megabytes_before": round(before),
        "extra_megabytes_of_all_maps": round(peak_of_maps - before),
        "extra_megabytes_with_a_heat_map": round(peak_of_heat - before),
        "extra_megabytes_with_its_score": round(_peak_megabytes() - before),
    }


class TiledScene:
    """A scene of any size that repeats one tile and is never held whole."""

    def __init__(self, side: int) -> None:
        self.name, self.height, self.width, self.tile = "tiled", side, side, scene_pixels(1_024)

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[Pixels, float]:
        """See `Scene`."""
        rows, columns = np.arange(top, bottom) % len(self.tile), np.arange(left, right) % len(self.tile)
        return self.tile[np.ix_(rows, columns)], 1.0


def scene_pixels(side: int) -> Pixels:
    """Structure at several scales."""
    generator = np.random.default_rng(0)
    planes = torch.zeros(1, 3, side, side)
    for cells in (4, 32, 256):
        noise = torch.from_numpy(generator.random((1, 3, cells, cells), dtype=np.float32))
        planes += torch.nn.functional.interpolate(noise, size=(side, side), mode="bilinear")
    return (planes[0].permute(1, 2, 0) * 85).to(torch.uint8).numpy()


def _peak_megabytes() -> float:
    return _status("VmHWM")


def _resident_megabytes() -> float:
    return _status("VmRSS")


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
