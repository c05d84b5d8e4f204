"""What is known of one image: the record that metadata captions are written from and checked against.

A fact that is not known is None; nothing is guessed. A record that contradicts itself cannot be made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from .utm_zones import central_meridian, parse_utm_zone

SCAN_DIRECTIONS = ("forward", "reverse")
_MAX_NAME_CHARACTERS = 120
# A place may be gridded in the neighbouring zone, and just across the equator; more than that is an error.
_MAX_DEGREES_FROM_MERIDIAN = 9.0
_MAX_DEGREES_ACROSS_EQUATOR = 1.0
_MAX_LATITUDE_OF_UTM = 84.0
# Boxes that were cut at the border in floating point may stick out by this much.
_ROUNDING_PIXELS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """Facts of one image; each is None where it is not known."""

    class_name: str | None = None
    """What the box, or the image as a whole, shows."""
    labels: tuple[str, ...] = ()
    """All land-cover or other labels of the image."""
    latitude: float | None = None
    """Degrees, positive in the north, WGS 84."""
    longitude: float | None = None
    """Degrees, positive in the east."""
    timestamp: date | None = None
    """Day of acquisition, or a datetime with its time zone."""
    ground_sample_distance_metres: float | None = None
    utm_zone: str | None = None
    """Zone and hemisphere, such as `33N`; not a band of the military grid."""
    cloud_cover_percent: float | None = None
    off_nadir_degrees: float | None = None
    target_azimuth_degrees: float | None = None
    scan_direction: str | None = None
    """`forward` or `reverse`."""
    country: str | None = None
    """English name, without a comma."""
    city: str | None = None
    """Name of the city, without a comma."""
    box: tuple[float, float, float, float] | None = None
    """x, y, width and height in pixels of what `class_name` names; goes with the size of the image."""
    image_width: int | None = None
    image_height: int | None = None

    def __post_init__(self) -> None:
        _check_name("class_name", self.class_name, ";")
        _check_name("country", self.country, ",;0123456789")
        _check_name("city", self.city, ",;")
        if not isinstance(self.labels, tuple):
            raise TypeError(f"labels must be a tuple of strings, got {self.labels!r}.")
        for label in self.labels:
            _check_name("labels", label, ";")
        _check_number("latitude", self.latitude, -90, 90)
        _check_number("longitude", self.longitude, -180, 180)
        _check_number("cloud_cover_percent", self.cloud_cover_percent, 0, 100)
        _check_number("off_nadir_degrees", self.off_nadir_degrees, 0, 90)
        _check_number("target_azimuth_degrees", self.target_azimuth_degrees, 0, 360)
        _check_number("ground_sample_distance_metres", self.ground_sample_distance_metres, 0.001, 100_000)
        if self.longitude is not None and self.latitude is None:
            raise ValueError("longitude is given without a latitude; give both, or neither.")
        if self.scan_direction not in (None, *SCAN_DIRECTIONS):
            raise ValueError(f"scan_direction is {self.scan_direction!r}; it must be one of {SCAN_DIRECTIONS}.")
        self._check_timestamp()
        self._check_zone()
        self._check_box()

    def _check_timestamp(self) -> None:
        if self.timestamp is None:
            return
        if not isinstance(self.timestamp, date):
            raise TypeError(f"timestamp must be a date or a datetime, got {self.timestamp!r}.")
        if not 1826 < self.timestamp.year < 9999:
            raise ValueError(f"timestamp {self.timestamp.isoformat()} is older than the first photograph, or no date.")
        if isinstance(self.timestamp, datetime) and self.timestamp.tzinfo is None:
            raise ValueError(f"timestamp {self.timestamp.isoformat()} has no time zone; add it, or give the date.")

    def _check_zone(self) -> None:
        if self.utm_zone is None:
            return
        _, is_northern = parse_utm_zone(self.utm_zone)
        latitude, longitude = self.latitude, self.longitude
        if latitude is not None and (latitude if is_northern else -latitude) < -_MAX_DEGREES_ACROSS_EQUATOR:
            raise ValueError(f"utm_zone {self.utm_zone!r} is in the other hemisphere than latitude {latitude}.")
        if latitude is None or longitude is None or abs(latitude) > _MAX_LATITUDE_OF_UTM:
            return
        distance = abs((longitude - central_meridian(self.utm_zone) + 180) % 360 - 180)
        # Zones around Svalbard and Norway are up to twice as wide.
        if distance > _MAX_DEGREES_FROM_MERIDIAN:
            raise ValueError(f"utm_zone {self.utm_zone!r} is {distance:.1f} degrees away from longitude {longitude}.")

    def _check_box(self) -> None:
        for name, size in (("image_width", self.image_width), ("image_height", self.image_height)):
            if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ValueError(f"{name} is {size!r}; it must be a whole number of pixels, at least 1.")
        if self.box is None:
            return
        if self.image_width is None or self.image_height is None:
            raise ValueError("box is given without image_width and image_height; a place in an image needs its size.")
        if not isinstance(self.box, tuple) or len(self.box) != 4:
            raise ValueError(f"box must be a tuple of x, y, width and height, got {self.box!r}.")
        for name, value in zip(("x", "y", "width", "height"), self.box, strict=True):
            _check_number(f"box {name}", value, 0, math.inf)
        x, y, width, height = self.box
        beyond = max(x + width - self.image_width, y + height - self.image_height)
        if min(width, height) <= 0 or beyond > _ROUNDING_PIXELS:
            raise ValueError(
                f"box {self.box} is empty or not within its image of {self.image_width}x{self.image_height} pixels."
            )


FACT_NAMES = tuple(entry.name for entry in fields(ImageFacts))
"""The keys that `SourceRow.metadata` may have."""


def facts_from_mapping(metadata: Mapping[str, Any]) -> ImageFacts:
    """Read facts from JSON-able values: lists for tuples, ISO 8601 for the timestamp; None is not known."""
    if unknown := sorted(str(name) for name in set(metadata) - set(FACT_NAMES)):
        raise ValueError(f"unknown facts {', '.join(unknown)}; known are {', '.join(FACT_NAMES)}.")
    values = {name: value for name, value in metadata.items() if value is not None}
    for name in ("labels", "box"):
        if name in values:
            if not isinstance(values[name], (list, tuple)):
                raise TypeError(f"{name} must be a list, got {values[name]!r}.")
            values[name] = tuple(values[name])
    if isinstance(values.get("timestamp"), str):
        values["timestamp"] = parse_timestamp(values["timestamp"])
    return ImageFacts(**values)


def facts_to_mapping(facts: ImageFacts) -> dict[str, Any]:
    """Return the known facts as JSON-able values; `facts_from_mapping` reads them back."""
    known = {name: getattr(facts, name) for name in FACT_NAMES if getattr(facts, name) not in (None, ())}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}
    if facts.timestamp is not None:
        values["timestamp"] = facts.timestamp.isoformat()
    return values


def parse_timestamp(text: str) -> date:
    """Return a date, or a datetime with its time zone, from ISO 8601."""
    try:
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"timestamp {text!r} is not ISO 8601, such as 2016-02-04 or 2016-02-04T14:08:39Z.") from error


def _check_number(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not low <= value <= high or math.isinf(value):
        raise ValueError(f"{name} is {value}; it must be between {low} and {high}.")


def _check_name(name: str, value: str | None, forbidden: str) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}.")
    if not value or value != " ".join(value.split()) or not value.isprintable() or len(value) > _MAX_NAME_CHARACTERS:
        raise ValueError(
            f"{name} {value!r} must be 1 to {_MAX_NAME_CHARACTERS} printable characters without blanks at its ends "
            "or in a row."
        )
    # A question mark or a replacement character is what is left of a letter that some decoder did not know.
    if broken := sorted(set(value) & {*forbidden, "?", "\ufffd"}):
        raise ValueError(f"{name} {value!r} contains {' '.join(broken)!r}, which a name must not.")
