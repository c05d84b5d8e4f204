"""Phrases about the things of a scene, as its RGB image shows them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .scene_graph import Outline, Point, SceneGraph, SceneObject
from .scene_language import counted, place_name


@dataclass(frozen=True, kw_only=True)
class Description:
    """What there is to say about a scene."""

    nouns: tuple[str, ...]
    """Noun phrases with counts and colours, the most telling first."""
    clauses: tuple[str, ...]
    """Whole clauses without capital and full stop, the most telling first."""
    name: str = ""
    """What to call the scene, where its class alone would be said twice."""


def common_colour(things: Sequence[SceneObject]) -> str:
    """The colour shared by all of the things, or nothing."""
    names = {thing.paint.name for thing in things}
    return f"{names.pop()} " if len(names) == 1 else ""


def coloured(things: Sequence[SceneObject], noun: str) -> str:
    """ "three white airplanes" where all share a colour, "three airplanes" where not, or "no airplanes"."""
    return counted(len(things), f"{common_colour(things)}{noun}" if things else noun)


def centroid(things: Sequence[SceneObject]) -> Point:
    """The mean place of some things."""
    return (
        sum(thing.centre[0] for thing in things) / len(things),
        sum(thing.centre[1] for thing in things) / len(things),
    )


def outline_middle(outline: Outline) -> Point:
    """The mean of the points of an outline."""
    return (sum(x for x, _ in outline) / len(outline), sum(y for _, y in outline) / len(outline))


def where(graph: SceneGraph, things: Sequence[SceneObject]) -> str:
    """ "in the upper left of the image" for the middle of some things."""
    return f"{place_name(centroid(things), graph.conditions.extent_metres)} of the image"


def are(count: int) -> str:
    """The verb."""
    return "is" if count == 1 else "are"


def trees_of(graph: SceneGraph) -> str:
    """Trees in view, by rough number and the most common crown colour; never empty."""
    extent = graph.conditions.extent_metres
    trees = [tree for tree in graph.objects("tree") if all(0 < value < extent for value in tree.centre)]
    if not trees:
        return "no trees"
    colour = Counter(tree.paint.name for tree in trees).most_common(1)[0][0]
    if len(trees) <= 12:
        return counted(len(trees), f"{colour} tree")
    return f"{'many' if len(trees) > 45 else 'some'} {colour} trees"


def ground_of(graph: SceneGraph, *kinds: str) -> str:
    """Colour and name of the first patch of these kinds, such as "green grass"."""
    patch = graph.patches(*kinds)[0]
    noun = patch.kind.removeprefix("deep ")
    return noun if patch.paint.name == "mixed" else f"{patch.paint.name} {noun}"
