"""The public form of a built folder: data/ and index/ as they are, texts written anew, nothing of local/.

Folders of this machine and samples of rejected rows, which may quote what may not be handed on, are left out.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import pyarrow.parquet as pq

from ..build_output import CARD, CROISSANT, MANIFEST, croissant
from ..checking.folder_files import WITHHELD
from ..dataset_card import render_card, shards_of
from ..dataset_manifest import manifest_text
from ..manifest_seal import sealed
from ..rights import row_rights
from ..stages.splits import SPLITS
from .benchmark import BENCHMARK, benchmark_text
from .public_file import PublicFile, written_file

_LOCAL = "local/"
_PATH_VALUE = re.compile(r"(?P<before>^|=)(?P<path>(?:/|~|file:|[A-Za-z]:[\\/]|\\\\).*)$", re.DOTALL)


def public_files(folder: Path, manifest: Mapping[str, Any], *, repo: str, revision: str, hub: str) -> list[PublicFile]:
    """List what goes to the Hub.

    Args:
        folder: the built folder.
        manifest: its manifest.
        repo: such as ORG/fusionrs.
        revision: branch that the files will be on; addresses in Croissant name it.
        hub: address of the Hub.
    """
    page = f"{hub.rstrip('/')}/datasets/{repo}"
    shown = _without_this_machine(manifest)
    metadata = croissant(shown, name=repo.split("/")[1], public=True, url=page, base_url=f"{page}/resolve/{revision}")
    texts = {
        CARD: render_card(shown, folder=repo, public=True).encode(),
        CROISSANT: manifest_text(metadata).encode(),
    }
    if (benchmark := benchmark_text(shown)) is not None:
        texts[BENCHMARK] = benchmark.encode()
    written = [written_file(name, text) for name, text in texts.items()]
    hashes = {file.path: file.sha256 for file in written}
    shards = [
        PublicFile(path=shard["file"], content=folder / shard["file"], bytes=shard["bytes"], sha256=shard["sha256"])
        for shard in shards_of(manifest, public=True)
    ]
    return [*shards, *written, written_file(MANIFEST, manifest_text(public_manifest(manifest, hashes)).encode())]


def public_manifest(manifest: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest of the public files, with the number of rows whose images are withheld."""
    withheld = {
        split: sum(
            shard["rows"]
            for shard in manifest["shards"]
            if shard["split"] == split and shard["file"].startswith(_LOCAL)
        )
        for split in SPLITS
        if split in manifest["splits"]
    }
    shards = [shard for shard in manifest["shards"] if not shard["file"].startswith(_LOCAL)]
    shown = {**_without_this_machine(manifest), "shards": shards, WITHHELD: withheld, "files": dict(files)}
    return sealed(shown)


def withheld_reasons(folder: Path, manifest: Mapping[str, Any]) -> Counter[str]:
    """Count the rows that stay on this machine by why they do."""
    counts: Counter[str] = Counter()
    for shard in manifest["shards"]:
        if shard["file"].startswith(_LOCAL):
            counts.update(_reasons(folder / shard["file"]))
    return counts


def _reasons(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        columns = [name for name in ("license", "infrared_origin") if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield f"licence {row['license']!r} {_forbidden(row['license'])}"


def _forbidden(license_: str | None) -> str:
    rights = row_rights(license_)
    if not rights.images:
        return "does not let the images be handed on"
    if not rights.captions:
        return "does not let the captions be handed on"
    return "does not let an infrared image be made from the RGB image and handed on"


def _without_this_machine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    stages = [
        {name: value for name, value in stage.items() if name != "rejected_sample"} for stage in manifest["stages"]
    ]
    return {
        **manifest,
        "config": last_names(manifest["config"]),
        "notes": last_names(manifest.get("notes", {})),
        "stages": stages,
    }


def last_names(value: Any) -> Any:
    """Of every folder or file only its last name."""
    if isinstance(value, dict):
        return {name: last_names(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [last_names(inner) for inner in value]
    if isinstance(value, str):
        return _PATH_VALUE.sub(lambda found: found["before"] + PureWindowsPath(found["path"]).name, value)
    return value
