"""Rows of FusionRS to prompts, images and answers of the captioner."""

from typing import Any

import torch

from evaluation.captioning import INFRARED_PROMPT, SCENE_PROMPT, prompt
from processing import RSCaptionerProcessor

from .draw import draw, pick


class CaptionerBatches:
    """Rows to prompts, images and answers of the captioner."""

    def __init__(self, processor: RSCaptionerProcessor, seed: int, inputs: tuple[str, ...]):
        self.processor, self.seed, self.inputs = processor, seed, inputs

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompts, answers, images, infrared = [], [], [], []
        for row in rows:
            generator = draw(self.seed, row["epoch"], row["id"])
            shown = pick(self.inputs, generator)
            about_infrared = shown != "rgb" and row["infrared_captions"] and torch.rand(1, generator=generator) < 0.5
            captions = row["infrared_captions"] if about_infrared else row["captions"]
            prompts.append(prompt(self.processor, shown, INFRARED_PROMPT if about_infrared else SCENE_PROMPT))
            answers.append(pick(captions, generator))
            images.append([row["rgb"]["bytes"]] if shown != "infrared" else [])
            infrared.append([row["infrared"]["bytes"]] if shown != "rgb" else [])
        return dict(self.processor(images=images, infrared=infrared, text=prompts, suffix=answers))
