"""Brings files to a repository of the Hub as a pull request: for a review, or where one may not write.

All is sent first, and one commit opens the pull request with all of it, so nobody sees a part. Its title names the
version, by which a run that was cut off or is repeated finds it again.
"""

import re
from collections.abc import Sequence

from huggingface_hub import CommitOperationDelete, Discussion, HfApi

from .destination import Destination
from .hub_errors import HubError
from .hub_upload import UploadPlan, is_same, remote_files, send_files, stale_files, verify, version_of
from .public_file import PublicFile

_VERSION = re.compile(r"\(version ([0-9a-f]{12})\)")


def propose(
    api: HfApi, to: Destination, files: Sequence[PublicFile], plan: UploadPlan, *, message: str, author: str
) -> str:
    """Open a pull request, or bring the one of this version to its end, and return the commit that it is at.

    Args:
        api: The Hub.
        to: Where the pull request is for.
        files: All files of the version.
        plan: What main lacks of them.
        message: What is done, for the title.
        author: Whose the access token is; a pull request of somebody else is not continued.

    Raises:
        HubError: The Hub did not do what was asked; main is as it was.
    """
    version = version_of(files)
    ours = _open_pull_requests(api, to, author)
    for number in sorted(pull.num for name, pull in ours if name != version):
        print(f"note: pull request {number}, with another version, is open too; close it if this one replaces it")
    same = sorted((pull for name, pull in ours if name == version), key=lambda pull: pull.num)
    if same:
        return _continue(api, to, files, plan, same[0])
    print(f"sending {len(plan.changed)} files; {plan.unchanged} are there, {len(plan.stale)} would be deleted")
    additions = send_files(api, to, plan.changed, revision=to.revision, create_pr=True)
    opened = api.create_commit(
        to.repo,
        [*additions, *_deletions(plan.stale)],
        commit_message=f"{message} (version {version})",
        repo_type=to.kind,
        revision=to.revision,
        create_pr=True,
        parent_commit=plan.head,
    )
    print(f"pull request {opened.pr_url} is open at {opened.oid}")
    verify(api, to, opened.oid, files)
    print(f"it holds what was sent; {to.revision} is as it was until it is merged")
    return str(opened.oid)


def _open_pull_requests(api: HfApi, to: Destination, author: str) -> list[tuple[str, Discussion]]:
    """What this program opened for this author: the version, and the pull request."""
    listed = api.get_repo_discussions(
        to.repo, author=author, discussion_type="pull_request", discussion_status="open", repo_type=to.kind
    )
    return [
        (name[1], pull)
        for pull in listed
        if pull.is_pull_request
        and pull.author == author
        and pull.status in ("open", "draft")
        and (name := _VERSION.search(pull.title))
    ]


def _continue(api: HfApi, to: Destination, files: Sequence[PublicFile], plan: UploadPlan, pull: Discussion) -> str:
    """Give an open pull request what it lacks."""
    revision = f"refs/pr/{pull.num}"
    history = [commit.commit_id for commit in api.list_repo_commits(to.repo, repo_type=to.kind, revision=revision)]
    _refuse_if_outdated(to, plan, pull, history)
    commit = history[0]
    there = remote_files(api, to, commit)
    changed = [file for file in files if not is_same(there.get(file.path), file)]
    stale = stale_files(to, there, files)
    if stale and not to.overwrite_remote:
        raise HubError(
            f"pull request {pull.num} of {to.repo} holds {len(stale)} {to.leftovers}: {', '.join(stale[:10])}. Give "
            "--overwrite-remote to delete them."
        )
    if not changed and not stale:
        print(f"pull request {pull.url} has all {len(files)} files, at {commit}; nothing is sent.")
        return commit
    print(f"sending {len(changed)} files to pull request {pull.url}, which lacks them")
    additions = send_files(api, to, changed, revision=revision)
    made = api.create_commit(
        to.repo,
        [*additions, *_deletions(stale)],
        commit_message=pull.title,
        repo_type=to.kind,
        revision=revision,
        parent_commit=commit,
    )
    verify(api, to, made.oid, files)
    print(f"pull request {pull.url} is complete at {made.oid}; {to.revision} is as it was until it is merged")
    return str(made.oid)


def _refuse_if_outdated(to: Destination, plan: UploadPlan, pull: Discussion, history: Sequence[str]) -> None:
    """Say where merging could give something else than this version."""
    if plan.head in history:
        return
    if plan.stale:
        raise HubError(
            f"{to.repo}@{to.revision} has changed since pull request {pull.num} was opened, and merging that might "
            f"leave {len(plan.stale)} {to.leftovers}: {', '.join(plan.stale[:10])}. Close it and run the command again."
        )
    print(
        f"note: {to.revision} has changed since pull request {pull.num} was opened; where the Hub reports conflicts, "
        "close it and run the command again"
    )


def _deletions(paths: Sequence[str]) -> list[CommitOperationDelete]:
    return [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in paths]
