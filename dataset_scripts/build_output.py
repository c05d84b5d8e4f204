"""The end of a build: manifest, cards and Croissant beside the shards, and nothing left of an earlier build."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .croissant import croissant_metadata
from .dataset_card import render_card
from .dataset_manifest import code_revision, library_versions, manifest_text
from .durable_files import file_sha256, write_text_durably
from .journal import ShardRecord, content_key
from .manifest_seal import is_sealed, sealed
from .stages.split_audit import SplitAudit
from .stages.splits import SPLITS, SplitPlan
from .steps.write_step import features_of

MANIFEST, CARD, CROISSANT = "manifest.json", "README.md", "croissant.json"
PROJECT_URL = "https://github.com/ORG/rsclip"
SHARD_FOLDERS = ("data", "local", "index")
OUR_FILES = (*SHARD_FOLDERS, MANIFEST, CARD, CROISSANT)

_DESCRIPTIONS = {
    "fusionrs": "Aligned RGB and infrared images with scene captions and infrared-aware captions.",
    "rs5m": "Remote-sensing images with captions.",
}


def config_key(dataset: str, config: Mapping[str, Any]) -> str:
    """Hash of the settings that decide what is written."""
    return content_key(dataset, config)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a built folder, None where there is none or it is damaged."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return manifest if isinstance(manifest, dict) and is_sealed(manifest) else None
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def write_outcome(
    output: Path,
    *,
    dataset: str,
    config: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    stages: Sequence[Mapping[str, Any]],
    records: Sequence[ShardRecord],
    audit: SplitAudit,
    splits: SplitPlan,
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the files beside the shards, the manifest last, and return the manifest.

    A file that is there already with the same text is left alone, so that running a finished build again writes
    nothing.
    """
    manifest: dict[str, Any] = {
        "dataset": dataset,
        "config_key": config_key(dataset, config),
        "config": json.loads(json.dumps(config, default=str)),
        "sources": list(sources),
        "stages": list(stages),
        "splits": {
            split: {"rows": facts.rows, "leak_groups": facts.groups}
            for split in SPLITS
            if split in audit.splits and (facts := audit.splits[split]).rows
        },
        "split_plan": {name: value for name, value in asdict(splits).items() if name != "splits"},
        "audit": asdict(audit),
        "shards": [_shard(record) for record in records],
        "notes": dict(notes),
        "code_revision": code_revision(),
        "versions": library_versions(),
    }
    _remove_stale(output, {record.file for record in records})
    _write_if_changed(output / CARD, render_card(manifest, folder=output.name, public=False))
    _write_if_changed(output / CROISSANT, manifest_text(croissant(manifest, name=output.name, public=False)))
    manifest["files"] = {name: file_sha256(output / name) for name in (CARD, CROISSANT)}
    manifest = sealed(manifest)
    _write_if_changed(output / MANIFEST, manifest_text(manifest))
    return manifest


def croissant(
    manifest: Mapping[str, Any], *, name: str, public: bool, url: str = PROJECT_URL, base_url: str | None = None
) -> dict[str, Any]:
    """Return the Croissant metadata of a built folder."""
    dataset = manifest["dataset"]
    return croissant_metadata(
        manifest,
        features={"default": features_of(dataset, "data"), "index": features_of(dataset, "index")},
        name=name,
        description=_DESCRIPTIONS[dataset],
        url=url,
        public=public,
        base_url=base_url,
    )


def _shard(record: ShardRecord) -> dict[str, Any]:
    split = Path(record.file).name.split("-")[0]
    return {
        "file": record.file,
        "split": split,
        "rows": record.rows,
        "bytes": record.bytes,
        "sha256": record.sha256,
    }


def _remove_stale(output: Path, files: set[str]) -> None:
    """Shards of an earlier build, with other numbers of shards, would be read as part of this one."""
    for folder in SHARD_FOLDERS:
        for path in sorted((output / folder).glob("*")):
            if path.relative_to(output).as_posix() not in files:
                path.unlink()
        if (output / folder).exists() and not any((output / folder).iterdir()):
            (output / folder).rmdir()


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_bytes() != text.encode():
        write_text_durably(path, text)
