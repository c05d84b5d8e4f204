"""Questions about what only the infrared image shows, whose answers the infrared captions of FusionRS rows prove.

The simulator writes "the trees look bright while the road looks dark" and "no boat has a bright engine"; captions in
other words give no question. Bright and dark are what the image shows, not temperatures.
"""

import re
from collections.abc import Sequence
from typing import Any

from .questions import SEED, Question, hash_order
from .scene_questions import TIME, choice_question, scene_questions

BRIGHTNESS, STATE = "region_brightness", "object_state"
INFRARED_TYPES = (TIME, BRIGHTNESS, STATE)

_REGIONS = re.compile(r"the ([a-z ]+?) (looks?) bright while the ([a-z ]+?) (looks?) dark")
_STATES = re.compile(
    r"(?P<no>\bno )?\b"
    r"(?P<noun>airplane|ship|boat|tractor|locomotive|truck|car|large roof|roof|panel row|seating bowl)s?"
    r" (?P<look>(?:has|have|shows?) (?:a bright|one bright|bright) (?:engine|hood|cab|vent|section)s?"
    r"|(?:is|are) bright(?: at the stern)?|glows? bright)"
)
_LOOKS = {"engine": "have a bright engine", "hood": "have a bright hood", "cab": "have a bright cab"}
_LOOKS |= {"vent": "show bright vents", "section": "have a bright section", "stern": "look bright at the stern"}
_LOOKS |= {"glow": "glow bright"}


def infrared_questions(row: dict[str, Any]) -> list[Question]:
    """Every question that the infrared captions of a row answer: time of day, regions, states of objects."""
    questions = [question for question in scene_questions([row]) if question.type == TIME]
    text = " ".join(row["infrared_captions"] or ()).lower()
    found: dict[str, set[tuple[str, str]]] = {}  # question to its type and answers: a contradiction is no question
    for bright, _, dark, _ in _REGIONS.findall(text):
        for region, answer in ((bright, "bright"), (dark, "dark")):
            verb = "Do" if region.endswith("s") and not region.endswith("ss") else "Does"
            found.setdefault(f"{verb} the {region} look bright or dark in the infrared image?", set()).add(
                (BRIGHTNESS, answer)
            )
    for match in _STATES.finditer(text):
        look = next((words for key, words in _LOOKS.items() if key in match["look"]), "look bright")
        asked = f"Does any {match['noun']} {look} in the infrared image?"
        found.setdefault(asked, set()).add((STATE, "no" if match["no"] else "yes"))
    for asked, answers in found.items():
        if len(answers) == 1:
            kind, answer = next(iter(answers))
            choices = ("bright", "dark") if kind == BRIGHTNESS else ("yes", "no")
            questions.append(choice_question(row["id"], kind, asked, answer, choices, which=asked))
    return questions


def balanced(questions: Sequence[Question], seed: int = SEED) -> list[Question]:
    """As many questions of one answer as of the other for each wording, chosen by hash, in the given order.

    Whoever does not see the infrared answers half of them right, whatever the scene suggests.
    """
    by_wording: dict[str, dict[str, list[Question]]] = {}
    for question in questions:
        by_wording.setdefault(question.question, {}).setdefault(question.answers[0], []).append(question)
    kept: set[str] = set()
    for answers in by_wording.values():
        count = min(map(len, answers.values())) if len(answers) == 2 else 0
        for found in answers.values():
            kept |= {one.id for one in sorted(found, key=lambda one: hash_order(seed, one.id))[:count]}
    return [question for question in questions if question.id in kept]
