"""How each material looks up close and how it warms and cools; plausible values, not measurements."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Material:
    """Texture amplitudes are fractions of the colour; thermal values are kelvin around the daily mean of the air."""

    grain: float = 0.03
    mottle: float = 0.05
    canopy: float = 0.0
    ripple: float = 0.0
    emissivity: float
    swing_kelvin: float
    """Half of the daily range: large for dry, dark, low-inertia surfaces; small for water."""
    peak_hour: float = 13.5
    """Hour of the daily maximum: late for surfaces of high thermal inertia."""
    bias_kelvin: float = 0.0
    follows_season: bool = True
    """Whether the swing shrinks with the winter sun."""


MATERIALS: dict[str, Material] = {
    "asphalt": Material(grain=0.05, mottle=0.07, emissivity=0.95, swing_kelvin=8.5, peak_hour=14.5, bias_kelvin=3.0),
    "concrete": Material(grain=0.03, mottle=0.06, emissivity=0.93, swing_kelvin=7.0, peak_hour=14.5, bias_kelvin=2.5),
    "marking": Material(grain=0.02, mottle=0.04, emissivity=0.93, swing_kelvin=8.0, peak_hour=14.5, bias_kelvin=2.5),
    "grass": Material(grain=0.08, mottle=0.08, emissivity=0.98, swing_kelvin=8.0, bias_kelvin=-1.5),
    "foliage": Material(grain=0.12, mottle=0.08, emissivity=0.98, swing_kelvin=4.0, bias_kelvin=-0.3),
    "forest": Material(grain=0.12, mottle=0.09, canopy=0.36, emissivity=0.98, swing_kelvin=4.0, bias_kelvin=-0.3),
    "crop": Material(grain=0.05, mottle=0.09, emissivity=0.97, swing_kelvin=6.5, bias_kelvin=-0.6),
    "soil": Material(grain=0.06, mottle=0.07, emissivity=0.95, swing_kelvin=11.0),
    "sand": Material(grain=0.05, mottle=0.05, emissivity=0.93, swing_kelvin=13.0),
    "gravel": Material(grain=0.12, mottle=0.08, emissivity=0.94, swing_kelvin=12.0, bias_kelvin=0.5),
    "water": Material(
        grain=0.01, mottle=0.05, ripple=0.05, emissivity=0.98, swing_kelvin=0.8, peak_hour=20.0, follows_season=False
    ),
    "foam": Material(grain=0.06, mottle=0.08, emissivity=0.97, swing_kelvin=0.8, peak_hour=20.0, follows_season=False),
    "roof_tile": Material(grain=0.06, mottle=0.05, emissivity=0.92, swing_kelvin=11.0),
    "roof_flat": Material(grain=0.03, mottle=0.06, emissivity=0.93, swing_kelvin=12.0),
    "roof_metal": Material(grain=0.02, mottle=0.04, emissivity=0.65, swing_kelvin=11.0, peak_hour=13.0),
    "steel": Material(grain=0.02, mottle=0.03, emissivity=0.9, swing_kelvin=9.0, peak_hour=13.0),
    "liquid": Material(emissivity=0.9, swing_kelvin=1.2, peak_hour=18.0, bias_kelvin=0.5, follows_season=False),
    "paint": Material(grain=0.02, mottle=0.02, emissivity=0.85, swing_kelvin=10.0, peak_hour=13.0),
    "glass": Material(grain=0.02, mottle=0.02, emissivity=0.88, swing_kelvin=9.0, peak_hour=13.0, bias_kelvin=-1.0),
    "solar_panel": Material(grain=0.02, mottle=0.03, emissivity=0.86, swing_kelvin=15.0, peak_hour=13.0),
    "turf": Material(grain=0.05, mottle=0.05, emissivity=0.97, swing_kelvin=7.0, bias_kelvin=-0.5),
    "track": Material(grain=0.03, mottle=0.04, emissivity=0.95, swing_kelvin=12.0, bias_kelvin=1.0),
    "seat": Material(grain=0.15, mottle=0.05, emissivity=0.92, swing_kelvin=9.0, bias_kelvin=0.5),
}
