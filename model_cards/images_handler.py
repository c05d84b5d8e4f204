"""Images of a request: strict base64, an address if that is allowed, and sizes from headers before any decoding."""

import base64
import binascii
import io
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from .fetch_handler import ImageFetcher
from .limits_handler import Limits, RequestError, too_much, unusable
from .request_handler import Input

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
# What Pillow raises at damaged headers; the same list as in the loader that decodes.
HEADER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
    Warning,
    struct.error,
    zlib.error,
)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
LARGE_REASONS = ("too_large", "too_many_bytes", "decompression_bomb")


class ImageReader:
    """Reads the images of one request; their pixels are counted together."""

    def __init__(self, limits: Limits, fetcher: ImageFetcher | None) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._deadline = time.monotonic() + limits.url_seconds
        self._pixels = 0

    def read(self, item: Input, where: str) -> dict[str, Any]:
        """`images` and `infrared` of one input, as far as they are there, as bytes that the processor takes.

        Raises:
            RequestError: with what is wrong.
        """
        given = {"images": (item.image, "image"), "infrared": (item.infrared, "infrared")}
        return {name: self._read(value, f"{where}.{key}") for name, (value, key) in given.items() if value is not None}

    def _read(self, value: Any, where: str) -> bytes | Image.Image:
        if isinstance(value, Image.Image):  # the toolkit decodes bodies of type image/*
            self._count(*value.size, where)
            return value
        content = self._fetch(value["url"], where) if isinstance(value, dict) else self._decode(value, where)
        self._count(*_header_size(content, where), where)
        return content

    def _decode(self, text: str, where: str) -> bytes:
        most = self._limits.image_bytes
        if len(text) > 4 * (most + 2) // 3 + 4:
            raise too_much(f"`{where}` has {len(text)} characters of base64; the most is {most} bytes decoded.")
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise unusable(
                "bad_base64",
                f"`{where}` is not base64 ({error}); wanted the standard alphabet with padding, no line breaks and "
                "no `data:` prefix.",
            ) from error
        if not content:
            raise unusable("bad_base64", f"`{where}` is empty; wanted an image file in base64.")
        if len(content) > most:
            raise too_much(f"`{where}` has {len(content)} bytes; the most is {most}.")
        return content

    def _fetch(self, url: str, where: str) -> bytes:
        if self._fetcher is None:
            raise RequestError(
                "url_not_allowed",
                f"`{where}` is a URL, and this endpoint reads none; send base64. Its owner allows URLs with "
                "RSCLIP_HANDLER_ALLOW_URLS=1.",
                403,
            )
        return self._fetcher.fetch(url, where, self._deadline)

    def _count(self, width: int, height: int, where: str) -> None:
        limits = self._limits
        if width * height > limits.image_pixels:
            raise too_much(f"`{where}` has {width} x {height} pixels; the most is {limits.image_pixels}. Cut tiles.")
        self._pixels += width * height
        if self._pixels > limits.request_pixels:
            raise too_much(
                f"the images up to `{where}` have {self._pixels} pixels; the most is {limits.request_pixels} in one "
                "request. Send several."
            )


def _header_size(content: bytes, where: str) -> tuple[int, int]:
    """Width and height, with nothing decoded."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.size
    except BOMBS as error:
        raise too_much(f"`{where}`: {error}") from error
    except HEADER_ERRORS as error:
        raise unusable(
            "image_undecodable", f"`{where}` does not open as an image; wanted one of {', '.join(FORMATS)}."
        ) from error


@contextmanager
def refusing(processor: Any, where: str) -> Iterator[None]:
    """Around a call of a processor: what it raises is the fault of the request.

    Args:
        processor: Its image processor's module has the `BadImage` that it raises; remote code has classes of its own.
        where: The input that is processed.
    """
    bad_image = sys.modules[type(processor.image_processor).__module__].BadImage
    try:
        yield
    except bad_image as error:
        status = 413 if error.reason in LARGE_REASONS else 422
        raise RequestError(f"image_{error.reason}", f"`{where}`: {error}", status) from error
    except ValueError as error:
        raise unusable("bad_parameter", f"`{where}`: {error}") from error


__all__ = ["ImageReader", "refusing"]
