"""Rows of pairs to squares of RGB and infrared that are cut, turned and mirrored alike.

Shapes: B rows, S the side of a square.
"""

from typing import Any

import torch

from evaluation.translation.pairs import read_pair
from processing import RSImageProcessor

from ..data.draw import draw


class TranslatorBatches:
    """Rows to `pixel_values` (B, 3, S, S), `infrared_values` (B, 1, S, S) in [0, 1], and `valid` (B, 1, S, S).

    A square depends on the seed, the epoch and the id of its row alone.
    """

    def __init__(self, processor: RSImageProcessor, seed: int, crop: int, turn_and_flip: bool = True):
        self.processor, self.seed, self.crop, self.turn_and_flip = processor, seed, crop, turn_and_flip

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        squares = [self._square(row) for row in rows]
        return {name: torch.stack([square[name] for square in squares]) for name in squares[0]}

    def _square(self, row: dict[str, Any]) -> dict[str, torch.Tensor]:
        images = read_pair(row, self.processor)
        height, width = images["valid"].shape[-2:]
        if min(height, width) < self.crop:
            raise ValueError(
                f"row {row['id']!r} is {width}x{height}, smaller than the square of {self.crop} that is cut from it; "
                "give a smaller --images.crop, or leave the row out of the dataset."
            )
        generator = draw(self.seed, "square", row["epoch"], row["id"])
        top, left, turns, mirror = (
            int(torch.randint(choices, (1,), generator=generator))
            for choices in (height - self.crop + 1, width - self.crop + 1, 4, 2)
        )
        cut = {name: image[..., top : top + self.crop, left : left + self.crop] for name, image in images.items()}
        if not self.turn_and_flip:
            return cut
        turned = {name: image.rot90(turns, (-2, -1)) for name, image in cut.items()}
        return {name: image.flip(-1) if mirror else image for name, image in turned.items()}
