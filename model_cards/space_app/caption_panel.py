"""Captions of the pair beside captions of each image alone."""

from html import escape
from typing import Any

import gradio as gr
from demo_images import checked_text, chosen_scaling, given_pair, refusals_shown
from demo_models import Served
from demo_settings import MAX_TEXT
from page_parts import columns
from upload_panel import Uploads

TASK = "rgb-infrared-captioning"
INSTRUCTION = "Describe the scene."
MAX_TOKENS = 96


def add_caption_panel(captioner: Served, uploads: Uploads) -> None:
    """An instruction in, up to three captions out."""
    instruction = gr.Textbox(INSTRUCTION, label="Instruction", max_length=MAX_TEXT, elem_id="instruction")
    length = gr.Slider(8, MAX_TOKENS, value=48, step=8, label="Length, in tokens", elem_id="length")
    button = gr.Button("Describe", variant="primary", elem_id="caption")
    out = gr.HTML(elem_id="captions", min_height=40)

    def describe(rgb: str | None, infrared: str | None, rule: str, low: float, high: float, *chosen: Any) -> str:
        with refusals_shown():
            instruction, tokens = checked_text(chosen[0], "instruction"), min(int(chosen[1]), MAX_TOKENS)
            served = captioner.reading(chosen_scaling(rule, low, high))
            found = captions(served, given_pair(rgb, infrared), instruction, tokens)
        cards = {view: f'<p class="caption">{escape(text) or "<i>(nothing)</i>"}</p>' for view, text in found.items()}
        return columns(cards, "captioned")

    inputs = [*uploads.all, instruction, length]
    button.click(describe, inputs, out, api_visibility="private", concurrency_id="models")


def captions(captioner: Served, pair: dict[str, Any], instruction: str, tokens: int) -> dict[str, str]:
    """By view, what the captioner says."""
    views = {"fused": pair} if len(pair) == 2 else {}
    views |= {view: {name: pair[name]} for view, name in (("rgb", "image"), ("infrared", "infrared")) if name in pair}
    run = captioner.pipelines[TASK]
    return {
        view: run(images, instruction=instruction, max_new_tokens=tokens)["generated_text"]
        for view, images in views.items()
    }
