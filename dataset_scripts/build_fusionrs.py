"""Builds FusionRS: aligned RGB-infrared pairs with scene captions and infrared-aware captions.

python -m dataset_scripts build fusionrs --source simulator --num-scenes 2000 --output fusionrs
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .build_run import BuildConfig, BuildRun, opened_run, print_summary
from .duplicate_decisions import one_of_each_id, one_of_each_image, one_of_near
from .journal import ShardRecord
from .row_table import RowTable, release_freed_memory
from .source_options import SourceOptions, describe_sources, open_sources, refuse_addresses
from .stages.near_duplicates import group_rows
from .stages.rejects import Reject
from .stages.translate import TranslatorSettings
from .steps.infrared_caption_step import InfraredCaptionConfig, InfraredCaptionStep
from .steps.infrared_step import InfraredStep
from .steps.model_identity import require_model
from .steps.read_step import ReadStep

# Columns of staged shards that decisions over all rows need.
_DECISIVE_COLUMNS = (
    "id",
    "source",
    "url",
    "license",
    "split",
    "sha256",
    "perceptual_hash",
    "image_bytes",
    "infrared_sha256",
    "infrared_hash",
    "infrared_bytes",
    "infrared_origin",
    "has_infrared_captions",
    "caption_key",
    "shuffle_key",
)
_INFRARED_COLUMNS = ("infrared_sha256", "infrared_hash", "infrared_bytes", "infrared_origin")


@dataclass(frozen=True, kw_only=True)
class TranslatorConfig:
    """How rows without an infrared image get one. A translated image is a style, not a measurement."""

    name: Literal["none", "luminance", "unet", "diffv2ir"] = "none"
    """`none`: rows without infrared are left out. `luminance`: grey values, the control. `unet`: our own network.
    `diffv2ir`: the diffusion model of FusionRS."""
    checkpoint: str | None = None
    """Folder or Hub id of the weights; not for `luminance`."""
    revision: str | None = None
    """Full commit of a Hub id."""
    band: Literal["thermal", "mwir", "swir", "nir"] = "thermal"
    """The band that the translator imitates."""
    seed: int = 1234
    """Together with the id of an image the seed of its noise."""
    device: str = "cpu"
    batch_size: int = 1
    dtype: str = "float32"
    steps: int = 20
    """Denoising steps of `diffv2ir`."""
    segmentation: Literal["absent", "given"] | None = None
    """`absent` for a 12-channel `diffv2ir` without a segmentation image."""
    caption_conditioned: bool = False
    """Let captions guide `diffv2ir`; then pixels leak text."""
    trust_remote_code: bool = False
    """Let the code in a `unet` checkpoint run."""

    def settings(self) -> TranslatorSettings:
        """The settings of the translator; not for `none`."""
        assert self.name != "none"
        require_model("--translator.checkpoint", self.checkpoint, self.revision or None)
        return TranslatorSettings(
            name=self.name,
            checkpoint=self.checkpoint,
            revision=self.revision,
            seed=self.seed,
            device=self.device,
            batch_size=self.batch_size,
            dtype=self.dtype,
            steps=self.steps,
            segmentation=self.segmentation,
            caption_conditioned=self.caption_conditioned,
            trust_remote_code=self.trust_remote_code,
        )


@dataclass(frozen=True, kw_only=True)
class FusionRSConfig(BuildConfig):
    """What goes into FusionRS."""

    output: Path = Path("fusionrs")
    """Folder to write; its name is what `load_dataset` is given."""
    num_scenes: int = 2000
    """Scenes of the source `simulator`."""
    sources: SourceOptions = field(default_factory=SourceOptions)
    translator: TranslatorConfig = field(default_factory=TranslatorConfig)
    infrared_captions: InfraredCaptionConfig = field(default_factory=InfraredCaptionConfig)
    near_duplicates: Literal["group", "drop"] = "group"
    """Near-duplicate RGB images share a leak group, or only one of them is kept."""


def build_fusionrs(config: FusionRSConfig) -> Path:
    """Build the dataset, or finish a build that was cut off; return its folder."""
    start = time.perf_counter()
    if config.translator.name != "none":
        config.translator.settings()  # refuses what cannot work, before any work
    if config.infrared_captions.writer == "model":
        config.infrared_captions.model_settings()
    refuse_addresses(config.source)
    sources = open_sources(config.source, config.sources, num_scenes=config.num_scenes)
    with opened_run(config, "fusionrs") as run:
        table, shards, read = _read(run, config, sources)
        table, infrared = _give_infrared(run, config, table, shards, read)
        captions = _give_infrared_captions(run, config, table, shards, [read, infrared])
        leak_groups = group_rows(
            hash_columns=[table.numbers("perceptual_hash"), table.numbers("infrared_hash")],
            key_columns=[table.text(name).arrow for name in ("caption_key", "sha256", "infrared_sha256")],
            radius=config.near_duplicate_radius,
        )
        release_freed_memory()
        described = describe_sources(sources, table.text("source").arrow)
        manifest = run.write(table, leak_groups, [read, infrared, captions], described, {})
    print_summary(manifest, config.output, time.perf_counter() - start)
    return config.output


def _read(
    run: BuildRun, config: FusionRSConfig, sources: Sequence[Any]
) -> tuple[RowTable, list[str], dict[int, ShardRecord]]:
    """Read the sources, and leave out what is there twice."""
    step = ReadStep(sources=tuple(sources), work=run.work, salt=config.salt, needs_image=True)
    tasks = step.tasks(config.rows_per_part)
    records = run.map(step, tasks)
    table = RowTable.load(run.work, records, _DECISIVE_COLUMNS)
    table = run.leave_out_exclusions(table)
    table = run.decide("equal_ids", table, one_of_each_id)
    table = run.decide("exact_duplicates", table, one_of_each_image)
    if config.near_duplicates == "drop":
        table = run.decide("near_duplicates", table, lambda rows: one_of_near(rows, config.near_duplicate_radius))
    return table, [task.shard for task in tasks], dict(enumerate(records))


def _give_infrared(
    run: BuildRun, config: FusionRSConfig, table: RowTable, shards: Sequence[str], read: Mapping[int, ShardRecord]
) -> tuple[RowTable, dict[int, ShardRecord]]:
    """Translate rows that have no infrared image; those that stay without one are left out."""
    lacking = table.is_null("infrared_sha256")
    records: dict[int, ShardRecord] = {}
    if lacking.any() and config.translator.name != "none":
        step = InfraredStep(work=run.work, translator=config.translator.settings(), band=config.translator.band)
        records = run.map_rows(step, table.keep(lacking), [read], shards)
        table = table.join(run.work, records, _INFRARED_COLUMNS)
        return table.keep(~table.is_null("infrared_sha256")), records
    if lacking.any():
        table = run.decide("infrared", table, _with_infrared)
    return table, records


def _give_infrared_captions(
    run: BuildRun,
    config: FusionRSConfig,
    table: RowTable,
    shards: Sequence[str],
    files: Sequence[Mapping[int, ShardRecord]],
) -> dict[int, ShardRecord]:
    """Write captions for rows without; a row that gets none stays, with an empty list."""
    lacking = ~table.numbers("has_infrared_captions")
    if not lacking.any() or config.infrared_captions.writer == "none":
        return {}
    step = InfraredCaptionStep(work=run.work, config=config.infrared_captions)
    return run.map_rows(step, table.keep(lacking), files, shards)


def _with_infrared(table: RowTable) -> tuple[NDArray[np.int64], list[Reject]]:
    lacking = table.is_null("infrared_sha256")
    rejects = [
        Reject(int(row), "no_infrared", "the source has none; choose a --translator.name")
        for row in np.flatnonzero(lacking)
    ]
    return np.flatnonzero(~lacking), rejects
