"""Zero-shot scores: labels of one's own for the pair, and for each image alone."""

from typing import Any

import gradio as gr
from demo_images import checked_text, chosen_scaling, given_pair, refusals_shown
from demo_models import Served
from demo_settings import MAX_LABELS, MAX_TEXT, Settings
from page_parts import bars, columns
from upload_panel import Uploads

TASK = "rgb-infrared-classification"


def add_classify_panel(clip: Served, settings: Settings, uploads: Uploads) -> None:
    """Labels and a template in, bars out."""
    labels = gr.Textbox(
        "\n".join(settings.labels), label="Labels, one per line", lines=6, max_lines=12, elem_id="labels"
    )
    template = gr.Textbox(
        settings.template, label="Prompt, with {} for the label", max_length=MAX_TEXT, elem_id="template"
    )
    button = gr.Button("Score", variant="primary", elem_id="classify")
    out = gr.HTML(elem_id="scores", min_height=40)

    def classify(rgb: str | None, infrared: str | None, rule: str, low: float, high: float, *texts: str) -> str:
        with refusals_shown():
            pair, labels = given_pair(rgb, infrared), split_labels(texts[0])
            template = checked_text(texts[1], "prompt")
            served = clip.reading(chosen_scaling(rule, low, high))
            return columns({view: bars(found) for view, found in scores(served, pair, labels, template)}, "scored")

    button.click(classify, [*uploads.all, labels, template], out, api_visibility="private", concurrency_id="models")


def split_labels(text: str) -> list[str]:
    """One label per line, without repetitions.

    Raises:
        ValueError: there are too many, or one is too long.
    """
    labels = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    longest = max((len(label) for label in labels), default=0)
    if not 2 <= len(labels) <= MAX_LABELS or longest > MAX_TEXT:
        raise ValueError(
            f"The labels are {len(labels)} lines, the longest of {longest} characters; wanted 2 to {MAX_LABELS} "
            f"different ones of at most {MAX_TEXT}."
        )
    return labels


def scores(clip: Served, pair: dict[str, Any], labels: list[str], template: str) -> list[tuple[str, Any]]:
    """Per view that the images and the model allow, the labels with their scores."""
    views = ["fused"] if clip.fuses else []
    views += [view for view, name in (("rgb", "image"), ("infrared", "infrared")) if name in pair]
    if len(pair) == 1:  # the fused embedding of one image is no pair
        views = [view for view in views if view != "fused"]
    run = clip.pipelines[TASK]
    return [(view, run(pair, candidate_labels=labels, hypothesis_template=template, view=view)) for view in views]
