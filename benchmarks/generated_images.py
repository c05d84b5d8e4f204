"""Images for measuring: structure at several scales and noise, so that codecs and hashes have something to do."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

_LAYERS = ((4, 0.4), (12, 0.3), (40, 0.2))  # (side in cells, weight)
_NOISE = 0.1


def scene_like_image(seed: int, side: int) -> Image.Image:
    """An RGB image of `side` pixels."""
    generator = np.random.default_rng(seed)
    scene = _NOISE * generator.integers(0, 256, (side, side, 3)).astype(np.float32)
    for cells, weight in _LAYERS:
        layer = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        scene += weight * np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray(scene.astype(np.uint8))


def scene_like_jpeg(seed: int, side: int) -> bytes:
    """The same as JPEG of quality 90."""
    buffer = io.BytesIO()
    scene_like_image(seed, side).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_captioned_folder(folder: Path, images: int, side: int) -> list[Path]:
    """Write JPEG files, each with a caption in a text file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(images)]
    for number, path in enumerate(paths):
        path.write_bytes(scene_like_jpeg(number, side))
        path.with_suffix(".txt").write_text(f"a generated scene, number {number}, seen from above\n")
    return paths
