"""RGB travels from the workers to the training device as bytes, and becomes normalised floats there.

A quarter of what is sent, and the workers' time is left to decoding; the values are the same.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from processing import RSCLIPProcessor, RSImageProcessor


def in_levels(processor: Any) -> Any:
    """A CLIP's processor that leaves images unnormalised; any other as it is, for it may mix images of both kinds."""
    if not isinstance(processor, RSCLIPProcessor):
        return processor
    settings = {**processor.image_processor.to_dict(), "do_rescale": False, "do_normalize": False}
    return RSCLIPProcessor(
        RSImageProcessor.from_dict(settings),
        processor.tokenizer,
        text_padding=processor.text_padding,
        max_text_length=processor.max_text_length,
    )


class FinishedBatches:
    """Batches of workers on the device that trains, as the whole processor would have made them."""

    def __init__(self, batches: Iterable[dict[str, Any]], processor: Any, device: torch.device) -> None:
        """Takes batches that were made with `in_levels` of the processor."""
        self.batches, self.processor, self.device = batches, processor, device

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches:
            moved = {
                name: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                for name, value in batch.items()
            }
            if isinstance(self.processor, RSCLIPProcessor):
                moved = self.processor.image_processor.normalise(moved)
            yield moved
