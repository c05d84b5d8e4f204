"""Trains the arms of a study, each with several seeds, and says how they differ; finished runs are not made again.

python -m train.study infrared-aware-text --data fusionrs --output runs/infrared_aware_text
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What to study, on what."""

    name: tyro.conf.Positional[Literal["infrared-aware-text"]]
    """The study."""
    output: Path
    """Folder of the runs, their results, and study.json."""
    data: Path = Path("fusionrs")
    """Folder of FusionRS rows with a training and a test split."""
    seeds: int = 3
    """Seeds of each arm."""
    steps: int | None = None
    """Steps of each run, where those of the study are not wanted."""

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= len(T_95) + 1:
            raise ValueError(f"seeds is {self.seeds}; an interval needs 2 to {len(T_95) + 1}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the study and prints its table."""
    record = run_study(tyro.cli(StudyConfig, args=argv, description=__doc__))
    print(table(record))


def run_study(config: StudyConfig) -> dict[str, Any]:
    """Trains and scores what is missing, and writes what all runs say together."""
    study = STUDIES[config.name]
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(config.seeds):
        for arm in study.arms:
            found.setdefault(arm, []).append(_scores(study, arm, seed, config))
    record = {
        "study": config.name,
        "question": study.question,
        "seeds": config.seeds,
        "arms": {arm: {name: summary([run[name] for run in runs]) for name in runs[0]} for arm, runs in found.items()},
        "differences": {
            arm: {
                name: summary([run[name] - base[name] for run, base in zip(runs, found[study.baseline], strict=True)])
                for name in runs[0]
            }
            for arm, runs in found.items()
            if arm != study.baseline
        },
        "config": asdict(config),
    }
    (config.output / "study.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    return record


def _scores(study: Study, arm: str, seed: int, config: StudyConfig) -> dict[str, float]:
    """Scores of one run on the test split; trained before where it is not there."""
    folder = config.output / f"{arm}-{seed}"
    clip = study.arms[arm]
    if not (folder / "run.json").exists():
        optim = clip.optim if config.steps is None else replace(clip.optim, steps=config.steps)
        data = replace(clip.data, path=str(config.data))
        run(replace(clip, output=folder, seed=seed, data=data, optim=optim, overwrite=True))
    results = folder / "results" / "retrieval-fusionrs.json"
    if not results.exists():
        run_benchmark(
            RunConfig(
                benchmark="retrieval-fusionrs",
                model=str(folder / "model"),
                data=Data(data=config.data),
                output=results.parent,
            )
        )
    metrics = json.loads(results.read_text())["metrics"]
    values = {metric["name"]: metric["value"] for metric in metrics}
    return {name: values[name] for name in study.metrics}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with the 95 % interval of Student's t, and the values themselves."""
    mean = statistics.mean(values)
    half = T_95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def table(record: Mapping[str, Any]) -> str:
    """The arms side by side, in percent."""
    arms = record["arms"]
    names = list(next(iter(arms.values())))
    lines = [f"{'':<42}" + "".join(f"{arm:>26}" for arm in arms)]
    for name in names:
        lines.append(f"{name:<42}" + "".join(f"{_percent(arms[arm][name]):>26}" for arm in arms))
    return "\n".join(lines)


def _percent(found: Mapping[str, float]) -> str:
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
