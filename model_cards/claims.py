"""What the papers claim, and what the studies here say of it.

A verdict follows from the intervals of paired differences between arms, or between two metrics of one arm; nobody
writes it. What could not be tested says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.intervals.seed_interval import over_seeds, paired, scale

Expected = Literal["more", "no more", "as much"]
Answer = Literal["holds", "open", "contradicted"]
Verdict = Literal["confirmed", "in part", "undecided", "mixed", "contradicted", "not tested"]
Records = Mapping[str, Mapping[str, Any]]
# What is too little to matter: two percentage points.
MARGIN = 0.02
_EXPLAINED = (
    "Differences in percentage points of recall at 10, unless another metric is named: means over training seeds on "
    "one fixed test set, paired, with 95 % intervals that say nothing of other test rows. *As much* and *no more* "
    f"allow {100 * MARGIN:.0f} points. **Undecided**: the intervals hold both answers; **mixed**: some tests hold, "
    "some are contradicted."
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that a claim compares with something else."""

    study: str
    """A study of `results/`."""
    arm: str
    metric: str
    over: str | None = None
    """The other arm; the same one when not given."""
    over_metric: str | None = None
    """The other metric; the same one when not given."""
    of: str
    """What is compared, in words."""
    expected: Expected = "more"
    """What the claim says of the first, beside the other."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper, or of its tables."""

    paper: Literal["FusionRS", "RS5M"]
    says: str
    tests: tuple[Difference, ...] = ()
    untested: str = ""
    """Why it could not be tested here."""


def measured(test: Difference, records: Records) -> dict[str, Any]:
    """Mean and interval of a difference, paired over seeds.

    Raises:
        ValueError: the study was not made, or not of these arms.
    """
    arms = records.get(test.study, {}).get("arms", {})
    sides = ((test.arm, test.metric), (test.over or test.arm, test.over_metric or test.metric))
    values = [arms.get(arm, {}).get(metric, {}).get("values", ()) for arm, metric in sides]
    if max(map(len, values)) < 2 or not min(map(len, values)):
        raise ValueError(
            f"{test.of!r} compares {' and '.join(f'{metric} of {arm!r}' for arm, metric in sides)} in {test.study!r}, "
            "which lacks one or its seeds; run that study, or leave the test out."
        )
    return over_seeds(paired(*values))


def answer(test: Difference, found: Mapping[str, Any]) -> Answer:
    """What the interval says of the expectation."""
    low, high = found["low"], found["high"]
    holds, contradicted = {
        "more": (low > 0, high < 0),
        "no more": (high < MARGIN, low > MARGIN),
        "as much": (low > -MARGIN and high < MARGIN, low > MARGIN or high < -MARGIN),
    }[test.expected]
    return "holds" if holds else "contradicted" if contradicted else "open"


def verdict(answers: Sequence[Answer]) -> Verdict:
    """What the tests of a claim say together."""
    if not answers:
        return "not tested"
    if "contradicted" in answers:
        return "mixed" if "holds" in answers else "contradicted"
    if "holds" not in answers:
        return "undecided"
    return "in part" if "open" in answers else "confirmed"


def claims_table(claims: tuple[Claim, ...], records: Records) -> str:
    """What the numbers are, then a row for each claim with those that decide."""
    lines = [_EXPLAINED, "", "| paper | claim | here | why |", "|---|---|---|---|"]
    for claim in claims:
        found = [(test, measured(test, records)) for test in claim.tests]
        why = "; ".join(_said(test, difference) for test, difference in found) or claim.untested
        said = verdict([answer(test, difference) for test, difference in found])
        lines.append(f"| {claim.paper} | {claim.says} | **{said}** | {why} |")
    return "\n".join(lines)


def _said(test: Difference, found: Mapping[str, Any]) -> str:
    times = scale(test.metric)
    mean, low, high = (times * found[name] for name in ("mean", "low", "high"))
    expected = "" if test.expected == "more" else f" ({test.expected})"
    return f"{test.of}{expected} {mean:+.1f} [{low:.1f}, {high:.1f}]"
