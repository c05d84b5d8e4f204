"""Where in a large scene is what a text says: a heat map over the simulated scene, or over an upload."""

from pathlib import Path
from typing import Any

import gradio as gr
from demo_images import (
    checked_text,
    chosen_scaling,
    given_pair,
    refusals_shown,
    scene_pixels,
    scene_scaling,
    show_infrared,
    show_rgb,
)
from demo_models import Served
from demo_settings import HERE, MAX_TEXT, Settings
from heat_overlay import overlay
from page_parts import VIEW_NAMES
from upload_panel import Uploads

TASK = "semantic-localization"
OWN_SCENE, UPLOADED = "the simulated scene", "the images above"
SCENE = {"image": HERE / "scene" / "rgb.jpg", "infrared": HERE / "scene" / "infrared.png"}
KEYS = {"fused": ("image", "infrared"), "rgb": ("image",), "infrared": ("infrared",)}
# A ViT-B/32 takes about 0.3 s for a pair of windows on two cores, half of it for one image.
MAX_WINDOWS = 200


def add_localize_panel(clip: Served, settings: Settings, uploads: Uploads) -> None:
    """A text in, the scene under its heat map out."""
    gr.Markdown(settings.scene_note, elem_id="scene-note")
    text = gr.Textbox(settings.queries[0], label="Text", max_length=MAX_TEXT, elem_id="place")
    gr.Examples(
        [[one] for one in settings.queries],
        inputs=[text],
        label="For example",
        cache_examples=False,
        api_visibility="private",
    )
    with gr.Row():
        source = gr.Radio([OWN_SCENE, UPLOADED], value=OWN_SCENE, label="Scene", elem_id="scene")
        views = [(VIEW_NAMES[view], view) for view in VIEW_NAMES if view != "fused" or clip.fuses]
        view = gr.Radio(views, value=views[0][1], label="Look at", elem_id="scene-view")
        window = gr.Dropdown(settings.windows, value=settings.scene_window, label="Window, in pixels", elem_id="window")
    button = gr.Button("Find", variant="primary", elem_id="localize")
    answer = gr.HTML(elem_id="place-found")
    with gr.Row():
        pictures = [
            gr.Image(
                str(SCENE[name]) if name == "image" else show_infrared(clip.processor, SCENE[name]),
                label=label,
                interactive=False,
                buttons=["fullscreen"],
                elem_id=f"heat-{name}",
            )
            for name, label in (("image", "RGB"), ("infrared", "Infrared"))
        ]

    def find(rgb: str | None, infrared: str | None, rule: str, low: float, high: float, *chosen: Any) -> Any:
        text, source, view, window = chosen
        with refusals_shown():
            own = source == OWN_SCENE
            given = dict(SCENE) if own else given_pair(rgb, infrared)
            served = clip if own else clip.reading(chosen_scaling(rule, low, high))
            found = localize(served, looked_at(given, view), checked_text(text, "text"), int(window))
            shown = shown_scene(served, given)
        box, score = found["box"], found["score"]
        place = f"Best window from ({box[0]}, {box[1]}) to ({box[2]}, {box[3]})"
        line = f'<p class="quiet">{place}, similarity <b>{score:.4f}</b></p>'
        images = [
            gr.update(value=overlay(shown[name], found["heat_map"], box), visible=True)
            if name in shown
            else gr.update(value=None, visible=False)
            for name in SCENE
        ]
        return [line, *images]

    inputs, outputs = [*uploads.all, text, source, view, window], [answer, *pictures]
    options: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "models"}
    button.click(find, inputs, outputs, show_progress_on=answer, **options)


def looked_at(given: dict[str, Path], view: str) -> dict[str, Path]:
    """The images that a view needs; a pair with one image missing is the other alone.

    Raises:
        ValueError: the image is not there.
    """
    kept = {name: given[name] for name in KEYS[view] if name in given}
    if not kept:
        raise ValueError(f"There is no {'RGB' if view == 'rgb' else view} image; upload one, or look at the other.")
    return kept


def localize(clip: Served, scene: dict[str, Path], text: str, window: int) -> dict[str, Any]:
    """The heat map (H, W), the best window and its cosine.

    Raises:
        ValueError: the scene is too small for a window, or has too many of them.
    """
    pixels = {name: scene_pixels(clip.processor, name, path) for name, path in scene.items()}
    height, width = next(iter(pixels.values())).shape[:2]
    stride = max(window // 2, 1)
    count = (-(-max(height - window, 0) // stride) + 1) * (-(-max(width - window, 0) // stride) + 1)
    if count > MAX_WINDOWS:
        raise ValueError(
            f"The scene is {width} x {height} pixels, {count} windows of {window}; at most {MAX_WINDOWS} are searched "
            "here. Choose a larger window, or upload a smaller scene."
        )
    if "infrared" in pixels:
        clip = clip.reading(scene_scaling(clip.scaling, pixels["infrared"]))
    (found,) = clip.pipelines[TASK](pixels, candidate_labels=[text], window=window, stride=stride)
    return dict(found)


def shown_scene(clip: Served, scene: dict[str, Path]) -> dict[str, Any]:
    """The scene as the model reads it."""
    show = {"image": show_rgb, "infrared": show_infrared}
    return {name: show[name](clip.processor, path) for name, path in scene.items()}
