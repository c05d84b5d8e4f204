"""What the papers claim, and what the studies here say of it.

A verdict follows from the intervals of paired differences between arms, or between two metrics of one arm; nobody
writes it. What could not be tested says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.seed_interval import over_seeds, paired

Verdict = Literal["confirmed", "in part", "not confirmed", "not tested"]
_EXPLAINED = (
    "Differences in percentage points of recall at 10, unless another metric is named: means over seeds, paired, with "
    "95 % intervals."
)
Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that a claim expects to be above something else, or equal to it."""

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
    is_equal: bool = False
    """Whether the claim is that there is no difference."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper, or of its tables."""

    paper: Literal["FusionRS", "RS5M"]
    says: str
    tests: tuple[Difference, ...] = ()
    untested: str = ""
    """Why it could not be tested here."""


def measured(test: Difference, records: Records) -> dict[str, Any]:
    """Mean and interval of a difference, paired over seeds."""
    arms = records[test.study]["arms"]
    one = arms[test.arm][test.metric]["values"]
    other = arms[test.over or test.arm][test.over_metric or test.metric]["values"]
    return over_seeds(paired(one, other))


def holds(test: Difference, found: Mapping[str, Any]) -> bool:
    """Whether the interval says what the claim expects."""
    return bool(found["low"] <= 0 <= found["high"] if test.is_equal else found["low"] > 0)


def verdict(claim: Claim, records: Records) -> Verdict:
    """Confirmed where every test holds, in part where some do."""
    if not claim.tests:
        return "not tested"
    right = [holds(test, measured(test, records)) for test in claim.tests]
    if all(right):
        return "confirmed"
    return "in part" if any(right) else "not confirmed"


def claims_table(claims: tuple[Claim, ...], records: Records) -> str:
    """What the numbers are, then a row for each claim with those that decide."""
    lines = [_EXPLAINED, "", "| paper | claim | here | why |", "|---|---|---|---|"]
    for claim in claims:
        why = "; ".join(_said(test, measured(test, records)) for test in claim.tests) or claim.untested
        lines.append(f"| {claim.paper} | {claim.says} | **{verdict(claim, records)}** | {why} |")
    return "\n".join(lines)


def _said(test: Difference, found: Mapping[str, Any]) -> str:
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{test.of} {mean:+.1f} [{low:.1f}, {high:.1f}]"
