"""`push` brings what may be published to a Hub, whole or not at all; a loopback Hub stands for the real one."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from loopback_hub import Account, LoopbackHub, impatient_client
from PIL import Image
from simulated_dataset import build_simulated

from dataset_scripts.__main__ import main
from dataset_scripts.build_fusionrs import TranslatorConfig
from dataset_scripts.check import check_folder
from dataset_scripts.checking.shard_rights import text_problems
from dataset_scripts.dataset_manifest import manifest_text
from dataset_scripts.manifest_seal import sealed
from dataset_scripts.publishing.hub_errors import HubError
from dataset_scripts.publishing.public_folder import public_files
from dataset_scripts.push import PushConfig, UnfitFolderError, push
from dataset_scripts.source_options import SourceOptions

# The client's own way of sending a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

REPO = "ORG/fusionrs"
CANARY = "canary-5e1f"
ROOT = Path(__file__).parents[1]
LOAD = """
import json, sys
import numpy as np
from datasets import load_dataset
whole = load_dataset("ORG/fusionrs")
index = load_dataset("ORG/fusionrs", "index")
streamed = list(load_dataset("ORG/fusionrs", split="test", streaming=True))
streamed_index = list(load_dataset("ORG/fusionrs", "index", split="test", streaming=True))
print(json.dumps({
    "rows": {name: len(split) for name, split in whole.items()},
    "index": {name: len(split) for name, split in index.items()},
    "modes": sorted({row["infrared"].mode for split in whole.values() for row in split}),
    "sums": {row["id"]: int(np.asarray(row["infrared"], dtype=np.int64).sum()) for row in whole["test"]},
    "streamed": {row["id"]: int(np.asarray(row["infrared"], dtype=np.int64).sum()) for row in streamed},
    "rgb": sorted({(row["rgb"].mode, *row["rgb"].size) for row in streamed}),
    "streamed_index": [row["id"] for row in streamed_index] == index["test"]["id"][:],
}))
"""


def own_images(folder: Path) -> Path:
    """Images whose licence nobody knows; what is recognisable in them must never leave."""
    folder.mkdir()
    lines = []
    for number in range(12):
        name = f"{CANARY}-{number}.png"
        Image.effect_noise((40, 40 + number), 90).convert("RGB").save(folder / name)
        lines.append({"file_name": name, "caption": f"{CANARY} caption {number}", "class_name": f"{CANARY} class"})
    (folder / f"{CANARY}-broken.png").write_bytes(b"broken")
    lines.append({"file_name": f"{CANARY}-broken.png", "caption": f"{CANARY} rejected"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("built")
    images = own_images(place / "images")
    return build_simulated(
        place / "fusionrs",
        48,
        source=("simulator", f"folder:{images}"),
        sources=SourceOptions(scene_size=32),
        translator=TranslatorConfig(name="luminance"),
    )


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub", page_entries=4) as running:
        yield running


@pytest.fixture
def api(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    return impatient_client(hub, monkeypatch)


def config(folder: Path, **changes: object) -> PushConfig:
    return PushConfig(**{"folder": folder, "repo": REPO, "workers": 1, **changes})


def wanted(folder: Path, hub: LoopbackHub) -> dict[str, str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    files = public_files(folder, manifest, repo=REPO, revision="main", hub=hub.url)
    return {file.path: file.sha256 for file in sorted(files, key=lambda file: file.path)}


def run_push(folder: Path, hub: LoopbackHub, home: Path, *arguments: str, token: str | None = None):
    return subprocess.run(
        [sys.executable, "-m", "dataset_scripts", "push", str(folder), "--repo", REPO, "--workers", "1", *arguments],
        env=hub.environment(home, token=token),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_pushed_loads_in_fresh_processes(built: Path, hub: LoopbackHub, tmp_path: Path) -> None:
    first = run_push(built, hub, tmp_path / "home", "--tag", "v1.0.0")
    assert first.returncode == 0, first.stderr
    assert hub.tree(REPO) == wanted(built, hub)
    repository = hub.repository(REPO)
    assert set(repository.branches) == {"main"}
    assert repository.tags == {"v1.0.0": repository.branches["main"]}
    assert "12 licence 'unknown' does not let the images be handed on" in first.stdout
    assert hub.token not in first.stdout + first.stderr

    loaded = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=hub.environment(tmp_path / "home", token=""),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    seen = json.loads(loaded.stdout.splitlines()[-1])
    rows = json.loads((built / "manifest.json").read_text())["splits"]
    assert seen["index"] == {name: facts["rows"] for name, facts in rows.items()}
    assert sum(seen["index"].values()) == 60
    assert sum(seen["rows"].values()) == 48
    assert seen["modes"] == ["I;16"]
    assert seen["rgb"] == [["RGB", 32, 32]]
    assert seen["streamed"] == seen["sums"] == sums_of(built)
    assert seen["streamed_index"]


def sums_of(folder: Path) -> dict[str, int]:
    """The pixels of the infrared images of test, added up."""
    rows = [row for path in (folder / "data").glob("test-*") for row in pq.read_table(path).to_pylist()]
    return {
        row["id"]: int(np.asarray(Image.open(io.BytesIO(row["infrared"]["bytes"])), dtype=np.int64).sum())
        for row in rows
    }


def test_a_second_push_sends_nothing(
    built: Path, hub: LoopbackHub, api: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = push(config(built), api)
    before, history = len(hub.requests), list(hub.repository(REPO).history)
    assert push(config(built, tag="v1"), api) == commit
    assert push(config(built, tag="v1"), api) == commit
    changing = [request.path for request in hub.requests[before:] if request.method != "GET"]
    assert changing == [f"/api/datasets/{REPO}/tag/{commit}"]
    assert hub.repository(REPO).history == history
    assert "ORG/fusionrs@main has all 10 files; nothing is sent." in capsys.readouterr().out


def test_rows_that_may_not_leave_never_arrive(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    local = [row for path in (built / "local").iterdir() for row in pq.read_table(path).to_pylist()]
    assert len(local) == 12
    assert CANARY in str(local[0]["captions"])
    assert f"{CANARY} rejected" not in (built / "manifest.json").read_text()
    push(config(built), api)
    for body in [*hub.received, *(path.read_bytes() for path in hub.blobs.folder.iterdir())]:
        for row in local:
            for column in ("rgb", "infrared"):
                data = row[column]["bytes"]
                assert data not in body
                assert data[len(data) // 2 : len(data) // 2 + 40] not in body
        assert f"{CANARY} ".encode() not in body
        if body[:4] == b"PAR1":
            for row in pq.read_table(io.BytesIO(body)).to_pylist():
                texts = str({name: value for name, value in row.items() if name not in ("id", "source_id")})
                assert CANARY not in texts
    assert not [path for path in hub.tree(REPO) if path.startswith("local")]


def test_the_public_copy_passes_the_check_and_is_not_pushed_again(
    built: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    push(config(built), api)
    copy = Path(api.snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "copy"))
    (copy / ".gitattributes").write_text("x")
    assert check_folder(copy) == []
    manifest = json.loads((copy / "manifest.json").read_text())
    assert sum(manifest["withheld"].values()) == 12
    assert "12 rows may not be handed on" in (copy / "README.md").read_text()
    assert str(built.parent) not in (copy / "manifest.json").read_text()
    croissant = json.loads((copy / "croissant.json").read_text())
    addresses = {entry["contentUrl"] for entry in croissant["distribution"]}
    assert f"{hub.url}/datasets/{REPO}/resolve/main/{manifest['shards'][0]['file']}" in addresses
    assert len(addresses) == len(manifest["shards"])
    with pytest.raises(ValueError, match="is a copy of what was published"):
        push(config(copy), api)


def test_a_dry_run_asks_the_hub_for_nothing(
    built: Path, hub: LoopbackHub, api: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(config(built, dry_run=True), api) is None
    assert hub.requests == []
    out = capsys.readouterr().out
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names[: len(wanted(built, hub))] != []
    assert set(wanted(built, hub)) <= set(names)
    assert not any(name.startswith("local/") for name in names)


def cut_points() -> list[tuple[str, int]]:
    return [("requests", number) for number in (0, 1, 3, 5, 7, 9, 14)] + [("upload", number) for number in (0, 2, 4)]


@pytest.mark.parametrize(("kind", "number"), cut_points())
def test_an_upload_that_is_cut_leaves_main_whole_and_ends_the_same_when_run_again(
    built: Path, hub: LoopbackHub, api: HfApi, kind: str, number: int
) -> None:
    (hub.cut_after if kind == "requests" else hub.cut_upload)(number)
    with pytest.raises(HubError, match=r"the connection to the Hub broke .*: run the same command again\.$"):
        push(config(built), api)
    hub.heal()
    received = [request for request in hub.requests if request.method == "PUT" and request.status == 200]
    push(config(built), api)
    finish(hub, built)
    sent = [request.path for request in hub.requests if request.method == "PUT" and request.status == 200]
    assert len(sent) == len(set(sent)) == len(shards_of(built)), "a file arrived twice"
    assert len(received) < len(sent) or number > 7


def shards_of(folder: Path) -> list[Path]:
    return [path for place in ("data", "index") for path in (folder / place).iterdir()]


def finish(hub: LoopbackHub, folder: Path) -> None:
    """The end is complete, and main was never anything between empty and complete."""
    repository = hub.repository(REPO)
    trees = [repository.commits[oid].files for branch, oid in repository.history if branch == "main"]
    assert [len(tree) for tree in trees] == [0, len(wanted(folder, hub))]
    assert hub.tree(REPO) == wanted(folder, hub)
    assert set(repository.branches) == {"main"}


@pytest.mark.parametrize("part", ["repos/create", "/branch/push", "/commit/push", "/commit/main", "/tag/"])
def test_an_answer_that_is_lost_changes_nothing(built: Path, hub: LoopbackHub, api: HfApi, part: str) -> None:
    hub.drop_answer(part)
    with pytest.raises(HubError, match="the connection to the Hub broke"):
        push(config(built, tag="v1"), api)
    push(config(built, tag="v1"), api)
    finish(hub, built)
    assert hub.repository(REPO).tags == {"v1": hub.repository(REPO).branches["main"]}


def test_shards_of_another_version_are_deleted_only_if_asked(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    push(config(built, tag="v1"), api)
    repository, complete = hub.repository(REPO), hub.tree(REPO)
    files = repository.resolve("main").files
    shard = files["data/train-00000-of-00001.parquet"]
    mixed = {**files, "data/train-00001-of-00002.parquet": shard, "local/x.parquet": shard, "LICENSE": shard}
    mixed["README.md"] = files["croissant.json"]
    head = repository.commit("main", mixed, "another version", repository.branches["main"]).oid
    before = len(hub.requests)
    with pytest.raises(HubError) as raised:
        push(config(built), api)
    assert str(raised.value) == (
        "ORG/fusionrs@main holds 2 shards of another version, which would be read together with these: "
        "data/train-00001-of-00002.parquet, local/x.parquet. Give --overwrite-remote to delete them."
    )
    with pytest.raises(HubError, match=r"tag v1 of ORG/fusionrs is at .*, another version"):
        push(config(built, tag="v1", overwrite_remote=True), api)
    assert {request.method for request in hub.requests[before:]} == {"GET"}
    assert repository.branches == {"main": head}
    push(config(built, tag="v2", overwrite_remote=True), api)
    assert hub.tree(REPO) == dict(sorted({**complete, "LICENSE": shard.sha256}.items()))
    assert hub.tree(REPO, "v1") == complete
    assert repository.tags["v2"] == repository.branches["main"]


def test_a_repository_of_somebody_else_is_not_written_over(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    repository = hub.add_repository(REPO)
    card = hub.blobs.stored(hub.blobs.put(b"# mine"), is_lfs=False)
    repository.commit("main", {"README.md": card, "LICENSE": card}, "mine", repository.branches["main"])
    with pytest.raises(HubError, match=r"holds README\.md, but no manifest: this program did not write it"):
        push(config(built), api)
    push(config(built, overwrite_remote=True), api)
    assert hub.tree(REPO) == dict(sorted({**wanted(built, hub), "LICENSE": card.sha256}.items()))


def test_files_that_the_hub_would_ignore_are_missed_before_main_changes(
    built: Path, hub: LoopbackHub, api: HfApi
) -> None:
    repository = hub.add_repository(REPO)
    hidden = hub.blobs.stored(hub.blobs.put(b"croissant.json\n"), is_lfs=False)
    head = repository.commit("main", {".gitignore": hidden}, "hide", repository.branches["main"])
    with pytest.raises(HubError, match=r"does not hold what was sent: croissant\.json \(1 files\)"):
        push(config(built), api)
    assert repository.branches["main"] == head.oid


def test_somebody_elses_commit_in_between_is_not_lost(
    built: Path, hub: LoopbackHub, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = "dataset_scripts.publishing.hub_upload.verify"
    card = hub.blobs.stored(hub.blobs.put(b"LICENSE"), is_lfs=False)

    def commit_between(*arguments: object) -> None:
        repository = hub.repository(REPO)
        repository.commit("main", {"LICENSE": card}, "theirs", repository.branches["main"])

    with monkeypatch.context() as patched:
        patched.setattr(verify, commit_between)
        with pytest.raises(HubError, match="somebody else changed ORG/fusionrs in the meantime"):
            push(config(built), api)
    assert list(hub.tree(REPO)) == ["LICENSE"]
    push(config(built), api)
    assert hub.tree(REPO) == dict(sorted({**wanted(built, hub), "LICENSE": card.sha256}.items()))


def test_another_branch_is_made_and_main_stays(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    push(config(built, revision="next"), api)
    assert hub.tree(REPO) == {}
    assert set(hub.tree(REPO, "next")) == set(wanted(built, hub))
    assert "resolve/next/" in hub.blobs.path(hub.tree(REPO, "next")["croissant.json"]).read_text()


def test_a_repository_is_made_private_where_asked(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    push(config(built, private=True), api)
    assert hub.repository(REPO).private
    assert not HfApi(endpoint=hub.url, token=False).repo_exists(REPO, repo_type="dataset")
    hub.repository(REPO).private = False
    with pytest.raises(HubError, match="is there and public; --private does not change that"):
        push(config(built, private=True), api)


@pytest.mark.parametrize(
    ("account", "repo", "message"),
    [
        (None, REPO, r"the Hub does not know the access token \(401\); set HF_TOKEN to a valid one"),
        (Account(may_write=False), REPO, r"the access token may not write to ORG/fusionrs \(403\)"),
        (Account(), "OTHER/fusionrs", r"the access token may not write to OTHER/fusionrs \(403\)"),
        (Account(), "OTHER/there", r"the access token may not write to OTHER/there \(403\)"),
    ],
)
def test_what_the_hub_forbids_is_one_sentence(
    built: Path, hub: LoopbackHub, api: HfApi, account: Account | None, repo: str, message: str
) -> None:
    hub.add_repository("OTHER/there")
    token = "hf_another" + "0" * 30
    if account is not None:
        hub.accounts[token] = account
    with pytest.raises(HubError, match=message) as raised:
        push(config(built, repo=repo), HfApi(endpoint=hub.url, token=token))
    assert token not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_token_ends_the_command_without_a_traceback(built: Path, hub: LoopbackHub, tmp_path: Path) -> None:
    token = "hf_wrong" + "0" * 30
    finished = run_push(built, hub, tmp_path / "home", token=token)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("the Hub does not know the access token (401)")
    assert "Traceback" not in finished.stderr
    assert token not in finished.stdout + finished.stderr


def test_offline_mode_and_a_missing_token_are_said(
    built: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(HubError, match="no access token is found; set HF_TOKEN, or run `hf auth login`"):
        push(config(built), HfApi(endpoint=hub.url))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(config(built), api)
    assert hub.requests == []


def test_a_damaged_folder_is_not_sent(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    path = next((built / "data").glob("train-*"))
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"\0")
    with pytest.raises(UnfitFolderError, match=r"train-00000-of-00001\.parquet: sha256: .*"):
        push(config(built), api)
    path.write_bytes(good)
    assert hub.requests == []


def test_a_file_that_changes_while_it_is_sent_is_not_published(
    built: Path, hub: LoopbackHub, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next((built / "data").glob("train-*"))
    good = path.read_bytes()
    changed = lambda *arguments, **options: path.write_bytes(good[:-1] + b"\0") and {}  # noqa: E731
    monkeypatch.setattr(api, "whoami", changed)
    with pytest.raises(HubError, match="changed while it was sent; nothing is published"):
        push(config(built), api)
    path.write_bytes(good)
    assert hub.tree(REPO) == {}


def test_folders_of_this_machine_and_tokens_in_the_texts_stop_a_push(built: Path, hub: LoopbackHub, api: HfApi) -> None:
    path = built / "manifest.json"
    good = path.read_text()
    manifest = json.loads(good)
    manifest["config"]["translator"]["checkpoint"] = "/home/me/My unet/weights"
    manifest["config"]["sources"]["index_roots"] = ["NWPU=/mnt/disk 1/NWPU"]
    path.write_text(manifest_text(sealed(manifest)))
    push(config(built), api)
    shown = json.loads(hub.blobs.path(hub.tree(REPO)["manifest.json"]).read_text())
    assert shown["config"]["translator"]["checkpoint"] == "weights"
    assert shown["config"]["sources"]["index_roots"] == ["NWPU=NWPU"]
    manifest["sources"][0]["attribution"] = f"see /home/me/notes.txt and hf_{'x' * 34}"
    path.write_text(manifest_text(sealed(manifest)))
    with pytest.raises(UnfitFolderError) as raised:
        push(config(built), api)
    path.write_text(good)
    found = {(problem.file, problem.kind) for problem in raised.value.problems}
    names = ("README.md", "croissant.json", "manifest.json")
    assert found == {(name, kind) for name in names for kind in ("secret", "machine_path")}
    assert "x" * 34 not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://huggingface.co/datasets/ORG/x/resolve/main/data/a.parquet", []),
        ("RGB/infrared and/or either; 1/2/3; data/train-*.parquet", []),
        ("see `/home/me/x.txt`", ["/home/me/x.txt"]),
        ('"path": "/mnt/disk/a"', ["/mnt/disk/a"]),
        ("file:///data/x", ["file:///data/x"]),
        ("~/datasets", ["~/datasets"]),
        (r"C:\\Users\\me", [r"C:\\Users"]),
        ("[a](../x/y) <br/> </a/b>", []),
    ],
)
def test_paths_of_machines_are_told_from_addresses(text: str, found: list[str]) -> None:
    assert [problem.detail for problem in text_problems("x", text)] == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repo", "fusionrs"], "repo is 'fusionrs'; it must be ORG/NAME"),
        (["--repo", "ORG/../x"], "it must be ORG/NAME"),
        (["--repo", REPO, "--tag", "v 1"], "tag is 'v 1'"),
        (["--repo", REPO, "--revision", "refs/pr/1"], "revision is 'refs/pr/1'"),
    ],
)
def test_names_that_cannot_work_are_refused(
    built: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["push", str(built), *arguments])
    assert message in " ".join(capfd.readouterr().err.replace("\u2502", " ").split())


def test_the_loopback_hub_serves_pull_requests_ranges_and_models(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo("ORG/model")
    opened = api.upload_file(
        path_or_fileobj=b"0123456789" * 100, path_in_repo="weights.bin", repo_id="ORG/model", create_pr=True
    )
    assert opened.pr_num == 1
    assert hub.tree("ORG/model", kind="models") == {}
    api.merge_pull_request("ORG/model", 1)
    assert list(hub.tree("ORG/model", kind="models")) == ["weights.bin"]
    client = huggingface_hub.utils.get_session()
    address = f"{hub.url}/ORG/model/resolve/main/weights.bin"
    for asked, body in (("3-5", b"345"), ("995-", b"56789"), ("-2", b"89"), ("990-5000", b"0123456789")):
        answer = client.get(address, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, body)
    assert client.get(address, headers={"Range": "bytes=2000-"}).status_code == 416
    path = api.hf_hub_download("ORG/model", "weights.bin", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == b"0123456789" * 100
    start = time.perf_counter()
    assert api.list_repo_files("ORG/model") == ["weights.bin"]
    assert time.perf_counter() - start < 5
