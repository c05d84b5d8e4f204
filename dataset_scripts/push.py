"""Publishes what may be published of a built folder on the Hugging Face Hub.

python -m dataset_scripts push fusionrs --repo ORG/fusionrs --dry-run
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from huggingface_hub import HfApi

from .build_output import SHARD_FOLDERS, read_manifest
from .check import inspect_folder, published_problems
from .checking.folder_files import WITHHELD
from .checking.folder_problem import Problem
from .checking.shard_rights import text_problems
from .publishing.destination import MAIN, Destination, check_names, check_pull_request
from .publishing.hub_errors import HubError
from .publishing.hub_push import bring, print_files
from .publishing.public_file import PublicFile
from .publishing.public_folder import public_files, withheld_reasons


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """What to publish, and where. The access token is that of HF_TOKEN or of `hf auth login`."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that `build` wrote."""
    repo: str
    """Repository, such as ORG/fusionrs; it is made if it is not there."""
    private: bool = False
    """Make the repository private."""
    revision: str = MAIN
    """Branch; it is made from main if it is not there."""
    tag: str | None = None
    """Name for this version, such as v1.0.0."""
    dry_run: bool = False
    """Check and list only; nothing is asked of the Hub."""
    overwrite_remote: bool = False
    """Delete shards that an earlier version left there, and replace files of a repository that has no manifest."""
    pull_request: bool = False
    """Open a pull request, and change nothing on main: for a review, or where you may not write."""
    workers: int = os.cpu_count() or 1
    """Shards that are checked at a time."""

    def __post_init__(self) -> None:
        """Refuse names that cannot work, and what excludes each other."""
        check_names(self.repo, self.revision, self.tag)
        if self.pull_request:
            check_pull_request(self.revision, self.tag, private=self.private)


class UnfitFolderError(RuntimeError):
    """The folder must not be published as it is."""

    def __init__(self, folder: Path, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join([*map(str, problems), f"{folder} is not fit to be published: {len(problems)} problems."])
        )
        self.problems = list(problems)


def push(config: PushConfig, api: HfApi | None = None) -> str | None:
    """Publish a folder, and return the commit that holds it; None for a dry run.

    Raises:
        UnfitFolderError: something in the folder is damaged, or may not be published.
        HubError: the Hub did not do what was asked; the branch is as it was, or complete.
    """
    api = api or HfApi()
    files = prepare(config, hub=api.endpoint)
    if config.dry_run:
        return None
    to = Destination(
        repo=config.repo,
        kind="dataset",
        belongs=lambda path: path.partition("/")[0] in SHARD_FOLDERS,
        leftovers="shards of another version, which would be read together with these",
        revision=config.revision,
        tag=config.tag,
        private=config.private,
        overwrite_remote=config.overwrite_remote,
        pull_request=config.pull_request,
    )
    name = config.folder.resolve().name
    return bring(api, to, files, message=f"Publish {name}{f' {config.tag}' if config.tag else ''}")


def prepare(config: PushConfig, *, hub: str) -> list[PublicFile]:
    """Check the folder, print what goes and what stays, and return what goes."""
    problems = inspect_folder(config.folder, quick=True, workers=config.workers).problems
    manifest = read_manifest(config.folder)
    if problems or manifest is None:
        raise UnfitFolderError(config.folder, problems)
    if WITHHELD in manifest:
        raise ValueError(f"{config.folder} is a copy of what was published; push the folder that `build` wrote.")
    problems = published_problems(config.folder, manifest, workers=config.workers)
    files = public_files(config.folder, manifest, repo=config.repo, revision=config.revision, hub=hub)
    for file in files:
        if isinstance(file.content, bytes):
            problems += text_problems(file.path, file.content.decode())
    if problems:
        raise UnfitFolderError(config.folder, problems)
    _print_account(config, files, manifest)
    return files


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    try:
        config = tyro.cli(PushConfig, prog="python -m dataset_scripts push", args=argv, description=__doc__)
        push(config)
    except (UnfitFolderError, HubError) as error:
        raise SystemExit(str(error)) from error
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def _print_account(config: PushConfig, files: Sequence[PublicFile], manifest: dict[str, Any]) -> None:
    print_files(config.repo, files)
    reasons = withheld_reasons(config.folder, manifest)
    print(f"stays on this machine: {reasons.total():,} rows with images")
    for reason, rows in sorted(reasons.items()):
        print(f"  {rows:>12,} {reason}")
    if (manifest.get("code_revision") or "-dirty").endswith("-dirty"):
        print("note: built by code that no commit holds; nobody can repeat it from the manifest", file=sys.stderr)
