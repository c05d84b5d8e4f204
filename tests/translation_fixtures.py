"""Pictures to translate, and what holds for every translator of them."""

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from dataset_scripts.stages.translate import Translated, TranslationInput

SIZES = ((32, 24), (17, 31), (32, 24), (24, 32), (1, 3), (32, 24), (17, 31))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pictures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[TranslationInput]:
    return [TranslationInput(f"row-{row}", picture(*size, seed=row)) for row, size in enumerate(sizes)]


def assert_whole(batch: Sequence[TranslationInput], kept: Sequence[Translated], mode: str) -> None:
    """Every output has the geometry of its input, and its bytes are its pixels."""
    for done in kept:
        assert done.infrared.size == batch[done.row].rgb.size
        assert done.infrared.mode == mode
        assert done.sha256 == hashlib.sha256(done.png).hexdigest()
        with Image.open(io.BytesIO(done.png)) as read:
            assert (read.format, read.mode) == ("PNG", mode)
            np.testing.assert_array_equal(np.asarray(read), np.asarray(done.infrared))


def hashes(translator: Any, batch: Sequence[TranslationInput]) -> dict[str, str]:
    kept, rejects = translator.translate(batch)
    assert not rejects
    return {batch[done.row].id: done.sha256 for done in kept}


def assert_alone_together_and_reordered_are_the_same(translator: Any, batch: Sequence[TranslationInput]) -> None:
    alone = {name: sha for item in batch for name, sha in hashes(translator, [item]).items()}
    assert len(set(alone.values())) == len(batch)
    assert hashes(translator, batch) == alone
    assert hashes(translator, batch[::-1]) == alone
    assert hashes(translator, [batch[2], batch[0], batch[2]]) == {name: alone[name] for name in ("row-2", "row-0")}
