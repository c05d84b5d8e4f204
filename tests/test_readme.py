"""What README says: its commands run, its code runs, its paths exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Smaller, so that it takes seconds; everything else is as README has it.
SMALLER = {
    "build": "--num-scenes 80 --sources.scene-size 32 --workers 1",
    "train.train_clip": "--optim.steps 3 --optim.warmup-steps 1 --optim.batch-size 8 --data.workers 0",
    "train.train_captioner": "--optim.steps 3 --optim.warmup-steps 1 --optim.batch-size 8 --data.workers 0",
    "captions": "--rows 4",
}


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def commands() -> list[str]:
    return [line for line in blocks("bash")[1].splitlines() if line.strip()]


def test_paths_in_readme_exist() -> None:
    tree = blocks("")[0]
    folders = re.findall(r"^(\w+)/", tree, flags=re.MULTILINE)
    assert len(folders) == 8
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    for path in [*folders, *linked]:
        assert (ROOT / path).exists(), path


def test_make_targets_in_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z-]+)", README))
    assert targets >= {"demo", "test", "check"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_code_of_the_infrared_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    text = (ROOT / "docs" / "infrared.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(code) == 3
    monkeypatch.chdir(tmp_path)
    exec("\n".join(code), {})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_and_code_of_readme_run(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    assert len(commands()) == 5
    for line in commands():
        smaller = next((options for name, options in SMALLER.items() if f" {name} " in line), "")
        subprocess.run([*shlex.split(line), *smaller.split()], check=True, cwd=tmp_path, env=environment)
    code = blocks("python")[0].replace("demo/clip-tri-modal/model", "runs/clip/model")
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    loading = next(code for code in blocks("python") if "streaming=True" in code)
    show = "\nprint(len(pairs['test']), index['test'].column_names[0], next(iter(stream))['id'])"
    loaded = subprocess.run(
        [sys.executable, "-c", loading + show],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"\d+ id simulator:0-\d{7}", loaded.stdout.strip())
    shares = [float(number) for number in re.findall(r"\d\.\d+", result.stdout)]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1.0, abs=1e-3)
