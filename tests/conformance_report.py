"""Pytest plugin of the conformance run: seeds every case, and compares what was skipped, and why, with a kept list."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import set_seed

Skips = set[tuple[str, str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--skips", type=Path, help="table of test and reason of every skipped case")
    group.addoption("--skips-action", choices=("compare", "update", "ignore"), default="ignore")


def pytest_configure(config: pytest.Config) -> None:
    action = config.getoption("--skips-action")
    if action == "compare" and torch.cuda.is_available():
        action = "ignore"  # the list is that of a machine without accelerator
    config.pluginmanager.register(SkipKeeper(config.getoption("--skips"), action), "skip-keeper")


class SkipKeeper:
    """Keeps the list of skipped cases: a new skip and a vanished skip fail the run."""

    def __init__(self, path: Path, action: str):
        self.path = path
        self.action = action
        self.found: Skips = set()
        self.subtests: Counter[str] = Counter()
        self.verdict: list[str] = []

    def pytest_runtest_setup(self) -> None:
        set_seed(0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if isinstance(report, pytest.SubtestReport):
            self.subtests[report.outcome] += 1
        if report.outcome == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.found.add((report.nodeid.removeprefix("tests/"), normalise_reason(reason)))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.action == "ignore":
            self.verdict = [f"{self.path.name} is compared only by a whole run on a machine without CUDA"]
        elif exitstatus:
            self.verdict = [f"{self.path.name} is compared and written only by a run that passes"]
        elif self.action == "update":
            write_skips(self.path, self.found)
            self.verdict = [f"wrote {len(self.found)} skips to {self.path.name}"]
        elif changes := describe_changes(read_skips(self.path), self.found):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self.verdict = [*changes, f"the skips are not those of {self.path.name}: explain them, then run --update"]
        else:
            self.verdict = [f"the {len(self.found)} skips are those of {self.path.name}"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.subtests.items()))
        for line in (*self.verdict, f"subtests: {counts or 'none'}"):
            terminalreporter.write_line(f"conformance: {line}")


def normalise_reason(reason: str) -> str:
    """One line, without the addresses and folders that differ between machines."""
    reason = re.sub(r"^Skipped: ", "", " ".join(reason.split()))
    reason = re.sub(r"0x[0-9a-f]+", "0x…", reason)
    return re.sub(r"/\S+/", "…/", reason)


def read_skips(path: Path) -> Skips:
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["test"], row["reason"]) for row in csv.DictReader(file, delimiter="\t")}


def write_skips(path: Path, skips: Skips) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("test", "reason"))
        writer.writerows(sorted(skips))


def describe_changes(expected: Skips, found: Skips) -> list[str]:
    """What is skipped for the first time, and what is skipped no longer."""
    return [
        f"{name}: {test}: {reason}"
        for name, changed in (("new skip", found - expected), ("vanished skip", expected - found))
        for test, reason in sorted(changed)
    ]
