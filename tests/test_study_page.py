"""The page of studies says what their JSON says, and only what its intervals leave no doubt of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model_cards import study_page
from model_cards.claims import Claim, Difference, answer, claims_table, measured, verdict
from model_cards.paper_claims import CLAIMS
from model_cards.study_page import END, RESULTS, START, findings, read_records, section, table, with_section

ROOT = Path(__file__).parents[1]
DIRECTION = "infrared_to_text"
METRIC = f"{DIRECTION}/recall_at_10"
UNTESTED = Claim(paper="RS5M", says="It is larger.", untested="too large")


def spread(mean: float, half: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": [mean - half / 2, mean, mean + half / 2]}


def metrics(mean: float, half: float) -> dict[str, Any]:
    return {f"{DIRECTION}/recall_at_{k}": spread(mean * k / 10, half) for k in (1, 5, 10)}


def exam(protocol: str, name: str) -> dict[str, Any]:
    dataset = {"id": "fusionrs", "manifest_sha256": "a" * 64}
    panels = [[f"{DIRECTION}/recall_at_10", "text_to_infrared/recall_at_10"], ["mean_average_precision"]]
    return {"benchmark": "b", "protocol": protocol, "name": name, "n": 1000, "dataset": dataset, "panels": panels}


@pytest.fixture
def record() -> dict[str, Any]:
    arms = {"plain": metrics(0.2, 0.01), "better": metrics(0.3, 0.01), "worse": metrics(0.1, 0.01)}
    arms["plain"]["RGB missing/mean_average_precision"] = {"mean": 0.5, "low": None, "high": None, "values": [0.5]}
    arms["better"]["RGB missing/mean_average_precision"] = spread(0.7, 0.1)
    differences = {"better": metrics(0.1, 0.05), "worse": metrics(-0.1, 0.05), "unclear": metrics(0.1, 0.2)}
    differences["better"]["RGB missing/mean_average_precision"] = spread(0.2, 0.1)
    return {
        "study": "one",
        "question": "Does it help?",
        "baseline": "plain",
        "command": "python -m train.study one --seeds 3 --data fusionrs --output runs/one",
        "code_revisions": ["b" * 40, "c" * 40],
        "versions": {"torch": "2.13.0"},
        "date": "2026-01-02T00:00:00+00:00",
        "seeds": 3,
        "steps": 220,
        "exams": [exam("retrieval-fusionrs", ""), exam("retrieval-fusionrs:no_rgb", "RGB missing")],
        "parameters": {"plain": {"trained": 1000, "total": 2000}, "better": {"trained": 2000, "total": 2000}},
        "chance": {f"{DIRECTION}/recall_at_{k}": k / 1000 for k in (1, 5, 10)},
        "arms": arms,
        "differences": differences,
    }


@pytest.fixture
def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_page, "CLAIMS", (UNTESTED,))


def test_what_is_said_follows_from_the_intervals(record: dict[str, Any]) -> None:
    assert findings(record) == [
        "**better**: above in infrared → text (+10.0 [5.0, 15.0]), RGB missing: mean average precision "
        "(+20.0 [10.0, 30.0]).",
        "**worse**: below in infrared → text (-10.0 [-15.0, -5.0]).",
        "**unclear**: no clear difference in 1 metric.",
    ]
    first, damaged = (table(record, one).splitlines() for one in record["exams"])
    assert first[0] == "| arm | parameters trained / all | infrared → text |"
    assert first[2] == "| plain | 1 / 2 thousand | 2.0 / 20.0 [19.0, 21.0] |"
    assert first[-1] == "| chance | – | 0.10 / 1.0 |"
    assert damaged[0] == "| arm | mean average precision |"
    assert damaged[2:] == ["| plain | 50.0 |", "| better | 70.0 [60.0, 80.0] |", "| worse | – |"]


@pytest.mark.usefixtures("no_claims")
def test_the_page_has_every_number_and_a_figure(record: dict[str, Any], tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"# Title\n\n{START}\nold\n{END}\n\nrest\n")
    (results / "one.json").write_text(json.dumps(record))
    (results / "introduction.md").write_text("# Studies\n")
    (results / "one.md").write_text("What surprised us.\n")
    study_page.main(["--root", str(tmp_path), "--results", str(results)])
    page = (tmp_path / "docs" / "study.md").read_text()
    assert "## Does it help?" in page
    assert "30.0 [29.0, 31.0]" in page
    assert page.endswith("What surprised us.\n")
    assert "### RGB missing\n\n`retrieval-fusionrs:no_rgb` on `fusionrs`, n = 1,000, manifest `aaaaaaaaaaaa`." in page
    for name in ("study-one.png", "study-one-rgb-missing.png"):
        assert f"]({name})" in page
        with Image.open(tmp_path / "docs" / name) as figure:
            assert len(figure.convert("RGB").getcolors(1 << 20)) > 10
    readme = (tmp_path / "README.md").read_text()
    assert "\nold\n" not in readme
    assert readme.startswith("# Title\n\n" + START)
    assert readme.endswith("\n\nrest\n")
    assert "| RS5M | It is larger. | **not tested** | too large |" in readme


def test_what_cannot_be_rendered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no NAME\.json"):
        read_records(tmp_path)
    with pytest.raises(ValueError, match=r"README\.md lacks"):
        with_section("# Title", "text")


def test_the_pages_of_this_project_are_rendered_from_its_results() -> None:
    records = read_records(RESULTS)
    assert (ROOT / "docs" / "study.md").read_text() == study_page.page(records, RESULTS)
    readme = (ROOT / "README.md").read_text()
    assert readme == with_section(readme, section(records))


BETTER, WORSE = (Difference(study="one", arm=arm, over="plain", metric=METRIC, of=arm) for arm in ("better", "worse"))


def test_a_difference_is_of_arms_or_of_metrics(record: dict[str, Any]) -> None:
    records = {"one": record}
    assert measured(BETTER, records)["values"] == pytest.approx([0.1, 0.1, 0.1])
    within = Difference(
        study="one", arm="better", metric=METRIC, over_metric=f"{DIRECTION}/recall_at_5", of="10 over 5"
    )
    assert measured(within, records)["mean"] == pytest.approx(0.15)
    with pytest.raises(
        ValueError, match=r"'better' compares .* in 'two', which lacks one or its seeds; run that study"
    ):
        measured(replace(BETTER, study="two"), records)
    single = replace(BETTER, metric="RGB missing/mean_average_precision")
    assert len(measured(single, records)["values"]) == 3
    with pytest.raises(ValueError, match="lacks one or its seeds"):
        measured(replace(single, arm="plain"), records)


@pytest.mark.parametrize(
    ("expected", "low", "high", "said"),
    [
        ("more", 0.001, 0.2, "holds"),
        ("more", -0.001, 0.2, "open"),
        ("more", -0.2, -0.001, "contradicted"),
        ("no more", -0.2, 0.019, "holds"),
        ("no more", -0.2, 0.021, "open"),
        ("no more", 0.021, 0.2, "contradicted"),
        ("as much", -0.019, 0.019, "holds"),
        ("as much", -0.03, 0.019, "open"),
        ("as much", -0.2, -0.021, "contradicted"),
    ],
)
def test_an_interval_answers_what_is_expected(expected: Any, low: float, high: float, said: str) -> None:
    assert answer(replace(BETTER, expected=expected), {"low": low, "high": high}) == said


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["holds", "holds"], "confirmed"),
        (["holds", "open"], "in part"),
        (["open"], "undecided"),
        (["holds", "contradicted", "open"], "mixed"),
        (["contradicted", "open"], "contradicted"),
        ([], "not tested"),
    ],
)
def test_a_verdict_tells_refuted_from_undecided(answers: Any, said: str) -> None:
    assert verdict(answers) == said


def test_a_claim_is_a_row_with_its_numbers(record: dict[str, Any]) -> None:
    claims = (Claim(paper="FusionRS", says="so", tests=(BETTER, WORSE)), UNTESTED)
    assert claims_table(claims, {"one": record}).splitlines()[4:] == [
        "| FusionRS | so | **mixed** | better +10.0 [10.0, 10.0]; worse -10.0 [-10.0, -10.0] |",
        "| RS5M | It is larger. | **not tested** | too large |",
    ]


def test_every_claim_is_tested_or_says_why_not() -> None:
    records = read_records(RESULTS)
    for claim in CLAIMS:
        assert bool(claim.tests) != bool(claim.untested), claim.says
        assert all(measured(test, records)["values"] for test in claim.tests)
