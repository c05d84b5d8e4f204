"""Benchmark `answers`: a captioner answers the questions of `vqa` about the images themselves, and is scored by it.

python -m evaluation run answers --model runs/captioner/model --data hit_uav --output results
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, overload

from ..captions.fusionrs_score import DRAWS, SEED
from ..captions.generation import answer, load_captioner
from ..cases import Cases, Outcome
from ..intervals.cluster_bootstrap import with_intervals
from ..results import Metric, check_file_name, file_sha256, weights_sha256
from ..rows import is_built, load_split
from ..score import plain, refuse_existing, write_files
from .outcomes import vqa_outcomes
from .questions import Question, read_hit_uav_questions, write_questions
from .scene_questions import read_scene_questions


@dataclass(frozen=True, kw_only=True)
class AnswersRun:
    """Ask a captioner of ours about images, and score its answers as `vqa` does."""

    model: str
    """Folder or Hub id of the captioner."""
    data: Path = Path("fusionrs")
    """Folder of NAME.json and images in NAME/ for each split, as HIT-UAV; or one that the dataset builder wrote."""
    split: str = "test"
    """Split to ask about."""
    train_split: str = "train"
    """Split whose questions the baselines learn from that see no image."""
    shown: Literal["rgb", "infrared", "pair"] | None = None
    """What a built dataset shows; the pair when not given. HIT-UAV has infrared only."""
    output: Path
    """Folder of NAME.json, NAME.jsonl (the answers), NAME.questions.jsonl, NAME.cases.npz and NAME.png."""
    name: str | None = None
    """NAME of the files; answers when not given."""
    overwrite: bool = False
    """Replace results of that name."""
    device: str = "cpu"
    """Where the model runs, e.g. cuda."""
    revision: str | None = None
    """Git revision of a model on the Hub."""
    batch_size: int = 32
    """Questions that are answered together."""
    max_new_tokens: int = 32
    """Longest answer in tokens; what a longer one would have said is cut off."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_new_tokens < 1:
            raise ValueError(
                f"batch_size is {self.batch_size} and max_new_tokens {self.max_new_tokens}, wanted at least 1 of each."
            )
        if self.split == self.train_split:
            raise ValueError(f"split and train_split are both {self.split!r}; no baseline may learn what it answers.")
        check_file_name(self.name)
        if self.shown in ("rgb", "pair") and not is_built(self.data):
            raise ValueError(f"{self.data} is no built dataset, so it has infrared images only; leave --shown out.")

    @property
    def results(self) -> Path:
        """The results file."""
        return self.output / f"{self.name or 'answers'}.json"


class ImagesOf(Sequence[dict[str, Any]]):
    """A row with its infrared file for each question, read when it is asked for."""

    def __init__(self, questions: Sequence[Question], folder: Path) -> None:
        self.questions, self.folder = questions, folder

    def __len__(self) -> int:
        return len(self.questions)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return ImagesOf(self.questions[place], self.folder)
        question = self.questions[place]
        return {"id": question.id, "infrared": {"bytes": (self.folder / question.image).read_bytes()}}


def evaluate_answers(config: AnswersRun) -> list[Metric]:
    """Asks, scores, writes; returns the metrics.

    Raises:
        ValueError: the model is no captioner, or nothing can be asked of the split.
    """
    refuse_existing(config.results, config.overwrite)
    folder, captioner, processor = load_captioner(config.model, config.revision, config.device, "answers")
    questions, train = (questions_of(config.data, split) for split in (config.split, config.train_split))
    rows, shown = _images(config, questions)
    prompts = [question.prompt for question in questions]
    said = answer(captioner, processor, rows, shown, prompts, config.batch_size, config.max_new_tokens)
    unknown = {one.question for one in questions} - {one.question for one in train}
    outcomes = vqa_outcomes(questions, [one.text for one in said], None if unknown else train)
    metrics = with_intervals(outcomes, DRAWS, SEED)
    notes = {"wordings_unknown_to_baselines": sorted(unknown)}
    asked = config.results.with_suffix(".questions.jsonl")
    write_questions(questions, asked, overwrite=True)
    write_files(
        config.results,
        Outcome(metrics=metrics, cases=Cases(texts=(outcomes,)), notes=notes),
        benchmark="vqa",
        protocol="vqa",
        model={"id": config.model, "weights_sha256": weights_sha256(folder)},
        dataset={"id": str(config.data), "listing_sha256": file_sha256(asked)},
        config=plain(asdict(config)),
        seed=SEED,
    )
    lines = [{"id": question.id, "text": one.text} for question, one in zip(questions, said, strict=True)]
    config.results.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return metrics


def questions_of(data: Path, split: str) -> list[Question]:
    """What boxes, or the columns of a built dataset, prove of a split."""
    questions = read_scene_questions(data, split) if is_built(data) else read_hit_uav_questions(data / f"{split}.json")
    if not questions:
        raise ValueError(f"nothing can be asked of split {split!r} of {data}: no class, time of day, or box.")
    return questions


def _images(config: AnswersRun, questions: Sequence[Question]) -> tuple[Sequence[dict[str, Any]], str]:
    """The row of each question, and what of it is shown."""
    if not is_built(config.data):
        return ImagesOf(questions, config.data / config.split), "infrared"
    rows = load_split(str(config.data), config.split)
    place = {key: number for number, key in enumerate(rows["id"])}
    found: Any = rows.select([place[question.image_id] for question in questions])
    return found, config.shown or "pair"
