"""The wording of metadata captions: for each kind of clause its phrases, and how a value is written in them.

A caption is a head ("A satellite image of an airport in Rome, Italy in summer on 3 July 2016."), then the other
clauses, each as a sentence or all in one list. The parser reads the same phrases backwards, so a phrase added here
needs no second place. No phrase says more than its value.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeVar

from .country_names import with_article
from .fmow_categories import PHRASES
from .image_grid import MOST, GridSettings, locate_box
from .metadata_facts import ImageFacts
from .seasons import season_of

# Most important first: what the image shows, where, when, how it was made. The last are dropped first.
IMPORTANCE = (
    "subject",
    "labels",
    "place",
    "location",
    "season",
    "ground_sample_distance",
    "date",
    "cloud_cover",
    "coordinates",
    "utm_zone",
    "off_nadir",
    "time_of_day",
    "target_azimuth",
    "scan_direction",
)
# A clause that means nothing without another one.
NEEDS = {"location": "subject", "time_of_day": "date"}

# What an image may be called, by the view that the settings name.
NOUNS = {
    "satellite": (
        "satellite image",
        "satellite photo",
        "satellite view",
        "remote sensing image",
        "overhead satellite image",
        "image from space",
    ),
    "aerial": ("aerial image", "aerial photo", "aerial view", "aerial photograph", "overhead image", "bird's-eye view"),
    "photo": ("photo", "photograph", "picture", "image"),
}
OPENINGS = ("", "{article} ", "This is {article} ", "Here is {article} ")

# Clauses of the head, in the order in which they stand there.
HEAD = {
    "subject": (" of {subject}", " showing {subject}", " that shows {subject}", " depicting {subject}"),
    "labels": (
        " that includes {labels}",
        " featuring {labels}",
        " covering {labels}",
        " annotated with {labels}",
        " with the labels {labels}",
    ),
    "place": (" in {place}", " from {place}", " taken over {place}", " acquired over {place}"),
    "season": (" in {season}", " during {season}", " during the {season}"),
    "date": (" on {date}", " dated {date}", " captured on {date}", " recorded on {date}"),
    "time_of_day": (" at {time} UTC",),
}
# Clauses as sentences of their own.
SENTENCES = {
    "location": (
        "It is in the {location} of the image",
        "It lies in the {location} of the image",
        "It is found in the {location} of the frame",
        "It appears in the {location} of the scene",
    ),
    "ground_sample_distance": (
        "The ground sample distance is {metres} m",
        "The resolution is {metres} m per pixel",
        "Each pixel spans {metres} m on the ground",
    ),
    "cloud_cover": (
        "The cloud cover is {percent}%",
        "Clouds cover {percent}% of the scene",
        "The scene has {percent}% cloud cover",
    ),
    "coordinates": ("The coordinates are {coordinates}", "The location is {coordinates}"),
    "utm_zone": ("The UTM zone is {utm_zone}", "The scene lies in UTM zone {utm_zone}"),
    "off_nadir": ("The off-nadir angle is {off_nadir}°", "The view is {off_nadir}° off nadir"),
    "target_azimuth": ("The target azimuth is {azimuth}°", "The azimuth of the target is {azimuth}°"),
    "scan_direction": ("The scan direction is {scan}", "The sensor scanned in {scan} direction"),
}
# The location of a box that is nearly the image.
MOST_SENTENCES = ("It covers most of the image", "It fills most of the frame", "It takes up most of the scene")
# Clauses as entries of a list, the shortest first.
ENTRIES = {
    "ground_sample_distance": ("{metres} m per pixel", "GSD {metres} m", "ground sample distance {metres} m"),
    "cloud_cover": ("{percent}% clouds", "{percent}% cloud cover", "cloud cover {percent}%"),
    "coordinates": ("{coordinates}", "at {coordinates}", "coordinates {coordinates}"),
    "utm_zone": ("UTM zone {utm_zone}", "UTM {utm_zone}"),
    "off_nadir": ("{off_nadir}° off nadir", "off-nadir angle {off_nadir}°"),
    "target_azimuth": ("target azimuth {azimuth}°", "azimuth of the target {azimuth}°"),
    "scan_direction": ("{scan} scan", "scan direction {scan}"),
}
LIST_INTROS = ("Details: ", "Metadata: ", "Acquisition: ", "Image data: ")
LIST_JOINS = ((", ", ", "), ("; ", "; "), (", ", " and "))

# How far a number in a caption may be from the fact, by its rounding; ground sample distances in relative terms.
COORDINATE_TOLERANCE_DEGREES = 0.0005
ANGLE_TOLERANCE_DEGREES = 0.05
PERCENT_TOLERANCE = 0.05
DISTANCE_RELATIVE_TOLERANCE = 0.005

# Not from `calendar`, whose names follow the locale.
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
T = TypeVar("T")
R = TypeVar("R")
_LIST_WORDS = re.compile(r",| and ")


@dataclass(frozen=True, slots=True)
class Clauses:
    """The values of the clauses that the facts allow, written out, by the slots of the phrases."""

    slots: dict[str, tuple[str, ...]]
    """For each slot its spellings; one is drawn."""
    kinds: tuple[str, ...]
    """Kinds of clauses that can be written, most important first."""
    covers_most: bool
    """Whether the location is said by MOST_SENTENCES."""


def write_clauses(facts: ImageFacts, grid: GridSettings) -> Clauses:
    """Write out every value that the facts give."""
    slots: dict[str, tuple[str, ...]] = {}
    kinds: list[str] = []
    location = location_of(facts, grid)
    for kind, slot, value in (
        ("subject", "subject", _subject(facts.class_name)),
        ("labels", "labels", _labels(facts.labels)),
        ("place", "place", _place(facts.city, facts.country)),
        ("location", "location", None if location is None else " and ".join(location)),
        ("season", "season", season_of(facts.latitude, _if_known(day_of, facts.timestamp))),
        ("ground_sample_distance", "metres", _if_known(_three_digits, facts.ground_sample_distance_metres)),
        ("cloud_cover", "percent", _if_known(_one_decimal, facts.cloud_cover_percent)),
        ("coordinates", "coordinates", _coordinates(facts.latitude, facts.longitude)),
        ("utm_zone", "utm_zone", facts.utm_zone),
        ("off_nadir", "off_nadir", _if_known(_one_decimal, facts.off_nadir_degrees)),
        ("target_azimuth", "azimuth", _if_known(_azimuth, facts.target_azimuth_degrees)),
        ("scan_direction", "scan", facts.scan_direction),
    ):
        if value is not None:
            slots[slot] = (value,)
            kinds.append(kind)
    if facts.timestamp is not None:
        day = day_of(facts.timestamp)
        month = MONTHS[day.month - 1]
        slots["date"] = (f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}", day.isoformat())
        kinds.append("date")
        if isinstance(facts.timestamp, datetime):
            slots["time"] = (facts.timestamp.astimezone(UTC).strftime("%H:%M"),)
            kinds.append("time_of_day")
    return Clauses(slots, tuple(sorted(kinds, key=IMPORTANCE.index)), location == (MOST,))


def location_of(facts: ImageFacts, grid: GridSettings) -> tuple[str, ...] | None:
    """Where the class lies in the image; None without a box, or without a class that the box could be of."""
    if facts.box is None or facts.class_name is None or facts.image_width is None or facts.image_height is None:
        return None
    return locate_box(facts.box, facts.image_width, facts.image_height, grid)


def day_of(timestamp: date) -> date:
    """The day that captions name: of a datetime, its day in UTC."""
    return timestamp.astimezone(UTC).date() if isinstance(timestamp, datetime) else timestamp


def compose_caption(
    clauses: Clauses, kinds: frozenset[str], view: str, draw: Callable[[str, int], int], *, compact: bool
) -> str:
    """Join the clauses of the given kinds.

    Args:
        clauses: Values from `write_clauses`.
        kinds: Which of their kinds to write.
        view: A key of NOUNS.
        draw: From a name and a number of choices to the choice; equal names give equal draws, so leaving a clause
            out does not change the wording of the others.
        compact: Take the shortest forms: no opening, and entries instead of sentences.
    """

    def pick(name: str, options: tuple[str, ...]) -> str:
        return min(options, key=len) if compact else options[draw(name, len(options))]

    # The first spelling of a date has the fewest tokens, though not the fewest letters.
    values = {slot: spellings[0] if compact else pick(slot, spellings) for slot, spellings in clauses.slots.items()}
    noun = NOUNS[view][draw("noun", len(NOUNS[view]))]
    head = pick("opening", OPENINGS).format(article="an" if noun[0] in "aeiou" else "a") + noun
    head += "".join(pick(kind, phrases).format_map(values) for kind, phrases in HEAD.items() if kind in kinds)
    sentences = [head]
    if "location" in kinds:
        phrases = MOST_SENTENCES if clauses.covers_most else SENTENCES["location"]
        sentences.append(pick("location", phrases).format_map(values))
    details = [kind for kind in ENTRIES if kind in kinds]
    if details and (compact or draw("layout", 2)):
        comma, last = LIST_JOINS[0] if compact else LIST_JOINS[draw("join", len(LIST_JOINS))]
        entries = [pick(kind, ENTRIES[kind]).format_map(values) for kind in details]
        *rest, final = [("" if compact else pick("intro", LIST_INTROS)) + entries[0], *entries[1:]]
        sentences.append(comma.join(rest) + last + final if rest else final)
    else:
        sentences += [pick(kind, SENTENCES[kind]).format_map(values) for kind in details]
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def spell_class(name: str) -> str:
    """A class name as words: underscores are blanks, and a capital that only begins the name is small."""
    words = " ".join(name.replace("_", " ").split())
    return words[0].lower() + words[1:] if words[1:2].islower() else words


def _subject(class_name: str | None) -> str | None:
    if class_name is None:
        return None
    # Whether a name takes an article, is a plural or a mass noun cannot be told from its letters.
    words = spell_class(class_name)
    return PHRASES.get(words.replace(" ", "_")) or f"the class {words}"


def _labels(labels: tuple[str, ...]) -> str | None:
    names = list(dict.fromkeys(spell_class(label) for label in labels))
    if not names:
        return None
    if any(_LIST_WORDS.search(name) for name in names):
        # Labels that contain a comma or an "and" are kept apart by semicolons, and one alone says so.
        return "; ".join(names) if len(names) > 1 else f"only {names[0]}"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _place(city: str | None, country: str | None) -> str | None:
    if city is not None:
        return f"the city of {city}" if country is None else f"{city}, {country}"
    return None if country is None else with_article(country)


def _coordinates(latitude: float | None, longitude: float | None) -> str | None:
    if latitude is None or longitude is None:
        return None
    north, east = round(latitude, 3), round(longitude, 3)
    return f"{abs(north):g}°{'S' if north < 0 else 'N'}, {abs(east):g}°{'W' if east < 0 else 'E'}"


def _if_known(function: Callable[[T], R], value: T | None) -> R | None:
    return None if value is None else function(value)


def _one_decimal(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _azimuth(value: float) -> str:
    return _one_decimal(round(value, 1) % 360)


def _three_digits(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    decimals = max(0, 2 - math.floor(math.log10(value)))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
