"""Models, a dataset and a Space go to a loopback Hub, and are used from there by people who have only transformers."""

import ast
import json
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries
from loopback_hub import LoopbackHub, impatient_client
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from published_models import HEAD, KINDS, publication, save_model, save_results, save_run
from safetensors.torch import load_file, save_file
from simulated_dataset import build_simulated

import model_cards.publish
from dataset_scripts.publishing.hub_errors import HubError
from model_cards import publish_model
from model_cards.card_model import REQUIRED, front_matter
from model_cards.publish import PublishDataset, PublishModel, PublishSpace, main, publish
from model_cards.publish_fault import UnfitError

# The client's own way of sending a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("published_worker.py")
REPO = "ORG/clip"
SECRETS = {
    "hf": f"token = 'hf_{'x' * 34}'",
    "aws key": f"AKIA{'A' * 16}",
    "aws secret": f"aws_secret_access_key = '{'a1B/' * 10}'",
    "private key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "github": f"ghp_{'a' * 36}",
    "address": "https://me:password@example.com/x",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        save_run(kind, place / kind)
    save_results(place / "clip" / "model", place / "retrieval.json")
    return place


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def api(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    return impatient_client(hub, monkeypatch)


@pytest.fixture
def known_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the fresh process where a test is about something else."""

    def outputs(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
        scores = [{"label": label, "score": 0.5 / (1 + number)} for number, label in enumerate(job["labels"])]
        Image.new("L", (8, 8)).save(job["translated"])
        texts = dict.fromkeys(("rgb", "infrared", "pair"), "a harbor")
        return {"rgb": scores, "pair": scores} if job["model_type"] == "rsclip" else texts

    monkeypatch.setattr(publish_model, "try_model", outputs)


def of_clip(runs: Path, **changes: Any) -> PublishModel:
    return publication(runs / "clip", **changes)


def use_by_name(hub: LoopbackHub, place: Path, **job: Any) -> dict[str, Any]:
    """A fresh process in an empty folder that knows the Hub's address and nothing of this repository."""
    (place / "empty").mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"results": str(place / "results.json"), **job}))
    done = subprocess.run(
        [sys.executable, "-I", str(WORKER), str(place / "job.json")],
        cwd=place / "empty",
        env={**hub.environment(place / "home", token=""), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads((place / "results.json").read_text()))


@pytest.mark.slow
def test_published_models_and_data_are_used_by_name_where_this_repository_is_not(
    runs: Path, hub: LoopbackHub, api: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_simulated(tmp_path / "fusionrs", 40)
    publish(PublishDataset(path=tmp_path / "fusionrs", repo="ORG/fusionrs", push=True, workers=1), api)
    for kind in KINDS:
        results = (runs / "retrieval.json",) if kind == "clip" else ()
        commit = publish(publication(runs / kind, push=True, tag="v1.0.0", results=results), api)
        assert hub.repository(f"ORG/{kind}", "models").tags == {"v1.0.0": commit}
    before, history = len(hub.requests), list(hub.repository(REPO, "models").history)
    publish(of_clip(runs, push=True, tag="v1.0.0", results=(runs / "retrieval.json",)), api)
    assert {request.method for request in hub.requests[before:]} == {"GET"}
    assert hub.repository(REPO, "models").history == history
    assert "nothing is sent" in capsys.readouterr().out

    names = [f"ORG/{kind}" for kind in KINDS]
    found = use_by_name(hub, tmp_path / "user", models=names, datasets=["ORG/fusionrs"])
    assert found["imported"] == []
    manifest = json.loads((tmp_path / "fusionrs" / "manifest.json").read_text())
    assert found["ORG/fusionrs"]["rows"] == {name: facts["rows"] for name, facts in manifest["splits"].items()}
    assert found["ORG/fusionrs"]["modes"] == ["I;16"]
    for kind in KINDS:
        assert found[f"ORG/{kind}"]["module"].startswith(f"transformers_modules.ORG.{kind}.")
        outputs = json.loads(
            hub.blobs.path(hub.tree(f"ORG/{kind}", kind="models")["examples/outputs.json"]).read_text()
        )
        compare_printed(kind, found[f"ORG/{kind}"]["printed"], outputs["outputs"])
    assert (tmp_path / "user" / "empty" / "translated.png").exists()


def compare_printed(kind: str, printed: list[str], outputs: dict[str, Any]) -> None:
    """What the code of the card gives is what the card says it gave."""
    if kind == "clip":
        best = max(outputs["pair"], key=lambda one: one["score"])
        scores = {one["label"]: one["score"] for one in outputs["pair"]}
        assert ast.literal_eval(printed[0]) == pytest.approx(scores, abs=1e-5)
        stock, pair = printed[1].splitlines()
        assert f"'label': '{outputs['rgb'][0]['label']}'" in stock
        assert f"'label': '{best['label']}'" in pair
    elif kind == "captioner":
        assert [text.strip() for text in printed] == [outputs["pair"]] * 2


@pytest.mark.slow
def test_the_command_checks_in_a_fresh_process_and_sends_only_with_push(
    runs: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["model", str(runs / "clip"), "--repo", REPO, "--license", "cc-by-4.0", *options]
        return subprocess.run(
            [sys.executable, "-m", "model_cards.publish", *command],
            env=hub.environment(tmp_path / "home"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    shown = run("--results", str(runs / "retrieval.json"), "--output", str(tmp_path / "out"))
    assert shown.returncode == 0, shown.stderr
    assert hub.requests == []
    assert "nothing was sent; add --push to publish ORG/clip" in shown.stderr
    paths = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")}
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there <= paths
    assert {"handler.py", "pair_pipeline.py", "model.safetensors", "results/retrieval.json", "run.json"} <= there

    sent = run("--results", str(runs / "retrieval.json"), "--push", "--tag", "v1")
    assert sent.returncode == 0, sent.stderr
    repository = hub.repository(REPO, "models")
    assert set(hub.tree(REPO, kind="models")) == there | {"manifest.json"}
    assert repository.tags == {"v1": repository.branches["main"]}
    assert hub.token not in sent.stdout + sent.stderr

    broken = shutil.copytree(runs / "clip", tmp_path / "broken")
    towers = broken / "model" / "towers_rsclip.py"
    towers.write_text(towers.read_text() + "\n\ndef _never() -> None: ...\n\n\nraise ImportError('half written')\n")
    refused = subprocess.run(
        [sys.executable, "-m", "model_cards.publish", "model", str(broken), "--repo", REPO, "--license", "mit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    line = towers.read_text().splitlines().index("raise ImportError('half written')") + 1
    first = refused.stderr.strip().splitlines()[0]
    assert first == f"towers_rsclip.py:{line}: does not load in a fresh process: ImportError: half written"
    assert "Traceback" not in refused.stderr


@pytest.mark.usefixtures("known_outputs")
def test_a_published_card_is_complete_and_says_only_what_the_results_say(
    runs: Path, hub: LoopbackHub, api: HfApi
) -> None:
    results = {"results": (runs / "retrieval.json",), "results_datasets": ("/somewhere/else/fusionrs=ORG/fusionrs",)}
    publish(of_clip(runs, push=True, watts=300.0, grams_per_kwh=400.0, **results), api)
    files = {path: hub.blobs.path(sha256) for path, sha256 in hub.tree(REPO, kind="models").items()}
    card = ModelCard(files["README.md"].read_text())
    metadata = card.data.to_dict()
    assert [name for name in REQUIRED if name not in metadata] == ["base_model"]  # it started from random weights
    assert "trained from scratch" in metadata["tags"]
    assert metadata["co2_eq_emissions"]["emissions"] == 180  # 1.5 hours of 300 W at 400 g
    assert "1.5 hours" in card.text
    assert "0.45 kWh; at 400 g of CO2 per kWh, 180 g of CO2" in card.text
    assert [(one.metric_type, one.metric_value) for one in card.data.eval_results or []] == [
        (HEAD, 0.12345),
        ("rgb_to_text/recall_at_10", 0.3141),
    ]
    assert "| rgb to text, recall at 10 | 31.4% | 27.2% to 36.8% | 260 | 3.9% |" in card.text
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/retrieval.yaml"].read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("ORG/fusionrs", "retrieval-fusionrs", 0.12345)
    assert entry.notes is not None
    assert "95 % interval [10.1%, 14.9%], n = 260" in entry.notes
    assert str(runs) not in "".join(path.read_text() for name, path in files.items() if name.endswith((".json", ".md")))
    manifest = json.loads(files["manifest.json"].read_text())
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    assert hub.tree(REPO, kind="models") == {
        **{name: entry["sha256"] for name, entry in manifest["files"].items()},
        "manifest.json": hub.tree(REPO, kind="models")["manifest.json"],
    }


@pytest.mark.usefixtures("known_outputs")
def test_a_change_to_the_kept_folder_is_none_to_the_trained_model(runs: Path, tmp_path: Path) -> None:
    publish(of_clip(runs, output=tmp_path / "out"))
    trained = runs / "clip" / "model" / "model.safetensors"
    before = trained.read_bytes()
    with (tmp_path / "out" / "model.safetensors").open("r+b") as file:
        file.write(bytes(100))
    assert trained.read_bytes() == before


@pytest.mark.usefixtures("known_outputs")
def test_results_of_other_weights_or_of_none_are_refused(runs: Path, tmp_path: Path) -> None:
    other = save_results(save_model("translator", tmp_path / "model"), tmp_path / "other.json")
    with pytest.raises(
        ValueError, match=r"other\.json is a result of weights [0-9a-f]{64}; this model has the weights"
    ):
        publish(of_clip(runs, results=(other,)))
    nameless = save_results(tmp_path / "model", tmp_path / "bundle.json", model={"id": "x", "bundle_sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"result of bundle_sha256 and id, which name no weights"):
        publish(of_clip(runs, results=(nameless,)))
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no\.json is no results file: "):
        publish(of_clip(runs, results=(tmp_path / "no.json",)))


@pytest.mark.usefixtures("known_outputs")
@pytest.mark.parametrize(
    ("text", "untraced"),
    [
        ("It reaches 99.9 % recall.", "99.9%"),
        ("Recall at 10 is 31.5%.", "31.5%"),
        ("A score of 0.8125 was seen.", "0.8125"),
        ("Trained on 5,000,000 images.", "5000000"),
    ],
)
def test_a_number_that_no_result_says_is_refused(runs: Path, tmp_path: Path, text: str, untraced: str) -> None:
    (tmp_path / "about.md").write_text(f"Recall is 31.4% of 260 queries, after 220 steps on 2080 rows.\n\n{text}\n")
    with pytest.raises(UnfitError) as raised:
        publish(of_clip(runs, results=(runs / "retrieval.json",), about=tmp_path / "about.md"))
    (fault,) = raised.value.faults
    assert fault.place.startswith("README.md:")
    assert fault.detail == f"{untraced} is in no results JSON, nor in run.json: {text[:80]!r}"


@pytest.mark.usefixtures("known_outputs")
def test_what_is_edited_in_a_card_after_it_was_rendered_is_found(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits: dict[str, Callable[[str], str]] = {
        "a value of the table": lambda text: text.replace("| 31.4% |", "| 41.4% |"),
        "the upper end of the interval": lambda text: text.replace("to 36.8%", "to 96.8%"),
        "a row": lambda text: text.replace("| metric |", "| recall | 99% | 98% to 99% | 260 | |\n| metric |"),
        "model-index": lambda text: text.replace("value: 0.3141", "value: 0.9141"),
        "the limits": lambda text: text.replace("## Limits\n", "## Limits\n\nNone: it is right in 99.7 % of cases.\n"),
    }
    rendered = publish_model.render_model_card
    for name, edit in edits.items():

        def edited(card: Any, edit: Callable[[str], str] = edit) -> str:
            text = edit(rendered(card))
            assert text != rendered(card)
            return text

        monkeypatch.setattr(publish_model, "render_model_card", edited)
        with pytest.raises(UnfitError) as raised:
            publish(of_clip(runs, results=(runs / "retrieval.json",)))
        assert {fault.kind for fault in raised.value.faults} == {"number"}, name
        assert len(raised.value.faults) == 1, name


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_refused_with_its_place_and_is_not_repeated(runs: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(runs / "clip", tmp_path / "clip")
    path = copy / "model" / "fusion_rsclip.py"
    path.write_text(path.read_text() + f"\n# {SECRETS[name]}\n")
    with pytest.raises(UnfitError) as raised:
        publish(publication(copy))
    line = len(path.read_text().splitlines())
    assert {(fault.place, fault.kind) for fault in raised.value.faults} == {(f"fusion_rsclip.py:{line}", "secret")}
    secret = SECRETS[name].split("'")[-2] if "'" in SECRETS[name] else SECRETS[name]
    assert secret not in str(raised.value)


def test_a_secret_in_the_metadata_of_the_weights_and_a_path_in_a_setting_are_refused(
    runs: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(runs / "clip", tmp_path / "clip") / "model"
    weights = load_file(copy / "model.safetensors")
    save_file(weights, copy / "model.safetensors", {"format": "pt", "by": SECRETS["hf"]})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "from": "/home/me/weights/clip"}))
    Image.new("L", (4, 4)).save(copy / "x.png", pnginfo=png_text("by", "me"))
    with pytest.raises(UnfitError) as raised:
        publish(publication(tmp_path / "clip"))
    assert [(fault.place, fault.kind) for fault in raised.value.faults] == [
        ("config.json:1", "machine_path"),
        ("model.safetensors", "secret"),
        ("x.png", "metadata"),
    ]
    assert "/home/me/weights/clip" in str(raised.value)


def png_text(key: str, value: str) -> PngInfo:
    info = PngInfo()
    info.add_text(key, value)
    return info


def test_a_token_in_a_name_is_refused_and_what_python_left_is_not_sent(runs: Path, tmp_path: Path) -> None:
    model = shutil.copytree(runs / "clip" / "model", tmp_path / "clip")
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "handler.cpython-311.pyc").write_bytes(b"\0")
    (model / f"hf_{'x' * 34}.txt").write_text("")
    weights = load_file(model / "model.safetensors")
    save_file({**weights, f"/home/me/{SECRETS['aws key']}": torch.ones(1)}, model / "model.safetensors")
    with pytest.raises(UnfitError) as raised:
        publish(publication(model, from_scratch=True, datasets=("ORG/fusionrs",)))
    kinds = [fault.kind for fault in raised.value.faults]
    assert kinds == ["secret", "secret", "machine_path"]


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("code ran",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model-2.safetensors", "vocab.txt", "notes.json", "photo.png"])
@pytest.mark.parametrize("protocol", [0, 2, 5, "torch"])
def test_a_pickle_is_refused_under_any_name(
    runs: Path, tmp_path: Path, name: str, protocol: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "clip"
    shutil.copytree(runs / "clip" / "model", model)
    if protocol == "torch":
        torch.save({"weight": torch.ones(2)}, model / name)
    else:
        (model / name).write_bytes(pickle.dumps(_Evil(), protocol=int(protocol)))
    with pytest.raises(UnfitError) as raised:
        publish(publication(model, from_scratch=True, datasets=("ORG/fusionrs",)))
    (fault,) = raised.value.faults
    assert fault.place == name
    assert fault.kind == "pickle" or (fault.kind == "form" and name == "model-2.safetensors" and protocol == 0)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from modeling_rsclip.towers_rsclip import shared_parameter_names", "'modeling_rsclip' is not there"),
        ("import pandas", "'pandas' is not there for whoever loads this"),
        ("from .missing_rsclip import Name", "`from .missing_rsclip import`: no module of that name lies beside it"),
        ("from . import towers_rsclip", "`from . import`: no module of that name lies beside it"),
        ("from ..processing import Scaling", "`from ..processing import`: no module"),
    ],
)
def test_code_that_users_cannot_import_is_refused_with_its_line(
    runs: Path, tmp_path: Path, line: str, found: str
) -> None:
    model = shutil.copytree(runs / "clip" / "model", tmp_path / "clip")
    path = model / "fusion_rsclip.py"
    path.write_text(path.read_text() + f"\n{line}\n")
    with pytest.raises(UnfitError) as raised:
        publish(publication(model, from_scratch=True, datasets=("ORG/fusionrs",)))
    (fault,) = raised.value.faults
    assert (fault.place, fault.kind) == (f"fusion_rsclip.py:{len(path.read_text().splitlines())}", "import")
    assert found in fault.detail


def test_code_of_another_repository_and_of_no_class_is_refused(runs: Path, tmp_path: Path) -> None:
    model = shutil.copytree(runs / "clip" / "model", tmp_path / "clip")
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] |= {"AutoModel": "other/repo--modeling_rsclip.RSCLIPModel", "AutoConfig": "modeling_rsclip.None"}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnfitError) as raised:
        publish(publication(model, from_scratch=True, datasets=("ORG/fusionrs",)))
    details = sorted(fault.detail for fault in raised.value.faults)
    assert details[0] == "AutoConfig is 'modeling_rsclip.None', and there is no such class in modeling_rsclip.py"
    assert details[1].endswith("code of another repository, at no fixed revision")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "what the model started from is not known: there is no run.json"),
        ({"from_scratch": True}, "what the model was trained on is not known"),
        ({"from_scratch": True, "base_model": ("a/b",)}, "exclude each other"),
        ({"from_scratch": True, "datasets": ("a/b",), "rgb": Path("x.png")}, "give --rgb, --infrared and"),
    ],
)
def test_what_a_card_must_say_is_asked_for(runs: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        publish(publication(runs / "clip" / "model", repo=REPO, **changes))


def test_names_of_folders_are_not_taken_for_names_on_the_hub(tmp_path: Path) -> None:
    run = save_run("clip", tmp_path / "clip", model={"source": "/home/me/georsclip"}, data={"path": "fusionrs"})
    with pytest.raises(
        ValueError, match=r"the run started from 'georsclip', which is no name on the Hub\. Give --base"
    ):
        publish(publication(run))
    with pytest.raises(
        ValueError, match=r"the run's data is 'fusionrs', which is no name on the Hub\. Give --datasets"
    ):
        publish(publication(run, base_model=("openai/clip-vit-base-patch32",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--license", "other"], "--license other needs --license-name and --license-link"),
        (["--license", "mit", "--grams-per-kwh", "3"], "--grams-per-kwh needs --watts"),
        (["--license", "mit", "--results-datasets", "x"], "it must be ID=ORG/NAME"),
        (["--license", "mit", "--tag", "v 1"], "tag is 'v 1'"),
        (["--license", "mit", "--datasets", "fusionrs"], "--datasets is 'fusionrs'; it must be a name on the Hub"),
        (["--license", "mit", "--base-model", "/home/me/x"], "--base-model is '/home/me/x'; it must be a name"),
    ],
)
def test_options_that_contradict_themselves_are_refused(
    runs: Path, capfd: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main(["model", str(runs / "clip"), "--repo", REPO, *options])
    assert message in " ".join(capfd.readouterr().err.replace("│", " ").split())


def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"is neither a run .* nor a saved model"):
        main(["model", str(tmp_path), "--repo", REPO, "--license", "mit"])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SystemExit, match="holds a 'bert'; wanted one of rsclip, rscaptioner, rstranslator"):
        main(["model", str(tmp_path), "--repo", REPO, "--license", "mit"])


@pytest.mark.usefixtures("known_outputs")
def test_metadata_that_the_hub_refuses_never_reach_main(runs: Path, hub: LoopbackHub, api: HfApi) -> None:
    with pytest.raises(HubError, match=r"the Hub refused \(400\): \"license\" must be one of .*'my-own'"):
        publish(of_clip(runs, license="my-own", push=True), api)
    assert hub.tree(REPO, kind="models") == {}


def space(folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    chosen = {"title": "Demo", "sdk": "gradio", "sdk_version": "6.31.0", "license": "apache-2.0", "models": [REPO]}
    text = yaml.safe_dump({**chosen, **settings})
    (folder / "README.md").write_text(f"---\n{text}---\n\n# Demo\n")
    (folder / "app.py").write_text("import gradio\nfrom PIL import Image\n\nimport pages\n")
    (folder / "pages.py").write_text("import json\n")
    (folder / "requirements.txt").write_text("pillow>=13.0\ntransformers\n")
    return folder


def test_a_space_is_checked_and_published_over_the_readme_that_the_hub_made(
    hub: LoopbackHub, api: HfApi, tmp_path: Path
) -> None:
    folder = space(tmp_path / "demo")
    publish(PublishSpace(path=folder, repo="ORG/demo", push=True), api)
    assert set(hub.tree("ORG/demo", kind="spaces")) == {
        "README.md",
        "app.py",
        "manifest.json",
        "pages.py",
        "requirements.txt",
    }
    history = list(hub.repository("ORG/demo", "spaces").history)
    publish(PublishSpace(path=folder, repo="ORG/demo", push=True), api)
    assert hub.repository("ORG/demo", "spaces").history == history
    (folder / "pages.py").rename(folder / "views.py")
    (folder / "app.py").write_text("import gradio\n\nimport views\n")
    with pytest.raises(HubError, match=r"holds 1 files of another version .*: pages\.py\. Give --overwrite-remote"):
        publish(PublishSpace(path=folder, repo="ORG/demo", push=True), api)
    (folder / "app.py").write_text(f"import model_cards\n# {SECRETS['hf']}\n")
    with pytest.raises(UnfitError, match=r"app\.py:2: secret"):
        publish(PublishSpace(path=folder, repo="ORG/demo"), api)
    (folder / "app.py").write_text("import model_cards\n")
    with pytest.raises(UnfitError, match=r"app\.py:1: import: 'model_cards' is not there"):
        publish(PublishSpace(path=folder, repo="ORG/demo"), api)
    with pytest.raises(UnfitError, match=r"README\.md metadata: sdk: 'streamlit'; wanted one of gradio"):
        publish(PublishSpace(path=space(tmp_path / "other", sdk="streamlit"), repo="ORG/demo"), api)


def test_the_front_matter_ends_where_the_hub_ends_it() -> None:
    assert front_matter("---\ntext: a ---\nb: 1\n---\nbody\n---\n") == ("text: a ---\nb: 1", "body\n---\n")


def test_the_commands_and_links_of_the_page_exist(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "publishing.md").read_text()
    seen: list[Any] = []
    monkeypatch.setattr("model_cards.publish.publish", seen.append)
    commands = [line for line in page.splitlines() if line.startswith("python -m model_cards.publish")]
    for command in commands:
        main(shlex.split(command)[3:])
    assert [type(what) for what in seen] == [PublishModel, PublishDataset, PublishSpace]
    assert not any(what.push for what in seen)
    assert model_cards.publish.__doc__ is not None
    with pytest.raises(SystemExit):
        main(["model", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= known
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / link).is_file(), link


@pytest.mark.usefixtures("known_outputs")
def test_headings_of_the_publishers_text_cannot_open_a_section_of_the_card(runs: Path, tmp_path: Path) -> None:
    for heading in ("## Limits", "# Results", "Limits\n---", "Limits\n==="):
        (tmp_path / "about.md").write_text(f"Text.\n\n{heading}\n\n95 % right.\n")
        with pytest.raises(ValueError, match="its headings must begin with ### or more"):
            publish(of_clip(runs, about=tmp_path / "about.md"))


@pytest.mark.usefixtures("known_outputs")
def test_an_example_of_the_publisher_needs_a_licence_and_one_channel(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "rgb.jpg")
    Image.new("I;16", (40, 30)).save(tmp_path / "infrared.tif")
    Image.new("F", (40, 30)).save(tmp_path / "float.tif")
    own = {"rgb": tmp_path / "rgb.jpg", "images_license": "CC-BY-4.0 (me | you)"}
    with pytest.raises(ValueError, match=r"float\.tif has the mode F; wanted one channel of 8 or 16 bits"):
        publish(of_clip(runs, infrared=tmp_path / "float.tif", **own))
    publish(of_clip(runs, infrared=tmp_path / "infrared.tif", output=tmp_path / "out", **own))
    copy = shutil.copytree(runs / "clip", tmp_path / "clip")
    (copy / "model" / "README.md").write_text("# Mine")
    publish(publication(copy))
    assert "note: README.md of the folder is not used" in capsys.readouterr().err
    assert Image.open(tmp_path / "out" / "examples" / "infrared.png").mode == "I;16"
    assert r"Licence of the images: CC-BY-4.0 (me \| you)." in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(FileExistsError, match="is not empty; choose another --output"):
        publish(of_clip(runs, output=tmp_path / "out"))
