"""Repositories of the loopback Hub: commits of files, branches, tags and pull requests, in memory and on disk."""

import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ZERO = "0" * 40


class RefusedRequestError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; its bytes are a blob."""

    sha256: str
    size: int
    git_oid: str
    is_lfs: bool


@dataclass(frozen=True)
class Commit:
    """What a branch held at some time."""

    oid: str
    files: dict[str, StoredFile]
    title: str
    parent: str | None
    date: str


@dataclass
class Discussion:
    """A discussion or a pull request; both count with the same numbers."""

    number: int
    title: str
    author: str
    is_pull_request: bool
    status: str
    created: str = field(default_factory=lambda: _now())
    merge_commit: str | None = None
    events: list[dict[str, object]] = field(default_factory=list)


class Blobs:
    """Bytes by their SHA-256, in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.path(sha256).write_bytes(data)
        return sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def stored(self, sha256: str, *, is_lfs: bool) -> StoredFile:
        data = self.path(sha256).read_bytes()
        text = data
        if is_lfs:  # git keeps a pointer in place of the bytes
            text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        oid = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
        return StoredFile(sha256=sha256, size=len(data), git_oid=oid, is_lfs=is_lfs)


@dataclass
class Repository:
    """One repository; every change of a reference is kept in `history`, for tests that look between the steps."""

    kind: str
    """`models`, `datasets` or `spaces`."""
    name: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[int, str] = field(default_factory=dict)
    """The commit that each `refs/pr/N` is at."""
    discussions: dict[int, Discussion] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    created: str = field(default_factory=lambda: _now())
    lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.commit("main", {}, "initial commit", parent=None)

    def resolve(self, revision: str) -> Commit:
        """The commit of a branch, a tag, a pull request or an oid."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for table in (self.branches, self.tags):
            if short in table:
                return self.commits[table[short]]
        if revision.startswith("refs/pr/") and int(revision.removeprefix("refs/pr/")) in self.pull_requests:
            return self.commits[self.pull_requests[int(revision.removeprefix("refs/pr/"))]]
        if revision not in self.commits:
            raise RefusedRequestError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[revision]

    def commit(self, revision: str, files: dict[str, StoredFile], title: str, parent: str | None) -> Commit:
        """Add a commit to a branch or a pull request."""
        made = self.add(files, title, parent)
        if revision.startswith("refs/pr/"):
            self.pull_requests[int(revision.removeprefix("refs/pr/"))] = made.oid
        else:
            self.move(revision.removeprefix("refs/heads/"), made.oid)
        return made

    def add(self, files: dict[str, StoredFile], title: str, parent: str | None) -> Commit:
        """Add a commit that no reference is at yet."""
        names = sorted((path, file.sha256) for path, file in files.items())
        text = f"{names}{title}{parent}{next(self._numbers)}{self.name}"
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        made = Commit(oid=oid, files=files, title=title, parent=parent, date=_now())
        self.commits[oid] = made
        return made

    def discuss(self, title: str, author: str, *, pulled: str | None, status: str) -> Discussion:
        """Open a discussion, or a pull request of the commit `pulled`."""
        number = len(self.discussions) + 1
        made = Discussion(number, title, author, is_pull_request=pulled is not None, status=status)
        self.discussions[number] = made
        if pulled is not None:
            self.pull_requests[number] = pulled
        return made

    def merged_files(self, number: int) -> tuple[dict[str, StoredFile], list[str]]:
        """What main would hold if a pull request was merged, and the paths where both sides changed a file."""
        main, pulled = self.resolve("main"), self.resolve(f"refs/pr/{number}")
        ancestors = {commit.oid for commit in self.log(main)}
        base = next(commit for commit in self.log(pulled) if commit.oid in ancestors)
        files, conflicts = dict(main.files), []
        for path in sorted({*base.files, *pulled.files}):
            before, after, now = (commit.files.get(path) for commit in (base, pulled, main))
            if before == after or now == after:
                continue
            if now != before:
                conflicts.append(path)
            elif after is None:
                del files[path]
            else:
                files[path] = after
        return files, conflicts

    def move(self, branch: str, oid: str) -> None:
        """Set a branch, and remember that."""
        self.branches[branch] = oid
        self.history.append((branch, oid))

    def log(self, commit: Commit) -> list[Commit]:
        """A commit and those before it."""
        found = [commit]
        while (parent := found[-1].parent) is not None:
            found.append(self.commits[parent])
        return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
