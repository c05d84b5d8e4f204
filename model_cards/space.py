"""Assembles the demo Space: the app, a gallery of test rows with embeddings, a simulated scene, examples, settings.

python -m model_cards.space --clip ORG/CLIP --captioner ORG/CAPTIONER --data fusionrs --output demo_space
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
import yaml

from dataset_scripts.publishing.destination import is_repository

from .space_data import EXAMPLES, SpaceRow, choose_rows, write_examples, write_gallery, write_scene
from .space_models import check_captioner, load_gallery_model

APP = Path(__file__).parent / "space_app"
APP_SUFFIXES = {".py", ".css", ".txt"}
TITLE = "RGB, infrared and text"
TEMPLATE = "an aerial photo of {}"
LABELS = (
    "an airport", "a beach", "a dense residential area", "farmland", "a forest", "a harbor", "an industrial area",
    "a river", "a solar farm", "storage tanks",
)  # fmt: skip
QUERIES = ("a harbor with ships", "an airport", "storage tanks", "a scene at night")
PYTHON_VERSION = "3.12"
# Sides of windows that the page offers; one scene of the large one is where it begins.
WINDOWS = (32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """Assemble the demo Space."""

    clip: str
    """Name on the Hub of a CLIP that was published with its pipelines; or a folder, to try the demo on this machine."""
    captioner: str
    """The same of a captioner."""
    data: Path
    """Folder of a built FusionRS dataset; the gallery and the examples are rows of its test split."""
    output: Path
    """Folder to write; empty or not there."""
    clip_revision: str | None = None
    """Commit or tag of the CLIP; the newest when not given."""
    captioner_revision: str | None = None
    """The same of the captioner."""
    rows: int = 36
    """Rows of the gallery; classes take turns."""
    title: str = TITLE
    """Title of the Space."""
    scene_tile: int = 256
    """Pixels a side of each of the twelve simulated scenes that make up the large one."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for option in ("clip", "captioner"):
            name, revision = getattr(self, option), getattr(self, f"{option}_revision")
            if not Path(name).is_dir() and not is_repository(name):
                raise ValueError(f"--{option} is {name!r}; wanted ORG/NAME on the Hub, or a folder that is there.")
            if Path(name).is_dir() and revision is not None:
                raise ValueError(f"--{option} {name} is a folder, which has no revisions; drop --{option}-revision.")
        if not self.data.is_dir():
            raise ValueError(f"--data is {self.data}, which is no folder; build one with `python -m dataset_scripts`.")
        if self.rows < EXAMPLES:
            raise ValueError(f"--rows is {self.rows}; wanted at least {EXAMPLES}.")
        if self.scene_tile not in WINDOWS:
            raise ValueError(f"--scene-tile is {self.scene_tile}; wanted one of {', '.join(map(str, WINDOWS))}.")

    @property
    def folders(self) -> list[str]:
        """Models that are folders here: with them the Space works here only."""
        return [name for name in (self.clip, self.captioner) if Path(name).is_dir()]


def assemble_space(config: SpaceConfig) -> Path:
    """Write the folder of the Space, and return it.

    Raises:
        FileExistsError: the output is not empty.
        ValueError: a model lacks its pipelines, or no row may be handed on.
    """
    if config.output.exists() and (not config.output.is_dir() or any(config.output.iterdir())):
        raise FileExistsError(f"{config.output} is not empty; choose another --output, or remove it.")
    check_captioner(config.captioner, config.captioner_revision)
    model = load_gallery_model(config.clip, config.clip_revision)
    rows = choose_rows(config.data, config.rows)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, and renamed when all of it is there.
    with tempfile.TemporaryDirectory(dir=config.output.parent, prefix=f".{config.output.name}.") as place:
        folder = Path(place) / config.output.name
        folder.mkdir()
        _write_app(folder)
        write_gallery(folder, rows, model)
        examples = write_examples(folder, rows)
        _write_settings(folder, config, examples, write_scene(folder, config.scene_tile))
        (folder / "README.md").write_text(readme(config, rows), encoding="utf-8")
        folder.replace(config.output)
    return config.output


def readme(config: SpaceConfig, rows: Sequence[SpaceRow]) -> str:
    """The Space's settings, and where its images come from."""
    published = [name for name in (config.clip, config.captioner) if not Path(name).is_dir()]
    metadata: dict[str, Any] = {
        "title": config.title,
        "colorFrom": "indigo",
        "colorTo": "red",
        "sdk": "gradio",
        "sdk_version": gradio_version(),
        "python_version": PYTHON_VERSION,
        "app_file": "app.py",
        "license": "apache-2.0",
        "short_description": "Scores, search, heat maps and captions of RGB and infrared",
        **({} if config.folders else {"models": published}),
    }
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.facts["license"], row.facts["infrared_origin"], row.facts["attribution"])
        counts[key] = counts.get(key, 0) + 1
    lines = [
        f"| {' | '.join(part.replace('|', chr(92) + '|') for part in key)} | {count} |" for key, count in counts.items()
    ]
    return (
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n# {config.title}\n\n"
        "Zero-shot scores, search, localization and captions of RGB and infrared images. Needs no GPU.\n\n"
        "The gallery and the examples are test rows of a dataset whose licences permit handing them on:\n\n"
        "| licence | infrared | attribution | rows |\n|---|---|---|---|\n" + "\n".join(lines) + "\n\n"
        "The large scene is simulated. Infrared that was simulated or translated is not temperature.\n\n"
        "`requirements.txt` has pins of its own: Gradio refuses Pillow 13.\n"
    )


def gradio_version() -> str:
    """The version that the app's requirements pin."""
    lines = (APP / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (version,) = (line.removeprefix("gradio==") for line in lines if line.startswith("gradio=="))
    return version


def _write_app(folder: Path) -> None:
    for path in sorted(APP.iterdir()):
        if path.suffix in APP_SUFFIXES:
            shutil.copyfile(path, folder / path.name)


def _write_settings(folder: Path, config: SpaceConfig, examples: list[dict[str, str]], note: str) -> None:
    settings = {
        "title": config.title,
        "clip": {"name": _named(config.clip), "revision": config.clip_revision},
        "captioner": {"name": _named(config.captioner), "revision": config.captioner_revision},
        "labels": list(LABELS),
        "template": TEMPLATE,
        "queries": list(QUERIES),
        "scene_note": note,
        "scene_window": config.scene_tile,
        "windows": list(WINDOWS),
        "examples": examples,
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (folder / "space.json").write_text(text + "\n", encoding="utf-8")


def _named(name: str) -> str:
    """A folder by its full path: publishing refuses that, and the app does not depend on where it is started."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    try:
        config = tyro.cli(SpaceConfig, prog="python -m model_cards.space", args=argv, description=__doc__)
        folder = assemble_space(config)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print(f"assembled in {folder}; run it with: python {folder / 'app.py'}")
    if config.folders:
        print(
            f"note: {', '.join(config.folders)} is on this machine only, so this cannot be published", file=sys.stderr
        )


if __name__ == "__main__":
    main()
