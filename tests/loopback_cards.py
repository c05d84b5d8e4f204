"""What the Hub refuses in the metadata of a card, as far as its documentation says so."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

LICENSES = {
    *(
        "apache-2.0",
        "mit",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nc-nd-4.0",
    ),
    *("cc-by-nd-4.0", "odbl", "pddl", "openrail", "bsd-3-clause", "gpl-3.0", "other", "unknown", "etalab-2.0"),
}
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_SLUG = re.compile(r"[a-z0-9-]+")
_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def card_errors(content: str, kind: str) -> list[str]:
    """Errors of README.md of a `model`, a `dataset` or a `space`."""
    match = re.match(r"---\n(.*?)\n---\n", content, flags=re.DOTALL)
    if match is None:
        return []
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"no YAML: {error}"]
    if not isinstance(metadata, dict):
        return ['"metadata" must be an object']
    return [*_common(metadata), *{"model": _model, "dataset": _dataset, "space": _space}[kind](metadata)]


def _common(metadata: dict[str, Any]) -> Iterator[str]:
    licenses = _listed(metadata.get("license", []))
    if unknown := [name for name in licenses if name not in LICENSES]:
        yield f'"license" must be one of {sorted(LICENSES)}; it is {unknown}'
    if "tags" in metadata and not _are_texts(metadata["tags"]):
        yield '"tags" must be a list of strings'


def _model(metadata: dict[str, Any]) -> Iterator[str]:
    for name in ("base_model", "datasets"):
        wrong = [one for one in _listed(metadata.get(name, [])) if not _REPO.fullmatch(str(one))]
        if wrong:
            yield f'"{name}" {wrong} with value is not valid. Use a model or dataset id from https://hf.co.'
    for name in ("pipeline_tag", "library_name"):
        if name in metadata and not _SLUG.fullmatch(str(metadata[name])):
            yield f'"{name}" must be a slug'
    for example in metadata.get("widget", []):
        if not isinstance(example, dict) or not all(isinstance(key, str) for key in example):
            yield '"widget" must be a list of objects'
        elif not isinstance(example.get("src", ""), str) or not isinstance(example.get("text", ""), str):
            yield '"widget" has a src or a text that is no string'
    for model in metadata.get("model-index", []):
        if not isinstance(model.get("name"), str) or not model["name"]:
            yield '"model-index[0].name" is required'
        for result in model.get("results", []):
            for metric in result.get("metrics", []):
                if "type" not in metric or "value" not in metric or "type" not in result.get("dataset", {}):
                    yield '"model-index[0].results" lacks a type or a value'


def _dataset(metadata: dict[str, Any]) -> Iterator[str]:
    for config in metadata.get("configs", []):
        if not isinstance(config.get("config_name"), str):
            yield '"configs[0].config_name" is required'


def _space(metadata: dict[str, Any]) -> Iterator[str]:
    if metadata.get("sdk") not in ("gradio", "docker", "static"):
        yield '"sdk" must be one of gradio, docker, static'
    for name in ("colorFrom", "colorTo"):
        if name in metadata and metadata[name] not in _COLOURS:
            yield f'"{name}" must be one of {sorted(_COLOURS)}'


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
