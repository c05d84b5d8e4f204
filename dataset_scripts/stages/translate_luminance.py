"""The greyscale control: luminance in place of infrared. A translation that does not beat it has shown nothing."""

from collections.abc import Sequence

from .rejects import Reject
from .translate import Translated, TranslationInput, encode_image

ORIGIN = "luminance"


class LuminanceTranslator:
    """ITU-R 601 luma in 8 bits, as Pillow computes it."""

    origin = ORIGIN
    band: str | None = None

    def translate(self, batch: Sequence[TranslationInput]) -> tuple[list[Translated], list[Reject]]:
        """Turn every RGB image grey."""
        kept: list[Translated] = []
        rejects: list[Reject] = []
        for row, item in enumerate(batch):
            if item.rgb.mode == "RGB":
                kept.append(encode_image(row, item.rgb.convert("L")))
            else:
                rejects.append(Reject(row, "not_rgb", f"mode {item.rgb.mode}"))
        return kept, rejects
