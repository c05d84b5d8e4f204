"""The limits every image must keep, and the one error that says which image broke which of them."""

MAX_BYTES = 50_000_000
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
MAX_SIDE = 16_384
MAX_ASPECT_RATIO = 8.0
# A flat 64-megapixel file decompresses to 200 times its size; photographs of that size need far more bytes.
FREE_PIXELS = 16_000_000
MAX_PIXELS_PER_BYTE = 50.0
MAX_MASKED_FRACTION = 0.5


class BadImage(ValueError):  # noqa: N818 (it says what is wrong in its own words)
    """An image that cannot be turned into the right tensor.

    Attributes:
        name: which image, for example `infrared image 3 of batch`.
        reason: a short stable code, for counting rejects.
        got: what was found.
        wanted: what is accepted.
        do: how to repair it.
    """

    def __init__(self, name: str, reason: str = "unknown", got: str = "", wanted: str = "", do: str = "") -> None:
        super().__init__(name, reason, got, wanted, do)
        self.name = name
        self.reason = reason
        self.got = got
        self.wanted = wanted
        self.do = do

    def __str__(self) -> str:
        if not self.got:
            return self.name
        return f"{self.name} [{self.reason}]: got {self.got}; wanted {self.wanted}. {self.do}"

    def inside(self, place: str) -> "BadImage":
        """The same error, with `place` written before the name of the image."""
        return BadImage(f"{place}: {self.name}", self.reason, self.got, self.wanted, self.do)


def check_byte_count(byte_count: int, name: str) -> None:
    if byte_count == 0:
        raise BadImage(name, "empty", "0 bytes", "an image file", "Fetch the file again.")
    if byte_count > MAX_BYTES:
        raise BadImage(
            name, "too_many_bytes", f"{byte_count} bytes", f"at most {MAX_BYTES}", "Cut it into tiles, or compress it."
        )


def check_size(width: int, height: int, name: str) -> None:
    """Refuse sizes that are too small, too large or too long. Call it before anything is decoded or resized."""
    size = f"{width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise BadImage(
            name, "too_small", size, f"sides of at least {MIN_SIDE}", "Drop it, or check the order of the axes."
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadImage(
            name,
            "too_large",
            size,
            f"sides of at most {MAX_SIDE} and at most {MAX_PIXELS} pixels",
            "Read a window of it (`read_bands`), or cut it into tiles.",
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise BadImage(
            name, "aspect_ratio", size, f"a long side of at most {MAX_ASPECT_RATIO:g} short sides", "Cut it into tiles."
        )


def check_compression(width: int, height: int, byte_count: int, name: str) -> None:
    """Refuse large images that were squeezed into almost nothing: what a decompression bomb looks like."""
    pixels = width * height
    if pixels > FREE_PIXELS and pixels > MAX_PIXELS_PER_BYTE * byte_count:
        raise BadImage(
            name,
            "decompression_bomb",
            f"{pixels} pixels in {byte_count} bytes",
            f"at most {MAX_PIXELS_PER_BYTE:g} pixels per byte above {FREE_PIXELS} pixels",
            "An image this large and this empty is not a scene; cut it into tiles if it is.",
        )


def check_masked_fraction(masked: int, total: int, name: str) -> None:
    if masked > MAX_MASKED_FRACTION * total:
        raise BadImage(
            name,
            "mostly_nodata",
            f"{masked / total:.0%} of the pixels without data (nodata value, mask or transparency)",
            f"at most {MAX_MASKED_FRACTION:.0%}",
            "Crop to the valid area, or drop the image.",
        )
