"""What the assembled folder says of itself: models, labels, and where the large scene comes from (`space.json`)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
# Limits of the page; images have those of the processor too.
MAX_TEXT, MAX_LABELS = 300, 64
MAX_UPLOAD = "20mb"


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A name on the Hub, or a folder; and the revision that is meant, None for the newest."""

    name: str
    revision: str | None

    @property
    def link(self) -> str:
        """Markdown."""
        return f"`{self.name}`" if Path(self.name).is_dir() else f"[{self.name}](https://huggingface.co/{self.name})"


@dataclass(frozen=True, kw_only=True)
class Example:
    """Two files of `examples/`, and what they are called."""

    label: str
    rgb: str
    infrared: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of `space.json`."""

    title: str
    clip: NamedModel
    captioner: NamedModel
    labels: list[str]
    template: str
    queries: list[str]
    scene_note: str
    scene_window: int
    windows: list[int]
    examples: list[Example]


def load_settings(folder: Path = HERE) -> Settings:
    """Read `space.json`."""
    found: dict[str, Any] = json.loads((folder / "space.json").read_text(encoding="utf-8"))
    clip, captioner = (NamedModel(**found.pop(name)) for name in ("clip", "captioner"))
    examples = [Example(**one) for one in found.pop("examples")]
    return Settings(clip=clip, captioner=captioner, examples=examples, **found)
