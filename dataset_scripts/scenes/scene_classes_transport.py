"""Lays out airports, harbours and railway stations."""

from .scene_builder import Placing, SceneBuilder
from .scene_geometry import box, offset_path, placed
from .scene_graph import HiddenState, Paint, Point
from .scene_paints import PLAIN, WATERS

_WHITE = Paint(name="white", rgb=(236, 236, 234))
_SHIP_PAINTS = (
    Paint(name="red", rgb=(150, 58, 48)),
    Paint(name="blue", rgb=(62, 88, 128)),
    Paint(name="grey", rgb=(140, 142, 144)),
    Paint(name="green", rgb=(66, 106, 82)),
    Paint(name="white", rgb=(222, 222, 218)),
)


def airport(b: SceneBuilder) -> None:
    """A runway and taxiway beside an apron with a terminal and parked airplanes."""
    b.ground("grass", "grass", b.grass())
    heading = b.pick((0.0, 90.0, 180.0, 270.0)) + b.real(-12, 12)
    side = b.extent

    def at(u: float, v: float) -> Point:
        return placed(b.middle, heading, ((u, v),))[0]

    length, runway_v = side * 0.98, side * b.real(0.30, 0.35)
    runway_paint = b.vary(b.pick((PLAIN["asphalt"], PLAIN["new asphalt"])), 6)
    runway = b.patch("runway", box(at(0, runway_v), heading, length, 46), "asphalt", runway_paint)
    recent = b.maybe("recent_use", 0.45)
    b.hidden_box("touchdown", at(-length * 0.2, runway_v), heading, (length * 0.3, 16), runway, recent)
    b.thing("runway marks", at(0, runway_v), heading, (length, 46, 0), "marking", _WHITE, must_be_inside=False)
    concrete = b.vary(PLAIN["concrete"], 8)
    apron_v, apron_width = -side * 0.13, side * 0.44
    taxi_v = side * 0.155
    for u in (-side * 0.36, side * 0.36):
        b.patch("taxiway", box(at(u, side * 0.22), heading, 22, side * 0.18), "asphalt", runway_paint)
    b.patch("taxiway", box(at(0, taxi_v), heading, side * 1.6, 24), "asphalt", runway_paint)
    apron = b.patch("apron", box(at(0, apron_v), heading, side * 0.93, apron_width), "concrete", concrete)
    yellow = Paint(name="yellow", rgb=(206, 176, 62))
    b.thing("taxi line", at(0, taxi_v), heading, (side * 1.6, 1.4, 0), "marking", yellow, must_be_inside=False)
    terminal_v = -side * 0.31
    roof = b.vary(
        b.pick(
            (
                Paint(name="white", rgb=(214, 216, 216)),
                Paint(name="grey", rgb=(158, 164, 172)),
                Paint(name="brown", rgb=(160, 130, 108)),
            )
        )
    )
    b.thing(
        "terminal",
        at(0, terminal_v),
        heading,
        (side * b.real(0.5, 0.74), side * 0.1, 14),
        "roof_flat",
        roof,
        variant=b.integer(0, 1),
    )
    span = side * b.real(0.11, 0.13)
    stands = 6
    stand_step = side * 0.9 / stands
    present = b.subset(b.integer(2, stands), stands)
    for stand in range(stands):
        place = at((stand - (stands - 1) / 2) * stand_step, -side * 0.13)
        b.thing(
            "taxi line",
            at((stand - (stands - 1) / 2) * stand_step, -side * 0.03),
            heading + 90,
            (side * 0.3, 0.9, 0),
            "marking",
            yellow,
            must_be_inside=False,
        )
        if stand in present:
            _parked_airplane(b, place, heading - 90 + b.real(-4, 4), span, apron.paint)
    if b.chance(0.5):
        place = at(side * b.real(-0.3, 0.3), runway_v)
        _parked_airplane(b, place, heading + b.pick((0.0, 180.0)), span, runway.paint)
    b.scatter_trees(b.integer(0, 10), within=(0, 0, side, side * 0.03))


def _parked_airplane(b: SceneBuilder, place: Point, heading: float, span: float, ground: Paint) -> None:
    paint = b.pick((_WHITE, _WHITE, _WHITE, Paint(name="grey", rgb=(176, 182, 190))))
    state = b.maybe("running_engine", 0.35)
    b.thing("airplane", place, heading, (span * 1.08, span, 12), "paint", paint, variant=b.pick((2, 2, 4)), state=state)


def harbor(b: SceneBuilder) -> None:
    """Water with piers and moored ships, and a quay with containers and sheds."""
    heading = b.pick((0.0, 90.0, 180.0, 270.0)) + b.real(-8, 8)
    side = b.extent
    water = b.ground("water", "water", b.vary(b.pick(WATERS), 6))

    def at(u: float, v: float) -> Point:
        return placed(b.middle, heading, ((u, v),))[0]

    quay_edge = side * b.real(0.14, 0.24)
    if b.chance(0.4):
        plume = HiddenState(kind="effluent", level=1.0)
        place = at(side * b.real(-0.3, 0.3), quay_edge - side * 0.08)
        b.hidden_oval("outfall", place, heading + 90 + b.real(-25, 25), (side * 0.3, side * 0.13), water, plume)
    quay_paint = b.vary(PLAIN["concrete"], 10)
    b.patch("quay", box(at(0, quay_edge + side * 0.5), heading, side * 1.6, side), "concrete", quay_paint)
    b.strip(
        "road",
        [at(-side, quay_edge + side * 0.12), at(side, quay_edge + side * 0.12)],
        11,
        "asphalt",
        PLAIN["asphalt"],
        lanes=2,
    )
    piers = b.integer(2, 3)
    step = side * 0.94 / piers
    pier_length = side * b.real(0.44, 0.52)
    for pier in range(piers):
        u = (pier - (piers - 1) / 2) * step + b.real(-6, 6)
        b.thing(
            "pier",
            at(u, quay_edge - pier_length / 2),
            heading + 90,
            (pier_length + 8, 15, 3),
            "concrete",
            b.vary(PLAIN["concrete"], 8),
            must_be_inside=False,
        )
        for edge in (-1, 1):
            if b.chance(0.68):
                _moored_ship(b, at(u + edge * 19, quay_edge - pier_length * b.real(0.5, 0.58)), heading, pier_length)
    _container_yard(b, at(b.real(-60, 60), quay_edge + side * 0.055), heading)
    for _ in range(b.integer(1, 3)):
        roof = b.vary(
            b.pick(
                (
                    Paint(name="grey", rgb=(166, 170, 174)),
                    Paint(name="blue", rgb=(96, 122, 152)),
                    Paint(name="red", rgb=(152, 84, 70)),
                )
            )
        )
        place = at(side * b.real(-0.4, 0.4), quay_edge + side * 0.215)
        if b.is_free(place, 34) and b.thing(
            "hall", place, heading, (b.real(46, 66), 30, 9), "roof_metal", roof, variant=1
        ):
            b.take(place, 34)


def _moored_ship(b: SceneBuilder, place: Point, heading: float, pier_length: float) -> None:
    length = pier_length * b.real(0.5, 0.82)
    bow = heading + b.pick((90.0, -90.0))
    b.thing(
        "ship",
        place,
        bow,
        (length, length * b.real(0.15, 0.18), 10),
        "steel",
        b.pick(_SHIP_PAINTS),
        variant=b.pick((1, 1, 2)),
        state=b.maybe("running_engine", 0.4),
    )


def _container_yard(b: SceneBuilder, centre: Point, heading: float) -> None:
    colours = ((176, 58, 46), (46, 92, 150), (58, 128, 84), (206, 140, 52), (190, 190, 188))
    for row in range(2):
        for column in range(b.integer(6, 10)):
            place = placed(centre, heading, (((column - 4) * 13.4, (row - 0.5) * 6.0),))[0]
            outline = box(place, heading, 12.4, 5.0)
            b.patch(
                "containers", outline, "paint", Paint(name="mixed", rgb=b.pick(colours)), shade=b.pick((0.9, 1.0, 1.1))
            )


def railway_station(b: SceneBuilder) -> None:
    """Parallel tracks with platforms, trains, and a station building."""
    heading = b.real(0, 180)
    side = b.extent
    b.ground("grass", "grass", b.grass())

    def at(u: float, v: float) -> Point:
        return placed(b.middle, heading, ((u, v),))[0]

    tracks = b.integer(5, 9)
    step = 6.4
    platform_after = b.subset(b.integer(1, 3), tracks - 1)
    places, v = [], 0.0
    platform_places = []
    for track in range(tracks):
        places.append(v)
        v += step
        if track in platform_after:
            platform_places.append(v - step / 2 + 4.2)
            v += 8.4
    shift = v / 2 - step / 2 + b.real(-14, 14)
    ballast_width = v + 6
    ballast = b.vary(PLAIN["track ballast"], 8)
    middle_v = (v - step) / 2 - shift
    b.patch("ballast", box(at(0, middle_v), heading, side * 1.6, ballast_width), "gravel", ballast)
    for place in places:
        _rails(b, [at(-side, place - shift), at(side, place - shift)])
    roof = b.vary(
        b.pick(
            (
                Paint(name="grey", rgb=(150, 156, 160)),
                Paint(name="brown", rgb=(140, 104, 84)),
                Paint(name="green", rgb=(98, 128, 112)),
            )
        )
    )
    for place in platform_places:
        b.thing(
            "platform",
            at(b.real(-8, 8), place - shift),
            heading,
            (side * 0.82, 7.6, 4),
            "roof_metal",
            roof,
            must_be_inside=False,
        )
    building_v = middle_v - ballast_width / 2 - 22
    plaza = box(at(0, building_v), heading, side * 0.86, 34)
    b.patch("forecourt", plaza, "concrete", b.vary(PLAIN["concrete"], 6))
    tile = b.vary(b.pick((Paint(name="red", rgb=(158, 82, 62)), Paint(name="grey", rgb=(142, 144, 148)))))
    b.thing(
        "hall",
        at(0, building_v + 5),
        heading,
        (side * b.real(0.34, 0.5), 20, 11),
        "roof_flat",
        tile,
        variant=b.integer(0, 1),
    )
    for track in b.subset(b.integer(1, 4), tracks):
        _train(b, at, places[track] - shift, heading)
    b.take(b.middle, 0)
    b.take_path([at(-side, middle_v), at(side, middle_v)], ballast_width + 6)
    b.take_path([at(-side * 0.43, building_v), at(side * 0.43, building_v)], 40)
    b.scatter_trees(b.integer(25, 80), diameter=(5, 9))


def _rails(b: SceneBuilder, path: list[Point]) -> None:
    b.strip("sleepers", path, 3.0, "gravel", Paint(name="brown", rgb=(98, 82, 70)))
    for rail in (-0.85, 0.85):
        b.strip("rail", offset_path(path, rail), 0.35, "steel", Paint(name="grey", rgb=(190, 188, 186)))


def _train(b: SceneBuilder, at: Placing, v: float, heading: float) -> None:
    """A locomotive and its carriages; the locomotive alone counts as the train."""
    paint = b.pick(
        (
            Paint(name="red", rgb=(170, 48, 44)),
            Paint(name="blue", rgb=(52, 88, 150)),
            Paint(name="white", rgb=(220, 222, 222)),
            Paint(name="green", rgb=(62, 120, 82)),
        )
    )
    direction = b.pick((-1, 1))
    length = 19.0
    front = direction * b.extent * b.real(0.12, 0.36)
    state = b.maybe("running_engine", 0.5)
    turn = heading if direction > 0 else heading + 180
    if not b.thing("train car", at(front, v), turn, (length, 3.4, 4), "paint", paint, variant=1, state=state):
        return
    for car in range(1, b.integer(4, 8)):
        b.thing(
            "train car",
            at(front - direction * car * (length + 0.8), v),
            turn,
            (length, 3.4, 4),
            "paint",
            paint,
            must_be_inside=False,
        )
