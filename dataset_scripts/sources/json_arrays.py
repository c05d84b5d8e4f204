"""Reads the elements of a large JSON array one by one; the file is never held as a whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# Longest element (or other value on the way) that is held; what is longer is not a list of rows.
MAX_ELEMENT_CHARACTERS = 16 * 2**20
_CHUNK_CHARACTERS = 2**18
_WHITE_SPACE = " \t\n\r"
_IN_NUMBERS = "0123456789+-.eE"


class MalformedJSONError(ValueError):
    """The text is not JSON from here on, or it ends before the array does; nothing after it can be read."""


def read_json_array(path: Path, key: str | None = None) -> Iterator[Any]:
    """Yield the elements of the array that a file consists of, or that stands under a key of its object.

    Raises:
        MalformedJSONError: the file is not of that form, or breaks off.
    """
    # Bytes that are not UTF-8 become lone surrogates, which whoever takes the text refuses row by row.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        text = _Text(file)
        if key is None:
            text.expect("[")
            yield from text.elements("]")
            return
        text.expect("{")
        if text.skip("}"):
            raise MalformedJSONError(f"no key {key!r} in an empty object")
        while True:
            name = text.value()
            text.expect(":")
            if name == key:
                text.expect("[")
                yield from text.elements("]")
                return
            text.pass_over()
            if text.skip("}"):
                raise MalformedJSONError(f"the object ends without a key {key!r}")
            text.expect(",")


class _Text:
    """A window on the file that moves forward."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.window = ""
        self.at = 0
        self.before = 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        chunk = self.file.read(_CHUNK_CHARACTERS)
        if not chunk:
            return False
        self.before += self.at
        self.window = self.window[self.at :] + chunk
        self.at = 0
        return True

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self.at < len(self.window) and self.window[self.at] in _WHITE_SPACE:
                self.at += 1
            if self.at < len(self.window):
                return self.window[self.at]
            if not self.more():
                return ""

    def skip(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self.at += 1
        return True

    def expect(self, character: str) -> None:
        if not self.skip(character):
            found = repr(self.peek()) if self.peek() else "the end of the file"
            raise MalformedJSONError(f"{found} at character {self.before + self.at}, expected {character!r}")

    def value(self) -> Any:
        """Decode one value whole."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.window, self.at)
            except (ValueError, RecursionError) as error:
                problem = f"{type(error).__name__} at character {self.before + self.at}"
                if isinstance(error, RecursionError) or len(self.window) - self.at > MAX_ELEMENT_CHARACTERS:
                    raise MalformedJSONError(problem) from error
                if not self.more():
                    raise MalformedJSONError(f"{problem}: {error}") from error
            else:
                # A number, or what looks like one followed by `.` or `e`, could go on in the next chunk.
                if not self.window[end:].strip(_IN_NUMBERS) and self.more():
                    continue
                self.at = end
                return value

    def elements(self, closing: str) -> Iterator[Any]:
        """Yield the values of an array after its opening bracket."""
        if self.skip(closing):
            return
        while True:
            yield self.value()
            if self.skip(closing):
                return
            self.expect(",")

    def pass_over(self) -> None:
        """Go past a value; an array may be of any length."""
        if self.skip("["):
            for _ in self.elements("]"):
                pass
        else:
            self.value()
