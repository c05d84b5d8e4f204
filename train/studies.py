"""Studies as values: arms that differ in one thing only, all from random towers of the size of `debug`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .clip_config import ClipConfig, ClipDataConfig, ClipModelConfig, Fusion, InfraredTower, Pair, TextConfig
from .clip_presets import DEBUG_CLIP

RGB_TEXT: tuple[Pair, ...] = ("rgb_text",)
DUAL_TEXT: tuple[Pair, ...] = ("rgb_text", "infrared_text")
TRIMODAL: tuple[Pair, ...] = (*DUAL_TEXT, "rgb_infrared")
INFRARED_TEXT: tuple[Pair, ...] = (*TRIMODAL, "infrared_infrared_text")
FUSED: tuple[Pair, ...] = (*INFRARED_TEXT, "fused_text")

DIRECTIONS = (
    "infrared_to_text",
    "text_to_infrared",
    "rgb_to_text",
    "text_to_rgb",
    "rgb_to_infrared",
    "infrared_to_rgb",
    "infrared_to_infrared_text",
    "infrared_text_to_infrared",
    "fused_to_text",
    "text_to_fused",
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the runs that answer it."""

    question: str
    baseline: str
    """The arm that the others are compared with."""
    arms: Mapping[str, ClipConfig]
    directions: tuple[str, ...] = DIRECTIONS
    """Of `retrieval-fusionrs`; an arm without a fusion has none of the fused ones."""


def _arm(
    pairs: tuple[Pair, ...],
    text: TextConfig | None = None,
    data: ClipDataConfig | None = None,
    fusion: Fusion = "none",
) -> ClipConfig:
    """One encoder for both images, as in FusionRS-CLIP: the controls then differ in what it is shown."""
    return replace(
        DEBUG_CLIP,
        modality_dropout=0.0,
        model=ClipModelConfig(infrared_tower="shared", fusion=fusion, pairs=pairs),
        text=text if text is not None else TextConfig(),
        data=data if data is not None else DEBUG_CLIP.data,
    )


def _with_towers(tower: InfraredTower, fusion: Fusion) -> ClipConfig:
    pairs = INFRARED_TEXT if fusion == "none" else FUSED
    return replace(
        DEBUG_CLIP,
        modality_dropout=0.0 if fusion == "none" else DEBUG_CLIP.modality_dropout,
        model=replace(DEBUG_CLIP.model, infrared_tower=tower, fusion=fusion, pairs=pairs),
    )


STUDIES: dict[str, Study] = {
    "infrared-aware-text": Study(
        question="Does text that says what the infrared shows teach more than conventional text alone?",
        baseline="conventional twice",
        arms={
            "RGB only": _arm(RGB_TEXT),
            "RGB as infrared": _arm(TRIMODAL, data=ClipDataConfig(infrared_view="rgb_duplicate")),
            "grey as infrared": _arm(TRIMODAL, data=ClipDataConfig(infrared_view="luminance")),
            "no image pair": _arm(DUAL_TEXT),
            "trimodal": _arm(TRIMODAL),
            "equal texts negatives": _arm(TRIMODAL, TextConfig(equal_texts="negatives")),
            # These two see the same pairs and as many texts a step; only what the second text says differs.
            "conventional twice": _arm(INFRARED_TEXT, TextConfig(infrared=("conventional",))),
            "infrared-aware": _arm(INFRARED_TEXT),
            "infrared-aware, fused": _arm(FUSED, fusion="gated"),
        },
    ),
    "towers": Study(
        question="How much of the image encoder should infrared share, and what joins a pair best?",
        baseline="adapted, gated",
        arms={
            "shared, gated": _with_towers("shared", "gated"),
            "adapted, gated": _with_towers("adapted", "gated"),
            "separate, gated": _with_towers("separate", "gated"),
            "adapted, none": _with_towers("adapted", "none"),
            "adapted, mean": _with_towers("adapted", "mean"),
            "adapted, attention": _with_towers("adapted", "attention"),
        },
    ),
    "data-scale": Study(
        question="What does more data give at equal steps?",
        baseline="all",
        arms={
            "1/8": _arm(RGB_TEXT, data=ClipDataConfig(share=1 / 8)),
            "1/4": _arm(RGB_TEXT, data=ClipDataConfig(share=1 / 4)),
            "1/2": _arm(RGB_TEXT, data=ClipDataConfig(share=1 / 2)),
            "all": _arm(RGB_TEXT),
        },
        directions=("rgb_to_text", "text_to_rgb"),
    ),
}
