"""Studies as values: arms that differ from their neighbours in one thing, and what their models are asked.

CLIPs start from random towers of the size of `debug`, or from the folder `base`. Where a path says `data`, `base` and
so on, the command line of `train.study` says which folder that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from evaluation.captions.facts import SHOWN
from evaluation.pair_conditions import PairCondition

from .captioner.config import CaptionerConfig
from .captioner.presets import CAPTIONER_PRESETS
from .clip.config import (
    AdapterConfig,
    AdapterKind,
    AugmentationConfig,
    ClipConfig,
    ClipDataConfig,
    ClipModelConfig,
    Fusion,
    InfraredTower,
    InfraredView,
    Pair,
    TextConfig,
)
from .clip.presets import DEBUG_CLIP
from .translator.config import TranslatorConfig
from .translator.presets import TRANSLATOR_PRESETS

RGB_TEXT: tuple[Pair, ...] = ("rgb_text",)
DUAL_TEXT: tuple[Pair, ...] = ("rgb_text", "infrared_text")
TRIMODAL: tuple[Pair, ...] = (*DUAL_TEXT, "rgb_infrared")
INFRARED_TEXT: tuple[Pair, ...] = (*TRIMODAL, "infrared_infrared_text")
FUSED: tuple[Pair, ...] = (*INFRARED_TEXT, "fused_text")

Place = Literal["data", "translated", "naip", "forest", "hit_uav", "base"]
Benchmark = Literal[
    "retrieval-fusionrs",
    "pair-retrieval",
    "presence",
    "linear-probe",
    "captions",
    "caption-facts",
    "answers",
    "translation",
]
Arm = ClipConfig | CaptionerConfig | TranslatorConfig


def _two_ways(one: str, other: str) -> tuple[str, ...]:
    """Recall at 10 of two directions, as a reader compares them."""
    return f"{one}_to_{other}/recall_at_10", f"{other}_to_{one}/recall_at_10"


RGB_AND_TEXT = _two_ways("rgb", "text")
FUSED_AND_TEXT = _two_ways("fused", "text")
PAIRS = _two_ways("rgb", "infrared")
INFRARED_AND_TEXT = _two_ways("infrared", "text")
ALL_DIRECTIONS = (
    INFRARED_AND_TEXT,
    _two_ways("infrared", "infrared_text"),
    RGB_AND_TEXT,
    PAIRS,
    FUSED_AND_TEXT,
)


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What the models of a study are asked."""

    benchmark: Benchmark
    panels: tuple[tuple[str, ...], ...]
    """Metrics to report, those beside each other that a reader compares; one that a model does not have is left out."""
    name: str = ""
    """Tells it from the other exams of its study; the first has none."""
    place: Place = "data"
    """Folder with the questions."""
    split: str = "test"
    condition: PairCondition = "as_is"


RETRIEVAL = Exam(benchmark="retrieval-fusionrs", panels=ALL_DIRECTIONS)
REAL_PAIRS = (
    Exam(name="near infrared, unseen cities", benchmark="pair-retrieval", panels=(PAIRS,), place="naip"),
    Exam(name="near infrared, forest", benchmark="pair-retrieval", panels=(PAIRS,), place="forest", split="train"),
)
AVERAGE_PRECISION = (("mean_average_precision",),)
THERMAL = (
    Exam(name="thermal, presence", benchmark="presence", panels=AVERAGE_PRECISION, place="hit_uav"),
    Exam(name="thermal, linear probe", benchmark="linear-probe", panels=AVERAGE_PRECISION, place="hit_uav"),
)


def _damaged(name: str, condition: PairCondition, *more: tuple[str, ...]) -> Exam:
    return Exam(name=name, benchmark="retrieval-fusionrs", panels=(FUSED_AND_TEXT, *more), condition=condition)


DAMAGED = (
    _damaged("RGB missing", "no_rgb"),
    _damaged("infrared missing", "no_infrared"),
    _damaged("infrared noisy", "noisy_infrared", INFRARED_AND_TEXT),
    _damaged("infrared shifted", "shifted_infrared", INFRARED_AND_TEXT),
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the runs that answer it."""

    question: str
    baseline: str
    """The arm that the others are compared with."""
    arms: Mapping[str, Arm | None]
    """What to train; None is the base as it is."""
    exams: tuple[Exam, ...] = (RETRIEVAL,)


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
        data=data if data is not None else ClipDataConfig(path="data"),
    )


def _with_view(view: InfraredView) -> ClipDataConfig:
    return ClipDataConfig(path="data", infrared_view=view)


def _with_towers(tower: InfraredTower, fusion: Fusion) -> ClipConfig:
    """All that `debug` trains; without a fusion, no pair of it and no image that is left out for it."""
    pairs = INFRARED_TEXT if fusion == "none" else FUSED
    return replace(
        DEBUG_CLIP,
        modality_dropout=0.0 if fusion == "none" else DEBUG_CLIP.modality_dropout,
        model=replace(DEBUG_CLIP.model, infrared_tower=tower, fusion=fusion, pairs=pairs),
        data=ClipDataConfig(path="data"),
    )


def _reading(tokens: int) -> ClipConfig:
    """A text tower of so many tokens; what is longer is cut, in the exam too."""
    arm = _arm(RGB_TEXT)
    return replace(arm, model=replace(arm.model, size=replace(arm.model.size, text_tokens=tokens)))


def _of_pairs(data: ClipDataConfig) -> ClipConfig:
    """Pairs alone: their texts name places, which no other place has. They are few, so they are turned and cropped."""
    varied = AugmentationConfig(orientation="all", crop_area=0.5)
    return replace(_arm(("rgb_infrared",), data=data), augmentation=varied)


def _tuned(adapter: AdapterKind = "none", *, text_frozen: bool = False, rgb_frozen: bool = False) -> ClipConfig:
    """The base, tuned on the data; the learning rate is the same, so that only what may move differs."""
    model = ClipModelConfig(
        source="base",
        infrared_tower="shared",
        fusion="none",
        pairs=RGB_TEXT,
        freeze_text_tower=text_frozen,
        freeze_rgb_tower=rgb_frozen,
    )
    prefix_length = 10 if adapter == "unipelt" else 30
    return replace(_arm(RGB_TEXT), model=model, adapter=AdapterConfig(kind=adapter, prefix_length=prefix_length))


def _captioner(*inputs: Literal["rgb", "infrared", "pair"]) -> CaptionerConfig:
    """Scene captions, infrared captions and questions, three times as long as `debug`."""
    debug = CAPTIONER_PRESETS["debug"][1]
    return replace(_captions_of_base(debug), inputs=inputs, optim=replace(debug.optim, steps=660))


def _worded(*, scene: float, infrared: float) -> CaptionerConfig:
    """Captions of one kind or both, two for each question of the scene. All that is shown has infrared."""
    arm = _captioner("pair", "pair", "infrared")
    task = replace(
        arm.task, scene=scene, infrared=infrared, question=0.5, question_types=("scene_class", "scene_presence")
    )
    return replace(arm, task=task, optim=replace(arm.optim, steps=440))


def _captions_of_base(config: CaptionerConfig) -> CaptionerConfig:
    return replace(config, data=replace(config.data, path="data"), model=replace(config.model, clip=Path("base")))


TEXT_ARMS: dict[str, Arm | None] = {
    "RGB only": _arm(RGB_TEXT),
    "RGB as infrared": _arm(TRIMODAL, data=_with_view("rgb_duplicate")),
    "grey as infrared": _arm(TRIMODAL, data=_with_view("luminance")),
    "no image pair": _arm(DUAL_TEXT),
    "trimodal": _arm(TRIMODAL),
    "equal texts negatives": _arm(TRIMODAL, TextConfig(equal_texts="negatives")),
    # These two see the same pairs and as many texts a step; only what the second text says differs.
    "conventional twice": _arm(INFRARED_TEXT, TextConfig(infrared=("conventional",))),
    "infrared-aware": _arm(INFRARED_TEXT),
    "infrared-aware, fused": _arm(FUSED, fusion="gated"),
}
# Of captions, those of the two instructions.
ASKED_FOR = ("", "infrared_captions/")
NAIP = TRANSLATOR_PRESETS["naip"][1]
# Beside what a line through the three colours, and grey values, give without a network.
TRANSLATED = tuple(
    tuple(f"{answer}/{score}" for answer in ("translated", "linear", "luminance")) for score in ("psnr", "ssim")
)

STUDIES: dict[str, Study] = {
    "infrared-aware-text": Study(
        question="Does text that says what the infrared shows teach more than conventional text alone?",
        baseline="conventional twice",
        arms=TEXT_ARMS,
    ),
    "translated-infrared": Study(
        question="On real images with translated infrared: what do the same arms teach, and of real sensors?",
        baseline="grey as infrared",
        arms=TEXT_ARMS,
        exams=(RETRIEVAL, *REAL_PAIRS, *THERMAL),
    ),
    "translator": Study(
        question="How near does a translator come to measured near infrared, in unseen cities and on forest?",
        baseline="naip",
        arms={"naip": replace(NAIP, data=replace(NAIP.data, path="data"))},
        exams=(
            Exam(name="unseen cities", benchmark="translation", panels=TRANSLATED),
            Exam(name="forest", benchmark="translation", panels=TRANSLATED, place="forest", split="train"),
        ),
    ),
    "sensors": Study(
        question="Pairs of one city's RGB and what for infrared teach most about real near infrared elsewhere?",
        baseline="grey as infrared",
        arms={
            "sensor": _of_pairs(ClipDataConfig(path="data")),
            "translated": _of_pairs(ClipDataConfig(path="translated")),
            "grey as infrared": _of_pairs(_with_view("luminance")),
            "RGB as infrared": _of_pairs(_with_view("rgb_duplicate")),
        },
        exams=(replace(REAL_PAIRS[0], name="", place="data"), REAL_PAIRS[1]),
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
        exams=(RETRIEVAL, *DAMAGED),
    ),
    "data-scale": Study(
        question="What does more data give at equal steps?",
        baseline="all",
        arms={
            **{
                name: _arm(RGB_TEXT, data=ClipDataConfig(path="data", share=share))
                for name, share in (("1/8", 1 / 8), ("1/4", 1 / 4), ("1/2", 1 / 2))
            },
            "all": _arm(RGB_TEXT),
        },
        exams=(replace(RETRIEVAL, panels=(RGB_AND_TEXT,)),),
    ),
    "text-limit": Study(
        question="What do texts lose that are longer than the text tower reads?",
        baseline="64 tokens",
        arms={f"{tokens} tokens": _reading(tokens) for tokens in (64, 24, 12)},
        exams=(replace(RETRIEVAL, panels=(RGB_AND_TEXT,)),),
    ),
    "tuning": Study(
        question="Full tuning, adapters, or a frozen tower, at equal steps from one base?",
        baseline="full",
        arms={
            "base": None,
            "full": _tuned(),
            "text tower frozen": _tuned(text_frozen=True),
            "image tower frozen": _tuned(rgb_frozen=True),
            "LoRA": _tuned("lora"),
            "bottleneck": _tuned("bottleneck"),
            "prefix": _tuned("prefix"),
            "UniPELT": _tuned("unipelt"),
        },
        exams=(replace(RETRIEVAL, panels=(RGB_AND_TEXT,)),),
    ),
    "captioner": Study(
        question="What does a captioner say when it is shown RGB, infrared, or the pair?",
        baseline="trained on all three",
        arms={
            "trained on all three": _captioner("pair", "pair", "rgb", "infrared"),
            "trained on RGB": _captioner("rgb"),
            "trained on infrared": _captioner("infrared"),
            "trained on pairs": _captioner("pair"),
        },
        exams=(
            Exam(
                benchmark="captions",
                panels=tuple(
                    tuple(f"{shown}/{metric}" for shown in SHOWN)
                    for metric in ("class_named", "time_right", "rouge_l", "infrared_captions/rouge_l")
                ),
            ),
        ),
    ),
    "captioner-text": Study(
        question="What does a captioner say of infrared, by the captions that it learnt from?",
        baseline="both",
        arms={
            "scene captions": _worded(scene=1.0, infrared=0.0),
            "infrared captions": _worded(scene=0.0, infrared=1.0),
            "both": _worded(scene=0.5, infrared=0.5),
        },
        exams=(
            Exam(
                benchmark="captions",
                panels=(
                    *(
                        tuple(f"infrared/{asked}{claim}" for asked in ASKED_FOR)
                        for claim in ("infrared_cue", "colour_word", "physical_claim")
                    ),
                    tuple(f"pair/{asked}rouge_l" for asked in ASKED_FOR),
                ),
            ),
            Exam(
                name="thermal questions",
                benchmark="answers",
                panels=(("object_presence/accuracy",),),
                place="hit_uav",
                split="test",
            ),
        ),
    ),
    "captioner-facts": Study(
        question="Does a captioner learn what only the infrared shows?",
        baseline="debug-facts",
        arms={"debug-facts": _captions_of_base(CAPTIONER_PRESETS["debug-facts"][1])},
        exams=(
            Exam(
                benchmark="caption-facts",
                panels=tuple(
                    tuple(f"{shown}/{metric}" for shown in SHOWN) for metric in ("time_of_day", "region_brightness")
                ),
            ),
        ),
    ),
}
