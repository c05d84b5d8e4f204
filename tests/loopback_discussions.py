"""Discussions and pull requests of the loopback Hub, with the addresses and answers that the real client knows."""

import itertools
import re
from typing import Any

from loopback_repositories import Discussion, RefusedRequestError, Repository

PAGE = 2  # Fewer than the Hub's, so that tests turn pages.
_EVENTS = itertools.count(1)


def may_propose(repository: Repository, name: str, tail: list[str], method: str, query: dict[str, str]) -> bool:
    """Whether somebody who may only read may do this: discuss, open a pull request, or go on with an own one."""
    operation, rest = tail[0], tail[1:]
    if operation in ("commit", "preupload"):
        return "create_pr" in query or is_own_reference(repository, name, rest[0])
    if operation != "discussions" or method != "POST" or not rest:
        return operation == "discussions"
    found = repository.discussions.get(int(rest[0]))
    is_own = found is not None and found.author == name
    return rest[1:] == ["comment"] or (is_own and rest[1:] != ["merge"])


def is_own_reference(repository: Repository, name: str, revision: str) -> bool:
    """Whether a revision is a pull request that this account opened."""
    match = re.fullmatch(r"refs/pr/(\d+)", revision)
    found = repository.discussions.get(int(match[1])) if match else None
    return found is not None and found.author == name


def answer_discussions(
    repository: Repository, name: str, rest: list[str], method: str, query: dict[str, str], asked: dict[str, Any]
) -> Any:
    """Serve what is under `/api/KIND/REPO/discussions`.

    Args:
        repository: Whose discussions.
        name: The account that asks.
        rest: Parts of the address after `discussions`.
        method: GET or POST.
        query: Of the address.
        asked: The body.
    """
    if not rest:
        return _open(repository, name, asked) if method == "POST" else _listed(repository, query)
    found = repository.discussions.get(int(rest[0]))
    if found is None:
        raise RefusedRequestError(404, "DiscussionNotFound", f"Discussion {rest[0]} not found")
    match (method, rest[1:]):
        case ("GET", []):
            return _details(repository, found)
        case ("POST", ["merge"]):
            return _merge(repository, found, name)
        case ("POST", ["comment"]):
            latest = {"raw": asked["comment"], "html": asked["comment"], "updatedAt": found.created}
            data = {"edited": False, "hidden": False, "latest": latest, "history": []}
            return {"newMessage": _event(found, name, "comment", data)}
        case ("POST", ["title"]):
            data = {"from": found.title, "to": asked["title"]}
            found.title = asked["title"]
            return {"newTitle": _event(found, name, "title-change", data)}
        case ("POST", ["status"]):
            if found.status == "merged":
                raise RefusedRequestError(400, "BadRequest", "A merged pull request keeps its status")
            found.status = asked["status"]
            return {"newStatus": _event(found, name, "status-change", {"status": found.status})}
    raise RefusedRequestError(404, "NotFound", f"no such operation: {rest}")


def _open(repository: Repository, name: str, asked: dict[str, Any]) -> Any:
    if not 3 <= len(asked["title"]) <= 200:
        raise RefusedRequestError(400, "BadRequest", '"title" must have 3 to 200 characters')
    is_pull = asked["pullRequest"]  # whose reference starts at main, as a draft
    made = repository.discuss(
        asked["title"],
        name,
        pulled=repository.branches["main"] if is_pull else None,
        status="draft" if is_pull else "open",
    )
    return {"num": made.number, "pullRequest": is_pull}


def _listed(repository: Repository, query: dict[str, str]) -> Any:
    wanted = {"pull_request": (True,), "discussion": (False,)}.get(query.get("type", "all"), (True, False))
    # A draft is an open pull request that is not ready for a review.
    statuses = {"open": ("open", "draft"), "closed": ("closed", "merged")}.get(query.get("status", "all"))
    found = [
        one
        for one in reversed(repository.discussions.values())
        if one.is_pull_request in wanted
        and (statuses is None or one.status in statuses)
        and query.get("author", one.author) == one.author
    ]
    start = int(query.get("p", 0)) * PAGE
    shown = [_summary(repository, one) for one in found[start : start + PAGE]]
    return {"discussions": shown, "count": len(found), "start": start}


def _summary(repository: Repository, one: Discussion) -> dict[str, Any]:
    return {
        "title": one.title,
        "num": one.number,
        "author": {"name": one.author},
        "createdAt": one.created,
        "status": one.status,
        "repo": {"name": repository.name, "type": repository.kind.removesuffix("s")},
        "isPullRequest": one.is_pull_request,
    }


def _details(repository: Repository, one: Discussion) -> dict[str, Any]:
    answer = {**_summary(repository, one), "events": one.events}
    if one.is_pull_request:
        merged = {} if one.merge_commit is None else {"mergeCommitId": one.merge_commit}
        answer["changes"] = {"base": "refs/heads/main", **merged}
        answer["filesWithConflicts"] = [] if merged else repository.merged_files(one.number)[1]
    return answer


def _merge(repository: Repository, one: Discussion, name: str) -> Any:
    if one.status in ("merged", "closed") or not one.is_pull_request:
        raise RefusedRequestError(400, "BadRequest", f"discussion {one.number} cannot be merged; it is {one.status}")
    files, conflicts = repository.merged_files(one.number)
    if conflicts:
        raise RefusedRequestError(409, "Conflict", f"merging {one.number} has conflicts: {conflicts}")
    merged = repository.commit("main", files, f"{one.title} (#{one.number})", repository.branches["main"])
    one.status, one.merge_commit = "merged", merged.oid
    _event(one, name, "status-change", {"status": "merged"})
    return {}


def _event(one: Discussion, name: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    made = {"id": f"{next(_EVENTS):024x}", "type": kind, "createdAt": one.created, "author": {"name": name}}
    one.events.append({**made, "data": data})
    return one.events[-1]
