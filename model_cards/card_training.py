"""What the record of a run and the manifest of its data say on a model card: training, data, hardware, energy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_scripts.markdown_escape import escape, one_line, table
from dataset_scripts.publishing.public_folder import last_names
from dataset_scripts.rights import license_text, row_rights
from dataset_scripts.scenes.scene_encoding import SOURCE as SIMULATOR

from .card_texts import NO_RUN, SIMULATED_DATA, TRANSLATED_DATA

_SETTINGS = ("steps", "batch_size", "learning_rate", "warmup_steps", "weight_decay", "mixed_precision", "wise_alpha")
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Energy:
    """An estimate from what the publisher states; nothing of it was measured."""

    watts: float
    """Mean power that the hardware drew, all of it."""
    grams_per_kilowatt_hour: float | None = None
    """Carbon dioxide of the electricity."""

    def __post_init__(self) -> None:
        for name in ("watts", "grams_per_kilowatt_hour"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name.replace('_', '-')} is {value}; give what was drawn or emitted, above zero.")

    def kilowatt_hours(self, seconds: float) -> float:
        """Energy of a run."""
        return self.watts * seconds / SECONDS_PER_HOUR / 1000

    def grams(self, seconds: float) -> float | None:
        """Carbon dioxide of a run, where it can be said."""
        rate = self.grams_per_kilowatt_hour
        return None if rate is None else self.kilowatt_hours(seconds) * rate


def read_run(path: Path) -> dict[str, Any]:
    """A `run.json`, without folders of this machine."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = {name: record[name] for name in ("config", "seconds", "hardware", "versions", "date")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no record of a run ({type(error).__name__}: {error}); train writes one."
        ) from error
    return dict(last_names({**record, **found}))


def read_data_manifest(path: Path) -> dict[str, Any]:
    """A `manifest.json` of training data, as far as a card needs it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for source in record["sources"]:
            license_, rows = source["license"], source["rows"]
            if not isinstance(license_, str) or not isinstance(rows, int) or not isinstance(source["name"], str):
                raise TypeError("a source lacks its name, rows or licence")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no manifest of a dataset, which `dataset_scripts` writes ({type(error).__name__}: {error})"
        ) from error
    return dict(last_names(record))


def non_commercial(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sources of the training data whose licence forbids commercial use, or is unknown."""
    sources = [source for manifest in manifests for source in manifest["sources"]]
    return sorted({one_line(source["name"]) for source in sources if _is_non_commercial(source)})


def is_simulated(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing in the training data was observed."""
    sources = [source["name"] for manifest in manifests for source in manifest["sources"]]
    return bool(sources) and set(sources) == {SIMULATOR}


def training_text(run: Mapping[str, Any] | None, base_models: Sequence[str]) -> str:
    """How the model came to be."""
    start = (
        f"Started from {', '.join(f'[{escape(name)}](https://huggingface.co/{name})' for name in base_models)}."
        if base_models
        else "Started from random weights."
    )
    if run is None:
        return f"{start} {NO_RUN}"
    optim = run["config"].get("optim", {})
    rows = [(name.replace("_", " "), optim[name]) for name in _SETTINGS if name in optim]
    rows += [("rows", run[name]) for name in ("rows",) if name in run]
    rows += [("seed", run["config"][name]) for name in ("seed",) if name in run["config"]]
    return "\n\n".join([start, table(("setting", "value"), rows), "All settings: [run.json](run.json)."])


def data_text(
    datasets: Sequence[str], manifests: Sequence[Mapping[str, Any]], *, revision: str | None, is_translator: bool
) -> str:
    """Which data, from whom, and under which licences."""
    parts = [
        "\n".join(
            f"- [{escape(name)}](https://huggingface.co/datasets/{name})"
            + (f", manifest `{escape(revision)}`" if revision and len(datasets) == 1 else "")
            for name in datasets
        )
    ]
    for manifest in manifests:
        parts.append(_sources_table(manifest["sources"]))
        parts.append("\n".join(_credit(source) for source in manifest["sources"]))
    if not manifests:
        parts.append("Sources, their licences and their rows: on the card of the dataset.")
    if is_simulated(manifests):
        parts.append(SIMULATED_DATA)
    if not is_translator:
        parts.append(TRANSLATED_DATA)
    return "\n\n".join(parts)


def energy_text(run: Mapping[str, Any] | None, energy: Energy | None) -> str:
    """What it ran on and for how long; energy only where somebody stated the power."""
    if run is None:
        return NO_RUN
    seconds = float(run["seconds"])
    ran = f"{escape(run['hardware'])}, {seconds / SECONDS_PER_HOUR:.3g} hours (`run.json`)."
    if energy is None:
        return f"{ran} The power it drew was not stated, so neither energy nor carbon is given."
    estimate = (
        f"An estimate, not a measurement: {energy.watts:g} W as stated by the publisher, times the hours, are "
        f"{energy.kilowatt_hours(seconds):.3g} kWh"
    )
    grams = energy.grams(seconds)
    if grams is None:
        return f"{ran} {estimate}."
    return f"{ran} {estimate}; at {energy.grams_per_kilowatt_hour:g} g of CO2 per kWh, {grams:.3g} g of CO2."


def emissions(
    run: Mapping[str, Any] | None, energy: Energy | None, *, base_models: Sequence[str]
) -> dict[str, Any] | None:
    """`co2_eq_emissions` of the metadata, where grams can be said."""
    if run is None or energy is None or (grams := energy.grams(float(run["seconds"]))) is None:
        return None
    return {
        "emissions": float(f"{grams:.3g}"),
        "source": "estimate: hours of the run times watts stated by the publisher times g CO2 per kWh",
        "training_type": "fine-tuning" if base_models else "pre-training",
        "hardware_used": str(run["hardware"]),
    }


def _sources_table(sources: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for source in sources:
        caption_license = source.get("caption_license") or source["license"]
        commercial = "not permitted" if _is_non_commercial(source) else "not forbidden"
        rows.append((source["name"], source["rows"], source["license"], caption_license, commercial))
    return table(("source", "rows", "licence of images", "licence of captions", "commercial use"), rows)


def _is_non_commercial(source: Mapping[str, Any]) -> bool:
    try:
        rights = row_rights(license_text(source["license"], source.get("caption_license")))
        return rights.non_commercial or not (rights.images or rights.captions)
    except (TypeError, ValueError):  # no identifier: nobody's permission
        return True


def _credit(source: Mapping[str, Any]) -> str:
    facts = [escape(source.get(name) or "") for name in ("attribution", "citation")]
    return f"- **{escape(source['name'])}**: {' '.join(fact for fact in facts if fact) or 'no attribution given'}"
