"""Text of others, made safe for Markdown: no markup, no HTML, no new lines, nothing that can be read as structure."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Control, format (those that turn the direction of text are among them), lone surrogates, private use, unassigned.
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def one_line(text: str) -> str:
    """Return the text without control characters, its white space folded to single blanks."""
    return " ".join("".join(" " if unicodedata.category(sign) in _INVISIBLE else sign for sign in text).split())


def escape(text: object) -> str:
    """Return text that Markdown shows as it is, where it does not begin a line."""
    line = _MARKUP.sub(r"\\\1", one_line(str(text)))
    return re.sub("[&<>]", lambda sign: _ENTITIES[sign[0]], line)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; heads are ours, cells are escaped."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def python_string(text: str) -> str:
    """Return a literal for an example of code, without signs that could be HTML."""
    return json.dumps(one_line(text), ensure_ascii=False).replace("<", "\\u003c").replace("&", "\\u0026")
