"""Text of listings, made safe to store and otherwise as published: NFC, one space between words, no controls."""

import re
import unicodedata
from typing import Any

from ..stages.rejects import RefusedError

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
# Controls but for white space, lone surrogates (no UTF-8 for them), marks of direction, and the byte-order mark.
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
# airport_12, dense_residential_3; not a1234_US_33 or 00623.
_CLASS_AND_NUMBER = re.compile(r"([A-Za-z]+(?:[_-][A-Za-z]+)*)_\d+")


def clean_text(text: str) -> str:
    """Return the text without control characters, in NFC, with white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", _CONTROLS.sub("", text)).split())


def read_captions(value: Any, where: str) -> tuple[str, ...]:
    """Return the captions of a cell that holds a caption, a list of captions or nothing; empty ones are left out.

    Raises:
        RefusedError: the cell holds something else.
    """
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusedError("malformed_row", f"{where}: captions are {_shown(value)}, wanted a list of strings")
    return tuple(cleaned for text in texts if (cleaned := clean_text(text)))


def read_string(values: dict[str, Any], key: str, where: str) -> str | None:
    """Return a cleaned string of a record; None where it is absent, null or empty.

    Raises:
        RefusedError: the record holds something else under that key.
    """
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise RefusedError("malformed_row", f"{where}: {key} is {_shown(value)}, wanted a string")
    return clean_text(value or "") or None


def read_name(values: dict[str, Any], key: str, where: str) -> str:
    """Return the name of a file exactly as the record spells it.

    Raises:
        RefusedError: the record has none.
    """
    value = values.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError("malformed_row", f"{where}: {key} is {_shown(value)}, wanted the name of a file")
    return value


def read_split(value: Any, where: str) -> str | None:
    """Return our name of a published split.

    Raises:
        RefusedError: the split has no known name.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str) or value not in SPLITS:
        raise RefusedError("malformed_row", f"{where}: split is {_shown(value)}, wanted one of {', '.join(SPLITS)}")
    return SPLITS[value]


def class_of_file(stem: str) -> str | None:
    """Return the scene class of a file that is named after it, such as `airport_12`."""
    match = _CLASS_AND_NUMBER.fullmatch(stem)
    return None if match is None else match[1]


def _shown(value: Any) -> str:
    return "absent" if value is None else ascii(value)[:80]
