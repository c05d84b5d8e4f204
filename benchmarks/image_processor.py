"""Images per second from a decoded 500 px scene to a 224 px tensor, beside transformers' CLIP processor.

python -m benchmarks.image_processor --output benchmarks/results/image_processor.json
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from transformers import CLIPImageProcessorPil

from processing import RSImageProcessor


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    images: int = 64
    """Images in a batch."""
    rounds: int = 5
    """Rounds; in each, every contender runs once, so that a noisy moment hits all of them."""
    side: int = 500
    """Side of the images in pixels."""


def main(config: Config) -> None:
    """Times the contenders in turn and writes the median of each, and ratios within a round."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    rgb = list(generator.integers(0, 256, (config.images, config.side, config.side, 3), dtype=np.uint8))
    infrared = list(generator.integers(17_000, 33_000, (config.images, config.side, config.side), dtype=np.uint16))
    ours, peer = RSImageProcessor(), CLIPImageProcessorPil()
    contenders: dict[str, Callable[[], Any]] = {
        "transformers_clip_pil_rgb": lambda: peer(rgb, return_tensors="pt"),
        "rsclip_rgb": lambda: ours(images=rgb),
        "rsclip_infrared_16_bit": lambda: ours(infrared=infrared),
        "rsclip_pair": lambda: ours(images=rgb, infrared=infrared),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(config.rounds):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    rates = {name: round(config.images / statistics.median(times), 1) for name, times in seconds.items()}
    ratios = [
        peer / ours for peer, ours in zip(seconds["transformers_clip_pil_rgb"], seconds["rsclip_rgb"], strict=True)
    ]
    record = {
        "what": "images per CPU-second, one thread, decoded arrays to normalised tensors",
        "rates": rates,
        "rsclip_rgb_over_transformers": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "images": config.images,
        "rounds": config.rounds,
        "side": config.side,
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    config.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({"rates": rates, "ratio": record["rsclip_rgb_over_transformers"]}, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
