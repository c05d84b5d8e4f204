"""Five captions of a scene that say what its RGB image shows, and nothing that only the infrared image shows."""

from collections.abc import Callable, Sequence

import numpy as np

from .scene_descriptions import DESCRIBE
from .scene_graph import SceneGraph
from .scene_language import listed, sentence, with_article

CAPTIONS_PER_SCENE = 5
_CAPTION_STREAM = 3


def write_captions(graph: SceneGraph) -> tuple[str, ...]:
    """Return five different captions; the first names the most."""
    description = DESCRIBE[graph.class_name](graph)
    rng = np.random.default_rng([graph.seed, graph.index, _CAPTION_STREAM])
    name = description.name or scene_noun(graph)
    nouns, clauses = list(description.nouns), list(description.clauses)
    more = [noun for noun in nouns if noun not in clauses[0]][:2]
    addition = f", {_pick(rng, ('with', 'near', 'beside'))} {listed(more)}" if more else ""
    captions = [sentence(clauses[0] + addition)]
    for template in rng.permutation(len(_TEMPLATES)):
        caption = sentence(_TEMPLATES[int(template)](rng, name, nouns, clauses))
        if caption not in captions:
            captions.append(caption)
        if len(captions) == CAPTIONS_PER_SCENE:
            return tuple(captions)
    raise ValueError(f"scene {graph.index} of class {graph.class_name!r} yields only {len(captions)} captions.")


def scene_noun(graph: SceneGraph) -> str:
    """What a caption calls the whole scene."""
    return {
        "dense residential": "dense residential area",
        "farmland": "stretch of farmland",
        "interchange": "highway interchange",
        "sparse residential": "sparse residential area",
        "storage tanks": "tank farm",
    }.get(graph.class_name, graph.class_name)


Template = Callable[[np.random.Generator, str, Sequence[str], Sequence[str]], str]


def _overview(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    view = _pick(rng, ("an aerial view", "an aerial image", "a bird's-eye view", "an overhead picture"))
    return f"{view} of {with_article(name)} with {listed(nouns[:3])}"


def _existence(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    verb = "is" if nouns[0].startswith(("a ", "an ", "one ")) else "are"
    return (
        f"there {verb} {listed(nouns[:2])} in this {_pick(rng, ('scene', 'picture', 'image'))} of {with_article(name)}"
    )


def _scene_clause(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    place = _pick(rng, ("in this view of", "in this picture of", "in an aerial photo of"))
    return f"{place} {with_article(name)}, {_pick(rng, clauses[1:])}"


def _two_clauses(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    order = rng.permutation(len(clauses))[:2]
    return " and ".join(clauses[int(k)] for k in order)


def _seen(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    return f"{listed(nouns[:2])} can be seen in {with_article(name)}"


def _reverse(rng: np.random.Generator, name: str, nouns: Sequence[str], clauses: Sequence[str]) -> str:
    return f"{with_article(name)} that contains {listed(tuple(reversed(nouns[:3])))}"


_TEMPLATES: tuple[Template, ...] = (_overview, _existence, _scene_clause, _two_clauses, _seen, _reverse)


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
