"""The rows of the `rs5m` table: their features, and a row made from a staged one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Features, Image, List, Value

from .sources.rs5m_release import subset_of

Row = dict[str, Any]

# The kind that is trained on, where a row has several: what people wrote, then the choice among a machine's captions.
KINDS_BY_PREFERENCE = ("web", "human", "rotation_invariant", "machine", "metadata")

_TEXT_COLUMNS = ("source", "url", "license", "attribution")


def rs5m_features() -> Features:
    """Columns of the `default` configuration; `index` has all but the image."""
    return Features(
        {
            "id": Value("string"),
            "image": Image(),
            "caption": Value("string"),
            "captions": List({"text": Value("string"), "kind": Value("string"), "score": Value("float32")}),
            "subset": Value("string"),
            **{name: Value("string") for name in _TEXT_COLUMNS},
            "latitude": Value("float64"),
            "longitude": Value("float64"),
            "utm_zone": Value("string"),
            "timestamp": Value("string"),
            "ground_sample_distance_metres": Value("float32"),
            "relevance_score": Value("float32"),
            "classifier_score": Value("float32"),
            "sha256": Value("string"),
            "perceptual_hash": Value("string"),
            "caption_key": Value("string"),
            "leak_group": Value("string"),
        }
    )


def rs5m_row(staged: Mapping[str, Any], leak_group: str) -> Row:
    """Make a row of the dataset from a staged row and the group that it was given."""
    captions = all_captions(staged)
    facts = json.loads(staged["metadata"]) if staged["metadata"] else {}
    return {
        "id": staged["id"],
        "image": {"bytes": staged.get("image"), "path": None},
        "caption": preferred_caption(captions),
        "captions": captions,
        "subset": _subset(staged["source"]),
        **{name: staged[name] for name in _TEXT_COLUMNS},
        "latitude": facts.get("latitude"),
        "longitude": facts.get("longitude"),
        "utm_zone": facts.get("utm_zone"),
        "timestamp": facts.get("timestamp"),
        "ground_sample_distance_metres": facts.get("ground_sample_distance_metres"),
        "relevance_score": staged.get("relevance_score"),
        "classifier_score": staged.get("classifier_score"),
        "sha256": staged["sha256"],
        "perceptual_hash": f"{staged['perceptual_hash']:016x}",
        "caption_key": staged["caption_key"],
        "leak_group": leak_group,
    }


def _subset(source: str) -> str | None:
    """`pub11` or `rs3`; None for a source that RS5M does not have."""
    try:
        return subset_of(source)
    except ValueError:
        return None


def all_captions(staged: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Captions of the source, then those that the build wrote."""
    published = [{"text": text, "kind": staged["caption_kind"], "score": None} for text in staged["captions"]]
    return [*published, *(staged.get("written_captions") or [])]


def preferred_caption(captions: Sequence[Mapping[str, Any]]) -> str | None:
    """The first caption of the most preferred kind."""
    for kind in KINDS_BY_PREFERENCE:
        for caption in captions:
            if caption["kind"] == kind:
                return str(caption["text"])
    return None
