"""What tells a model of a folder from what was in that folder before; a Hub model is told by its commit."""

import re
from functools import lru_cache
from pathlib import Path

from ..stages.translate import folder_sha256

_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_identity(model: str) -> str | None:
    """Return the hash of a model's folder, or None for a name on the Hub."""
    folder = Path(model)
    if not folder.is_dir():
        return None
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return _folder_sha256(folder, tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in files))


def require_model(option: str, model: str | None, revision: str | None) -> None:
    """Refuse, before any work, a model that is not there or that could be another one tomorrow.

    Args:
        option: what gives the model, for the error.
        model: folder, or name on the Hub; None where no model is given.
        revision: commit of a name on the Hub.

    Raises:
        ValueError: the model is no folder and has no full commit, or its folder is empty.
    """
    if model is None:
        return
    folder = Path(model)
    if not folder.is_dir() and not _COMMIT.fullmatch(revision or ""):
        raise ValueError(
            f"{option} {model!r} is no folder, and as a name on the Hub it comes with the revision {revision!r}; give "
            "a folder that exists, or the full commit of 40 digits."
        )
    if folder.is_dir() and not any(folder.iterdir()):
        raise ValueError(f"{option} {model!r} is an empty folder; give the folder of a saved model.")


@lru_cache(maxsize=16)
def _folder_sha256(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    """Models are large, and are asked for several times in a run; `state` is what shows that nothing changed."""
    return folder_sha256(folder)
