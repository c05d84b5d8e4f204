"""Draws one element of a scene graph on the canvas: land cover, roads, plants, and whatever has its own file."""

from collections.abc import Callable

from .scene_canvas import Canvas
from .scene_geometry import box, dashes, offset_path, placed
from .scene_graph import Element, Patch, SceneObject, Strip
from .scene_structures import (
    draw_crosswalk,
    draw_hall,
    draw_house,
    draw_pier,
    draw_pitch,
    draw_platform,
    draw_solar_row,
    draw_stand,
    draw_tank,
    draw_umbrella,
)
from .scene_thermal import Surface
from .scene_vehicles import draw_airplane, draw_boat, draw_car, draw_ship, draw_tractor, draw_train_car, draw_truck

MARKING = (226, 226, 220)


def draw_element(canvas: Canvas, element: Element) -> None:
    """Draw a patch, a strip or an object."""
    match element:
        case Patch():
            _draw_patch(canvas, element)
        case Strip():
            _draw_strip(canvas, element)
        case SceneObject():
            DRAW_OBJECT[element.kind](canvas, element)


def _draw_patch(canvas: Canvas, patch: Patch) -> None:
    surface = Surface(patch.paint.rgb, patch.material, patch.state)
    if patch.kind.startswith("hidden "):
        canvas.under(patch.outline, surface)
    else:
        canvas.polygon(patch.outline, surface, patch.shade)


def _draw_strip(canvas: Canvas, strip: Strip) -> None:
    canvas.line(strip.path, strip.width_metres, Surface(strip.paint.rgb, strip.material))
    if strip.lanes:
        _draw_lane_lines(canvas, strip)


def _draw_lane_lines(canvas: Canvas, strip: Strip) -> None:
    white = Surface(MARKING, "marking")
    half = strip.width_metres / 2
    for edge in (-half * 0.93, half * 0.93):
        canvas.line(offset_path(strip.path, edge), 0.25, white)
    for lane in range(1, strip.lanes):
        middle = offset_path(strip.path, -half + strip.width_metres * lane / strip.lanes)
        if strip.lanes >= 4 and lane * 2 == strip.lanes:
            canvas.line(middle, 0.9, Surface((150, 150, 140), "concrete"))
            continue
        for piece in dashes(middle, 4.0, 6.0):
            canvas.line(piece, 0.25, white)


def _draw_tree(canvas: Canvas, tree: SceneObject) -> None:
    """A crown of three tones, lit from the sun's side, with a shadow."""
    radius = tree.width_metres / 2
    x, y = tree.centre
    canvas.shadow_disc(tree.centre, radius * 0.95, tree.height_metres * 0.6, 0.5)
    canvas.disc(tree.centre, radius, Surface(tree.paint.rgb, tree.material, tree.state), 0.72)
    dx, dy = canvas.shadow_per_metre
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    lit = (x - dx / length * radius * 0.25, y - dy / length * radius * 0.25)
    canvas.tint_disc(lit, radius * 0.72, 1.0)
    top = (x - dx / length * radius * 0.4, y - dy / length * radius * 0.4)
    canvas.tint_disc(top, radius * 0.38, 1.28)


def _draw_bush(canvas: Canvas, bush: SceneObject) -> None:
    radius = bush.width_metres / 2
    canvas.shadow_disc(bush.centre, radius, bush.height_metres * 0.5, 0.6)
    canvas.disc(bush.centre, radius, Surface(bush.paint.rgb, bush.material), 0.9)


def _draw_runway_marks(canvas: Canvas, marks: SceneObject) -> None:
    """Centre line, threshold bars and touchdown marks of a runway as long and wide as the object."""
    white = Surface(MARKING, "marking")
    half, width = marks.length_metres / 2, marks.width_metres
    for step in range(int(-half), int(half), 22):
        canvas.polygon(placed(marks.centre, marks.heading_degrees, _bar(float(step), 0.0, 13.0, 1.4)), white)
    for edge in (-0.46, 0.46):
        canvas.polygon(placed(marks.centre, marks.heading_degrees, _bar(0, edge * width, 2 * half, 0.9)), white)
    for end in (-1, 1):
        for across in range(-4, 5):
            if across:
                bar = _bar(end * (half - 16), across * width / 10.5, 20.0, width / 24)
                canvas.polygon(placed(marks.centre, marks.heading_degrees, bar), white)
        for share in (-0.22, 0.22):
            bar = _bar(end * (half - 62), share * width, 26.0, width / 8)
            canvas.polygon(placed(marks.centre, marks.heading_degrees, bar), white)


def _bar(along: float, across: float, length: float, width: float) -> list[tuple[float, float]]:
    a, b = length / 2, width / 2
    return [(along - a, across - b), (along + a, across - b), (along + a, across + b), (along - a, across + b)]


def _draw_taxi_line(canvas: Canvas, line: SceneObject) -> None:
    outline = box(line.centre, line.heading_degrees, line.length_metres, line.width_metres)
    canvas.polygon(outline, Surface(line.paint.rgb, line.material))


def _draw_breaker(canvas: Canvas, breaker: SceneObject) -> None:
    """A short wave crest."""
    half, rise = breaker.length_metres / 2, breaker.width_metres
    shape = ((-half, 0.0), (-half / 2, -rise * 0.7), (0.0, -rise), (half / 2, -rise * 0.7), (half, 0.0))
    crest = placed(breaker.centre, breaker.heading_degrees, shape)
    canvas.line(crest, breaker.width_metres * 0.35, Surface(breaker.paint.rgb, breaker.material))


DRAW_OBJECT: dict[str, Callable[[Canvas, SceneObject], None]] = {
    "airplane": draw_airplane,
    "boat": draw_boat,
    "breaker": _draw_breaker,
    "bush": _draw_bush,
    "car": draw_car,
    "crosswalk": draw_crosswalk,
    "hall": draw_hall,
    "house": draw_house,
    "pier": draw_pier,
    "pitch": draw_pitch,
    "platform": draw_platform,
    "runway marks": _draw_runway_marks,
    "ship": draw_ship,
    "solar row": draw_solar_row,
    "stand": draw_stand,
    "tank": draw_tank,
    "taxi line": _draw_taxi_line,
    "terminal": draw_hall,
    "tractor": draw_tractor,
    "train car": draw_train_car,
    "tree": _draw_tree,
    "truck": draw_truck,
    "umbrella": draw_umbrella,
}
