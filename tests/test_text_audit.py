"""The audit of generated texts: each finding on sentences that must and must not be found."""

import json
from pathlib import Path

import pytest

from evaluation.captions.audit import (
    TextAudit,
    claims_physics,
    names_colour,
    names_infrared_cue,
    refuses,
    run_text_audit,
)
from evaluation.captions.references import ReferenceSource
from evaluation.predictions import PredictionFile


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The roofs look BRIGHTER than the road.", True),
        ("a thermal image", True),
        ("a grayscale scene", True),
        ("outlines of ships", True),
        ("a stone bridge and a toned-down park", False),
        ("Brighton has a darkroom", False),
    ],
)
def test_infrared_cues(text: str, found: bool) -> None:
    assert names_infrared_cue(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The hot engine", True),
        ("a heat\nsignature", True),
        ("warmer than the field", True),
        ("roofs of reflective material", True),
        ("at 30 °C", True),
        ("a hotel by the photo shop", False),
        ("a cooling tower and a cold store", False),
        ("the heath", False),
        ("bright roofs in a thermal image", False),
    ],
)
def test_physical_claims(text: str, found: bool) -> None:
    assert claims_physics(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *(("Red roofs", True), ("reddish soil", True), ("a golden field", True), ("colorful umbrellas", True)),
        *(("a greenhouse in Greenland", False), ("white, grey and black roofs", False), ("orange groves", False)),
    ],
)
def test_colours(text: str, found: bool) -> None:
    assert names_colour(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *(("I’m sorry, but I can't describe it", True), ("As an AI, I see roofs", True), ("No image was given.", True)),
        *(("a casino image", False), ("trees unable to hide the road", False)),
    ],
)
def test_refusals(text: str, found: bool) -> None:
    assert refuses(text) == found


def test_rates_are_of_the_rows_that_have_a_text(tmp_path: Path) -> None:
    said = ["A bright roof.", "a bright roof", "A red car is hot", None, " ... "]
    lines = [{"id": f"r{row}", "text": text} for row, text in enumerate(said)]
    rows = [{"id": f"r{row}", "references": ["a bright roof"]} for row in range(6)]
    for name, content in (("said", lines), ("rows", rows)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in content))
    config = TextAudit(
        predictions=PredictionFile(path=tmp_path / "said"), references=ReferenceSource(path=tmp_path / "rows")
    )
    result = run_text_audit(config)
    assert (result.rows, result.missing, result.failed) == (6, 1, 1)
    values = {metric.name: (pytest.approx(metric.value), metric.n) for metric in result.metrics}
    assert values == {
        "no_text": (0.5, 6),
        "infrared_cue": (2 / 3, 3),
        "physical_claim": (1 / 3, 3),
        "colour_word": (1 / 3, 3),
        "refusal": (0.0, 3),
        "words": (11 / 3, 3),
        "at_most_15_words": (1.0, 3),
        "at_least_25_words": (0.0, 3),
        "distinct_texts": (2 / 3, 3),
        "commonest_text": (2 / 3, 3),
        "copy_of_a_reference": (2 / 3, 3),
    }


def test_a_file_without_any_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "said").write_text('{"id": "a", "text": "..."}\n')
    (tmp_path / "rows").write_text('{"id": "a", "references": []}\n')
    config = TextAudit(
        predictions=PredictionFile(path=tmp_path / "said"), references=ReferenceSource(path=tmp_path / "rows")
    )
    with pytest.raises(ValueError, match="no row has a text to audit"):
        run_text_audit(config)
