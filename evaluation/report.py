"""Compares results: one table and one figure per protocol and test set, with paired differences.

python -m evaluation report results/a results/b --output report
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from .cases import load_cases, paired_difference
from .predictions import read_json
from .protocols import PROTOCOLS, protocol_named
from .report_figures import formatted, interval_figure, readable, short_names
from .results import Metric, check_record
from .score import cases_path


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Compare results: Markdown tables, figures, and differences of models on the same cases."""

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Results files, or folders that are searched for them."""
    output: Path = Path("report")
    """Folder of report.md and its figures."""

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("no results were given; name at least one results file or folder.")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A results file and what is in it."""

    path: Path
    record: dict[str, Any]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Metrics by name."""
        return {metric["name"]: metric for metric in self.record["metrics"]}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Results of one protocol on one test set, the metrics that are shown, and the differences to the first."""

    members: list[Result]
    names: list[str]
    differences: list[tuple[str, int, Metric]]


def write_report(config: ReportConfig) -> Path:
    """Writes `report.md` and one figure per protocol and test set, and returns the path of the first.

    Everything is read and compared before anything is written.
    """
    results, skipped = find_results(config.results)
    comparisons = [compared(members) for _, members in sorted(grouped(results).items())]
    parts = ["# Evaluation", ""]
    for comparison in comparisons:
        parts += _section(comparison, config.output)
    if skipped:
        parts += [f"Not results, and left out: {', '.join(f'`{path.name}`' for path in skipped)}.", ""]
    config.output.mkdir(parents=True, exist_ok=True)
    path = config.output / "report.md"
    path.write_text("\n".join(parts))
    return path


def find_results(places: Sequence[Path]) -> tuple[list[Result], list[Path]]:
    """Every results file of the places, in order, and the JSON files in the folders that are none.

    Raises:
        ValueError: A file that was named is no result, a file is no JSON, or nothing was found.
    """
    results: list[Result] = []
    skipped: list[Path] = []
    seen: set[Path] = set()
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist.")
        for path in sorted(place.rglob("*.json")) if place.is_dir() else [place]:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            record = read_json(path)
            if place.is_dir() and not (isinstance(record, dict) and {"protocol", "metrics"} <= set(record)):
                skipped.append(path)
                continue
            if not isinstance(record, dict):
                raise ValueError(f"{path} is no results file: it holds a {type(record).__name__}, wanted an object.")
            try:
                check_record(record)
                protocol_named(record["protocol"])
            except ValueError as error:
                raise ValueError(f"{path} is no results file: {error}") from error
            results.append(Result(path=path, record=record))
    if not results:
        raise ValueError(f"no results in {', '.join(map(str, places))}.")
    return results, skipped


def grouped(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results that compare: one protocol with its variant, on one test set."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        key = (result.record["protocol"], result.record["dataset"]["listing_sha256"])
        groups.setdefault(key, []).append(result)
    return groups


def compared(members: list[Result]) -> Comparison:
    """Which metrics of a group are shown, and their differences."""
    found = list(dict.fromkeys(name for member in members for name in member.metrics))
    names = protocol_named(members[0].record["protocol"]).shown(found)
    return Comparison(members=members, names=names, differences=differences(members, names))


def differences(members: Sequence[Result], names: Sequence[str]) -> list[tuple[str, int, Metric]]:
    """Each other result minus the first, per metric whose cases both kept: name, index of the other, difference.

    Raises:
        ValueError: Cases cannot be read, or two results of one test set kept those of other images or texts.
    """
    found = []
    if not cases_path(members[0].path).is_file():
        return []
    first = load_cases(cases_path(members[0].path))
    for index, member in enumerate(members[1:], start=1):
        if not cases_path(member.path).is_file():
            continue
        other = load_cases(cases_path(member.path))
        for name in names:
            try:
                difference = paired_difference(first, other, name)
            except ValueError as error:
                pair = f"{cases_path(members[0].path)} and {cases_path(member.path)}"
                raise ValueError(f"{pair} do not compare: {error} Report them apart, or make both again.") from error
            if difference is not None:
                found.append((name, index, difference))
    return found


def _section(comparison: Comparison, output: Path) -> list[str]:
    members, names = comparison.members, comparison.names
    protocol, dataset = members[0].record["protocol"], members[0].record["dataset"]
    data, listing = dataset["id"], dataset["listing_sha256"]
    about = protocol_named(protocol)
    ids = [member.record["model"]["id"] for member in members]
    models = [name.replace("|", "\\|") for name in labels(ids, members)]
    figure = re.sub(r"[^a-z0-9]+", "-", f"{protocol}-{listing[:8]}".lower()) + ".png"
    interval_figure(
        output / figure,
        f"{protocol} on {Path(data).name}",
        names,
        labels(short_names(ids), members),
        [member.metrics for member in members],
    )
    lines = [f"## {protocol}", "", f"{about.says} Source: {about.source}. Test set: `{data}` (`{listing[:12]}`).", ""]
    lines += [f"![{protocol}]({figure})", ""]
    by_chance = [_chance_cell(name, members) for name in names]
    head = ["metric", *(["chance"] if any(by_chance) else []), *models]
    lines += ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for name, luck in zip(names, by_chance, strict=True):
        cells = [_cell(name, member.metrics.get(name)) for member in members]
        lines.append("| " + " | ".join([readable(name), *([luck] if any(by_chance) else []), *cells]) + " |")
    lines.append("")
    if comparison.differences:
        lines += [f"Difference to {models[0]}, the same cases resampled for both:", ""]
        lines += ["| metric | model | difference | 95 % interval |", "|---|---|--:|--:|"]
        lines += [_difference_row(name, models[index], one) for name, index, one in comparison.differences]
        lines.append("")
    return lines


def labels(names: Sequence[str], members: Sequence[Result]) -> list[str]:
    """What to call each model: its name, with the results file where two are called alike."""
    files = short_names([str(member.path).removesuffix(".json") for member in members])
    return [name if names.count(name) == 1 else f"{name} ({file})" for name, file in zip(names, files, strict=True)]


def table(results: Sequence[Metric]) -> str:
    """A plain table for the terminal, without chance."""
    shown = [metric for metric in results if not metric.name.startswith(("chance/", "class/", "source/"))]
    return "\n".join(f"{metric.name:44} {_span(metric.name, vars(metric))}  n={metric.n}" for metric in shown)


def protocol_list() -> str:
    """Every protocol with its source and one sentence."""
    return "\n\n".join(
        f"{one.name}\n  {one.says}\n  Source: {one.source}.\n  Reads: {one.arrays}." for one in PROTOCOLS
    )


def _span(name: str, metric: dict[str, Any]) -> str:
    value, low, high = (formatted(name, metric[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _cell(name: str, metric: dict[str, Any] | None) -> str:
    return "" if metric is None else f"{_span(name, metric)}, n = {metric['n']:,}"


def _chance_cell(name: str, members: Sequence[Result]) -> str:
    for member in members:
        for key in (f"chance/{name}", f"chance/{name.split('/', 1)[-1]}"):
            if key in member.metrics:
                return formatted(name, member.metrics[key]["value"])
    return ""


def _difference_row(name: str, model: str, one: Metric) -> str:
    clear = "**" if one.low > 0 or one.high < 0 else ""
    value, low, high = (formatted(name, each, signed=True) for each in (one.value, one.low, one.high))
    unit = " pp" if value.endswith("%") else ""
    value, low, high = (each.removesuffix("%") for each in (value, low, high))
    return f"| {readable(name)} | {model} | {clear}{value}{unit}{clear} | [{low}, {high}] |"
