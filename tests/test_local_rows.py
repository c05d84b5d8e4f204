"""Rows whose licence keeps them on this machine are trained on and tested on here like all others."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processing_fixtures import make_scene

from dataset_scripts.__main__ import main
from evaluation.rows import is_built, load_split
from train.data.streamed_rows import stream_split

ROWS = 12


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of two folders of images, of which one says no licence."""
    root = tmp_path_factory.mktemp("mixed")
    for name, seed in (("open", 0), ("closed", 100)):
        lines = []
        for number in range(ROWS):
            path = root / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(make_scene(48, 48, seed + number)).save(path)
            lines.append({"file_name": path.name, "caption": f"scene {number} of the {name} folder"})
        (root / name / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        licence = ["--sources.license", "CC-BY-4.0", "--sources.attribution", "Somebody"] if name == "open" else []
        words = ["build", "fusionrs", "--source", f"folder:{root / name}", "--translator.name", "luminance", *licence]
        main([*words, "--splits.test", "4", "--splits.validation", "2", "--output", str(root / f"{name}_rows")])
    return root


def test_rows_that_stay_here_are_read(mixed: Path) -> None:
    closed, public = mixed / "closed_rows", mixed / "open_rows"
    assert (closed / "local").is_dir()
    assert not (closed / "data").exists()
    assert (public / "data").is_dir()
    for folder in (closed, public):
        assert is_built(folder)
        rows = load_split(str(folder), "train")
        assert len(rows) == ROWS - 6
        assert stream_split(str(folder), "train")["id"] == rows["id"]
        assert np.array(Image.open(io.BytesIO(rows[0]["rgb"]["bytes"]))).shape == (48, 48, 3)


def test_both_kinds_are_one_split(mixed: Path, tmp_path: Path) -> None:
    for folder, place in ((mixed / "open_rows", "data"), (mixed / "closed_rows", "local")):
        (tmp_path / place).symlink_to(folder / place)
    rows = load_split(str(tmp_path), "test")
    assert len(rows) == 8
    assert sum("closed" in texts[0] for texts in rows["captions"]) == 4
