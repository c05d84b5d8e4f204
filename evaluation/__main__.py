"""Evaluates models.

python -m evaluation list
python -m evaluation run retrieval-fusionrs --model runs/clip/model --data fusionrs --output results
python -m evaluation score retrieval-rs --bundle mine.npz --output results/mine.json
python -m evaluation questions scenes --data fusionrs --output questions.jsonl
python -m evaluation report results --output report
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from .captions.facts import FactsRun, evaluate_facts
from .localization.run import LocalizationRun, evaluate_localization
from .report import ReportConfig, protocol_list, table, write_report
from .run import RunConfig, run_benchmark
from .score import ScoreConfig, score_bundle
from .text_runs import CaptioningRun, TextAuditRun, VqaRun, run_texts
from .translation.run import TranslationRun, evaluate_translation
from .vqa.answering import AnswersRun, evaluate_answers
from .vqa.questions import HitUavQuestions, run_hit_uav_questions
from .vqa.scene_questions import SceneQuestions, run_scene_questions

Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """Show every protocol with its source."""


@dataclass(frozen=True, kw_only=True)
class QuestionsConfig:
    """Write the questions of vqa: `questions hit-uav --help`, `questions scenes --help`."""


COMMANDS: dict[str, Command] = {
    "run": RunConfig,
    "score": ScoreConfig,
    "questions": QuestionsConfig,
    "list": ListConfig,
    "report": ReportConfig,
}
# Benchmarks that read something else than a model and a built dataset have options of their own.
OF_TWO_WORDS: dict[tuple[str, str], Command] = {
    ("run", "localization"): LocalizationRun,
    ("run", "captioning"): CaptioningRun,
    ("run", "vqa"): VqaRun,
    ("run", "answers"): AnswersRun,
    ("run", "caption-facts"): FactsRun,
    ("run", "text-audit"): TextAuditRun,
    ("run", "translation"): TranslationRun,
    ("questions", "hit-uav"): HitUavQuestions,
    ("questions", "scenes"): SceneQuestions,
}


def parse(arguments: Sequence[str]) -> Any:
    """The configuration that a command line asks for."""
    first = tuple(arguments[:2])
    if len(first) == 2 and first in OF_TWO_WORDS:
        program = f"python -m evaluation {' '.join(first)}"
        return tyro.cli(OF_TWO_WORDS[first], prog=program, args=arguments[2:])
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="python -m evaluation", description=__doc__, args=arguments
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that was asked for."""
    config = parse(sys.argv[1:] if arguments is None else arguments)
    match config:
        case RunConfig():
            print(table(run_benchmark(config)))
            print(config.results)
        case LocalizationRun():
            print(table(evaluate_localization(config)))
            print(config.results)
        case CaptioningRun() | VqaRun() | TextAuditRun():
            print(table(run_texts(config)))
            print(config.results)
        case AnswersRun():
            print(table(evaluate_answers(config)))
            print(config.results)
        case FactsRun():
            print(table(evaluate_facts(config)))
            print(config.results)
        case TranslationRun():
            print(table(evaluate_translation(config)))
            print(config.results)
        case ScoreConfig():
            print(table(score_bundle(config).metrics))
            print(config.output)
        case HitUavQuestions():
            print(f"{len(run_hit_uav_questions(config)):,} questions in {config.output}")
        case SceneQuestions():
            print(f"{len(run_scene_questions(config)):,} questions in {config.output}")
        case QuestionsConfig():
            sys.exit("Of which data? Say `questions hit-uav` or `questions scenes`.")
        case ReportConfig():
            print(write_report(config))
        case ListConfig():
            print(protocol_list())


if __name__ == "__main__":
    main()
