"""Lays out farmland and forests."""

import math

from .scene_builder import SceneBuilder
from .scene_geometry import along, between, box, offset_path, oval, path_length, placed
from .scene_graph import HiddenState, Paint, Point
from .scene_paints import CANOPY, CAR_PAINTS, PLAIN

_CROPS = {
    "spring": (("green", 118, 152, 70), ("brown", 146, 116, 84), ("green", 142, 168, 84), ("yellow", 206, 190, 76)),
    "summer": (("green", 92, 130, 58), ("yellow", 204, 180, 106), ("green", 122, 150, 68), ("yellow", 190, 164, 96)),
    "autumn": (("brown", 150, 118, 84), ("yellow", 188, 164, 104), ("brown", 128, 98, 72), ("green", 116, 132, 70)),
    "winter": (("brown", 134, 110, 86), ("brown", 152, 128, 100), ("green", 112, 124, 78), ("brown", 120, 98, 78)),
}
_EVERGREEN = Paint(name="green", rgb=(52, 80, 50))


def farmland(b: SceneBuilder) -> None:
    """Fields with crop rows between dirt tracks, sometimes round fields, a farm, and a tractor."""
    side, heading = b.extent, b.real(-35, 35)
    b.ground("field margin", "grass", b.grass())
    columns, rows = b.pick(((2, 2), (2, 3), (3, 2), (3, 3), (3, 4)))
    cell_u, cell_v = side * 1.5 / columns, side * 1.5 / rows
    round_fields = b.chance(0.25)
    for row in range(rows):
        shift = b.real(-0.1, 0.1) * cell_u
        for column in range(columns):
            centre = placed(
                b.middle, heading, (((column - (columns - 1) / 2) * cell_u + shift, (row - (rows - 1) / 2) * cell_v),)
            )[0]
            if round_fields:
                _round_field(b, centre, min(cell_u, cell_v) * 0.47)
            else:
                _field(b, centre, heading, (cell_u - 9, cell_v - 9))
    dirt = b.vary(PLAIN["dirt road"], 8)
    track_v = (b.integer(1, rows - 1) - rows / 2) * cell_v
    track = list(placed(b.middle, heading, ((-side, track_v), (side, track_v))))
    b.strip("dirt road", track, 8, "soil", dirt)
    if b.chance(0.55):
        place, turn = along(offset_path(track, b.pick((-1, 1)) * 26), path_length(track) * b.real(0.36, 0.64))
        _farm(b, place, turn)
    for _ in range(b.integer(0, 2)):
        place, turn = along(track, path_length(track) * b.real(0.33, 0.67))
        b.thing(
            "tractor",
            place,
            turn,
            (14, 8.5, 3),
            "paint",
            Paint(name="red", rgb=(186, 46, 38)),
            state=b.maybe("running_engine", 0.5),
        )
    for k in range(b.integer(0, 14)):
        place, _ = along(offset_path(track, 12), path_length(track) * (0.3 + 0.03 * k))
        b.tree(place, b.real(9, 16))


def _field(b: SceneBuilder, centre: Point, heading: float, size: tuple[float, float]) -> None:
    """A rectangle of crop with rows along or across it."""
    name, *rgb = b.pick(_CROPS[b.season])
    paint = b.vary(Paint(name=name, rgb=(rgb[0], rgb[1], rgb[2])), 10)
    outline = box(centre, heading, *size)
    material = "soil" if name == "brown" else "crop"
    state = _irrigation(b, centre)
    b.patch("field", outline, material, paint, state=state)
    first, second, third, fourth = outline
    if b.chance(0.5):
        first, second, third, fourth = second, third, fourth, first
    count = max(4, int(math.dist(first, fourth) / b.pick((7.0, 9.0, 12.0))))
    strength = b.pick((0.8, 0.86, 0.92))
    for row in range(count):
        start, end = (row + 0.15) / count, (row + 0.6) / count
        furrow = (
            between(first, fourth, start),
            between(second, third, start),
            between(second, third, end),
            between(first, fourth, end),
        )
        b.patch("crop row", furrow, material, paint, shade=strength, state=state)


def _round_field(b: SceneBuilder, centre: Point, radius: float) -> None:
    """A field under a centre pivot: rings of wheel tracks."""
    name, *rgb = b.pick(_CROPS[b.season])
    paint = b.vary(Paint(name=name, rgb=(rgb[0], rgb[1], rgb[2])), 10)
    material = "soil" if name == "brown" else "crop"
    state = _irrigation(b, centre)
    b.patch("round field", oval(centre, 0, radius * 2, radius * 2, points=72), material, paint, state=state)
    for ring in range(7, 0, -1):
        outer, inner = radius * ring / 8, radius * ring / 8 - 3
        b.patch(
            "wheel track", oval(centre, 0, outer * 2, outer * 2, points=48), material, paint, shade=0.78, state=state
        )
        b.patch(
            "crop ring",
            oval(centre, 0, inner * 2, inner * 2, points=48),
            material,
            paint,
            shade=1.0 if ring % 2 else 1.05,
            state=state,
        )
    arm = [centre, placed(centre, b.real(0, 360), ((radius * 0.97, 0.0),))[0]]
    b.strip("pivot arm", arm, 3, "steel", Paint(name="grey", rgb=(196, 198, 196)))


def _irrigation(b: SceneBuilder, centre: Point) -> HiddenState | None:
    """Only a field whose middle is in view can be counted, so only such a field is irrigated."""
    if not b.is_inside(centre, b.extent * 0.05):
        return None
    return b.maybe("irrigation", 0.3)


def _farm(b: SceneBuilder, place: Point, heading: float) -> None:
    if not b.is_inside(place, 60):
        return
    b.patch("farmyard", box(place, heading, 84, 46), "soil", PLAIN["dirt road"])
    roof = b.pick((Paint(name="red", rgb=(164, 84, 64)), Paint(name="grey", rgb=(148, 150, 152))))
    for u, v, length in ((-22, 4, 34), (18, -7, 26), (24, 14, 20)):
        b.thing(
            "house",
            placed(place, heading, ((u, v),))[0],
            heading + b.pick((0.0, 90.0)),
            (length, 15, 8),
            "roof_tile",
            roof,
            variant=0,
            state=b.maybe("heated_roof", 0.3),
        )


def forest(b: SceneBuilder) -> None:
    """A closed canopy, sometimes with a clearing, a track, or single crowns that stand out."""
    side = b.extent
    paint = b.vary(b.pick((CANOPY[b.season], CANOPY[b.season], _EVERGREEN)), 7)
    canopy = b.ground("canopy", "forest", paint)
    if b.chance(0.6):
        second = b.vary(_EVERGREEN if paint.name != "green" else CANOPY["summer"], 10)
        b.patch("canopy stand", b.blob((b.real(0, side), b.real(0, side)), side * b.real(0.25, 0.45)), "forest", second)
    for _ in range(b.pick((0, 1, 1, 2))):
        centre = (b.real(0.2, 0.8) * side, b.real(0.2, 0.8) * side)
        outline = b.blob(centre, side * b.real(0.07, 0.14))
        b.patch("clearing", outline, "grass", b.grass())
        b.take(centre, side * 0.1)
    if b.chance(0.55):
        path = b.meander(b.real(0, 180), side * 0.08, side * b.real(-0.2, 0.2))
        b.strip("dirt road", path, 6, "soil", PLAIN["dirt road"])
        b.take_path(path, 6)
        if b.chance(0.5):
            place, turn = along(path, path_length(path) * b.real(0.38, 0.62))
            b.thing("truck", place, turn, (11, 3, 3.5), "paint", CAR_PAINTS[0], state=b.maybe("running_engine", 0.6))
    b.scatter_trees(b.integer(60, 220), diameter=(7, 13))
    for _ in range(b.pick((0, 0, 1, 2))):
        place = (b.real(0.12, 0.88) * side, b.real(0.12, 0.88) * side)
        ember = HiddenState(kind="smouldering", level=1.0)
        if b.is_free(place, 8):
            b.hidden_oval("spot", place, 0, (11, 11), canopy, ember)
