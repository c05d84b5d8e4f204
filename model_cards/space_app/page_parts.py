"""Pieces of HTML that the panels show; every text of a user or of data is escaped here."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

VIEW_NAMES = {"fused": "Pair", "rgb": "RGB alone", "infrared": "Infrared alone"}


def columns(cards: Mapping[str, str], name: str) -> str:
    """Cards side by side, below each other on a phone; `name` is the class by which they are found."""
    parts = [
        f'<section class="card {name}" data-view="{view}"><h3>{VIEW_NAMES[view]}</h3>{body}</section>'
        for view, body in cards.items()
    ]
    return f'<div class="columns">{"".join(parts)}</div>'


def bars(scores: Iterable[Mapping[str, Any]]) -> str:
    """Labels with their shares, the best first."""
    lines = [
        f'<div class="bar" style="--share:{100 * one["score"]:.2f}%"><span class="label">{escape(one["label"])}</span>'
        f'<span class="score">{100 * one["score"]:.1f} %</span></div>'
        for one in scores
    ]
    return "".join(lines)


def hit(row: Mapping[str, Any], pictures: Mapping[str, str], score: float) -> str:
    """A row of the gallery: both thumbnails, captions, origin, and how near it is."""
    images = "".join(
        f'<figure><img src="{pictures[name]}" alt="{label} of {escape(row["id"], quote=True)}">'
        f"<figcaption>{label}</figcaption></figure>"
        for name, label in (("rgb", "RGB"), ("infrared", f"Infrared ({escape(row['infrared_origin'])})"))
    )
    texts = "".join(f"<p>{escape(text)}</p>" for text in (row["caption"], row["infrared_caption"]) if text)
    source = " · ".join(escape(text) for text in (row["id"], row["license"], row["attribution"]) if text)
    return (
        f'<section class="card hit" data-id="{escape(row["id"], quote=True)}"><div class="pair">{images}</div>'
        f'<p class="similarity">similarity <b>{score:.4f}</b></p>{texts}<p class="quiet">{source}</p></section>'
    )


def hits(cards: Iterable[str]) -> str:
    """Rows of the gallery."""
    return f'<div class="hits">{"".join(cards)}</div>'
