"""One version of a dataset, model or Space to the Hub: planned, refused where it must be, sent or proposed, tagged."""

from collections.abc import Sequence

from huggingface_hub import HfApi

from .destination import Destination
from .hub_errors import HubError, named_hub_errors
from .hub_pull_request import propose
from .hub_upload import UploadPlan, open_repository, plan_upload, remove_staging, upload
from .public_file import PublicFile


def bring(api: HfApi, to: Destination, files: Sequence[PublicFile], *, message: str) -> str:
    """Publish or propose files, one of which is the manifest, and return the commit that holds them.

    Raises:
        HubError: the Hub did not do what was asked; the branch is as it was, or complete.
    """
    with named_hub_errors(to.repo):
        account = api.whoami()
        if not to.pull_request:  # which nobody can open where there is no repository
            open_repository(api, to)
        plan = plan_upload(api, to, files)
        _refuse(to, plan)
        if to.pull_request and not plan.is_done:
            return propose(api, to, files, plan, message=message, author=account["name"])
        if plan.is_done:
            print(f"{to.repo}@{to.revision} has all {len(files)} files; nothing is sent.")
            if not to.pull_request:
                remove_staging(api, to, files, plan)
            commit = plan.head
        else:
            print(f"sending {len(plan.changed)} files; {plan.unchanged} are there, {len(plan.stale)} are deleted")
            commit = upload(api, to, files, plan, message=message)
        if to.tag is not None and to.tag not in plan.tags:
            api.create_tag(to.repo, tag=to.tag, revision=commit, repo_type=to.kind)
    print(f"{to.page(api.endpoint)} at {commit}{f', tag {to.tag}' if to.tag else ''}")
    return commit


def print_files(repo: str, files: Sequence[PublicFile]) -> None:
    """Show what goes up."""
    print(f"{'goes to ' + repo:<56}{'bytes':>16}")
    for file in files:
        print(f"  {file.path:<54}{file.bytes:>16,}")
    print(f"  {f'{len(files)} files':<54}{sum(file.bytes for file in files):>16,}")


def _refuse(to: Destination, plan: UploadPlan) -> None:
    """Delete nothing unasked, and move no tag."""
    if to.tag is not None and (at := plan.tags.get(to.tag)) and not (plan.is_done and at == plan.head):
        raise HubError(f"tag {to.tag} of {to.repo} is at {at[:12]}, another version; choose another --tag.")
    if to.overwrite_remote:
        return
    if plan.stale:
        raise HubError(
            f"{to.repo}@{to.revision} holds {len(plan.stale)} {to.leftovers}: {', '.join(plan.stale[:10])}. Give "
            "--overwrite-remote to delete them."
        )
    if plan.foreign:
        raise HubError(
            f"{to.repo} holds {', '.join(plan.foreign)}, but no manifest: this program did not write it. Give "
            "--overwrite-remote to replace them, or choose another --repo."
        )
