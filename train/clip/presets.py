"""Named runs. Each is a Python value, so that a typo cannot start one.

`debug` starts small random towers. All others are an arm of RS5M or FusionRS on published weights, named
ARM-WEIGHTS, e.g. `fusionrs-trimodal-vit-b-32`, `rs5m-lora-openclip-b-16`.
"""

from dataclasses import dataclass, replace

from ..engine.config import OptimConfig
from .config import (
    Activation,
    AdapterConfig,
    AugmentationConfig,
    ClipConfig,
    ClipDataConfig,
    ClipModelConfig,
    Fusion,
    InfraredView,
    Loss,
    Pair,
    TextConfig,
)

OPENAI_B_32 = "openai/clip-vit-base-patch32"
DEBUG_CLIP = ClipConfig(
    modality_dropout=0.2,
    optim=OptimConfig(steps=220, batch_size=64, learning_rate=1e-3, warmup_steps=20),
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What a run isolates, and everything of it but the weights it starts from."""

    text: str
    """One sentence for `--help` and the documentation."""
    config: ClipConfig


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Published weights to start from."""

    text: str
    """Their name in a sentence."""
    source: str
    rows_at_once: int | None = None
    """Rows that go through the towers together: the large batches of RS5M do not fit into one GPU otherwise."""
    activation: Activation | None = None
    tokenizer: str | None = None
    loss: Loss = "softmax"


# RS5M (arXiv 2306.11300): InfoNCE, AdamW, learning rate 1e-6, decay 0.5, cosine, batch 700, 20 epochs of the 95 % of
# 5,070,186 rows that are not validation; crops of 0.9 to 1.0 of the area, mirror images. Its rotations by any angle
# are quarter turns here, which leave no black corners. It names no warm-up; 1000 steps are 0.7 % of the run.
RS5M_FULL = ClipConfig(
    data=ClipDataConfig(path="rs5m", workers=8),
    augmentation=AugmentationConfig(orientation="all", crop_area=0.9),
    model=ClipModelConfig(source=OPENAI_B_32, infrared_tower="shared", fusion="none", pairs=("rgb_text",)),
    optim=OptimConfig(
        steps=20 * 4_816_677 // 700,
        batch_size=700,
        learning_rate=1e-6,
        warmup_steps=1000,
        weight_decay=0.5,
        mixed_precision="bf16",
    ),
)
# "AdapterHub, default parameters": rank 8 and alpha 8 on q and v, bottlenecks 16 times narrower, prefixes of 30 (10 in
# UniPELT). The paper states no learning rate for them; 1e-4 is AdapterHub's, and full fine-tuning's 1e-6 would leave
# them where they start.
RS5M_ADAPTED = replace(RS5M_FULL, optim=replace(RS5M_FULL.optim, learning_rate=1e-4, weight_decay=0.0))
# Issue 12 of RS5M's official repository: learning rate 5e-6, decay 0.5, batch 600, 7 epochs, 100 steps of warm-up,
# gradients clipped at 50. RET-2 is the training splits of RSICD and RSITMD: 13,025 images with five captions, each a
# pair.
RET_2 = replace(
    RS5M_FULL,
    data=ClipDataConfig(path="ret-2", workers=8),
    optim=replace(
        RS5M_FULL.optim,
        steps=7 * 5 * 13_025 // 600,
        batch_size=600,
        learning_rate=5e-6,
        warmup_steps=100,
        max_gradient_norm=50.0,
    ),
)
# The official FusionRS run: 3 epochs of 579,992 triplets in batches of 128 are 13,593 steps, AdamW with learning rate
# 5e-6 and decay 0.1, 500 steps of warm-up, seed 42, no augmentation. It decays norms and biases too, does not clip its
# gradients, and trains in fp16; here they are clipped at 1 as everywhere, and bf16 needs no loss scaling.
FUSIONRS_TRIMODAL = ClipConfig(
    seed=42,
    data=ClipDataConfig(path="fusionrs", workers=8),
    model=ClipModelConfig(
        source=OPENAI_B_32,
        infrared_tower="shared",
        fusion="none",
        pairs=("rgb_text", "infrared_text", "rgb_infrared"),
    ),
    optim=OptimConfig(
        steps=13_593,
        batch_size=128,
        learning_rate=5e-6,
        warmup_steps=500,
        weight_decay=0.1,
        mixed_precision="bf16",
    ),
)


def _with_pairs(*pairs: Pair, fusion: Fusion = "none") -> ClipModelConfig:
    return replace(FUSIONRS_TRIMODAL.model, pairs=pairs, fusion=fusion)


def _with_view(view: InfraredView) -> ClipConfig:
    return replace(FUSIONRS_TRIMODAL, data=replace(FUSIONRS_TRIMODAL.data, infrared_view=view))


def _with_adapter(adapter: AdapterConfig) -> ClipConfig:
    return replace(RS5M_ADAPTED, adapter=adapter)


def _siglip_2(text: str, source: str, rows_at_once: int | None = None) -> Weights:
    return Weights(text=text, source=source, rows_at_once=rows_at_once, loss="sigmoid")


def _georsclip(text: str, file: str, rows_at_once: int | None = None) -> Weights:
    """Weights of the authors' repository, tuned from OpenAI's."""
    return Weights(
        text=text,
        source=f"Zilun/GeoRSCLIP/ckpt/{file}",
        rows_at_once=rows_at_once,
        activation="quick_gelu",
        tokenizer=OPENAI_B_32,
    )


ARMS: dict[str, Arm] = {
    "rs5m-full": Arm(text="All weights on RS5M, as GeoRSCLIP was trained", config=RS5M_FULL),
    "rs5m-lora": Arm(
        text="LoRA on RS5M: what low-rank changes of attention give", config=_with_adapter(AdapterConfig(kind="lora"))
    ),
    "rs5m-pfeiffer": Arm(
        text="Pfeiffer bottlenecks on RS5M, behind every MLP", config=_with_adapter(AdapterConfig(kind="bottleneck"))
    ),
    "rs5m-prefix": Arm(
        text="Prefixes on RS5M, in front of every attention layer", config=_with_adapter(AdapterConfig(kind="prefix"))
    ),
    "rs5m-unipelt": Arm(
        text="LoRA, prefixes and bottlenecks on RS5M, each behind a learned gate",
        config=_with_adapter(AdapterConfig(kind="unipelt", prefix_length=10)),
    ),
    "rs5m-ret-2": Arm(text="All weights on RSICD and RSITMD together, for retrieval", config=RET_2),
    "fusionrs-rgb-only": Arm(
        text="The control that never sees infrared: RGB and scene captions alone",
        config=replace(FUSIONRS_TRIMODAL, model=_with_pairs("rgb_text")),
    ),
    "fusionrs-rgb-duplicate": Arm(
        text="The control whose infrared is the RGB image itself: what a second view of nothing new gives",
        config=_with_view("rgb_duplicate"),
    ),
    "fusionrs-grayscale": Arm(
        text="The control whose infrared is the luminance of the RGB image: what greyness alone gives",
        config=_with_view("luminance"),
    ),
    "fusionrs-dual-text": Arm(
        text="Both images against the scene caption, without the pair of images",
        config=replace(FUSIONRS_TRIMODAL, model=_with_pairs("rgb_text", "infrared_text")),
    ),
    "fusionrs-trimodal": Arm(
        text="Both images against the scene caption and against each other, as FusionRS-CLIP was trained",
        config=FUSIONRS_TRIMODAL,
    ),
    "fusionrs-trimodal-infrared-text": Arm(
        text="Trimodal, and infrared against the infrared-aware caption",
        config=replace(
            FUSIONRS_TRIMODAL,
            text=TextConfig(infrared=("infrared_aware",)),
            model=_with_pairs("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared"),
        ),
    ),
    "fusionrs-trimodal-fused": Arm(
        text="Trimodal with infrared-aware text, and a gated fusion of the pair that can do without either image",
        config=replace(
            FUSIONRS_TRIMODAL,
            modality_dropout=0.2,
            model=_with_pairs(
                "rgb_text",
                "infrared_text",
                "infrared_infrared_text",
                "rgb_infrared",
                "fused_text",
                fusion="gated",
            ),
        ),
    ),
}

# Of the large towers, 100 rows at a time: a batch of 700 is the same step in seven parts.
LARGE = 100
WEIGHTS: dict[str, Weights] = {
    "vit-b-32": Weights(text="OpenAI's CLIP B/32", source=OPENAI_B_32),
    "vit-b-16": Weights(text="OpenAI's CLIP B/16", source="openai/clip-vit-base-patch16"),
    "vit-l-14": Weights(text="OpenAI's CLIP L/14", source="openai/clip-vit-large-patch14", rows_at_once=LARGE),
    "openclip-b-32": Weights(text="OpenCLIP B/32", source="laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    "openclip-b-16": Weights(text="OpenCLIP B/16", source="laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    "openclip-l-14": Weights(text="OpenCLIP L/14", source="laion/CLIP-ViT-L-14-laion2B-s32B-b82K", rows_at_once=LARGE),
    "siglip2-b-32": _siglip_2("SigLIP 2 B/32", "google/siglip2-base-patch32-256"),
    "siglip2-b-16": _siglip_2("SigLIP 2 B/16", "google/siglip2-base-patch16-224"),
    # SigLIP 2 has no L/14, and GeoRSCLIP was not released in B/16.
    "siglip2-l-16": _siglip_2("SigLIP 2 L/16", "google/siglip2-large-patch16-256", LARGE),
    "georsclip-b-32": _georsclip("GeoRSCLIP B/32", "RS5M_ViT-B-32.pt"),
    "georsclip-l-14": _georsclip("GeoRSCLIP L/14", "RS5M_ViT-L-14.pt", LARGE),
}


def start_from(arm: ClipConfig, weights: Weights) -> ClipConfig:
    """An arm on published weights; SigLIP keeps its sigmoid loss."""
    model = replace(
        arm.model,
        source=weights.source,
        activation=weights.activation,
        tokenizer=weights.tokenizer,
        loss=weights.loss,
    )
    return replace(arm, model=model, optim=replace(arm.optim, rows_at_once=weights.rows_at_once))


CLIP_PRESETS: dict[str, tuple[str, ClipConfig]] = {
    "debug": ("Small towers from random weights on all five pairs: minutes on a CPU.", DEBUG_CLIP),
    "debug-rgb-only": (
        "The control of `debug`: it never sees infrared, and reads it as a grey image afterwards.",
        replace(
            DEBUG_CLIP,
            modality_dropout=0.0,
            model=ClipModelConfig(infrared_tower="shared", fusion="none", pairs=("rgb_text",)),
        ),
    ),
    **{
        f"{arm}-{weights}": (
            f"{ARMS[arm].text}; from {WEIGHTS[weights].text}.",
            start_from(ARMS[arm].config, WEIGHTS[weights]),
        )
        for arm in ARMS
        for weights in WEIGHTS
    },
}
