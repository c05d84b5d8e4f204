"""Captions of simulated scenes: true to the scene graph, and within their own image's words."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from dataset_scripts.scenes.scene_captions import write_captions
from dataset_scripts.scenes.scene_classes import SCENE_CLASSES, make_scene_graph
from dataset_scripts.scenes.scene_graph import SceneGraph, SceneObject, at_hour, with_states
from dataset_scripts.scenes.scene_infrared_captions import hidden_facts, region_levels, write_infrared_captions
from dataset_scripts.scenes.scene_language import counted, direction_name, number_word, place_name, share_of
from dataset_scripts.stages.caption_key import caption_key

CLASSES = sorted(SCENE_CLASSES)
GRAPHS = [make_scene_graph(4, index, name) for name in CLASSES for index in range(12)]

MEASUREMENT = r"temperature|heat|heated|hot|hotter|warm|warmer|cold|cool|cooler|degree|degrees|kelvin|celsius|thermal"
COLOURS = r"red|green|blue|yellow|orange|brown|white|black|grey|gray|purple|pink"
NUMBERS = "|".join([r"\d+", *(number_word(n) for n in range(21))])
HIDDEN = r"infrared|night|engine|engines|filled|fill|bright|plume|used|empty stall"


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: f"{graph.class_name}-{graph.index}")
def test_captions_are_distinct_short_and_keep_to_their_image(graph):
    captions, infrared = write_captions(graph), write_infrared_captions(graph)
    assert len(captions) == len({caption_key(caption) for caption in captions}) == 5
    assert 1 <= len(infrared) == len(set(infrared)) <= 3
    for caption in captions + infrared:
        assert len(caption.split()) <= 45, caption
        assert re.fullmatch(r"[A-Z0-9][^{}]*[^ .]\.", caption), caption
        assert not re.search(rf"\b({MEASUREMENT})\b", caption, re.IGNORECASE), caption
    for caption in captions:
        assert not re.search(rf"\b({HIDDEN})\b", caption, re.IGNORECASE), caption
    for caption in infrared:
        assert not re.search(rf"\b({COLOURS})\b", caption, re.IGNORECASE), caption


@pytest.mark.parametrize(
    ("name", "kind", "noun"),
    [
        ("airport", "airplane", r"(?:white |grey )?airplane"),
        ("storage tanks", "tank", r"(?:white |grey |green )?storage tank"),
        ("dense residential", "house", "house"),
        ("parking lot", "car", "car"),
        ("industrial area", "hall", "large building"),
    ],
)
def test_counts_in_captions_are_those_of_the_graph(name, kind, noun):
    for index in range(12):
        graph = make_scene_graph(6, index, name)
        count = len(graph.objects(kind))
        text = " ".join(write_captions(graph)).lower()
        said = set(re.findall(rf"\b({NUMBERS}) {noun}s?\b", text))
        assert said == {number_word(count)}, (index, text)


def test_roof_colours_add_up_to_the_houses():
    graph = make_scene_graph(6, 1, "dense residential")
    colours = Counter(house.paint.name for house in graph.objects("house"))
    for colour, count in colours.items():
        assert counted(count, f"{colour} roof") in write_captions(graph)[0]


def set_engines(graph: SceneGraph, running: int) -> SceneGraph:
    """The same scene with exactly so many running airplane engines."""
    left = [running]

    def change(position, element, state):
        if not (isinstance(element, SceneObject) and element.kind == "airplane"):
            return state
        left[0] -= 1
        return replace(state, level=1.0 if left[0] >= 0 else 0.0)

    return with_states(graph, change)


def test_infrared_captions_count_running_engines():
    graph = next(g for g in (make_scene_graph(1, n, "airport") for n in range(30)) if len(g.objects("airplane")) == 5)
    assert hidden_facts(set_engines(graph, 0))[0] == "no airplane has bright engines"
    assert hidden_facts(set_engines(graph, 1))[0].startswith("one of the five airplanes has bright engines ")
    assert hidden_facts(set_engines(graph, 2))[0] == "two of the five airplanes have bright engines"
    assert hidden_facts(set_engines(graph, 5))[0] == "all five airplanes have bright engines"


def test_infrared_captions_tell_filled_tanks_by_day_and_by_night():
    graph = make_scene_graph(1, 1, "storage tanks")
    tanks = graph.objects("tank")
    filled = sum(tank.state.level > 0 for tank in tanks)
    share = share_of(filled, len(tanks), "tank")
    assert filled > 0
    assert re.match(rf"{share} appears? darker below the fill line", hidden_facts(at_hour(graph, 13.0))[0])
    assert re.match(rf"{share} appears? brighter below the fill line", hidden_facts(at_hour(graph, 2.0))[0])


def test_infrared_captions_say_day_or_night():
    graph = make_scene_graph(1, 1, "river")
    for hour, said, unsaid in ((13.0, "day", "night"), (2.0, "night", "day")):
        for caption in write_infrared_captions(at_hour(graph, hour)):
            assert re.search(rf"\b{said}\b", caption)
            assert not re.search(rf"\b{unsaid}\b", caption)


def test_the_region_called_bright_is_brighter_than_the_one_called_dark():
    for graph in GRAPHS:
        levels = region_levels(graph)
        said = re.search(
            r"the ([a-z ]+?) looks? bright while the ([a-z ]+?) looks? dark", write_infrared_captions(graph)[0]
        )
        if said:
            assert levels[said[1]] == max(levels.values())
            assert levels[said[2]] == min(levels.values())


def test_first_captions_rarely_coincide():
    keys = Counter(caption_key(write_captions(make_scene_graph(0, index))[0]) for index in range(300))
    assert sum(count == 1 for count in keys.values()) > 270


def test_numbers_places_directions_and_shares_read_naturally():
    assert [number_word(n) for n in (0, 1, 12, 20, 21)] == ["no", "one", "twelve", "twenty", "21"]
    assert counted(1, "jetty") == "one jetty"
    assert counted(2, "jetty") == "two jetties"
    assert counted(2, "bush") == "two bushes"
    assert counted(0, "highway") == "no highways"
    assert place_name((10, 10), 90) == "in the upper left"
    assert place_name((45, 45), 90) == "in the middle"
    assert place_name((45, 89), 90) == "at the bottom"
    assert direction_name((0, 0), (1, 0)) == "from left to right"
    assert direction_name((0, 0), (1, 1)) == "from the upper left to the lower right"
    assert direction_name((0, 0), (0, -1)) == "from top to bottom"
    assert direction_name((0, 0), (1, -1)) == "from the lower left to the upper right"
    assert share_of(2, 5, "tank") == "two of the five tanks"
    assert share_of(2, 2, "ship") == "both ships"
    assert share_of(4, 4, "car") == "all four cars"
    assert share_of(1, 1, "airplane") == "the airplane"
