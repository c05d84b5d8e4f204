"""Reads a metadata caption back into the claims it makes, by the phrases of `metadata_templates`.

Every word has to be read: what is no such phrase is kept apart as unread, so a caption cannot hold a claim that
nobody checks.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime

from .fmow_categories import PHRASES
from .image_grid import BLOCKS, MOST
from .metadata_facts import ImageFacts
from .metadata_templates import ENTRIES, HEAD, LIST_INTROS, MONTHS, MOST_SENTENCES, NOUNS, SENTENCES
from .seasons import SEASONS
from .utm_zones import parse_utm_zone

_NUMBER = r"\d+(?:\.\d+)?"
_SEASON = "|".join(SEASONS)
_MONTH = f"(?:{'|'.join(MONTHS)})"
_BLOCK = "|".join(sorted(BLOCKS, key=len, reverse=True))
# A season or date that follows "in" is no country; "Winter, United States" is a place.
_NOT_SEASON = rf"(?!(?:{_SEASON})(?: |$))"
_COUNTRY = rf"{_NOT_SEASON}[^,;\d]+?"
# What may stand in a slot. None of the patterns captures.
_SLOTS = {
    "subject": r".+?",
    "labels": r".+?",
    "place": rf"(?:the city of [^,;]+?|[^,;]+?, {_COUNTRY}|{_COUNTRY})",
    "season": rf"(?:{_SEASON})",
    "date": rf"(?:\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}}, \d{{4}}|\d{{4}}-\d\d-\d\d)",
    "time": r"\d\d:\d\d",
    "location": rf"(?:{_BLOCK})(?: and (?:{_BLOCK}))?",
    "metres": _NUMBER,
    "percent": _NUMBER,
    "coordinates": rf"{_NUMBER}°[NS], {_NUMBER}°[EW]",
    "utm_zone": r"\d{1,2}[NS]",
    "off_nadir": _NUMBER,
    "azimuth": _NUMBER,
    "scan": r"(?:forward|reverse)",
}
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLES = re.compile(r"^the ", re.IGNORECASE)
# A caption of a few hundred characters is long; the time to read one grows faster than its length.
_MAX_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class MetadataClaims:
    """What a caption states. Numbers are as written; nothing is checked against anything."""

    class_name: str | None = None
    labels: tuple[str, ...] | None = None
    city: str | None = None
    country: str | None = None
    location: tuple[str, ...] | None = None
    season: str | None = None
    day: date | None = None
    time_of_day: str | None = None
    """Hours and minutes, in UTC."""
    latitude: float | None = None
    longitude: float | None = None
    ground_sample_distance_metres: float | None = None
    cloud_cover_percent: float | None = None
    utm_zone: str | None = None
    off_nadir_degrees: float | None = None
    target_azimuth_degrees: float | None = None
    scan_direction: str | None = None
    unread: tuple[str, ...] = ()
    """Pieces of the text that are no known phrase, or repeat one."""

    def facts(self) -> ImageFacts:
        """The claims that are facts, without season and location, which only follow from facts.

        Raises:
            ValueError: the claims contradict each other, or are impossible.
        """
        timestamp: date | None = self.day
        if self.day is not None and self.time_of_day is not None:
            timestamp = datetime.fromisoformat(f"{self.day.isoformat()}T{self.time_of_day}+00:00")
        return ImageFacts(
            class_name=self.class_name,
            labels=self.labels or (),
            latitude=self.latitude,
            longitude=self.longitude,
            timestamp=timestamp,
            ground_sample_distance_metres=self.ground_sample_distance_metres,
            utm_zone=self.utm_zone,
            cloud_cover_percent=self.cloud_cover_percent,
            off_nadir_degrees=self.off_nadir_degrees,
            target_azimuth_degrees=self.target_azimuth_degrees,
            scan_direction=self.scan_direction,
            country=self.country,
            city=self.city,
        )


def parse_metadata_caption(text: str) -> MetadataClaims:
    """Read every claim of a metadata caption."""
    if len(text) > _MAX_CHARACTERS:
        return MetadataClaims(unread=(text,))
    claims: dict[str, object] = {}
    unread: list[str] = []
    rest = 0
    pieces: list[tuple[bool, str]] = []
    for match in _DETAIL_SENTENCE.finditer(text):
        pieces += [(False, text[rest : match.start()]), (True, match[0])]
        rest = match.end()
    pieces.append((False, text[rest:]))
    for place, (is_detail, piece) in enumerate(pieces):
        found = _read_detail(piece.rstrip(".")) if is_detail else _read_head(piece.strip()) if place == 0 else None
        if found is None:
            unread += [piece.strip()] if piece.strip() else []
        elif set(found) & set(claims):
            unread.append(piece.strip())
        else:
            claims |= found
    return MetadataClaims(**claims, unread=tuple(unread))  # type: ignore[arg-type]


def _pattern(phrase: str, *, capture: bool) -> str:
    """The expression of a phrase with its slots."""
    parts = _SLOT.split(phrase)
    pieces = [re.escape(part) if place % 2 == 0 else _SLOTS[part] for place, part in enumerate(parts)]
    if capture:
        pieces = [piece if place % 2 == 0 else f"({piece})" for place, piece in enumerate(pieces)]
    return "".join(pieces)


def _any_of(phrases: tuple[str, ...]) -> str:
    return "|".join(_pattern(phrase, capture=False) for phrase in phrases)


def _readers(groups: dict[str, tuple[str, ...]]) -> dict[str, list[re.Pattern[str]]]:
    return {
        kind: [re.compile(_pattern(phrase, capture=True), re.IGNORECASE) for phrase in phrases]
        for kind, phrases in groups.items()
    }


_HEAD_READERS = _readers(HEAD)
_SENTENCE_READERS = _readers(SENTENCES)
_ENTRY_READERS = _readers(ENTRIES)
_HEAD_SENTENCE = re.compile(
    "(?:(?:this is |here is )?an? )?"
    + f"(?:{'|'.join(sorted((re.escape(noun) for group in NOUNS.values() for noun in group), key=len, reverse=True))})"
    + "".join(f"(?P<{kind}>{_any_of(phrases)})?" for kind, phrases in HEAD.items()),
    re.IGNORECASE,
)
_ENTRY = re.compile("|".join(f"(?P<{kind}>{_any_of(phrases)})" for kind, phrases in ENTRIES.items()), re.IGNORECASE)
_ANY_ENTRY = f"(?:{'|'.join(_any_of(phrases) for phrases in ENTRIES.values())})"
_INTRO = "|".join(re.escape(intro) for intro in LIST_INTROS)
_LIST = f"(?:{_INTRO})?{_ANY_ENTRY}(?:(?:, |; | and ){_ANY_ENTRY})*"
_ANY_SENTENCE = "|".join(_any_of(phrases) for phrases in (*SENTENCES.values(), MOST_SENTENCES))
_DETAIL_SENTENCE = re.compile(rf"(?<=\. )(?:{_ANY_SENTENCE}|{_LIST})\.(?= |$)", re.IGNORECASE)


def _read_head(head: str) -> dict[str, object] | None:
    """Claims of the first sentence, or None where it is not one."""
    match = _HEAD_SENTENCE.fullmatch(head.removesuffix(".")) if head.endswith(".") else None
    if match is None:
        return None
    return _merge([_read(kind, part, _HEAD_READERS) for kind, part in match.groupdict().items() if part is not None])


def _read_detail(sentence: str) -> dict[str, object] | None:
    """Claims of a sentence that is a detail or a list of them."""
    if sentence in MOST_SENTENCES:
        return {"location": (MOST,)}
    for kind in SENTENCES:
        if claims := _read(kind, sentence, _SENTENCE_READERS):
            return claims
    return _merge(
        [
            _read(kind, part, _ENTRY_READERS)
            for match in _ENTRY.finditer(sentence)
            for kind, part in match.groupdict().items()
            if part is not None
        ]
    )


def _merge(parts: list[dict[str, object] | None]) -> dict[str, object] | None:
    """All claims, or None where a part cannot be read or two parts speak of the same."""
    merged: dict[str, object] = {}
    for part in parts:
        if part is None or set(part) & set(merged):
            return None
        merged |= part
    return merged


def _read(kind: str, text: str, readers: dict[str, list[re.Pattern[str]]]) -> dict[str, object] | None:
    """Claims of one clause, or None where it is no phrase of its kind or its value is impossible."""
    for reader in readers[kind]:
        if match := reader.fullmatch(text):
            try:
                return _claims_of(kind, match[1])
            except ValueError:
                return None
    return None


def _claims_of(kind: str, value: str) -> dict[str, object]:
    match kind:
        case "subject":
            return {"class_name": _CLASS_OF_PHRASE.get(value.lower(), value.removeprefix("the class "))}
        case "labels":
            return {"labels": _split_labels(value)}
        case "place":
            return _split_place(value)
        case "location":
            return {"location": tuple(value.lower().split(" and "))}
        case "season":
            return {"season": value.lower()}
        case "date":
            return {"day": _read_date(value)}
        case "time_of_day":
            return {"time_of_day": value}
        case "coordinates":
            north, east = value.split(", ")
            latitude, longitude = float(north[:-2]), float(east[:-2])
            return {
                "latitude": -latitude if north[-1] in "sS" else latitude,
                "longitude": -longitude if east[-1] in "wW" else longitude,
            }
        case "utm_zone":
            parse_utm_zone(value.upper())
            return {"utm_zone": value.upper()}
        case "scan_direction":
            return {"scan_direction": value.lower()}
        case _:
            return {_NUMBER_OF_KIND[kind]: float(value)}


_CLASS_OF_PHRASE = {phrase: name for name, phrase in PHRASES.items()}
_NUMBER_OF_KIND = {
    "ground_sample_distance": "ground_sample_distance_metres",
    "cloud_cover": "cloud_cover_percent",
    "off_nadir": "off_nadir_degrees",
    "target_azimuth": "target_azimuth_degrees",
}


def _split_labels(text: str) -> tuple[str, ...]:
    if text.startswith("only "):
        return (text.removeprefix("only "),)
    return tuple(text.split("; ") if ";" in text else re.split(", | and ", text))


def _split_place(text: str) -> dict[str, object]:
    if text.startswith("the city of "):
        return {"city": text.removeprefix("the city of ")}
    city, comma, country = text.rpartition(", ")
    return {"city": city, "country": country} if comma else {"country": _ARTICLES.sub("", country)}


def _read_date(text: str) -> date:
    if text[4:5] == "-":
        return date.fromisoformat(text)
    words = text.replace(",", "").split()
    month, day = (words[1], words[0]) if words[0].isdigit() else (words[0], words[1])
    return date(int(words[2]), [name.lower() for name in MONTHS].index(month.lower()) + 1, int(day))
