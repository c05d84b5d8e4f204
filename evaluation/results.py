"""Results JSON: the one origin of every number that a table, a report or a card shows."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "numpy", "pillow")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value with its 95 % interval and the number of cases behind it."""

    name: str
    value: float
    low: float
    high: float
    n: int


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_results(
    path: Path, *, benchmark: str, protocol: str, metrics: list[Metric], model: Path, data: Path, config: dict[str, Any]
) -> None:
    """Writes one results file, with what it takes to know where it came from."""
    record = {
        "benchmark": benchmark,
        "protocol": protocol,
        "metrics": [vars(metric) for metric in metrics],
        "model": {"id": str(model), "weights_sha256": weights_sha256(model)},
        "dataset": {"id": str(data), "manifest_sha256": file_sha256(data / "manifest.json")},
        "config": config,
        "code_revision": code_revision(),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")


def weights_sha256(model: Path) -> str:
    """SHA-256 over the hashes of all weight files, in the order of their names."""
    shards = sorted(model.glob("*.safetensors"))
    if not shards:
        raise FileNotFoundError(f"{model} holds no .safetensors weights.")
    return hashlib.sha256("".join(file_sha256(shard) for shard in shards).encode()).hexdigest()


def code_revision() -> str | None:
    """The git commit of this code, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None
