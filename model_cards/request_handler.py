"""Requests to the endpoint, taken apart and checked: types, counts and lengths, before any image is looked at."""

import math
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from .limits_handler import Limits, RequestError, malformed, too_much, unusable

CLIP_TASKS = ("embed", "classify")
CAPTIONER_TASKS = ("caption",)
VIEWS = ("rgb", "infrared", "fused")
INPUT_KEYS = ("image", "infrared", "text")
SCALING_KEYS = ("rule", "low", "high", "bits")
CHOICES = {
    "polarity": ("white_hot", "black_hot"),
    "colour_infrared": ("refuse", "luminance"),
    "size_mismatch": ("refuse", "resample_infrared"),
}
LARGEST_NUMBER = 3e38


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input as it was sent: images are base64, `{"url": ...}`, or an image that the toolkit has decoded."""

    image: Any = None
    infrared: Any = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request whose shape is right."""

    inputs: tuple[Input, ...]
    is_batch: bool
    """Whether a list was sent, and a list is to be answered."""
    task: str
    labels: tuple[str, ...] = ()
    """Candidate labels, already written into the template."""
    names: tuple[str, ...] = ()
    """Candidate labels as they were sent."""
    view: str | None = None
    max_new_tokens: int = 64
    image_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the image processor for this request."""


def parse_request(data: Any, tasks: tuple[str, ...], limits: Limits) -> Request:
    """Takes a request apart.

    Args:
        data: What was sent, as Python objects.
        tasks: Those of the model.
        limits: See `Limits`.

    Raises:
        RequestError: with what is wrong.
    """
    if not isinstance(data, dict) or "inputs" not in data:
        raise malformed(f"the request is {_kind(data)}; wanted an object with `inputs` and, optionally, `parameters`.")
    _refuse_unknown(data, ("inputs", "parameters"), "the request")
    parameters = data.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise malformed(f"`parameters` is {_kind(parameters)}; wanted an object.")
    sent, is_batch = data["inputs"], isinstance(data["inputs"], list)
    items = sent if is_batch else [sent]
    if not items:
        raise malformed("`inputs` is an empty list; wanted at least one input.")
    if len(items) > limits.inputs:
        raise too_much(f"`inputs` holds {len(items)} inputs; the most is {limits.inputs}. Send several requests.")
    inputs = tuple(
        _parse_input(item, f"inputs[{index}]" if is_batch else "inputs", limits) for index, item in enumerate(items)
    )
    options = _parse_parameters(parameters, tasks, limits)
    _check_task(inputs, options)
    return Request(inputs=inputs, is_batch=is_batch, **options)


def _parse_input(item: Any, where: str, limits: Limits) -> Input:
    if isinstance(item, (str, Image.Image)):
        item = {"image": item}
    if not isinstance(item, dict):
        raise malformed(f"`{where}` is {_kind(item)}; wanted an object with {_listed(INPUT_KEYS)}, or base64.")
    _refuse_unknown(item, INPUT_KEYS, f"`{where}`")
    given = {name: value for name, value in item.items() if value is not None}
    if not given:
        raise malformed(f"`{where}` is empty; wanted at least one of {_listed(INPUT_KEYS)}.")
    for name in ("image", "infrared"):
        if name in given:
            _check_image_form(given[name], f"{where}.{name}")
    if "text" in given:
        check_text(given["text"], f"{where}.text", limits)
    return Input(**given)


def _check_image_form(value: Any, where: str) -> None:
    if isinstance(value, (str, Image.Image)):
        return
    if isinstance(value, dict) and set(value) == {"url"} and isinstance(value["url"], str):
        return
    raise malformed(f'`{where}` is {_kind(value)}; wanted a base64 string, or {{"url": "https://..."}}.')


def check_text(text: Any, where: str, limits: Limits) -> str:
    """Refuses what a tokenizer cannot or should not read."""
    if not isinstance(text, str):
        raise malformed(f"`{where}` is {_kind(text)}; wanted a string.")
    if len(text) > limits.text_characters:
        raise too_much(f"`{where}` has {len(text)} characters; the most is {limits.text_characters}.")
    if not text.strip():
        raise unusable("bad_text", f"`{where}` is blank; wanted a text.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise unusable("bad_text", f"`{where}` holds half a character (a lone surrogate); wanted valid Unicode.")
    return text


def _parse_parameters(parameters: dict[str, Any], tasks: tuple[str, ...], limits: Limits) -> dict[str, Any]:
    known = {"task", "nodata", "infrared_scaling", *CHOICES}
    known |= {"max_new_tokens"} if "caption" in tasks else {"candidate_labels", "hypothesis_template", "view"}
    _refuse_unknown(parameters, tuple(sorted(known)), "`parameters`")
    given = {name: value for name, value in parameters.items() if value is not None}
    default = "classify" if "candidate_labels" in given else tasks[0]
    options: dict[str, Any] = {"task": _choose(given, "task", tasks, default)}
    if "candidate_labels" in given:
        options["names"] = _parse_labels(given["candidate_labels"], limits)
    template = check_text(given.get("hypothesis_template", "{}"), "parameters.hypothesis_template", limits)
    if template.count("{}") != 1 or template.replace("{}", "").count("{") + template.replace("{}", "").count("}"):
        raise unusable(
            "bad_parameter", "`parameters.hypothesis_template` needs `{}` exactly once, for the label, and no others."
        )
    options["labels"] = tuple(template.replace("{}", name) for name in options.get("names", ()))
    options["view"] = _choose(given, "view", VIEWS, None)
    options["max_new_tokens"] = _whole(given, "max_new_tokens", 1, limits.new_tokens, 64)
    settings: dict[str, Any] = {
        name: _choose(given, name, choices, None) for name, choices in CHOICES.items() if name in given
    }
    if "nodata" in given:
        settings["nodata"] = given["nodata"] if given["nodata"] == "nan" else _number(given["nodata"], "nodata")
    if "infrared_scaling" in given:
        settings["infrared_scaling"] = _parse_scaling(given["infrared_scaling"])
    options["image_settings"] = settings
    return options


def _parse_labels(labels: Any, limits: Limits) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels:
        raise malformed(f"`parameters.candidate_labels` is {_kind(labels)}; wanted a list of at least one string.")
    if len(labels) > limits.labels:
        raise too_much(f"`parameters.candidate_labels` holds {len(labels)} labels; the most is {limits.labels}.")
    checked = tuple(
        check_text(label, f"parameters.candidate_labels[{index}]", limits) for index, label in enumerate(labels)
    )
    if len(set(checked)) < len(checked):
        raise unusable("bad_parameter", "`parameters.candidate_labels` holds a label twice; wanted each once.")
    return checked


def _parse_scaling(scaling: Any) -> dict[str, Any]:
    if not isinstance(scaling, dict):
        raise malformed(f"`parameters.infrared_scaling` is {_kind(scaling)}; wanted an object.")
    _refuse_unknown(scaling, SCALING_KEYS, "`parameters.infrared_scaling`")
    rules = ("dtype_range", "percentile", "window")
    checked: dict[str, Any] = {"rule": _choose(scaling, "rule", rules, None)}
    checked |= {name: _number(scaling[name], name) for name in ("low", "high") if name in scaling}
    if "bits" in scaling:
        checked["bits"] = _whole(scaling, "bits", 8, 16, 16)
    return checked


def _check_task(inputs: tuple[Input, ...], options: dict[str, Any]) -> None:
    task = options["task"]
    if task == "classify" and not options["labels"]:
        raise malformed("task 'classify' needs `parameters.candidate_labels`.")
    if task != "classify" and (options["view"] or options["labels"]):
        raise malformed(f"task {task!r} takes no `candidate_labels` and no `view`; they belong to 'classify'.")
    for index, item in enumerate(inputs):
        if task != "embed" and item.image is None and item.infrared is None:
            raise malformed(f"`inputs[{index}]` has no image; task {task!r} needs `image`, `infrared`, or both.")
        if task == "classify" and item.text is not None:
            raise malformed(f"`inputs[{index}].text` is given; task 'classify' reads texts from `candidate_labels`.")


def _choose(given: dict[str, Any], name: str, choices: tuple[str, ...], default: str | None) -> str | None:
    value = given.get(name, default)
    if name in given and not (isinstance(value, str) and value in choices):
        shown = repr(value) if isinstance(value, str) and len(value) < 40 else _kind(value)
        raise unusable("bad_parameter", f"`parameters.{name}` is {shown}; wanted one of {_listed(choices)}.")
    return value


def _whole(given: dict[str, Any], name: str, low: int, high: int, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise unusable("bad_parameter", f"`parameters.{name}` must be a whole number from {low} to {high}.")
    return value


def _number(value: Any, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) if isinstance(value, float) else abs(value) < LARGEST_NUMBER):
        raise unusable("bad_parameter", f"`{name}` in `parameters` is {_kind(value)}; wanted a finite number.")
    return float(value)


def _refuse_unknown(given: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [str(name)[:40] for name in given if name not in known]
    if unknown:
        raise malformed(f"{where} has unknown keys {unknown[:5]}; known here are {_listed(known)}.")


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


__all__ = ["CAPTIONER_TASKS", "CLIP_TASKS", "Input", "Request", "RequestError", "parse_request"]
