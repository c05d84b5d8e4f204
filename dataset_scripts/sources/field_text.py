"""A field of a record as text, whatever type its file gave it."""

from typing import Any


def text_of(value: Any) -> str | None:
    """Return a field as text, or None where it holds nothing (absent, null, not a number).

    Raises:
        ValueError: bytes or text that are not valid Unicode, or a value that is no text at all.
    """
    match value:
        case str():
            if not value.isascii():
                value.encode("utf-8")
            return value
        case None:
            return None
        case bytes():
            return value.decode("utf-8")
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            # A column of whole numbers with gaps becomes one of floating-point numbers in many tools.
            return None if value != value else str(int(value)) if value.is_integer() else repr(value)
        case _:
            raise ValueError(f"{type(value).__name__} where a text was expected")
