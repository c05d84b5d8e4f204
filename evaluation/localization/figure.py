"""Pictures of semantic localization: a heat map over its scene, and the scores of all queries at a glance."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon as Outline

from ..results import Metric
from .metrics import LocalizationScore
from .regions import Polygon
from .scene import Scene
from .windows import Pixels, windows_of

LONGEST_SIDE = 1_200
TILE = 1_024
LABELS = {"rsu": "Rsu ↑", "rda": "Rda ↑", "ras": "Ras ↓", "rmi": "Rmi ↑"}


def preview(scene: Scene, longest_side: int = LONGEST_SIDE) -> tuple[Pixels, int]:
    """A scene made smaller by a whole factor, and the factor: means of blocks of pixels, read in tiles."""
    factor = -(-max(scene.height, scene.width) // longest_side)
    factor = min(factor, scene.height, scene.width)
    small = np.zeros((scene.height // factor, scene.width // factor, 3), dtype=np.uint8)
    # Tiles end where blocks end, so that every block lies in one of them.
    for top, bottom, left, right in windows_of(scene.height, scene.width, (factor * -(-TILE // factor),)).tolist():
        rows, columns = slice(-(-top // factor), bottom // factor), slice(-(-left // factor), right // factor)
        pixels, _ = scene.read(top, bottom, left, right)
        first, height = rows.start * factor - top, rows.stop - rows.start
        start, width = columns.start * factor - left, columns.stop - columns.start
        blocks = pixels[first : first + height * factor, start : start + width * factor]
        means = blocks.reshape(height, factor, width, factor, 3).mean(axis=(1, 3), dtype=np.float32)
        small[rows, columns] = np.rint(means)
    return small, factor


def heat_figure(
    scene: Scene, heat: Pixels, text: str, polygons: tuple[Polygon, ...] = (), score: LocalizationScore | None = None
) -> Figure:
    """The scene with the regions that the text means, and the same under its heat map."""
    small, factor = preview(scene)
    shown = heat[::factor, ::factor][: small.shape[0], : small.shape[1]] / 255
    tall = small.shape[0] / small.shape[1]
    figure = Figure(figsize=(12, min(max(5.6 * tall, 1.5), 12) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    plain, warm = figure.subplots(1, 2)
    picture: Any = None
    for axes in (plain, warm):
        axes.imshow(small)
        axes.set_axis_off()
        for polygon in polygons:
            corners = np.array(polygon) / factor
            axes.add_patch(Outline(corners, fill=False, edgecolor="white", linewidth=3.5))
            axes.add_patch(Outline(corners, fill=False, edgecolor="black", linewidth=1.5))
    picture = warm.imshow(shown, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.5 * shown)
    figure.colorbar(picture, ax=warm, label="heat", fraction=0.04)
    plain.set_title(f"{scene.name}, {scene.width:,} x {scene.height:,} pixels", fontsize=10)
    if score is not None:
        values = "   ".join(f"{LABELS[name]} {getattr(score, name):.3f}" for name in LABELS)
        warm.set_title(values, fontsize=10)
    figure.suptitle(textwrap.fill(_plain(text), 100), fontsize=12)
    return figure


def summary_figure(metrics: list[Metric], scores: dict[str, npt.NDArray[np.float64]]) -> Figure:
    """Every query as a dot, the mean of each metric with its interval beside them."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for place, metric in enumerate(metrics):
        values = scores[metric.name]
        axes.scatter(place + generator.uniform(-0.16, 0.16, len(values)), values, s=14, alpha=0.45, color="#7a8793")
        axes.vlines(place + 0.3, metric.low, metric.high, color="#b5321b", linewidth=2)
        axes.plot(place + 0.3, metric.value, "o", color="#b5321b", markersize=7)
        axes.annotate(f"{metric.value:.3f}", (place + 0.35, metric.value), va="center", color="#b5321b")
    axes.set_xticks(range(len(metrics)), [LABELS[metric.name] for metric in metrics])
    axes.set_xlim(-0.4, len(metrics) - 0.2)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", alpha=0.3)
    axes.set_title(f"Semantic localization: {metrics[0].n} queries (grey), mean and 95 % interval (red)", fontsize=11)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _plain(text: str) -> str:
    """Text whose dollar signs matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
