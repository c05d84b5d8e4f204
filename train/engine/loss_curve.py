"""A picture of a run: losses, what was measured on held-out rows, and the norm of the gradient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .run_log import Entry
from .validation import VALIDATION

LOSS_CURVE = "loss.png"
# Okabe and Ito's palette, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
AT_ONE = "/recall_at_1"
SMOOTHED_OVER = 50


def loss_curve(path: Path, title: str, entries: Sequence[Entry]) -> None:
    """Draws the entries of a log to a PNG."""
    measured = [entry for entry in entries if any(name.startswith(VALIDATION) for name in entry)]
    figure = Figure(figsize=(10, 8 if measured else 5.6), layout="constrained")
    heights = [3, 2, 1] if measured else [3, 1]
    panels: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    figure.suptitle(title)
    _draw_losses(panels[0], entries)
    if measured:
        _draw_measures(panels[1], measured)
    _draw_line(panels[-1], entries, "gradient_norm", COLOURS[6])
    panels[-1].set_ylabel("gradient norm")
    panels[-1].set_yscale("log")
    panels[-1].set_xlabel("step")
    for axes in panels:
        axes.grid(color="#e6e6e6")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def smoothed(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Mean of each value and those before it, `window` at most: nothing later is looked at."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _draw_losses(axes: Axes, entries: Sequence[Entry]) -> None:
    parts = sorted({name for entry in entries for name in entry if name.startswith("loss_")})
    for name, colour in zip(parts, COLOURS[1:], strict=False):
        _draw_line(axes, entries, name, colour, label=name.removeprefix("loss_").replace("_", " "))
    _draw_line(axes, entries, "loss", COLOURS[0], label="loss", width=2.2)
    axes.set_ylabel("loss")
    if parts:
        _legend_beside(axes)


def _draw_line(axes: Axes, entries: Sequence[Entry], name: str, colour: str, width: float = 1.3, **kwargs: Any) -> None:
    """The values themselves faintly, and their running mean."""
    found = [(entry["step"], entry[name]) for entry in entries if name in entry]
    steps, values = np.array(found, dtype=np.float64).T
    window = max(1, min(SMOOTHED_OVER, len(values) // 20))
    if window > 1:
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
    # Of few values a line shows nothing, and of a single one not even itself.
    marker = "o" if len(values) <= 20 else ""
    axes.plot(steps, smoothed(values, window), color=colour, linewidth=width, marker=marker, markersize=3, **kwargs)


def _draw_measures(axes: Axes, measured: Sequence[Entry]) -> None:
    """Where retrieval was measured, the mean of all recalls and the first recalls at 1; else everything that fits."""
    names = list(dict.fromkeys(name for entry in measured for name in entry if name.startswith(VALIDATION)))
    at_one = [name for name in names if name.endswith(AT_ONE)]
    chosen = [name for name in names if name.endswith("/mean_recall")] + at_one if at_one else names
    for name, colour in zip(chosen[: len(COLOURS)], reversed(COLOURS), strict=False):
        found = [(entry["step"], entry[name]) for entry in measured if name in entry]
        label = name.removeprefix(VALIDATION).removesuffix(AT_ONE).replace("_", " ")
        label = "mean at 1, 5, 10" if label == "mean recall" else label
        axes.plot(*zip(*found, strict=True), color=colour, marker="o", markersize=4, linewidth=1.3, label=label)
    axes.set_ylabel("recall at 1" if at_one else "validation")
    _legend_beside(axes)


def _legend_beside(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
