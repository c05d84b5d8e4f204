"""UTM without a projection library: zone names, EPSG codes, and metres back to degrees.

Series of Krüger to the fourth order in the third flattening, as in Karney, "Transverse Mercator with an accuracy
of a few nanometers", 2011 (DOI 10.1007/s00190-011-0445-3); WGS 84. Within a zone the error is far below 1e-9 degrees.
"""

import math
import re

_EQUATORIAL_RADIUS_METRES = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_SCALE_AT_MERIDIAN = 0.9996
_FALSE_EASTING_METRES = 500_000.0
_FALSE_NORTHING_SOUTH_METRES = 10_000_000.0

_N = _FLATTENING / (2 - _FLATTENING)
_RECTIFYING_RADIUS_METRES = _EQUATORIAL_RADIUS_METRES / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)
_DELTA = (
    2 * _N - 2 * _N**2 / 3 - 2 * _N**3 + 116 * _N**4 / 45,
    7 * _N**2 / 3 - 8 * _N**3 / 5 - 227 * _N**4 / 45,
    56 * _N**3 / 15 - 136 * _N**4 / 35,
    4279 * _N**4 / 630,
)
_ZONE = re.compile(r"([1-9]|[1-5][0-9]|60)([NS])")
_MGRS_BAND = re.compile(r"0?([1-9]|[1-5][0-9]|60)([C-HJ-NP-X])")
_EPSG_AUTHORITY = re.compile(r'(?:AUTHORITY|ID)\s*\[\s*"EPSG"\s*,\s*"?(\d+)"?\s*\]')


def parse_utm_zone(zone: str) -> tuple[int, bool]:
    """Return number and whether the zone is northern, of a zone written as `33N` or `7S` (a hemisphere, not a band)."""
    match = _ZONE.fullmatch(zone)
    if match is None:
        raise ValueError(f"UTM zone {zone!r} must be a number from 1 to 60 and N or S, such as '33N'.")
    return int(match[1]), match[2] == "N"


def zone_of_band(zone_and_band: str) -> str:
    """Return the zone with its hemisphere for one with a latitude band of the military grid: `18S` is `18N`.

    Bands run from C at 80 degrees south to X in the north, without I and O; from N on they are northern. So the band
    S, from 32 to 40 degrees north, is not the southern hemisphere.
    """
    match = _MGRS_BAND.fullmatch(zone_and_band)
    if match is None:
        raise ValueError(f"UTM zone {zone_and_band!r} must be a number from 1 to 60 and a latitude band from C to X.")
    return f"{match[1]}{'N' if match[2] >= 'N' else 'S'}"


def zone_of_epsg(code: int) -> str | None:
    """Return the zone of a WGS 84 / UTM code (32601 to 32660, 32701 to 32760), or None for another code."""
    family, number = divmod(code, 100)
    return f"{number}{'N' if family == 326 else 'S'}" if family in (326, 327) and 1 <= number <= 60 else None


def epsg_of_projection(well_known_text: str) -> int | None:
    """Return the EPSG code of a coordinate system in well-known text: the last one, which names the whole."""
    codes = [int(code) for code in _EPSG_AUTHORITY.findall(well_known_text)]
    return codes[-1] if codes and well_known_text.lstrip().startswith(("PROJCS", "PROJCRS")) else None


def central_meridian(zone: str) -> float:
    """Degrees east of the middle of a zone."""
    return parse_utm_zone(zone)[0] * 6 - 183.0


def utm_to_degrees(easting_metres: float, northing_metres: float, zone: str) -> tuple[float, float]:
    """Return latitude and longitude, in degrees on WGS 84."""
    _, is_northern = parse_utm_zone(zone)
    if not (0 < easting_metres < 1_000_000 and 0 <= northing_metres <= _FALSE_NORTHING_SOUTH_METRES):
        raise ValueError(
            f"easting {easting_metres} and northing {northing_metres} are not metres of a UTM zone; eastings lie "
            "between 0 and 1,000,000, northings between 0 and 10,000,000."
        )
    northing = northing_metres - (0.0 if is_northern else _FALSE_NORTHING_SOUTH_METRES)
    radius = _SCALE_AT_MERIDIAN * _RECTIFYING_RADIUS_METRES
    xi, eta = northing / radius, (easting_metres - _FALSE_EASTING_METRES) / radius
    terms = [(beta, 2 * order) for order, beta in enumerate(_BETA, start=1)]
    xi_sphere = xi - sum(beta * math.sin(k * xi) * math.cosh(k * eta) for beta, k in terms)
    eta_sphere = eta - sum(beta * math.cos(k * xi) * math.sinh(k * eta) for beta, k in terms)
    conformal = math.asin(math.sin(xi_sphere) / math.cosh(eta_sphere))
    latitude = conformal + sum(delta * math.sin(2 * order * conformal) for order, delta in enumerate(_DELTA, start=1))
    longitude = math.degrees(math.atan2(math.sinh(eta_sphere), math.cos(xi_sphere))) + central_meridian(zone)
    return math.degrees(latitude), (longitude + 180) % 360 - 180
