"""Any accepted source (path, bytes, PIL image, array, tensor) to plain bands with their mask, nothing rescaled."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from .bands_rsclip import NAME_THE_BANDS, Array, Bands, Mask, decode_array, tensor_to_array
from .image_checks_rsclip import BadImage, check_byte_count, check_compression, check_size
from .jpeg_rsclip import choose_shrink, decode_jpeg, decode_plain_jpeg, plain_jpeg, shrink_draft

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
ORIENTATION_TAG = 0x0112
TRANSPOSING = (5, 6, 7, 8)  # orientations that swap width and height
TIFF_PHOTOMETRIC_TAG = 262
TIFF_NODATA_TAG = 42113
MAX_SOFT_ALPHA_FRACTION = 0.05
DECODER_ERRORS = (
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
    Image.DecompressionBombError,
)
_WARNINGS_LOCK = threading.Lock()


def decode(source: object, name: str, least_side: int | None = None) -> Bands:
    """Decode one image.

    Args:
        least_side: a JPEG may come at 1/2, 1/4 or 1/8 of its sides, as long as the short one keeps this many pixels.

    Raises:
        BadImage: whenever the pixels could not be trusted; the message names the image and the remedy.
    """
    match source:
        case Path():
            return _decode_bytes(_read_file(source, name), name, least_side)
        case bytes() | bytearray():
            return _decode_bytes(bytes(source), name, least_side)
        case Image.Image():
            return _decode_image(source, name, None, least_side)
        case torch.Tensor():
            return decode_array(tensor_to_array(source, name), name)
        case np.ndarray():
            return decode_array(source, name)
        case str():
            raise BadImage(
                name,
                "string_source",
                f"the string {source[:80]!r}",
                "a pathlib.Path, bytes, PIL image, array or tensor",
                "For a local file pass pathlib.Path(...); download a URL yourself. Strings are never opened.",
            )
        case _:
            raise BadImage(
                name,
                "type",
                f"an object of type {type(source).__name__}",
                "a pathlib.Path, bytes, PIL image, array or tensor",
                "Leave a missing image out of the call instead of passing None.",
            )


def _read_file(path: Path, name: str) -> bytes:
    if not path.is_file():
        raise BadImage(name, "missing", f"no file at {path}", "an existing regular file", "Check the path.")
    check_byte_count(path.stat().st_size, name)
    return path.read_bytes()


def _decode_bytes(content: bytes, name: str, least_side: int | None) -> Bands:
    check_byte_count(len(content), name)
    plain = _decode_plain_jpeg(content, name, least_side)
    if plain is not None:
        return plain
    try:
        # The lock keeps threads from restoring one another's warning filters; only headers are read inside it.
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImage(
            name, "too_large", str(error), "an image of ordinary size", "Read a window of it, or cut it into tiles."
        ) from error
    except DECODER_ERRORS as error:
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # that one shows an address only
        raise BadImage(
            name,
            "undecodable",
            f"{len(content)} bytes that do not open{reason}",
            f"one of {', '.join(FORMATS)} with 1, 3 or 4 bands of 8 bits, or one band of 16 or 32",
            "Convert the file. For a raster of more bands, or of colour in more bits, call `read_bands`.",
        ) from error
    with image:
        return _decode_image(image, name, content, least_side)


def _decode_plain_jpeg(content: bytes, name: str, least_side: int | None) -> Bands | None:
    """Most JPEGs need nothing that Pillow finds out at a tenth of the cost of decoding them."""
    header = plain_jpeg(content)
    if header is None or ImageFile.LOAD_TRUNCATED_IMAGES:
        return None
    mode, size = header
    check_size(*size, name)
    check_compression(*size, len(content), name)
    shrink = choose_shrink(size, least_side)
    pixels = decode_plain_jpeg(content, mode, size, shrink)
    return None if pixels is None else Bands(pixels, full_size=size if shrink > 1 else None)


def _decode_image(image: Image.Image, name: str, content: bytes | None, least_side: int | None) -> Bands:
    check_size(*image.size, name)
    byte_count = _unread_byte_count(image) if content is None else len(content)
    if byte_count is not None:
        check_compression(*image.size, byte_count, name)
    _refuse_lossy_layout(image, name)
    nodata = _declared_nodata(image)
    if getattr(image, "is_animated", False):
        raise BadImage(
            name, "several_frames", "a file with several frames or pages", "one image", "Save the frame you mean alone."
        )
    if isinstance(image, ImageFile.ImageFile) and ImageFile.LOAD_TRUNCATED_IMAGES:
        raise BadImage(
            name,
            "truncation_allowed",
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES switched on",
            "it off: with it a cut file decodes to grey without an error",
            "Set it to False.",
        )
    # Pillow turns a TIFF upright by itself and forgets its orientation.
    own_orientation = int(getattr(image, "tag_v2", {}).get(ORIENTATION_TAG, 1))
    full_size, shrink = image.size, _shrink(image, content, least_side)
    pixels = None if content is None else decode_jpeg(content, image, shrink)
    try:
        if pixels is None:
            shrink_draft(image, shrink)
            image.load()
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("error")
            orientation = int(image.getexif().get(ORIENTATION_TAG, 1))
    except DECODER_ERRORS as error:
        raise BadImage(
            name, "damaged", f"pixels that do not decode ({error})", "a whole file", "Fetch the file again."
        ) from error
    bands = _split_alpha(image, name) if pixels is None else Bands(pixels)
    valid = None if bands.valid is None else _turn(bands.valid, orientation)
    applied = orientation if own_orientation == 1 else own_orientation
    nodata = bands.nodata if nodata is None else nodata
    full_size = full_size[::-1] if orientation in TRANSPOSING else full_size
    return Bands(_turn(bands.pixels, orientation), valid, nodata, applied, full_size if shrink > 1 else None)


def _shrink(image: Image.Image, content: bytes | None, least_side: int | None) -> int:
    """Only of files that are not decoded yet; what a caller opened may be decoded already."""
    return choose_shrink(image.size, least_side) if content is not None and image.format == "JPEG" else 1


def _unread_byte_count(image: Image.Image) -> int | None:
    """Bytes behind a PIL image whose pixels are not decoded yet."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None:
        return None
    position = image.fp.tell()
    byte_count = image.fp.seek(0, io.SEEK_END)
    image.fp.seek(position)
    return byte_count


def _refuse_lossy_layout(image: Image.Image, name: str) -> None:
    """Refuse what Pillow would decode to something other than what the file says."""
    tiles: list[Any] = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    raw_mode = arguments if isinstance(arguments, str) else str(arguments[0] if arguments else "")
    if ";16" in raw_mode and not image.mode.startswith("I"):
        raise BadImage(
            name,
            "sixteen_bit_colour",
            f"16-bit {image.mode} pixels, of which only the upper eight bits would be kept",
            "8-bit colour, or an array with a declared range",
            "Read it as an array (`read_bands`) and declare `rgb_range`.",
        )
    tags = getattr(image, "tag_v2", {})
    if image.mode != "L" and len(image.getbands()) == 1 and image.mode != "P" and tags.get(TIFF_PHOTOMETRIC_TAG) == 0:
        raise BadImage(
            name,
            "white_is_zero",
            f"a WhiteIsZero TIFF of mode {image.mode}, which would be read inverted",
            "BlackIsZero",
            "Rewrite the file, or pass the array and declare the polarity.",
        )


def _declared_nodata(image: Image.Image) -> float | None:
    text = str(getattr(image, "tag_v2", {}).get(TIFF_NODATA_TAG, "")).strip("\x00 ")
    try:
        return float(text)
    except ValueError:
        return None


def _split_alpha(image: Image.Image, name: str) -> Bands:
    transparency = image.info.get("transparency")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        array = np.asarray(image)
        nodata = float(transparency) if isinstance(transparency, int) else None
        return Bands(array.astype(array.dtype.newbyteorder("="), copy=False), nodata=nodata)
    if image.mode in ("1", "La", "RGBa"):
        raise BadImage(
            name,
            "premultiplied_alpha" if image.mode != "1" else "bilevel",
            f"PIL mode {image.mode}",
            "grey or colour pixels",
            "Convert it to mode L, RGB or RGBA first.",
        )
    if image.mode == "LA" or (image.mode == "L" and transparency is not None):
        grey_and_alpha = np.asarray(image.convert("LA"))
        return Bands(grey_and_alpha[..., 0], _alpha_to_mask(grey_and_alpha[..., 1], name))
    if image.mode in ("RGBA", "PA") or transparency is not None:
        colour_and_alpha = np.asarray(image.convert("RGBA"))
        return Bands(colour_and_alpha[..., :3], _alpha_to_mask(colour_and_alpha[..., 3], name))
    return Bands(np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")))


def _alpha_to_mask(alpha: Array, name: str) -> Mask | None:
    """Transparent means no data. A fourth band full of middle values is a picture, not a mask."""
    if is_soft(alpha):
        raise BadImage(
            name,
            "ambiguous_alpha",
            f"a last band with middle values from {alpha.min()} to {alpha.max()} (near infrared? soft alpha?)",
            "three bands, or an alpha that is 0 or 255",
            NAME_THE_BANDS,
        )
    valid: Mask = alpha == 255
    return None if valid.all() else valid


def is_soft(alpha: Array) -> bool:
    """Whether an alpha band has too many middle values to be a mask."""
    return bool(np.count_nonzero((alpha > 0) & (alpha < 255)) > MAX_SOFT_ALPHA_FRACTION * alpha.size)


def _turn(array: Array, orientation: int) -> Array:
    """Apply an EXIF orientation to the first two axes."""
    match orientation:
        case 2:
            return array[:, ::-1]
        case 3:
            return array[::-1, ::-1]
        case 4:
            return array[::-1]
        case 5:
            return array.swapaxes(0, 1)
        case 6:
            return np.rot90(array, -1)
        case 7:
            return np.rot90(array.swapaxes(0, 1), 2)
        case 8:
            return np.rot90(array)
        case _:
            return array
