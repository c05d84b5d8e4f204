"""A Hub on 127.0.0.1 for tests: enough of the protocol for the real `huggingface_hub`, `datasets`, `transformers`.

    with LoopbackHub(tmp_path / "hub") as hub:
        HfApi(endpoint=hub.url, token=hub.token)   # or a fresh process with hub.environment(home)
Faults: `hub.cut_after(requests, share)`, `hub.cut_upload(number)`, `hub.drop_answer(part of a path)`; `hub.heal()`.
"""

import base64
import contextlib
import json
import os
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
import yaml
from huggingface_hub import HfApi
from loopback_cards import card_errors
from loopback_discussions import answer_discussions, is_own_reference, may_propose
from loopback_repositories import Blobs, Commit, RefusedRequestError, Repository, StoredFile

KINDS = ("models", "datasets", "spaces")
_LFS_ENDINGS = (".parquet", ".safetensors", ".bin", ".pt", ".png", ".jpg", ".tif", ".tiff", ".zip", ".tar", ".npz")
_LARGEST_TEXT_BYTES = 10 * 2**20


@dataclass(frozen=True)
class Account:
    """Whose a token is, and what it may do."""

    name: str = "tester"
    organisations: tuple[str, ...] = ("ORG",)
    may_write: bool = True


@dataclass(frozen=True)
class LoggedRequest:
    """One request and the status of its answer; 0 where the connection was cut."""

    method: str
    path: str
    status: int
    bytes: int


class _CutError(Exception):
    """The connection ends here."""


class LoopbackHub:
    """A server in a thread; a context manager."""

    token = "hf_loopbackWriteTokenForTests0000000000"

    def __init__(self, folder: Path, *, port: int = 0, page_entries: int = 1000) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.repositories: dict[str, Repository] = {}
        self.accounts = {self.token: Account()}
        self.page_entries = page_entries
        self.requests: list[LoggedRequest] = []
        self.received: list[bytes] = []
        """Every body that arrived, whole or in part."""
        self._lock = threading.RLock()
        self._requests_left: int | None = None
        self._loses_answers = False
        self.cut_share = 0.5
        """How much of the body of a request is read before its connection is cut."""
        self._uploads_left: int | None = None
        self._dropped: str | None = None
        hub = self

        class Handler(_Handler):
            """Bound to this hub."""

            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "LoopbackHub":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: Path, *, token: str | None = None) -> dict[str, str]:
        """Environment of a fresh process whose Hub this is."""
        return {
            **os.environ,
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token if token is None else token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
        }

    def repository(self, name: str, kind: str = "datasets") -> Repository:
        """A repository by its name."""
        return self.repositories[f"{kind}/{name}"]

    def add_repository(self, name: str, kind: str = "datasets", *, private: bool = False) -> Repository:
        """Make a repository without a request."""
        made = Repository(kind=kind, name=name, private=private)
        if kind == "spaces":  # which the Hub starts with a README
            readme = self.blobs.stored(self.blobs.put(b"---\nsdk: gradio\n---\n"), is_lfs=False)
            made.commit("main", {"README.md": readme}, "start", made.branches["main"])
        self.repositories[f"{kind}/{name}"] = made
        return made

    def tree(self, name: str, revision: str = "main", kind: str = "datasets") -> dict[str, str]:
        """SHA-256 of every file of a revision."""
        files = self.repository(name, kind).resolve(revision).files
        return {path: file.sha256 for path, file in sorted(files.items())}

    def cut_after(self, requests: int, share: float = 0.5) -> None:
        """Answer so many requests more, and then close every connection without an answer.

        Args:
            requests: How many are answered.
            share: How much of the body of each later one is read. With 1 the next one arrives whole, and what it asks
                is done; only its answer is lost.
        """
        self.cut_share = share
        self._loses_answers = share == 1
        self._requests_left = requests + self._loses_answers

    def cut_upload(self, number: int) -> None:
        """Close the connection in the middle of the upload of a file, and every later one."""
        self._uploads_left = number

    def drop_answer(self, part: str) -> None:
        """Do what the next request whose path has this part asks, but close the connection in place of an answer."""
        self._dropped = part

    def heal(self) -> None:
        """End all faults."""
        self._requests_left = self._uploads_left = self._dropped = None
        self._loses_answers, self.cut_share = False, 0.5

    def allow(self, *, upload: bool) -> bool:
        """Count a request down; False where it is cut. The upload that is cut is the last one allowed."""
        with self._lock:
            if self._requests_left is not None:
                if self._requests_left <= 0:
                    return False
                self._requests_left -= 1
            if upload and self._uploads_left is not None:
                if self._uploads_left <= 0:
                    self._requests_left = 0
                    return False
                self._uploads_left -= 1
            return True

    def takes_answer(self, path: str) -> bool:
        """Whether the answer to this request is lost."""
        with self._lock:
            if self._loses_answers and self._requests_left == 0:
                return True
            if self._dropped is None or self._dropped not in path:
                return False
            self._dropped = None
            return True


class _Handler(BaseHTTPRequestHandler):
    """Routes; each returns the answer as JSON, or writes it."""

    owner: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms between its headers and its body
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        self.status = 0
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.body = b""
        try:
            if not self.owner.allow(upload=self.command == "PUT"):
                self.body = self.rfile.read(int(int(self.headers.get("Content-Length", 0)) * self.owner.cut_share))
                raise _CutError
            self.body = self._read_body()
            try:
                answer = self._route(parts.path)
            except RefusedRequestError as refusal:
                answer = {"error": refusal.message}
                self._send_json(
                    answer, refusal.status, {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                )
            else:
                if answer is not None:
                    self._send_json(answer)
        except (_CutError, ConnectionError):
            self.close_connection = True
        if self.status == 0:
            self._log()

    def _log(self) -> None:
        self.owner.requests.append(LoggedRequest(self.command, self.path, self.status, len(self.body)))
        if self.body:
            self.owner.received.append(self.body)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send_json(self, answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self._send(data, status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str], length: int | None = None) -> None:
        if self.owner.takes_answer(urlsplit(self.path).path):
            raise _CutError
        self.status = status
        self._log()  # before whoever asked can go on
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data) if length is None else length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _route(self, path: str) -> Any:
        if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):  # signed by its address, as at the Hub
            return self._receive(match[1])
        account = self._account()
        if path == "/api/whoami-v2":
            return self._whoami(account)
        if path == "/api/validate-yaml":
            return self._validate_card()
        if path == "/lfs-verify":
            return self._verify()
        if path in ("/api/repos/create", "/api/repos/delete"):
            return self._change_repositories(path, account)
        if match := re.fullmatch(r"/(datasets/|spaces/)?(.+?)\.git/info/lfs/objects/batch", path):
            repository = self._repository((match[1] or "models/")[:-1], match[2], account)
            reference = json.loads(self.body).get("ref", {}).get("name")
            writer = _writer(account)
            # Without a reference it is for a pull request that is not opened yet.
            if not writer or (reference is not None and not is_own_reference(repository, writer, reference)):
                self._refuse_readers(repository, account)
            return self._lfs_batch()
        if match := re.fullmatch(r"/(datasets/|spaces/)?([^/]+/[^/]+)/(?:resolve|raw)/([^/]+)/(.+)", path):
            repository = self._repository((match[1] or "models/")[:-1], match[2], account)
            return self._resolve(repository, unquote(match[3]), unquote(match[4]))
        if match := re.fullmatch(r"/api/(models|datasets|spaces)/([^/]+/[^/]+)((?:/[^/]+)*)", path):
            tail = [unquote(part) for part in match[3].split("/")[1:]]
            repository = self._repository(match[1], match[2], account)
            with repository.lock:
                if self.command in ("POST", "PUT", "DELETE") and tail[:1] != ["paths-info"]:
                    writer = _writer(account)
                    if not writer or not may_propose(repository, writer, tail, self.command, self.query):
                        self._refuse_readers(repository, account)
                return self._api(repository, tail, account)
        raise RefusedRequestError(404, "NotFound", f"no such page: {path}")

    def _account(self) -> Account | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if token not in self.owner.accounts:
            raise RefusedRequestError(401, "", "Invalid credentials in Authorization header")
        return self.owner.accounts[token]

    def _repository(self, kind: str, name: str, account: Account | None) -> Repository:
        repository = self.owner.repositories.get(f"{kind}/{name}")
        if repository is None or (repository.private and not _is_member(repository, account)):
            raise RefusedRequestError(404 if account else 401, "RepoNotFound", "Repository not found")
        return repository

    def _refuse_readers(self, repository: Repository, account: Account | None) -> None:
        if account is None:
            raise RefusedRequestError(401, "RepoNotFound", "Repository not found")
        if not (_is_member(repository, account) and _writer(account)):
            raise RefusedRequestError(403, "Forbidden", "You don't have the rights to write here")

    def _validate_card(self) -> Any:
        asked = json.loads(self.body)
        errors = card_errors(asked["content"], asked["repoType"])
        answer = {"errors": [{"message": error} for error in errors], "warnings": []}
        if errors:
            self._send_json(answer, 400)
            return None
        return answer

    def _whoami(self, account: Account | None) -> Any:
        if account is None:
            raise RefusedRequestError(401, "", "Invalid username or password.")
        role = {"role": "write" if account.may_write else "read", "displayName": "test"}
        organisations = [{"type": "org", "name": name} for name in account.organisations]
        return {"type": "user", "name": account.name, "orgs": organisations, "auth": {"accessToken": role}}

    def _change_repositories(self, path: str, account: Account | None) -> Any:
        asked = json.loads(self.body)
        if account is None or not account.may_write:
            raise RefusedRequestError(403 if account else 401, "Forbidden", "You may not change repositories")
        space = asked.get("organization") or account.name
        if space not in (account.name, *account.organisations):
            raise RefusedRequestError(403, "Forbidden", f"You don't have the rights to create under {space}")
        kind, name = f"{asked.get('type') or 'model'}s", f"{space}/{asked['name']}"
        key, url = f"{kind}/{name}", f"{self.owner.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if path.endswith("delete"):
            self.owner.repositories.pop(key, None)
            return {}
        if key in self.owner.repositories:
            self._send_json({"error": "You already created this repo", "url": url}, 409)
            return None
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.owner.add_repository(name, kind, private=private)
        return {"url": url, "name": name, "id": name}

    def _lfs_batch(self) -> Any:
        objects = []
        for asked in json.loads(self.body)["objects"]:
            actions = {
                "upload": {"href": f"{self.owner.url}/lfs/{asked['oid']}"},
                "verify": {"href": f"{self.owner.url}/lfs-verify"},
            }
            is_there = self.owner.blobs.has(asked["oid"])
            objects.append({**asked, **({} if is_there else {"actions": actions})})
        return {"transfer": "basic", "objects": objects}

    def _receive(self, sha256: str) -> Any:
        import hashlib

        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise RefusedRequestError(400, "BadRequest", "the bytes do not have this SHA-256")
        self.owner.blobs.put(self.body)
        return {}

    def _verify(self) -> Any:
        if not self.owner.blobs.has(json.loads(self.body)["oid"]):
            raise RefusedRequestError(404, "NotFound", "the object was not uploaded")
        return {}

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        commit = repository.resolve(revision)
        file = commit.files.get(path)
        if file is None:
            headers = {
                "X-Error-Code": "EntryNotFound",
                "X-Error-Message": "Entry not found",
                "X-Repo-Commit": commit.oid,
            }
            return self._send_json({"error": "Entry not found"}, 404, headers)
        etag = f'"{file.sha256 if file.is_lfs else file.git_oid}"'
        headers = {"X-Repo-Commit": commit.oid, "ETag": etag, "Accept-Ranges": "bytes"}
        if file.is_lfs:
            headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(file.size)}
        data = self.owner.blobs.path(file.sha256).read_bytes()
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if match is None or match[0] == "bytes=-":
            return self._send(data, 200, headers)
        first = int(match[1]) if match[1] else max(0, file.size - int(match[2]))
        last = min(int(match[2]), file.size - 1) if match[1] and match[2] else file.size - 1
        if first > last:
            return self._send(b"", 416, {**headers, "Content-Range": f"bytes */{file.size}"})
        return self._send(
            data[first : last + 1], 206, {**headers, "Content-Range": f"bytes {first}-{last}/{file.size}"}
        )

    def _api(self, repository: Repository, tail: list[str], account: Account | None) -> Any:
        operation, rest = (tail[0], tail[1:]) if tail else ("revision", [])
        match operation:
            case "revision":
                return self._info(repository, repository.resolve(rest[0] if rest else "main"))
            case "tree":
                return self._tree(repository.resolve(rest[0]), "/".join(rest[1:]))
            case "paths-info":
                form = parse_qs(self.body.decode())["paths"] if "form" in self.headers["Content-Type"] else None
                wanted = form or json.loads(self.body)["paths"]
                entries = {entry["path"]: entry for entry in _entries(repository.resolve(rest[0]).files)}
                return [entries[path] for path in wanted if path in entries]
            case "commits":
                return [
                    {"id": one.oid, "title": one.title, "message": "", "date": one.date, "authors": []}
                    for one in repository.log(repository.resolve(rest[0]))
                ]
            case "refs":
                return self._refs(repository)
            case "branch" | "tag":
                return self._change_reference(repository, operation, rest[0])
            case "preupload":
                return self._preupload(repository.resolve(rest[0]).files)
            case "commit":
                return self._commit(repository, rest[0], account)
            case "discussions":
                asked = json.loads(self.body or b"{}")
                name = "" if account is None else account.name
                return answer_discussions(repository, name, rest, self.command, self.query, asked)
        raise RefusedRequestError(404, "NotFound", f"no such operation: {operation}")

    def _info(self, repository: Repository, commit: Commit) -> Any:
        card: dict[str, Any] = {}
        if "README.md" in commit.files:
            text = self.owner.blobs.path(commit.files["README.md"].sha256).read_text(encoding="utf-8")
            with contextlib.suppress(IndexError, yaml.YAMLError):
                card = yaml.safe_load(text.split("---\n")[1]) or {}
        return {
            "_id": "0",
            "id": repository.name,
            "author": repository.name.split("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": repository.created,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags", []),
            "cardData": card,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    def _tree(self, commit: Commit, folder: str) -> Any:
        entries = _entries(commit.files)
        if folder and not any(entry["path"] == folder for entry in entries):
            raise RefusedRequestError(404, "EntryNotFound", "Entry not found")
        start = f"{folder}/" if folder else ""
        is_deep = self.query.get("recursive", "false").lower() == "true"
        shown = [
            entry
            for entry in entries
            if entry["path"].startswith(start) and (is_deep or "/" not in entry["path"][len(start) :])
        ]
        first = int(self.query.get("cursor", 0))
        last = first + self.owner.page_entries
        headers = {}
        if last < len(shown):
            address = f"{self.owner.url}{urlsplit(self.path).path}?recursive={is_deep}&cursor={last}"
            headers["Link"] = f'<{address}>; rel="next"'
        self._send_json(shown[first:last], 200, headers)

    def _refs(self, repository: Repository) -> Any:
        def listed(table: dict[Any, str], folder: str) -> list[dict[str, str]]:
            return [
                {"name": str(name), "ref": f"refs/{folder}/{name}", "targetCommit": oid} for name, oid in table.items()
            ]

        pulls = {"pullRequests": listed(repository.pull_requests, "pr")} if "include_prs" in self.query else {}
        return {
            "branches": listed(repository.branches, "heads"),
            "tags": listed(repository.tags, "tags"),
            "converts": [],
            **pulls,
        }

    def _change_reference(self, repository: Repository, operation: str, name: str) -> Any:
        asked = json.loads(self.body or b"{}")
        table = repository.branches if operation == "branch" else repository.tags
        if self.command == "DELETE":
            if name not in table or name == "main":
                raise RefusedRequestError(404, "RevisionNotFound", f"Invalid rev id: {name}")
            del table[name]
            return {}
        target = repository.resolve(name if operation == "tag" else asked.get("startingPoint") or "main").oid
        name = asked["tag"] if operation == "tag" else name
        if name in table:
            raise RefusedRequestError(409, "Conflict", "Reference already exists")
        if operation == "tag":
            table[name] = target
        else:
            repository.move(name, target)
        return {}

    def _preupload(self, files: dict[str, StoredFile]) -> Any:
        asked = json.loads(self.body)
        ignored = self._ignored(files, asked.get("gitIgnore"))
        answers = []
        for file in asked["files"]:
            old = files.get(file["path"])
            is_binary = b"\0" in base64.b64decode(file["sample"])
            is_lfs = file["path"].endswith(_LFS_ENDINGS) or is_binary or file["size"] > _LARGEST_TEXT_BYTES
            answers.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_lfs else "regular",
                    "shouldIgnore": file["path"] in ignored,
                    "oid": None if old is None else old.sha256 if old.is_lfs else old.git_oid,
                }
            )
        return {"files": answers}

    def _ignored(self, files: dict[str, StoredFile], text: str | None) -> list[str]:
        """Lines of .gitignore, as whole paths."""
        if text is None and ".gitignore" in files:
            text = self.owner.blobs.path(files[".gitignore"].sha256).read_text()
        return (text or "").split()

    def _commit(self, repository: Repository, revision: str, account: Account | None) -> Any:
        as_pull = "create_pr" in self.query
        head = repository.resolve(revision)
        files, title = dict(head.files), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    title = value["summary"]
                    if as_pull and value.get("parentCommit"):  # which a pull request may start from
                        head = repository.resolve(value["parentCommit"])
                        files = dict(head.files)
                    elif value.get("parentCommit") not in (None, head.oid):
                        message = "A commit has happened since. Please refresh and try again."
                        raise RefusedRequestError(412, "PreconditionFailed", message)
                case "file":
                    sha256 = self.owner.blobs.put(base64.b64decode(value["content"], validate=True))
                    files[value["path"]] = self.owner.blobs.stored(sha256, is_lfs=False)
                case "lfsFile":
                    if not self.owner.blobs.has(value["oid"]):
                        raise RefusedRequestError(400, "BadRequest", f"{value['oid']} was not uploaded")
                    files[value["path"]] = self.owner.blobs.stored(value["oid"], is_lfs=True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise RefusedRequestError(404, "EntryNotFound", "A file with this name doesn't exist")
                case "deletedFolder":
                    start = value["path"].rstrip("/") + "/"
                    files = {path: file for path, file in files.items() if not path.startswith(start)}
        url = f"{self.owner.url}/{'' if repository.kind == 'models' else repository.kind + '/'}{repository.name}"
        if as_pull and account is not None:
            made = repository.add(files, title, head.oid)
            opened = repository.discuss(title, account.name, pulled=made.oid, status="open")
            pull = {"pullRequestUrl": f"{url}/discussions/{opened.number}"}
        else:
            made, pull = repository.commit(revision, files, title, head.oid), {}
        return {"success": True, "commitOid": made.oid, "commitUrl": f"{url}/commit/{made.oid}", **pull}


def _writer(account: Account | None) -> str:
    """Name of an account whose token may write somewhere; empty for others."""
    return account.name if account is not None and account.may_write else ""


def _is_member(repository: Repository, account: Account | None) -> bool:
    return account is not None and repository.name.split("/")[0] in (account.name, *account.organisations)


def _entries(files: dict[str, StoredFile]) -> list[dict[str, Any]]:
    """Files and folders, as the Hub lists them."""
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    entries: list[dict[str, Any]] = [
        {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders
    ]
    for path, file in files.items():
        lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.is_lfs else {}
        entries.append({"type": "file", "path": path, "size": file.size, "oid": file.git_oid, **lfs})
    return sorted(entries, key=lambda entry: entry["path"])


def impatient_client(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """A client in this process that does not wait between its attempts."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    huggingface_hub.utils.disable_progress_bars()
    return HfApi(endpoint=hub.url, token=hub.token)
