"""The demo Space: zero-shot scores, search, localization and captions of RGB and infrared images, on a CPU.

python app.py
"""

import argparse
from pathlib import Path

import gradio as gr
from caption_panel import TASK as CAPTION
from caption_panel import add_caption_panel
from classify_panel import TASK as CLASSIFY
from classify_panel import add_classify_panel
from demo_gallery import load_gallery
from demo_models import load_served
from demo_settings import EXAMPLES, HERE, MAX_UPLOAD, Settings, load_settings
from localize_panel import TASK as LOCALIZE
from localize_panel import add_localize_panel
from search_panel import TASK as SEARCH
from search_panel import add_search_panel
from upload_panel import add_uploads

INTRODUCTION = """# {title}
Open models for RGB images, infrared images and text: {clip} and {captioner}. Give one image or both, as JPEG, PNG,
TIFF or WebP; infrared in 8 or 16 bits or as floats.
"""
WARNING = (
    "Infrared that was translated from an RGB image or simulated shows what such a scene may look like; it is **not "
    "temperature**. Uploaded files are deleted within two hours."
)
# Plain names: nothing is fetched from elsewhere.
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
KEPT_SECONDS = 3600


def build_page(settings: Settings) -> gr.Blocks:
    """Load the models and lay out the page."""
    clip = load_served(settings.clip, (CLASSIFY, SEARCH, LOCALIZE))
    captioner = load_served(settings.captioner, (CAPTION,))
    gallery = load_gallery(HERE)
    names = {"title": settings.title, "clip": settings.clip.link, "captioner": settings.captioner.link}
    with gr.Blocks(title=settings.title, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown(INTRODUCTION.format(**names))
        gr.Markdown(WARNING, elem_id="warning")
        uploads = add_uploads(clip, settings.examples)
        with gr.Tab("Scores", id="scores-tab"):
            add_classify_panel(clip, settings, uploads)
        with gr.Tab("Search", id="search-tab"):
            add_search_panel(clip, settings, uploads, gallery)
        with gr.Tab("Where", id="where-tab"):
            add_localize_panel(clip, settings, uploads)
        with gr.Tab("Captions", id="captions-tab"):
            add_caption_panel(captioner, uploads)
    # One computation at a time, and a line that has an end: this runs on two cores.
    page.queue(max_size=16, default_concurrency_limit=1)
    return page


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="port; the first free one from 7860 when not given")
    arguments = parser.parse_args()
    build_page(load_settings()).launch(
        server_port=arguments.port,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[str(EXAMPLES), str(HERE / "scene")],
        theme=gr.themes.Soft(font=FONTS, font_mono=["ui-monospace", "monospace"]),
        css_paths=[Path(HERE / "style.css")],
        footer_links=[],
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
