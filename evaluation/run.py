"""Runs a benchmark: data and a model in; a bundle, results JSON, cases and figures out.

python -m evaluation run retrieval-fusionrs --model runs/clip/model --data fusionrs --output results
"""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .bundles import Data, bundles_of
from .captions.benchmark import CaptionsRun, evaluate_captions
from .cases import Outcome
from .foreign_models import load_clip
from .results import Metric, check_file_name, dataset_record
from .score import ProtocolOptions, ScoredProtocol, listing, plain, refuse_existing, score_protocol, write_outcome

Benchmark = Literal[ScoredProtocol, "captions"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How to open a model that does not say all of it itself."""

    activation: Literal["quick_gelu", "gelu"] | None = None
    """Activation of an open_clip file; required there, and a wrong one costs points without an error."""
    tokenizer: str | None = None
    """Folder or Hub id of the tokenizer of an open_clip file."""
    image_size: int | None = None
    """Side in pixels at which a SigLIP 2 NaFlex model is fixed."""
    revision: str | None = None
    """Git revision of a model on the Hub."""
    device: str = "cpu"
    """Where the model runs, e.g. cuda."""
    batch_size: int = 64
    """Images embedded at once."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, wanted at least 1.")


# Options that a benchmark reads, beside where its data and model are.
READ: dict[Benchmark, tuple[str, ...]] = {
    "retrieval-fusionrs": ("split", "condition"),
    "retrieval-rs": ("split", "images", "captions_per_image"),
    "retrieval-rs-dedup": ("split", "images", "captions_per_image"),
    "retrieval-skyscript": ("split", "images", "captions_per_image"),
    "zero-shot": ("classes", "prompts", "modality"),
    "zero-shot-transductive": ("classes", "prompts", "modality"),
    "zero-shot-infrared": ("split", "prompts", "modality"),
    "presence": ("split", "prompts", "modality"),
    "linear-probe": ("split", "validation_split", "train_split", "modality"),
    "pair-retrieval": ("split", "pair_folders", "condition"),
    "fusion": ("split", "validation_split"),
    "captions": ("split", "rows"),
}
ROWS = 100


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Evaluate a model on a benchmark.

    localization, captioning, vqa, answers, caption-facts, text-audit and translation have options of their own:
    `run localization --help`, and so on.
    """

    benchmark: tyro.conf.Positional[Benchmark]
    """What to run; `python -m evaluation list` says what each is."""
    model: str
    """Folder, open_clip file or Hub id."""
    output: Path
    """Folder of NAME.json, NAME.npz (the bundle), NAME.cases.npz, NAME.png and other figures."""
    name: str | None = None
    """NAME of the files; the benchmark when not given."""
    overwrite: bool = False
    """Replace results of that name."""
    rows: int = ROWS
    """Rows that `captions` captions, from the start of the split."""
    data: Annotated[Data, tyro.conf.arg(name="")] = field(default_factory=Data)
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    options: Annotated[ProtocolOptions, tyro.conf.arg(name="")] = field(default_factory=ProtocolOptions)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows is {self.rows}, wanted at least 1.")
        check_file_name(self.name)

    @property
    def results(self) -> Path:
        """The results file."""
        return self.output / f"{self.name or self.benchmark}.json"


def run_benchmark(config: RunConfig) -> list[Metric]:
    """Embeds or captions, scores, writes; returns the metrics."""
    refuse_existing(config.results, config.overwrite)
    loading = config.loading
    refuse_unread(config)
    if config.benchmark == "captions":
        return evaluate_captions(
            config.results,
            CaptionsRun(
                model=config.model,
                data=config.data.data,
                split=config.data.split,
                rows=config.rows,
                device=loading.device,
                revision=loading.revision,
                batch_size=loading.batch_size,
            ),
            config=plain(asdict(config)),
        )
    return run_scored(config, config.benchmark).metrics


def refuse_unread(config: RunConfig) -> None:
    """An option that a benchmark does not read would be a wrong belief of who gave it, and stand in the results."""
    read = {"data", "revision", "device", "batch_size", *READ[config.benchmark]}
    if config.benchmark != "captions":  # a captioner's folder says how it is opened
        read |= {"activation", "tokenizer", "image_size"}
    given = [
        entry.name
        for part in (config.data, config.loading, config.options)
        for entry in fields(part)
        if entry.name not in read and getattr(part, entry.name) != entry.default
    ]
    if config.rows != ROWS and "rows" not in read:
        given.append("rows")
    if given:
        raise ValueError(f"{config.benchmark} reads no {', '.join(given)}; leave --{given[0].replace('_', '-')} out.")


def run_scored(config: RunConfig, protocol: ScoredProtocol) -> Outcome:
    """Embeds every split that the protocol needs, saves the bundles, scores them."""
    loading = asdict(config.loading)
    batch_size = loading.pop("batch_size")
    clip = load_clip(config.model, **loading)
    found = bundles_of(protocol, clip, config.data, config.options, batch_size)
    outcome = score_protocol(protocol, found.test, config.options, validation=found.validation, train=found.train)
    stem = config.results.with_suffix("")
    for split, bundle in (("", found.test), (".validation", found.validation), (".train", found.train)):
        if bundle is not None:
            bundle.save(stem.with_name(f"{stem.name}{split}.npz"))
    rows = listing(found.test, found.validation, found.train)
    write_outcome(
        config.results,
        outcome,
        protocol=protocol,
        options=config.options,
        model={"id": clip.id, "weights_sha256": clip.weights_sha256},
        dataset=dataset_record(config.data.data, rows),
        config={**plain(asdict(config)), **found.notes},
        condition=config.data.condition,
    )
    return outcome
