"""Transformers' own common tests: fetched as the source distribution of the installed version, unpacked into `.cache`.

The distribution holds the testers and mixins but not all that they import; what is missing is stubbed beside them.
"""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "conformance"

GENERATION_STUB = '''"""Not in the source distribution. Nothing may inherit from this empty class."""


class GenerationTesterMixin:
    pass
'''
EXPORT_STUB = '''"""Not in the source distribution; the common tests inherit from it."""


class ExportTesterMixin:
    pass
'''
CONFIGURATION_STUB = '''"""Not in the source distribution; only configurations without sub-configurations read it."""

config_common_kwargs: dict = {}
'''
FETCH_STUB = '''"""Replaces transformers' downloads of test images by one image that is drawn here."""

from pathlib import Path

import numpy as np
from PIL import Image

PICTURE = Path(__file__).with_name("picture.png")


def url_to_local_path(url: str, return_url_if_not_found: bool = True) -> str:
    if not url.lower().endswith((".png", ".jpg", ".jpeg")):
        return url
    if not PICTURE.exists():
        red, green = np.meshgrid(np.arange(64), np.arange(48))
        Image.fromarray(np.stack([4 * red, 5 * green, red + green], axis=-1).astype(np.uint8)).save(PICTURE)
    return str(PICTURE)
'''
STUBS = {
    "tests/__init__.py": "",
    "tests/generation/__init__.py": "",
    "tests/generation/test_utils.py": GENERATION_STUB,
    "tests/exporters/__init__.py": "",
    "tests/exporters/test_export.py": EXPORT_STUB,
    "tests/utils/__init__.py": "",
    "tests/utils/test_configuration_utils.py": CONFIGURATION_STUB,
    "utils/fetch_hub_objects_for_ci.py": FETCH_STUB,
}


def prepare_common_tests() -> Path:
    """Returns the folder that holds the common tests as the package `tests`; downloads them if they are not cached."""
    installed = version("transformers")
    name = f"transformers-{installed}"
    folder = CACHE / name
    if not (folder / "tests" / "test_modeling_common.py").exists():
        archive = CACHE / f"{name}.tar.gz"
        if not archive.exists():
            _download(installed)
        _unpack(archive, name)
    for path, text in STUBS.items():
        stub = folder / path
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(text)
    return folder


def _download(installed: str) -> None:
    """Uses `pip download`; build isolation would fetch setuptools only to read the name of the package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    command += ["--no-build-isolation", "--dest", str(CACHE), f"transformers=={installed}"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(
            f"Could not download the source distribution of transformers {installed}. Put "
            f"transformers-{installed}.tar.gz into {CACHE}, or run this once with a connection to a package index."
        )


def _unpack(archive: Path, name: str) -> None:
    """Unpacks the tests alone: its `src` must not shadow the installed library."""
    with tarfile.open(archive) as source:
        members = [member for member in source if member.name.startswith(f"{name}/tests/")]
        source.extractall(CACHE, members=members, filter="data")
