"""Trains the arms of a study, each with several seeds, and says how they differ; finished runs are not made again.

python -m train.study infrared-aware-text --data fusionrs --output runs/infrared_aware_text
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from evaluation.bundles import Data
from evaluation.run import RunConfig, run_benchmark

from .studies import STUDIES, Study
from .train_clip import run

# Two-sided 95 % of Student's t, by degrees of freedom.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
BENCHMARK: Literal["retrieval-fusionrs"] = "retrieval-fusionrs"
RECALLS = (1, 5, 10)
# What is equal in the results of all runs, and says how they were made.
ORIGIN = ("benchmark", "protocol", "dataset", "code_revision", "versions")
Run = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What to study, on what."""

    name: tyro.conf.Positional[Literal["infrared-aware-text", "towers", "data-scale"]]
    """The study."""
    output: Path
    """Folder of the runs, their results, and study.json."""
    data: Path = Path("fusionrs")
    """Folder of FusionRS rows with a training and a test split."""
    seeds: int = 3
    """Seeds of each arm."""
    steps: int | None = None
    """Steps of each run, where those of the study are not wanted."""
    arms: tuple[str, ...] | None = None
    """Arms to run, where not all are wanted."""

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= len(T_95) + 1:
            raise ValueError(f"seeds is {self.seeds}; an interval needs 2 to {len(T_95) + 1}.")
        unknown = [arm for arm in self.arms or () if arm not in STUDIES[self.name].arms]
        if unknown:
            raise ValueError(f"{self.name} has no arm {unknown[0]!r}, only {', '.join(STUDIES[self.name].arms)}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the study and prints its table."""
    record = run_study(tyro.cli(StudyConfig, args=argv, description=__doc__))
    print(table(record))


def run_study(config: StudyConfig) -> dict[str, Any]:
    """Trains and scores what is missing, and writes what all runs say together."""
    study = STUDIES[config.name]
    arms = [arm for arm in study.arms if config.arms is None or arm in config.arms]
    found: dict[str, list[Run]] = {arm: [] for arm in arms}
    # Seed by seed: what is cut off has compared all arms on the seeds it got to.
    for seed in range(config.seeds):
        for arm in arms:
            found[arm].append(_result(study.arms[arm], config, config.output / f"{folder_name(arm)}-{seed}", seed))
    record = summarize(study, config, found)
    (config.output / "study.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    return record


def folder_name(arm: str) -> str:
    """An arm's name without what folders should not hold."""
    return "".join(letter if letter.isalnum() else "-" for letter in arm).lower()


def _result(clip: Any, config: StudyConfig, folder: Path, seed: int) -> Run:
    """What a run scored on the test split; trained before where it is not there."""
    steps = clip.optim.steps if config.steps is None else config.steps
    if not (folder / "run.json").exists():
        warmup = min(clip.optim.warmup_steps, max(1, steps // 10))
        optim = replace(clip.optim, steps=steps, warmup_steps=warmup)
        data = replace(clip.data, path=str(config.data))
        run(replace(clip, output=folder, seed=seed, data=data, optim=optim, overwrite=True))
    trained = json.loads((folder / "run.json").read_text())["config"]
    if (trained["optim"]["steps"], trained["data"]["path"]) != (steps, str(config.data)):
        raise ValueError(
            f"{folder} was trained for {trained['optim']['steps']} steps on {trained['data']['path']}, not for {steps} "
            f"on {config.data}. Choose another --output."
        )
    results = folder / "results" / f"{BENCHMARK}.json"
    if not results.exists():
        data_of_test = Data(data=config.data)
        run_benchmark(
            RunConfig(benchmark=BENCHMARK, model=str(folder / "model"), data=data_of_test, output=results.parent)
        )
    return json.loads(results.read_text())


def summarize(study: Study, config: StudyConfig, found: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Means and intervals over seeds of every arm, and of its differences from the baseline, seed by seed."""
    scores = {arm: [_scores(run, study.directions) for run in runs] for arm, runs in found.items()}
    first = next(iter(found.values()))[0]
    return {
        "study": config.name,
        "question": study.question,
        "baseline": study.baseline,
        **{name: first[name] for name in ORIGIN},
        "date": max(run["date"] for runs in found.values() for run in runs),
        "seeds": config.seeds,
        "steps": study.arms[study.baseline].optim.steps if config.steps is None else config.steps,
        "n": max(metric["n"] for metric in first["metrics"]),
        "chance": {name: value for runs in found.values() for name, value in _chance(runs[0], study)},
        "arms": {arm: summarize_seeds(runs) for arm, runs in scores.items()},
        "differences": {
            arm: summarize_seeds([_minus(run, base) for run, base in zip(runs, scores[study.baseline], strict=True)])
            for arm, runs in scores.items()
            if arm != study.baseline and study.baseline in scores
        },
        "config": asdict(config),
    }


def _scores(run: Run, directions: Iterable[str], prefix: str = "") -> dict[str, float]:
    values = {metric["name"]: metric["value"] for metric in run["metrics"]}
    names = [f"{direction}/recall_at_{k}" for direction in directions for k in RECALLS]
    return {name: values[prefix + name] for name in names if prefix + name in values}


def _chance(run: Run, study: Study) -> Iterable[tuple[str, float]]:
    return _scores(run, study.directions, "chance/").items()


def _minus(run: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    return {name: run[name] - base[name] for name in run if name in base}


def summarize_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Each metric over the seeds."""
    return {name: summary([run[name] for run in runs]) for name in runs[0]}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with the 95 % interval of Student's t, and the values themselves."""
    mean = statistics.mean(values)
    half = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def table(record: Mapping[str, Any]) -> str:
    """Recall at 10 of every arm, in percent; all else is in study.json."""
    arms = record["arms"]
    names = [name for name in record["chance"] if name.endswith("recall_at_10")]
    lines = [f"{'recall at 10':<28}" + "".join(f"{arm:>26}" for arm in arms)]
    for name in names:
        cells = "".join(f"{_percent(found.get(name)):>26}" for found in arms.values())
        lines.append(f"{name.split('/')[0]:<28}{cells}")
    return "\n".join(lines)


def _percent(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
