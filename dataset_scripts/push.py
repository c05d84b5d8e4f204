"""Publishes what may be published of a built folder on the Hugging Face Hub.

python -m dataset_scripts push fusionrs --repo ORG/fusionrs --dry-run
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from huggingface_hub import HfApi

from .build_output import read_manifest
from .check import inspect_folder, published_problems
from .checking.folder_files import WITHHELD
from .checking.folder_problem import Problem
from .checking.shard_rights import text_problems
from .publishing.hub_errors import HubError, named_hub_errors
from .publishing.hub_upload import MAIN, UploadPlan, open_repository, plan_upload, remove_staging, upload
from .publishing.public_folder import PublicFile, public_files, withheld_reasons

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


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
    workers: int = os.cpu_count() or 1
    """Shards that are checked at a time."""

    def __post_init__(self) -> None:
        """Refuse names that cannot work."""
        if not _REPO.fullmatch(self.repo):
            raise ValueError(f"repo is {self.repo!r}; it must be ORG/NAME.")
        for name in ("revision", "tag"):
            value = getattr(self, name)
            if value is not None and not _REFERENCE.fullmatch(value):
                raise ValueError(f"{name} is {value!r}; letters, digits, '.', '_' and '-' are taken.")


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
    with named_hub_errors(config.repo):
        api.whoami()
        open_repository(api, config.repo, private=config.private)
        plan = plan_upload(api, config.repo, config.revision, files)
        _refuse(config, plan)
        if plan.is_done:
            print(f"{config.repo}@{config.revision} has all {len(files)} files; nothing is sent.")
            remove_staging(api, config.repo, files, plan)
            commit = plan.head
        else:
            print(f"sending {len(plan.changed)} files; {plan.unchanged} are there, {len(plan.stale)} are deleted")
            commit = upload(api, config.repo, config.revision, files, plan, message=_message(config))
        if config.tag is not None and config.tag not in plan.tags:
            api.create_tag(config.repo, tag=config.tag, revision=commit, repo_type="dataset")
    print(f"{api.endpoint}/datasets/{config.repo} at {commit}{f', tag {config.tag}' if config.tag else ''}")
    return commit


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
    print(f"{'goes to ' + config.repo:<56}{'bytes':>16}")
    for file in files:
        print(f"  {file.path:<54}{file.bytes:>16,}")
    print(f"  {f'{len(files)} files':<54}{sum(file.bytes for file in files):>16,}")
    reasons = withheld_reasons(config.folder, manifest)
    print(f"stays on this machine: {reasons.total():,} rows with images")
    for reason, rows in sorted(reasons.items()):
        print(f"  {rows:>12,} {reason}")
    if (manifest.get("code_revision") or "-dirty").endswith("-dirty"):
        print("note: built by code that no commit holds; nobody can repeat it from the manifest", file=sys.stderr)


def _refuse(config: PushConfig, plan: UploadPlan) -> None:
    """Delete nothing unasked, and move no tag."""
    if config.tag is not None and (at := plan.tags.get(config.tag)) and not (plan.is_done and at == plan.head):
        raise HubError(f"tag {config.tag} of {config.repo} is at {at[:12]}, another version; choose another --tag.")
    if config.overwrite_remote:
        return
    if plan.stale:
        raise HubError(
            f"{config.repo}@{config.revision} holds {len(plan.stale)} shards of another version, which would be read "
            f"together with these: {', '.join(plan.stale[:10])}. Give --overwrite-remote to delete them."
        )
    if plan.foreign:
        raise HubError(
            f"{config.repo} holds {', '.join(plan.foreign)}, but no manifest: this program did not write it. Give "
            "--overwrite-remote to replace them, or choose another --repo."
        )


def _message(config: PushConfig) -> str:
    return f"Publish {config.folder.resolve().name}{f' {config.tag}' if config.tag else ''}"
