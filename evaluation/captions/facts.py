"""Benchmark `caption-facts`: what a captioner reads from the infrared that the RGB cannot show.

python -m evaluation run caption-facts --model runs/captioner/model --data fusionrs --output results

Questions are balanced: of each wording as many have one answer as the other, so that half is chance.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from modeling_rsclip import RSCaptionerForConditionalGeneration
from processing import RSCaptionerProcessor

from ..cases import Cases, Outcome
from ..intervals.cluster_bootstrap import Outcomes, mean_score, with_intervals
from ..results import Metric, check_file_name, dataset_record, weights_sha256
from ..rows import load_split
from ..score import plain, refuse_existing, write_files
from ..text_runs import listing_of
from ..vqa.infrared_questions import balanced, infrared_questions
from ..vqa.questions import Question
from ..vqa.scene_questions import TIME
from ..vqa.scoring import is_right, parse
from .benchmark import references_of
from .generation import INFRARED_PROMPT, Caption, answer, day_or_night, load_captioner

SHOWN = ("rgb", "infrared", "pair")


@dataclass(frozen=True, kw_only=True)
class FactsRun:
    """Ask a captioner balanced questions of what the simulator renders in the infrared only."""

    model: str
    """Folder or Hub id of the captioner."""
    data: Path = Path("fusionrs")
    """Folder the dataset builder wrote."""
    split: str = "test"
    """Split to ask about."""
    output: Path
    """Folder of NAME.json, NAME.cases.npz and NAME.png."""
    name: str = "caption-facts"
    """NAME of the files."""
    overwrite: bool = False
    """Replace results of that name."""
    rows: int | None = None
    """Rows from the start of the split; all when not given."""
    device: str = "cpu"
    """Where the model runs, e.g. cuda."""
    revision: str | None = None
    """Git revision of a model on the Hub."""
    batch_size: int = 32
    """Questions that are answered together."""

    def __post_init__(self) -> None:
        check_file_name(self.name)
        if self.batch_size < 1 or (self.rows is not None and self.rows < 1):
            raise ValueError(f"batch_size is {self.batch_size} and rows {self.rows}, wanted at least 1 of each.")

    @property
    def results(self) -> Path:
        """The results file."""
        return self.output / f"{self.name}.json"


def evaluate_facts(config: FactsRun) -> list[Metric]:
    """Asks, scores, writes; returns the metrics."""
    refuse_existing(config.results, config.overwrite)
    folder, captioner, processor = load_captioner(config.model, config.revision, config.device, "caption-facts")
    rows = load_split(str(config.data), config.split)
    rows = rows.select(range(len(rows) if config.rows is None else min(config.rows, len(rows))))
    outcome = ask_facts(captioner, processor, rows, config.batch_size)
    write_files(
        config.results,
        outcome,
        benchmark="caption-facts",
        protocol="caption-facts",
        model={"id": config.model, "weights_sha256": weights_sha256(folder)},
        dataset=dataset_record(config.data, listing_of([references_of(rows, "infrared_captions")])),
        config=plain(asdict(config)),
    )
    return outcome.metrics


def ask_facts(
    model: RSCaptionerForConditionalGeneration, processor: RSCaptionerProcessor, rows: Dataset, batch_size: int = 32
) -> Outcome:
    """Every metric, by what the captioner was shown, and what each question adds to it.

    `SHOWN/TYPE` is the share of right answers to balanced questions, `SHOWN/caption/time_of_day` that of greedy
    infrared captions that say the right one of day and night, of as many rows of one as of the other. `chance/TYPE` is
    the share that a constant answer to each wording has. `swapped/caption_changed` is the share of pairs whose greedy
    caption changes if the infrared is that of another scene at the other time of day, and `swapped/time_followed` the
    share whose caption then says that other time.

    Raises:
        ValueError: no question of the rows has both answers.
    """
    asked = balanced([question for row in _texts_of(rows) for question in infrared_questions(row)])
    times = {question.image_id: question.answers[0] for question in asked if question.type == TIME}
    if not times:
        raise ValueError(
            f"no infrared caption of the {len(rows)} rows says day or night, or all say the same; wanted rows of the "
            "simulator, or others whose infrared captions do."
        )
    place = {key: number for number, key in enumerate(rows["id"])}
    timed = [rows[place[key]] for key in times]
    outcomes = []
    for shown in SHOWN:
        shows = [rows[place[question.image_id]] for question in asked]
        texts = answer(model, processor, shows, shown, [question.prompt for question in asked], batch_size, 8)
        outcomes.append(_answers(asked, texts, shown))
        captions = answer(model, processor, timed, shown, [INFRARED_PROMPT] * len(timed), batch_size)
        outcomes.append(_said_times(list(times.values()), captions, f"{shown}/caption/time_of_day"))
    outcomes.append(_swapped(model, processor, timed, list(times.values()), captions, batch_size))
    metrics = [metric for found in outcomes for metric in with_intervals(found)] + _chance(asked)
    return Outcome(metrics=metrics, cases=Cases(texts=tuple(outcomes)))


def _texts_of(rows: Dataset) -> list[dict[str, Any]]:
    return rows.select_columns(["id", "class_name", "infrared_captions"]).to_list()


def _answers(asked: Sequence[Question], texts: Sequence[Caption], shown: str) -> Outcomes:
    right = [is_right(one, parse(one, text.text)) for one, text in zip(asked, texts, strict=True)]
    scores = [
        mean_score(f"{shown}/{kind}", right, [one.type == kind for one in asked])
        for kind in sorted({one.type for one in asked})
    ]
    return Outcomes(
        keys=tuple(one.id for one in asked), clusters=tuple(one.image_id for one in asked), scores=tuple(scores)
    )


def _said_times(times: Sequence[str], captions: Sequence[Caption], name: str) -> Outcomes:
    right = [day_or_night(said.text) == time for said, time in zip(captions, times, strict=True)]
    keys = tuple(said.id for said in captions)
    return Outcomes(keys=keys, clusters=keys, scores=(mean_score(name, right),))


def _swapped(
    model: RSCaptionerForConditionalGeneration,
    processor: RSCaptionerProcessor,
    rows: Sequence[dict[str, Any]],
    times: Sequence[str],
    before: Sequence[Caption],
    batch_size: int,
) -> Outcomes:
    """Captions of pairs whose infrared was exchanged between a scene by day and one by night."""
    by_time = {time: [number for number, found in enumerate(times) if found == time] for time in ("day", "night")}
    partner = dict(zip(by_time["day"], by_time["night"], strict=True))
    partner |= {night: day for day, night in partner.items()}
    swapped = [{**row, "infrared": rows[partner[number]]["infrared"]} for number, row in enumerate(rows)]
    after = answer(model, processor, swapped, "pair", [INFRARED_PROMPT] * len(rows), batch_size)
    changed = [one.text != other.text for one, other in zip(before, after, strict=True)]
    followed = [day_or_night(one.text) == times[partner[number]] for number, one in enumerate(after)]
    keys = tuple(row["id"] for row in rows)
    scores = (mean_score("swapped/caption_changed", changed), mean_score("swapped/time_followed", followed))
    return Outcomes(keys=keys, clusters=keys, scores=scores)


def _chance(asked: Sequence[Question]) -> list[Metric]:
    """A constant answer to each wording: half, for the questions are balanced."""
    found = []
    for kind in sorted({one.type for one in asked}):
        here = [one for one in asked if one.type == kind]
        counts: dict[str, dict[str, int]] = {}
        for one in here:
            answers = counts.setdefault(one.question, {})
            answers[one.answers[0]] = answers.get(one.answers[0], 0) + 1
        share = sum(max(answers.values()) for answers in counts.values()) / len(here)
        found.append(Metric(name=f"chance/{kind}", value=share, low=share, high=share, n=len(here)))
    return found
