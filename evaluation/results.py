"""Results JSON: the one origin of every number that a table, a report or a card shows.

`results_schema.json` beside this file says what a record holds; `check_record` refuses to write anything else.
"""

import hashlib
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Folders whose code makes the numbers.
CODE = ("evaluation", "modeling_rsclip", "processing", "train")
LIBRARIES = ("torch", "transformers", "numpy", "pillow")
SCHEMA_FILE = Path(__file__).with_name("results_schema.json")
WEIGHTS = ("*.safetensors", "*.bin")
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value with its 95 % interval and the number of cases behind it."""

    name: str
    value: float
    low: float
    high: float
    n: int


def write_results(
    path: Path,
    *,
    benchmark: str,
    protocol: str,
    metrics: Sequence[Metric],
    model: Mapping[str, str],
    dataset: Mapping[str, str],
    config: Mapping[str, Any],
    seed: int = 0,
) -> dict[str, Any]:
    """Writes one results file, with what it takes to know where it came from, and returns the record.

    Args:
        path: The file; its folder is made.
        benchmark: What was run.
        protocol: The exact rules, such as `zero-shot:rs5m`; only numbers of one protocol compare.
        metrics: With `chance/...` rows beside what they are chance of.
        model: `id`, and `weights_sha256`, `bundle_sha256` or `predictions_sha256`.
        dataset: `id`, `listing_sha256`, and `manifest_sha256` where the data has a manifest.
        config: The resolved configuration.
        seed: Seed of the bootstrap.
    """
    record = {
        "benchmark": benchmark,
        "protocol": protocol,
        "metrics": [vars(metric) for metric in metrics],
        "model": dict(model),
        "dataset": dict(dataset),
        "config": dict(config),
        "code_revision": code_revision(),
        "versions": {name: version(name) for name in LIBRARIES},
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    check_record(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    return record


def check_record(record: Mapping[str, Any]) -> None:
    """Raises a ValueError that says where a record departs from the schema, or from what JSON schema cannot say."""
    _check(dict(record), json.loads(SCHEMA_FILE.read_text()), "record")
    names = [metric["name"] for metric in record["metrics"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the record holds metric {twice[0]!r} more than once.")
    for metric in record["metrics"]:
        values = [metric[key] for key in ("value", "low", "high")]
        if not all(math.isfinite(value) for value in values) or metric["low"] > metric["high"]:
            raise ValueError(f"metric {metric['name']!r} is {values[0]} in [{values[1]}, {values[2]}].")


def _check(value: Any, schema: Mapping[str, Any], place: str) -> None:
    """The part of JSON schema that `results_schema.json` uses."""
    wanted = schema.get("type", list(JSON_TYPES))
    kinds = [wanted] if isinstance(wanted, str) else wanted
    boolean = isinstance(value, bool) and "type" in schema  # Python counts it as an integer
    if boolean or not (isinstance(value, bool) or any(isinstance(value, JSON_TYPES[kind]) for kind in kinds)):
        raise ValueError(f"{place} is {value!r}, wanted {' or '.join(kinds)}.")
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        raise ValueError(f"{place} holds {len(value)} entries, wanted at least {schema['minItems']}.")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, schema.get("items", {}), f"{place}[{index}]")
    if isinstance(value, dict):
        _check_object(value, schema, place)
    if isinstance(value, int | float) and value < schema.get("minimum", -math.inf):
        raise ValueError(f"{place} is {value}, wanted at least {schema['minimum']}.")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> None:
    properties = schema.get("properties", {})
    lost = [key for key in schema.get("required", []) if key not in value]
    if lost:
        raise ValueError(f"{place} lacks {', '.join(map(repr, lost))}.")
    choices = [option["required"] for option in schema.get("anyOf", [])]
    if choices and not any(all(key in value for key in keys) for keys in choices):
        raise ValueError(f"{place} needs one of {' or '.join(repr(keys[0]) for keys in choices)}.")
    for key, item in value.items():
        if key in properties:
            _check(item, properties[key], f"{place}.{key}")
        elif schema.get("additionalProperties") is False:
            raise ValueError(f"{place} holds {key!r}, which the schema does not know.")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(model: Path) -> str:
    """SHA-256 of a weights file, or over the hashes of all weight files of a folder, in the order of their names."""
    if model.is_file():
        return file_sha256(model)
    for pattern in WEIGHTS:
        shards = sorted(model.glob(pattern))
        if shards:
            return hashlib.sha256("".join(file_sha256(shard) for shard in shards).encode()).hexdigest()
    raise FileNotFoundError(f"{model} holds no weights ({' or '.join(WEIGHTS)}).")


def code_revision() -> str | None:
    """The commit of this code, with `-dirty` where its files differ from it; None where no commit holds it.

    Installed below another project's checkout, the code is not in that project's commits.
    """
    try:
        _git("ls-files", "--error-unmatch", str(Path(__file__)))
        head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", *CODE)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changes else head


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def check_file_name(name: str | None) -> None:
    """Raises a ValueError for a name of results files that would not be one in their folder; None is no name."""
    if name is not None and (not name or "/" in name):
        raise ValueError(f"name is {name!r}, wanted a file name without folder or suffix.")


def dataset_record(data: Path, listing_sha256: str) -> dict[str, str]:
    """What a record says of its data: where it lay, the hash of the rows, and of the manifest where there is one."""
    manifest = data / "manifest.json"
    found = {"manifest_sha256": file_sha256(manifest)} if manifest.is_file() else {}
    return {"id": str(data), "listing_sha256": listing_sha256, **found}
