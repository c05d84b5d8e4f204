"""Reads the facts of an image from the metadata files of fMoW, BigEarthNet and YFCC, as their publishers wrote them.

What cannot be relied on is left out (None) by a stated rule; what makes the whole record useless is a
`RefusedError` with a reason from REASONS.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from .country_names import COUNTRY_NAMES
from .fmow_categories import FALSE_DETECTION
from .metadata_facts import ImageFacts, parse_timestamp
from .rejects import RefusedError
from .utm_zones import epsg_of_projection, utm_to_degrees, zone_of_band, zone_of_epsg

REASONS = ("false_detection", "no_box", "box_outside_image", "missing_field")

_POLYGON = re.compile(r"\s*POLYGON\s*\(\(([^()]*)\)\)\s*", re.IGNORECASE)


def fmow_facts(metadata: Mapping[str, Any]) -> ImageFacts:
    """Read a `*_rgb.json` or `*_msrgb.json` of Functional Map of the World.

    The first bounding box that is not a false detection gives the class, the box and the coordinate, all three. Its
    outline may leave the image by some pixels, and is cut there. The coordinate is the middle of the box's own
    `raw_location`, a polygon of longitude and latitude; where the box has none there is no coordinate. `utm` is a
    zone with a band of the military grid ("18S" is Washington). `country_code` is ISO 3166-1 alpha-3; a code that is
    no country ("CA-", the Caspian Sea) gives none. A negative `cloud_cover` means not known. The target azimuth and
    the angle off nadir are those of the whole strip, as published.
    """
    boxes = _field(metadata, "bounding_boxes")
    # Images with one box have it without a list in some of the releases.
    boxes = [boxes] if isinstance(boxes, Mapping) else boxes
    if not boxes:
        raise RefusedError("no_box", "bounding_boxes is empty")
    first = next((box for box in boxes if _field(box, "category") != FALSE_DETECTION), None)
    if first is None:
        raise RefusedError("false_detection", f"none of {len(boxes)} boxes is a true one")
    width, height = int(_field(metadata, "img_width")), int(_field(metadata, "img_height"))
    latitude, longitude = _middle_of_polygon(first.get("raw_location"))
    cloud_cover = _number(metadata, "cloud_cover")
    utm, scan_direction, timestamp = (metadata.get(name) for name in ("utm", "scan_direction", "timestamp"))
    return ImageFacts(
        class_name=first["category"],
        latitude=latitude,
        longitude=longitude,
        timestamp=parse_timestamp(timestamp) if timestamp else None,
        ground_sample_distance_metres=_number(metadata, "gsd"),
        utm_zone=zone_of_band(utm) if utm else None,
        cloud_cover_percent=None if cloud_cover is None or cloud_cover < 0 else cloud_cover,
        off_nadir_degrees=_number(metadata, "off_nadir_angle_dbl"),
        target_azimuth_degrees=_number(metadata, "target_azimuth_dbl"),
        scan_direction=scan_direction.lower() if scan_direction else None,
        country=COUNTRY_NAMES.get(metadata.get("country_code") or ""),
        box=_cut_to_image(_field(first, "box"), width, height),
        image_width=width,
        image_height=height,
    )


def bigearthnet_facts(metadata: Mapping[str, Any]) -> ImageFacts:
    """Read a `*_labels_metadata.json` of BigEarthNet.

    `coordinates` holds ulx, uly, lrx, lry in metres of the projection, well-known text that ends with its EPSG code;
    the coordinate is the middle of the patch. A projection that is not WGS 84 / UTM gives neither zone nor
    coordinate. `acquisition_date` ("2017-06-13 10:10:32") is the sensing start of the Sentinel-2 product, in UTC.
    Patches are resampled to 10 m in all bands that make up RGB.
    """
    labels = tuple(dict.fromkeys(_field(metadata, "labels")))
    if not labels:
        raise RefusedError("missing_field", "labels is empty")
    acquired = metadata.get("acquisition_date")
    timestamp = None if not acquired else datetime.fromisoformat(f"{acquired}+00:00")
    code = epsg_of_projection(metadata.get("projection") or "")
    zone = None if code is None else zone_of_epsg(code)
    latitude = longitude = None
    if zone is not None:
        corners = _field(metadata, "coordinates")
        left, top, right, bottom = (float(_field(corners, name)) for name in ("ulx", "uly", "lrx", "lry"))
        latitude, longitude = utm_to_degrees((left + right) / 2, (top + bottom) / 2, zone)
    return ImageFacts(
        labels=labels,
        latitude=latitude,
        longitude=longitude,
        timestamp=timestamp,
        ground_sample_distance_metres=10.0,
        utm_zone=zone,
    )


def yfcc_facts(*, latitude: float | str | None, longitude: float | str | None, date_taken: str | None) -> ImageFacts:
    """Read the columns `latitude`, `longitude` and `datetaken` of YFCC100M; empty text is not known.

    `datetaken` ("2009-07-11 13:00:36.0") is the clock of a camera, in no known time zone, so only its date is taken;
    the upload date says nothing of the image and is not used. A latitude and longitude of exactly zero are what
    tools write when they know neither, so they are not known.
    """
    latitude, longitude = (None if value in (None, "") else float(value) for value in (latitude, longitude))
    if latitude is None or longitude is None or latitude == longitude == 0:
        latitude = longitude = None
    day = date.fromisoformat(date_taken[:10]) if date_taken else None
    return ImageFacts(latitude=latitude, longitude=longitude, timestamp=day)


def _field(metadata: Mapping[str, Any], name: str) -> Any:
    if metadata.get(name) is None:
        raise RefusedError("missing_field", f"{name}; there are {', '.join(sorted(metadata))}")
    return metadata[name]


def _number(metadata: Mapping[str, Any], name: str) -> float | None:
    return None if metadata.get(name) is None else float(metadata[name])


def _middle_of_polygon(text: str | None) -> tuple[float, float] | tuple[None, None]:
    """Latitude and longitude of the middle of a polygon's extent, which may cross the 180th meridian."""
    if not text:
        return None, None
    match = _POLYGON.fullmatch(text)
    if match is None:
        raise ValueError(f"raw_location must be a polygon in well-known text, got {text[:80]!r}.")
    points = [[float(value) for value in point.split()] for point in match[1].split(",")]
    if any(len(point) != 2 for point in points):
        raise ValueError(f"raw_location must have points of longitude and latitude, got {text[:80]!r}.")
    longitudes, latitudes = [point[0] for point in points], [point[1] for point in points]
    if max(longitudes) - min(longitudes) > 180:
        longitudes = [longitude % 360 for longitude in longitudes]
    middle = (min(longitudes) + max(longitudes)) / 2
    return (min(latitudes) + max(latitudes)) / 2, (middle + 180) % 360 - 180


def _cut_to_image(box: Sequence[float], image_width: int, image_height: int) -> tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in box)
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, float(image_width)), min(y + height, float(image_height))
    if right <= left or bottom <= top:
        raise RefusedError("box_outside_image", f"{list(box)} in {image_width}x{image_height}")
    return left, top, right - left, bottom - top
