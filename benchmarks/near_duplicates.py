"""Seconds and memory of exact near-duplicate search among 64-bit hashes, beside a BK-tree; rate of perceptual hashing.

python -m benchmarks.near_duplicates --output benchmarks/results/near_duplicates.json --sizes 1000000
"""

import io
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from dataset_scripts.stages.near_duplicates import near_duplicate_pairs
from dataset_scripts.stages.perceptual_hash import hamming_distances, hash_thumbnails, perceptual_hashes
from dataset_scripts.stages.union_find import connected_components

PLANTED_FRACTION = 0.01


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    sizes: tuple[int, ...] = (1_000_000,)
    """Numbers of hashes; each is searched in a process of its own, so that its peak memory is its own."""
    radius: int = 4
    """Bits in which near duplicates may differ."""
    bk_tree_size: int = 10_000
    """Number of hashes for the BK-tree, which is what FusionRS and imagededup search with."""
    images: int = 200
    """JPEG images of 500 pixels to hash."""
    rounds: int = 3
    """Rounds of hashing; the best counts."""


def main(config: Config) -> None:
    """Run all measurements in turn and write them."""
    context = multiprocessing.get_context("spawn")
    searched = []
    for size in config.sizes:
        with context.Pool(1) as pool:
            searched.append(pool.apply(measure_search, (size, config.radius)))
        print(json.dumps(searched[-1]))
    record = {
        "what": "random hashes, one in a hundred a copy with at most `radius` bits flipped; wall seconds, one thread",
        "radius": config.radius,
        "near_duplicate_pairs": searched,
        "bk_tree": measure_bk_tree(config.bk_tree_size, config.radius),
        "perceptual_hash": measure_hashing(config.images, config.rounds),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("numpy", "pillow")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    config.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({name: record[name] for name in ("bk_tree", "perceptual_hash")}, indent=2))


def measure_search(size: int, radius: int) -> dict[str, Any]:
    """Time pairs and components, and check that every planted copy was found."""
    hashes, planted = make_hashes(size, radius)
    before = _peak_megabytes()
    start = time.perf_counter()
    pairs = near_duplicate_pairs(hashes, radius)
    found = time.perf_counter()
    roots = connected_components(size, pairs)
    end = time.perf_counter()
    distances = hamming_distances(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
    return {
        "hashes": size,
        "seconds": round(found - start, 2),
        "components_seconds": round(end - found, 2),
        "peak_megabytes": round(_peak_megabytes()),
        "peak_megabytes_before": round(before),
        "pairs": len(pairs),
        "largest_distance": int(distances.max(initial=0)),
        "planted": len(planted),
        "planted_found": int((roots[planted[:, 0]] == roots[planted[:, 1]]).sum()),
    }


def make_hashes(size: int, radius: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Random hashes, and the (copy, original) rows planted among them."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, size, dtype=np.uint64)
    count = int(size * PLANTED_FRACTION)
    rows = generator.permutation(size)[: 2 * count].reshape(2, count)
    flips = np.zeros(count, dtype=np.uint64)
    for _ in range(radius):
        flips |= np.uint64(1) << generator.integers(0, 64, count, dtype=np.uint64)
    hashes[rows[0]] = hashes[rows[1]] ^ flips
    return hashes, rows.T


def measure_bk_tree(size: int, radius: int) -> dict[str, Any]:
    """Time a BK-tree and the banded search on the same hashes, and compare what they find."""
    hashes, _ = make_hashes(size, radius)
    values = hashes.tolist()
    start = time.perf_counter()
    tree_pairs = bk_tree_pairs(values, radius)
    middle = time.perf_counter()
    pairs = near_duplicate_pairs(hashes, radius)
    end = time.perf_counter()
    return {
        "hashes": size,
        "bk_tree_seconds": round(middle - start, 3),
        "banded_seconds": round(end - middle, 4),
        "ratio": round((middle - start) / (end - middle), 1),
        "same_pairs": sorted(tree_pairs) == [tuple(pair) for pair in pairs.tolist()],
    }


def bk_tree_pairs(values: list[int], radius: int) -> list[tuple[int, int]]:
    """Insert hashes one by one, each time asking for those near it."""
    children: list[dict[int, int]] = []
    pairs = []
    for row, value in enumerate(values):
        waiting = [0] if row else []
        while waiting:
            node = waiting.pop()
            distance = (values[node] ^ value).bit_count()
            if distance <= radius:
                pairs.append((node, row))
            waiting += [
                child for edge, child in children[node].items() if distance - radius <= edge <= distance + radius
            ]
        children.append({})
        node = 0
        while row and (edge := (values[node] ^ value).bit_count()) in children[node]:
            node = children[node][edge]
        if row:
            children[node][edge] = row
    return pairs


def measure_hashing(images: int, rounds: int) -> dict[str, Any]:
    """Images per CPU-second from JPEG bytes, exact and with a reduced decode, and from thumbnails."""
    jpegs = [_scene_like_jpeg(seed) for seed in range(images)]
    thumbnails = np.random.default_rng(0).random((50 * images, 32, 32))
    contenders: dict[str, tuple[int, Callable[[], NDArray[np.uint64]]]] = {
        "exact": (images, lambda: perceptual_hashes(_opened(jpegs))),
        "reduced_decode": (images, lambda: perceptual_hashes(_opened(jpegs), reduced_decode=True)),
        "from_thumbnails": (len(thumbnails), lambda: hash_thumbnails(thumbnails)),
    }
    rates = {
        name: round(count / min(_cpu_seconds(run) for _ in range(rounds))) for name, (count, run) in contenders.items()
    }
    distances = hamming_distances(contenders["exact"][1](), contenders["reduced_decode"][1]())
    return {
        "images_per_cpu_second": rates,
        "images": images,
        "side": 500,
        "reduced_decode_bits": {"mean": round(float(distances.mean()), 3), "max": int(distances.max())},
    }


def _opened(jpegs: list[bytes]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for data in jpegs]


def _scene_like_jpeg(seed: int) -> bytes:
    """Structure at several scales, and noise."""
    generator = np.random.default_rng(seed)
    sides = (4, 12, 40, 500)
    layers = [Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in sides]
    scene = sum(
        np.asarray(layer.resize((500, 500), Image.Resampling.BICUBIC), dtype=np.float32) * weight
        for layer, weight in zip(layers, (0.4, 0.3, 0.2, 0.1), strict=True)
    )
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(scene).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _cpu_seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
