"""Draws what moves: airplanes, ships, boats, cars, trucks, tractors and trains."""

from collections.abc import Sequence

from .scene_canvas import Canvas
from .scene_geometry import box, oval, placed
from .scene_graph import Point, SceneObject
from .scene_thermal import Surface

_WINDOW = (38, 44, 54)
_FOAM = (214, 224, 226)
_CONTAINERS = ((176, 58, 46), (46, 92, 150), (58, 128, 84), (206, 140, 52), (150, 150, 148), (112, 60, 60))


def draw_airplane(canvas: Canvas, plane: SceneObject) -> None:
    """Swept wings, tail, fuselage and engines; the engines carry the hidden state."""
    length, span = plane.length_metres, plane.width_metres
    body = Surface(plane.paint.rgb, plane.material)
    grey = Surface(_darker(plane.paint.rgb, 0.84), plane.material)
    engine = Surface(_darker(plane.paint.rgb, 0.62), plane.material, plane.state)
    parts = [_wing(length, span, side) for side in (-1, 1)]
    tail = [_tailplane(length, span, side) for side in (-1, 1)]
    fuselage = _fuselage(length)
    for shape in (*parts, *tail, fuselage):
        canvas.shadow(placed(plane.centre, plane.heading_degrees, shape), 3.5, 0.55)
    for along, across in _engine_places(length, span, plane.variant):
        nacelle = ((-0.055, -0.02), (0.05, -0.026), (0.05, 0.026), (-0.055, 0.02))
        shape = [(along + a * length, across + b * length) for a, b in nacelle]
        canvas.polygon(placed(plane.centre, plane.heading_degrees, shape), engine, 0.9)
    for shape in (*parts, *tail):
        canvas.polygon(placed(plane.centre, plane.heading_degrees, shape), grey)
    for along, across in _engine_places(length, span, plane.variant):
        exhaust = oval(
            placed(plane.centre, plane.heading_degrees, ((along - 0.005 * length, across),))[0],
            plane.heading_degrees,
            length * 0.09,
            length * 0.045,
            points=10,
        )
        canvas.polygon(exhaust, engine, 1.0)
    canvas.polygon(placed(plane.centre, plane.heading_degrees, fuselage), body, 1.08)
    fin = ((-0.5 * length, -0.012 * length), (-0.36 * length, 0.0), (-0.5 * length, 0.012 * length))
    canvas.polygon(placed(plane.centre, plane.heading_degrees, fin), Surface((70, 96, 150), plane.material))
    cockpit = [(length * a, length * b) for a, b in ((0.45, -0.018), (0.475, -0.01), (0.475, 0.01), (0.45, 0.018))]
    canvas.polygon(placed(plane.centre, plane.heading_degrees, cockpit), Surface(_WINDOW, "glass"))


def _fuselage(length: float) -> list[Point]:
    side = ((-0.5, 0.006), (-0.36, 0.038), (0.36, 0.046), (0.45, 0.036), (0.5, 0.0))
    return [(a * length, b * length) for a, b in side] + [(a * length, -b * length) for a, b in reversed(side[:-1])]


def _wing(length: float, span: float, side: int) -> list[Point]:
    return [
        (0.14 * length, 0.0),
        (-0.10 * length, side * span * 0.5),
        (-0.155 * length, side * span * 0.5),
        (-0.07 * length, side * span * 0.17),
        (-0.10 * length, 0.0),
    ]


def _tailplane(length: float, span: float, side: int) -> list[Point]:
    return [
        (-0.37 * length, 0.0),
        (-0.455 * length, side * span * 0.19),
        (-0.49 * length, side * span * 0.19),
        (-0.46 * length, 0.0),
    ]


def _engine_places(length: float, span: float, engines: int) -> list[Point]:
    places = [(0.06 * length, side * span * 0.17) for side in (-1, 1)]
    if engines == 4:
        places += [(-0.03 * length, side * span * 0.32) for side in (-1, 1)]
    return places


def draw_ship(canvas: Canvas, ship: SceneObject) -> None:
    """A pointed hull with a bridge and a funnel astern; variant 1 carries containers, 2 has hatches."""
    length, width = ship.length_metres, ship.width_metres
    hull = placed(ship.centre, ship.heading_degrees, _hull(length, width))
    canvas.shadow(hull, 6.0, 0.6)
    canvas.polygon(hull, Surface(_darker(ship.paint.rgb, 0.8), ship.material), 0.95)
    deck = placed(ship.centre, ship.heading_degrees, _hull(length * 0.95, width * 0.82))
    canvas.polygon(deck, Surface(ship.paint.rgb, ship.material), 1.1)
    if ship.variant == 1:
        _draw_containers(canvas, ship)
    else:
        for step in (-0.16, 0.02, 0.2):
            hatch = box(_on(ship, step * length, 0), ship.heading_degrees, length * 0.12, width * 0.55)
            canvas.shadow(hatch, 1.5, 0.75)
            canvas.polygon(hatch, Surface((150, 146, 138), ship.material), 1.05)
    bridge = box(_on(ship, -0.36 * length, 0), ship.heading_degrees, length * 0.11, width * 0.86)
    canvas.shadow(bridge, 9.0, 0.6)
    canvas.polygon(bridge, Surface((232, 232, 228), ship.material), 1.1)
    engine = box(_on(ship, -0.435 * length, 0), ship.heading_degrees, length * 0.075, width * 0.6)
    canvas.polygon(engine, Surface((92, 70, 66), ship.material, ship.state))


def _draw_containers(canvas: Canvas, ship: SceneObject) -> None:
    length, width = ship.length_metres, ship.width_metres
    seed = round(ship.centre[0] * 10) + round(ship.centre[1] * 10)
    for row in range(5):
        for column in range(3):
            place = _on(ship, length * (-0.24 + 0.125 * row), width * (-0.25 + 0.25 * column))
            colour = _CONTAINERS[(seed + row * 5 + column * 7 + row * column) % len(_CONTAINERS)]
            stack = box(place, ship.heading_degrees, length * 0.115, width * 0.235)
            canvas.polygon(stack, Surface(colour, "paint"), 0.92 + 0.08 * ((row + column) % 3))


def draw_boat(canvas: Canvas, boat: SceneObject) -> None:
    """A small pointed hull; variant 1 is under way and leaves a wake."""
    length, width = boat.length_metres, boat.width_metres
    if boat.variant == 1:
        foam = Surface(_FOAM, "foam")
        for side in (-1, 1):
            arm = [
                (0.3 * length, side * width * 0.4),
                (-0.5 * length, side * width * 0.7),
                (-1.1 * length, side * width * 1.2),
                (-1.0 * length, side * width * 1.0),
                (-0.5 * length, side * width * 0.5),
            ]
            canvas.polygon(placed(boat.centre, boat.heading_degrees, arm), foam, 0.86)
        trail = [(-0.4 * length, width * 0.42), (-1.9 * length, 0.0), (-0.4 * length, -width * 0.42)]
        canvas.polygon(placed(boat.centre, boat.heading_degrees, trail), foam, 0.95)
    hull = placed(boat.centre, boat.heading_degrees, _hull(length, width))
    canvas.shadow(hull, 1.2, 0.65)
    canvas.polygon(hull, Surface(boat.paint.rgb, "paint"), 1.05)
    cabin = box(_on(boat, 0.05 * length, 0), boat.heading_degrees, length * 0.26, width * 0.6)
    canvas.polygon(cabin, Surface((120, 130, 140), "paint"), 0.95)
    engine = box(_on(boat, -0.36 * length, 0), boat.heading_degrees, length * 0.26, width * 0.62)
    canvas.polygon(engine, Surface(_darker(boat.paint.rgb, 0.7), "paint", boat.state))


def _hull(length: float, width: float) -> list[Point]:
    side = ((-0.5, 0.36), (-0.42, 0.5), (0.22, 0.5), (0.38, 0.3), (0.5, 0.0))
    return [(a * length, b * width) for a, b in side] + [(a * length, -b * width) for a, b in reversed(side[:-1])]


def draw_car(canvas: Canvas, car: SceneObject) -> None:
    """Body, roof and windows; the hood carries the hidden state."""
    length, width = car.length_metres, car.width_metres
    outline = box(car.centre, car.heading_degrees, length, width)
    canvas.shadow(outline, 1.4, 0.5)
    canvas.polygon(outline, Surface(car.paint.rgb, "paint"), 1.0)
    cabin = box(_on(car, -0.06 * length, 0), car.heading_degrees, length * 0.52, width * 0.84)
    canvas.polygon(cabin, Surface(_WINDOW, "glass"))
    roof = box(_on(car, -0.08 * length, 0), car.heading_degrees, length * 0.3, width * 0.78)
    canvas.polygon(roof, Surface(car.paint.rgb, "paint"), 1.12)
    hood = box(_on(car, 0.35 * length, 0), car.heading_degrees, length * 0.28, width * 0.86)
    canvas.polygon(hood, Surface(car.paint.rgb, "paint", car.state), 1.04)


def draw_truck(canvas: Canvas, truck: SceneObject) -> None:
    """A long box behind a cab; the cab carries the hidden state."""
    length, width = truck.length_metres, truck.width_metres
    outline = box(truck.centre, truck.heading_degrees, length, width)
    canvas.shadow(outline, 3.5, 0.5)
    trailer = box(_on(truck, -0.1 * length, 0), truck.heading_degrees, length * 0.8, width)
    canvas.polygon(trailer, Surface(truck.paint.rgb, "paint"), 1.08)
    cab = box(_on(truck, 0.41 * length, 0), truck.heading_degrees, length * 0.18, width * 0.94)
    canvas.polygon(cab, Surface((168, 52, 44), "paint", truck.state))
    window = box(_on(truck, 0.46 * length, 0), truck.heading_degrees, length * 0.04, width * 0.8)
    canvas.polygon(window, Surface(_WINDOW, "glass"))


def draw_tractor(canvas: Canvas, tractor: SceneObject) -> None:
    """Body, cab and four wheels; the hood carries the hidden state."""
    length, width = tractor.length_metres, tractor.width_metres
    canvas.shadow(box(tractor.centre, tractor.heading_degrees, length, width), 2.2, 0.55)
    for along in (-0.28, 0.34):
        wheels = box(_on(tractor, along * length, 0), tractor.heading_degrees, length * 0.3, width)
        canvas.polygon(wheels, Surface((36, 34, 32), "asphalt"))
    body = box(tractor.centre, tractor.heading_degrees, length, width * 0.6)
    canvas.polygon(body, Surface(tractor.paint.rgb, "paint"))
    hood = box(_on(tractor, 0.28 * length, 0), tractor.heading_degrees, length * 0.42, width * 0.6)
    canvas.polygon(hood, Surface(tractor.paint.rgb, "paint", tractor.state), 1.1)
    cab = box(_on(tractor, -0.14 * length, 0), tractor.heading_degrees, length * 0.3, width * 0.6)
    canvas.polygon(cab, Surface((212, 214, 210), "paint"))


def draw_train_car(canvas: Canvas, car: SceneObject) -> None:
    """A carriage; variant 1 is a locomotive with a rounded nose, whose vents carry the hidden state."""
    length, width = car.length_metres, car.width_metres
    outline = box(car.centre, car.heading_degrees, length, width)
    canvas.shadow(outline, 3.5, 0.5)
    canvas.polygon(outline, Surface(car.paint.rgb, "paint"), 1.0)
    stripe = box(car.centre, car.heading_degrees, length * 0.97, width * 0.45)
    canvas.polygon(stripe, Surface(_darker(car.paint.rgb, 1.18), "paint"), 1.05)
    if car.variant == 1:
        vents = box(_on(car, -0.05 * length, 0), car.heading_degrees, length * 0.5, width * 0.6)
        canvas.polygon(vents, Surface((84, 84, 88), "paint", car.state))
        window = box(_on(car, 0.43 * length, 0), car.heading_degrees, length * 0.07, width * 0.8)
        canvas.polygon(window, Surface(_WINDOW, "glass"))
    else:
        for along in (-0.25, 0.25):
            unit = box(_on(car, along * length, 0), car.heading_degrees, length * 0.12, width * 0.4)
            canvas.polygon(unit, Surface((120, 122, 124), "paint"), 0.85)


def _on(thing: SceneObject, along: float, across: float) -> Point:
    return placed(thing.centre, thing.heading_degrees, ((along, across),))[0]


def _darker(rgb: Sequence[int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (min(255, round(channel * factor)) for channel in rgb)
    return (red, green, blue)
