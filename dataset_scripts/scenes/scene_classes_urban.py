"""Lays out storage tanks, industrial areas, solar farms and stadiums."""

from .scene_builder import SceneBuilder
from .scene_geometry import box, placed, rounded_box
from .scene_graph import HiddenState, Paint, Patch, Point
from .scene_paints import CAR_PAINTS, PLAIN

_HALL_ROOFS = (
    Paint(name="white", rgb=(216, 218, 218)),
    Paint(name="grey", rgb=(158, 162, 166)),
    Paint(name="blue", rgb=(92, 122, 158)),
    Paint(name="red", rgb=(158, 92, 76)),
)


def storage_tanks(b: SceneBuilder) -> None:
    """Cylindrical tanks in a grid on bare ground, joined by pipes."""
    paint = b.vary(b.pick((PLAIN["gravel"], PLAIN["soil"], PLAIN["concrete"])), 10)
    b.ground("bare ground", "soil", paint)
    side, heading = b.extent, b.pick((0.0, 90.0)) + b.real(-10, 10)
    b.patch(
        "grass",
        box(placed(b.middle, heading, ((0, side * 0.62),))[0], heading, side * 2, side * 0.34),
        "grass",
        b.grass(),
    )
    columns, rows = b.pick(((2, 1), (2, 2), (3, 1), (3, 2), (3, 2), (3, 3), (4, 2), (4, 3)))
    step = side * min(0.86 / columns, 0.72 / rows, 0.34)
    road_v = (rows / 2) * step + side * 0.035
    b.strip("road", b.across(heading, road_v), 8, "asphalt", PLAIN["asphalt"])
    tank_paint = b.pick(
        (
            Paint(name="white", rgb=(226, 226, 220)),
            Paint(name="white", rgb=(218, 220, 216)),
            Paint(name="grey", rgb=(168, 172, 172)),
            Paint(name="green", rgb=(128, 150, 130)),
        )
    )
    missing = b.subset(b.integer(0, max(0, rows * columns - 3)) if b.chance(0.4) else 0, rows * columns)
    pipe = Paint(name="grey", rgb=(188, 186, 178))
    for row in range(rows):
        v = (row - (rows - 1) / 2) * step
        ends = placed(
            b.middle, heading, ((-columns / 2 * step, v + step * 0.42), (columns / 2 * step, v + step * 0.42))
        )
        b.strip("pipe", ends, 1.6, "steel", pipe)
    for spot in range(rows * columns):
        u, v = (spot % columns - (columns - 1) / 2) * step, (spot // columns - (rows - 1) / 2) * step
        if spot in missing:
            continue
        radius = step * b.real(0.29, 0.36)
        level = b.pick((0.0, 0.0, 0.25, 0.5, 0.625, 0.75, 1.0))
        b.thing(
            "tank",
            placed(b.middle, heading, ((u, v),))[0],
            0.0,
            (radius * 2, radius * 2, radius * b.real(0.75, 1.0)),
            "steel",
            b.vary(tank_paint, 4),
            state=HiddenState(kind="fill", level=level),
        )
    b.take_path(b.across(heading, 0), rows * step + 30)
    b.scatter_trees(b.integer(0, 40), diameter=(5, 9))


def industrial_area(b: SceneBuilder) -> None:
    """Large halls in yards of asphalt and concrete, with trucks and a tank or two."""
    side, heading = b.extent, b.real(-25, 25)
    b.ground("yard", "concrete", b.vary(b.pick((PLAIN["concrete"], PLAIN["gravel"])), 10))
    road = b.vary(PLAIN["asphalt"], 6)
    columns, rows = b.pick(((2, 2), (2, 3), (3, 2), (3, 3)))
    cell_u, cell_v = side * 1.02 / columns, side * 1.02 / rows
    heated = b.real(0.15, 0.6)
    for column in range(columns + 1):
        u = (column - columns / 2) * cell_u
        b.strip("road", placed(b.middle, heading, ((u, -side), (u, side))), 11, "asphalt", road, lanes=2)
    for row in range(rows + 1):
        b.strip("road", b.across(heading, (row - rows / 2) * cell_v), 11, "asphalt", road, lanes=2)
    for spot in range(columns * rows):
        u, v = (spot % columns - (columns - 1) / 2) * cell_u, (spot // columns - (rows - 1) / 2) * cell_v
        _factory_plot(b, placed(b.middle, heading, ((u, v),))[0], heading, (cell_u - 18, cell_v - 18), heated)
    b.scatter_trees(b.integer(10, 40), diameter=(5, 8))


def _factory_plot(b: SceneBuilder, centre: Point, heading: float, plot: tuple[float, float], heated: float) -> None:
    length, width = plot
    if b.chance(0.12):
        b.patch("grass", box(centre, heading, length, width), "grass", b.grass())
        return
    b.take(centre, max(length, width) * 0.5)
    hall_width = width * b.real(0.55, 0.68)
    hall = (length * b.real(0.74, 0.94), hall_width, b.real(8, 13))
    up = b.pick((-1, 1))
    place = placed(centre, heading, ((0, up * (width - hall_width) / 2),))[0]
    material = b.pick(("roof_flat", "roof_flat", "roof_metal"))
    b.thing(
        "hall",
        place,
        heading,
        hall,
        material,
        b.vary(b.pick(_HALL_ROOFS)),
        variant=b.integer(0, 2),
        state=b.maybe("heated_roof", heated),
    )
    yard_v = -up * (width - (width - hall_width) * 0.5) / 2 * 0.98
    for _ in range(b.integer(0, 3)):
        spot = placed(centre, heading, ((length * b.real(-0.42, 0.42), yard_v),))[0]
        b.thing(
            "truck",
            spot,
            heading + b.pick((0.0, 180.0, 90.0)),
            (13, 2.8, 3.6),
            "paint",
            b.pick(CAR_PAINTS[:4]),
            state=b.maybe("running_engine", 0.4),
        )


def solar_farm(b: SceneBuilder) -> None:
    """Blocks of parallel panel rows in a meadow, with a service track."""
    side, heading = b.extent, b.real(-12, 12)
    ground = b.vary(b.pick((b.grass(), b.grass(), PLAIN["soil"])), 6)
    b.ground("grass" if ground.name != "brown" or b.season == "winter" else "bare ground", "grass", ground)
    track_u = b.real(-0.15, 0.15) * side
    b.strip("dirt road", placed(b.middle, heading, ((track_u, -side), (track_u, side))), 5, "soil", PLAIN["dirt road"])
    paint = b.vary(
        b.pick(
            (
                Paint(name="dark blue", rgb=(36, 52, 92)),
                Paint(name="blue", rgb=(48, 68, 118)),
                Paint(name="black", rgb=(34, 38, 54)),
            )
        ),
        5,
    )
    pitch = b.real(8.5, 11.5)
    depth = pitch * b.real(0.46, 0.58)
    rows = min(b.integer(7, 18), int(side * 0.84 / pitch))
    start = b.real(-0.46, 0.46 - rows * pitch / side) * side if rows * pitch < side * 0.9 else -rows * pitch / 2
    faulty = b.pick((0.0, 0.06, 0.14))
    for row in range(rows):
        v = start + (row + 0.5) * pitch
        for left, right in ((-0.47 * side, track_u - 6), (track_u + 6, 0.47 * side)):
            place = placed(b.middle, heading, (((left + right) / 2, v),))[0]
            b.thing(
                "solar row",
                place,
                heading,
                (right - left, depth, 1.6),
                "solar_panel",
                paint,
                variant=b.integer(0, 9),
                state=b.maybe("fault", faulty),
            )
    if b.chance(0.6):
        hut = placed(b.middle, heading, ((track_u + 11, start - 8),))[0]
        b.thing("hall", hut, heading, (9, 6, 3.5), "roof_flat", _HALL_ROOFS[0], variant=0)
    b.take_path(b.across(heading, start + rows * pitch / 2), rows * pitch + 8)
    b.scatter_trees(b.integer(5, 60), diameter=(5, 9))


def stadium(b: SceneBuilder) -> None:
    """A stadium bowl around a mown pitch, with car parks and trees around it."""
    side = b.extent
    b.ground("forecourt", "concrete", b.vary(b.pick((PLAIN["concrete"], PLAIN["gravel"])), 8))
    heading = b.real(0, 180)
    centre = placed(b.middle, 0, ((b.real(-0.05, 0.05) * side, b.real(-0.05, 0.05) * side),))[0]
    grass = b.patch(
        "grass",
        box(placed(b.middle, heading, ((0, side * 0.66),))[0], heading, side * 2, side * 0.5),
        "grass",
        b.grass(),
    )
    lot_v = -side * 0.44
    lot = b.patch(
        "car park",
        box(placed(b.middle, heading, ((0, lot_v),))[0], heading, side * 0.9, side * 0.15),
        "asphalt",
        b.vary(PLAIN["asphalt"], 6),
    )
    _stadium_cars(b, lot, heading, lot_v, b.real(0.1, 0.8))
    has_track = b.integer(0, 1)
    length, width = (98.0, 62.0) if has_track else (105.0, 68.0)
    outer = (side * b.real(0.74, 0.8), side * b.real(0.56, 0.62))
    seats = b.pick(
        (
            Paint(name="red", rgb=(168, 62, 54)),
            Paint(name="blue", rgb=(62, 92, 158)),
            Paint(name="grey", rgb=(150, 152, 156)),
            Paint(name="yellow", rgb=(206, 172, 74)),
        )
    )
    b.thing("stand", centre, heading, (*outer, 16), "seat", seats, state=b.maybe("crowd", 0.5))
    hole = (outer[0] - 68, outer[1] - 62)
    b.patch(
        "infield",
        rounded_box(centre, heading, max(hole[0], length + 14), max(hole[1], width + 10), 2.9),
        "turf",
        Paint(name="green", rgb=(78, 118, 62)),
    )
    green = Paint(name="green", rgb=b.pick(((74, 132, 62), (88, 142, 66), (66, 120, 60))))
    scale = 0.86 if has_track else 1.0
    b.thing("pitch", centre, heading, (length * scale, width * scale, 0), "turf", green, variant=has_track)
    b.take(centre, side * 0.36)
    b.take_path(
        [placed(b.middle, heading, ((-side / 2, lot_v),))[0], placed(b.middle, heading, ((side / 2, lot_v),))[0]],
        side * 0.16,
    )
    b.take(grass.outline[0], 0)
    b.scatter_trees(b.integer(20, 80), diameter=(6, 10))


def _stadium_cars(b: SceneBuilder, lot: Patch, heading: float, lot_v: float, fill: float) -> None:
    middle = placed(b.middle, heading, ((0.0, lot_v),))[0]
    for row in (-13.0, -7.5, 7.5, 13.0):
        for stall in range(-30, 31):
            if b.chance(fill):
                place = placed(middle, heading, ((stall * 3.3, row),))[0]
                b.thing("car", place, heading + 90, (4.6, 2.0, 1.5), "paint", b.pick(CAR_PAINTS))
    if fill < 0.3 and b.chance(0.6):
        state = HiddenState(kind="recent_use", level=1.0)
        b.hidden_box(
            "vacated stalls", placed(middle, heading, ((b.real(-50, 50), 10.0),))[0], heading, (46, 10), lot, state
        )
