"""Benchmark `localization`: a model and a folder of scenes in; results JSON, cases, figures and maps out.

python -m evaluation run localization --model runs/clip/model --data air-slt --output results
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import tyro

from ..cases import Cases, Measured, Outcome
from ..foreign_models import Clip, embed_texts, load_clip
from ..results import Metric, check_file_name, file_sha256
from ..run import ModelOptions
from ..score import plain, refuse_existing, write_files
from .benchmark import METRICS, LocalizationConfig, LocalizationResult, run_localization
from .windows import SCALES, Pixels

WRITTEN = {"queries.jsonl", "summary.png", "figures", "geotiffs"}


@dataclass(frozen=True, kw_only=True)
class LocalizationRun:
    """Find where in large scenes is what texts say, and score the heat maps."""

    model: str
    """Folder, open_clip file or Hub id."""
    data: Path
    """Folder of AIR-SLT (annotations/anno.json and imgs/), or of anno.json and scenes beside it."""
    images: Path | None = None
    """Folder of the scenes, where it is another."""
    output: Path
    """Folder of NAME.json, NAME.cases.npz, NAME.png, and NAME/ with queries.jsonl, summary.png and figures/."""
    name: str = "localization"
    """NAME of the files."""
    overwrite: bool = False
    """Replace results of that name."""
    scales: tuple[int, ...] = SCALES
    """Sides of the windows in pixels; others than the published make a protocol of their own."""
    as_published: bool = True
    """Keep the JPEG round trips of the original, and holes where regions overlap; without, a protocol of its own."""
    figures: bool = True
    """Draw every query's heat map over its scene."""
    geotiffs: bool = False
    """Write the heat map of every query whose scene is a GeoTIFF where the scene lies."""
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if list(self.scales) != sorted(set(self.scales)):
            raise ValueError(f"scales are {self.scales}, wanted each window size once, from small to large.")

    @property
    def results(self) -> Path:
        """The results file."""
        return self.output / f"{self.name}.json"

    @property
    def protocol(self) -> str:
        """The protocol with what changes its numbers."""
        parts = ["localization"]
        if self.scales != SCALES:
            parts.append("-".join(map(str, self.scales)))
        return ":".join(parts if self.as_published else [*parts, "without-jpeg"])


class ClipEncoder:
    """An `Encoder` of any model that `load_clip` opens."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    @torch.inference_mode()
    def encode_images(self, images: list[Pixels]) -> npt.NDArray[Any]:
        """See `Encoder`."""
        pixels = self.clip.processor(images=images)["pixel_values"].to(self.clip.model.device)
        return np.asarray(self.clip.model.get_image_features(pixels).pooler_output.float().cpu().numpy())

    def encode_texts(self, texts: list[str]) -> npt.NDArray[Any]:
        """See `Encoder`."""
        return embed_texts(self.clip, texts)


def evaluate_localization(config: LocalizationRun) -> list[Metric]:
    """Localizes, scores, writes, returns the metrics."""
    refuse_existing(config.results, config.overwrite)
    annotations, images = scene_set(config.data, config.images)
    folder = config.results.with_suffix("")
    loading = asdict(config.loading)
    batch_size = loading.pop("batch_size")
    clip = load_clip(config.model, **loading)
    if config.overwrite:
        _clear(folder)
    asked = LocalizationConfig(
        annotations=annotations,
        images=images,
        output=folder,
        scales=config.scales,
        batch_size=batch_size,
        as_published=config.as_published,
        figures=config.figures,
        geotiffs=config.geotiffs,
    )
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        result = run_localization(asked, ClipEncoder(clip))
    finally:
        _remove_empty(new)
    write_files(
        config.results,
        Outcome(metrics=result.metrics, cases=cases_of(result)),
        benchmark="localization",
        protocol=config.protocol,
        model={"id": clip.id, "weights_sha256": clip.weights_sha256},
        dataset={"id": str(config.data), "listing_sha256": file_sha256(annotations)},
        config=plain(asdict(config)),
    )
    return result.metrics


def scene_set(data: Path, images: Path | None) -> tuple[Path, Path]:
    """The annotations and the folder of scenes of a set."""
    places = (data / "annotations" / "anno.json", data / "anno.json")
    found = [path for path in places if path.is_file()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"{data} holds {len(found)} of annotations/anno.json and anno.json; wanted one, a list of "
            "{caption, jpg_name, points}."
        )
    if images is None:
        images = data / "imgs" if (data / "imgs").is_dir() else data
    if not images.is_dir():
        raise FileNotFoundError(f"{images} is no folder; wanted that of the scenes.")
    return found[0], images


def cases_of(result: LocalizationResult) -> Cases:
    """Scenes with the sums and numbers of their queries: what the intervals resample."""
    scenes = list(dict.fromkeys(query.image for query in result.queries))
    of = np.array([scenes.index(query.image) for query in result.queries])
    counts = np.bincount(of).astype(np.float64)
    measured = []
    for name in METRICS:
        values = np.array([getattr(score, name) for score in result.scores])
        measured.append(
            Measured(name=name, group="scenes", parts=[(np.bincount(of, values).astype(np.float64), counts)])
        )
    return Cases(groups={"scenes": np.array(scenes)}, measured=measured)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes those folders, the inner ones first, in which a failed run left nothing."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _clear(folder: Path) -> None:
    """Removes what an earlier run wrote, and nothing else."""
    others: Sequence[Path] = [path for path in folder.glob("*") if path.name not in WRITTEN]
    if others:
        raise FileExistsError(f"{folder} holds {others[0].name}, which no run wrote; move it or choose another name.")
    if folder.is_dir():
        shutil.rmtree(folder)
