"""Builds RS5M: images of the web and of label-only sets, selected, downloaded, deduplicated, filtered and captioned.

python -m dataset_scripts build rs5m --source cc3m:FOLDER fmow:FOLDER --output rs5m
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .build_run import BuildConfig, BuildRun, opened_run, print_summary
from .duplicate_decisions import one_of_each_address, one_of_each_id, one_of_each_image, one_of_near
from .journal import ShardRecord
from .row_table import RowTable, release_freed_memory
from .source_options import SourceOptions, describe_sources, open_sources
from .stages.caption_candidates import CaptionerSettings
from .stages.clip_scorer import ClipScorerSettings
from .stages.download_limits import DownloadLimits
from .stages.machine_captions import MachineCaptionSettings
from .stages.metadata_captions import MetadataCaptionSettings
from .stages.near_duplicates import group_rows
from .stages.quantile_filter import QuantileSettings, filter_by_quantiles, survivor_grid
from .stages.rejects import Reject
from .stages.relevance import ClassifierSettings, RelevanceSettings
from .stages.rotation_invariance import RotationSettings
from .steps.caption_step import CaptionStep
from .steps.download_step import DownloadStep, download_rules, may_pass
from .steps.model_identity import require_model
from .steps.read_step import ReadStep
from .steps.relevance_step import RelevanceStep

Files = list[Mapping[int, ShardRecord]]

_READ_COLUMNS = (
    "id",
    "source",
    "url",
    "license",
    "split",
    "sha256",
    "perceptual_hash",
    "image_bytes",
    "caption_key",
    "shuffle_key",
)
_DOWNLOADED_COLUMNS = ("sha256", "perceptual_hash", "image_bytes")


@dataclass(frozen=True, kw_only=True)
class RelevanceConfig:
    """Models that judge whether an image is one of remote sensing, and how many rows pass."""

    clip: str | None = None
    """Folder or Hub id of any CLIP or SigLIP; without it no row is left out for its content."""
    clip_revision: str | None = None
    classifier: str | None = None
    """Folder or Hub id of an image classifier."""
    classifier_revision: str | None = None
    positive_label: str | None = None
    """The classifier's label that means remote sensing."""
    keep_relevance: float = 0.9
    """Part of the rows that passes by its similarity to the prompts."""
    keep_classifier: float = 0.8
    """Part of the rows that passes by the classifier."""
    device: str = "auto"
    dtype: str = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Refuse a classifier that cannot be asked."""
        if self.classifier is not None and (self.clip is None or self.positive_label is None):
            raise ValueError("a classifier needs --relevance.clip and --relevance.positive-label beside it.")
        QuantileSettings(keep_relevance=self.keep_relevance, keep_classifier=self.keep_classifier)

    def settings(self) -> RelevanceSettings | None:
        """The settings of the step; None where nothing judges.

        Raises:
            ValueError: a model is not there.
        """
        if self.clip is None:
            return None
        require_model("--relevance.clip", self.clip, self.clip_revision)
        require_model("--relevance.classifier", self.classifier, self.classifier_revision)
        common: dict[str, Any] = {
            "device": self.device,
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
        }
        classifier = None
        if self.classifier is not None and self.positive_label is not None:
            classifier = ClassifierSettings(
                model=self.classifier,
                revision=self.classifier_revision,
                positive_label=self.positive_label,
                **common,
            )
        clip = ClipScorerSettings(model=self.clip, revision=self.clip_revision, **common)
        return RelevanceSettings(clip=clip, classifier=classifier)


@dataclass(frozen=True, kw_only=True)
class MachineCaptionConfig:
    """Models that caption images without a caption."""

    captioner: str | None = None
    """Folder or Hub id of any image-text-to-text model; without it such images keep their metadata caption, if any."""
    captioner_revision: str | None = None
    prompt: str | None = None
    """The instruction, or the words that a caption goes on from."""
    first_scorer: str | None = None
    """Folder or Hub id of the CLIP that ranks the candidates."""
    first_scorer_revision: str | None = None
    second_scorer: str | None = None
    """A second one that ranks the best again."""
    second_scorer_revision: str | None = None
    candidates: int = 20
    """Captions sampled for each image."""
    deviation_weight: float = 1.0
    """Choice among the best: mean similarity over 12 rotations, less this times its deviation; inf is RS5M's rule."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Refuse candidates that nothing ranks."""
        if (self.captioner is None) != (self.first_scorer is None):
            raise ValueError("a captioner goes with --machine-captions.first-scorer, which ranks what it writes.")

    def settings(self) -> MachineCaptionSettings | None:
        """The settings of the step; None where nothing captions.

        Raises:
            ValueError: a model is not there.
        """
        if self.captioner is None or self.first_scorer is None:
            return None
        for name in ("captioner", "first_scorer", "second_scorer"):
            option = f"--machine-captions.{name.replace('_', '-')}"
            require_model(option, getattr(self, name), getattr(self, f"{name}_revision"))
        common: dict[str, Any] = {
            "device": self.device,
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
        }
        second = None
        if self.second_scorer is not None:
            second = ClipScorerSettings(model=self.second_scorer, revision=self.second_scorer_revision, **common)
        return MachineCaptionSettings(
            captioner=CaptionerSettings(
                model=self.captioner,
                revision=self.captioner_revision,
                prompt=self.prompt,
                candidates=self.candidates,
                seed=self.seed,
                **common,
            ),
            first_scorer=ClipScorerSettings(model=self.first_scorer, revision=self.first_scorer_revision, **common),
            second_scorer=second,
            rotation=RotationSettings(deviation_weight=self.deviation_weight),
        )


@dataclass(frozen=True, kw_only=True)
class RS5MConfig(BuildConfig):
    """What goes into RS5M."""

    output: Path = Path("rs5m")
    """Folder to write; its name is what `load_dataset` is given."""
    num_scenes: int = 2000
    """Scenes of the source `simulator`; they show how the build runs, and are no remote-sensing data."""
    sources: SourceOptions = field(default_factory=SourceOptions)
    download: DownloadLimits = field(default_factory=DownloadLimits)
    relevance: RelevanceConfig = field(default_factory=RelevanceConfig)
    machine_captions: MachineCaptionConfig = field(default_factory=MachineCaptionConfig)
    metadata_max_tokens: int = 77
    """Tokens that a metadata caption may take; it loses its least important clauses first."""

    def decisive(self) -> dict[str, Any]:
        """How a download is paced does not decide what is written, and networks are nobody's business."""
        return {**super().decisive(), "download": download_rules(self.download)}


def build_rs5m(config: RS5MConfig) -> Path:
    """Build the dataset, or finish a build that was cut off; return its folder."""
    start = time.perf_counter()
    relevance, machine = config.relevance.settings(), config.machine_captions.settings()
    sources = open_sources(config.source, config.sources, num_scenes=config.num_scenes)
    with opened_run(config, "rs5m") as run:
        table, shards, files = _read(run, config, sources)
        table = _download(run, config, table, shards, files)
        table = run.leave_out_exclusions(table)
        table = run.decide("exact_duplicates", table, one_of_each_image)
        table = run.decide("near_duplicates", table, lambda rows: one_of_near(rows, config.near_duplicate_radius))
        table, notes = _filter(run, config, relevance, table, shards, files)
        table = _caption(run, config, machine, table, shards, files)
        leak_groups = group_rows(
            hash_columns=[table.numbers("perceptual_hash")],
            key_columns=[table.text(name).arrow for name in ("caption_key", "sha256")],
            radius=config.near_duplicate_radius,
        )
        release_freed_memory()
        described = describe_sources(sources, table.text("source").arrow)
        manifest = run.write(table, leak_groups, files, described, notes)
    print_summary(manifest, config.output, time.perf_counter() - start)
    return config.output


def _read(run: BuildRun, config: RS5MConfig, sources: Sequence[Any]) -> tuple[RowTable, list[str], Files]:
    """Read the sources, with the keywords for rows of the web; one row of every id and every address stays."""
    step = ReadStep(sources=tuple(sources), work=run.work, salt=config.salt, needs_caption=False)
    tasks = step.tasks(config.rows_per_part)
    records = run.map(step, tasks)
    table = RowTable.load(run.work, records, _READ_COLUMNS)
    table = run.leave_out_exclusions(table)
    table = run.decide("equal_ids", table, one_of_each_id)
    table = run.decide("equal_addresses", table, one_of_each_address)
    return table, [task.shard for task in tasks], [dict(enumerate(records))]


def _download(run: BuildRun, config: RS5MConfig, table: RowTable, shards: Sequence[str], files: Files) -> RowTable:
    """Fetch the images of rows that have an address only; rows that end without one are left out."""
    lacking = table.is_null("sha256")
    if not lacking.any():
        return table
    step = DownloadStep(work=run.work, limits=config.download)
    files.append(run.map_rows(step, table.keep(lacking), files, shards, redo=may_pass))
    table = table.join(run.work, files[-1], _DOWNLOADED_COLUMNS)
    return table.keep(~table.is_null("sha256"))


def _filter(
    run: BuildRun,
    config: RS5MConfig,
    settings: RelevanceSettings | None,
    table: RowTable,
    shards: Sequence[str],
    files: Files,
) -> tuple[RowTable, dict[str, Any]]:
    """Score every image, and keep the best parts."""
    if settings is None:
        return table, {"relevance": "no model was given, so no row was left out for its content"}
    step = RelevanceStep(work=run.work, settings=settings)
    files.append(run.map_rows(step, table, files, shards))
    table = table.join(run.work, files[-1], ("relevance_score", "classifier_score"))
    relevance = table.numbers("relevance_score")
    classifier = table.numbers("classifier_score") if settings.classifier is not None else None
    quantiles = QuantileSettings(
        keep_relevance=config.relevance.keep_relevance, keep_classifier=config.relevance.keep_classifier
    )
    split = filter_by_quantiles(relevance, classifier, quantiles)
    notes: dict[str, Any] = {
        "relevance_threshold": split.relevance_threshold,
        "classifier_threshold": split.classifier_threshold,
    }
    if classifier is not None:
        notes["survivor_grid"] = survivor_grid(relevance, classifier).tolist()

    def decision(_: RowTable) -> tuple[Any, list[Reject]]:
        return split.kept, split.rejects

    return run.decide("relevance", table, decision), notes


def _caption(
    run: BuildRun,
    config: RS5MConfig,
    machine: MachineCaptionSettings | None,
    table: RowTable,
    shards: Sequence[str],
    files: Files,
) -> RowTable:
    """Write captions; rows that end without any are left out."""
    step = CaptionStep(
        work=run.work,
        metadata=MetadataCaptionSettings(max_tokens=config.metadata_max_tokens),
        machine=machine,
    )
    files.append(run.map_rows(step, table, files, shards))
    table = table.join(run.work, files[-1], ("caption_key",))
    return table.keep(~table.is_null("caption_key"))
