"""Compares what a metadata caption states with the facts that are known."""

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from .caption_key import normalise_caption
from .image_grid import DEFAULT_GRID, GridSettings
from .metadata_facts import ImageFacts
from .metadata_parser import parse_metadata_caption
from .metadata_templates import (
    ANGLE_TOLERANCE_DEGREES,
    COORDINATE_TOLERANCE_DEGREES,
    DISTANCE_RELATIVE_TOLERANCE,
    PERCENT_TOLERANCE,
    day_of,
    location_of,
    spell_class,
)
from .seasons import season_of

_BROKEN_DEGREES = re.compile(r"\d\s*(?:[?\ufffd]|Â°|&deg;)")
# A fact in the middle between two rounded numbers is off by the last bit of a float.
_SLACK = 1 + 1e-6


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A claim of a caption that the facts do not bear out."""

    claim: str
    """A field of MetadataClaims, or `degree_sign`."""
    stated: str
    known: str
    """What is known, or `nothing`."""

    def __str__(self) -> str:
        return f"{self.claim}: the caption states {self.stated!r}, known is {self.known}"


def check_metadata_caption(text: str, facts: ImageFacts, grid: GridSettings = DEFAULT_GRID) -> list[Contradiction]:
    """Return what the caption states that the facts do not bear out; an empty list for a true caption.

    A claim about something that is not known is a contradiction too, and so is text that cannot be read.
    """
    claims = parse_metadata_caption(text)
    day = None if facts.timestamp is None else day_of(facts.timestamp)
    time = facts.timestamp.astimezone(UTC).strftime("%H:%M") if isinstance(facts.timestamp, datetime) else None
    known = {
        "class_name": facts.class_name,
        "labels": facts.labels or None,
        "location": location_of(facts, grid),
        "season": season_of(facts.latitude, day),
        "day": day,
        "time_of_day": time,
    }
    contradictions = [
        Contradiction("degree_sign" if _BROKEN_DEGREES.search(piece) else "unread", piece, "nothing")
        for piece in claims.unread
    ]
    for entry in fields(claims):
        stated = getattr(claims, entry.name)
        if stated is None or entry.name == "unread":
            continue
        fact = known[entry.name] if entry.name in known else getattr(facts, entry.name)
        if fact is None or not _agree(entry.name, stated, fact):
            contradictions.append(Contradiction(entry.name, str(stated), "nothing" if fact is None else str(fact)))
    return contradictions


def _agree(name: str, stated: object, fact: object) -> bool:
    """Whether a claim is the fact, within what rounding does to it."""
    if isinstance(stated, float) and isinstance(fact, (int, float)):
        difference = abs(stated - fact)
        match name:
            case "ground_sample_distance_metres":
                return difference <= DISTANCE_RELATIVE_TOLERANCE * fact * _SLACK
            case "cloud_cover_percent":
                return difference <= PERCENT_TOLERANCE * _SLACK
            case "longitude" | "target_azimuth_degrees":
                tolerance = COORDINATE_TOLERANCE_DEGREES if name == "longitude" else ANGLE_TOLERANCE_DEGREES
                return min(difference, abs(360 - difference)) <= tolerance * _SLACK
            case "latitude":
                return difference <= COORDINATE_TOLERANCE_DEGREES * _SLACK
            case _:
                return difference <= ANGLE_TOLERANCE_DEGREES * _SLACK
    if name == "class_name":
        return normalise_caption(spell_class(str(stated))) == normalise_caption(spell_class(str(fact)))
    if name == "labels" and isinstance(stated, tuple) and isinstance(fact, tuple):
        return stated == tuple(dict.fromkeys(spell_class(label) for label in fact))
    return stated == fact
