"""A small simulated `fusionrs` folder, built as a user would."""

from pathlib import Path

from dataset_scripts.build_fusionrs import FusionRSConfig, build_fusionrs
from dataset_scripts.engine import EngineConfig
from dataset_scripts.source_options import SourceOptions
from dataset_scripts.stages.splits import SplitSettings


def simulated_config(output: Path, rows: int, *, size: int = 32, seed: int = 0, **changes: object) -> FusionRSConfig:
    """The configuration of such a folder."""
    values = {
        "source": ("simulator",),
        "num_scenes": rows,
        "sources": SourceOptions(scene_size=size, scene_seed=seed),
        "splits": SplitSettings(validation=0.1, test=0.1),
        "engine": EngineConfig(workers=1),
        "output": output,
        **changes,
    }
    return FusionRSConfig(**values)


def build_simulated(output: Path, rows: int, *, size: int = 32, seed: int = 0, **changes: object) -> Path:
    """Build it."""
    return build_fusionrs(simulated_config(output, rows, size=size, seed=seed, **changes))
