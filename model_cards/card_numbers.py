"""Whether every number that a card shows has an origin: a results JSON, the record of the run, or the template.

Read from the assembled folder alone: what its `results/` say is rendered anew and compared with the card.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from evaluation.report_figures import formatted, readable

from . import card_texts
from .card_model import front_matter
from .card_results import EVAL_RESULTS, Scored, eval_files, index_entries, read_published, results_text
from .publish_fault import Fault

CARD = "README.md"
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])\d(?:[\d,]*\d)?(?:\.\d+)?(?:[eE][-+]?\d+)?\s?(?:%|percent\b|per cent\b)?")
# Addresses of links, and digests: what stands there is no claim.
_NO_CLAIM = re.compile(r"\]\([^)]*\)|https?://\S+|\b[0-9a-f]{12,}\b")


def number_faults(folder: Path, *, task: str, repo: str, facts: str) -> list[Fault]:
    """Find numbers of the card that nothing in the folder says.

    Args:
        folder: The assembled folder.
        task: The card's `pipeline_tag`.
        repo: What the model is called.
        facts: What else the card may say: the record of the run, the outputs of the examples, options.
    """
    scored = read_published(folder)
    text = (folder / CARD).read_text(encoding="utf-8")
    front, body = front_matter(text)
    metadata = yaml.safe_load(front)
    found = [*_index_faults(metadata, scored, task, repo), *_file_faults(folder, scored, repo)]
    first = front.count("\n") + 4
    return found + list(_body_faults(body.splitlines(), first, scored, facts))


def _body_faults(lines: Sequence[str], first: int, scored: Sequence[Scored], facts: str) -> Iterator[Fault]:
    """A line of the results must be one that the records give; elsewhere a number must be one that is known."""
    rendered = set(results_text(scored).splitlines()) | {card_texts.NO_RESULTS, ""}
    measured = set(_measured(scored))
    known = measured | set(_numbers(facts)) | set(_numbers(_template()))
    section = ""
    for number, line in enumerate(lines, start=first):
        if line.startswith("## "):
            section = line[3:].strip()
            continue
        if section == "Results":
            if line not in rendered:
                yield Fault(f"{CARD}:{number}", "number", f"no results JSON gives this line: {line[:120]!r}")
            continue
        allowed = measured | set(_numbers(facts)) if section == "About" else known
        for untraced in sorted(set(_numbers(line)) - allowed):
            yield Fault(
                f"{CARD}:{number}",
                "number",
                f"{untraced} is in no results JSON, nor in run.json: {line[:80]!r}",
            )


def _numbers(text: str) -> Iterable[str]:
    """Numbers without blanks and separators, a percentage with its sign."""
    for match in _NUMBER.finditer(_NO_CLAIM.sub(" ", text)):
        yield re.sub(r"\s?(%|percent|per cent)$", "%", match.group().strip()).replace(",", "")


def _measured(scored: Sequence[Scored]) -> Iterator[str]:
    """Metrics as they are printed, and how many cases are behind them."""
    for one in scored:
        for metric in one.record["metrics"]:
            yield str(metric["n"])
            yield from _numbers(readable(metric["name"]))
            for end in ("value", "low", "high"):
                yield from _numbers(formatted(metric["name"], metric[end]))
                yield from _numbers(repr(metric[end]))


def _template() -> str:
    texts = [value for name, value in vars(card_texts).items() if name.isupper()]
    return " ".join(map(str, texts))


def _index_faults(metadata: Mapping[str, Any], scored: Sequence[Scored], task: str, repo: str) -> Iterator[Fault]:
    """`model-index` holds what the records say, and no more."""
    said = []
    if "model-index" in metadata:
        said = model_index_to_eval_results(metadata["model-index"])[1]
    wanted = {_key(one) for one in index_entries(scored, task=task, repo=repo)}
    for one in said:
        if _key(one) not in wanted:
            yield Fault(
                f"{CARD} metadata",
                "number",
                f"model-index says {one.metric_name or one.metric_type} on {one.dataset_name} is {one.metric_value}; "
                "no results JSON does",
            )


def _key(one: Any) -> tuple[Any, ...]:
    return (one.dataset_type, one.metric_type, one.metric_name, one.metric_value, one.source_url)


def _file_faults(folder: Path, scored: Sequence[Scored], repo: str) -> Iterator[Fault]:
    """So do the files of `.eval_results/`."""
    wanted = eval_files(scored, repo=repo)
    for path in sorted((folder / EVAL_RESULTS).glob("*")):
        name = f"{EVAL_RESULTS}/{path.name}"
        text = path.read_text(encoding="utf-8")
        if text != wanted.get(name):
            values = [entry.value for entry in parse_eval_result_entries(yaml.safe_load(text))]
            yield Fault(name, "number", f"says {', '.join(map(str, values))}; no results JSON gives this file")
