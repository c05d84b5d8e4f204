"""The meteorological season of a place and a day, and when none may be claimed.

The same day is winter on one half of the Earth and summer on the other, so without a latitude there is no season;
between the tropics the year has no four seasons, so there is none either. RS5M named northern seasons everywhere.
"""

import math
from datetime import date

TROPIC_DEGREES = 23.44
# Whole months, three to a season: December to February is winter in the north.
_NORTHERN = ("winter", "spring", "summer", "autumn")
_OTHER_HALF = {"winter": "summer", "spring": "autumn", "summer": "winter", "autumn": "spring"}
SEASONS = _NORTHERN


def season_of(latitude: float | None, day: date | None) -> str | None:
    """Return `winter`, `spring`, `summer` or `autumn`, or None where no season may be claimed.

    Args:
        latitude: Degrees, positive in the north. None, or a place within the tropics, gives None.
        day: A date or datetime; its month decides. None gives None.
    """
    if latitude is None or day is None or abs(latitude) < TROPIC_DEGREES:
        return None
    if not math.isfinite(latitude) or abs(latitude) > 90:
        raise ValueError(f"latitude {latitude} is not within -90 and 90 degrees.")
    northern = _NORTHERN[day.month % 12 // 3]
    return northern if latitude > 0 else _OTHER_HALF[northern]
