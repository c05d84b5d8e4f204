"""What each step of the demo must have shown."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import load_dataset

CLASSES_AT_LEAST = 12
# Seeds and machines differ; what a run finds is in its report.
TIMES_CHANCE = 10


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation, what was found, and whether it was met."""

    what: str
    found: str
    passed: bool


def run_checks(output: Path, data: Path) -> list[Check]:
    """Checks dataset, training, retrieval, captions and reload from the files that the steps wrote."""
    tri, rgb = (metrics_of(output / "results" / f"clip-{arm}.json") for arm in ("tri-modal", "rgb-only"))
    captions = metrics_of(output / "results" / "captions.json")
    return [
        check_dataset(data),
        *(check_loss(output / run) for run in ("clip-tri-modal", "clip-rgb-only", "captioner")),
        many_times_chance(tri, "rgb", "text"),
        many_times_chance(tri, "infrared", "text"),
        beats_chance(tri, "infrared_to_infrared_text/recall_at_10"),
        beats(tri, rgb, "infrared_to_rgb/recall_at_10"),
        check_captions(captions, data),
        check_reload(json.loads((output / "reload.json").read_text())),
    ]


def metrics_of(path: Path) -> dict[str, dict[str, Any]]:
    """The metrics of a results file by name."""
    return {metric["name"]: metric for metric in json.loads(path.read_text())["metrics"]}


def check_dataset(data: Path) -> Check:
    """The folder loads as any user would load it, and its infrared still has 16 bits."""
    rows = load_dataset(str(data), split="test")
    mode, classes = rows[0]["infrared"].mode, len(set(rows["class_name"]))
    return Check(
        what="load_dataset reads 16-bit infrared pairs of many classes",
        found=f"{len(rows)} test rows of {classes} classes, infrared mode {mode}",
        passed=mode == "I;16" and rows[0]["rgb"].mode == "RGB" and classes >= CLASSES_AT_LEAST,
    )


def check_loss(run: Path) -> Check:
    """The loss fell clearly over the run; how long it took is said, not judged."""
    losses = [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]
    edge = max(1, len(losses) // 10)
    first, last = sum(losses[:edge]) / edge, sum(losses[-edge:]) / edge
    seconds = json.loads((run / "run.json").read_text())["seconds"]
    found = f"loss {first:.2f} to {last:.2f} in {seconds:.0f} s"
    return Check(what=f"{run.name} learns", found=found, passed=last < 0.8 * first)


def many_times_chance(metrics: dict[str, dict[str, Any]], one: str, other: str) -> Check:
    """The first answer is right many times as often as chance, in both directions."""
    names = [f"{one}_to_{other}/recall_at_1", f"{other}_to_{one}/recall_at_1"]
    times = [metrics[name]["value"] / metrics[f"chance/{name}"]["value"] for name in names]
    return Check(
        what=f"tri-modal finds {one} and {other} first at least {TIMES_CHANCE} times as often as chance",
        found=f"{times[0]:.1f} and {times[1]:.1f} times",
        passed=min(times) >= TIMES_CHANCE,
    )


def beats_chance(metrics: dict[str, dict[str, Any]], name: str) -> Check:
    """The interval of a metric lies above chance."""
    metric, chance = metrics[name], metrics[f"chance/{name}"]["value"]
    return Check(
        what=f"tri-modal {name} above chance",
        found=f"{metric['value']:.1%} [{metric['low']:.1%}, {metric['high']:.1%}], chance {chance:.1%}",
        passed=metric["low"] > chance,
    )


def beats(ours: dict[str, dict[str, Any]], control: dict[str, dict[str, Any]], name: str) -> Check:
    """The interval of a metric lies above the control's value."""
    found = f"{ours[name]['value']:.1%}, RGB only {control[name]['value']:.1%}"
    passed = ours[name]["low"] > control[name]["value"]
    return Check(what=f"tri-modal {name} above RGB only", found=found, passed=passed)


def check_captions(metrics: dict[str, dict[str, Any]], data: Path) -> Check:
    """Captions of pairs name the scene class far more often than the commonest class would."""
    names = load_dataset(str(data), split="test")["class_name"]
    commonest = max(names.count(name) for name in set(names)) / len(names)
    metric = metrics["pair/class_named"]
    return Check(
        what="captions of pairs name the scene",
        found=f"{metric['value']:.1%} [{metric['low']:.1%}, {metric['high']:.1%}], commonest class {commonest:.1%}",
        passed=metric["low"] > 2 * commonest,
    )


def check_reload(reload: dict[str, Any]) -> Check:
    """A fresh process without our packages computes the same."""
    found = f"classes {', '.join(reload['classes'])}; equal: {reload['equal']}"
    return Check(
        what="exported folders load through AutoModel elsewhere, bit for bit", found=found, passed=reload["equal"]
    )
