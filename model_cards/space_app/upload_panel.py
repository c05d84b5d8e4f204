"""Where images come in: two files, what the model sees of them, and how the infrared is to be read."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from demo_images import RULES, WINDOW, chosen_scaling, say_refusal, say_scaling, show_infrared, show_rgb
from demo_models import Served
from demo_settings import EXAMPLES, Example
from PIL import Image

# What the loader opens; the page's file dialog goes by endings.
ENDINGS = [".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"]


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """The components whose values every panel takes, in the order of `all`."""

    rgb: gr.File
    infrared: gr.File
    rule: gr.Radio
    low: gr.Number
    high: gr.Number

    @property
    def all(self) -> list[Any]:
        """As inputs of an event."""
        return [self.rgb, self.infrared, self.rule, self.low, self.high]


def add_uploads(clip: Served, examples: list[Example]) -> Uploads:
    """Two uploads with previews, examples, and the rule for infrared."""
    with gr.Row():
        rgb, *rgb_shown = _add_upload("RGB", "rgb")
        infrared, *infrared_shown = _add_upload("Infrared", "infrared")
    gr.Examples(
        [[str(EXAMPLES / one.rgb), str(EXAMPLES / one.infrared)] for one in examples],
        inputs=[rgb, infrared],
        example_labels=[one.label for one in examples],
        label="Examples",
        cache_examples=False,
        api_visibility="private",
        elem_id="examples",
    )
    with gr.Accordion("How the infrared is read", open=False, elem_id="reading"):
        rule = gr.Radio(RULES, value=RULES[0], label="Brightness", elem_id="rule")
        with gr.Row(visible=False) as span:
            low = gr.Number(label="Low (black), in the unit of the file", value=0, elem_id="low")
            high = gr.Number(label="High (white)", value=65535, elem_id="high")
    uploads = Uploads(rgb=rgb, infrared=infrared, rule=rule, low=low, high=high)

    def preview_rgb(file: str | None) -> Any:
        return _preview(file, lambda path: (show_rgb(clip.processor, path), "As the model reads it."))

    def preview_infrared(file: str | None, rule: str, low: float | None, high: float | None) -> Any:
        def show(path: Path) -> tuple[Image.Image, str]:
            reader = clip.reading(chosen_scaling(rule, low, high))
            return show_infrared(reader.processor, path), f"As the model reads it: {say_scaling(reader.scaling)}."

        return _preview(file, show)

    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_id": "models"}
    rgb.change(preview_rgb, rgb, rgb_shown, **quietly)
    rule.change(lambda chosen: gr.update(visible=chosen == WINDOW), rule, span, **quietly)
    for component in uploads.all[1:]:
        component.change(preview_infrared, uploads.all[1:], infrared_shown, **quietly)
    return uploads


def _add_upload(label: str, name: str) -> tuple[gr.File, gr.Image, gr.HTML]:
    with gr.Column(min_width=150):
        file = gr.File(label=label, file_types=ENDINGS, height=150, elem_id=f"{name}-file")
        preview = gr.Image(
            show_label=False,
            interactive=False,
            height=220,
            buttons=["fullscreen"],
            elem_id=f"{name}-preview",
            visible=False,
        )
        note = gr.HTML(elem_id=f"{name}-note", visible=False)
    return file, preview, note


def _preview(file: str | None, show: Callable[[Path], tuple[Image.Image, str]]) -> tuple[Any, Any]:
    """Updates of a preview and its note; a file that is refused shows why, and no picture."""
    if file is None:
        return gr.update(value=None, visible=False), gr.update(value="", visible=False)
    try:
        picture, note = show(Path(file))
    except ValueError as error:
        refused = f'<p class="refused">{escape(say_refusal(error))}</p>'
        return gr.update(value=None, visible=False), gr.update(value=refused, visible=True)
    return gr.update(value=picture, visible=True), gr.update(value=f'<p class="quiet">{escape(note)}</p>', visible=True)
