"""The scene simulator as a source: RGB, thermal infrared and both kinds of captions, rendered when a part is read."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..scenes import scene_simulator
from ..scenes.scene_encoding import ATTRIBUTION, LICENSE, SOURCE, encode_infrared, encode_rgb, source_id
from ..stages.rejects import Reject
from .source_row import Part, SourceRow


@dataclass(frozen=True, kw_only=True)
class SimulatedScenes:
    """Scenes 0, 1, 2, ... of a seed; a row depends on its seed, number and size only."""

    num_scenes: int = 2000
    """How many scenes."""
    seed: int = 0
    """Names the series of scenes."""
    size: int = 224
    """Pixels a side of both images."""

    name: ClassVar[str] = SOURCE
    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    version: ClassVar[str | None] = None
    image_license: ClassVar[str] = LICENSE
    caption_license: ClassVar[str] = LICENSE
    attribution: ClassVar[str] = ATTRIBUTION

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.num_scenes < 1 or self.size < 1:
            raise ValueError(f"num_scenes is {self.num_scenes} and size is {self.size}; both must be at least 1.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """Cut the series into parts; their fingerprints change with the code of the simulator too."""
        if rows_per_part < 1:
            raise ValueError(f"rows_per_part is {rows_per_part}; it must be at least 1.")
        code = _code_hash()
        parts = []
        for first in range(0, self.num_scenes, rows_per_part):
            rows = min(rows_per_part, self.num_scenes - first)
            text = f"{self.seed} {self.size} {first} {rows} {code}"
            fingerprint = hashlib.sha256(text.encode()).hexdigest()
            where = {"first": first, "rows": rows}
            parts.append(Part(name=f"scenes-{first:09d}", fingerprint=fingerprint, where=where, rows=rows))
        return parts

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Render the scenes of a part one by one."""
        first = part.where["first"]
        for index in range(first, first + part.where["rows"]):
            scene = scene_simulator.simulate_scene(self.seed, index, self.size)
            yield SourceRow(
                source=self.name,
                source_id=source_id(self.seed, index),
                image=encode_rgb(scene.rgb),
                infrared=encode_infrared(scene.infrared),
                infrared_origin="simulated",
                infrared_band="thermal",
                captions=scene.captions,
                caption_kind="metadata",
                infrared_captions=scene.infrared_captions,
                class_name=scene.class_name,
                license=LICENSE,
                attribution=ATTRIBUTION,
            )


def _code_hash() -> str:
    """The hash of the code that makes scenes, and of how they are encoded."""
    scenes = Path(scene_simulator.__file__).parent
    state = hashlib.sha256()
    for path in sorted(scenes.glob("*.py")):
        state.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()
