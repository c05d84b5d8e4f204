"""Pictures of the demo report: image pairs, loss curves and a heat map, as files that HTML can embed."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

Array = npt.NDArray[Any]
INK, GRID = "#1f2933", "#d9e0e7"
COLOURS = ("#0b6e6e", "#d1495b", "#edae49", "#3c6997", "#7a5195", "#66788a")
LABELS = {
    "loss": "all pairs",
    "loss_rgb_text": "RGB, text",
    "loss_infrared_text": "infrared, text",
    "loss_infrared_infrared_text": "infrared, infrared text",
    "loss_rgb_infrared": "RGB, infrared",
    "loss_fused_text": "fused, text",
}


def data_uri(image: Image.Image, quality: int = 88) -> str:
    """A picture as the source of an HTML image."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def show_rgb(encoded: bytes) -> Image.Image:
    """An encoded RGB image."""
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def show_infrared(encoded: bytes) -> Image.Image:
    """An encoded 16-bit image, stretched between its 1st and 99th percentile for the eye."""
    counts = np.asarray(Image.open(io.BytesIO(encoded))).astype(np.float32)
    low, high = np.percentile(counts, [1, 99])
    grey = np.clip((counts - low) / max(high - low, 1.0), 0, 1)
    return Image.fromarray((grey * 255).astype(np.uint8), mode=None).convert("RGB")


def mosaic(images: list[Image.Image], columns: int) -> Image.Image:
    """Equal pictures side by side in rows."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        sheet.paste(image, (index % columns * width, index // columns * height))
    return sheet


def overlay(scene: Image.Image, heat: Array, truth: tuple[int, int, int, int]) -> Image.Image:
    """A scene under a heat map (H, W) from 0 to 1, with a frame around the right place (left, top, right, bottom)."""
    colours = Image.fromarray((colormaps["inferno"](heat)[..., :3] * 255).astype(np.uint8))
    picture = Image.blend(scene.convert("L").convert("RGB"), colours, 0.6)
    ImageDraw.Draw(picture).rectangle(truth, outline="white", width=3)
    return picture


def loss_curves(log: Path, title: str) -> str:
    """The losses of a run as SVG; every run starts at the left edge of its own axes."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    parts = [name for name in LABELS if name in entries[0] and name != "loss"]
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "text.color": INK}):
        figure = Figure(figsize=(6.2, 3.1), layout="constrained")
        axes = figure.subplots()
        for name, colour in zip(parts if len(parts) > 1 else ["loss"], COLOURS, strict=False):
            steps, values = [entry["step"] for entry in entries], [entry[name] for entry in entries]
            axes.plot(steps, _smooth(values), color=colour, linewidth=1.8, label=LABELS[name])
        axes.set_title(title, loc="left", color=INK, fontsize=11)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.grid(color=GRID, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        if len(parts) > 1:
            axes.legend(frameon=False, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _smooth(values: list[float], span: int = 10) -> Array:
    """Mean of the last few values."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - span, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
