"""The benchmark of the handler, in seconds: it counts what happened, and notices what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.handler import is_same, percentiles
from benchmarks.handler_requests import hostile_requests, known_requests

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_short_run_finds_no_wrong_answer_and_counts_every_request(tmp_path: Path) -> None:
    options = ["--seconds", "3", "--clients", "4", "--warm-up-requests", "40", "--hostile-share", "0.5"]
    command = [sys.executable, "-m", "benchmarks.handler", "--output", str(tmp_path / "handler.json"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    record = json.loads((tmp_path / "handler.json").read_text())
    # Three seconds on a busy machine say nothing of time and memory.
    assert set(record["broken"]) <= {"health", "memory"}, done.stderr
    assert (done.returncode != 0) == bool(record["broken"])
    assert record["wrong_answers"] == 0
    assert record["server_alive"]
    good, hostile = record["good_milliseconds"]["n"], record["hostile_milliseconds"]["n"]
    assert record["requests"] == good + hostile == sum(record["statuses"].values())
    assert record["statuses"]["200"] == good
    assert sum(record["hostile_requests"].values()) == hostile > 0


def test_known_requests_are_the_same_in_every_run() -> None:
    assert known_requests(0) == known_requests(0)
    assert known_requests(0) != known_requests(1)
    assert all(400 <= request.status < 500 for request in hostile_requests())


def test_answers_are_the_same_up_to_rounding_alone() -> None:
    answer = [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.25}]
    assert is_same([{"label": "a", "score": 0.500001}, {"label": "b", "score": 0.25}], answer)
    for wrong in ([{"label": "a", "score": 0.51}, answer[1]], answer[:1], answer[::-1], {"error": {}}, None):
        assert not is_same(wrong, answer)


def test_percentiles_of_a_hundred_values() -> None:
    found = percentiles([float(value) for value in range(101)])
    assert found == {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9, "max": 100, "n": 101}
