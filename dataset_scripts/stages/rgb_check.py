"""Checks that a decoded image is an RGB photograph of eight bits, and not something that only opens as one."""

from PIL import Image

from .rejects import RefusedError

REASONS = ("four_bands", "transparent", "not_8_bit", "blank")

_EIGHT_BIT_MODES = ("L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV")
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def check_rgb(image: Image.Image, *, channel_bits: int) -> None:
    """Let an image pass that is fit to be the RGB of a row.

    Args:
        image: the decoded image.
        channel_bits: bits of a channel in its file, which may be more than Pillow keeps.

    Raises:
        RefusedError: it is not; the reason is one of REASONS.
    """
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        # Four bands in a TIFF are red, green, blue and near infrared more often than they are an alpha.
        if image.format == "TIFF" and image.mode in ("RGBA", "RGBa"):
            raise RefusedError("four_bands", "a TIFF of four bands; give red, green and blue in a file of their own")
        if _lowest_alpha(image) < 255:
            raise RefusedError("transparent", f"mode {image.mode} with pixels that are not opaque")
    elif image.mode not in _EIGHT_BIT_MODES:
        raise RefusedError("not_8_bit", f"mode {image.mode}")
    if channel_bits > 8:
        raise RefusedError("not_8_bit", f"{channel_bits} bits a channel; write 8, by a range that you choose")
    bands = [extremes if isinstance(extremes, tuple) else (extremes, extremes) for extremes in _extremes(image)]
    if all(low == high for low, high in bands):
        raise RefusedError("blank", f"every pixel is {tuple(low for low, _ in bands)}")


def _extremes(image: Image.Image) -> list[tuple[float, float]]:
    colours = image.convert("RGB") if image.mode in ("P", "PA") else image
    found = colours.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)  # type: ignore[list-item]


def _lowest_alpha(image: Image.Image) -> int:
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return int(low)  # type: ignore[arg-type]
