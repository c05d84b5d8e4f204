"""The bundle: embeddings of a test set in one `.npz`, of any model and framework, that every protocol scores.

Shapes: N rows (images, pairs), D width, T texts: N, or any number where `image_id` or `caption_key` says of what.
"""

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

Array = npt.NDArray[Any]

ROW_ARRAYS = ("rgb", "infrared", "fused", "infrared_text")
EMBEDDINGS = ("text", *ROW_ARRAYS)


def _none_given() -> Array:
    return np.zeros(0, dtype=np.str_)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Embeddings of any norm and what they are of; of what describes them, an empty array says that it was not given.

    Raises:
        ValueError: Ids repeat, an array has the wrong length, shape or type, or an embedding is not finite.
    """

    id: Array
    """(N,), unique."""
    caption_key: Array = field(default_factory=_none_given)
    """(T,) texts with equal keys count as one; of prompts, the class."""
    infrared_caption_key: Array = field(default_factory=_none_given)
    """(N,) rows whose infrared texts have equal keys count as one, and one with an empty key has none and is not asked;
    without it each row is its own."""
    label: Array = field(default_factory=_none_given)
    """(N,) the class shown, `|` between several, empty for none."""
    source: Array = field(default_factory=_none_given)
    """(N,)"""
    image_id: Array = field(default_factory=_none_given)
    """(T,) the row that each text is of; without it text i is of row i."""
    text_id: Array = field(default_factory=_none_given)
    """(T,), unique; needed only where some texts are missing and others of the same image are not."""
    text: Array | None = None
    """(T, D)"""
    rgb: Array | None = None
    """(N, D), and so are the others."""
    infrared: Array | None = None
    fused: Array | None = None
    infrared_text: Array | None = None

    def __post_init__(self) -> None:
        _check_ids(self.id, "id")
        for name in ROW_ARRAYS:
            if getattr(self, name) is not None:
                _check_embeddings(getattr(self, name), self.id, name)
        for name in ("label", "source", "infrared_caption_key"):
            _check_length(getattr(self, name), len(self.id), name, "one for each id")
        for name in ("caption_key", "image_id", "text_id"):
            _check_length(getattr(self, name), self._texts, name, "one for each text")
        if self.text is not None:
            named = len(self.image_id) or len(self.caption_key) or len(self.text) == len(self.id)
            if not named:
                raise ValueError(
                    f"text holds {len(self.text)} rows for {len(self.id)} ids; say whose they are with the array "
                    "image_id (captions), or of which class with caption_key (prompts)."
                )
            _check_embeddings(self.text, self.text_ids, "text")
        widths = {name: array.shape[1] for name in EMBEDDINGS if (array := getattr(self, name)) is not None}
        if len(set(widths.values())) > 1:
            raise ValueError(f"the embeddings have different widths: {widths}; all must share one space.")
        if len(self.text_id):
            _check_ids(self.text_id, "text_id")

    @property
    def text_ids(self) -> Array:
        """The id (T,) of each text: its own, or that of its row, or its image's with a number."""
        if len(self.text_id):
            return self.text_id
        if len(self.image_id):
            return numbered(self.image_id)
        if self.text is None or len(self.text) == len(self.id):
            return self.id
        return numbered(self.caption_key)

    @property
    def _texts(self) -> int:
        """T, where the embeddings are not given too."""
        return max(len(self.caption_key), len(self.image_id)) if self.text is None else len(self.text)

    def by_row(self) -> "Bundle":
        """The same with text i of row i.

        Raises:
            ValueError: the texts are not one of each row.
        """
        texts = self._texts
        if len(self.image_id) == 0:
            if texts not in (0, len(self.id)):
                raise ValueError(f"the bundle holds {texts} texts for {len(self.id)} ids; wanted one text of each id.")
            return self
        places = {key: place for place, key in enumerate(self.image_id.tolist())}
        if len(places) != texts or places.keys() != set(self.id.tolist()):
            raise ValueError(
                f"image_id names {len(places)} rows, for {texts} texts and {len(self.id)} ids; wanted one text of each."
            )
        order = np.array([places[key] for key in self.id.tolist()])
        described = {name: array[order] for name in ("caption_key", "text_id") if len(array := getattr(self, name))}
        text = None if self.text is None else self.text[order]
        return replace(self, text=text, image_id=_none_given(), **described)

    def save(self, path: Path) -> None:
        """Writes the arrays that are given."""
        arrays = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{name: value for name, value in arrays.items() if value is not None and len(value)})

    def listing_sha256(self) -> str:
        """What was tested, whatever the order and the model: every id with what describes it, every text with its key.

        Prompts are no part of it.
        """
        columns = [_or_blank(array, self.id) for array in (self.id, self.label, self.source)]
        if len(self.infrared_caption_key):
            columns.append(self.infrared_caption_key.tolist())
        rows = sorted(zip(*columns, strict=True))
        texts = []
        if len(self.caption_key) == len(self.id) or len(self.image_id):
            ids = self.id if len(self.image_id) == 0 else self.image_id
            texts = sorted(zip(ids.tolist(), _or_blank(self.caption_key, ids), strict=True))
        return hashlib.sha256(json.dumps([rows, texts]).encode()).hexdigest()


def load_bundle(path: Path) -> Bundle:
    """Reads a bundle that `Bundle.save` or any other program wrote.

    Raises:
        ValueError: It is no `.npz`, holds unknown arrays, or what `Bundle` refuses.
    """
    known = {entry.name for entry in fields(Bundle)}
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, NpzFile):
            raise ValueError(f"{path} is a single array; save all arrays of a bundle with numpy.savez.")
        with stored:
            arrays = {name: stored[name] for name in stored.files}
    except (BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is no .npz archive ({error}); save it with numpy.savez.") from error
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise ValueError(f"{path} holds Python objects, or is no .npz; save strings with dtype str.") from error
    unknown = sorted(set(arrays) - known)
    if unknown or "id" not in arrays:
        found = f"holds unknown arrays {unknown}" if unknown else "lacks the array 'id'"
        raise ValueError(f"{path} {found}; a bundle holds id and any of {', '.join(sorted(known - {'id'}))}.")
    try:
        return Bundle(**{name: _as_wanted(array, name) for name, array in arrays.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _as_wanted(array: Array, name: str) -> Array:
    if name in EMBEDDINGS:
        if array.dtype.kind != "f":
            raise ValueError(f"{name} is of type {array.dtype}, wanted float16, float32 or float64.")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and then named
            return array.astype(np.float32)
    if array.dtype.kind not in "Uiu":
        raise ValueError(f"{name} is of type {array.dtype}, wanted strings or integers.")
    return array.astype(np.str_)


def numbered(ids: Array) -> Array:
    """Ids that repeat, made unique by a count: `a#0`, `a#1`."""
    seen: dict[str, int] = {}
    names = []
    for key in ids.tolist():
        names.append(f"{key}#{seen.get(key, 0)}")
        seen[key] = seen.get(key, 0) + 1
    return np.array(names, dtype=np.str_)


def _or_blank(array: Array, like: Array) -> list[str]:
    return array.tolist() if len(array) else [""] * len(like)


def _check_ids(ids: Array, name: str) -> None:
    if ids.ndim != 1 or len(ids) == 0:
        raise ValueError(f"{name} has shape {ids.shape}, wanted one id per row and at least one.")
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        twice = names[counts > 1]
        raise ValueError(f"{name} holds {len(twice)} values more than once, such as {str(twice[0])!r}.")


def _check_length(array: Array, wanted: int, name: str, of: str) -> None:
    if array.ndim != 1 or len(array) not in (0, wanted):
        raise ValueError(f"{name} has shape {array.shape}, wanted ({wanted},): {of}.")


def _check_embeddings(array: Array, ids: Array, name: str) -> None:
    if array.ndim != 2 or len(array) != len(ids) or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}, wanted ({len(ids)}, width).")
    broken = ~np.isfinite(array).all(axis=1)
    if broken.any():
        first = str(ids[broken][0])
        raise ValueError(f"{name} holds {int(broken.sum())} embeddings that are not finite, such as that of {first!r}.")
