"""The manifest beside the shards: what went in, what came out, and with what it was made."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "pillow", "pyarrow", "datasets")


def library_versions() -> dict[str, str]:
    """Versions of what decides the bytes of a dataset."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def code_revision() -> str | None:
    """The commit of this code, with `-dirty` where files differ from it; None outside a repository."""
    folder = Path(__file__).parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--", ".")
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changes else head


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest as readable JSON, whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def _git(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return finished.stdout.strip()
