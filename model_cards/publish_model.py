"""Assembles a model as it goes to the Hub: weights, code, processor, handler, pipelines, examples, results, card.

The same inputs give the same bytes, so that a second run finds nothing to send.
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from dataset_scripts.build_output import MANIFEST
from dataset_scripts.dataset_manifest import manifest_text
from dataset_scripts.durable_files import file_sha256
from dataset_scripts.publishing.public_file import PublicFile, disk_file
from dataset_scripts.scenes.scene_simulator import simulate_scene
from evaluation.results import weights_sha256

from .card_model import (
    TASKS,
    Examples,
    License,
    ModelCard,
    card_facts,
    front_matter,
    missing_metadata,
    render_model_card,
)
from .card_numbers import CARD, number_faults
from .card_results import RESULTS, eval_files, identifiers, load_results
from .card_training import Energy, non_commercial, read_data_manifest, read_run
from .publish_code import code_faults
from .publish_fault import Fault, UnfitError
from .publish_files import PYTHON_CACHE, file_faults
from .publish_trial import try_model
from .shipped_files import PIPELINES, ship_handler, ship_pipelines

LABELS = ("a harbor", "an airport", "farmland", "a forest", "a solar farm", "storage tanks")
INSTRUCTION, CAPTION_TOKENS = "Describe the scene.", 40
EXAMPLE_SIZE = 224
# Beginnings of relative paths that would read as ORG/NAME.
_FOLDERS = {".", "..", "~", "runs", "data", "models", "checkpoints", "weights", "output", "outputs"}
# What an earlier publication left beside the weights.
_NOT_COPIED = {CARD, MANIFEST, ".gitattributes"}


@dataclass(frozen=True, kw_only=True)
class ModelAccount:
    """What the publisher says of a model; the rest is read from its files."""

    repo: str
    license: License
    tag: str | None = None
    title: str | None = None
    base_models: Sequence[str] = ()
    from_scratch: bool = False
    datasets: Sequence[str] = ()
    manifests: Sequence[Path] = ()
    results: Sequence[Path] = ()
    results_datasets: Mapping[str, str] | None = None
    about: Path | None = None
    energy: Energy | None = None
    rgb: Path | None = None
    infrared: Path | None = None
    images_license: str | None = None


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """Where a model lies, and the record of the run that made it."""

    folder: Path
    run: Path | None

    @classmethod
    def at(cls, path: Path) -> "SavedModel":
        """A run's folder, or a folder that `save_pretrained` wrote."""
        if (path / "run.json").is_file() and (path / "model" / "config.json").is_file():
            return cls(folder=path / "model", run=path / "run.json")
        if (path / "config.json").is_file():
            return cls(folder=path, run=None)
        raise ValueError(
            f"{path} is neither a run (run.json and model/) nor a saved model (config.json). Give the folder that "
            "`train` or `save_pretrained` wrote."
        )


def assemble_model(path: Path, account: ModelAccount, output: Path) -> list[PublicFile]:
    """Write the folder to publish, check all of it, and return its files.

    Args:
        path: A run's folder, or a saved model's.
        account: What the publisher says.
        output: Folder to write; empty or not there.

    Raises:
        ValueError: Something that a card must say is not known.
        UnfitError: The folder must not be published; the error says what is wrong, and where.
    """
    saved = SavedModel.at(path)
    config = json.loads((saved.folder / "config.json").read_text(encoding="utf-8"))
    if (kind := config.get("model_type")) not in TASKS:
        raise ValueError(f"{saved.folder} holds a {kind!r}; wanted one of {', '.join(TASKS)}.")
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty; choose another --output, or remove it.")
    _refuse(saved.folder, [*file_faults(saved.folder), *_nested(saved.folder)])
    run = None if saved.run is None else read_run(saved.run)
    base_models = known_bases(account, run)
    datasets = known_datasets(account, run)
    about = "" if account.about is None else read_about(account.about)
    manifests = [read_data_manifest(file) for file in account.manifests]
    if closed := non_commercial(manifests):
        print(f"note: trained on rows of {', '.join(closed)}, whose licences permit no commercial use", file=sys.stderr)
    if (saved.folder / CARD).exists():
        print(f"note: {CARD} of the folder is not used; give texts of yours with --about", file=sys.stderr)
    weights = weights_sha256(saved.folder)
    scored = load_results(
        account.results, weights=weights, repo=account.repo, datasets=_names_of_data(account, datasets)
    )

    copy_model(saved.folder, output)
    if kind in PIPELINES:
        ship_handler(output)
        ship_pipelines(output)
    _refuse(output, [*file_faults(output), *code_faults(output)])
    examples = make_examples(output, kind, config, account)
    card = ModelCard(
        repo=account.repo,
        title=account.title or account.repo.split("/")[1],
        config=config,
        weights=weights,
        license=account.license,
        base_models=base_models,
        datasets=datasets,
        examples=examples,
        tag=account.tag,
        run=run,
        manifests=manifests,
        scored=scored,
        about=about,
        energy=account.energy,
    )
    texts = {f"{RESULTS}/{one.name}.json": _json(one.record) for one in scored}
    texts |= eval_files(scored, repo=account.repo)
    texts |= {} if run is None else {"run.json": _json(run)}
    texts[CARD] = render_model_card(card)
    for name, text in texts.items():
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).write_text(text, encoding="utf-8")
    check_model(output, card)
    originals = {file.stem: file_sha256(file) for file in account.results}
    return listed(output, {"kind": "model", "repo": account.repo, "weights_sha256": weights, RESULTS: originals})


def check_model(folder: Path, card: ModelCard) -> None:
    """Refuse an assembled folder in which anything is wrong."""
    front, _ = front_matter((folder / CARD).read_text(encoding="utf-8"))
    lost = missing_metadata(yaml.safe_load(front), from_scratch=not card.base_models)
    found = [Fault(f"{CARD} metadata", "missing", name) for name in lost]
    found += [*file_faults(folder), *code_faults(folder)]
    found += number_faults(folder, task=TASKS[card.kind], repo=card.repo, facts=card_facts(card))
    _refuse(folder, found)


def listed(folder: Path, about: Mapping[str, Any]) -> list[PublicFile]:
    """Write the manifest, and return every file with it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [disk_file(path.relative_to(folder).as_posix(), path) for path in paths]
    hashes = {file.path: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
    (folder / MANIFEST).write_text(manifest_text({**about, "files": hashes}), encoding="utf-8")
    return [*files, disk_file(MANIFEST, folder / MANIFEST)]


def copy_model(source: Path, output: Path) -> None:
    """Copy a saved model. Weights too: through a link, a change to the copy would be one to the trained model."""
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name not in _NOT_COPIED and not path.is_dir():
            shutil.copyfile(path, output / path.name)


def make_examples(folder: Path, kind: str, config: Mapping[str, Any], account: ModelAccount) -> Examples:
    """Put two images into `examples/`, and what the model makes of them in a fresh process."""
    if (account.rgb is None) != (account.infrared is None) or (account.rgb is None) != (account.images_license is None):
        raise ValueError("give --rgb, --infrared and --images-license together, or none: then a scene is simulated.")
    place = folder / "examples"
    place.mkdir()
    if account.rgb is None or account.infrared is None:
        scene = simulate_scene(0, 0, EXAMPLE_SIZE, class_name="harbor")
        pair = {"rgb": Image.fromarray(scene.rgb), "infrared": Image.fromarray(scene.infrared)}
    else:
        pair = {"rgb": Image.open(account.rgb).convert("RGB"), "infrared": Image.open(account.infrared)}
    if pair["infrared"].mode not in ("L", "I;16"):
        raise ValueError(
            f"{account.infrared} has the mode {pair['infrared'].mode}; wanted one channel of 8 or 16 bits."
        )
    for name, image in pair.items():
        image.info = {}
        image.save(place / f"{name}.png")
    labels = list(LABELS)
    job = {
        "model_type": kind,
        "rgb": str((place / "rgb.png").resolve()),
        "infrared": str((place / "infrared.png").resolve()),
        "translated": str((place / "translated.png").resolve()),
        "labels": labels,
        "fuses": config.get("fusion", "none") != "none",
        "instruction": INSTRUCTION,
        "max_new_tokens": CAPTION_TOKENS,
    }
    examples = Examples(
        labels=labels,
        instruction=INSTRUCTION,
        max_new_tokens=CAPTION_TOKENS,
        outputs=try_model(folder, job),
        license=account.images_license,
    )
    (place / "outputs.json").write_text(_json(vars(examples)), encoding="utf-8")
    return examples


def read_about(path: Path) -> str:
    """The publisher's own text; its headings are below those of the card, whose sections have rules of their own."""
    text = path.read_text(encoding="utf-8")
    heading = next((line for line in text.splitlines() if re.match(r" {0,3}#{1,2}(\s|$)|(=+|-+)\s*$", line)), None)
    if heading is not None:
        raise ValueError(f"{path} has the heading {heading!r}; its headings must begin with ### or more.")
    return text


def known_bases(account: ModelAccount, run: Mapping[str, Any] | None) -> list[str]:
    """What the model started from: as the publisher says, else as the run does where that is a name on the Hub.

    Raises:
        ValueError: Neither says it.
    """
    if account.base_models and account.from_scratch:
        raise ValueError("--base-model and --from-scratch exclude each other; give one.")
    if account.base_models or account.from_scratch:
        return list(account.base_models)
    advice = "Give --base-model ORG/NAME, or --from-scratch if the weights started from random numbers."
    if run is None:
        raise ValueError(f"what the model started from is not known: there is no run.json. {advice}")
    model = run["config"].get("model", {})
    given = [model[name] for name in ("captioner", "source", "clip", "language_model") if model.get(name)]
    local = [name for name in given if not _is_hub_name(name)]
    if local:
        raise ValueError(f"the run started from {', '.join(map(repr, local))}, which is no name on the Hub. {advice}")
    return [str(name) for name in given]


def known_datasets(account: ModelAccount, run: Mapping[str, Any] | None) -> list[str]:
    """What the model was trained on, likewise."""
    if account.datasets:
        return list(account.datasets)
    advice = "Give --datasets ORG/NAME, the published form of the data."
    if run is None:
        raise ValueError(f"what the model was trained on is not known: there is no run.json. {advice}")
    data = run["config"].get("data", {})
    given = [data.get("path", ""), *data.get("also", ())]
    local = [name for name in given if not _is_hub_name(name)]
    if local:
        raise ValueError(f"the run's data is {', '.join(map(repr, local))}, which is no name on the Hub. {advice}")
    return [str(name) for name in given]


def _is_hub_name(name: Any) -> bool:
    """ORG/NAME that is no folder here; paths of runs and data have a folder."""
    parts = str(name).split("/")
    return (
        len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~", "runs", "data") and not Path(name).exists()
    )


def _names_of_data(account: ModelAccount, datasets: Sequence[str]) -> dict[str, str]:
    explicit = dict(account.results_datasets or {})
    if unused := sorted(set(explicit) - identifiers(account.results)):
        raise ValueError(f"--results-datasets names {unused[0]!r}, and no result has data of that identifier.")
    return {**{name: name for name in datasets}, **explicit}


def _nested(folder: Path) -> list[Fault]:
    """A saved model is flat; a folder in it is something else."""
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != PYTHON_CACHE)
    return [
        Fault(name, "folder", "a saved model holds files only; remove it, or save the model elsewhere")
        for name in inner
    ]


def _refuse(folder: Path, found: Sequence[Fault]) -> None:
    if found:
        raise UnfitError(folder, found)


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
