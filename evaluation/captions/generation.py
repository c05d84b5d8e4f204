"""Captions of held-out rows: what the captioner says of RGB, infrared or the pair, beside what the references say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm

from modeling_rsclip import RSCaptionerForConditionalGeneration
from processing import RSCaptionerProcessor

from ..foreign_models import local_path, model_type

SCENE_PROMPT = "Describe the scene."
INFRARED_PROMPT = "Describe what the infrared shows."
BLOCKS = {"rgb": ("image",), "infrared": ("infrared",), "pair": ("image", "infrared")}


def load_captioner(
    model: str, revision: str | None, device: str, benchmark: str
) -> tuple[Path, RSCaptionerForConditionalGeneration, RSCaptionerProcessor]:
    """The folder of a captioner, the captioner, and its processor.

    Raises:
        ValueError: it is another model than the benchmark needs.
    """
    folder = local_path(model, revision)
    if (kind := model_type(folder)) != "rscaptioner":
        raise ValueError(f"{model} is a {kind!r} model; {benchmark} needs a captioner ('rscaptioner').")
    captioner = RSCaptionerForConditionalGeneration.from_pretrained(folder).eval().to(device)
    return folder, captioner, RSCaptionerProcessor.from_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class Caption:
    """One generated caption: of which row, from which images, on which instruction."""

    id: str
    shown: str
    instruction: str
    text: str


def prompt(processor: RSCaptionerProcessor, shown: str, instruction: str) -> str:
    """The captioner's prompt for what it is shown: `rgb`, `infrared` or `pair`."""
    content = [{"type": kind} for kind in BLOCKS[shown]] + [{"type": "text", "text": instruction}]
    conversation = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))


def caption(
    model: RSCaptionerForConditionalGeneration,
    processor: RSCaptionerProcessor,
    rows: Dataset,
    shown: str,
    instruction: str,
    batch_size: int = 32,
    max_new_tokens: int = 64,
) -> list[Caption]:
    """Greedy captions of every row. Rows keep their encoded images."""
    return answer(model, processor, rows, shown, [instruction] * len(rows), batch_size, max_new_tokens)


@torch.inference_mode()
def answer(
    model: RSCaptionerForConditionalGeneration,
    processor: RSCaptionerProcessor,
    rows: Sequence[dict[str, Any]] | Dataset,
    shown: str,
    instructions: Sequence[str],
    batch_size: int = 32,
    max_new_tokens: int = 64,
) -> list[Caption]:
    """Greedy answers, one to the instruction of each row. Rows keep their encoded images."""
    if len(rows) != len(instructions):
        raise ValueError(f"{len(rows)} rows and {len(instructions)} instructions; wanted one for each row.")
    answers = []
    for start in tqdm(range(0, len(rows), batch_size), desc=f"answer {shown}", unit="batch"):
        places = range(start, min(start + batch_size, len(rows)))
        batch = [rows[place] for place in places]
        inputs = processor(
            images=[[row["rgb"]["bytes"]] if shown != "infrared" else [] for row in batch],
            infrared=[[row["infrared"]["bytes"]] if shown != "rgb" else [] for row in batch],
            text=[prompt(processor, shown, instructions[place]) for place in places],
        ).to(model.device)
        tokens = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        texts = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for row, place, text in zip(batch, places, texts, strict=True):
            answers.append(Caption(id=row["id"], shown=shown, instruction=instructions[place], text=text.strip()))
    return answers


def names(text: str, term: str) -> bool:
    """Whether a text names a term, as whole words and with an optional plural."""
    return re.search(rf"\b{re.escape(term)}(s|es)?\b", text, flags=re.IGNORECASE) is not None


def day_or_night(text: str) -> str | None:
    """`day` or `night` where a text says exactly one of them."""
    said = {word for word in ("day", "night") if names(text, word)}
    return said.pop() if len(said) == 1 else None


def facts(rows: Dataset, captions: list[Caption]) -> dict[str, list[bool | None]]:
    """Per row: is the scene class named, and is the time of the infrared image the one of the references.

    None where the references do not state the fact; a caption that does not state it is wrong.
    """
    named: list[bool | None] = []
    timed: list[bool | None] = []
    for row, said in zip(_facts_of(rows), captions, strict=True):
        named.append(names(said.text, row["class_name"]) if row["class_name"] is not None else None)
        times = {time for text in row["infrared_captions"] if (time := day_or_night(text)) is not None}
        timed.append(day_or_night(said.text) in times if len(times) == 1 else None)
    return {"class_named": named, "time_right": timed}


def _facts_of(rows: Dataset) -> list[dict[str, Any]]:
    return rows.select_columns(["class_name", "infrared_captions"]).to_list()
