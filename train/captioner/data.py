"""Rows of FusionRS to conversations of the captioner: what is shown, what is asked, and what is answered.

A row's inputs and task are drawn from the seed, its epoch and its id alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.captions.generation import BLOCKS, INFRARED_PROMPT, SCENE_PROMPT
from evaluation.predictions import json_lines
from evaluation.vqa.infrared_questions import infrared_questions
from evaluation.vqa.scene_questions import TIME, scene_questions
from processing import RSCaptionerProcessor

from ..clip.config import AugmentationConfig
from ..clip.images import SCALED_INFRARED, RowImages, squared
from ..data.draw import draw, pick
from .config import TaskConfig

Conversation = list[dict[str, Any]]


class TooLongError(ValueError):
    """A sequence is longer than the language model can read."""


class CaptionerBatches:
    """Rows to prompts, images and answers of the captioner."""

    def __init__(
        self,
        processor: RSCaptionerProcessor,
        seed: int,
        inputs: tuple[str, ...],
        task: TaskConfig | None = None,
        classes: Sequence[str] = (),
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        """Reads the instructions.

        Args:
            processor: the captioner's.
            seed: of all draws.
            inputs: what a row may show, repeated entries more often.
            task: weights of the tasks.
            classes: scene classes that questions choose from, in lower case.
            augmentation: how images are varied.

        Raises:
            TooLongError: an instruction does not fit the language model.
        """
        self.processor, self.seed, self.inputs = processor, seed, inputs
        self.task, self.classes = task or TaskConfig(), tuple(classes)
        images, self.views, self.settings = processor.image_processor, None, dict[str, Any]()
        if augmentation is not None and augmentation != AugmentationConfig():
            self.views = RowImages(images, "rows", augmentation, seed)
            self.settings = {**SCALED_INFRARED, **(squared(images) if augmentation.crop_area < 1 else {})}
        self.instructions = [] if self.task.instructions is None else read_instructions(self.task.instructions)
        for number, conversation in enumerate(self.instructions):
            self._tokens([conversation], f"instruction {number + 1} of {self.task.instructions}")

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self._tokens([self.conversation(row) for row in rows], f"a row of {[row['id'] for row in rows]}")
        if "pixel_values" not in batch:  # all are text; the projector still takes part, with no image
            size = self.processor.image_processor.crop_size
            batch["pixel_values"] = torch.zeros(0, 3, size["height"], size["width"])
            batch["image_modalities"] = torch.full((len(rows), 1), -1)
        return batch

    def conversation(self, row: dict[str, Any]) -> Conversation:
        """What a row is shown, asked and answered in its epoch."""
        generator = draw(self.seed, row["epoch"], row["id"])
        shown = pick(self.inputs, generator)
        options = self._options(row, shown)
        weights = torch.tensor([float(getattr(self.task, name)) for name in options])
        name = list(options)[int(torch.multinomial(weights, 1, generator=generator))]
        if name == "instruction":
            return self.instructions[int(torch.randint(len(self.instructions), (1,), generator=generator))]
        pairs = options[name]
        asked, answer = pairs[int(torch.randint(len(pairs), (1,), generator=generator))]
        images = [{"type": kind, "image": image} for kind, image in self._images(row, shown)]
        return [
            {"role": "user", "content": [*images, {"type": "text", "text": asked}]},
            {"role": "assistant", "content": answer},
        ]

    def _images(self, row: dict[str, Any], shown: str) -> list[tuple[str, Any]]:
        """The images that are shown: as they are encoded, or varied, a pair alike."""
        names = {"image": "rgb", "infrared": "infrared"}
        missing = [names[kind] for kind in BLOCKS[shown] if row[names[kind]] is None]
        if missing:
            raise ValueError(
                f"row {row['id']!r} has no {' and no '.join(missing)} image, and inputs may show {shown}; leave such "
                "rows out of the dataset, or take that out of --inputs."
            )
        if self.views is None:
            return [(kind, row[names[kind]]["bytes"]) for kind in BLOCKS[shown]]
        view = self.views(row)
        return [(kind, getattr(view, names[kind])) for kind in BLOCKS[shown]]

    def _options(self, row: dict[str, Any], shown: str) -> dict[str, list[tuple[str, str]]]:
        """The tasks that a row can be, each with what may be asked and answered; none of weight zero."""
        sees_infrared = shown != "rgb" or self.task.infrared_of_rgb
        options: dict[str, list[tuple[str, str]]] = {"scene": [(SCENE_PROMPT, text) for text in row["captions"] or ()]}
        if sees_infrared:
            options["infrared"] = [(INFRARED_PROMPT, text) for text in row["infrared_captions"] or ()]
        if self.task.question:
            options["question"] = self._questions(row, sees_infrared)
        if self.instructions:
            options["instruction"] = [("", "")]
        possible = {name: pairs for name, pairs in options.items() if pairs and getattr(self.task, name)}
        if not possible:
            raise ValueError(
                f"row {row['id']!r} shown as {shown} has nothing of the tasks of positive weight. Give task.scene a "
                "weight, or drop rows without captions."
            )
        return possible

    def _questions(self, row: dict[str, Any], sees_infrared: bool) -> list[tuple[str, str]]:
        questions = [one for one in scene_questions([row], classes=self.classes) if one.type != TIME]
        if sees_infrared:
            questions += infrared_questions(row)
        wanted = self.task.question_types
        return [(question.prompt, question.answers[0]) for question in questions if question.type in wanted]

    def _tokens(self, conversations: list[Conversation], what: str) -> dict[str, Any]:
        batch = dict(self.processor.prepare_conversations(conversations, **self.settings))
        limit, found = self.processor.tokenizer.model_max_length, batch["input_ids"].shape[1]
        if found > limit:
            raise TooLongError(
                f"{what} has {found} tokens, of which an image takes {self.processor.num_image_tokens}; the language "
                f"model reads {limit}. Raise model.projector-reduction, choose a longer model, or shorten the text."
            )
        return batch


def read_instructions(path: Path) -> list[Conversation]:
    """Conversations of text, one a line: `prompt` and `answer`, or `messages` that end with the assistant's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is something else, or the file is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"task.instructions={path} does not exist; wanted a JSON-lines file.")
    found = []
    for number, line in json_lines(path):
        if {"prompt", "answer"} <= set(line):
            line = {
                "messages": [
                    {"role": "user", "content": line["prompt"]},
                    {"role": "assistant", "content": line["answer"]},
                ]
            }
        messages = line.get("messages")
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            raise ValueError(
                f"{path}, line {number}: fields {sorted(line)}; wanted prompt and answer, or messages, a list of "
                '{"role": …, "content": …} with text in both.'
            )
        if messages[-1]["role"] != "assistant":
            raise ValueError(f"{path}, line {number}: the last message is of {messages[-1]['role']!r}, not an answer.")
        found.append([{"role": message["role"], "content": message["content"]} for message in messages])
    if not found:
        raise ValueError(f"{path} holds no instruction.")
    return found


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content"))
