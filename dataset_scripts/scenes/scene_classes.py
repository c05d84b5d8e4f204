"""The scene classes: how each is laid out, and how many metres one side of it shows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scene_builder import SceneBuilder
from .scene_classes_nature import farmland, forest
from .scene_classes_residential import dense_residential, sparse_residential
from .scene_classes_roads import interchange, parking_lot
from .scene_classes_transport import airport, harbor, railway_station
from .scene_classes_urban import industrial_area, solar_farm, stadium, storage_tanks
from .scene_classes_water import beach, lake, river
from .scene_graph import Conditions, SceneGraph, Season


@dataclass(frozen=True)
class SceneClass:
    """How to make scenes of one class."""

    lay_out: Callable[[SceneBuilder], None]
    extent_metres: tuple[float, float]


SCENE_CLASSES: dict[str, SceneClass] = {
    "airport": SceneClass(airport, (380, 480)),
    "beach": SceneClass(beach, (150, 210)),
    "dense residential": SceneClass(dense_residential, (130, 180)),
    "farmland": SceneClass(farmland, (480, 700)),
    "forest": SceneClass(forest, (180, 260)),
    "harbor": SceneClass(harbor, (300, 380)),
    "industrial area": SceneClass(industrial_area, (250, 330)),
    "interchange": SceneClass(interchange, (260, 340)),
    "lake": SceneClass(lake, (260, 380)),
    "parking lot": SceneClass(parking_lot, (62, 90)),
    "railway station": SceneClass(railway_station, (150, 200)),
    "river": SceneClass(river, (260, 400)),
    "solar farm": SceneClass(solar_farm, (110, 170)),
    "sparse residential": SceneClass(sparse_residential, (150, 200)),
    "stadium": SceneClass(stadium, (240, 280)),
    "storage tanks": SceneClass(storage_tanks, (150, 220)),
}

_MEAN_AIR_KELVIN: dict[Season, float] = {"spring": 287.0, "summer": 296.0, "autumn": 285.0, "winter": 275.0}


def make_scene_graph(seed: int, index: int, class_name: str | None = None) -> SceneGraph:
    """Lay out scene `index` of a seed; nothing else decides it. A class may be asked for."""
    rng = np.random.default_rng([seed, index])
    names = sorted(SCENE_CLASSES)
    drawn = names[int(rng.integers(len(names)))]
    name = class_name or drawn
    if name not in SCENE_CLASSES:
        raise ValueError(f"unknown scene class {name!r}; choose one of {', '.join(names)}.")
    scene_class = SCENE_CLASSES[name]
    conditions = _draw_conditions(rng, scene_class.extent_metres)
    builder = SceneBuilder(rng=rng, conditions=conditions)
    scene_class.lay_out(builder)
    return SceneGraph(class_name=name, seed=seed, index=index, conditions=conditions, elements=tuple(builder.elements))


def _draw_conditions(rng: np.random.Generator, extent_metres: tuple[float, float]) -> Conditions:
    seasons: tuple[Season, ...] = ("spring", "summer", "autumn", "winter")
    season = seasons[int(rng.integers(4))]
    hour = float(rng.uniform(11, 16) if rng.random() < 0.5 else rng.uniform(22, 28) % 24)
    return Conditions(
        season=season,
        infrared_hour=round(hour, 2),
        air_kelvin=_MEAN_AIR_KELVIN[season] + float(rng.uniform(-4, 4)),
        extent_metres=float(rng.uniform(*extent_metres)),
        sun_azimuth_degrees=float(rng.uniform(200, 340)),
        sun_elevation_degrees=float(rng.uniform(36, 60)),
        brightness=float(rng.uniform(0.93, 1.07)),
        haze=float(rng.uniform(0.0, 0.08)),
    )
