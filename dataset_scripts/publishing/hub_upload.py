"""Brings files to a repository of the Hub, so that its branch is either as before or complete.

All is sent and committed to a staging branch first, compared there with what was meant, and then copied to the branch
in one commit, by the server. A run that was cut off is run again: what the Hub has is not sent again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from ..build_output import MANIFEST
from .destination import MAIN, Destination
from .hub_errors import HubError
from .public_file import PublicFile


@dataclass(frozen=True, kw_only=True)
class UploadPlan:
    """What is to change in a repository."""

    head: str
    """Commit that the branch is at; where there is no such branch, that of main."""
    branch_exists: bool
    changed: list[PublicFile]
    """Files that the branch lacks, or has otherwise."""
    unchanged: int
    stale: list[str]
    """Files of another version that must not be left on the branch."""
    foreign: list[str]
    """Files that would be replaced in a repository without a manifest: somebody else's."""
    branches: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def is_done(self) -> bool:
        """Whether the branch is as it should be."""
        return self.branch_exists and not self.changed and not self.stale


def open_repository(api: HfApi, to: Destination) -> None:
    """Make sure that the repository is there, private where asked."""
    try:
        info = api.repo_info(to.repo, repo_type=to.kind)
    except RepositoryNotFoundError:
        api.create_repo(to.repo, repo_type=to.kind, private=to.private, space_sdk=to.space_sdk)
        return
    if to.private and not info.private:
        raise HubError(
            f"{to.repo} is there and public; --private does not change that. Change it on its settings page."
        )


def plan_upload(api: HfApi, to: Destination, files: Sequence[PublicFile]) -> UploadPlan:
    """Compare a branch with what it should hold; only names, sizes and hashes are asked for."""
    refs = api.list_repo_refs(to.repo, repo_type=to.kind)
    branches = {ref.name: ref.target_commit for ref in refs.branches}
    head = branches.get(to.revision, branches[MAIN])
    there = remote_files(api, to, head)
    changed = [file for file in files if not is_same(there.get(file.path), file)]
    return UploadPlan(
        head=head,
        branch_exists=to.revision in branches,
        changed=changed,
        unchanged=len(files) - len(changed),
        stale=stale_files(to, there, files),
        foreign=sorted(file.path for file in changed if file.path in there) if to.is_foreign(there) else [],
        branches=branches,
        tags={ref.name: ref.target_commit for ref in refs.tags},
    )


def upload(api: HfApi, to: Destination, files: Sequence[PublicFile], plan: UploadPlan, *, message: str) -> str:
    """Bring the changed files to the branch, take stale ones away, and return the commit."""
    staging = _staging(files)
    remove_staging(api, to, files, plan)  # that of a run that was cut off may start from an older commit
    api.create_branch(to.repo, branch=staging, revision=plan.head, repo_type=to.kind)
    additions = send_files(api, to, plan.changed, revision=staging)
    deletions = [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in plan.stale]
    staged = api.create_commit(
        to.repo, [*additions, *deletions], commit_message=message, revision=staging, repo_type=to.kind
    ).oid
    verify(api, to, staged, files)
    if not plan.branch_exists:
        api.create_branch(to.repo, branch=to.revision, revision=plan.head, repo_type=to.kind)
    copies = [
        CommitOperationCopy(src_path_in_repo=file.path, path_in_repo=file.path, src_revision=staged)
        for file in plan.changed
    ]
    deletions = [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in plan.stale]
    commit = api.create_commit(
        to.repo,
        [*copies, *deletions],
        commit_message=message,
        revision=to.revision,
        parent_commit=plan.head,
        repo_type=to.kind,
    ).oid
    verify(api, to, commit, files)
    api.delete_branch(to.repo, branch=staging, repo_type=to.kind)
    return str(commit)


def send_files(
    api: HfApi, to: Destination, files: Sequence[PublicFile], *, revision: str, create_pr: bool = False
) -> list[CommitOperationAdd]:
    """Send what is large, and return what a commit has to add; what the Hub has already is not sent again."""
    additions = [CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=file.content) for file in files]
    api.preupload_lfs_files(
        to.repo, additions, repo_type=to.kind, revision=revision, create_pr=create_pr, free_memory=False
    )
    for file, addition in zip(files, additions, strict=True):
        if addition.upload_info.sha256.hex() != file.sha256:
            raise HubError(f"{file.path} changed while it was sent; nothing is published. Check the folder.")
    return additions


def remove_staging(api: HfApi, to: Destination, files: Sequence[PublicFile], plan: UploadPlan) -> None:
    """Delete the staging branch that a run with the same files left, if it was cut off."""
    if (staging := _staging(files)) in plan.branches:
        api.delete_branch(to.repo, branch=staging, repo_type=to.kind)


def verify(api: HfApi, to: Destination, commit: str, files: Sequence[PublicFile]) -> None:
    """Compare what a commit holds with what it should hold."""
    there = remote_files(api, to, commit)
    wrong = [file.path for file in files if not is_same(there.get(file.path), file)]
    wrong += stale_files(to, there, files)
    if wrong:
        raise HubError(
            f"commit {commit[:12]} of {to.repo} does not hold what was sent: {', '.join(wrong[:5])} "
            f"({len(wrong)} files). Look for a .gitignore there that hides them, and run the command again."
        )


def remote_files(api: HfApi, to: Destination, revision: str) -> dict[str, RepoFile]:
    """Files of a revision by their paths."""
    tree = api.list_repo_tree(to.repo, recursive=True, revision=revision, repo_type=to.kind)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def is_same(remote: RepoFile | None, file: PublicFile) -> bool:
    """Whether the Hub holds these bytes, by their hash: SHA-256 for large files, that of git for others."""
    if remote is None or remote.size != file.bytes:
        return False
    if remote.lfs is not None:
        return bool(remote.lfs.sha256 == file.sha256)
    return bool(remote.blob_id == _git_hash(file))


def version_of(files: Sequence[PublicFile]) -> str:
    """Short name of a version: the hash of its manifest, which holds those of the other files."""
    return next(file.sha256 for file in files if file.path == MANIFEST)[:12]


def stale_files(to: Destination, there: Mapping[str, RepoFile], files: Sequence[PublicFile]) -> list[str]:
    """Files of another version that must not be left."""
    wanted = {file.path for file in files}
    return sorted(path for path in there if to.belongs(path) and path not in wanted)


def _git_hash(file: PublicFile) -> str:
    digest = hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    if isinstance(file.content, bytes):
        digest.update(file.content)
        return digest.hexdigest()
    with Path(file.content).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _staging(files: Sequence[PublicFile]) -> str:
    """Name of the staging branch: that of the version, so that the same command finds it again."""
    return f"push-{version_of(files)}"
