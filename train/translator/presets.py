"""Named runs. Each is a Python value, so that a typo cannot start one."""

from pathlib import Path

from ..data.config import DataConfig
from ..engine.config import OptimConfig
from .config import TranslatorConfig, TranslatorImages, TranslatorModelConfig

TRANSLATOR_PRESETS: dict[str, tuple[str, TranslatorConfig]] = {
    "debug": (
        "A tiny U-Net on simulated scenes: a minute on a CPU. It shows that all works, not what infrared looks like.",
        TranslatorConfig(
            images=TranslatorImages(origins=("simulated",), crop=64),
            model=TranslatorModelConfig(base_channels=8, max_channels=32, depth=3, norm_groups=4),
            optim=OptimConfig(steps=150, batch_size=8, learning_rate=3e-3, warmup_steps=10, weight_decay=0.01),
        ),
    ),
    "naip": (
        "Aerial RGB to near infrared on measured pairs, such as NAIP: minutes on one CPU core.",
        TranslatorConfig(
            data=DataConfig(path="naip_pairs"),
            output=Path("runs/translator-naip"),
            images=TranslatorImages(crop=64),
            optim=OptimConfig(steps=1400, batch_size=8, learning_rate=2e-3, warmup_steps=50, weight_decay=0.01),
        ),
    ),
}
