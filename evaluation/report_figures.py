"""Figures of results: intervals of several models beside chance, and confusion matrices."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .results import Metric

# Okabe and Ito's palette, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#8a8a8a"
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
SHOWN_CLASSES = 60
# Inches: a figure's width, and of its legend what a letter, an entry around its letters and a row take.
WIDTH = 8.6
LETTER, ENTRY, ROW = 0.072, 0.6, 0.2

# By the last part of a metric's name: what the literature prints as a number and not in percent.
NUMBERS = frozenset(("rsu", "rda", "ras", "rmi", "cider", "cider_d", "words", "psnr", "ssim"))
# Those with no upper end, which would flatten the shares beside them.
UNBOUNDED = frozenset(("cider", "cider_d", "words", "psnr"))
LABELS = {
    "rsu": "Rsu",
    "rda": "Rda",
    "ras": "Ras (less is better)",
    "rmi": "Rmi",
    **{f"bleu_{order}": f"BLEU-{order}" for order in (1, 2, 3, 4)},
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "cider_d": "CIDEr-D",
    "spice": "SPICE",
    "meteor": "METEOR",
    "meteor_exact_stem": "METEOR (exact, stem)",
    "fusionrs": "FusionRS",
    "psnr": "PSNR",
    "ssim": "SSIM",
}

Entry = dict[str, Any]


def results_figure(path: Path, title: str, names: Sequence[str], metrics: Sequence[Metric]) -> None:
    """`interval_figure` of one result; `title` says of what, so that no legend need name the model."""
    entries = {metric.name: vars(metric) for metric in metrics}
    interval_figure(path, title, names, ["value and 95 % interval"], [entries])


def interval_figure(
    path: Path, title: str, names: Sequence[str], models: Sequence[str], metrics: Sequence[dict[str, Entry]]
) -> None:
    """One row per metric, a point with its 95 % interval per model, and a grey line at chance.

    Args:
        path: PNG to write.
        title: What was measured.
        names: Metrics from top to bottom; one that a model lacks has no point. Those without an upper end are left to
            the table, unless there are no others.
        models: What to call each model; longer than the figure is wide it goes on in a second line.
        metrics: Per model its metrics by name, with `value`, `low` and `high`; `chance/NAME` is chance.
    """
    names = [name for name in names if not _is(name, UNBOUNDED)] or names
    spread = 0.62 if len(models) > 1 else 0.0
    models = [textwrap.fill(model, int((WIDTH - ENTRY) / LETTER)) for model in models]
    columns, lines = _legend_shape(models)
    height = 1.3 + ROW * lines + len(names) * (0.34 + 0.13 * len(models))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
        chance = _chance(name, metrics)
        if chance is not None:
            axes.plot([chance, chance], [row - 0.42, row + 0.42], color=GREY, linewidth=2, zorder=1)
    for index, (model, entries) in enumerate(zip(models, metrics, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        marker = MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]  # no colour has one marker twice
        rows = [row for row, name in enumerate(names) if name in entries]
        places = [row + (index / max(len(models) - 1, 1) - 0.5) * spread for row in rows]
        found = [entries[names[row]] for row in rows]
        values = [one["value"] for one in found]
        below, above = ([abs(one["value"] - one[end]) for one in found] for end in ("low", "high"))
        axes.errorbar(
            values,
            places,
            xerr=[below, above],
            fmt=marker,
            color=colour,
            markersize=5.5,
            linewidth=1.8,
            capsize=2.5,
            label=model,
            zorder=3,
            clip_on=False,  # a marker at 0 or 100 % is whole
        )
        for row, value, place in zip(rows, values, places, strict=True):
            axes.annotate(
                formatted(names[row], value),
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                va="center",
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
    if any(_chance(name, metrics) is not None for name in names):
        axes.plot([], [], color=GREY, linewidth=2, label="chance")
    axes.set_yticks(range(len(names)), [readable(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    highest = max((one["high"] for entries in metrics for name, one in entries.items() if name in names), default=1.0)
    axes.set_xlim(0, highest * 1.08 if highest > 1 else min(1.0, highest * 1.08) or 1.0)
    if not all(_is(name, NUMBERS) for name in names):
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=None))
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    _save(figure, path)


def confusion_figure(path: Path, confusion: npt.NDArray[np.int64], names: Sequence[str], title: str) -> None:
    """Shares of each true class (rows) by answer (columns); the last column is no answer, where there is any."""
    shown = confusion if confusion[:, -1].any() else confusion[:, :-1]
    columns = [*names, "no answer"][: shown.shape[1]]
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    side = min(16.0, 2.6 + 0.3 * len(names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= SHOWN_CLASSES:
        size = 8 if len(names) <= 20 else 6.5
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= 20:
        for row, column in np.argwhere(shares >= 0.005):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    figure.suptitle(title, fontsize=10)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, format=mpl.ticker.PercentFormatter(1.0))
    bar.set_label("share of the true class")
    _save(figure, path)


def readable(name: str) -> str:
    """A metric's name as a reader would say it: `infrared to text, recall at 10`."""
    return ", ".join(LABELS.get(part, part) for part in name.removeprefix("class/").split("/")).replace("_", " ")


def short(name: str) -> str:
    """The end of a path or Hub id: what a title has room for."""
    return "/".join(Path(name).parts[-2:])


def short_names(names: Sequence[str]) -> list[str]:
    """`short` of each, with as many more parts as tell different ones apart."""
    parts = [Path(name).parts for name in names]
    for count in range(2, max(map(len, parts), default=0) + 1):
        ends = [str(Path(*one[-count:])) for one in parts]
        if len(set(ends)) == len(set(names)):
            return ends
    return list(names)


def formatted(name: str, value: float, signed: bool = False) -> str:
    """A value as the literature prints it: a share in percent, anything else as a number."""
    sign = "+" if signed else ""
    return f"{value:{sign}.3f}" if _is(name, NUMBERS) else f"{value:{sign}.1%}"


def _is(name: str, kinds: frozenset[str]) -> bool:
    return name.split("/")[-1] in kinds


def _chance(name: str, metrics: Sequence[dict[str, Entry]]) -> float | None:
    # The six recalls of every row of a fusion have one chance.
    short = name.split("/", 1)[-1]
    for entries in metrics:
        for key in (f"chance/{name}", f"chance/{short}"):
            if key in entries:
                return float(entries[key]["value"])
    return None


def _legend_shape(models: Sequence[str]) -> tuple[int, int]:
    """Columns of a legend, at most three, such that the longest entry fits, and its lines with that of chance."""
    longest = max(len(line) for model in models for line in model.split("\n"))
    columns = max(1, min(3, int(WIDTH / (ENTRY + LETTER * longest))))
    tallest = max(model.count("\n") + 1 for model in models)
    return columns, tallest * math.ceil((len(models) + 1) / columns)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version in its metadata equal results give equal files.
    figure.savefig(path, dpi=150, metadata={"Software": None})
