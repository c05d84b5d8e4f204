"""Checks the folder of a Space, and lists what goes up: no file that the Hub would not run, no import that it lacks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dataset_scripts.build_output import MANIFEST
from dataset_scripts.dataset_manifest import manifest_text
from dataset_scripts.publishing.public_file import PublicFile, disk_file, written_file

from .publish_code import import_faults
from .publish_fault import Fault, UnfitError
from .publish_files import PYTHON_CACHE, file_faults

SDKS = ("gradio", "docker", "static")
REQUIRED = ("title", "sdk", "license", "models")
# Packages whose module has another name.
_MODULES = {"pillow": "PIL", "pyyaml": "yaml", "opencv-python-headless": "cv2", "scikit-image": "skimage"}
_LEFT_OUT = {PYTHON_CACHE, ".git", ".cache"}


def space_files(folder: Path, *, repo: str) -> tuple[list[PublicFile], str]:
    """Check a Space's folder; return its files with a manifest, and what runs it.

    Raises:
        UnfitError: Something in it must not go up, or could not run there.
    """
    if not (folder / "README.md").is_file():
        raise ValueError(f"{folder} holds no README.md; a Space's has its settings at the top.")
    metadata = space_metadata(folder)
    faults = [*_metadata_faults(folder, metadata), *_own(folder, file_faults(folder))]
    if not faults:
        faults = _code_faults(folder, metadata)
    if faults:
        raise UnfitError(folder, faults)
    files = [disk_file(path.relative_to(folder).as_posix(), path) for path in _paths(folder)]
    hashes = {file.path: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
    text = manifest_text({"kind": "space", "repo": repo, "files": hashes})
    return [*files, written_file(MANIFEST, text.encode())], str(metadata["sdk"])


def space_metadata(folder: Path) -> dict[str, Any]:
    """The settings at the top of README.md."""
    parts = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    try:
        found = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / 'README.md'} starts with settings that are no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{folder / 'README.md'} has no settings between two lines of --- at its top.")
    return found


def _metadata_faults(folder: Path, metadata: Mapping[str, Any]) -> list[Fault]:
    faults = [Fault("README.md metadata", "missing", name) for name in REQUIRED if not metadata.get(name)]
    if metadata.get("sdk") not in SDKS:
        faults.append(Fault("README.md metadata", "sdk", f"{metadata.get('sdk')!r}; wanted one of {', '.join(SDKS)}"))
    if metadata.get("sdk") == "gradio" and not metadata.get("sdk_version"):
        faults.append(Fault("README.md metadata", "missing", "sdk_version"))
    app = metadata.get("app_file", "app.py")
    if metadata.get("sdk") == "gradio" and not (folder / app).is_file():
        faults.append(Fault("README.md metadata", "app_file", f"{app} is not there"))
    return faults


def _code_faults(folder: Path, metadata: Mapping[str, Any]) -> list[Fault]:
    """Imports that neither requirements.txt nor the Space itself brings."""
    if metadata["sdk"] != "gradio":
        return []
    requirements = folder / "requirements.txt"
    lines = requirements.read_text(encoding="utf-8").splitlines() if requirements.is_file() else []
    names = [re.match(r"[A-Za-z0-9_.-]+", line.strip()) for line in lines]
    packages = {name[0].lower() for name in names if name} | {"gradio", "huggingface_hub"}
    libraries = {_MODULES.get(name, name.replace("-", "_")) for name in packages}
    siblings = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return [
        fault
        for path in _paths(folder)
        if path.suffix == ".py"
        for fault in import_faults(path, siblings=siblings, libraries=libraries, flat=False)
    ]


def _paths(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return [path for path in found if not _LEFT_OUT & set(path.relative_to(folder).parts)]


def _own(folder: Path, faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if not _LEFT_OUT & set(Path(fault.place).parts)]
