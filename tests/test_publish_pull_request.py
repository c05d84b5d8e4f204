"""`--pull-request` proposes a version in one piece, leaves main alone, and finds its own pull request again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from loopback_hub import Account, LoopbackHub, impatient_client
from PIL import Image
from published_models import known_outputs, publication, save_run
from simulated_dataset import build_simulated

from dataset_scripts.__main__ import main as dataset_main
from dataset_scripts.publishing.hub_errors import HubError
from dataset_scripts.publishing.public_file import PublicFile
from model_cards import publish_model
from model_cards.publish import Publication, PublishDataset, PublishModel, PublishSpace, main, publish

# The client's own way of sending a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

ROOT = Path(__file__).parents[1]
REPO = "ORG/published"
KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub", page_entries=7) as running:
        yield running


@pytest.fixture
def api(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    return impatient_client(hub, monkeypatch)


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> list[PublicFile]:
    """An assembled model."""
    place = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publish_model, "try_model", known_outputs)
        run = save_run("clip", place / "clip")
        return publish_model.assemble_model(run, publication(run, repo=REPO).account(), place / "assembled")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("dataset") / "fusionrs", 12)


@pytest.fixture
def assembled(model_files: list[PublicFile], monkeypatch: pytest.MonkeyPatch) -> list[PublicFile]:
    monkeypatch.setattr("model_cards.publish.assemble_model", lambda *arguments: model_files)
    return model_files


def space(folder: Path, text: str = "Demo") -> Path:
    """A Space with a picture, which goes up apart from the commit."""
    folder.mkdir()
    settings = {"title": text, "sdk": "gradio", "sdk_version": "6.31.0", "license": "mit", "models": ["ORG/clip"]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(settings)}---\n\n# {text}\n")
    (folder / "app.py").write_text("import gradio\n")
    (folder / "requirements.txt").write_text("")
    Image.effect_noise((30, 30), 50).save(folder / "scene.png")
    return folder


def proposal(path: Path, **changes: Any) -> PublishSpace:
    return PublishSpace(**{"path": path, "repo": REPO, "push": True, "pull_request": True, **changes})


def manifest_tree(hub: LoopbackHub, revision: str, kind: str = "spaces") -> dict[str, str]:
    """What the manifest of a revision says that it holds."""
    own = hub.tree(REPO, revision, kind)["manifest.json"]
    files = json.loads(hub.blobs.path(own).read_text())["files"]
    return dict(sorted({**{name: facts["sha256"] for name, facts in files.items()}, "manifest.json": own}.items()))


def guest(hub: LoopbackHub, name: str = "guest") -> HfApi:
    """Somebody who may write, but not to ORG."""
    token = f"hf_{name}" + "0" * 30
    hub.accounts[token] = Account(name=name, organisations=())
    return HfApi(endpoint=hub.url, token=token)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_pull_request_is_what_a_push_would_have_been(
    hub: LoopbackHub,
    api: HfApi,
    dataset: Path,
    assembled: list[PublicFile],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    fields: dict[str, Any] = {"repo": REPO, "push": True}
    what: dict[str, Publication] = {
        "model": PublishModel(path=tmp_path, license="mit", **fields, pull_request=True),
        "dataset": PublishDataset(path=dataset, workers=1, **fields, pull_request=True),
        "space": PublishSpace(path=space(tmp_path / "demo"), **fields, pull_request=True),
    }
    repository = hub.add_repository(REPO, KINDS[kind])
    before, history = hub.tree(REPO, kind=KINDS[kind]), list(repository.history)
    commit = publish(what[kind], api)
    assert (hub.tree(REPO, kind=KINDS[kind]), repository.history) == (before, history)
    assert (set(repository.branches), repository.pull_requests) == ({"main"}, {1: commit})
    proposed = hub.tree(REPO, "refs/pr/1", KINDS[kind])
    if kind == "model":
        assert proposed == {file.path: file.sha256 for file in sorted(assembled, key=lambda file: file.path)}
    if kind != "dataset":
        assert proposed == manifest_tree(hub, "refs/pr/1", KINDS[kind])
    (pull,) = api.get_repo_discussions(REPO, repo_type=kind)
    assert (pull.status, pull.author, pull.is_pull_request) == ("open", "tester", True)
    assert pull.title == f"Publish {'fusionrs' if kind == 'dataset' else 'published'} (version {version(proposed)})"
    assert f"pull request {pull.url} is open at {commit}" in capsys.readouterr().out

    place = api.snapshot_download(REPO, repo_type=kind, revision="refs/pr/1", local_dir=tmp_path / "tried")
    tried = [path.relative_to(place).as_posix() for path in Path(place).rglob("*") if path.is_file()]
    assert sorted(name for name in tried if not name.startswith(".cache/")) == sorted(proposed)

    api.merge_pull_request(REPO, 1, repo_type=kind)
    merged = hub.tree(REPO, kind=KINDS[kind])
    api.delete_repo(REPO, repo_type=kind)
    fields["pull_request"] = False
    publish(type(what[kind])(**{**vars(what[kind]), **fields}), api)
    assert merged == proposed == hub.tree(REPO, kind=KINDS[kind])


def version(tree: dict[str, str]) -> str:
    return tree["manifest.json"][:12]


def test_the_command_prints_the_address_and_sends_nothing_the_second_time(
    hub: LoopbackHub, api: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add_repository(REPO, "spaces")
    command = ["space", str(space(tmp_path / "demo")), "--repo", REPO, "--pull-request"]
    main(command)
    assert hub.requests == []
    first = subprocess.run(
        [sys.executable, "-m", "model_cards.publish", *command, "--push"],
        env=hub.environment(tmp_path / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert first.returncode == 0, first.stderr
    commit = hub.repository(REPO, "spaces").pull_requests[1]
    address = f"pull request {hub.url}/spaces/{REPO}/discussions/1"
    assert first.stdout.splitlines()[-2:] == [
        f"{address} is open at {commit}",
        "it holds what was sent; main is as it was until it is merged",
    ]
    assert hub.token not in first.stdout + first.stderr
    before = len(hub.requests)
    assert publish(proposal(tmp_path / "demo"), api) == commit
    assert capsys.readouterr().out.splitlines()[-1] == f"{address} has all 5 files, at {commit}; nothing is sent."
    assert {request.method for request in hub.requests[before:]} == {"GET"}
    assert hub.repository(REPO, "spaces").pull_requests == {1: commit}


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_run_that_is_cut_at_any_request_ends_in_one_whole_pull_request(
    api: HfApi, assembled: list[PublicFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    what = PublishModel(path=tmp_path, license="mit", repo=REPO, push=True, pull_request=True)
    wanted = {file.path: file.sha256 for file in sorted(assembled, key=lambda file: file.path)}
    requests, number = None, 0
    while requests is None or number < requests:
        with LoopbackHub(tmp_path / f"hub-{number}", page_entries=7) as hub:
            client = impatient_client(hub, monkeypatch)
            repository = hub.add_repository(REPO, "models")
            if requests is None:  # one run that is not cut tells how many there are
                publish(what, client)
                requests = len(hub.requests)
                assert requests > 12
                continue
            hub.cut_after(number, share)
            with pytest.raises(HubError, match="the connection to the Hub broke"):
                publish(what, client)
            assert [hub.tree(REPO, f"refs/pr/{one}", "models") for one in repository.pull_requests] in ([], [wanted])
            hub.heal()
            publish(what, client)
            assert list(repository.pull_requests) == [1]
            assert hub.tree(REPO, "refs/pr/1", "models") == wanted
            assert (hub.tree(REPO, kind="models"), len(repository.history)) == ({}, 1)
            sent = [one.path for one in hub.requests if one.method == "PUT" and one.status == 200]
            assert len(sent) == len(set(sent)), "weights or images arrived twice"
        number += 1


def test_somebody_who_may_not_write_to_main_can_propose_and_go_on(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    folder, repository = space(tmp_path / "demo"), hub.add_repository(REPO, "spaces")
    stranger, other = guest(hub), guest(hub, "other")
    with pytest.raises(HubError, match=r"the access token may not write to ORG/published \(403\)"):
        publish(proposal(folder, pull_request=False), stranger)
    publish(proposal(folder), stranger)
    with pytest.raises(HfHubHTTPError, match="403"):
        stranger.merge_pull_request(REPO, 1, repo_type="space")
    with pytest.raises(HfHubHTTPError, match="403"):
        delete_from(other, "refs/pr/1", "app.py")
    delete_from(stranger, "refs/pr/1", "app.py", "scene.png")
    publish(proposal(folder), stranger)
    assert hub.tree(REPO, "refs/pr/1", "spaces") == manifest_tree(hub, "refs/pr/1")
    assert list(repository.pull_requests) == [1]
    publish(proposal(folder), other)
    assert list(repository.pull_requests) == [1, 2], "a pull request of somebody else was continued"
    read_only = "hf_reader" + "0" * 30
    hub.accounts[read_only] = Account(name="reader", organisations=(), may_write=False)
    with pytest.raises(HubError, match=r"may not write to ORG/published \(403\)"):
        publish(proposal(folder), HfApi(endpoint=hub.url, token=read_only))


def delete_from(api: HfApi, revision: str, *paths: str) -> None:
    deletions = [CommitOperationDelete(path_in_repo=path) for path in paths]
    api.create_commit(REPO, deletions, commit_message="less", repo_type="space", revision=revision)


def test_other_versions_and_closed_ones_are_not_continued_and_a_merged_one_needs_no_other(
    hub: LoopbackHub, api: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = hub.add_repository(REPO, "spaces")
    old, new = space(tmp_path / "old", "Old"), space(tmp_path / "new", "New")
    publish(proposal(old), api)
    for number in range(3):  # so that the list has more than one page
        api.create_discussion(REPO, f"a question ({number})", repo_type="space")
    publish(proposal(new), api)
    assert "note: pull request 1, with another version, is open too; close it" in capsys.readouterr().out
    assert list(repository.pull_requests) == [1, 5]
    assert manifest_tree(hub, "refs/pr/1") != manifest_tree(hub, "refs/pr/5") == hub.tree(REPO, "refs/pr/5", "spaces")
    api.change_discussion_status(REPO, 1, "closed", repo_type="space")
    publish(proposal(old), api)
    assert list(repository.pull_requests) == [1, 5, 6]
    api.rename_discussion(
        REPO, 6, f"The old one (version {version(manifest_tree(hub, 'refs/pr/1'))})", repo_type="space"
    )
    publish(proposal(old), api)
    assert list(repository.pull_requests) == [1, 5, 6]
    api.merge_pull_request(REPO, 6, repo_type="space")
    before = len(hub.requests)
    assert publish(proposal(old), api) == repository.branches["main"]
    assert {request.method for request in hub.requests[before:]} == {"GET"}
    assert f"{REPO}@main has all 5 files; nothing is sent." in capsys.readouterr().out


def test_what_an_older_version_left_is_deleted_by_the_pull_request_only_if_asked(
    hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    folder = space(tmp_path / "demo")
    publish(proposal(folder, pull_request=False), api)
    (folder / "views.py").write_text("import gradio\n")
    publish(proposal(folder, pull_request=False), api)
    (folder / "views.py").unlink()
    repository, history = hub.repository(REPO, "spaces"), list(hub.repository(REPO, "spaces").history)
    with pytest.raises(HubError, match=r"holds 1 files of another version .*: views\.py\. Give --overwrite-remote"):
        publish(proposal(folder), api)
    assert repository.pull_requests == {}
    publish(proposal(folder, overwrite_remote=True), api)
    assert hub.tree(REPO, "refs/pr/1", "spaces") == manifest_tree(hub, "refs/pr/1")
    assert repository.history == history
    publish(proposal(folder, overwrite_remote=True), api)
    views = repository.resolve("main").files["views.py"]
    mixed = {**repository.resolve("refs/pr/1").files, "pages.py": views}
    repository.commit("refs/pr/1", mixed, "somebody's", repository.pull_requests[1])
    publish(proposal(folder, overwrite_remote=True), api)
    assert list(repository.pull_requests) == [1]
    api.merge_pull_request(REPO, 1, repo_type="space")
    assert hub.tree(REPO, kind="spaces") == manifest_tree(hub, "main")


def test_a_pull_request_that_somebody_added_to_is_not_cut_back_unasked(
    hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    folder, repository = space(tmp_path / "demo"), hub.add_repository(REPO, "spaces")
    publish(proposal(folder), api)
    files = repository.resolve("refs/pr/1").files
    commit = repository.commit("refs/pr/1", {**files, "more.py": files["app.py"]}, "x", repository.pull_requests[1])
    with pytest.raises(HubError, match=r"pull request 1 of ORG/published holds 1 files of another .*: more\.py\. Give"):
        publish(proposal(folder), api)
    assert repository.pull_requests == {1: commit.oid}


def test_a_main_that_moved_on_is_said_and_refused_where_merging_would_mix_versions(
    hub: LoopbackHub, api: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(proposal(space(tmp_path / "old", "Old"), pull_request=False), api)
    folder, repository = space(tmp_path / "demo"), hub.repository(REPO, "spaces")
    publish(proposal(folder), api)
    main_files = dict(repository.resolve("main").files)
    note = hub.blobs.stored(hub.blobs.put(b"thanks"), is_lfs=False)
    repository.commit("main", {**main_files, "THANKS.txt": note}, "theirs", repository.branches["main"])
    publish(proposal(folder), api)
    assert "note: main has changed since pull request 1 was opened; where the Hub" in capsys.readouterr().out
    repository.commit("main", {**main_files, "old.py": note}, "theirs", repository.branches["main"])
    with pytest.raises(HubError, match=r"published@main has changed since pull request 1 was opened, .* might leave 1"):
        publish(proposal(folder, overwrite_remote=True), api)
    api.change_discussion_status(REPO, 1, "closed", repo_type="space")
    publish(proposal(folder, overwrite_remote=True), api)
    api.merge_pull_request(REPO, 2, repo_type="space")
    assert hub.tree(REPO, kind="spaces") == manifest_tree(hub, "main")


def test_what_was_not_sent_is_missed_and_the_address_is_known(
    hub: LoopbackHub, api: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, repository = space(tmp_path / "demo"), hub.add_repository(REPO, "spaces")
    hidden = hub.blobs.stored(hub.blobs.put(b"app.py\n"), is_lfs=False)
    files = {**repository.resolve("main").files, ".gitignore": hidden}
    repository.commit("main", files, "hide", repository.branches["main"])
    with pytest.raises(HubError, match=r"does not hold what was sent: app\.py \(1 files\)"):
        publish(proposal(folder, overwrite_remote=True), api)
    assert f"pull request {hub.url}/spaces/{REPO}/discussions/1 is open" in capsys.readouterr().out
    assert hub.tree(REPO, kind="spaces") == {path: file.sha256 for path, file in sorted(files.items())}


def test_a_repository_that_is_not_there_is_not_made(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"the Hub has no ORG/published that this access token may see \(404\)"):
        publish(proposal(space(tmp_path / "demo")), api)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tag", "v1"], "tag is 'v1' beside --pull-request; a tag names what is on the branch."),
        (["--private"], "--private beside --pull-request has no meaning: the repository is there already."),
        (["--revision", "next"], "revision is 'next' beside --pull-request, which is for main alone."),
    ],
)
def test_what_excludes_a_pull_request_is_refused(
    dataset: Path, capfd: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    for command in (
        lambda given: main(["model", str(dataset), "--license", "mit", *given]),
        lambda given: main(["dataset", str(dataset), *given]),
        lambda given: dataset_main(["push", str(dataset), *given]),
    ):
        with pytest.raises(SystemExit):
            command(["--repo", REPO, "--pull-request", *options])
        shown = " ".join(capfd.readouterr().err.replace("\u2502", " ").split())
        assert message in shown


def test_the_loopback_hub_speaks_of_discussions_as_the_client_does(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO)
    draft = api.create_pull_request(REPO, "Draft of a change")
    assert (draft.num, draft.status, draft.git_reference) == (1, "draft", "refs/pr/1")
    assert (draft.target_branch, draft.conflicting_files, draft.merge_commit_oid) == ("refs/heads/main", [], None)
    send: dict[str, Any] = {"path_in_repo": "a.txt", "repo_id": REPO}
    api.upload_file(path_or_fileobj=b"theirs", revision="refs/pr/1", **send)
    assert hub.tree(REPO, kind="models") == {}
    assert api.comment_discussion(REPO, 1, "good").content == "good"
    assert api.rename_discussion(REPO, 1, "A change").new_title == "A change"
    opened = api.upload_file(path_or_fileobj=b"mine", create_pr=True, **send)
    assert (opened.pr_num, opened.pr_revision) == (2, "refs/pr/2")
    api.merge_pull_request(REPO, 2)
    assert api.get_discussion_details(REPO, 1).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError, match="409"):
        api.merge_pull_request(REPO, 1)
    api.change_discussion_status(REPO, 1, "closed")
    merged = api.get_discussion_details(REPO, 2)
    assert (merged.status, merged.merge_commit_oid) == ("merged", hub.repository(REPO, "models").branches["main"])
    events = [event.type for event in api.get_discussion_details(REPO, 1).events]
    assert events == ["comment", "title-change", "status-change"]
    listed = {one.num: one.status for one in api.get_repo_discussions(REPO, discussion_status="closed")}
    assert listed == {1: "closed", 2: "merged"}
    refs = api.list_repo_refs(REPO, include_pull_requests=True).pull_requests or []
    assert [ref.ref for ref in refs] == ["refs/pr/1", "refs/pr/2"]
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(endpoint=hub.url, token=False).create_discussion(REPO, "who is this")
