"""Scores a bundle of embeddings under a protocol.

python -m evaluation score retrieval-rs --bundle mine.npz --output results/retrieval-rs.json
"""

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from .cases import Outcome
from .classification import class_outcomes
from .classification.class_names import PROMPT_SETS, PromptOrder
from .embedding import Bundle, load_bundle
from .pair_conditions import PairCondition
from .protocols import protocol_named
from .report_figures import confusion_figure, results_figure, short
from .results import file_sha256, write_results
from .retrieval import retrieval_outcomes

ScoredProtocol = Literal[
    "retrieval-fusionrs",
    "retrieval-rs",
    "retrieval-rs-dedup",
    "retrieval-skyscript",
    "zero-shot",
    "zero-shot-transductive",
    "zero-shot-infrared",
    "presence",
    "linear-probe",
    "pair-retrieval",
    "fusion",
]
RETRIEVAL_RS = ("retrieval-rs", "retrieval-rs-dedup", "retrieval-skyscript")
PROMPTED = ("zero-shot", "zero-shot-transductive", "zero-shot-infrared", "presence")
NEEDS_VALIDATION = ("linear-probe", "fusion")
DEFAULT_PROMPTS = {
    "zero-shot": "rs5m",
    "zero-shot-transductive": "rs-transclip",
    "zero-shot-infrared": "fusionrs-infrared",
    "presence": "hit-uav",
}
OF_INFRARED = ("zero-shot-infrared", "presence", "linear-probe")
Modality = Literal["rgb", "infrared", "fused"]


@dataclass(frozen=True, kw_only=True)
class ProtocolOptions:
    """What decides the rules within a protocol."""

    prompts: str | None = None
    """Prompt set of zero-shot and presence protocols; its order of averaging applies to a bundle's prompts too."""
    modality: Modality | None = None
    """Which embedding of the image: rgb for zero-shot, infrared for the infrared protocols when not given."""
    captions_per_image: int = 5
    """Captions that each image of retrieval-rs must have; 0 for any number."""

    def __post_init__(self) -> None:
        if self.prompts is not None and self.prompts not in PROMPT_SETS:
            raise ValueError(f"prompts is {self.prompts!r}, wanted one of {', '.join(PROMPT_SETS)}.")
        if self.captions_per_image < 0:
            raise ValueError(f"captions_per_image is {self.captions_per_image}, wanted 0 (any) or more.")

    def prompts_of(self, protocol: str) -> str:
        """The prompt set in use."""
        return self.prompts if self.prompts is not None else DEFAULT_PROMPTS[protocol]

    def modality_of(self, protocol: str) -> Modality:
        """The embedding in use."""
        if self.modality is not None:
            return self.modality
        return "infrared" if protocol in OF_INFRARED else "rgb"


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Score saved embeddings, of any model and framework."""

    protocol: tyro.conf.Positional[ScoredProtocol]
    """Rules to score by; `python -m evaluation list` says what each needs."""
    bundle: Path
    """Embeddings of the test set (.npz)."""
    output: Path
    """Results JSON to write; cases and figures go beside it."""
    tested: Path | None = None
    """Bundle that lists the whole test set (its embeddings are not read): what the bundle lacks counts as wrong."""
    validation: Path | None = None
    """Bundle of the validation split, for linear-probe and fusion."""
    train: Path | None = None
    """Bundle of the training split, for linear-probe."""
    model_id: str | None = None
    """What to call the model; the bundle's file name when not given."""
    dataset_id: str | None = None
    """What to call the data; the file name of the tested bundle when not given."""
    overwrite: bool = False
    """Replace results of that name."""
    options: Annotated[ProtocolOptions, tyro.conf.arg(name="")] = field(default_factory=ProtocolOptions)


def score_bundle(config: ScoreConfig) -> Outcome:
    """Reads, scores, writes."""
    refuse_existing(config.output, config.overwrite)
    bundles = [config.bundle, config.validation, config.train]
    bundle = load_bundle(config.bundle)
    tested = bundle if config.tested is None else load_bundle(config.tested)
    validation = None if config.validation is None else load_bundle(config.validation)
    train = None if config.train is None else load_bundle(config.train)
    outcome = score_protocol(config.protocol, bundle, config.options, tested=tested, validation=validation, train=train)
    hashes = [file_sha256(path) for path in bundles if path is not None]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    shown = config.tested if config.tested is not None else config.bundle
    write_outcome(
        config.output,
        outcome,
        protocol=config.protocol,
        options=config.options,
        model={"id": config.model_id or config.bundle.stem, "bundle_sha256": digest},
        dataset={"id": config.dataset_id or shown.stem, "listing_sha256": listing(tested, validation, train)},
        config=plain(asdict(config)),
    )
    return outcome


def score_protocol(
    protocol: ScoredProtocol,
    bundle: Bundle,
    options: ProtocolOptions,
    *,
    tested: Bundle | None = None,
    validation: Bundle | None = None,
    train: Bundle | None = None,
) -> Outcome:
    """Scores embeddings.

    Args:
        protocol: The rules.
        bundle: Embeddings of the test set.
        options: What decides the rules within the protocol.
        tested: Lists the whole test set; the bundle itself when not given.
        validation: Embeddings of the validation split, for linear-probe and fusion.
        train: Embeddings of the training split, for linear-probe.

    Raises:
        ValueError: An array or bundle that the protocol needs is missing, or ids or labels do not fit.
    """
    tested = bundle if tested is None else tested
    if (validation is None) == (protocol in NEEDS_VALIDATION):
        raise ValueError(_split_message(protocol, "validation", validation is None))
    if (train is None) == (protocol == "linear-probe"):
        raise ValueError(_split_message(protocol, "train", train is None))
    for split, others in (("validation", validation), ("train", train)):
        if others is not None:
            _refuse_shared(bundle, others, split)
    modality = options.modality_of(protocol)
    match protocol:
        case "retrieval-fusionrs":
            return retrieval_outcomes.retrieval_fusionrs(bundle.by_row(), tested.by_row())
        case "retrieval-rs" | "retrieval-rs-dedup" | "retrieval-skyscript":
            wanted = options.captions_per_image or None
            return retrieval_outcomes.retrieval_rs_variant(protocol, bundle, tested, wanted)
        case "zero-shot" | "zero-shot-infrared":
            return class_outcomes.classify(bundle, tested, modality, order_of(protocol, options), protocol)
        case "zero-shot-transductive":
            return class_outcomes.classify_together(bundle, tested, modality, order_of(protocol, options))
        case "presence":
            return class_outcomes.find_presence(bundle, tested, modality, order_of(protocol, options))
        case "linear-probe":
            assert train is not None
            assert validation is not None
            return class_outcomes.probe(bundle, tested, train, validation, modality)
        case "pair-retrieval":
            return retrieval_outcomes.pair(bundle, tested)
        case "fusion":
            assert validation is not None
            return retrieval_outcomes.fusion(bundle.by_row(), tested.by_row(), validation.by_row())
    raise ValueError(f"{protocol!r} is no protocol; `python -m evaluation list` shows them.")


def order_of(protocol: str, options: ProtocolOptions) -> PromptOrder:
    """The order of averaging that the prompt set prescribes."""
    return PROMPT_SETS[options.prompts_of(protocol)].order


def variant(protocol: str, options: ProtocolOptions) -> str:
    """The protocol with what changes its numbers, such as `zero-shot:rs5m` or `presence:hit-uav:rgb`."""
    parts = [protocol]
    if protocol in PROMPTED:
        parts.append(options.prompts_of(protocol))
    if options.modality is not None and protocol in (*PROMPTED, "linear-probe"):
        parts.append(options.modality)
    return ":".join(parts)


def listing(tested: Bundle, validation: Bundle | None, train: Bundle | None) -> str:
    """SHA-256 of what was tested, and of what was chosen and fitted on."""
    hashes = [bundle.listing_sha256() for bundle in (tested, validation, train) if bundle is not None]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def write_outcome(
    output: Path,
    outcome: Outcome,
    *,
    protocol: str,
    options: ProtocolOptions,
    model: dict[str, str],
    dataset: dict[str, str],
    config: dict[str, Any],
    condition: PairCondition = "as_is",
) -> None:
    """Writes the results JSON, its figure, the cases, and the confusion matrix with its picture."""
    named = variant(protocol, options) + (f":{condition}" if condition != "as_is" else "")
    write_files(output, outcome, benchmark=protocol, protocol=named, model=model, dataset=dataset, config=config)
    if outcome.confusion is not None:
        figure = output.with_suffix(".confusion.png")
        confusion_figure(figure, outcome.confusion, outcome.names, f"{short(model['id'])}, {named}")


def write_files(
    output: Path,
    outcome: Outcome,
    *,
    benchmark: str,
    protocol: str,
    model: dict[str, str],
    dataset: dict[str, str],
    config: dict[str, Any],
    seed: int = 0,
) -> None:
    """Writes the results JSON, its figure and its cases."""
    write_results(
        output,
        benchmark=benchmark,
        protocol=protocol,
        metrics=outcome.metrics,
        model=model,
        dataset=dataset,
        config={**config, **outcome.notes},
        seed=seed,
    )
    outcome.cases.save(cases_path(output))
    names = protocol_named(protocol).shown([metric.name for metric in outcome.metrics])
    title = f"{protocol} on {Path(dataset['id']).name}: {short(model['id'])}"
    results_figure(output.with_suffix(".png"), title, names, outcome.metrics)


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Before anything is computed: the name must end in .json, be free unless it may be replaced, and be writable."""
    if output.suffix != ".json":
        raise ValueError(f"output is {output}, wanted a name that ends in .json.")
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{output} cannot be written: {folder} is no folder, or not yours to write to.")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists. Choose another --output, or pass --overwrite.")


def cases_path(results: Path) -> Path:
    """Where the cases of a results file are."""
    return results.with_suffix(".cases.npz")


def plain(value: Any) -> Any:
    """The same with paths as strings, for JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _refuse_shared(bundle: Bundle, others: Bundle, split: str) -> None:
    """Refuses images that are tested and were fitted or chosen on. Ids alone may be counted anew in each split."""
    _, here, there = np.intersect1d(bundle.id, others.id, return_indices=True)
    for name in ("rgb", "infrared", "fused"):
        one, other = getattr(bundle, name), getattr(others, name)
        if one is None or other is None or one.shape[1] != other.shape[1]:
            continue
        same = here[np.isclose(one[here], other[there], rtol=1e-4, atol=1e-6).all(axis=1)]
        if len(same):
            raise ValueError(
                f"{len(same)} tested images are in the {split} split too, such as {str(bundle.id[same[0]])!r}: id and "
                f"embedding are equal. Name a {split} split without them."
            )


def _split_message(protocol: str, split: str, missing: bool) -> str:
    if missing:
        return f"{protocol} chooses or fits on the {split} split; pass its bundle with --{split}."
    return f"{protocol} reads no {split} split; leave --{split} out."
