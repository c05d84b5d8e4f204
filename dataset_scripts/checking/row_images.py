"""Checks the images of one row: bytes as named, decodable, of one geometry, with nothing beside their pixels."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..stages.decode_check import decode_image
from ..stages.image_facts import upright
from ..stages.rejects import RefusedError
from ..stages.strip_metadata import strip_metadata

# Column of an image, and the column of its hash.
IMAGE_HASHES = {
    "fusionrs": {"rgb": "rgb_sha256", "infrared": "infrared_sha256"},
    "rs5m": {"image": "sha256"},
}
_INFRARED_MODES = ("L", "I;16", "I;16L", "I;16B", "I;16N")


def image_problems(row: Mapping[str, Any], dataset: str) -> Iterator[tuple[str, str]]:
    """Yield kind and detail of everything that is wrong with the images of a row."""
    sizes = {}
    for column, hash_column in IMAGE_HASHES[dataset].items():
        image = row[column]
        if image is None or not image["bytes"]:
            yield "image_missing", column
            continue
        data = image["bytes"]
        if image["path"] is not None:
            yield "image_path", f"{column}: {image['path']!r}"
        if (found := hashlib.sha256(data).hexdigest()) != row[hash_column]:
            yield "image_sha256", f"{column}: {found}; the row says {row[hash_column]}"
        try:
            pixels = upright(decode_image(data))
        except RefusedError as refusal:
            yield "image_undecodable", f"{column}: {refusal}"
            continue
        yield from _beside_pixels(column, data)
        sizes[column] = pixels.size
        if column == "infrared" and pixels.mode not in _INFRARED_MODES:
            yield "infrared_channels", f"mode {pixels.mode}"
    if len(set(sizes.values())) > 1:
        yield "geometry", ", ".join(f"{column} is {width}x{height}" for column, (width, height) in sizes.items())


def count_images(row: Mapping[str, Any], dataset: str) -> int:
    """Number of images in a row."""
    return sum(1 for column in IMAGE_HASHES[dataset] if row[column] is not None and row[column]["bytes"])


def _beside_pixels(column: str, data: bytes) -> Iterator[tuple[str, str]]:
    """What the build strips is what must not be there: stripping again changes nothing."""
    try:
        clean = strip_metadata(data)
    except ValueError as error:
        yield "image_metadata", f"{column}: {error}"
        return
    if clean != data:
        yield "image_metadata", f"{column}: {len(data) - len(clean)} bytes beside the pixels"
