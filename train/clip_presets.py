"""Named runs. Each is a Python value, so that a typo cannot start one."""

from dataclasses import replace

from .clip_config import ClipConfig, ClipModelConfig
from .engine_config import OptimConfig

DEBUG_CLIP = ClipConfig(
    modality_dropout=0.2,
    optim=OptimConfig(steps=220, batch_size=64, learning_rate=1e-3, warmup_steps=20),
)

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
}
