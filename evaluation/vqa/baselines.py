"""What answers without an image score: the floor that a model must clear to have looked."""

from collections import Counter
from collections.abc import Callable, Sequence

from .questions import Question


def constant_answers(questions: Sequence[Question]) -> list[str]:
    """The commonest answer of each type among the very questions: the best that one constant per type can score."""
    return _commonest(questions, questions, lambda question: question.type)


def majority_answers(train: Sequence[Question], questions: Sequence[Question]) -> list[str]:
    """The commonest answer of each type among training questions."""
    return _commonest(train, questions, lambda question: question.type)


def blind_answers(train: Sequence[Question], questions: Sequence[Question]) -> list[str]:
    """The commonest answer of each question's wording among training questions: a reader who sees no image.

    A wording that training lacks is an error: it has no blind answer.
    """
    return _commonest(train, questions, lambda question: question.question)


def _commonest(known: Sequence[Question], asked: Sequence[Question], kind: Callable[[Question], str]) -> list[str]:
    counts: dict[str, Counter[str]] = {}
    for question in known:
        counts.setdefault(kind(question), Counter())[question.answers[0]] += 1
    lost = sorted({kind(question) for question in asked} - set(counts))
    if lost:
        raise ValueError(f"no training question is like {lost[0]!r}, so it has no commonest answer.")
    # Of equally common answers the first in the alphabet, so that the order of the file does not decide.
    best = {name: min(found, key=lambda answer: (-found[answer], answer)) for name, found in counts.items()}
    return [best[kind(question)] for question in asked]
