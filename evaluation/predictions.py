"""Generated texts anchored to a manifest: what is missing counts as wrong, what is unknown or twice is an error."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """A JSON-lines file, one text a line: `{"id": …, "text": …}`."""

    path: Path
    key: str = "id"
    """Field that names the row."""
    text: str = "text"
    """Field with the generated text; null says that generation failed."""
    where: tuple[str, ...] = ()
    """Keep only lines in which fields have these values, as FIELD=VALUE, where a file holds several runs."""

    def __post_init__(self) -> None:
        for condition in self.where:
            if "=" not in condition:
                raise ValueError(f"where holds {condition!r}, wanted FIELD=VALUE such as 'shown=pair'.")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The text of every row of a manifest, in its order; None where there is none."""

    texts: tuple[str | None, ...]
    missing: int
    """Rows without a line."""
    failed: int
    """Rows whose line says that generation failed."""


def read_predictions(file: PredictionFile, expected: Sequence[str]) -> Predictions:
    """Reads the texts of a manifest.

    A line fails if its text is null or if it has a `status` other than "success", as the FusionRS runner writes.

    Args:
        file: The file and its fields.
        expected: Every key of the manifest, unique.

    Raises:
        ValueError: A key repeats or is not in the manifest, a line is not an object with the fields, or no line is
            left by `where`.
    """
    if len(set(expected)) != len(expected):
        raise ValueError(f"{len(expected) - len(set(expected))} keys of the manifest repeat; they must be unique.")
    known, texts, lines = set(expected), dict[str, str | None](), dict[str, int]()
    for number, line in json_lines(file.path):
        at = f"{file.path}, line {number}"
        if not all(_holds(line, condition, at) for condition in file.where):
            continue
        key, text = _field(line, file.key, at), _field(line, file.text, at)
        if not isinstance(key, str):
            raise ValueError(f"{at}: {file.key!r} is {key!r}, wanted a string.")
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{at}: {file.text!r} is {text!r}, wanted a string, or null where generation failed.")
        if key in lines:
            raise ValueError(
                f"{at}: {key!r} has a text already on line {lines[key]}; wanted one line per row. Drop the line that "
                "does not count, or name one run with where."
            )
        if key not in known:
            raise ValueError(f"{at}: {key!r} is not in the manifest, which has {len(known)} rows.")
        lines[key] = number
        texts[key] = text if line.get("status", "success") == "success" else None
    if not texts:
        raise ValueError(
            f"{file.path} holds no prediction" + (f" where {', '.join(file.where)}." if file.where else ".")
        )
    return Predictions(
        texts=tuple(texts.get(key) for key in expected),
        missing=len(expected) - len(texts),
        failed=sum(text is None for text in texts.values()),
    )


def read_json(path: Path) -> Any:
    """The value of a JSON file; one that is cut, empty or not in UTF-8 is a ValueError that names it."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON in UTF-8 ({error}). Write it again, or take it away.") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers, from 1; empty lines are skipped."""
    with path.open("rb") as file:  # decoded line by line, so that an error knows its line
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8")
                if not text.strip():
                    continue
                value = json.loads(text)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: not UTF-8 ({error}). Save the file as UTF-8.") from error
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error}).") from error
            if not isinstance(value, dict):
                raise ValueError(f"{path}, line {number}: {type(value).__name__}, wanted an object.")
            yield number, value


def _field(line: dict[str, Any], name: str, at: str) -> Any:
    if name not in line:
        raise ValueError(f"{at}: no field {name!r}, only {sorted(line)}.")
    return line[name]


def _holds(line: dict[str, Any], condition: str, at: str) -> bool:
    name, _, wanted = condition.partition("=")
    return str(_field(line, name, at)) == wanted
