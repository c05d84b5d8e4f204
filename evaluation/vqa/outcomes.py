"""Protocol `vqa`: answers to questions, strict and format-tolerant, beside baselines that see no image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..captions.fusionrs_score import DRAWS, SEED
from ..captions.metrics import ScoredTexts
from ..intervals.cluster_bootstrap import Outcomes, Score, mean_score, with_intervals
from ..predictions import PredictionFile, read_predictions
from .baselines import blind_answers, constant_answers, majority_answers
from .questions import PUBLISHED_TYPES, Question, read_questions
from .scoring import exact_match, is_right, parse, parse_as_published, token_f1


@dataclass(frozen=True, kw_only=True)
class VqaScoring:
    """Scores a file of answers."""

    predictions: PredictionFile
    """The answers, by question id."""
    questions: Path
    """Questions that `write_questions` wrote; they are the manifest."""
    train_questions: Path | None = None
    """Questions of the training split, to add the majority and the blind baseline."""
    draws: int = DRAWS
    """Bootstrap samples."""
    seed: int = SEED
    """Seed of the samples."""


def run_vqa(config: VqaScoring) -> ScoredTexts:
    """Reads, scores and resamples by image."""
    questions = read_questions(config.questions)
    train = None if config.train_questions is None else read_questions(config.train_questions)
    predictions = read_predictions(config.predictions, [question.id for question in questions])
    outcomes = vqa_outcomes(questions, [text or "" for text in predictions.texts], train)
    return ScoredTexts(
        metrics=with_intervals(outcomes, config.draws, config.seed),
        outcomes=outcomes,
        rows=len(questions),
        missing=predictions.missing,
        failed=predictions.failed,
    )


def vqa_outcomes(
    questions: Sequence[Question], texts: Sequence[str], train: Sequence[Question] | None = None
) -> Outcomes:
    """Every metric of every question.

    `exact_match` and `token_f1` are the FusionRS benchmark's; `accuracy` is of `parse`, `accuracy_as_published` of
    the published parser where all types are its own; `unparsed` is the share of texts from which `parse` reads nothing.
    Each comes overall and per type, of yes-no questions also per right answer.

    Args:
        questions: The manifest.
        texts: The answer to each; empty where there is none, which is wrong.
        train: Training questions, for the baselines that learn from them.
    """
    parsed = [parse(question, text) for question, text in zip(questions, texts, strict=True)]
    values = {
        "exact_match": [float(exact_match(one, text)) for one, text in zip(questions, texts, strict=True)],
        "token_f1": [token_f1(one, text) for one, text in zip(questions, texts, strict=True)],
        "accuracy": [float(is_right(one, answer)) for one, answer in zip(questions, parsed, strict=True)],
        "unparsed": [float(answer is None) for answer in parsed],
    }
    if all(question.type in PUBLISHED_TYPES for question in questions):
        values["accuracy_as_published"] = [
            float(is_right(one, parse_as_published(one, text))) for one, text in zip(questions, texts, strict=True)
        ]
    baselines = {"constant_per_type": constant_answers(questions)}
    if train is not None:
        baselines |= {"majority": majority_answers(train, questions), "blind": blind_answers(train, questions)}
    values |= {
        f"baseline/{name}/accuracy": [
            float(is_right(one, answer)) for one, answer in zip(questions, answers, strict=True)
        ]
        for name, answers in baselines.items()
    }
    scores = [score for name, value in values.items() for score in _by_type(questions, name, value)]
    return Outcomes(
        keys=tuple(question.id for question in questions),
        clusters=tuple(question.image_id for question in questions),
        scores=tuple(scores),
    )


def _by_type(questions: Sequence[Question], name: str, values: Sequence[float]) -> list[Score]:
    scores = [mean_score(name, values)]
    for kind in sorted({question.type for question in questions}):
        scores.append(mean_score(f"{kind}/{name}", values, [question.type == kind for question in questions]))
    yes_no = {(question.type, question.answers[0]) for question in questions if set(question.choices) == {"yes", "no"}}
    for kind, answer in sorted(yes_no):
        here = [(question.type, question.answers[0]) == (kind, answer) for question in questions]
        scores.append(mean_score(f"{kind}/{answer}/{name}", values, here))
    return scores
