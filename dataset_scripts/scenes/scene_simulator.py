"""One simulated scene: `simulate_scene(seed, index)` gives its two images and its captions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scene_captions import write_captions
from .scene_classes import make_scene_graph
from .scene_graph import SceneGraph
from .scene_infrared_captions import write_infrared_captions
from .scene_rendering import render


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A scene graph with all that is made from it."""

    graph: SceneGraph
    rgb: NDArray[np.uint8]
    """Shape (size, size, 3)."""
    infrared: NDArray[np.uint16]
    """Radiometric counts, shape (size, size)."""
    captions: tuple[str, ...]
    infrared_captions: tuple[str, ...]

    @property
    def class_name(self) -> str:
        """The scene class."""
        return self.graph.class_name


def simulate_scene(seed: int, index: int, size: int = 224, class_name: str | None = None) -> Scene:
    """Make scene `index` of a seed. The result depends on these arguments only.

    Args:
        seed: names the whole series of scenes.
        index: which scene of the series.
        size: pixels a side of both images.
        class_name: ask for a class instead of the one that the series has at this index.
    """
    return render_scene(make_scene_graph(seed, index, class_name), size)


def render_scene(graph: SceneGraph, size: int = 224) -> Scene:
    """Render a graph, such as one that `at_hour` or `without_hidden_states` returned."""
    rgb, infrared = render(graph, size)
    return Scene(
        graph=graph,
        rgb=rgb,
        infrared=infrared,
        captions=write_captions(graph),
        infrared_captions=write_infrared_captions(graph),
    )
