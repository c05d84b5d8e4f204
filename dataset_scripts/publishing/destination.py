"""Where files go on the Hub, and which of the files there belong to what is published."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from huggingface_hub.hf_api import RepoFile

from ..build_output import MANIFEST

MAIN = "main"
RepositoryKind = Literal["model", "dataset", "space"]
# What the Hub writes itself into a new Space.
_NEW_SPACE = {".gitattributes", "README.md"}

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A branch of a repository; every version that is published carries a manifest."""

    repo: str
    """Repository, such as ORG/fusionrs; it is made if it is not there."""
    kind: RepositoryKind
    belongs: Callable[[str], bool]
    """Whether a path is of a kind that must not be left there from another version."""
    leftovers: str
    """What such files are called, and what harm they would do, for the refusal."""
    revision: str = MAIN
    tag: str | None = None
    private: bool = False
    overwrite_remote: bool = False
    """Delete such files, and replace files of a repository that has no manifest."""
    pull_request: bool = False
    """Open a pull request in place of a change of the branch."""
    space_sdk: str | None = None
    """What runs a Space."""

    def __post_init__(self) -> None:
        """Refuse names that cannot work."""
        check_names(self.repo, self.revision, self.tag)
        if self.pull_request:
            check_pull_request(self.revision, self.tag, private=self.private)

    def page(self, hub: str) -> str:
        """Address of the repository."""
        return f"{hub.rstrip('/')}/{'' if self.kind == 'model' else self.kind + 's/'}{self.repo}"

    def is_foreign(self, there: dict[str, RepoFile]) -> bool:
        """Whether somebody else wrote what the branch holds."""
        is_new_space = self.kind == "space" and set(there) <= _NEW_SPACE
        return MANIFEST not in there and not is_new_space


def is_repository(name: str) -> bool:
    """Whether a text is ORG/NAME."""
    return _REPO.fullmatch(name) is not None


def check_pull_request(revision: str, tag: str | None, *, private: bool) -> None:
    """Raise ValueError for what cannot be asked together with a pull request."""
    if tag is not None:
        raise ValueError(
            f"tag is {tag!r} beside --pull-request; a tag names what is on the branch. Set it once the pull request is "
            "merged."
        )
    if private:
        raise ValueError(
            "--private beside --pull-request has no meaning: the repository is there already. Leave one of them out."
        )
    if revision != MAIN:
        raise ValueError(
            f"revision is {revision!r} beside --pull-request, which is for {MAIN} alone. Leave one of them out."
        )


def check_names(repo: str, revision: str, tag: str | None) -> None:
    """Raise ValueError for names of a repository, a branch or a tag that cannot work."""
    if not is_repository(repo):
        raise ValueError(f"repo is {repo!r}; it must be ORG/NAME.")
    for name, value in (("revision", revision), ("tag", tag)):
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError(f"{name} is {value!r}; letters, digits, '.', '_' and '-' are taken.")
