"""One to three captions of what the infrared image shows: bright and dark regions, and hidden states as seen.

They speak of bright and dark only: a simulated infrared image is no measurement, and it has no colours.
"""

from collections.abc import Sequence

import numpy as np

from .scene_captions import scene_noun
from .scene_graph import Conditions, HiddenKind, SceneGraph
from .scene_language import listed, place_name, plural, sentence, share_of, with_article
from .scene_phrases import centroid, outline_middle
from .scene_thermal import material_kelvin

_CAPTION_STREAM = 4
_CLEAR_DIFFERENCE_KELVIN = 2.0

# What a caption calls a patch or strip, where it differs from its kind.
_REGION_NAMES = {
    "canopy": "tree canopy",
    "grass": "grass",
    "water": "water",
    "sea": "sea",
    "apron": "apron",
    "quay": "quay",
    "bare ground": "bare ground",
    "highway": "highways",
    "road": "road",
    "dirt road": "dirt road",
    "ballast": "track bed",
    "lawns": "lawns",
    "yards": "yards",
    "yard": "open yard",
    "forecourt": "forecourt",
    "car park": "car park",
    "sand": "sand",
    "dune grass": "dune grass",
    "bank": "banks",
    "shore": "shore",
    "river": "river",
    "lake": "lake",
    "runway": "runway",
    "clearing": "clearing",
    "asphalt": "pavement",
    "field": "fields",
    "round field": "round fields",
}
_OBJECT_NAMES = {
    "airplane": "airplanes",
    "house": "roofs",
    "ship": "ship hulls",
    "solar row": "solar panels",
    "car": "cars",
    "tree": "trees",
    "tank": "tank roofs",
    "pitch": "pitch",
}


def write_infrared_captions(graph: SceneGraph) -> tuple[str, ...]:
    """Return captions of the infrared image: regions, then hidden states where the scene can have any."""
    rng = np.random.default_rng([graph.seed, graph.index, _CAPTION_STREAM])
    name, time = scene_noun(graph), "night" if graph.conditions.is_night else "day"
    regions = _region_clause(graph)
    facts = hidden_facts(graph)
    opening = (
        f"in this {time} infrared image of {with_article(name)}",
        f"infrared view of {with_article(name)} by {time}:",
    )[int(rng.integers(2))]
    captions = [f"{opening} {regions}"]
    if facts:
        captions.append(f"in the {time} infrared image of the {name}, {listed(facts[:2])}")
        captions.append(
            f"a {time} infrared scene of {with_article(name)} where {facts[0]} and {_comparison(graph, rng)}"
        )
    return tuple(sentence(caption) for caption in captions)


def hidden_facts(graph: SceneGraph) -> list[str]:
    """Clauses about every hidden state that the scene can have, on or off, as the image shows it."""
    counted_facts = [_counted_fact(graph, kinds, noun, state, on, off) for kinds, noun, state, on, off in _COUNTED]
    facts = [fact for fact in [*counted_facts, _fill_fact(graph)] if fact]
    return [*facts, *_hidden_ground_facts(graph)]


# Object kinds, what to call them, the state, how it looks, and how its absence looks.
_COUNTED: tuple[tuple[tuple[str, ...], str, HiddenKind, tuple[str, str], str], ...] = (
    (("airplane",), "airplane", "running_engine", ("has bright engines", "have bright engines"), "has bright engines"),
    (
        ("ship",),
        "ship",
        "running_engine",
        ("is bright at the stern", "are bright at the stern"),
        "is bright at the stern",
    ),
    (("boat",), "boat", "running_engine", ("has a bright engine", "have bright engines"), "has a bright engine"),
    (("tractor",), "tractor", "running_engine", ("has a bright hood", "have bright hoods"), "has a bright hood"),
    (("train car",), "locomotive", "running_engine", ("shows bright vents", "show bright vents"), "shows bright vents"),
    (("truck",), "truck", "running_engine", ("has a bright cab", "have bright cabs"), "has a bright cab"),
    (("car",), "car", "running_engine", ("has a bright hood", "have bright hoods"), "has a bright hood"),
    (("house",), "roof", "heated_roof", ("glows bright", "glow bright"), "glows bright"),
    (("hall",), "large roof", "heated_roof", ("glows bright", "glow bright"), "glows bright"),
    (
        ("solar row",),
        "panel row",
        "fault",
        ("has one bright section", "have one bright section"),
        "has a bright section",
    ),
    (("stand",), "seating bowl", "crowd", ("is bright all around", "are bright all around"), "is bright"),
)


def _counted_fact(
    graph: SceneGraph, kinds: Sequence[str], noun: str, state: HiddenKind, on: tuple[str, str], off: str
) -> str:
    things = [thing for thing in graph.objects(*kinds) if thing.state is not None and thing.state.kind == state]
    if not things:
        return ""
    lit = [thing for thing in things if thing.state is not None and thing.state.level > 0]
    if not lit:
        return f"no {noun} {off}"
    clause = f"{share_of(len(lit), len(things), noun)} {on[0] if len(lit) == 1 else on[1]}"
    if len(lit) == 1 and len(things) > 1:
        clause += f" {place_name(centroid(lit), graph.conditions.extent_metres)}"
    return clause


def _fill_fact(graph: SceneGraph) -> str:
    """Tanks whose wall differs below the level of what they hold."""
    tanks = [tank for tank in graph.objects("tank") if tank.state is not None and tank.state.kind == "fill"]
    if not tanks:
        return ""
    filled = [tank for tank in tanks if tank.state is not None and tank.state.level > 0]
    if not filled:
        return "no tank wall shows a fill line"
    look = "brighter" if fill_is_bright(graph.conditions) else "darker"
    verb = "appears" if len(filled) == 1 else "appear"
    return f"{share_of(len(filled), len(tanks), 'tank')} {verb} {look} below the fill line"


def fill_is_bright(conditions: Conditions) -> bool:
    """Whether a filled wall is brighter than an empty one at the hour of the infrared image."""
    return material_kelvin("liquid", conditions) > material_kelvin("steel", conditions)


def _hidden_ground_facts(graph: SceneGraph) -> list[str]:
    extent = graph.conditions.extent_metres
    facts = []
    for kind, text in _GROUND_FACTS.items():
        patches = [p for p in graph.patches(f"hidden {kind}") if p.state is not None and p.state.level > 0]
        if len(patches) == 1:
            place = place_name(outline_middle(patches[0].outline), extent)
            facts.append(f"{with_article(text)} lies {place}")
        elif patches:
            facts.append(f"{len(patches)} {plural(text)} are visible")
    fields = [f for f in graph.patches("field", "round field") if f.state is not None]
    wet = sum(field.state is not None and field.state.level > 0 for field in fields)
    if fields:
        verb = "is" if wet == 1 else "are"
        facts.append(
            f"{share_of(wet, len(fields), 'main field')} {verb} clearly dark"
            if wet
            else "no main field is clearly dark"
        )
    return facts


_GROUND_FACTS = {
    "touchdown": "bright streak on the runway",
    "outfall": "bright plume in the water",
    "vacated stall": "bright empty stall",
    "vacated stalls": "bright group of empty stalls",
    "spot": "small bright spot",
    "trampled sand": "bright patch on the sand",
}


def _region_clause(graph: SceneGraph) -> str:
    """The brightest and the darkest named region, or that they are alike."""
    levels = region_levels(graph)
    ordered = sorted(levels, key=lambda name: (levels[name], name))
    darkest, brightest = ordered[0], ordered[-1]
    if levels[brightest] - levels[darkest] < _CLEAR_DIFFERENCE_KELVIN:
        return f"the {darkest} {_looks(darkest)} nearly as bright as everything else"
    middle = [name for name in ordered[1:-1] if levels[brightest] - levels[name] > _CLEAR_DIFFERENCE_KELVIN]
    clause = f"the {brightest} {_looks(brightest)} bright while the {darkest} {_looks(darkest)} dark"
    return (
        f"{clause} and the {middle[-1]} {_looks(middle[-1])} in between" if middle and middle[-1] != darkest else clause
    )


def _comparison(graph: SceneGraph, rng: np.random.Generator) -> str:
    """Two regions drawn from those that differ clearly, or the general clause."""
    levels = region_levels(graph)
    names = sorted(levels)
    pairs = [(a, b) for a in names for b in names if levels[a] - levels[b] > _CLEAR_DIFFERENCE_KELVIN]
    if not pairs:
        return _region_clause(graph)
    brighter, darker = pairs[int(rng.integers(len(pairs)))]
    return f"the {brighter} {_looks(brighter)} brighter than the {darker}"


def region_levels(graph: SceneGraph) -> dict[str, float]:
    """Apparent kelvin of the named regions and of kinds of objects, without hidden states of objects."""
    levels: dict[str, list[float]] = {}
    conditions = graph.conditions
    for element in graph.elements:
        name = _REGION_NAMES.get(element.kind) or _OBJECT_NAMES.get(element.kind)
        if name is not None:
            material = "turf" if element.kind == "pitch" else element.material
            levels.setdefault(name, []).append(material_kelvin(material, conditions))
    # A name that covers surfaces of different brightness says nothing about either.
    return {name: values[0] for name, values in levels.items() if max(values) - min(values) < 1.0}


def _looks(region: str) -> str:
    return "look" if region.endswith("s") and region not in ("grass", "dune grass") else "looks"
