"""What docs/training-clip.md says: its tables are the presets, and its presets and options exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from train.clip.presets import ARMS, CLIP_PRESETS, WEIGHTS
from train.train_clip import named_presets

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "training-clip.md").read_text()


def table(title: str) -> list[str]:
    lines = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0].splitlines()
    return [line for line in lines if line.startswith("| `")]


def test_the_tables_are_the_presets() -> None:
    assert table("Arms") == [f"| `{name}` | {arm.text} |" for name, arm in ARMS.items()]
    assert table("Weights") == [f"| `{name}` | {item.text}, `{item.source}` |" for name, item in WEIGHTS.items()]


def test_presets_on_the_page_exist() -> None:
    named = re.findall(r"train\.train_clip (\S+)", PAGE)
    assert len(named) == 3
    assert set(named) <= set(CLIP_PRESETS)


def test_options_on_the_page_exist() -> None:
    command = [sys.executable, "-m", "train.train_clip", "fusionrs-trimodal-vit-b-32", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    options = set(re.findall(r"(--[a-z][a-z.-]+[a-z])", PAGE)) - {"--help"}
    assert len(options) > 25
    assert {option for option in options if option not in text} == set()


def test_help_lists_every_preset_and_a_mistyped_one_is_told_what_was_meant() -> None:
    assert named_presets(["--help"]) == named_presets([]) == CLIP_PRESETS
    assert list(named_presets(["debug", "--seed", "1"])) == ["debug"]
    with pytest.raises(SystemExit, match="did you mean fusionrs-trimodal-vit-l-14"):
        named_presets(["fusionrs-trimodal-vit-l14"])
    with pytest.raises(SystemExit, match=r"there is no preset 'xyzzy'; --help lists all 145\."):
        named_presets(["xyzzy"])
