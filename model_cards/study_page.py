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

RESULTS = Path(__file__).parent / "results"
# Directions beside each other, as a reader compares them.
GROUPS = (
    ("infrared_to_text", "text_to_infrared"),
    ("infrared_to_infrared_text", "infrared_text_to_infrared"),
    ("rgb_to_text", "text_to_rgb"),
    ("rgb_to_infrared", "infrared_to_rgb"),
    ("fused_to_text", "text_to_fused"),
)
SHOWN = 10
COLOURS = ("#c2512e", "#2e6fa7")
START, END = "<!-- results -->", "<!-- end of results -->"
Record = Mapping[str, Any]


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
        draw(record, docs / f"study-{name}.png")
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
    parts = [(results / "introduction.md").read_text().strip()]
    for name, record in records.items():
        parts += [
            f"## {record['question']}",
            described(record),
            table(record),
            f"![{record['study']}](study-{name}.png)",
            f"Paired over seeds, against *{record['baseline']}*, recall at {SHOWN}:",
            "\n".join(f"- {line}" for line in findings(record)),
        ]
        said = results / f"{name}.md"
        if said.exists():
            parts.append(said.read_text().strip())
    return "\n\n".join(parts) + "\n"


def described(record: Record) -> str:
    """What was run, from the record alone."""
    data = record["dataset"]
    return (
        f"`python -m train.study {record['study']} --seeds {record['seeds']}`, {record['steps']} steps a run; "
        f"{record['n']} test rows; dataset manifest `{data['manifest_sha256'][:12]}`, code "
        f"`{record['code_revision'][:8]}`, {record['date'][:10]}, torch {record['versions']['torch']}. Means over "
        f"seeds, with 95 % intervals of Student's t, in percent: recall at 1 / at {SHOWN}."
    )


def table(record: Record) -> str:
    """Arms by direction: recall at 1, and recall at 10 with its interval."""
    directions = shown_directions(record)
    lines = [f"| arm | {' | '.join(map(spoken, directions))} |", "|---" * (len(directions) + 1) + "|"]
    for arm, metrics in record["arms"].items():
        lines.append(f"| {arm} | {' | '.join(cell(metrics, one) for one in directions)} |")
    chance = [record["chance"][f"{one}/recall_at_{SHOWN}"] for one in directions]
    firsts = [record["chance"][f"{one}/recall_at_1"] for one in directions]
    lines.append(
        f"| chance | {' | '.join(f'{100 * a:.2f} / {100 * b:.1f}' for a, b in zip(firsts, chance, strict=True))} |"
    )
    return "\n".join(lines)


def shown_directions(record: Record) -> list[str]:
    """The directions that any arm was measured in, in the order of the groups."""
    return [one for group in GROUPS for one in group if f"{one}/recall_at_{SHOWN}" in record["chance"]]


def spoken(direction: str) -> str:
    """A direction in words."""
    return direction.replace("_to_", " → ").replace("_", " ").replace("rgb", "RGB")


def cell(metrics: Mapping[str, Any], direction: str) -> str:
    """One arm in one direction; a dash where the arm has no such embedding."""
    first, found = metrics.get(f"{direction}/recall_at_1"), metrics.get(f"{direction}/recall_at_{SHOWN}")
    if first is None or found is None:
        return "–"
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{100 * first['mean']:.1f} / {mean:.1f} [{low:.1f}, {high:.1f}]"


def findings(record: Record) -> list[str]:
    """One line for each arm: where it is clearly above and below the baseline."""
    lines = []
    for arm, metrics in record["differences"].items():
        above, below, open_ones = [], [], 0
        for direction in shown_directions(record):
            found = metrics.get(f"{direction}/recall_at_{SHOWN}")
            if found is None:
                continue
            mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
            said = f"{spoken(direction)} ({mean:+.1f} [{low:.1f}, {high:.1f}])"
            if found["low"] > 0:
                above.append(said)
            elif found["high"] < 0:
                below.append(said)
            else:
                open_ones += 1
        parts = [f"above in {', '.join(above)}"] if above else []
        parts += [f"below in {', '.join(below)}"] if below else []
        parts += [f"no clear difference in {open_ones} direction{'s' * (open_ones != 1)}"] if open_ones else []
        lines.append(f"**{arm}**: {'; '.join(parts)}.")
    return lines


def draw(record: Record, path: Path) -> None:
    """Recall at 10 of every arm, a panel for each pair of directions."""
    groups = [group for group in GROUPS if f"{group[0]}/recall_at_{SHOWN}" in record["chance"]]
    arms = list(record["arms"])
    figure = Figure(figsize=(2 + 2.4 * len(groups), 1.2 + 0.36 * len(arms)))
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)
    for panel, group in zip(panels[0], groups, strict=True):
        for offset, colour, direction in zip((-0.14, 0.14), COLOURS, group, strict=True):
            above = (0, 16 if offset < 0 else 4)
            panel.annotate(
                spoken(direction),
                (0.5, 1),
                above,
                "axes fraction",
                "offset points",
                color=colour,
                ha="center",
                fontsize=8,
            )
            for place, arm in enumerate(arms):
                found = record["arms"][arm].get(f"{direction}/recall_at_{SHOWN}")
                if found is None:
                    continue
                mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
                panel.plot([max(low, 0), min(high, 100)], [place + offset] * 2, color=colour, linewidth=1.5)
                values = [100 * value for value in found["values"]]
                panel.plot(values, [place + offset] * len(values), "|", color=colour, markersize=5)
                panel.plot(mean, place + offset, "o", color=colour, markersize=4.5)
        panel.axvline(
            100 * record["chance"][f"{group[0]}/recall_at_{SHOWN}"], color="#888888", linestyle=":", linewidth=1
        )
        panel.set_title(" \n ", fontsize=8)
        panel.set_ylim(len(arms) - 0.5, -0.5)
        panel.tick_params(labelsize=8)
        panel.set_xlim(left=0)
        panel.grid(axis="x", linewidth=0.4, alpha=0.5)
    panels[0][0].set_yticks(range(len(arms)), arms)
    figure.supxlabel(f"recall at {SHOWN}, % (dotted: chance)", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def section(records: Mapping[str, Record]) -> str:
    """What the README says: each question, and the arms that were clearly above their baseline."""
    lines = []
    for record in records.values():
        lines.append(f"- {record['question']} Against *{record['baseline']}*, {record['seeds']} seeds:")
        lines += [f"  - {line}" for line in findings(record)]
    return "\n".join(lines)


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
