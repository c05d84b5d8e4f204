"""Lays out car parks and interchanges, with their traffic."""

from .scene_builder import Placing, SceneBuilder
from .scene_geometry import along, arc, box, offset_path, path_length, placed, ribbon
from .scene_graph import HiddenState, Paint, Patch, Point
from .scene_paints import CAR_PAINTS, PLAIN


def parking_lot(b: SceneBuilder) -> None:
    """Rows of marked stalls with parked cars, aisles, and tree islands."""
    ground = b.ground("asphalt", "asphalt", b.vary(b.pick((PLAIN["asphalt"], PLAIN["new asphalt"])), 8))
    heading = b.pick((0.0, 90.0)) + b.real(-15, 15)
    side = b.extent

    def at(u: float, v: float) -> Point:
        return placed(b.middle, heading, ((u, v),))[0]

    fill = b.pick((0.25, 0.45, 0.65, 0.85))
    running, vacated = b.real(0.0, 0.16), b.real(0.0, 0.3)
    line = Paint(name="white", rgb=(214, 214, 208))
    for row in range(-3, 4):
        v = row * 17.6
        b.patch("island", box(at(0, v), heading, side * 1.5, 1.1), "grass", b.grass(), shade=0.95)
        for edge in (-1, 1):
            for stall in range(-int(side / 4.6), int(side / 4.6)):
                u = stall * 2.75
                place, lot_heading = at(u + 1.37, v + edge * 3.3), heading + 90 * edge
                b.thing("taxi line", at(u, v + edge * 3.2), heading + 90, (5.2, 0.22, 0), "marking", line)
                _stall(b, place, lot_heading, fill, running, vacated, ground)
        for u in (-side * 0.33, 0.0, side * 0.33):
            if b.chance(0.75):
                b.tree(at(u, v), b.real(4.5, 7.5))
    for v in (-8.8, 8.8, 26.4):
        if b.chance(0.5):
            _car(b, at(b.real(-side * 0.35, side * 0.35), v), heading + b.pick((0.0, 180.0)), 1.0)


def _stall(
    b: SceneBuilder, place: Point, heading: float, fill: float, running: float, vacated: float, ground: Patch
) -> None:
    if b.chance(fill):
        _car(b, place, heading + b.pick((0.0, 180.0)), running)
    elif b.chance(vacated) and b.is_inside(place, b.extent * 0.05):
        state = HiddenState(kind="recent_use", level=1.0)
        b.hidden_box("vacated stall", place, heading, (4.4, 1.9), ground, state)


def _car(b: SceneBuilder, place: Point, heading: float, running: float) -> bool:
    size = (b.real(4.2, 4.9), b.real(1.8, 2.0), 1.5)
    return b.thing(
        "car", place, heading, size, "paint", b.vary(b.pick(CAR_PAINTS), 6), state=b.maybe("running_engine", running)
    )


def interchange(b: SceneBuilder) -> None:
    """Two highways that cross at a bridge, with loop ramps, and traffic."""
    grass = b.grass()
    b.ground("grass", "grass", grass)
    heading = b.real(0, 90)
    middle = placed(b.middle, 0, ((b.real(-15, 15), b.real(-15, 15)),))[0]
    reach = b.extent * 1.1
    paint = b.vary(b.pick((PLAIN["asphalt"], PLAIN["concrete"])), 6)

    def at(u: float, v: float) -> Point:
        return placed(middle, heading, ((u, v),))[0]

    width = 26.0
    lower, upper = [at(-reach, 0), at(reach, 0)], [at(0, -reach), at(0, reach)]
    loops = b.subset(b.pick((2, 3, 4, 4)), 4)
    radius = b.extent * b.real(0.1, 0.12)
    for quarter in range(4):
        su, sv = ((1, 1), (-1, 1), (-1, -1), (1, -1))[quarter]
        b.strip("ramp", _slip_road(at, su, sv, b.extent), 9.0, "asphalt", paint, lanes=1)
        if quarter in loops:
            centre = (radius + 10, radius + 10)
            loop = [at(su * (centre[0] + x), sv * (centre[1] + y)) for x, y in arc((0.0, 0.0), radius, -150, 240)]
            b.strip("loop ramp", loop, 9.0, "asphalt", paint, lanes=1)
    for path in (lower, upper):
        b.strip("highway", path, width, "asphalt", paint, lanes=6)
    deck = [at(0, -30), at(0, 30)]
    b.patch("bridge shadow", ribbon([at(0, -17), at(0, 17)], width + 9), "asphalt", paint, shade=0.6)
    b.strip("bridge", deck, width + 2.5, "concrete", b.vary(PLAIN["concrete"], 6))
    b.strip("highway", [at(0, -31), at(0, 31)], width, "asphalt", paint, lanes=6)
    _traffic(b, lower, width, 6, b.integer(3, 12), skip=(reach - 24, reach + 24))
    _traffic(b, upper, width, 6, b.integer(3, 12))
    for path in (lower, upper):
        b.take_path(path, width + 12)
    for su, sv in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        b.take_path(_slip_road(at, su, sv, b.extent), 16)
        for x, y in arc((0.0, 0.0), radius, 0, 345, points=14):
            b.take(at(su * (radius + 10 + x), sv * (radius + 10 + y)), 10)
    b.scatter_trees(b.integer(20, 90), diameter=(6, 10))


def _slip_road(at: Placing, su: int, sv: int, extent: float) -> list[Point]:
    """From one highway to the other, outside the loop: a cubic Bezier curve that leaves both highways gently."""
    far, near = extent * 0.7, extent * 0.42
    path: list[Point] = []
    for step in range(21):
        t = step / 20
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        path.append(at(su * (a * far + b * near + (c + d) * 14), sv * ((a + b) * 14 + c * near + d * far)))
    return path


def _traffic(
    b: SceneBuilder, path: list[Point], width: float, lanes: int, count: int, skip: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Cars and trucks on a straight road, one driving side per direction, none closer than a truck."""
    total = path_length(path)
    used: list[tuple[int, float]] = []
    for _ in range(count):
        lane, distance = b.integer(0, lanes - 1), b.real(total * 0.25, total * 0.75)
        crowded = any(lane == other and abs(distance - place) < 22 for other, place in used)
        if crowded or skip[0] < distance < skip[1]:
            continue
        used.append((lane, distance))
        shifted = offset_path(path, -width / 2 + width * (lane + 0.5) / lanes)
        place, heading = along(shifted, distance)
        heading += 180.0 if lane < lanes // 2 else 0.0
        if b.chance(0.3):
            b.thing(
                "truck",
                place,
                heading,
                (b.real(11, 16), 2.6, 3.6),
                "paint",
                b.pick(CAR_PAINTS[:4]),
                state=b.maybe("running_engine", 0.8),
            )
        else:
            _car(b, place, heading, 0.8)
