"""Lays out dense and sparse residential areas."""

from .scene_builder import SceneBuilder
from .scene_geometry import along, box, offset_path, path_length, placed
from .scene_graph import Paint, Point
from .scene_paints import CAR_PAINTS, PLAIN, ROOFS


def dense_residential(b: SceneBuilder) -> None:
    """Streets lined by houses wall to wall, with cars along the kerb."""
    heading, side = b.real(-30, 30), b.extent
    b.ground("yards", "grass", b.grass())
    paint = b.vary(PLAIN["asphalt"], 8)
    roofs = b.pick(((0, 0, 1), (0, 1), (1, 2), (0, 2), (2, 2, 1)))
    depth, heated = b.real(32, 36), b.real(0.0, 0.45)
    first = b.real(-8, 8) - depth
    streets = [first + k * depth for k in range(-3, 6)]
    cross = b.real(-side * 0.3, side * 0.3)
    for v in streets:
        b.strip("pavement", b.across(heading, v), 9.4, "concrete", PLAIN["concrete"])
        b.strip("road", b.across(heading, v), 6.6, "asphalt", paint)
    crossing = list(placed(b.middle, heading, ((cross, -side), (cross, side))))
    b.strip("pavement", crossing, 9.4, "concrete", PLAIN["concrete"])
    b.strip("road", crossing, 6.6, "asphalt", paint)
    for v in streets:
        for edge in (-1, 1):
            u = -side * 0.8
            while u < side * 0.8:
                length = b.real(9.5, 13)
                place = placed(b.middle, heading, ((u + length / 2, v + edge * 11.2),))[0]
                if abs(u + length / 2 - cross) > 12.5:
                    _house(b, place, heading, (length, b.real(9, 10.5), 6.5), ROOFS[b.pick(roofs)], heated)
                    if b.chance(0.3):
                        garden = placed(b.middle, heading, ((u + b.real(0, length), v + edge * 17.2),))[0]
                        b.tree(garden, b.real(3.5, 6))
                u += length + b.real(1.4, 3.0)
        _kerb_cars(b, b.across(heading, v), 2.3, b.integer(2, 7))


def _house(
    b: SceneBuilder, place: Point, heading: float, size: tuple[float, float, float], paint: Paint, heated: float
) -> bool:
    return b.thing(
        "house",
        place,
        heading + b.pick((0.0, 0.0, 180.0)),
        size,
        "roof_tile",
        b.vary(paint, 12),
        variant=b.integer(0, 1),
        state=b.maybe("heated_roof", heated),
        must_be_inside=True,
    )


def _kerb_cars(b: SceneBuilder, path: list[Point], offset: float, count: int) -> None:
    total = path_length(path)
    used: list[float] = []
    for _ in range(count):
        distance = b.real(total * 0.27, total * 0.73)
        if any(abs(distance - other) < 6 for other in used):
            continue
        used.append(distance)
        place, heading = along(offset_path(path, b.pick((-offset, offset))), distance)
        b.thing(
            "car",
            place,
            heading + b.pick((0.0, 180.0)),
            (4.5, 1.9, 1.5),
            "paint",
            b.pick(CAR_PAINTS),
            state=b.maybe("running_engine", 0.2),
        )


def sparse_residential(b: SceneBuilder) -> None:
    """Few large houses with drives, lawns and many trees along a bending road."""
    side = b.extent
    b.ground("lawns", "grass", b.grass())
    heading, bend = b.real(0, 180), b.real(-0.14, 0.14) * side
    path = list(
        placed(
            b.middle,
            heading,
            tuple((u * side, bend * (1 - (u / 0.5) ** 2)) for u in (-0.8, -0.5, -0.35, -0.2, 0, 0.2, 0.35, 0.5, 0.8)),
        )
    )
    b.strip("road", path, 6.5, "asphalt", b.vary(PLAIN["asphalt"], 8))
    b.take_path(path, 9)
    heated = b.real(0.1, 0.6)
    total = path_length(path)
    wanted = b.integer(3, 9)
    placed_houses = 0
    for _ in range(wanted * 4):
        if placed_houses == wanted:
            break
        distance, edge = b.real(total * 0.2, total * 0.8), b.pick((-1, 1))
        kerb, road_heading = along(path, distance)
        away = b.real(24, 46)
        place = along(offset_path(path, edge * away), distance)[0]
        if not (b.is_free(place, 15) and b.is_inside(place, 14)):
            continue
        b.strip("drive", [kerb, place], 3.2, "concrete", b.vary(PLAIN["concrete"], 8))
        _house(b, place, road_heading + b.real(-20, 20), (b.real(15, 19), b.real(10, 12.5), 6.0), b.pick(ROOFS), heated)
        placed_houses += 1
        b.take(place, 11)
        b.take_path([kerb, place], 4)
        if b.chance(0.35):
            _pool(b, along(offset_path(path, edge * (away + 16)), distance)[0], road_heading)
        if b.chance(0.6):
            car = along(offset_path(path, edge * away * 0.5), distance)[0]
            b.thing(
                "car",
                car,
                road_heading + 90,
                (4.6, 1.9, 1.5),
                "paint",
                b.pick(CAR_PAINTS),
                state=b.maybe("running_engine", 0.3),
            )
    b.scatter_trees(b.integer(60, 150), diameter=(6, 12))


def _pool(b: SceneBuilder, place: Point, heading: float) -> None:
    if b.is_inside(place, 8) and b.is_free(place, 6):
        b.patch("pool deck", box(place, heading, 13, 8.5), "concrete", PLAIN["concrete"])
        b.patch("pool", box(place, heading, 9.5, 5), "water", Paint(name="blue", rgb=(88, 186, 208)))
        b.take(place, 7)
