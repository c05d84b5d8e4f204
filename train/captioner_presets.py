"""Named runs. Each is a Python value, so that a typo cannot start one."""

from .captioner_config import CaptionerConfig
from .engine_config import OptimConfig

CAPTIONER_PRESETS: dict[str, tuple[str, CaptionerConfig]] = {
    "debug": (
        "A small language model from random weights on the towers of `runs/clip`: minutes on a CPU.",
        CaptionerConfig(optim=OptimConfig(steps=220, batch_size=32, learning_rate=2e-3, warmup_steps=20)),
    ),
}
