"""Peers that the benchmarks of the dataset builds run beside us, from a folder of their own.

python -m pip install --no-deps --target .cache/dataset_peers ImageHash==4.3.2 PyWavelets==1.9.0 \
    pybktree==1.1 sortedcontainers==2.4.0
"""

import importlib
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PEERS_FOLDER = Path(__file__).parents[1] / ".cache" / "dataset_peers"
_DISTRIBUTIONS = {"imagehash": "ImageHash", "pybktree": "pybktree"}


def load_peer(name: str, folder: Path) -> Any | None:
    """Import a module from the folder of peers; None where it is not there, whatever else is installed."""
    if not any((folder / place).exists() for place in (name, f"{name}.py")):
        return None
    # Last, so that libraries which both have are our own.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def peer_versions(folder: Path) -> dict[str, str]:
    """Versions of the peers that are there."""
    found = {found.metadata["Name"].lower(): found.version for found in distributions(path=[str(folder)])}
    return {name: found[one.lower()] for name, one in _DISTRIBUTIONS.items() if one.lower() in found}
