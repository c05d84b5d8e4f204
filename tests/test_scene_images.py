"""What the two images of a simulated scene show, and what they must not."""

from dataclasses import replace

import numpy as np
import pytest

from dataset_scripts.scenes.scene_classes import SCENE_CLASSES, make_scene_graph
from dataset_scripts.scenes.scene_graph import (
    HiddenState,
    Patch,
    SceneGraph,
    SceneObject,
    at_hour,
    without_hidden_states,
)
from dataset_scripts.scenes.scene_materials import MATERIALS
from dataset_scripts.scenes.scene_rendering import draw_canvas, render, state_mask
from dataset_scripts.scenes.scene_simulator import render_scene, simulate_scene
from dataset_scripts.scenes.scene_thermal import (
    COUNTS_PER_KELVIN,
    EXCESS_KELVIN,
    Surface,
    apparent_kelvin,
    material_kelvin,
    state_excess_kelvin,
)

CLASSES = sorted(SCENE_CLASSES)


def with_state(graph: SceneGraph, position: int, state: HiddenState | None) -> SceneGraph:
    """The same scene with the hidden state of one element set."""
    elements = list(graph.elements)
    element = elements[position]
    assert isinstance(element, SceneObject | Patch)
    elements[position] = replace(element, state=state)
    return replace(graph, elements=tuple(elements))


def position_of(graph: SceneGraph, kind: str) -> int:
    return next(n for n, element in enumerate(graph.elements) if element.kind == kind)


def inner(mask: np.ndarray) -> np.ndarray:
    """Pixels whose whole 3 by 3 neighbourhood is covered, which the blur of the camera leaves alone."""
    full = mask > 0.999
    padded = np.pad(full, 1)
    size = mask.shape[0]
    return np.logical_and.reduce([padded[y : y + size, x : x + size] for y in range(3) for x in range(3)])


def touched(mask: np.ndarray) -> np.ndarray:
    """Pixels that the blur of the camera lets the mask reach."""
    padded = np.pad(mask > 0, 1)
    size = mask.shape[0]
    return np.logical_or.reduce([padded[y : y + size, x : x + size] for y in range(3) for x in range(3)])


@pytest.mark.parametrize("name", CLASSES)
def test_a_scene_is_the_same_byte_for_byte_each_time(name):
    first, second = (simulate_scene(3, 11, 96, name) for _ in range(2))
    assert first.rgb.tobytes() == second.rgb.tobytes()
    assert first.infrared.tobytes() == second.infrared.tobytes()
    assert (first.captions, first.infrared_captions) == (second.captions, second.infrared_captions)


def test_a_scene_does_not_depend_on_those_made_before_it():
    alone = simulate_scene(0, 5, 64)
    for index in (4, 3):
        simulate_scene(0, index, 64)
    assert np.array_equal(simulate_scene(0, 5, 64).rgb, alone.rgb)
    assert not np.array_equal(simulate_scene(0, 6, 64).rgb, alone.rgb)
    assert not np.array_equal(simulate_scene(1, 5, 64).rgb, alone.rgb)


@pytest.mark.parametrize("name", CLASSES)
def test_images_have_their_types_and_a_plausible_range_of_counts(name):
    scene = simulate_scene(0, 1, 112, name)
    assert (scene.rgb.dtype, scene.rgb.shape) == (np.uint8, (112, 112, 3))
    assert (scene.infrared.dtype, scene.infrared.shape) == (np.uint16, (112, 112))
    assert 22000 < scene.infrared.min() < scene.infrared.max() < 35000
    assert scene.rgb.std() > 12


@pytest.mark.parametrize("name", CLASSES)
def test_rgb_shows_neither_hidden_states_nor_the_hour_of_the_infrared(name):
    graph = make_scene_graph(2, 8, name)
    rgb = render_scene(graph, 128).rgb
    bare = replace(
        graph,
        elements=tuple(e for e in graph.elements if not (isinstance(e, Patch) and e.kind.startswith("hidden "))),
    )
    for other in (without_hidden_states(graph), at_hour(graph, 13.0), at_hour(graph, 2.0), bare):
        assert np.array_equal(render_scene(other, 128).rgb, rgb)


@pytest.mark.parametrize("name", CLASSES)
def test_captions_of_rgb_tell_neither_hidden_states_nor_the_hour(name):
    graph = make_scene_graph(2, 8, name)
    captions = render_scene(graph, 16).captions
    for other in (without_hidden_states(graph), at_hour(graph, 13.0), at_hour(graph, 2.0)):
        assert render_scene(other, 16).captions == captions


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("airport", "airplane"),
        ("parking lot", "car"),
        ("harbor", "ship"),
        ("sparse residential", "house"),
        ("solar farm", "solar row"),
        ("stadium", "stand"),
        ("industrial area", "hall"),
        ("railway station", "train car"),
    ],
)
def test_a_hidden_state_brightens_its_own_pixels_by_the_models_amount_and_no_others(name, kind):
    graph = next(g for g in (make_scene_graph(9, n, name) for n in range(20)) if g.objects(kind))
    position = position_of(graph, kind)
    state = graph.elements[position].state
    assert state is not None
    on = render_scene(with_state(graph, position, HiddenState(kind=state.kind, level=1.0)), 448).infrared.astype(int)
    off = render_scene(with_state(graph, position, None), 448).infrared.astype(int)
    mask = state_mask(graph, 448, position)
    changed = on - off
    assert mask.sum() > 4
    assert not changed[~touched(mask)].any()
    assert (changed[mask > 0.5] > 0).all()
    whole = inner(mask)
    if whole.any():
        amount = EXCESS_KELVIN[state.kind] * COUNTS_PER_KELVIN
        assert np.abs(changed[whole] - amount).max() <= 1


@pytest.mark.parametrize(("hour", "sign"), [(13.0, -1), (2.0, 1)])
def test_a_tank_is_darker_below_its_fill_line_by_day_and_brighter_by_night(hour, sign):
    graph = at_hour(make_scene_graph(0, 0, "storage tanks"), hour)
    position = position_of(graph, "tank")
    tank = graph.elements[position]
    images = {
        level: render_scene(with_state(graph, position, HiddenState(kind="fill", level=level)), 224).infrared.astype(
            int
        )
        for level in (0.0, 0.5, 1.0)
    }
    half, full = (sign * (images[level] - images[0.0]) for level in (0.5, 1.0))
    assert full.min() >= 0
    assert 0 < (half > 1).sum() < (full > 1).sum()
    assert not half[full == 0].any()
    amount = (
        abs(state_excess_kelvin(HiddenState(kind="fill", level=1.0), "steel", graph.conditions)) * COUNTS_PER_KELVIN
    )
    assert abs(full.max() - amount) <= 1
    # The half that is filled is the lower one: in view, the wall lies below the roof.
    rows_of_half, rows_of_full = np.nonzero(half > 1)[0], np.nonzero(full > 1)[0]
    assert rows_of_half.mean() > rows_of_full.mean() > tank.centre[1] / graph.conditions.extent_metres * 224


@pytest.mark.parametrize("season", ["spring", "summer", "autumn", "winter"])
def test_water_is_darker_than_natural_land_by_day_and_brighter_by_night(season):
    conditions = replace(make_scene_graph(0, 0).conditions, season=season)
    land = ("grass", "foliage", "forest", "crop", "soil", "sand")
    for hours, sign in (((11.0, 13.0, 16.0), 1), ((22.0, 0.0, 2.0, 4.0), -1)):
        for hour in hours:
            at = replace(conditions, infrared_hour=hour)
            differences = [sign * (material_kelvin(name, at) - material_kelvin("water", at)) for name in land]
            assert min(differences) > 0.5, (hour, season)


def test_lake_pixels_turn_from_dark_to_bright_between_day_and_night():
    graph = without_hidden_states(make_scene_graph(0, 3, "lake"))
    mask = water_share(graph, 128)
    for hour, sign in ((13.0, -1), (2.0, 1)):
        infrared = render_scene(at_hour(graph, hour), 128).infrared.astype(float)
        assert sign * (infrared[mask == 1].mean() - infrared[mask == 0].mean()) > 50


def water_share(graph: SceneGraph, size: int) -> np.ndarray:
    canvas = draw_canvas(graph, size)
    lut = np.array([surface.material == "water" for surface in canvas.surfaces], dtype=float)
    factor = canvas.pixels // size
    return lut[canvas.index()].reshape(size, factor, size, factor).mean(axis=(1, 3))


def test_the_edges_of_an_object_coincide_in_both_images():
    graph = without_hidden_states(at_hour(make_scene_graph(0, 3, "lake"), 2.0))
    graph = replace(graph, elements=tuple(e for e in graph.elements if e.kind in ("grass", "canopy", "lake")))
    lake = next(e for e in graph.elements if e.kind == "lake")
    white = replace(lake, paint=replace(lake.paint, rgb=(255, 255, 255)))
    black = replace(lake, paint=replace(lake.paint, rgb=(0, 0, 0)))
    (rgb, infrared), (dark_rgb, _) = (
        render(replace(graph, elements=(graph.elements[0], e)), 128) for e in (white, black)
    )
    _, dry = render(replace(graph, elements=graph.elements[:1]), 128)
    in_rgb = (rgb.astype(int) - dark_rgb.astype(int)).sum(axis=2)
    in_infrared = np.abs(infrared.astype(int) - dry.astype(int))
    mask = water_share(graph, 128)
    assert ((in_rgb > 0) == (mask > 0)).all()
    # The camera blurs the infrared by one pixel, so its edge may lie one pixel further out.
    assert not in_infrared[~touched(mask)].any()
    assert (in_infrared[mask > 0.9] > 0).mean() > 0.98


def test_a_sunlit_roof_facet_is_brighter_by_day_only():
    conditions = make_scene_graph(0, 0).conditions
    lit, dark = (Surface((0, 0, 0), "roof_tile", None, facing) for facing in (1.0, -1.0))
    by_day, by_night = (replace(conditions, infrared_hour=hour) for hour in (12.5, 2.0))
    assert apparent_kelvin(lit, by_day) > apparent_kelvin(dark, by_day) + 2
    assert apparent_kelvin(lit, by_night) == apparent_kelvin(dark, by_night)


def test_every_material_drawn_has_thermal_values():
    used = {e.material for name in CLASSES for e in make_scene_graph(0, 0, name).elements}
    assert used <= set(MATERIALS)


def test_an_unknown_class_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown scene class 'volcano'; choose one of airport, beach"):
        simulate_scene(0, 0, 32, "volcano")


def test_ground_sample_distance_follows_the_size():
    conditions = make_scene_graph(0, 0).conditions
    assert conditions.ground_sample_distance_metres(224) == pytest.approx(conditions.extent_metres / 224)
