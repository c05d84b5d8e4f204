"""Renders the results of studies: docs/study.md with its figures, and the README's section.

python -m model_cards.study_page
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure

from evaluation.intervals.seed_interval import key, scale, with_interval

from .claims import claims_table
from .paper_claims import CLAIMS

RESULTS = Path(__file__).parent / "results"
COLOURS = ("#c2512e", "#2e6fa7", "#3c8a4d")
RECALL_AT_10 = "/recall_at_10"
START, END = "<!-- results -->", "<!-- end of results -->"
Record = Mapping[str, Any]
Exam = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """Where to render."""

    root: Path = Path(__file__).parents[1]
    """Folder of README.md and docs/."""
    results: Path = RESULTS
    """Folder of the studies: NAME.json as `train.study` wrote it, and NAME.md with what is said of it by hand."""


def main(argv: Sequence[str] | None = None) -> None:
    """Renders the page, its figures, and the README's section."""
    config = tyro.cli(PageConfig, args=argv, description=__doc__)
    records = read_records(config.results)
    docs = config.root / "docs"
    (docs / "study.md").write_text(page(records, config.results))
    for name, record in records.items():
        for exam in record["exams"]:
            draw(record, exam, docs / figure_name(name, exam))
    readme = config.root / "README.md"
    readme.write_text(with_section(readme.read_text(), section(records)))


def read_records(results: Path) -> dict[str, Record]:
    """The studies by name.

    Raises:
        FileNotFoundError: there is none.
    """
    records = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    if not records:
        raise FileNotFoundError(f"{results} holds no NAME.json; run `python -m train.study` and copy its study.json.")
    return records


def page(records: Mapping[str, Record], results: Path) -> str:
    """The whole page."""
    parts = [(results / "introduction.md").read_text().strip(), "## Claim by claim", claims_table(CLAIMS, records)]
    for name, record in records.items():
        parts += [f"## {record['question']}", described(record)]
        for exam in record["exams"]:
            parts += [f"### {exam['name'][0].upper()}{exam['name'][1:]}"] if exam["name"] else []
            parts += [asked(exam), table(record, exam), f"![{title(name, exam)}]({figure_name(name, exam)})"]
        if record["differences"]:
            counted = sum(len(_compared(record, arm)) for arm in record["differences"])
            parts += [
                f"Paired over seeds, against *{record['baseline']}*, in percentage points; {counted} intervals of "
                "95 %, of which one in twenty would miss by chance:",
                "\n".join(f"- {line}" for line in findings(record)),
            ]
        said = results / f"{name}.md"
        if said.exists():
            parts.append(said.read_text().strip())
    return "\n\n".join(parts) + "\n"


def figure_name(study: str, exam: Exam) -> str:
    """The file of an exam's figure."""
    return f"study-{title(study, exam).lower().replace(',', '').replace(' ', '-')}.png"


def title(study: str, exam: Exam) -> str:
    """A study's name, with that of the exam where it has one."""
    return f"{study} {exam['name']}".strip()


def described(record: Record) -> str:
    """What was run, from the record alone."""
    codes = ", ".join(f"`{_short(revision)}`" for revision in record["code_revisions"])
    return (
        f"`{record['command']}`: {record['steps']} steps a run; code {codes}; {record['date'][:10]}; torch "
        f"{record['versions']['torch']}. Means over seeds, with 95 % intervals of Student's t over the seeds on these "
        "test rows, in percent (PSNR in dB); of recalls: at 1 / at 10."
    )


def _short(revision: str) -> str:
    """The commit's first letters, and whether its files had been changed."""
    head, dash, mark = revision.partition("-")
    return f"{head[:8]}{dash}{mark}"


def asked(exam: Exam) -> str:
    """On what an exam was taken."""
    data = exam["dataset"]
    of = "manifest" if "manifest_sha256" in data else "listing"
    return f"`{exam['protocol']}` on `{data['id']}`, n = {exam['n']:,}, {of} `{data[f'{of}_sha256'][:12]}`."


def table(record: Record, exam: Exam) -> str:
    """Arms by metric, with parameters where arms differ in them."""
    metrics = shown_metrics(record, exam)
    sizes = record["parameters"]
    trained = [size["trained"] for size in sizes.values()]
    counted = bool(trained) and not exam["name"] and max(trained) > 1.1 * min(trained)
    header = [*(["parameters trained / all"] if counted else []), *map(spoken, metrics)]
    lines = [f"| arm | {' | '.join(header)} |", "|---" * (len(header) + 1) + "|"]
    for arm, found in record["arms"].items():
        cells = [cell(found, key(exam["name"], metric)) for metric in metrics]
        lines.append(f"| {arm} | {' | '.join([*([counts(sizes.get(arm))] if counted else []), *cells])} |")
    chance = [_chance_cell(record["chance"], key(exam["name"], metric)) for metric in metrics]
    if any(value != "–" for value in chance):
        lines.append(f"| chance | {' | '.join([*(['–'] if counted else []), *chance])} |")
    return "\n".join(lines)


def counts(size: Mapping[str, int] | None) -> str:
    """Parameters in thousands."""
    return "–" if size is None else f"{size['trained'] / 1000:,.0f} / {size['total'] / 1000:,.0f} thousand"


def shown_metrics(record: Record, exam: Exam) -> list[str]:
    """The metrics of an exam that any arm has."""
    metrics = [metric for panel in exam["panels"] for metric in panel]
    return [
        metric for metric in metrics if any(key(exam["name"], metric) in found for found in record["arms"].values())
    ]


def spoken(metric: str) -> str:
    """A metric in words; a recall at 10 is called by its direction."""
    words = metric.removesuffix(RECALL_AT_10).replace("_to_", " → ").replace("_", " ").replace("/", ": ")
    return words.replace("rgb", "RGB").replace("rouge l", "ROUGE-L").replace("psnr", "PSNR").replace("ssim", "SSIM")


def cell(found: Mapping[str, Any], name: str) -> str:
    """One metric of an arm; a dash where it has no such thing."""
    value = found.get(name)
    if value is None:
        return "–"
    first = found.get(name.replace("_at_10", "_at_1")) if name.endswith(RECALL_AT_10) else None
    return (
        f"{100 * first['mean']:.1f} / {with_interval(value, name)}" if first is not None else with_interval(value, name)
    )


def _chance_cell(chance: Mapping[str, float], name: str) -> str:
    if name not in chance:
        return "–"
    first = f"{100 * chance[name.replace('_at_10', '_at_1')]:.2f} / " if name.endswith(RECALL_AT_10) else ""
    return f"{first}{100 * chance[name]:.1f}"


def findings(record: Record) -> list[str]:
    """One line for each arm: where it is clearly above and below the baseline."""
    lines = []
    for arm in record["differences"]:
        above, below, open_ones = [], [], 0
        for exam, metric, found in _compared(record, arm):
            mean, low, high = (scale(metric) * found[name] for name in ("mean", "low", "high"))
            where = f"{exam['name']}: " if exam["name"] else ""
            said = f"{where}{spoken(metric)} ({mean:+.1f} [{low:.1f}, {high:.1f}])"
            if found["low"] > 0:
                above.append(said)
            elif found["high"] < 0:
                below.append(said)
            else:
                open_ones += 1
        parts = [f"above in {', '.join(above)}"] if above else []
        parts += [f"below in {', '.join(below)}"] if below else []
        parts += [f"no clear difference in {open_ones} metric{'s' * (open_ones != 1)}"] if open_ones else []
        lines.append(f"**{arm}**: {'; '.join(parts)}.")
    return lines


def _compared(record: Record, arm: str) -> list[tuple[Exam, str, Mapping[str, Any]]]:
    """The metrics in which an arm has a difference from the baseline, and the differences."""
    differences = record["differences"][arm]
    shown = [(exam, metric) for exam in record["exams"] for metric in shown_metrics(record, exam)]
    return [
        (exam, metric, differences[key(exam["name"], metric)])
        for exam, metric in shown
        if key(exam["name"], metric) in differences
    ]


def draw(record: Record, exam: Exam, path: Path) -> None:
    """What an exam reports of every arm, a panel for the metrics that belong together."""
    shown = shown_metrics(record, exam)
    panels = [found for panel in exam["panels"] if (found := [metric for metric in panel if metric in shown])]
    arms = list(record["arms"])
    lines = max(len(panel) for panel in panels)
    figure = Figure(figsize=(2.2 + 2.4 * len(panels), 0.9 + 0.18 * lines + 0.36 * len(arms)))
    places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, metrics in zip(places, panels, strict=True):
        for number, (metric, colour) in enumerate(zip(metrics, COLOURS, strict=False)):
            offset = 0.22 * (number - (len(metrics) - 1) / 2)
            above = (0, 4 + 12 * (len(metrics) - 1 - number))
            place.annotate(
                spoken(metric),
                (0.5, 1),
                above,
                "axes fraction",
                "offset points",
                color=colour,
                ha="center",
                fontsize=8,
            )
            _draw_metric(place, record, key(exam["name"], metric), offset, colour)
        place.set_title(" \n" * lines, fontsize=7)
        place.set_ylim(len(arms) - 0.5, -0.5)
        place.tick_params(labelsize=8)
        place.set_xlim(left=0)
        place.grid(axis="x", linewidth=0.4, alpha=0.5)
    places[0].set_yticks(range(len(arms)), arms)
    figure.supxlabel(_unit(record, exam, shown), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _unit(record: Record, exam: Exam, shown: Sequence[str]) -> str:
    recalls = "recall at 10, " if shown[0].endswith(RECALL_AT_10) else ""
    decibels = "; of PSNR dB" if any(scale(metric) == 1 for metric in shown) else ""
    has_chance = any(key(exam["name"], metric) in record["chance"] for metric in shown)
    return f"{recalls}%{decibels}{' (dotted: chance)' if has_chance else ''}"


def _draw_metric(place: Any, record: Record, name: str, offset: float, colour: str) -> None:
    times = scale(name)
    for row, found in enumerate(record["arms"].values()):
        if (value := found.get(name)) is None:
            continue
        if value["low"] is not None:
            ends = [max(times * value["low"], 0), min(times * value["high"], 100)]
            place.plot(ends, [row + offset] * 2, color=colour, linewidth=1.5)
        values = [times * one for one in value["values"]]
        place.plot(values, [row + offset] * len(values), "|", color=colour, markersize=5)
        place.plot(times * value["mean"], row + offset, "o", color=colour, markersize=4.5)
    if name in record["chance"]:
        place.axvline(times * record["chance"][name], color="#888888", linestyle=":", linewidth=1)


def section(records: Mapping[str, Record]) -> str:
    """What the README says: the claims of the papers, and what the studies say of them."""
    return claims_table(CLAIMS, records)


def with_section(readme: str, text: str) -> str:
    """The README with what stands between its marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md lacks {START} or {END}; put both where the results belong.")
    return f"{before}{START}\n\n{text}\n\n{END}{after}"


if __name__ == "__main__":
    main()
