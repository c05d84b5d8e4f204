"""Protocol `localization`: every query of AIR-SLT, or of a set in its form, mapped and scored.

AIR-SLT has 59 queries over 22 scenes: `annotations/anno.json`, a list of {caption, jpg_name, points}, and `imgs/`.
Shapes: Q queries, I scenes.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..intervals.joint_interval import joint_interval
from ..predictions import read_json
from ..results import Metric
from .encoder import Encoder, scene_maps
from .figure import heat_figure, save_figure, summary_figure
from .heat_map import CellMaps, heat_levels
from .metrics import LocalizationScore, score_heat
from .regions import Polygon, circle_of
from .scene import GeoTiffScene, Scene, open_scene, write_heat_geotiff
from .windows import SCALES, Pixels

METRICS = ("rsu", "rda", "ras", "rmi")


@dataclass(frozen=True, kw_only=True)
class LocalizationConfig:
    """What to localize, and what to write of it."""

    annotations: Path
    """anno.json: a list of {caption, jpg_name, points}, the points of each region as [x, y]."""
    images: Path
    """Folder of the scenes."""
    output: Path
    """Folder for queries.jsonl, summary.png and what else is asked for; new, or empty."""
    scales: tuple[int, ...] = SCALES
    """Sides of the windows in pixels."""
    batch_size: int = 64
    """Windows encoded at once."""
    as_published: bool = True
    """Keep the JPEG round trips of the original, and holes where regions overlap; without, numbers do not compare."""
    figures: bool = True
    """Write figures/NUMBER.png of every query: its heat map over the scene."""
    geotiffs: bool = False
    """Write geotiffs/NUMBER.tif of every query whose scene is a GeoTIFF."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, wanted at least 1.")
        if not self.scales or min(self.scales) < 2:
            raise ValueError(f"scales are {self.scales}, wanted at least one window size in pixels, each from 2.")
        for path, wanted in ((self.annotations, "the file anno.json"), (self.images, "the folder of the scenes")):
            if not path.exists():
                raise FileNotFoundError(f"nothing at {path}; wanted {wanted}.")
        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise FileExistsError(f"{self.output} is not an empty folder. Choose another, or move what it holds.")


@dataclass(frozen=True, kw_only=True)
class Query:
    """A text and the regions of a scene that it means."""

    number: int
    """Its place in the annotations, from 0."""
    image: str
    text: str
    polygons: tuple[Polygon, ...]
    """Vertices (x, y) in pixels."""


@dataclass(frozen=True, kw_only=True)
class LocalizationResult:
    """Means over queries with their intervals, and the score of each query."""

    metrics: list[Metric]
    queries: list[Query]
    scores: list[LocalizationScore]


def run_localization(config: LocalizationConfig, encoder: Encoder) -> LocalizationResult:
    """Maps and scores every query; each scene is read and encoded once for all its queries.

    Args:
        config: What to do.
        encoder: The model, such as a `ModelEncoder`.

    Raises:
        FileNotFoundError: A scene is missing; found out before anything is encoded.
        ValueError: The annotations are malformed, or a scene cannot be read.
    """
    queries = read_queries(config.annotations)
    for query in queries:
        if not (config.images / query.image).is_file():
            raise FileNotFoundError(f"query {query.number} is about {config.images / query.image}, which is not there.")
    config.output.mkdir(parents=True, exist_ok=True)
    scores: dict[int, LocalizationScore] = {}
    for image in dict.fromkeys(query.image for query in queries):
        scene, own = open_scene(config.images / image), [query for query in queries if query.image == image]
        for query, score in _localize(config, scene, own, encoder):
            scores[query.number] = score
    ordered = [scores[query.number] for query in queries]
    metrics = summarise([query.image for query in queries], ordered)
    _write(config, metrics, queries, ordered)
    return LocalizationResult(metrics=metrics, queries=queries, scores=ordered)


def read_queries(path: Path) -> list[Query]:
    """The queries of an anno.json.

    Raises:
        ValueError: It is not JSON, lacks something, repeats a query, or a region is no polygon.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path} holds no list of queries; wanted [{{caption, jpg_name, points}}, ...].")
    queries = [_query(path, number, row) for number, row in enumerate(rows)]
    seen: dict[tuple[str, str], int] = {}
    for query in queries:
        first = seen.setdefault((query.image, query.text), query.number)
        if first != query.number:
            raise ValueError(
                f"{path}: queries {first} and {query.number} are the same text on {query.image}; drop one."
            )
    return queries


def summarise(images: list[str], scores: list[LocalizationScore]) -> list[Metric]:
    """Means over queries; the intervals resample scenes with all their queries.

    One scene says nothing of others: its interval is all there is, from 0 to 1.
    """
    _, scene = np.unique(np.array(images), return_inverse=True)
    counts = np.bincount(scene).astype(np.float64)
    metrics = []
    for name, values in _by_metric(scores).items():
        sums = np.bincount(scene, values).astype(np.float64)
        low, high = joint_interval([(sums, counts)])
        metrics.append(Metric(name=name, value=float(values.mean()), low=low, high=high, n=len(values)))
    return metrics


def _localize(
    config: LocalizationConfig, scene: Scene, queries: list[Query], encoder: Encoder
) -> Iterator[tuple[Query, LocalizationScore]]:
    maps = scene_maps(
        scene,
        [query.text for query in queries],
        encoder,
        scales=config.scales,
        batch_size=config.batch_size,
        as_published=config.as_published,
    )
    for place, query in enumerate(queries):
        heat = heat_levels(maps, place, as_published=config.as_published)
        try:
            score = score_heat(heat, query.polygons, as_published=config.as_published)
        except ValueError as error:
            raise ValueError(f"query {query.number} on {query.image}: {error}") from error
        if config.figures:
            figure = heat_figure(scene, heat, query.text, query.polygons, score)
            save_figure(figure, config.output / "figures" / f"{query.number}.png")
        if config.geotiffs and isinstance(scene, GeoTiffScene):
            write_query_geotiff(
                config.output / "geotiffs" / f"{query.number}.tif", maps, place, heat, scene, query.text
            )
        yield query, score


def write_query_geotiff(path: Path, maps: CellMaps, place: int, heat: Pixels, scene: GeoTiffScene, text: str) -> None:
    """Writes the heat map of one text where the scene lies, with the cosines that became 0 and 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = maps.cosines[place][np.isfinite(maps.cosines[place])]
    tags = {"text": text}
    if len(known):
        tags |= {"least_cosine": f"{known.min():.6f}", "most_cosine": f"{known.max():.6f}"}
    covered = maps.expand(np.isfinite(maps.cosines[place]))
    write_heat_geotiff(path, heat, scene.path, covered=covered, tags=tags)


def _query(path: Path, number: int, row: Any) -> Query:
    if not isinstance(row, dict) or not {"caption", "jpg_name", "points"} <= row.keys():
        raise ValueError(f"{path}: query {number} is not an object with caption, jpg_name and points.")
    text, image = row["caption"], row["jpg_name"]
    if not isinstance(text, str) or not text.strip() or not isinstance(image, str) or not image:
        raise ValueError(f"{path}: query {number} has caption {text!r} and jpg_name {image!r}; wanted two texts.")
    if Path(image).is_absolute() or ".." in Path(image).parts:
        raise ValueError(f"{path}: query {number} has jpg_name {image!r}; wanted a name inside the folder of scenes.")
    polygons = row["points"]
    if not isinstance(polygons, list) or not polygons:
        raise ValueError(f"{path}: query {number} has no regions in points.")
    for region, polygon in enumerate(polygons):
        try:
            vertices = np.array(polygon, dtype=np.float64)
        except (TypeError, ValueError):
            vertices = np.zeros(0)
        if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3 or not np.isfinite(vertices).all():
            raise ValueError(f"{path}: region {region} of query {number} is not a list of at least three [x, y].")
        try:
            circle_of(polygon)
        except ValueError as error:
            raise ValueError(f"{path}: query {number}: {error}") from error
    kept = tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in polygons)
    return Query(number=number, image=image, text=text.strip(), polygons=kept)


def _by_metric(scores: list[LocalizationScore]) -> dict[str, npt.NDArray[np.float64]]:
    return {name: np.array([getattr(score, name) for score in scores]) for name in METRICS}


def _write(
    config: LocalizationConfig, metrics: list[Metric], queries: list[Query], scores: list[LocalizationScore]
) -> None:
    lines = [
        json.dumps({"number": query.number, "image": query.image, "text": query.text, **asdict(score)})
        for query, score in zip(queries, scores, strict=True)
    ]
    (config.output / "queries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_figure(summary_figure(metrics, _by_metric(scores)), config.output / "summary.png")
