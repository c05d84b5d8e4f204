"""What is kept of the published model is what its manifest lists, and its card says what its results say."""

import json
from pathlib import Path

import yaml

from dataset_scripts.durable_files import file_sha256

FOLDER = Path(__file__).parents[1] / "model_cards" / "published" / "rsclip-small-trimodal"
RESULTS = "results/retrieval-fusionrs.json"


def test_what_is_kept_is_listed_and_the_weights_are_outside() -> None:
    files = json.loads((FOLDER / "manifest.json").read_text())["files"]
    listed = {name: file["sha256"] for name, file in files.items()}
    kept = {str(path.relative_to(FOLDER)): path for path in FOLDER.rglob("*") if path.is_file()}
    del kept["manifest.json"]
    assert {name: file_sha256(path) for name, path in kept.items()} == {name: listed[name] for name in kept}
    assert "model.safetensors" in set(listed) - set(kept)
    assert not any(path.stat().st_size > 2**18 for path in kept.values())


def test_the_card_has_the_numbers_of_the_results() -> None:
    card = (FOLDER / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    (entry,) = metadata["model-index"][0]["results"]
    found = {metric["name"]: metric["value"] for metric in json.loads((FOLDER / RESULTS).read_text())["metrics"]}
    shown = {metric["type"]: metric["value"] for metric in entry["metrics"]}
    assert len(shown) == 11
    assert {name: round(found[name], 4) for name in shown} == shown


def test_the_recipe_names_the_model() -> None:
    makefile = (FOLDER.parents[2] / "Makefile").read_text()
    assert f"--repo rsclip/{FOLDER.name} " in makefile
    run = json.loads((FOLDER / "run.json").read_text())
    assert run["config"]["seed"] == 0
    assert f"--num-scenes {run['rows'] + 1100} " in makefile
