"""The manifest beside the shards: what went in, what came out, and with what it was made."""

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .durable_files import write_text_durably

LIBRARIES = ("numpy", "pillow", "pyarrow", "datasets", "daft")


def library_versions() -> dict[str, str]:
    """Versions of what decides the bytes of a dataset."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def code_revision() -> str | None:
    """The commit of this code, with `-dirty` where files differ from it; None where no commit of ours holds it."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", str(Path(__file__)))
        head = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--", ".")
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changes else head


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as readable JSON."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest, whole or not at all."""
    write_text_durably(path, manifest_text(manifest))


def _git(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return finished.stdout.strip()
