"""The small thermal model: what every surface radiates at an hour of a season, as radiometric counts.

counts = COUNTS_PER_KELVIN * apparent kelvin. Only the simulator uses this relation; nothing that reads a simulated
infrared image may take its numbers for temperature.
"""

import math
from dataclasses import dataclass

from .scene_graph import Conditions, HiddenKind, HiddenState, Season
from .scene_materials import MATERIALS

COUNTS_PER_KELVIN = 100.0
SKY_BELOW_AIR_KELVIN = 30.0
SUNLIT_FACET_KELVIN = 2.5
NOISE_COUNTS = 4.0

# Kelvin that a state at level 1 adds to the surfaces it acts on, whatever they are made of.
EXCESS_KELVIN: dict[HiddenKind, float] = {
    "running_engine": 16.0,
    "heated_roof": 6.0,
    "recent_use": 5.0,
    "effluent": 6.0,
    "irrigation": -5.0,
    "fault": 8.0,
    "smouldering": 18.0,
    "crowd": 5.0,
}
SUN_OF_SEASON: dict[Season, float] = {"spring": 0.85, "summer": 1.0, "autumn": 0.75, "winter": 0.6}


@dataclass(frozen=True)
class Surface:
    """What fills a pixel: colour for the RGB image, the rest for the infrared image."""

    rgb: tuple[int, int, int]
    material: str
    state: HiddenState | None = None
    facing: float = 0.0
    """Tilt towards the sun, from -1 to 1."""


def apparent_kelvin(surface: Surface, conditions: Conditions) -> float:
    """Brightness of a surface in the infrared image, before blur and noise, in kelvin."""
    kelvin = material_kelvin(surface.material, conditions)
    kelvin += surface.facing * SUNLIT_FACET_KELVIN * sun_strength(conditions)
    if surface.state is not None:
        kelvin += state_excess_kelvin(surface.state, surface.material, conditions)
    return kelvin


def material_kelvin(name: str, conditions: Conditions) -> float:
    """Apparent kelvin of a level, unheated surface of a material, with its share of reflected sky."""
    material = MATERIALS[name]
    sun = SUN_OF_SEASON[conditions.season] if material.follows_season else 1.0
    phase = math.cos(2 * math.pi * (conditions.infrared_hour - material.peak_hour) / 24)
    surface = conditions.air_kelvin + sun * material.swing_kelvin * phase + material.bias_kelvin
    sky = conditions.air_kelvin - SKY_BELOW_AIR_KELVIN
    return material.emissivity * surface + (1 - material.emissivity) * sky


def state_excess_kelvin(state: HiddenState, material: str, conditions: Conditions) -> float:
    """What a hidden state adds; a filled tank wall takes on the level of the liquid behind it."""
    if state.kind == "fill":
        contents = material_kelvin("liquid", conditions) - material_kelvin(material, conditions)
        return state.level * contents
    return state.level * EXCESS_KELVIN[state.kind]


def sun_strength(conditions: Conditions) -> float:
    """Direct sun at the hour of the infrared image: 0 at night, 1 at noon in summer."""
    elevation = math.cos(2 * math.pi * (conditions.infrared_hour - 12.5) / 24)
    return max(0.0, elevation) * SUN_OF_SEASON[conditions.season]
