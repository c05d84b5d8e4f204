"""Search in the gallery: by a text, by the images, or by both."""

from typing import Any

import gradio as gr
from demo_gallery import Gallery
from demo_images import checked_text, chosen_scaling, given_pair, refusals_shown
from demo_models import Served
from demo_settings import MAX_TEXT, Settings
from page_parts import VIEW_NAMES, hit, hits
from upload_panel import Uploads

TASK = "rgb-infrared-retrieval"
BY_TEXT, BY_IMAGES, BY_BOTH = "the text", "the images above", "both"


def add_search_panel(clip: Served, settings: Settings, uploads: Uploads, gallery: Gallery) -> None:
    """A text and images in, rows of the gallery out."""
    text = gr.Textbox(
        settings.queries[0], label="Text", max_length=MAX_TEXT, lines=1, elem_id="query", submit_btn=False
    )
    with gr.Row():
        by = gr.Radio([BY_TEXT, BY_IMAGES, BY_BOTH], value=BY_TEXT, label="Search by", elem_id="search-by")
        views = [(VIEW_NAMES[view], view) for view in VIEW_NAMES if view in gallery.embeddings]
        view = gr.Radio(views, value=views[0][1], label="Compare with", elem_id="search-view")
        count = gr.Slider(1, min(24, len(gallery.rows)), value=min(6, len(gallery.rows)), step=1, label="How many")
    button = gr.Button("Search", variant="primary", elem_id="search")
    gr.Examples(
        [[one] for one in settings.queries],
        inputs=[text],
        label="For example",
        cache_examples=False,
        api_visibility="private",
    )
    out = gr.HTML(elem_id="found", min_height=40)

    def search(rgb: str | None, infrared: str | None, rule: str, low: float, high: float, *chosen: Any) -> str:
        text, by, view, count = chosen
        with refusals_shown():
            served = clip.reading(chosen_scaling(rule, low, high))
            queries: list[Any] = [] if by == BY_IMAGES else [checked_text(text, "text")]
            if by != BY_TEXT:
                queries.append(given_pair(rgb, infrared))
            ranked = rank(served, queries, gallery.embeddings[view])[: int(count)]
        return hits(hit(gallery.rows[index], gallery.pictures[index], score) for index, score in ranked)

    inputs, options = [*uploads.all, text, by, view, count], {"api_visibility": "private", "concurrency_id": "models"}
    button.click(search, inputs, out, **options)
    text.submit(search, inputs, out, **options)


def rank(clip: Served, queries: list[Any], gallery: Any) -> list[tuple[int, float]]:
    """Rows by their cosine with the query, the best first; with two queries by the mean of the cosines."""
    totals = [0.0] * len(gallery)
    for query in queries:
        for found in clip.pipelines[TASK](query, gallery=gallery, top_k=len(gallery)):
            totals[found["index"]] += found["score"] / len(queries)
    return sorted(enumerate(totals), key=lambda one: -one[1])
