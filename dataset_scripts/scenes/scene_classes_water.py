"""Lays out rivers, lakes and beaches."""

import math

from .scene_builder import SceneBuilder
from .scene_geometry import along, between, box, grown, offset_path, oval, path_length, placed, ribbon
from .scene_graph import HiddenState, Outline, Paint, Point
from .scene_paints import CANOPY, CAR_PAINTS, PLAIN, WATERS


def river(b: SceneBuilder) -> None:
    """A meandering river with banks, sometimes with a bridge, boats, and a hidden discharge."""
    side, heading = b.extent, b.real(0, 180)
    wooded = b.chance(0.5)
    if wooded:
        b.ground("canopy", "forest", b.vary(CANOPY[b.season], 8))
    else:
        b.ground("grass", "grass", b.grass())
    width = side * b.real(0.14, 0.24)
    path = b.meander(heading, side * b.real(0.08, 0.16), side * b.real(-0.12, 0.12))
    b.patch("bank", ribbon(path, width + side * b.real(0.03, 0.06)), "sand", b.vary(PLAIN["soil"], 12))
    paint = b.vary(b.pick((*WATERS, Paint(name="brown", rgb=(122, 108, 82)))), 6)
    water = b.patch("river", ribbon(path, width), "water", paint)
    total = path_length(path)
    if b.chance(0.45):
        place, turn = along(offset_path(path, width * 0.24), total * b.real(0.4, 0.6))
        plume = HiddenState(kind="effluent", level=1.0)
        b.hidden_oval("outfall", place, turn, (side * 0.26, width * 0.4), water, plume)
    if b.chance(0.35):
        place, turn = along(path, total * b.real(0.35, 0.65))
        b.patch("sandbar", oval(place, turn, side * 0.13, width * 0.26), "sand", PLAIN["sand"])
    if b.chance(0.5):
        place, turn = along(path, total * b.real(0.4, 0.6))
        _bridge(b, place, turn + 90, width)
    for _ in range(b.pick((0, 1, 2, 3))):
        place, turn = along(offset_path(path, width * b.real(-0.3, 0.3)), total * b.real(0.3, 0.7))
        _boat(b, place, turn + b.pick((0.0, 180.0)), side)
    b.take_path(path, width + 8)
    b.scatter_trees(b.integer(10, 50) if wooded else b.integer(50, 160), diameter=(7, 13))


def _bridge(b: SceneBuilder, place: Point, heading: float, width: float) -> None:
    reach = b.extent
    road = list(placed(place, heading, ((-reach, 0.0), (reach, 0.0))))
    deck = box(place, heading, width * 1.15, 15)
    b.patch("bridge shadow", tuple((x + 5, y + 5) for x, y in deck), "water", Paint(name="dark", rgb=(30, 42, 50)))
    b.strip("road", road, 11, "asphalt", PLAIN["asphalt"], lanes=2)
    b.patch("bridge", deck, "concrete", PLAIN["concrete"])
    b.strip(
        "road",
        placed(place, heading, ((-width * 0.6, 0.0), (width * 0.6, 0.0))),
        10,
        "asphalt",
        PLAIN["asphalt"],
        lanes=2,
    )
    b.take_path(road, 16)
    for _ in range(b.integer(0, 3)):
        car = placed(place, heading, ((b.real(-0.25, 0.25) * reach, b.pick((-2.6, 2.6))),))[0]
        b.thing("car", car, heading, (5, 2.2, 1.5), "paint", b.pick(CAR_PAINTS), state=b.maybe("running_engine", 0.8))


def _boat(b: SceneBuilder, place: Point, heading: float, side: float) -> None:
    running = b.chance(0.5)
    length = side * b.real(0.045, 0.06)
    wake = 1 if running else 0
    # A wake tells of an engine, so the hidden state is free of it: a moored boat may idle, a sailing one may drift.
    b.thing(
        "boat",
        place,
        heading,
        (length, length * 0.34, 2),
        "paint",
        b.pick((CAR_PAINTS[0], CAR_PAINTS[5])),
        variant=wake,
        state=b.maybe("running_engine", 0.5),
    )


def lake(b: SceneBuilder) -> None:
    """A lake of irregular shore among grass or trees, with jetties and boats."""
    side = b.extent
    wooded = b.chance(0.55)
    if wooded:
        b.ground("canopy", "forest", b.vary(CANOPY[b.season], 8))
    else:
        b.ground("grass", "grass", b.grass())
    centre = (side * b.real(0.42, 0.58), side * b.real(0.42, 0.58))
    shore = b.blob(centre, side * b.real(0.29, 0.38), points=72)
    b.patch("shore", grown(shore, centre, 1.06), "sand", b.vary(PLAIN["sand"], 12))
    paint = b.vary(b.pick(WATERS), 6)
    water = b.patch("lake", shore, "water", paint)
    deep = Paint(name=paint.name, rgb=(paint.rgb[0] - 8, paint.rgb[1] - 8, paint.rgb[2] - 6))
    water = b.patch("deep lake", grown(shore, centre, 0.8), "water", deep) if b.chance(0.7) else water
    if b.chance(0.45):
        plume = HiddenState(kind="effluent", level=1.0)
        place = placed(centre, b.real(0, 360), ((side * 0.08, 0.0),))[0]
        b.hidden_oval("outfall", place, b.real(0, 180), (side * 0.24, side * 0.12), water, plume)
    if b.chance(0.4):
        island = placed(centre, b.real(0, 360), ((side * 0.12, 0.0),))[0]
        b.patch("island", b.blob(island, side * 0.05), "forest", b.vary(CANOPY[b.season], 8))
    for _ in range(b.pick((0, 1, 1, 2))):
        edge = b.integer(0, len(shore) - 1)
        place = between(shore[edge], centre, 0.08)
        turn = math.degrees(math.atan2(centre[1] - place[1], centre[0] - place[0]))
        b.thing("pier", place, turn, (side * 0.09, 5, 1.5), "soil", Paint(name="brown", rgb=(150, 126, 98)))
    for _ in range(b.pick((0, 1, 2, 3, 4))):
        place = placed(centre, b.real(0, 360), ((side * b.real(0.04, 0.19), 0.0),))[0]
        _boat(b, place, b.real(0, 360), side)
    for point in shore[::2]:
        b.take(point, side * 0.02)
        b.take(between(point, centre, 0.2), side * 0.06)
    b.take(centre, side * 0.29)
    b.scatter_trees(b.integer(15, 60) if wooded else b.integer(60, 170), diameter=(8, 14))


def beach(b: SceneBuilder) -> None:
    """Sea, surf, sand with umbrellas, and a green strip behind."""
    side, heading = b.extent, b.pick((0.0, 90.0, 180.0, 270.0)) + b.real(-15, 15)
    bend, phase = b.real(2, 7), b.real(0, 6)

    def shoreline(v: float, wobble: float) -> list[Point]:
        shape = [
            (u * side / 24 - side, v + wobble * math.sin(u / 5 + phase) + wobble * 0.3 * math.sin(u / 1.7 + 2 * phase))
            for u in range(49)
        ]
        return list(placed(b.middle, heading, shape))

    def beyond(v: float, wobble: float) -> Outline:
        far = placed(b.middle, heading, ((side, side * 1.2), (-side, side * 1.2)))
        return (*shoreline(v, wobble), *far)

    sand_v = side * b.real(-0.08, 0.1)
    b.ground("sea", "water", Paint(name="blue", rgb=(34, 84, 122)))
    for step, rgb in ((0.2, (42, 104, 138)), (0.13, (58, 128, 154)), (0.07, (88, 158, 172)), (0.03, (126, 184, 186))):
        b.patch("shallow water", beyond(sand_v - side * step, bend * 1.3), "water", Paint(name="blue", rgb=rgb))
    white = Paint(name="white", rgb=(236, 242, 242))
    for step in range(b.integer(2, 4)):
        b.strip("surf", shoreline(sand_v - side * (0.02 + 0.045 * step), bend * 1.2), b.real(1.5, 3.5), "foam", white)
    b.patch(
        "wet sand", beyond(sand_v - side * 0.012, bend), "sand", b.vary(Paint(name="brown", rgb=(184, 160, 120)), 6)
    )
    sand = b.patch("sand", beyond(sand_v + side * 0.025, bend), "sand", b.vary(PLAIN["sand"], 8))
    green_v = sand_v + side * b.real(0.2, 0.28)
    for _ in range(b.integer(2, 9)):
        place = placed(b.middle, heading, ((b.real(-0.45, 0.45) * side, sand_v - side * b.real(0.16, 0.5)),))[0]
        b.thing("breaker", place, heading, (b.real(10, 22), b.real(2, 3), 0), "foam", white)
    if b.chance(0.5):
        place = placed(b.middle, heading, ((b.real(-0.3, 0.3) * side, (sand_v + green_v) / 2),))[0]
        used = HiddenState(kind="recent_use", level=1.0)
        b.hidden_oval("trampled sand", place, heading, (side * 0.2, side * 0.07), sand, used)
    _umbrellas(b, heading, sand_v, green_v)
    b.patch("dune grass", beyond(green_v, bend * 1.6), "grass", b.grass())
    if b.chance(0.6):
        b.strip("road", shoreline(green_v + side * 0.13, bend * 0.3), 8, "asphalt", PLAIN["asphalt"], lanes=2)
        b.take_path(shoreline(green_v + side * 0.13, bend * 0.3), 9)
    for _ in range(b.pick((0, 1, 1, 2))):
        place = placed(b.middle, heading, ((b.real(-0.4, 0.4) * side, sand_v - side * b.real(0.22, 0.42)),))[0]
        _boat(b, place, heading + b.real(-30, 30), side * 0.9)
    for _ in range(b.integer(15, 60)):
        place = placed(b.middle, heading, ((b.real(-0.7, 0.7) * side, green_v + side * b.real(0.03, 0.6)),))[0]
        if b.is_free(place, 3):
            b.tree(place, b.real(5, 9))


def _umbrellas(b: SceneBuilder, heading: float, sand_v: float, green_v: float) -> None:
    paints = (
        Paint(name="red", rgb=(206, 62, 54)),
        Paint(name="blue", rgb=(52, 106, 186)),
        Paint(name="yellow", rgb=(238, 196, 62)),
        Paint(name="white", rgb=(240, 240, 236)),
    )
    paint, mixed = b.pick(paints), b.chance(0.5)
    for _ in range(b.pick((0, 3, 6, 10, 16))):
        v = sand_v + (green_v - sand_v) * b.real(0.25, 0.8)
        place = placed(b.middle, heading, ((b.real(-0.42, 0.42) * b.extent, v),))[0]
        if b.is_free(place, 2.6):
            b.take(place, 2.6)
            b.thing("umbrella", place, 0, (4.4, 4.4, 2.2), "paint", b.pick(paints) if mixed else paint)
