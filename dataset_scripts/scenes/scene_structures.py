"""Draws what is built: houses, halls, tanks, platforms, stands, solar rows, piers and small furniture."""

from .scene_canvas import Canvas
from .scene_geometry import box, oval, placed, rounded_box
from .scene_graph import HiddenState, Point, SceneObject
from .scene_thermal import Surface

TANK_WALL_BANDS = 8
_WHITE = (232, 232, 226)


def draw_house(canvas: Canvas, house: SceneObject) -> None:
    """A gable roof (variant 0) or a hip roof (variant 1), each facet as bright as it faces the sun."""
    a, b = house.length_metres / 2, house.width_metres / 2
    ridge = a if house.variant == 0 else max(a - b * 0.9, a * 0.1)
    canvas.shadow(box(house.centre, house.heading_degrees, 2 * a, 2 * b), house.height_metres, 0.48)
    facets: list[tuple[float, list[Point]]] = [
        (90.0, [(-a, b), (a, b), (ridge, 0.0), (-ridge, 0.0)]),
        (-90.0, [(-a, -b), (a, -b), (ridge, 0.0), (-ridge, 0.0)]),
    ]
    if house.variant == 1:
        facets += [(0.0, [(a, -b), (a, b), (ridge, 0.0)]), (180.0, [(-a, -b), (-a, b), (-ridge, 0.0)])]
    for direction, shape in facets:
        facing = round(canvas.facing_sun(house.heading_degrees + direction), 2)
        surface = Surface(house.paint.rgb, house.material, house.state, facing)
        canvas.polygon(placed(house.centre, house.heading_degrees, shape), surface, 0.96 + 0.26 * facing)
    crest = placed(house.centre, house.heading_degrees, ((-ridge, 0.0), (ridge, 0.0)))
    canvas.tint_line(crest, 0.35, 1.25)
    chimney = box(
        placed(house.centre, house.heading_degrees, ((a * 0.4, b * 0.35),))[0], house.heading_degrees, 1.1, 1.1
    )
    canvas.shadow(chimney, 1.6, 0.6)
    canvas.polygon(chimney, Surface((142, 96, 84), "roof_tile"))


def draw_hall(canvas: Canvas, hall: SceneObject) -> None:
    """A flat roof with parapet: variant 0 with roof units, 1 with skylight bands, 2 with saw-tooth sheds."""
    length, width = hall.length_metres, hall.width_metres
    outline = box(hall.centre, hall.heading_degrees, length, width)
    canvas.shadow(outline, hall.height_metres, 0.45)
    rim = Surface(hall.paint.rgb, hall.material)
    canvas.polygon(outline, rim, 1.18)
    inside = box(hall.centre, hall.heading_degrees, length - 2.4, width - 2.4)
    roof = Surface(hall.paint.rgb, hall.material, hall.state)
    canvas.polygon(inside, roof)
    match hall.variant:
        case 0:
            _draw_roof_units(canvas, hall)
        case 1:
            _draw_skylights(canvas, hall)
        case _:
            _draw_sheds(canvas, hall, roof)


def _draw_roof_units(canvas: Canvas, hall: SceneObject) -> None:
    count = max(2, int(hall.length_metres // 16))
    for step in range(count):
        along = (step + 0.5) / count - 0.5
        across = 0.22 if (step * 7 + round(hall.centre[0])) % 3 else -0.2
        place = _on(hall, along * hall.length_metres * 0.9, across * hall.width_metres)
        unit = box(place, hall.heading_degrees, 4.2, 3.0)
        canvas.shadow(unit, 2.0, 0.6)
        canvas.polygon(unit, Surface((205, 206, 204), "steel"), 1.05)


def _draw_skylights(canvas: Canvas, hall: SceneObject) -> None:
    count = max(3, int(hall.length_metres // 11))
    for step in range(count):
        along = ((step + 0.5) / count - 0.5) * hall.length_metres * 0.94
        band = box(_on(hall, along, 0), hall.heading_degrees, 2.0, hall.width_metres * 0.72)
        canvas.polygon(band, Surface((206, 220, 226), "glass"), 1.0)


def _draw_sheds(canvas: Canvas, hall: SceneObject, roof: Surface) -> None:
    count = max(4, int(hall.length_metres // 9))
    step_length = (hall.length_metres - 2.4) / count
    for step in range(count):
        along = (step + 0.25) * step_length - (hall.length_metres - 2.4) / 2
        facing = 0.8 if canvas.facing_sun(hall.heading_degrees) > 0 else -0.8
        strip = box(_on(hall, along, 0), hall.heading_degrees, step_length * 0.5, hall.width_metres - 2.4)
        canvas.polygon(strip, Surface(roof.rgb, roof.material, roof.state, facing), 1.0 + 0.2 * facing)


def draw_tank(canvas: Canvas, tank: SceneObject) -> None:
    """A cylinder seen from slightly off nadir: its wall shows below the roof, in bands of equal height.

    Bands up to the fill level carry the hidden state. The bands are the same for any level.
    """
    radius, height = tank.width_metres / 2, tank.height_metres
    x, y = tank.centre
    lean = height * 0.55
    ring = Surface((168, 160, 146), "gravel")
    canvas.disc(tank.centre, radius * 1.22, ring, 0.92)
    canvas.shadow_disc((x, y), radius, height * 0.8, 0.48)
    filled = round(tank.state.level * TANK_WALL_BANDS) if tank.state else 0
    full = HiddenState(kind="fill", level=1.0)
    for band in range(TANK_WALL_BANDS):
        state = full if band < filled else None
        wall = Surface(tank.paint.rgb, tank.material, state)
        bottom, top = (lean * (1 - (band + step) / TANK_WALL_BANDS) for step in (0, 1))
        _draw_wall_band(canvas, (x, y + bottom), radius, bottom - top, wall)
    canvas.tint(
        placed(
            (x, y), 0, ((radius * 0.25, 0), (radius, 0), (radius * 0.9, lean * 0.9), (radius * 0.25, lean + radius))
        ),
        0.55,
    )
    canvas.disc((x, y), radius, Surface(tank.paint.rgb, tank.material), 1.0)
    dx, dy = canvas.shadow_per_metre
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    for share, shade in ((0.86, 1.07), (0.6, 1.13), (0.3, 1.2)):
        shift = radius * (1 - share) * 0.5
        canvas.tint_disc((x - dx / length * shift, y - dy / length * shift), radius * share, shade)
    canvas.disc((x, y), radius * 0.12, Surface((128, 128, 128), tank.material), 0.9)
    stair = ((x + radius * 0.95, y), (x + radius * 0.2, y))
    canvas.tint_line(stair, 0.5, 0.8)


def _draw_wall_band(canvas: Canvas, centre: Point, radius: float, height: float, wall: Surface) -> None:
    """The wall between two heights: a disc at the lower one, and the sides up to the higher one."""
    x, y = centre
    canvas.disc(centre, radius, wall, 0.74)
    canvas.polygon(((x - radius, y), (x + radius, y), (x + radius, y - height), (x - radius, y - height)), wall, 0.74)


def draw_solar_row(canvas: Canvas, row: SceneObject) -> None:
    """A long table of panels with seams and a bright lower frame; a fault brightens the part that `variant` names."""
    length, width = row.length_metres, row.width_metres
    outline = box(row.centre, row.heading_degrees, length, width)
    canvas.shadow(outline, row.height_metres, 0.5)
    canvas.polygon(outline, Surface(row.paint.rgb, row.material), 1.0)
    parts = max(2, round(length / 12))
    faulty = row.variant % parts
    place = _on(row, ((faulty + 0.5) / parts - 0.5) * length, 0)
    canvas.polygon(
        box(place, row.heading_degrees, length / parts, width), Surface(row.paint.rgb, row.material, row.state), 1.0
    )
    upper = box(_on(row, 0, -width * 0.25), row.heading_degrees, length, width * 0.4)
    canvas.tint(upper, 1.22)
    frame = Surface((168, 176, 186), "steel")
    ends = placed(row.centre, row.heading_degrees, ((-length / 2, width / 2), (length / 2, width / 2)))
    canvas.line(ends, 0.35, frame, 1.0)
    for part in range(1, parts):
        along = (part / parts - 0.5) * length
        seam = placed(row.centre, row.heading_degrees, ((along, -width / 2), (along, width / 2)))
        canvas.line(seam, 0.3, frame, 0.95)


def draw_platform(canvas: Canvas, platform: SceneObject) -> None:
    """A railway platform with a canopy along its middle."""
    outline = box(platform.centre, platform.heading_degrees, platform.length_metres, platform.width_metres)
    canvas.shadow(outline, 1.0, 0.7)
    canvas.polygon(outline, Surface((196, 190, 180), "concrete"), 1.0)
    roof = box(platform.centre, platform.heading_degrees, platform.length_metres * 0.62, platform.width_metres * 0.66)
    canvas.shadow(roof, 4.0, 0.55)
    canvas.polygon(roof, Surface(platform.paint.rgb, platform.material), 1.0)
    ridge = placed(
        platform.centre,
        platform.heading_degrees,
        ((-platform.length_metres * 0.31, 0.0), (platform.length_metres * 0.31, 0.0)),
    )
    canvas.tint_line(ridge, 0.7, 1.3)


def draw_stand(canvas: Canvas, stand: SceneObject) -> None:
    """The seating bowl of a stadium: rising rows of seats around an open middle, roofed at its rim."""
    length, width = stand.length_metres, stand.width_metres
    bowl = rounded_box(stand.centre, stand.heading_degrees, length, width, 2.7)
    canvas.shadow(bowl, stand.height_metres, 0.42)
    canvas.polygon(bowl, Surface((214, 214, 210), "roof_metal"), 1.08)
    ring = rounded_box(stand.centre, stand.heading_degrees, length - 16, width - 16, 2.7)
    canvas.polygon(ring, Surface(stand.paint.rgb, "seat", stand.state), 1.0)
    for step in range(1, 7):
        row = rounded_box(stand.centre, stand.heading_degrees, length - 16 - step * 6, width - 16 - step * 6, 2.7)
        canvas.tint(row, 1.08 if step % 2 else 0.86)
    for step in range(16):
        spoke = oval(stand.centre, stand.heading_degrees, length - 16, width - 16, points=16)[step]
        canvas.tint_line((stand.centre, spoke), 1.4, 0.7)


def draw_pitch(canvas: Canvas, pitch: SceneObject) -> None:
    """A mown football pitch; variant 1 lies inside a running track."""
    length, width, heading = pitch.length_metres, pitch.width_metres, pitch.heading_degrees
    if pitch.variant == 1:
        canvas.polygon(
            rounded_box(pitch.centre, heading, length + 44, width + 26, 2.9), Surface((172, 82, 62), "track")
        )
        for inset in (5.0, 10.0):
            lane = rounded_box(pitch.centre, heading, length + 44 - inset, width + 26 - inset, 2.9)
            canvas.line((*lane, lane[0]), 0.4, Surface(_WHITE, "track"), 0.85)
        canvas.polygon(
            rounded_box(pitch.centre, heading, length + 28, width + 10, 2.9), Surface(pitch.paint.rgb, "turf"), 0.9
        )
    for step in range(12):
        along = ((step + 0.5) / 12 - 0.5) * length
        stripe = box(_on(pitch, along, 0), heading, length / 12 + 0.2, width)
        canvas.polygon(stripe, Surface(pitch.paint.rgb, "turf"), 1.1 if step % 2 else 0.94)
    white = Surface(_WHITE, "turf")
    for outline in (
        box(pitch.centre, heading, length * 0.94, width * 0.92),
        box(_on(pitch, -length * 0.4, 0), heading, length * 0.14, width * 0.5),
        box(_on(pitch, length * 0.4, 0), heading, length * 0.14, width * 0.5),
        oval(pitch.centre, heading, length * 0.18, length * 0.18),
    ):
        canvas.line((*outline, outline[0]), 0.5, white, 1.05)
    canvas.line(placed(pitch.centre, heading, ((0, -width * 0.46), (0, width * 0.46))), 0.5, white, 1.05)


def draw_pier(canvas: Canvas, pier: SceneObject) -> None:
    """A jetty or quay of planks or concrete, over its own shadow on the water."""
    outline = box(pier.centre, pier.heading_degrees, pier.length_metres, pier.width_metres)
    canvas.shadow(outline, pier.height_metres, 0.6)
    canvas.polygon(outline, Surface(pier.paint.rgb, pier.material), 1.0)


def draw_umbrella(canvas: Canvas, umbrella: SceneObject) -> None:
    """A beach umbrella with a pale middle."""
    radius = umbrella.width_metres / 2
    canvas.shadow_disc(umbrella.centre, radius, umbrella.height_metres, 0.6)
    canvas.disc(umbrella.centre, radius, Surface(umbrella.paint.rgb, umbrella.material), 1.1)
    canvas.disc(umbrella.centre, radius * 0.3, Surface(_WHITE, umbrella.material), 1.1)


def draw_crosswalk(canvas: Canvas, crosswalk: SceneObject) -> None:
    """White bars across a road."""
    for step in range(6):
        along = ((step + 0.5) / 6 - 0.5) * crosswalk.length_metres
        bar = box(
            _on(crosswalk, along, 0), crosswalk.heading_degrees, crosswalk.length_metres / 12, crosswalk.width_metres
        )
        canvas.polygon(bar, Surface(_WHITE, "marking"))


def _on(thing: SceneObject, along: float, across: float) -> Point:
    return placed(thing.centre, thing.heading_degrees, ((along, across),))[0]
