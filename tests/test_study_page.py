"""The page of studies says what their JSON says, and only what its intervals leave no doubt of."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model_cards import study_page
from model_cards.claims import Claim, Difference, claims_table, verdict
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
        "code_revision": "b" * 40,
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
    assert "old" not in readme
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


def test_a_verdict_follows_from_paired_intervals(record: dict[str, Any]) -> None:
    better = Difference(study="one", arm="better", over="plain", metric=METRIC, of="recall")
    worse = Difference(study="one", arm="worse", over="plain", metric=METRIC, of="recall")
    as_good = Difference(study="one", arm="plain", over="plain", metric=METRIC, of="itself", is_equal=True)
    within = Difference(
        study="one", arm="better", metric=METRIC, over_metric=f"{DIRECTION}/recall_at_5", of="ten over five"
    )
    records = {"one": record}
    cases = {
        "confirmed": (better, as_good, within),
        "in part": (better, worse),
        "not confirmed": (worse,),
        "not tested": (),
    }
    for expected, tests in cases.items():
        assert verdict(Claim(paper="FusionRS", says="so", tests=tests), records) == expected
    lines = claims_table((Claim(paper="FusionRS", says="so", tests=(better, worse)), UNTESTED), records).splitlines()
    assert lines[4:] == [
        "| FusionRS | so | **in part** | recall +10.0 [10.0, 10.0]; recall -10.0 [-10.0, -10.0] |",
        "| RS5M | It is larger. | **not tested** | too large |",
    ]


def test_every_claim_is_tested_or_says_why_not() -> None:
    records = read_records(RESULTS)
    for claim in CLAIMS:
        assert bool(claim.tests) != bool(claim.untested), claim.says
        assert verdict(claim, records)
