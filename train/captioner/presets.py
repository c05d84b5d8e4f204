"""Named runs. Each is a Python value, so that a typo cannot start one."""

from dataclasses import replace

from ..clip.config import AugmentationConfig
from ..engine.config import OptimConfig
from .config import CaptionerConfig, CaptionerModelConfig, LanguageModelSize, TaskConfig

# Batches, learning rates and schedules of LLaVA-1.5's two stages; the adapters are FusionRS's.
PROJECTOR = CaptionerConfig(
    model=CaptionerModelConfig(tune="none"),
    task=TaskConfig(scene=1.0, infrared=1.0),
    optim=OptimConfig(
        steps=2000, batch_size=128, rows_at_once=16, learning_rate=1e-3, warmup_steps=60, weight_decay=0.0
    ),
)
LORA = replace(
    PROJECTOR,
    model=CaptionerModelConfig(tune="lora"),
    task=TaskConfig(scene=1.0, infrared=1.0, question=1.0),
    optim=replace(PROJECTOR.optim, learning_rate=2e-4),
)

CAPTIONER_PRESETS: dict[str, tuple[str, CaptionerConfig]] = {
    "debug": (
        "A small language model from random weights on the towers of `runs/clip`: minutes on a CPU.",
        CaptionerConfig(
            task=TaskConfig(scene=1.0, infrared=1.0, question=1.0),
            optim=OptimConfig(steps=220, batch_size=32, learning_rate=2e-3, warmup_steps=20),
        ),
    ),
    "debug-facts": (
        "As small as `debug`: questions of what only infrared shows, day or night, bright or dark; trains the towers.",
        CaptionerConfig(
            inputs=("pair", "pair", "pair", "rgb"),
            augmentation=AugmentationConfig(orientation="all"),
            task=TaskConfig(
                scene=0.0,
                infrared=0.0,
                question=1.0,
                question_types=("time_of_day", "region_brightness"),
                infrared_of_rgb=True,
            ),
            model=CaptionerModelConfig(feature_layer=-1, freeze_towers=False, size=LanguageModelSize(layers=2)),
            optim=OptimConfig(
                steps=1500,
                batch_size=32,
                optimizer="muon",
                learning_rate=2e-3,
                warmup_steps=30,
                part_rates={"model.vision_tower": 0.3, "model.infrared_tower": 0.3},
            ),
        ),
    ),
    "projector": (
        "First stage: only the projector, between frozen towers and a frozen language model (--model.language-model).",
        PROJECTOR,
    ),
    "lora": (
        "Second stage: low-rank adapters and the projector, from --model.captioner runs/stage1/model or at once.",
        LORA,
    ),
    "qlora": (
        "The second stage on a language model of four bits (needs bitsandbytes): a model of 7 billion on one GPU.",
        replace(LORA, model=CaptionerModelConfig(tune="qlora")),
    ),
    "full": (
        "Second stage: all of the language model and the projector; the most memory.",
        replace(LORA, model=CaptionerModelConfig(tune="full"), optim=replace(LORA.optim, learning_rate=2e-5)),
    ),
}
