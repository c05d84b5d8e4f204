"""Studies as values: arms that differ in one thing only."""

from dataclasses import dataclass, replace

from .clip_config import ClipConfig, Pair, TextConfig
from .clip_presets import DEBUG_CLIP


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the runs that answer it."""

    question: str
    baseline: str
    """The arm that the others are compared with."""
    arms: dict[str, ClipConfig]
    metrics: tuple[str, ...]
    """Of `retrieval-fusionrs`."""


_PAIRS: tuple[Pair, ...] = ("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared")
_INFRARED_AWARE = replace(
    DEBUG_CLIP, modality_dropout=0.0, model=replace(DEBUG_CLIP.model, pairs=_PAIRS, fusion="none")
)

STUDIES: dict[str, Study] = {
    "infrared-aware-text": Study(
        question="Does text that says what the infrared shows teach more than conventional text alone?",
        baseline="conventional",
        arms={
            # The same pairs, weights and number of texts a step: only what the second text says differs.
            "conventional": replace(_INFRARED_AWARE, text=TextConfig(infrared=("conventional",))),
            "infrared_aware": _INFRARED_AWARE,
        },
        metrics=tuple(
            f"{direction}/recall_at_{k}"
            for direction in (
                "infrared_to_infrared_text",
                "infrared_text_to_infrared",
                "infrared_to_text",
                "text_to_infrared",
                "rgb_to_text",
                "text_to_rgb",
                "rgb_to_infrared",
                "infrared_to_rgb",
            )
            for k in (1, 5, 10)
        ),
    ),
}
