"""Results on a card: tables with intervals, `model-index`, and `.eval_results/*.yaml`, all from results JSON.

What comes out depends on the records alone, so that a card can be compared with what its records say.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from dataset_scripts.markdown_escape import escape, table
from dataset_scripts.publishing.public_folder import last_names
from evaluation.pair_conditions import PairCondition
from evaluation.protocols import protocol_named
from evaluation.report_figures import formatted, readable
from evaluation.results import check_record

RESULTS, EVAL_RESULTS = "results", ".eval_results"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A results file as it is published."""

    name: str
    """File name in `results/`, without its suffix."""
    record: Mapping[str, Any]

    @property
    def shown(self) -> list[Mapping[str, Any]]:
        """The main metrics."""
        metrics = {metric["name"]: metric for metric in self.record["metrics"]}
        return [metrics[name] for name in protocol_named(self.record["protocol"]).shown(list(metrics))]

    @property
    def hub_dataset(self) -> str | None:
        """The data, where it is a dataset of the Hub."""
        name: str = self.record["dataset"]["id"]
        return name if "/" in name else None


def load_results(paths: Sequence[Path], *, weights: str, repo: str, datasets: Mapping[str, str]) -> list[Scored]:
    """Read results of these weights and no others, as they are published: without paths of this machine.

    Args:
        paths: Results files.
        weights: SHA-256 over the weights.
        repo: What the model is called from now on.
        datasets: What the data of a result is called on the Hub, by its identifier there.

    Raises:
        ValueError: A file is no result, or a result of other weights, or two have one name.
    """
    found: list[Scored] = []
    for path in paths:
        record = _checked(path)
        held = record["model"].get("weights_sha256")
        if held != weights:
            other = f"weights {held}" if held else f"{' and '.join(sorted(record['model']))}, which name no weights"
            raise ValueError(
                f"{path} is a result of {other}; this model has the weights {weights}. Evaluate this model, or leave "
                "the file out."
            )
        if path.stem in [one.name for one in found]:
            raise ValueError(f"two results files are called {path.stem}; rename one, {RESULTS}/ keeps their names.")
        found.append(Scored(name=path.stem, record=_public(record, repo, datasets)))
    return found


def identifiers(paths: Sequence[Path]) -> set[str]:
    """What results call their data."""
    return {_checked(path)["dataset"]["id"] for path in paths}


def read_published(folder: Path) -> list[Scored]:
    """The records in an assembled folder."""
    files = sorted((folder / RESULTS).glob("*.json"))
    return [Scored(name=path.stem, record=json.loads(path.read_text(encoding="utf-8"))) for path in files]


def results_text(scored: Sequence[Scored]) -> str:
    """Tables, one per results file."""
    return "\n\n".join(_section(one) for one in sorted(scored, key=lambda one: one.name))


def index_entries(scored: Sequence[Scored], *, task: str, repo: str) -> list[EvalResult]:
    """Main metrics for `model-index`; each points to the file with its interval."""
    return [
        EvalResult(
            task_type=task,
            dataset_type=one.hub_dataset or one.record["dataset"]["id"],
            dataset_name=one.record["dataset"]["id"],
            metric_type="/".join([*conditions(one.record), metric["name"]]),
            metric_name=f"{readable(metric['name'])} ({one.record['protocol']})",
            metric_value=metric["value"],
            source_name=f"{RESULTS}/{one.name}.json, with 95 % intervals",
            source_url=f"https://huggingface.co/{repo}/blob/main/{RESULTS}/{one.name}.json",
        )
        for one in sorted(scored, key=lambda one: one.name)
        for metric in one.shown
    ]


def conditions(record: Mapping[str, Any]) -> list[str]:
    """What happened to the pairs of a result, such as `no_rgb`; nothing for pairs as they are."""
    return [part for part in record["protocol"].split(":")[1:] if part in get_args(PairCondition)]


def eval_files(scored: Sequence[Scored], *, repo: str) -> dict[str, str]:
    """`.eval_results/` files: the first main metric of each result on a dataset of the Hub, as its task's value."""
    files = {}
    for one in scored:
        if one.hub_dataset is None or conditions(one.record):  # of damaged pairs: another task than the dataset's
            continue
        metric, record = one.shown[0], one.record
        low, high = (formatted(metric["name"], metric[end]) for end in ("low", "high"))
        entry = EvalResultEntry(
            dataset_id=one.hub_dataset,
            task_id=record["protocol"].split(":")[0],
            value=metric["value"],
            date=record["date"],
            source_url=f"https://huggingface.co/{repo}/blob/main/{RESULTS}/{one.name}.json",
            source_name="results JSON",
            notes=f"{readable(metric['name'])}, protocol {record['protocol']}, 95 % interval [{low}, {high}], "
            f"n = {metric['n']}",
        )
        files[f"{EVAL_RESULTS}/{one.name}.yaml"] = yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    return files


def _checked(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check_record(record)
        protocol_named(record["protocol"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no results file: {error}") from error
    return record


def _section(one: Scored) -> str:
    record = one.record
    about = protocol_named(record["protocol"])
    rows = [
        (
            readable(metric["name"]),
            formatted(metric["name"], metric["value"]),
            f"{formatted(metric['name'], metric['low'])} to {formatted(metric['name'], metric['high'])}",
            metric["n"],
            _chance(record, metric["name"]),
        )
        for metric in one.shown
    ]
    head = ("metric", "value", "95 % interval", "n", "chance")
    shown = len(head) if any(row[-1] for row in rows) else len(head) - 1
    data = escape(record["dataset"]["id"])
    revision = escape(record["code_revision"] or "unknown")
    return "\n\n".join(
        [
            f"### {escape(record['protocol'])} on {data}",
            f"{about.says} Source: {about.source}. Seed {record['seed']}; code {revision}; list of the data "
            f"`{escape(record['dataset']['listing_sha256'])}`. All metrics: "
            f"[{RESULTS}/{one.name}.json]({RESULTS}/{one.name}.json).",
            table(head[:shown], [row[:shown] for row in rows]),
        ]
    )


def _chance(record: Mapping[str, Any], name: str) -> str:
    values = {metric["name"]: metric["value"] for metric in record["metrics"]}
    for key in (f"chance/{name}", f"chance/{name.split('/', 1)[-1]}"):
        if key in values:
            return formatted(name, values[key])
    return ""


def _public(record: Mapping[str, Any], repo: str, datasets: Mapping[str, str]) -> dict[str, Any]:
    """The record without folders of this machine, and with the names that model and data have on the Hub."""
    data: str = record["dataset"]["id"]
    name = datasets.get(data, Path(data).name)
    return {
        **record,
        "model": {**record["model"], "id": repo},
        "dataset": {**record["dataset"], "id": name},
        "config": last_names(record["config"]),
    }
