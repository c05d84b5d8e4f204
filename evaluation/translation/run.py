"""Benchmark `translation`: a translator and measured pairs in; results JSON, cases and figures out.

python -m evaluation run translation --model runs/translator/model --data naip_pairs --output results
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from modeling_rsclip import RSTranslatorModel
from processing import RSImageProcessor

from ..cases import Cases, Outcome
from ..foreign_models import local_path, model_type
from ..intervals.cluster_bootstrap import Outcomes, Score, mean_score, with_intervals
from ..results import Metric, check_file_name, dataset_record, weights_sha256
from ..rows import load_split
from ..score import plain, refuse_existing, write_files
from .figure import Shown, translation_figure
from .metrics import psnr, ssim
from .pairs import Baselines, fit_baselines, read_pair

METRICS = {"psnr": psnr, "ssim": ssim}
OURS = "translated"
# Origins of infrared that is no function of the RGB.
MEASURED = ("sensor", "simulated")

Pair = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class TranslationRun:
    """Hold translated infrared against measured infrared, pixel by pixel."""

    model: str
    """Folder or Hub id of an RSTranslator."""
    data: Path
    """Folder the dataset builder wrote, of pairs with measured infrared."""
    split: str = "test"
    """Split that is scored."""
    fit_data: Path | None = None
    """Folder whose pairs the baselines are fitted on; `data` when not given."""
    fit_split: str = "train"
    """Split that the baselines are fitted on."""
    output: Path
    """Folder of NAME.json, NAME.cases.npz, NAME.png and NAME.images.png."""
    name: str = "translation"
    """NAME of the files."""
    overwrite: bool = False
    """Replace results of that name."""
    revision: str | None = None
    """Git revision of a model on the Hub."""
    device: str = "cpu"
    """Where the model runs, e.g. cuda."""
    shown_rows: int = 4
    """Rows that the figure shows, each of another leak group."""
    draws: int = 1000
    """Bootstrap samples."""
    seed: int = 0
    """Seed of the samples."""

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if self.shown_rows < 1 or self.draws < 1:
            raise ValueError(f"shown_rows is {self.shown_rows}, draws {self.draws}; both must be at least 1.")

    @property
    def results(self) -> Path:
        """The results file."""
        return self.output / f"{self.name}.json"


def evaluate_translation(config: TranslationRun) -> list[Metric]:
    """Translates, scores, writes, returns the metrics."""
    refuse_existing(config.results, config.overwrite)
    folder = local_path(config.model, config.revision)
    model, processor = load_translator(folder)
    rows = load_split(str(config.data), config.split)
    _check_band(rows, model.config.infrared_band, config)
    fit_rows = load_split(str(config.fit_data or config.data), config.fit_split)
    _refuse_made(rows, config.data, config.split)
    _refuse_made(fit_rows, config.fit_data or config.data, config.fit_split)
    baselines = fit_baselines(read_pair(row, processor) for row in fit_rows)
    outcomes = score_rows(rows, answers_of(rows, model.to(config.device), processor, baselines))
    metrics = [*with_intervals(outcomes, config.draws, config.seed), *_gains(outcomes, config.draws, config.seed)]
    notes = {
        "infrared_origins": dict(Counter(rows["infrared_origin"])),
        "leak_groups": len(set(outcomes.clusters)),
        "baselines": asdict(baselines),
    }
    write_files(
        config.results,
        Outcome(metrics=metrics, cases=Cases(texts=(outcomes,)), notes=notes),
        benchmark="translation",
        protocol="translation",
        model={"id": config.model, "weights_sha256": weights_sha256(folder)},
        dataset=dataset_record(config.data, _listing(rows)),
        config=plain(asdict(config)),
        seed=config.seed,
    )
    shown = rows.select(rows_to_show(outcomes.clusters, config.shown_rows))
    pictures = [
        Shown(id=row_id, pair=pair, answers=answers)
        for row_id, (pair, answers) in zip(shown["id"], answers_of(shown, model, processor, baselines), strict=True)
    ]
    translation_figure(config.results.with_suffix(".images.png"), pictures)
    return metrics


def load_translator(folder: Path) -> tuple[RSTranslatorModel, RSImageProcessor]:
    """A translator and the rules by which its infrared was scaled."""
    if model_type(folder) != "rstranslator":
        raise ValueError(f"{folder} is a {model_type(folder)!r} model; translation needs an 'rstranslator'.")
    if not (folder / "preprocessor_config.json").is_file():
        raise FileNotFoundError(
            f"{folder} has no preprocessor_config.json, which says how infrared was scaled; a model that "
            "train.train_translator saved has one."
        )
    return RSTranslatorModel.from_pretrained(folder).eval(), RSImageProcessor.from_pretrained(folder)


@torch.inference_mode()
def answers_of(
    rows: Dataset, model: RSTranslatorModel, processor: RSImageProcessor, baselines: Baselines
) -> Iterator[tuple[Pair, dict[str, torch.Tensor]]]:
    """Each pair, whole, with the model's infrared (1, H, W) and that of the baselines, by name."""
    for row in rows:
        pair = read_pair(row, processor)
        infrared = model(pixel_values=pair["pixel_values"][None].to(model.device)).infrared[0].cpu()
        yield pair, {OURS: infrared, **baselines.answers(pair["pixel_values"])}


def score_rows(rows: Dataset, answers: Iterator[tuple[Pair, dict[str, torch.Tensor]]]) -> Outcomes:
    """PSNR and SSIM of every answer to every row; rows of one leak group are resampled together."""
    values: dict[str, list[float]] = {}
    for row_id, (pair, images) in zip(rows["id"], answers, strict=True):
        target, valid = pair["infrared_values"][None].double(), pair["valid"][None]
        for name, image in images.items():
            for metric, measure in METRICS.items():
                value = float(measure(image[None].double(), target, valid))
                if value != value:
                    raise ValueError(f"row {row_id!r} has no window of 11 x 11 valid pixels; leave it out.")
                values.setdefault(f"{name}/{metric}", []).append(value)
    scores = tuple(mean_score(name, found) for name, found in values.items())
    return Outcomes(keys=tuple(rows["id"]), clusters=tuple(map(str, rows["leak_group"])), scores=scores)


def rows_to_show(clusters: Sequence[str], count: int) -> list[int]:
    """The first rows of leak groups that are spread evenly over the split."""
    firsts = list({cluster: row for row, cluster in reversed(list(enumerate(clusters)))}.values())[::-1]
    count = min(count, len(firsts))
    return [firsts[place * len(firsts) // count] for place in range(count)]


def _gains(outcomes: Outcomes, draws: int, seed: int) -> list[Metric]:
    """The translation minus each baseline, on the same draws: does it show more than grey does?"""
    columns = {score.name: score.columns for score in outcomes.scores}
    gains: list[Score] = []
    for name, values in columns.items():
        baseline, metric = name.split("/")
        if baseline != OURS:
            gained = columns[f"{OURS}/{metric}"][:, 0] - values[:, 0]
            gains.append(mean_score(f"gain_over_{baseline}/{metric}", gained))
    paired = Outcomes(keys=outcomes.keys, clusters=outcomes.clusters, scores=tuple(gains))
    return with_intervals(paired, draws, seed)


def _check_band(rows: Dataset, band: str | None, config: TranslationRun) -> None:
    found = sorted(set(rows["infrared_band"]))
    if band is not None and found != [band]:
        raise ValueError(
            f"split {config.split!r} of {config.data} shows the bands {', '.join(found)}, and {config.model} imitates "
            f"{band}; score it on pairs of that band."
        )


def _refuse_made(rows: Dataset, data: Path, split: str) -> None:
    """A translation is held against what a sensor, or the simulator, showed: never against a translation, or grey."""
    made = sorted({origin for origin in rows["infrared_origin"] if origin not in MEASURED})
    if made:
        raise ValueError(
            f"split {split!r} of {data} holds infrared of origin {', '.join(made)}, which was made from the RGB; name "
            f"pairs whose infrared_origin is {' or '.join(MEASURED)}."
        )


def _listing(rows: Dataset) -> str:
    columns: list[Any] = [rows[name] for name in ("id", "leak_group", "rgb_sha256", "infrared_sha256")]
    return hashlib.sha256(json.dumps(list(zip(*columns, strict=True))).encode()).hexdigest()
