"""What tells a model of a folder from what was in that folder before; a Hub model is told by its commit."""

from pathlib import Path

from ..stages.translate import folder_sha256


def model_identity(model: str) -> str | None:
    """Return the hash of a model's folder, or None for a name on the Hub."""
    return folder_sha256(Path(model)) if Path(model).is_dir() else None
