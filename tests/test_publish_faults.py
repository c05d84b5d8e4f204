"""The publishing of a model that is cut off anywhere ends, when it is run again, where it would have ended."""

import itertools
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from loopback_hub import Account, LoopbackHub, impatient_client
from PIL import Image
from published_models import known_outputs, publication, save_results, save_run
from safetensors.torch import load_file, save_file

from dataset_scripts.publishing.destination import Destination
from dataset_scripts.publishing.hub_errors import HubError
from dataset_scripts.publishing.hub_push import bring
from dataset_scripts.publishing.public_file import PublicFile, disk_file, written_file
from model_cards import publish_model
from model_cards.publish import publish

# The client's own way of sending a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

REPO = "ORG/clip"
# Requests that are still answered: from none, over the staging branch, to the commit on main and what follows it.
REQUESTS = (0, 1, 2, 4, 5, 6, 8, 9, 11, 14, 17, 20)
UPLOADS = (0, 1, 2)
RANDOM_CUTS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    save_run("clip", place / "clip")
    save_results(place / "clip" / "model", place / "retrieval.json")
    return place / "clip"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub", page_entries=7) as running:
        yield running


@pytest.fixture
def api(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    return impatient_client(hub, monkeypatch)


@pytest.fixture(autouse=True, scope="module")
def no_fresh_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publish_model, "try_model", known_outputs)
        yield


@pytest.fixture(scope="module")
def wanted(run: Path, no_fresh_process: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the repository must hold, assembled apart."""
    account = publication(run, results=(run.parent / "retrieval.json",)).account()
    files = publish_model.assemble_model(run, account, tmp_path_factory.mktemp("wanted") / "clip")
    return {file.path: file.sha256 for file in files}


def send(run: Path, api: HfApi, **changes: Any) -> str | None:
    return publish(publication(run, push=True, results=(run.parent / "retrieval.json",), **changes), api)


def finish(hub: LoopbackHub, expected: dict[str, str]) -> None:
    """The end is complete, and main was never anything between empty and complete."""
    repository = hub.repository(REPO, "models")
    trees = [repository.commits[oid].files for branch, oid in repository.history if branch == "main"]
    assert [len(tree) for tree in trees] == [0, len(expected)]
    assert hub.tree(REPO, kind="models") == dict(sorted(expected.items()))
    assert set(repository.branches) == {"main"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number"), [*(("requests", number) for number in REQUESTS), *(("upload", number) for number in UPLOADS)]
)
def test_an_upload_that_is_cut_leaves_main_whole_and_ends_the_same_when_run_again(
    run: Path, hub: LoopbackHub, api: HfApi, wanted: dict[str, str], kind: str, number: int
) -> None:
    (hub.cut_after if kind == "requests" else hub.cut_upload)(number)
    with pytest.raises(HubError, match=r"the connection to the Hub broke .*: run the same command again\.$"):
        send(run, api)
    if REPO in [name.partition("/")[2] for name in hub.repositories]:
        assert len(hub.tree(REPO, kind="models")) in (0, len(wanted))
    hub.heal()
    send(run, api)
    finish(hub, wanted)
    sent = [request.path for request in hub.requests if request.method == "PUT" and request.status == 200]
    assert len(sent) == len(set(sent)) == 3, "weights or images arrived twice"


@dataclass(frozen=True)
class Uncut:
    """An upload that nothing disturbed."""

    versions: list[list[PublicFile]]
    """Files of a version that is there already, if any, and of the one that is sent."""
    bodies: list[int]
    """Bytes of each request, in their order."""
    tree: dict[str, str]

    def trees(self) -> list[dict[str, str]]:
        """What main may hold: nothing, or a version."""
        return [{}, *(dict(sorted((file.path, file.sha256) for file in files)) for files in self.versions)]

    def cut_points(self) -> list[tuple[int, float]]:
        """Requests that are answered, and the share of the next one that arrives: 1 where only its answer is lost.

        Half are drawn from all requests, which are mostly small, and half from all bytes, which are mostly in a few.
        """
        generator = random.Random(len(self.versions))
        numbers = generator.sample(range(len(self.bodies)), RANDOM_CUTS // 2)
        points = [(number, generator.choice((0.0, 1.0))) for number in numbers]
        ends = list(itertools.accumulate(self.bodies))
        for byte in generator.sample(range(ends[-1]), RANDOM_CUTS - len(points)):
            number = next(number for number, end in enumerate(ends) if byte < end)
            points.append((number, 1 - (ends[number] - byte) / self.bodies[number]))
        return points


@pytest.fixture(scope="module", params=["nothing", "an older version"])
def uncut(
    request: pytest.FixtureRequest, run: Path, no_fresh_process: None, tmp_path_factory: pytest.TempPathFactory
) -> Uncut:
    place = tmp_path_factory.mktemp("uncut")
    older = shutil.copytree(run, place / "older")
    weights = load_file(older / "model" / "model.safetensors")
    changed = {name: tensor + 1 for name, tensor in weights.items()}
    save_file(changed, older / "model" / "model.safetensors", {"format": "pt"})
    folders = [older, run] if request.param == "an older version" else [run]
    versions = []
    for number, folder in enumerate(folders):
        account = publication(folder, repo=REPO).account()
        versions.append(publish_model.assemble_model(folder, account, place / str(number)))
    with pytest.MonkeyPatch.context() as patched, LoopbackHub(place / "hub", page_entries=7) as hub:
        client = impatient_client(hub, patched)
        for files in versions:
            before = len(hub.requests)
            send_assembled(files, client, patched)
        return Uncut(versions, [one.bytes for one in hub.requests[before:]], hub.tree(REPO, kind="models"))


def send_assembled(files: list[PublicFile], api: HfApi, patched: pytest.MonkeyPatch) -> str | None:
    """Publish without doing again what comes before the sending."""
    patched.setattr("model_cards.publish.assemble_model", lambda *arguments: files)
    return publish(publication(Path("clip"), push=True), api)


@pytest.mark.parametrize("number", range(RANDOM_CUTS))
def test_a_model_that_is_cut_at_a_random_point_is_never_there_in_part_and_ends_as_if_uncut(
    uncut: Uncut, hub: LoopbackHub, api: HfApi, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    *there, wanted = uncut.versions
    for files in there:
        send_assembled(files, api, monkeypatch)
    hub.cut_after(*uncut.cut_points()[number])
    with pytest.raises(HubError, match="the connection to the Hub broke"):
        send_assembled(wanted, api, monkeypatch)
    if f"models/{REPO}" in hub.repositories:
        assert hub.tree(REPO, kind="models") in uncut.trees()
    hub.heal()
    send_assembled(wanted, api, monkeypatch)
    repository = hub.repository(REPO, "models")
    assert hub.tree(REPO, kind="models") == uncut.tree == uncut.trees()[-1]
    seen = [hub.tree(REPO, oid, "models") for branch, oid in repository.history if branch == "main"]
    assert seen == uncut.trees()
    assert set(repository.branches) == {"main"}
    sent = [one.path for one in hub.requests if one.method == "PUT" and one.status == 200]
    assert len(sent) == len(set(sent)), "weights or images arrived twice"


@pytest.mark.parametrize("part", ["repos/create", "/branch/push", "/commit/push", "/commit/main", "/tag/"])
def test_an_answer_that_is_lost_changes_nothing(
    run: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path, part: str
) -> None:
    hub.drop_answer(part)
    with pytest.raises(HubError, match="the connection to the Hub broke"):
        send(run, api, tag="v1")
    commit = send(run, api, tag="v1")
    repository = hub.repository(REPO, "models")
    assert repository.tags == {"v1": repository.branches["main"]} == {"v1": commit}
    assert len([one for one in repository.history if one[0] == "main"]) == 2


def test_what_another_version_left_is_deleted_only_if_asked(
    run: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    api.create_tag(REPO, tag="v1", revision=send(run, api))
    repository, complete = hub.repository(REPO, "models"), hub.tree(REPO, kind="models")
    files = dict(repository.resolve("main").files)
    old = files["model.safetensors"]
    note = hub.blobs.stored(hub.blobs.put(b"thanks"), is_lfs=False)
    left = {
        "model-00001-of-00002.safetensors": old,
        ".eval_results/old.yaml": note,
        "old_rsclip.py": note,
        "THANKS.txt": note,
    }
    head = repository.commit("main", {**files, **left}, "another version", repository.branches["main"]).oid
    with pytest.raises(HubError) as raised:
        send(run, api)
    assert str(raised.value) == (
        "ORG/clip@main holds 3 files of another version (weights, code or results) that would be taken for this one's: "
        ".eval_results/old.yaml, model-00001-of-00002.safetensors, old_rsclip.py. Give --overwrite-remote to delete "
        "them."
    )
    assert repository.branches["main"] == head
    send(run, api, overwrite_remote=True)
    assert hub.tree(REPO, kind="models") == dict(sorted({**complete, "THANKS.txt": note.sha256}.items()))
    with pytest.raises(HubError, match=r"tag v1 of ORG/clip is at .*, another version; choose another --tag"):
        send(run, api, tag="v1")


@pytest.mark.slow
def test_many_shards_that_were_cut_in_the_middle_are_sent_once_each_and_appear_at_once(
    hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    shards = []
    for number in range(600):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(b"PAR1" + number.to_bytes(4, "big") * 50)
        shards.append(disk_file(f"data/train-{number:05d}-of-00600.parquet", path))
    files = [*shards, written_file("manifest.json", b"{}")]
    to = Destination(
        repo="ORG/rs5m", kind="dataset", belongs=lambda path: path.startswith("data/"), leftovers="shards of another"
    )
    for cut in (100, 250):
        hub.cut_upload(cut)
        with pytest.raises(HubError, match="the connection to the Hub broke"):
            bring(api, to, files, message="Publish")
        assert hub.tree("ORG/rs5m") == {}
        hub.heal()
    bring(api, to, files, message="Publish")
    arrived = [request.path for request in hub.requests if request.method == "PUT" and request.status == 200]
    assert len(arrived) == len(set(arrived)) == 600
    repository = hub.repository("ORG/rs5m")
    held = [len(repository.commits[oid].files) for branch, oid in repository.history if branch == "main"]
    assert held == [0, 601]
    assert hub.tree("ORG/rs5m") == dict(sorted((file.path, file.sha256) for file in files))


def test_a_model_of_somebody_else_is_not_written_over(run: Path, hub: LoopbackHub, api: HfApi) -> None:
    repository = hub.add_repository(REPO, "models")
    config = hub.blobs.stored(hub.blobs.put(b"{}"), is_lfs=False)
    repository.commit("main", {"config.json": config}, "theirs", repository.branches["main"])
    with pytest.raises(HubError, match=r"ORG/clip holds config\.json, but no manifest: this program did not write it"):
        send(run, api)
    assert hub.tree(REPO, kind="models") == {"config.json": config.sha256}


def test_weights_that_change_while_they_are_sent_are_not_published(
    run: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "assembled"

    def change(*arguments: Any, **options: Any) -> dict[str, str]:
        Image.new("RGB", (9, 9)).save(output / "examples" / "rgb.png")
        return {}

    monkeypatch.setattr(api, "whoami", change)
    with pytest.raises(HubError, match=r"examples/rgb\.png changed while it was sent; nothing is published"):
        send(run, api, output=output)
    assert hub.tree(REPO, kind="models") == {}


def test_a_token_without_the_right_to_write_is_one_sentence(run: Path, hub: LoopbackHub) -> None:
    token = "hf_another" + "0" * 30
    hub.accounts[token] = Account(may_write=False)
    with pytest.raises(HubError, match=r"the access token may not write to ORG/clip \(403\)") as raised:
        send(run, HfApi(endpoint=hub.url, token=token))
    assert token not in str(raised.value)


def test_a_repository_is_made_private_and_another_branch_leaves_main(
    run: Path, hub: LoopbackHub, api: HfApi, wanted: dict[str, str]
) -> None:
    send(run, api, private=True, revision="next")
    assert hub.repository(REPO, "models").private
    assert hub.tree(REPO, kind="models") == {}
    assert hub.tree(REPO, "next", "models") == dict(sorted(wanted.items()))
