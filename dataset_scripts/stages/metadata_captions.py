"""Writes a caption from the metadata of each image, with right facts: every caption is read back before it is kept.

The facts are an `ImageFacts`, or the mapping in `SourceRow.metadata` whose keys are FACT_NAMES. The wording is drawn
from seed and id, so it does not depend on the order of the rows.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .image_grid import GridSettings
from .metadata_check import check_metadata_caption
from .metadata_facts import FACT_NAMES, ImageFacts, facts_from_mapping, facts_to_mapping
from .metadata_parser import parse_metadata_caption
from .metadata_templates import IMPORTANCE, NEEDS, NOUNS, compose_caption, write_clauses
from .rejects import Reject

__all__ = [
    "FACT_NAMES",
    "IMPORTANCE",
    "REASONS",
    "ImageFacts",
    "MetadataCaption",
    "MetadataCaptionSettings",
    "check_metadata_caption",
    "facts_from_mapping",
    "facts_to_mapping",
    "parse_metadata_caption",
    "write_metadata_captions",
]

REASONS = ("invalid_facts", "no_facts", "does_not_fit", "not_read_back")


@dataclass(frozen=True, kw_only=True)
class MetadataCaptionSettings:
    """How metadata captions are written."""

    seed: int = 0
    view: str = "satellite"
    """What the images may be called: `satellite`, `aerial` or `photo`, where neither is known."""
    omit: tuple[str, ...] = ()
    """Kinds of clauses, of IMPORTANCE, that are never written."""
    max_tokens: int | None = None
    """Most tokens of the caption with the machine caption behind it, special tokens included. A caption that is too
    long is first written in short forms, then loses its least important clauses. None is no limit."""
    grid: GridSettings = field(default_factory=GridSettings)

    def __post_init__(self) -> None:
        if self.view not in NOUNS:
            raise ValueError(f"view is {self.view!r}; it must be one of {', '.join(NOUNS)}.")
        if unknown := sorted(set(self.omit) - set(IMPORTANCE)):
            raise ValueError(f"omit names {', '.join(unknown)}; kinds of clauses are {', '.join(IMPORTANCE)}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1, or None for no limit.")


@dataclass(frozen=True, slots=True)
class MetadataCaption:
    """The caption of one row."""

    row: int
    text: str
    kinds: tuple[str, ...]
    """Kinds of clauses in it, most important first."""
    dropped: tuple[str, ...] = ()
    """Kinds that were known but left out to fit."""


DEFAULT_SETTINGS = MetadataCaptionSettings()


def write_metadata_captions(
    ids: Sequence[str],
    batch: Sequence[ImageFacts | Mapping[str, Any]],
    settings: MetadataCaptionSettings = DEFAULT_SETTINGS,
    *,
    count_tokens: Callable[[str], int] | None = None,
    machine_captions: Sequence[str | None] | None = None,
) -> tuple[list[MetadataCaption], list[Reject]]:
    """Write a caption for every image of a batch.

    Args:
        ids: Row ids; with the seed they draw the wording.
        batch: Facts, or mappings of them by FACT_NAMES.
        settings: How captions are written.
        count_tokens: Tokens of a text, special tokens included; needed where `max_tokens` is set.
        machine_captions: Captions that will stand behind the metadata captions, after a blank.

    Returns:
        Captions, and rejects with their reason.
    """
    if len(ids) != len(batch) or (machine_captions is not None and len(machine_captions) != len(batch)):
        counts = f"{len(ids)} ids, {len(batch)} records of facts"
        raise ValueError(f"{counts}, {len(machine_captions or ())} machine captions; all must be as many.")
    if settings.max_tokens is not None and count_tokens is None:
        raise ValueError("max_tokens is set without count_tokens; give the token counter of the text tower.")
    kept: list[MetadataCaption] = []
    rejects: list[Reject] = []
    for row, (row_id, known) in enumerate(zip(ids, batch, strict=True)):
        machine_caption = machine_captions[row] if machine_captions is not None else None
        try:
            facts = known if isinstance(known, ImageFacts) else facts_from_mapping(known)
        except (ValueError, TypeError) as error:
            rejects.append(Reject(row, "invalid_facts", str(error)))
            continue
        outcome = _write(row, row_id, facts, settings, count_tokens, machine_caption)
        if isinstance(outcome, Reject):
            rejects.append(outcome)
        else:
            kept.append(outcome)
    return kept, rejects


def _write(
    row: int,
    row_id: str,
    facts: ImageFacts,
    settings: MetadataCaptionSettings,
    count_tokens: Callable[[str], int] | None,
    machine_caption: str | None,
) -> MetadataCaption | Reject:
    """Write the longest wording that fits, and read it back."""
    clauses = write_clauses(facts, settings.grid)
    kinds = [kind for kind in clauses.kinds if kind not in settings.omit and NEEDS.get(kind) not in settings.omit]
    if not kinds:
        return Reject(row, "no_facts", ", ".join(clauses.kinds))

    def draw(name: str, choices: int) -> int:
        digest = hashlib.blake2b(f"{settings.seed}\0{row_id}\0{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % choices

    def fits(text: str) -> bool:
        if settings.max_tokens is None or count_tokens is None:
            return True
        return count_tokens(f"{text} {machine_caption}" if machine_caption else text) <= settings.max_tokens

    def compose(length: int, *, compact: bool) -> str:
        return compose_caption(clauses, frozenset(kinds[:length]), settings.view, draw, compact=compact)

    length = len(kinds)
    text = compose(length, compact=False)
    if not fits(text):
        # A clause more is always more tokens, so the longest that fits is found by halving.
        lengths = range(1, len(kinds) + 1)
        length = bisect_left(lengths, True, key=lambda count: not fits(compose(count, compact=True)))  # noqa: FBT003
        text = compose(max(length, 1), compact=True)
    if length == 0:
        return Reject(row, "does_not_fit", f"{settings.max_tokens} tokens do not hold {text!r}")
    if contradictions := check_metadata_caption(text, facts, settings.grid):
        return Reject(row, "not_read_back", f"{contradictions[0]} in {text!r}")
    return MetadataCaption(row, text, tuple(kinds[:length]), tuple(kinds[length:]))
