"""Benchmarks `captioning`, `vqa` and `text-audit`: a file of generated texts in; results JSON, cases and a figure out.

python -m evaluation run captioning --predictions said.jsonl --references fusionrs --output results
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .captions.audit import TextAudit, run_text_audit
from .captions.fusionrs_score import DRAWS, SEED
from .captions.metrics import CaptionScoring, ScoredTexts, run_captioning
from .captions.references import References, ReferenceSource, read_references
from .cases import Cases, Outcome
from .predictions import PredictionFile
from .results import Metric, check_file_name, dataset_record, file_sha256
from .score import plain, refuse_existing, write_files
from .vqa.outcomes import VqaScoring, run_vqa


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of a model, and where the results go."""

    predictions: Path
    """JSON lines of generated texts, `{"id": …, "text": …}`; null says that generation failed."""
    key: str = "id"
    """Field that names the row or the question."""
    text: str = "text"
    """Field with the text."""
    where: tuple[str, ...] = ()
    """Keep only lines in which fields have these values, as FIELD=VALUE, where the file holds several runs."""
    model_id: str | None = None
    """What to call the model; the name of the predictions file when not given."""
    output: Path
    """Folder of NAME.json, NAME.cases.npz and NAME.png."""
    name: str | None = None
    """NAME of the files; the benchmark when not given."""
    overwrite: bool = False
    """Replace results of that name."""
    draws: int = DRAWS
    """Bootstrap samples."""
    seed: int = SEED
    """Seed of the samples."""

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if self.draws < 1:
            raise ValueError(f"draws is {self.draws}, wanted at least 1.")
        if not self.predictions.is_file():
            raise FileNotFoundError(f"{self.predictions} is no file; wanted JSON lines of {self.key!r}, {self.text!r}.")

    @property
    def file(self) -> PredictionFile:
        """The predictions with their fields."""
        return PredictionFile(path=self.predictions, key=self.key, text=self.text, where=self.where)

    def results(self, benchmark: str) -> Path:
        """The results file."""
        return self.output / f"{self.name or benchmark}.json"


Flat = Annotated[Texts, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class CaptioningRun:
    """Score a file of captions against references."""

    texts: Flat
    references: Path
    """Folder the dataset builder wrote, or JSON lines `{"id": …, "references": […]}`."""
    split: str = "test"
    """Split of the folder."""
    column: str = "captions"
    """Column of the folder: captions or infrared_captions."""
    meteor_jar: Path | None = None
    """meteor-1.5.jar with its data beside it, to add METEOR 1.5; needs Java."""
    spice_jar: Path | None = None
    """spice-1.0.jar with its lib folder beside it, to add SPICE; needs Java."""

    @property
    def results(self) -> Path:
        """The results file."""
        return self.texts.results("captioning")


@dataclass(frozen=True, kw_only=True)
class VqaRun:
    """Score a file of answers to questions."""

    texts: Flat
    questions: Path
    """Questions that `python -m evaluation questions` wrote; the predictions name them by id."""
    train_questions: Path | None = None
    """Questions of the training split, to add the majority and the blind baseline."""

    @property
    def results(self) -> Path:
        """The results file."""
        return self.texts.results("vqa")


@dataclass(frozen=True, kw_only=True)
class TextAuditRun:
    """Audit a file of generated texts: infrared cues, unsupported claims, colours, form."""

    texts: Flat
    references: Path
    """Folder the dataset builder wrote, or JSON lines; the manifest of rows, and where copies are looked for."""
    split: str = "test"
    """Split of the folder."""
    column: str = "infrared_captions"
    """Column of the folder: captions or infrared_captions."""

    @property
    def results(self) -> Path:
        """The results file."""
        return self.texts.results("text-audit")


TextRun = CaptioningRun | VqaRun | TextAuditRun


def run_texts(config: TextRun) -> list[Metric]:
    """Scores, writes, returns the metrics."""
    refuse_existing(config.results, config.texts.overwrite)
    texts, draws, seed = config.texts, config.texts.draws, config.texts.seed
    match config:
        case CaptioningRun():
            source = _references(config)
            captioning = CaptionScoring(
                predictions=texts.file,
                references=source,
                meteor_jar=config.meteor_jar,
                spice_jar=config.spice_jar,
                draws=draws,
                seed=seed,
            )
            return _write(config, "captioning", run_captioning(captioning), references_dataset(source))
        case TextAuditRun():
            source = _references(config)
            audit = TextAudit(predictions=texts.file, references=source, draws=draws, seed=seed)
            return _write(config, "text-audit", run_text_audit(audit), references_dataset(source))
        case VqaRun():
            vqa = VqaScoring(
                predictions=texts.file,
                questions=config.questions,
                train_questions=config.train_questions,
                draws=draws,
                seed=seed,
            )
            scored = run_vqa(vqa)
            dataset = {"id": str(config.questions), "listing_sha256": file_sha256(config.questions)}
            return _write(config, "vqa", scored, dataset)


def references_dataset(source: ReferenceSource) -> dict[str, str]:
    """What the results say of the data: the hash of its rows with their references, and of the manifest."""
    return dataset_record(source.path, listing_of([read_references(source)]))


def listing_of(references: Sequence[References]) -> str:
    """SHA-256 of every row with its image, its source and its references."""
    return hashlib.sha256(json.dumps([asdict(one) for one in references], sort_keys=True).encode()).hexdigest()


def _references(config: CaptioningRun | TextAuditRun) -> ReferenceSource:
    return ReferenceSource(path=config.references, split=config.split, column=config.column)


def _write(config: TextRun, benchmark: str, scored: ScoredTexts, dataset: dict[str, str]) -> list[Metric]:
    texts = config.texts
    counts = {"rows": scored.rows, "missing": scored.missing, "failed": scored.failed, "left_out": scored.left_out}
    write_files(
        config.results,
        Outcome(metrics=scored.metrics, cases=Cases(texts=(scored.outcomes,)), notes=counts),
        benchmark=benchmark,
        protocol=benchmark,
        model={"id": texts.model_id or texts.predictions.stem, "predictions_sha256": file_sha256(texts.predictions)},
        dataset=dataset,
        config=plain(asdict(config)),
        seed=texts.seed,
    )
    return scored.metrics
