"""What both builds share: where files go, what is finished, the stages so far, and the end of the work."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import tyro
from numpy.typing import NDArray

from .build_output import OUR_FILES, config_key, read_manifest, write_outcome
from .caption_lint import lint_captions, open_tokenizer
from .durable_files import is_leftover, remove_leftovers
from .engine import EngineConfig
from .exclusions import exclusions_hash, leave_out, read_exclusions
from .journal import Journal, ShardRecord, locked
from .rights import may_publish
from .row_table import RowTable, driver_stage, frugal_memory, release_freed_memory
from .shard_plan import remove_stale_plans, write_tasks
from .stages.rejects import Reject
from .stages.split_audit import audit_splits
from .stages.splits import SplitSettings, number_values, plan_splits
from .step import ShardTask, Step, funnel_table, run_step, stage_facts
from .steps.write_step import INDEX_FOLDER, Dataset, WriteStep

PUBLIC_FOLDER, LOCAL_FOLDER = "data", "local"


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What both builds have in common."""

    source: tuple[str, ...]
    """Where rows come from: NAME or NAME:FOLDER, as many as there are; the names are listed above."""
    output: Path
    """Folder to write; its name is what `load_dataset` is given."""
    work: Path | None = None
    """Folder of finished shards between the steps, kept for resuming; OUTPUT.work where not given."""
    rows_per_part: int = 500
    """Rows of a source that are one unit of work; what a kill can lose, and what a worker holds at once."""
    shard_megabytes: int = 500
    """Size that a Parquet shard should not exceed."""
    shards_multiple: int = 8
    """The number of shards of a split is a multiple of this, so that they divide evenly among processes."""
    salt: str = "rsclip-1"
    """Decides the order of the rows; another salt, another shuffle."""
    splits: SplitSettings = field(default_factory=SplitSettings)
    keep_published_splits: bool = False
    """Keep the train, validation and test that sources publish, instead of drawing new ones."""
    exclusions: Path | None = None
    """Text file of rows to leave out: an id, an address or a SHA-256 of an image on each line."""
    tokenizer: Path | None = None
    """Folder of a tokenizer by which captions are judged too long for 77 tokens; without it tokens are estimated."""
    near_duplicate_radius: int = 4
    """Bits in which the 64-bit perceptual hashes of near duplicates may differ."""
    engine: Annotated[EngineConfig, tyro.conf.arg(name="")] = field(default_factory=EngineConfig)
    overwrite: bool = False
    """Replace an output folder that was built with other settings."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("rows_per_part", "shard_megabytes", "shards_multiple"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not self.source:
            raise ValueError("no --source is given.")
        if self.tokenizer is not None and not self.tokenizer.is_dir():
            raise ValueError(f"tokenizer {str(self.tokenizer)!r} is no folder; give that of a saved tokenizer.")
        if not self.output.name:
            raise ValueError(f"output {str(self.output)!r} must name a folder.")

    @property
    def work_folder(self) -> Path:
        """Where the shards between the steps are."""
        return self.work or self.output.with_name(f"{self.output.name}.work")

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what is written, without names of folders of this machine."""
        left_out = ("output", "work", "engine", "overwrite", "exclusions", "tokenizer")
        values = {name: _without_folders(value) for name, value in asdict(self).items() if name not in left_out}
        return {**values, "exclusions_sha256": exclusions_hash(read_exclusions(self.exclusions))}


class BuildRun:
    """One run of a build: maps steps over shards, and keeps the account of what every stage left out."""

    def __init__(self, config: BuildConfig, dataset: Dataset) -> None:
        self.config = config
        self.dataset: Dataset = dataset
        self.work = config.work_folder
        self.journal = Journal(self.work / "journal.jsonl")
        self.tokenizer = open_tokenizer(config.tokenizer)
        self.stages: list[dict[str, Any]] = []
        self.weights: dict[str, Any] = {}

    def map(
        self,
        step: Step,
        tasks: Sequence[ShardTask],
        *,
        folder: Path | None = None,
        redo: Callable[[ShardRecord], bool] = lambda record: False,
        counted: bool = True,
    ) -> list[ShardRecord]:
        """Make the shards of a step, and add its account to the stages."""
        records = run_step(
            step, tasks, folder=folder or self.work, journal=self.journal, engine=self.config.engine, redo=redo
        )
        if counted:
            self.stages.append(stage_facts(step.name, records))
        if weights := step.identity().get("weights"):
            self.weights[step.name] = weights
        return records

    def map_rows(
        self,
        step: Step,
        table: RowTable,
        files: Sequence[Mapping[int, ShardRecord]],
        shards: Sequence[str],
        *,
        redo: Callable[[ShardRecord], bool] = lambda record: False,
    ) -> dict[int, ShardRecord]:
        """Give a step the chosen rows of every staged shard, with the files that hold them; records by shard."""
        rows = table.positions_by_shard()
        earlier = {shard: self._last_whole(step.name, shards[shard]) for shard in rows}
        tasks = [
            ShardTask(
                shard=shards[shard],
                inputs={
                    "files": [
                        {"file": records[shard].file, "sha256": records[shard].sha256}
                        for records in files
                        if shard in records
                    ],
                    "rows": positions,
                },
                rows=len(positions),
                previous=record.file if (record := earlier[shard]) is not None else None,
            )
            for shard, positions in rows.items()
        ]
        return dict(zip(rows, self.map(step, tasks, redo=redo), strict=True))

    def _last_whole(self, step: str, shard: str) -> ShardRecord | None:
        """What was last made of a shard, if its file is as it was written."""
        record = self.journal.last(step, shard)
        return None if record is None else self.journal.find(step, shard, record.key, self.work)

    def decide(
        self,
        name: str,
        table: RowTable,
        decision: Callable[[RowTable], tuple[Sequence[int] | NDArray[Any], Sequence[Reject]]],
    ) -> RowTable:
        """Leave rows out by a decision over all rows, and add its account to the stages."""
        kept, account = driver_stage(name, table, decision)
        self.stages.append(account)
        return kept

    def leave_out_exclusions(self, table: RowTable) -> RowTable:
        """Leave out the rows that the list of exclusions names."""
        excluded = read_exclusions(self.config.exclusions)
        return self.decide("exclusions", table, lambda rows: leave_out(rows, excluded)) if excluded else table

    def write(
        self,
        table: RowTable,
        leak_groups: pa.DictionaryArray,
        files: Sequence[Mapping[int, ShardRecord]],
        sources: Sequence[Mapping[str, Any]],
        notes: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Split, write the shards of images and of the index, then manifest and card; return the manifest."""
        if not len(table):
            raise EmptyBuildError(_why_empty(self.stages))
        token_limit = lint_captions(self.dataset, self.work, table, files, self.tokenizer)
        table_sources = table.text("source").arrow
        plan = plan_splits(
            leak_groups,
            table_sources,
            self.config.splits,
            table.values("split") if self.config.keep_published_splits else None,
        )
        audit = audit_splits(plan.splits, leak_groups, table.text("caption_key").arrow, table_sources)
        audit.require_clean()
        tasks = self._write_tasks(table, _folders(table), plan.splits, leak_groups, files)
        release_freed_memory()
        step = WriteStep(dataset=self.dataset, work=self.work, output=self.config.output)
        records = self.map(step, tasks, folder=self.config.output, counted=False)
        self.stages.append(
            {
                "stage": "write",
                "rows_in": len(table),
                "rows_out": sum(record.rows for record in records if not record.file.startswith(INDEX_FOLDER)),
                "rejected": {},
                "rejected_sample": [],
            }
        )
        return write_outcome(
            self.config.output,
            dataset=self.dataset,
            config=self.config.decisive(),
            sources=sources,
            stages=self.stages,
            records=records,
            audit=audit,
            splits=plan,
            notes={**notes, "token_limit": token_limit, "weights_sha256": self.weights},
        )

    def _write_tasks(
        self,
        table: RowTable,
        folders: pa.DictionaryArray,
        splits: Sequence[str],
        leak_groups: pa.DictionaryArray,
        files: Sequence[Mapping[int, ShardRecord]],
    ) -> list[ShardTask]:
        sizes = table.numbers("image_bytes")
        if "infrared_bytes" in table.table.column_names:
            sizes = sizes + table.numbers("infrared_bytes")
        images = write_tasks(
            table,
            folders,
            splits,
            leak_groups,
            files,
            work=self.work,
            row_bytes=sizes,
            multiple=self.config.shards_multiple,
            target_bytes=self.config.shard_megabytes * 10**6,
        )
        index = write_tasks(
            table,
            pa.repeat(INDEX_FOLDER, len(table)),
            splits,
            leak_groups,
            files,
            work=self.work,
            row_bytes=np.ones(len(table), dtype=np.int64),
            multiple=1,
            target_bytes=_INDEX_SHARD_ROWS,
        )
        remove_stale_plans(self.work, [*images, *index])
        return [*images, *index]


# A shard of the index is bounded by its rows: what a worker is told of them is as large as the rows themselves.
_INDEX_SHARD_ROWS = 25_000


def _folders(table: RowTable) -> pa.DictionaryArray:
    """For every row the folder of its images: a decision for each licence and origin there is."""
    licenses, license_names = number_values(table.text("license").arrow)
    has_origin = "infrared_origin" in table.table.column_names
    origins, origin_names = number_values(
        table.text("infrared_origin").arrow if has_origin else pa.nulls(len(table), pa.string())
    )
    # The last line and the last column are of rows without, whose number is -1.
    is_public = np.array(
        [
            [may_publish(name, origin) for origin in (*origin_names.to_pylist(), None)]
            for name in (*license_names.to_pylist(), None)
        ]
    )
    return pa.DictionaryArray.from_arrays(
        pa.array(is_public[licenses, origins].astype(np.int8)), pa.array([LOCAL_FOLDER, PUBLIC_FOLDER])
    )


class EmptyBuildError(RuntimeError):
    """Every row was left out."""


@contextmanager
def opened_run(config: BuildConfig, dataset: Dataset) -> Any:
    """Hold the work folder for this process, and make sure that the output may be written."""
    _must_be_replaced(config, dataset)  # refuses before anything is made
    with frugal_memory(), locked(config.work_folder):
        if _must_be_replaced(config, dataset):
            shutil.rmtree(config.output)
        remove_leftovers(config.work_folder)
        if config.output.exists():
            remove_leftovers(config.output)
        yield BuildRun(config, dataset)


def _must_be_replaced(config: BuildConfig, dataset: Dataset) -> bool:
    """Never write into a folder that is not ours, and replace what was built with other settings only if asked."""
    folder = config.output
    if not folder.exists():
        return False
    names = sorted(path.name for path in folder.iterdir())
    foreign = [name for name in names if name not in OUR_FILES and not is_leftover(name)]
    if foreign:
        raise FileExistsError(
            f"{folder} holds {', '.join(foreign[:5])}, which this program did not write; it will not use the folder. "
            "Move those files, or choose another --output."
        )
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("config_key") == config_key(dataset, config.decisive()):
        return False
    if not config.overwrite:
        raise FileExistsError(
            f"{folder} was built with other settings. Choose another --output, or give --overwrite to replace it."
        )
    return True


def _without_folders(value: Any) -> Any:
    """Settings with `/data/rsicd` as `rsicd`: a published manifest names no folder of this machine."""
    match value:
        case dict():
            return {name: _without_folders(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_folders(inner) for inner in value]
        case Path():
            return value.name
        case str():
            head = re.match(r"\w+[:=]", value)
            prefix, rest = (head[0], value[head.end() :]) if head else ("", value)
            return prefix + Path(rest).name if "/" in rest and Path(rest).exists() else value
        case _:
            return value


def _why_empty(stages: Sequence[Mapping[str, Any]]) -> str:
    """The funnel, and an example of every reason."""
    samples = {reject["reason"]: reject for stage in stages for reject in stage["rejected_sample"]}
    examples = [f"  {reason}: {one['id']} {one['detail']}".rstrip() for reason, one in sorted(samples.items())]
    return "\n".join(["no row is left to write.", funnel_table(stages), "for example", *examples])


def print_summary(manifest: Mapping[str, Any], output: Path, seconds: float) -> None:
    """The funnel, the splits, and where the result is."""
    print(funnel_table(manifest["stages"]))
    print(f"\n{'split':<12}{'rows':>10}{'leak groups':>13}{'megabytes':>11}")
    for split, facts in manifest["splits"].items():
        size = sum(shard["bytes"] for shard in manifest["shards"] if shard["split"] == split) / 1e6
        print(f"{split:<12}{facts['rows']:>10,}{facts['leak_groups']:>13,}{size:>11.1f}")
    rows = sum(facts["rows"] for facts in manifest["splits"].values())
    print(f"\n{rows:,} rows in {output}, {seconds:.1f} s")
    if missing := [split for split in ("validation", "test") if split not in manifest["splits"]]:
        groups = sum(facts["leak_groups"] for facts in manifest["splits"].values())
        print(
            f"warning: no row is in {' or '.join(missing)}: the rows fall into {groups:,} leak groups (of equal "
            "captions or nearly equal images), and a group is not cut. See --splits.validation and --splits.test.",
            file=sys.stderr,
        )
    if unnamed := [source["name"] for source in manifest["sources"] if _lacks_attribution(source)]:
        print(
            f"warning: the licence of {', '.join(unnamed)} asks to name somebody, and nobody is named; "
            "give --sources.attribution.",
            file=sys.stderr,
        )
    local = sum(shard["rows"] for shard in manifest["shards"] if shard["file"].startswith(LOCAL_FOLDER))
    if local:
        print(
            f"{local:,} rows are in {LOCAL_FOLDER}/: their licences do not let them be handed on, and `push` leaves "
            "their images out.",
            file=sys.stderr,
        )


def _lacks_attribution(source: Mapping[str, Any]) -> bool:
    return not source["attribution"] and source["license"].upper().startswith("CC-BY")
