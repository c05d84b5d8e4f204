"""README.md of a model: metadata for the Hub, and what a reader needs, from what was measured and recorded.

Text of others (captions, names of sources, titles) is escaped in the body and quoted in the metadata.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import ModelCardData

from dataset_scripts.markdown_escape import escape, one_line, python_string, table

from . import card_texts as texts
from .card_results import Scored, index_entries, results_text
from .card_training import Energy, data_text, emissions, energy_text, is_simulated, training_text

REQUIRED = ("library_name", "pipeline_tag", "license", "base_model", "datasets", "tags", "widget")
TASKS = {
    "rsclip": "zero-shot-image-classification",
    "rscaptioner": "image-text-to-text",
    "rstranslator": "image-to-image",
}
TAGS = {
    "rsclip": ["remote sensing", "geospatial", "infrared", "CLIP", "image-text retrieval"],
    "rscaptioner": ["remote sensing", "geospatial", "infrared", "image captioning", "conversational"],
    "rstranslator": ["remote sensing", "geospatial", "infrared", "image translation"],
}
BANDS = {
    "thermal": "thermal infrared",
    "mwir": "mid-wave infrared",
    "swir": "short-wave infrared",
    "nir": "near infrared",
}


@dataclass(frozen=True, kw_only=True)
class License:
    """What the weights may be used for."""

    name: str
    """Identifier of the Hub, or `other`."""
    title: str | None = None
    """Name of an `other` licence."""
    link: str | None = None
    """Where its text is."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs of the examples, and what the model gave for them."""

    labels: Sequence[str]
    instruction: str
    max_new_tokens: int
    outputs: Mapping[str, Any]
    license: str | None = None
    """Licence of images that the publisher gave; None where they are simulated."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything that a card says."""

    repo: str
    title: str
    config: Mapping[str, Any]
    """The model's `config.json`."""
    weights: str
    license: License
    base_models: Sequence[str]
    datasets: Sequence[str]
    examples: Examples
    tag: str | None = None
    run: Mapping[str, Any] | None = None
    manifests: Sequence[Mapping[str, Any]] = ()
    scored: Sequence[Scored] = ()
    about: str = ""
    energy: Energy | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The type of model."""
        return str(self.config["model_type"])


def render_model_card(card: ModelCard) -> str:
    """Return README.md."""
    metadata = model_metadata(card).to_yaml()
    body = texts.BODY.format(
        title=escape(card.title),
        summary=_summary(card),
        use=_use(card),
        example=_example(card),
        about=f"## About\n\n{card.about.strip()}\n\n" if card.about.strip() else "",
        results=results_text(card.scored) or texts.NO_RESULTS,
        training=training_text(card.run, card.base_models),
        data=data_text(
            card.datasets, card.manifests, revision=_revision(card.manifests), is_translator=card.kind == "rstranslator"
        ),
        limits="\n".join(f"- {limit}" for limit in texts.LIMITS[card.kind]),
        energy=energy_text(card.run, card.energy),
        shipped="" if card.kind == "rstranslator" else texts.SHIPPED,
        records=texts.RECORDS if card.scored else "",
        weights=card.weights,
        license=_license_text(card.license),
        citation=texts.CITATION,
    )
    return f"---\n{metadata}\n---\n{body}"


def model_metadata(card: ModelCard) -> ModelCardData:
    """The metadata; a model trained from random weights has no `base_model`."""
    entries = index_entries(card.scored, task=TASKS[card.kind], repo=card.repo)
    extra: dict[str, Any] = {"license_name": card.license.title, "license_link": card.license.link}
    if (emitted := emissions(card.run, card.energy, base_models=card.base_models)) is not None:
        extra["co2_eq_emissions"] = emitted
    if entries:
        extra |= {"model_name": one_line(card.title), "eval_results": entries}
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=TASKS[card.kind],
        license=card.license.name,
        base_model=list(card.base_models) or None,
        datasets=list(card.datasets),
        language=["en"],
        tags=[*TAGS[card.kind], *([] if card.base_models else ["trained from scratch"])],
        widget=_widget(card),
        **{name: value for name, value in extra.items() if value is not None},
    )


def front_matter(text: str) -> tuple[str, str]:
    """The YAML and the body of a card; the YAML ends where the Hub ends it, at a line of three dashes."""
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    return front, body


def missing_metadata(metadata: Mapping[str, Any], *, from_scratch: bool) -> list[str]:
    """Required fields that are not there, or empty."""
    needed = [name for name in REQUIRED if not (from_scratch and name == "base_model")]
    lost = [name for name in needed if not metadata.get(name)]
    if metadata.get("license") == "other":
        lost += [name for name in ("license_name", "license_link") if not metadata.get(name)]
    lost += ["widget output" for example in metadata.get("widget") or [] if not example.get("output")]
    return lost


def _widget(card: ModelCard) -> list[dict[str, Any]]:
    """One static example: the RGB image (no widget takes a pair) and what this model gave for it."""
    example: dict[str, Any] = {"src": "examples/rgb.png", "example_title": "RGB image alone"}
    outputs = card.examples.outputs
    if card.kind == "rsclip":
        labels = [one_line(label).replace(",", " ") for label in card.examples.labels]
        scores = [{"label": one_line(one["label"]), "score": _rounded(one["score"])} for one in outputs["rgb"]]
        return [{**example, "candidate_labels": ", ".join(labels), "output": scores}]
    if card.kind == "rscaptioner":
        text = one_line(outputs["rgb"]) or "(an empty caption)"
        return [{**example, "text": one_line(card.examples.instruction), "output": {"text": text}}]
    return [{**example, "output": {"url": "examples/translated.png"}}]


def _summary(card: ModelCard) -> str:
    fusion = card.config.get("fusion", "none")
    band = BANDS.get(str(card.config.get("infrared_band")))
    summary = texts.SUMMARIES[card.kind].format(
        fusing="" if fusion == "none" else ", and an aligned pair in one embedding", band=f" ({band})" if band else ""
    )
    return f"{summary}\n\n{texts.SIMULATED_DATA}" if is_simulated(card.manifests) else summary


def _use(card: ModelCard) -> str:
    fuses = card.config.get("fusion", "none") != "none"
    return texts.USES[card.kind].format(
        repo=python_string(card.repo),
        pin="" if card.tag is None else f"revision={python_string(card.tag)}, ",
        labels=f"[{', '.join(python_string(label) for label in card.examples.labels)}]",
        logits="logits_per_fused" if fuses else "logits_per_image",
        view="" if fuses else ', view="rgb"',
        instruction=python_string(card.examples.instruction),
        tokens=card.examples.max_new_tokens,
        dtype="uint16" if card.config.get("output_bits") == 16 else "uint8",
    )


def _example(card: ModelCard) -> str:
    examples, outputs = card.examples, card.examples.outputs
    if examples.license is None:
        images = texts.EXAMPLE_SIMULATED
    else:
        images = texts.EXAMPLE_GIVEN.format(license=escape(examples.license))
    if card.kind == "rstranslator":
        return f"{images} Translated from the RGB image: ![translated](examples/translated.png)"
    if card.kind == "rscaptioner":
        inputs = {"rgb": "RGB", "infrared": "infrared", "pair": "the pair"}
        shown = table(("what it read", "what it wrote"), [(text, outputs[name]) for name, text in inputs.items()])
        return f"{images}\n\n{shown}"
    scores = {name: {one["label"]: one["score"] for one in outputs[name]} for name in ("rgb", "pair")}
    fuses = card.config.get("fusion", "none") != "none"
    names = ("rgb", "pair") if fuses else ("rgb",)
    rows = [(label, *(f"{_rounded(scores[name][label])}" for name in names)) for label in scores["rgb"]]
    return f"{images}\n\n{table(('label', 'RGB', 'the pair')[: len(names) + 1], rows)}"


def _license_text(license_: License) -> str:
    if license_.name != "other":
        return f"`{escape(license_.name)}`, for the weights. The code beside them is Apache 2.0."
    return f"[{escape(license_.title or '')}]({license_.link}), for the weights. The code beside them is Apache 2.0."


def _revision(manifests: Sequence[Mapping[str, Any]]) -> str | None:
    return manifests[0].get("self_sha256") if len(manifests) == 1 else None


def _rounded(score: float) -> float:
    return round(float(score), 4)


def card_facts(card: ModelCard) -> str:
    """What the card may say beside results: for `number_faults`."""
    outputs = json.dumps(card.examples.outputs)
    rounded = [
        str(_rounded(one["score"]))
        for name in ("rgb", "pair")
        for one in (card.examples.outputs.get(name) or [] if card.kind == "rsclip" else [])
    ]
    said = [card.repo, card.title, card.tag, card.license.name, card.license.title, card.license.link]
    said += [
        card.examples.license,
        *card.base_models,
        *card.datasets,
        *card.examples.labels,
        card.examples.instruction,
        outputs,
        *rounded,
    ]
    said += [str(card.examples.max_new_tokens), json.dumps(card.run), energy_text(card.run, card.energy)]
    said += [json.dumps(manifest["sources"]) for manifest in card.manifests]
    return "\n".join(one for one in said if one)
