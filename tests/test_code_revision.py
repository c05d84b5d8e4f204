"""Which commit results and manifests say they were made by: never one that did not hold the code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"evaluation": "results", "dataset_scripts": "dataset_manifest"}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def revision(folder: Path, package: str, **environment: str) -> str:
    program = f"from {package}.{MODULES[package]} import code_revision; print(code_revision())"
    asked = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=asked, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("package", MODULES)
def test_a_revision_is_a_commit_that_holds_the_code_and_says_where_it_was_changed(package: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert revision(tmp_path, package) == "None", "no repository"
    git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("another project")
    git(tmp_path, "add", "README.md")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    assert revision(tmp_path, package) == "None", "installed below another project"
    git(tmp_path, "add", package)
    git(tmp_path, "commit", "--quiet", "--message", "Add the code")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert revision(tmp_path, package) == head
    assert revision(tmp_path, package, PATH=str(tmp_path / "nothing")) == "None", "no git on this machine"
    (tmp_path / "README.md").write_text("other words")
    assert revision(tmp_path, package) == head
    (tmp_path / package / "new.py").write_text("")
    assert revision(tmp_path, package) == f"{head}-dirty"
