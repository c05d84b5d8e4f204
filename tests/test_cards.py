"""Model cards: metadata that the Hub reads, text of others that stays text, limits and energy as they are."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from loopback_cards import card_errors
from published_models import HEAD, save_model, save_results
from test_dataset_card import cells, hostile_strings, structure

from dataset_scripts.markdown_escape import one_line
from dataset_scripts.publishing.benchmark import TASKS, benchmark_text
from evaluation.protocols import PROTOCOLS
from evaluation.results import weights_sha256
from model_cards.card_model import (
    Examples,
    License,
    front_matter,
    missing_metadata,
    render_model_card,
)
from model_cards.card_model import ModelCard as CardContent
from model_cards.card_results import eval_files, load_results
from model_cards.card_training import Energy, energy_text, non_commercial, read_data_manifest

KINDS = ("rsclip", "rscaptioner", "rstranslator")
LABELS = ["a harbor", "an airport"]
RUN = {
    "config": {"seed": 0, "model": {"source": "a/b"}, "optim": {"steps": 10, "batch_size": 4}},
    "rows": 100,
    "seconds": 7200.0,
    "hardware": "CPU x86_64",
    "versions": {},
    "date": "2026-01-02",
}
SOURCE = {
    "name": "skyscript",
    "license": "CC-BY-4.0",
    "caption_license": None,
    "attribution": "USDA",
    "citation": "x",
    "rows": 6,
}


def outputs(kind: str, text: str) -> dict[str, Any]:
    if kind == "rsclip":
        scores = [{"label": label, "score": 0.5 / (1 + number)} for number, label in enumerate([*LABELS, text])]
        return {"rgb": scores, "pair": scores}
    return dict.fromkeys(("rgb", "infrared", "pair"), text)


def content(kind: str, text: str = "x", **changes: Any) -> CardContent:
    """A card in which everything that others write is one text."""
    examples = Examples(labels=[*LABELS, text], instruction="Describe.", max_new_tokens=9, outputs=outputs(kind, text))
    source = {**SOURCE, **dict.fromkeys(("name", "license", "caption_license", "attribution", "citation"), text)}
    fields: dict[str, Any] = {
        "repo": "ORG/model",
        "title": text,
        "config": {"model_type": kind, "fusion": "gated", "infrared_band": "nir"},
        "weights": "0" * 64,
        "license": License(name="apache-2.0"),
        "base_models": ["openai/clip-vit-base-patch32"],
        "datasets": ["ORG/fusionrs"],
        "examples": dataclasses.replace(examples, license=text),
        "run": {**RUN, "hardware": text},
        "manifests": [{"sources": [source]}],
        **changes,
    }
    return CardContent(**fields)


@pytest.mark.parametrize("kind", KINDS)
def test_the_metadata_are_complete_and_the_hub_takes_them(kind: str) -> None:
    text = render_model_card(content(kind, "harbor"))
    assert card_errors(text, "model") == []
    metadata = yaml.safe_load(front_matter(text)[0])
    assert missing_metadata(metadata, from_scratch=False) == []
    assert ModelCard(text).data.to_dict() == metadata
    assert metadata["base_model"] == ["openai/clip-vit-base-patch32"]
    for name in ("license", "base_model", "datasets", "tags", "widget", "pipeline_tag", "library_name"):
        assert missing_metadata({**metadata, name: None}, from_scratch=False) == [name]
    assert missing_metadata({**metadata, "base_model": None}, from_scratch=True) == []
    without = {**metadata, "widget": [{**metadata["widget"][0], "output": None}]}
    assert missing_metadata(without, from_scratch=False) == ["widget output"]


def hostile_captions() -> list[str]:
    """A hundred of those of the dataset cards, the same ones each time."""
    return sorted(random.Random(0).sample(hostile_strings(), 100))


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_hostile_captions_change_neither_metadata_nor_structure(kind: str) -> None:
    plain = render_model_card(content(kind))
    assert len(hostile_captions()) == 100
    for hostile in hostile_captions():
        text = f"x{hostile}"
        card = render_model_card(content(kind, text))
        card.encode("utf-8")
        read, expected = yaml.safe_load(front_matter(card)[0]), yaml.safe_load(front_matter(plain)[0])
        assert read == ModelCard(card).data.to_dict()
        assert card_errors(card, "model") == []
        shown = read.pop("widget")
        before = expected.pop("widget")
        assert read == expected, text
        assert [sorted(example) for example in shown] == [sorted(example) for example in before]
        if kind == "rscaptioner":
            assert shown[0]["output"] == {"text": one_line(text)}
        elif kind == "rsclip":
            assert [one["label"] for one in shown[0]["output"]] == [*LABELS, one_line(text)]
            assert len(shown[0]["candidate_labels"].split(",")) == 3
        assert structure(card) == structure(plain), text
        assert one_line(text) in cells(card)
        body = front_matter(card)[1]
        assert "<script" not in body
        assert "<img" not in body
        for block in body.split("```python\n")[1:]:
            compile(block.split("\n```")[0], "card", "exec")


def test_a_hostile_name_of_data_stays_in_its_cell_of_the_results(tmp_path: Path) -> None:
    model = save_model("translator", tmp_path / "model")
    for number, hostile in enumerate(hostile_captions()[::10]):
        name = f"x{one_line(hostile).replace('/', '')}"
        path = save_results(model, tmp_path / f"r{number}.json", dataset={"id": name, "listing_sha256": "0" * 64})
        scored = load_results([path], weights=weights_sha256(model), repo="ORG/model", datasets={})
        card = render_model_card(content("rsclip", scored=scored))
        (result, _) = ModelCard(card).data.eval_results or []
        assert (result.metric_value, result.dataset_name) == (0.12345, name)
        assert card_errors(card, "model") == []


def test_results_without_a_dataset_on_the_hub_have_no_entry_for_its_leaderboard(tmp_path: Path) -> None:
    model = save_model("translator", tmp_path / "model")
    path = save_results(model, tmp_path / "r.json")
    scored = load_results([path], weights=weights_sha256(model), repo="ORG/model", datasets={})
    assert eval_files(scored, repo="ORG/model") == {}
    assert scored[0].record["dataset"]["id"] == "fusionrs"
    names = {"/somewhere/else/fusionrs": "ORG/fusionrs"}
    scored = load_results([path], weights=weights_sha256(model), repo="ORG/model", datasets=names)
    (text,) = eval_files(scored, repo="ORG/model").values()
    (entry,) = yaml.safe_load(text)
    assert entry["dataset"] == {"id": "ORG/fusionrs", "task_id": "retrieval-fusionrs"}
    assert entry["value"] == 0.12345
    assert entry["source"]["url"] == "https://huggingface.co/ORG/model/blob/main/results/r.json"
    assert entry["notes"].startswith("mean recall of 12, protocol retrieval-fusionrs, 95 % interval [10.1%, 14.9%]")
    assert HEAD == "mean_recall_of_12"


def test_translated_infrared_is_never_called_temperature() -> None:
    for kind in KINDS:
        card = " ".join(render_model_card(content(kind)).split())
        assert "ranslated infrared is not temperature" in card
    assert "not a measurement of temperature" in render_model_card(content("rsclip"))


@pytest.mark.parametrize(
    ("energy", "said"),
    [
        (None, "x, 2 hours (`run.json`). The power it drew was not stated, so neither energy nor carbon is given."),
        (Energy(watts=250), "times the hours, are 0.5 kWh."),
        (Energy(watts=250, grams_per_kilowatt_hour=380), "are 0.5 kWh; at 380 g of CO2 per kWh, 190 g of CO2."),
    ],
)
def test_energy_is_an_estimate_from_what_was_stated_or_nothing(energy: Energy | None, said: str) -> None:
    text = render_model_card(content("rsclip", energy=energy))
    assert said in text
    emitted = yaml.safe_load(front_matter(text)[0]).get("co2_eq_emissions")
    assert (emitted is not None) == ("190 g" in said)
    if emitted is not None:
        assert (emitted["emissions"], emitted["training_type"]) == (190, "fine-tuning")
    assert ("An estimate, not a measurement" in text) == (energy is not None)
    assert energy_text(None, energy).startswith("The record of the run was not given")


@pytest.mark.parametrize("watts", [0, -1, float("nan"), float("inf")])
def test_a_power_that_nothing_draws_is_refused(watts: float) -> None:
    with pytest.raises(ValueError, match=r"watts is .*; give what was drawn"):
        Energy(watts=watts)


def test_licences_of_the_training_data_are_on_the_card() -> None:
    source = {**SOURCE, "license": "CC-BY-NC-4.0"}
    card = render_model_card(content("rsclip", manifests=[{"sources": [SOURCE, source], "self_sha256": "ab12"}]))
    assert "| skyscript | 6 | CC-BY-4.0 | CC-BY-4.0 | not forbidden |" in card
    assert "| skyscript | 6 | CC-BY-NC-4.0 | CC-BY-NC-4.0 | not permitted |" in card
    assert "manifest `ab12`" in card
    assert "**skyscript**: USDA x" in card
    assert non_commercial([{"sources": [SOURCE, source]}]) == ["skyscript"]
    assert non_commercial([{"sources": [SOURCE, {**SOURCE, "name": "web", "license": "unknown"}]}]) == ["web"]


def test_a_model_of_simulated_data_says_so_at_the_top() -> None:
    source = {**SOURCE, "name": "simulator"}
    said = "**Every row was simulated; nothing in them was observed.**"
    card = render_model_card(content("rsclip", manifests=[{"sources": [source]}]))
    assert card.index(said) < card.index("## How to use it")
    assert said not in render_model_card(content("rsclip", manifests=[{"sources": [source, SOURCE]}]))


@pytest.mark.parametrize("text", ["{}", "[", '{"sources": [{"name": "x"}]}', '{"sources": [{"name": 1, "rows": "2"}]}'])
def test_what_is_no_manifest_of_data_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest of a dataset"):
        read_data_manifest(tmp_path / "manifest.json")


def test_the_benchmark_of_the_dataset_names_protocols_that_exist() -> None:
    names = {protocol.name for protocol in PROTOCOLS}
    assert all(set(tasks) <= names for tasks in TASKS.values())
    shards = [{"file": "data/test-00000-of-00001.parquet", "split": "test"}]
    text = benchmark_text({"dataset": "fusionrs", "shards": shards})
    assert text is not None
    parsed = yaml.safe_load(text)
    assert parsed["evaluation_framework"] == "rsclip"
    assert {"id": "retrieval-fusionrs", "config": "default", "split": "test"} in parsed["tasks"]
    assert benchmark_text({"dataset": "rs5m", "shards": shards}) is None
    hidden = [{"file": "local/test-00000-of-00001.parquet", "split": "test"}]
    assert benchmark_text({"dataset": "fusionrs", "shards": hidden}) is None


def test_a_card_of_a_dataset_is_one_that_the_hub_takes() -> None:
    text = "---\nlicense: other\nconfigs:\n- config_name: default\n---\n"
    assert card_errors(text, "dataset") == []
    assert DatasetCard(text).data.license == "other"
    assert card_errors("---\nlicense: mine\n---\n", "dataset") != []
    assert card_errors("---\na: [\n---\n", "model") != []
