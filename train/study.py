"""Trains the arms of a study, each with several seeds, and says how they differ; finished runs are not made again.

python -m train.study infrared-aware-text --data fusionrs --output runs/infrared_aware_text
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from evaluation.bundles import Data
from evaluation.captions.facts import FactsRun, evaluate_facts
from evaluation.intervals.seed_interval import MOST_SEEDS, key, seed_differences, summarize_seeds, with_interval
from evaluation.results import weights_sha256
from evaluation.run import RunConfig, run_benchmark
from evaluation.translation.run import TranslationRun, evaluate_translation
from evaluation.vqa.answering import AnswersRun, evaluate_answers

from . import train_captioner, train_clip, train_translator
from .captioner.config import CaptionerConfig
from .clip.config import ClipConfig
from .studies import STUDIES, Arm, Exam, Place, Study
from .translator.config import TranslatorConfig

# Rows that `captions` captions in each of three ways.
CAPTIONED = 200
StudyName = Literal[
    "infrared-aware-text",
    "translated-infrared",
    "translator",
    "sensors",
    "towers",
    "data-scale",
    "text-limit",
    "tuning",
    "captioner",
    "captioner-text",
    "captioner-facts",
]
Result = Mapping[str, Any]
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders that a study names; which ones it needs is said where one is missing."""

    data: Path = Path("fusionrs")
    """Folder of FusionRS rows with a training and a test split."""
    translated: Path | None = None
    """The same rows, with translated infrared."""
    naip: Path | None = None
    """Built dataset of RGB and measured near infrared."""
    forest: Path | None = None
    """Built dataset of forest in RGB and measured near infrared, all of it in `train`."""
    hit_uav: Path | None = None
    """Folder of HIT-UAV with train, validation and test (JSON and images)."""
    base: Path | None = None
    """Model folder to start from."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What to study, on what."""

    name: tyro.conf.Positional[StudyName]
    """The study."""
    output: Path
    """Folder of the runs, their results, and study.json."""
    places: Annotated[Places, tyro.conf.arg(name="")] = Places()
    seeds: int = 3
    """Seeds of each arm."""
    steps: int | None = None
    """Steps of each run, where those of the study are not wanted."""
    arms: tuple[str, ...] | None = None
    """Arms to run, where not all are wanted."""

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= MOST_SEEDS:
            raise ValueError(f"seeds is {self.seeds}; an interval needs 2 to {MOST_SEEDS}.")
        if self.arms == ():
            raise ValueError(f"arms are none; leave --arms out for all of {', '.join(STUDIES[self.name].arms)}.")
        unknown = [arm for arm in self.arms or () if arm not in STUDIES[self.name].arms]
        if unknown:
            raise ValueError(f"{self.name} has no arm {unknown[0]!r}, only {', '.join(STUDIES[self.name].arms)}.")
        missing = sorted(place for place in self.read if getattr(self.places, place) is None)
        if missing:
            raise ValueError(f"{self.name} needs {' and '.join(f'--{name}' for name in missing).replace('_', '-')}.")

    @property
    def chosen(self) -> dict[str, Arm | None]:
        """The arms to run."""
        return {name: arm for name, arm in STUDIES[self.name].arms.items() if self.arms is None or name in self.arms}

    @property
    def read(self) -> set[Place]:
        """The places that its arms and exams read."""
        asked = {exam.place for exam in STUDIES[self.name].exams}
        return asked.union(*(_named(arm) for arm in self.chosen.values()))

    def folder(self, place: str | Path) -> Path:
        """The folder that a study's word stands for."""
        folder = getattr(self.places, str(place))
        assert isinstance(folder, Path)
        return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the study and prints its table."""
    record = run_study(tyro.cli(StudyConfig, args=argv, description=__doc__))
    print(table(record))


def run_study(config: StudyConfig) -> dict[str, Any]:
    """Trains and asks what is missing, and writes what all runs say together."""
    study = STUDIES[config.name]
    found: dict[str, list[list[Result]]] = {arm: [] for arm in config.chosen}
    parameters: dict[str, Any] = {}
    # Seed by seed: what is cut off has compared all arms on the seeds it got to.
    for seed in range(config.seeds):
        for name, arm in config.chosen.items():
            folder = config.output / f"{folder_name(name)}-{seed}"
            if arm is None:
                model = config.folder("base")
            else:
                trained = _trained(placed(arm, config), folder, seed)
                model = folder / "model"
                parameters |= {name: trained["parameters"]} if "parameters" in trained else {}
            if arm is not None or seed == 0:
                found[name].append([_asked(exam, model, folder / "results", config) for exam in study.exams])
    record = summarize(study, config, found)
    record["parameters"] = parameters
    (config.output / "study.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    return record


def folder_name(arm: str) -> str:
    """An arm's name without what folders should not hold."""
    return "".join(letter if letter.isalnum() else "-" for letter in arm).lower()


def _named(arm: Arm | None) -> set[Place]:
    """The places that a run reads."""
    if arm is None:
        return {"base"}
    named: set[Any] = {arm.data.path}
    match arm:
        case CaptionerConfig():
            named.add(str(arm.model.clip))
        case ClipConfig() if arm.model.source is not None:
            named.add(str(arm.model.source))
    return named


def placed(arm: Arm, config: StudyConfig) -> Arm:
    """An arm with the folders of this machine, and as many steps as are wanted."""
    steps = arm.optim.steps if config.steps is None else config.steps
    optim = replace(arm.optim, steps=steps, warmup_steps=min(arm.optim.warmup_steps, max(1, steps // 10), steps - 1))
    path = str(config.folder(arm.data.path))
    match arm:
        case CaptionerConfig():
            model = replace(arm.model, clip=config.folder(arm.model.clip))
            return replace(arm, optim=optim, data=replace(arm.data, path=path), model=model)
        case ClipConfig():
            source = None if arm.model.source is None else str(config.folder(arm.model.source))
            clip = replace(arm.model, source=source)
            return replace(arm, optim=optim, data=replace(arm.data, path=path), model=clip)
        case TranslatorConfig():
            return replace(arm, optim=optim, data=replace(arm.data, path=path))


def _trained(arm: Arm, folder: Path, seed: int) -> dict[str, Any]:
    """What a run says of itself; trained before where it is not there."""
    if not (folder / "run.json").exists():
        arm = replace(arm, output=folder, seed=seed, overwrite=True)
        match arm:
            case CaptionerConfig():
                train_captioner.run(arm)
            case TranslatorConfig():
                train_translator.run(arm)
            case ClipConfig():
                train_clip.run(arm)
    done: dict[str, Any] = json.loads((folder / "run.json").read_text())
    wanted = json.loads(json.dumps(asdict(replace(arm, output=folder, seed=seed)), default=str))
    if others := _differences_of(done["config"], wanted, unread=("output", "overwrite")):
        raise ValueError(f"{folder} was trained otherwise ({'; '.join(others)}). Choose another --output.")
    return done


def _differences_of(before: Any, wanted: Any, path: str = "", unread: Sequence[str] = ()) -> list[str]:
    """What differs of the settings that a run knew; one that came later had no effect on it."""
    if isinstance(before, dict) and isinstance(wanted, dict):
        return [
            found
            for name in before
            if name in wanted and name not in unread
            for found in _differences_of(before[name], wanted[name], f"{path}.{name}".lstrip("."))
        ]
    return [] if before == wanted else [f"{path} was {before}, wanted {wanted}"]


def _asked(exam: Exam, model: Path, folder: Path, config: StudyConfig) -> Result:
    """The results of an exam; taken where they are not there."""
    name = folder_name(exam.name) or exam.benchmark
    results = folder / f"{name}.json"
    if not results.exists():
        place = config.folder(exam.place)
        if exam.benchmark == "caption-facts":
            evaluate_facts(FactsRun(model=str(model), data=place, split=exam.split, output=folder, name=name))
        elif exam.benchmark == "answers":
            evaluate_answers(AnswersRun(model=str(model), data=place, split=exam.split, output=folder, name=name))
        elif exam.benchmark == "translation":
            translation = TranslationRun(model=str(model), data=place, split=exam.split, output=folder, name=name)
            # What needs no network is fitted where the network learnt.
            evaluate_translation(replace(translation, fit_data=config.places.data))
        else:
            data = Data(data=place, split=exam.split, condition=exam.condition)
            run = RunConfig(benchmark=exam.benchmark, model=str(model), data=data, output=folder, name=name)
            run_benchmark(replace(run, rows=CAPTIONED) if exam.benchmark == "captions" else run)
    found: dict[str, Any] = json.loads(results.read_text())
    condition = f":{exam.condition}" if exam.condition != "as_is" else ""
    wanted = (str(config.folder(exam.place)), exam.split, weights_sha256(model), True)
    dataset, weights = found["dataset"]["id"], found["model"]["weights_sha256"]
    if (dataset, _split_of(found["config"]), weights, found["protocol"].endswith(condition)) != wanted:
        raise ValueError(f"{results} is of other weights or other rows. Remove it, or choose another --output.")
    return found


def _split_of(asked: Mapping[str, Any]) -> Any:
    """The split of a benchmark's configuration, which holds it among the options of its data or its own."""
    return asked["split"] if "split" in asked else asked["data"]["split"]


def summarize(study: Study, config: StudyConfig, found: Mapping[str, Sequence[Sequence[Result]]]) -> dict[str, Any]:
    """Means and intervals over seeds of every arm, and of its differences from the baseline, seed by seed.

    Args:
        study: The question.
        config: What was run.
        found: By arm, seed and exam.
    """
    arms = {arm: summarize_seeds([_scores(run, study.exams) for run in runs]) for arm, runs in found.items()}
    first = next(iter(found.values()))[0]
    results = [result for runs in found.values() for run in runs for result in run]
    if any(result["versions"] != first[0]["versions"] for result in results):
        raise ValueError("the results of a study are of several versions of its libraries; take them again.")
    base = arms.get(study.baseline)
    trained = [arm for arm in study.arms.values() if arm is not None]
    return {
        "study": config.name,
        "question": study.question,
        "baseline": study.baseline,
        "command": command_of(config),
        "code_revisions": sorted({str(result["code_revision"]) for result in results}),
        "versions": first[0]["versions"],
        "date": max(result["date"] for result in results),
        "seeds": config.seeds,
        "steps": trained[0].optim.steps if config.steps is None else config.steps,
        "exams": [
            {
                "name": exam.name,
                "panels": exam.panels,
                "n": max(metric["n"] for metric in result["metrics"]),
                "benchmark": result["benchmark"],
                "protocol": result["protocol"],
                "dataset": {**result["dataset"], "id": Path(result["dataset"]["id"]).name},
            }
            for exam, result in zip(study.exams, first, strict=True)
        ],
        "chance": {name: value for runs in found.values() for name, value in _chance(runs[0], study.exams).items()},
        "arms": arms,
        "differences": {
            arm: seed_differences(runs, base)
            for arm, runs in arms.items()
            if arm != study.baseline and base is not None
        },
    }


def command_of(config: StudyConfig) -> str:
    """The command that makes the study, with the names of folders in place of where they are."""
    words = ["python -m train.study", config.name, f"--seeds {config.seeds}"]
    words += [f"--steps {config.steps}"] if config.steps is not None else []
    words += ["--arms", *(f'"{arm}"' for arm in config.arms)] if config.arms is not None else []
    words += [
        f"--{place.replace('_', '-')} {config.folder(place).name}" for place in get_args(Place) if place in config.read
    ]
    return " ".join([*words, f"--output runs/{config.name.replace('-', '_')}"])


def _scores(run: Sequence[Result], exams: Iterable[Exam]) -> Scores:
    """What the exams report; of a recall at 10 also those at 1 and 5."""
    scores: Scores = {}
    for exam, result in zip(exams, run, strict=True):
        values = _values(result)
        scores |= {key(exam.name, name): values[name] for name in _reported(exam) if name in values}
    return scores


def _chance(run: Sequence[Result], exams: Iterable[Exam]) -> Scores:
    """The same of an answer without a model; of facts it does not depend on what was shown, of questions it is one."""
    chance: Scores = {}
    for exam, result in zip(exams, run, strict=True):
        values = _values(result)
        for name in _reported(exam):
            kind, _, last = name.rpartition("/")
            for said in (f"chance/{name}", f"chance/{last}", f"{kind}/baseline/constant_per_type/{last}"):
                if said in values:
                    chance.setdefault(key(exam.name, name), values[said])
    return chance


def _values(result: Result) -> Scores:
    return {metric["name"]: metric["value"] for metric in result["metrics"]}


def _reported(exam: Exam) -> list[str]:
    shown = [metric for panel in exam.panels for metric in panel]
    return list(dict.fromkeys(metric.replace("_at_10", f"_at_{k}") for metric in shown for k in (1, 5, 10)))


def table(record: Mapping[str, Any]) -> str:
    """What each exam reports of every arm, in percent or dB; all else is in study.json."""
    lines = []
    for exam in record["exams"]:
        lines.append(f"{exam['name'] or exam['benchmark']:<44}" + "".join(f"{arm:>24}" for arm in record["arms"]))
        for metric in (metric for panel in exam["panels"] for metric in panel):
            found = [metrics.get(key(exam["name"], metric)) for metrics in record["arms"].values()]
            if any(found):
                lines.append(
                    f"  {metric:<42}" + "".join(f"{with_interval(one, metric) if one else '-':>24}" for one in found)
                )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
