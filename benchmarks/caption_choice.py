"""Which of a machine's captions is best: the most similar, or the one that changes least when the image is turned?

python -m benchmarks.caption_choice --captioners runs/a runs/b --judges runs/c runs/d --output choice.json

RS5M samples twenty captions of an image, keeps the five that a CLIP finds closest, and takes the first of them or the
one whose similarity varies least over rotations. Here the scenes are simulated, so that a caption can be held against
what is in the image. The record has the form of a study: `model_cards.study_page` shows it beside the others.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import tyro
from datasets import Dataset
from PIL import Image
from tqdm import tqdm

from dataset_scripts.stages.caption_candidates import Captioner, CaptionerSettings, clean_candidates
from dataset_scripts.stages.clip_scorer import ClipScorerSettings
from dataset_scripts.stages.machine_captions import MachineCaptionSettings, ScoredCaption, rank_and_choose
from evaluation.captions.benchmark import references_of
from evaluation.captions.fusionrs_score import rouge_l_f1
from evaluation.captions.generation import SCENE_PROMPT, names
from evaluation.intervals.seed_interval import MOST_SEEDS, seed_differences, summarize_seeds
from evaluation.results import code_revision, dataset_record, weights_sha256
from evaluation.rows import load_split
from evaluation.text_runs import listing_of

from .record import provenance, write_record

BASELINE = "most similar"
# A caption drawn from all comes as often as it was sampled.
DRAWN = FROM_ALL, FROM_CLOSEST = ("drawn from all", "drawn from the closest")
# What each rule wants most; of equals the most similar is taken.
RULES: dict[str, Callable[[ScoredCaption], float]] = {
    BASELINE: lambda caption: caption.similarity,
    "highest mean of turns": lambda caption: caption.rotation_mean,
    "least change of turns": lambda caption: -caption.rotation_deviation,
    "mean less change": lambda caption: caption.rotation_mean - caption.rotation_deviation,
}
METRICS = ("class_named", "rouge_l", "distinct_texts")
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What writes, what chooses, and what is described."""

    captioners: tuple[Path, ...]
    """Runs of `train.train_captioner`, one for each seed."""
    judges: tuple[Path, ...]
    """Runs of `train.train_clip` that rank and choose, one for each seed."""
    data: Path = Path("fusionrs")
    """Folder of simulated rows."""
    split: str = "test"
    """Split to describe."""
    rows: int = 120
    """Rows from the start of the split."""
    candidates: int = 20
    """Captions sampled of each image."""
    kept: int = 5
    """Captions that are closest, among which a rule chooses."""
    output: Path
    """JSON file to write."""

    def __post_init__(self) -> None:
        if len(self.captioners) != len(self.judges) or not 2 <= len(self.judges) <= MOST_SEEDS:
            raise ValueError(
                f"{len(self.captioners)} captioners and {len(self.judges)} judges; wanted one of each for each seed, "
                f"of 2 to {MOST_SEEDS} seeds."
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Captions, chooses, scores, writes."""
    config = tyro.cli(Config, args=argv, description=__doc__)
    rows = load_split(str(config.data), config.split)
    rows = rows.select(range(min(config.rows, len(rows))))
    runs = [
        scores_of(rows, settings_of(captioner, judge, seed, config))
        for seed, (captioner, judge) in enumerate(zip(config.captioners, config.judges, strict=True))
    ]
    record = summary(runs, config, rows)
    write_record(config.output, record)
    for arm, found in record["arms"].items():
        print(f"{arm:25}" + "".join(f"{name} {100 * found[name]['mean']:5.1f}  " for name in METRICS if name in found))


def settings_of(captioner: Path, judge: Path, seed: int, config: Config) -> MachineCaptionSettings:
    """What RS5M does, with one ranking."""
    return MachineCaptionSettings(
        captioner=CaptionerSettings(
            model=str(captioner / "model"), prompt=SCENE_PROMPT, candidates=config.candidates, seed=seed, device="cpu"
        ),
        first_scorer=ClipScorerSettings(model=str(judge / "model"), device="cpu"),
        keep_first=config.kept,
    )


def scores_of(rows: Dataset, settings: MachineCaptionSettings) -> dict[str, Scores]:
    """By rule: how often the caption names the class, its overlap with the references, and how many captions differ."""
    captioner = Captioner.open(settings.captioner)
    chosen: dict[str, list[str]] = {rule: [] for rule in RULES}
    pools: dict[str, list[Sequence[str]]] = {name: [] for name in DRAWN}
    for row in tqdm(rows, desc="caption", unit="row"):
        with Image.open(io.BytesIO(row["rgb"]["bytes"])) as opened:
            image = opened.convert("RGB")
        written = [text for text in captioner.write_candidates(image, row["id"]) if text.strip()]
        if not (candidates := clean_candidates(written)):
            raise ValueError(f"{settings.captioner.model} wrote no caption of {row['id']!r}; train it for longer.")
        kept = rank_and_choose(0, image, candidates, settings).captions
        for rule, worth in RULES.items():
            chosen[rule].append(max(kept, key=worth).text)
        pools[FROM_ALL].append(written)
        pools[FROM_CLOSEST].append([caption.text for caption in kept])
    found = {name: quality(rows, pool) for name, pool in pools.items()}
    for rule, texts in chosen.items():
        distinct = {"distinct_texts": len(set(texts)) / len(texts)}
        found[rule] = quality(rows, [[text] for text in texts]) | distinct
    return found


def quality(rows: Dataset, texts: Sequence[Sequence[str]]) -> Scores:
    """Mean over rows of what one of each row's texts is expected to score."""
    facts = rows.select_columns(["class_name", "captions"]).to_list()
    named = [mean(names(text, row["class_name"]) for text in said) for row, said in zip(facts, texts, strict=True)]
    overlap = [mean(rouge_l_f1(text, row["captions"]) for text in said) for row, said in zip(facts, texts, strict=True)]
    return {"class_named": mean(named), "rouge_l": mean(overlap)}


def summary(runs: Sequence[Mapping[str, Scores]], config: Config, rows: Dataset) -> dict[str, Any]:
    """The record of a study: means and intervals over seeds, and differences from the baseline seed by seed."""
    arms = {rule: summarize_seeds([run[rule] for run in runs]) for rule in runs[0]}
    here = provenance(("torch", "transformers", "numpy", "pillow"))
    return {
        "study": "caption-choice",
        "question": "Of a machine's captions, is the most similar best, or the one that turning changes least?",
        "baseline": BASELINE,
        "command": command_of(config),
        "code_revisions": [str(code_revision())],
        "versions": here["versions"],
        "date": here["date"],
        "seeds": len(runs),
        "steps": steps_of(config.captioners),
        "exams": [
            {
                "name": "",
                "panels": [[name] for name in METRICS],
                "n": len(rows),
                "benchmark": "caption-choice",
                "protocol": f"caption-choice:{config.kept}-of-{config.candidates}",
                "dataset": {
                    **dataset_record(config.data, listing_of([references_of(rows, "captions")])),
                    "id": config.data.name,
                },
            }
        ],
        "chance": {},
        "arms": arms,
        "differences": {
            rule: seed_differences(found, arms[BASELINE]) for rule, found in arms.items() if rule != BASELINE
        },
        "parameters": {},
        "models": {str(run.name): weights_sha256(run / "model") for run in (*config.captioners, *config.judges)},
    }


def command_of(config: Config) -> str:
    """The command that makes the record, with the names of folders in place of where they are."""
    runs = " ".join(
        f"--{name} {' '.join(run.name for run in found)}"
        for name, found in (("captioners", config.captioners), ("judges", config.judges))
    )
    rows = f"--data {config.data.name} --rows {config.rows}"
    return f"python -m benchmarks.caption_choice {runs} {rows} --output choice.json"


def steps_of(runs: Sequence[Path]) -> int:
    """The steps that all runs took.

    Raises:
        ValueError: they differ.
    """
    steps = {int(json.loads((run / "run.json").read_text())["steps"]) for run in runs}
    if len(steps) > 1:
        raise ValueError(f"the captioners were trained for {sorted(steps)} steps; wanted equal ones.")
    return steps.pop()


if __name__ == "__main__":
    main()
