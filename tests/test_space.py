"""The demo Space as a folder: what is assembled, what may not be in it, and that it can be published."""

import ast
import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from loopback_hub import LoopbackHub, impatient_client
from matplotlib import colormaps
from packaging.requirements import Requirement
from PIL import Image
from safetensors.torch import load_file
from simulated_dataset import build_simulated
from space_site import NAMES, ROWS, SCALING, SCENE_TILE, save_models
from transformers import AutoModel, AutoProcessor

import model_cards.space
from model_cards.publish import PublishSpace, publish
from model_cards.publish_fault import UnfitError
from model_cards.publish_space import space_metadata
from model_cards.retrieval_pipeline import CrossModalRetrievalPipeline
from model_cards.space import APP, SpaceConfig, assemble_space, gradio_version, main
from model_cards.space_data import choose_rows
from processing import load_infrared

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "space.md").read_text()
# Libraries that the published app imports, and which its requirements must bring.
IMPORTED = {"gradio", "PIL", "torch", "transformers", "safetensors", "numpy"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models, data, and the Space of them."""
    place = tmp_path_factory.mktemp("space")
    save_models(place)
    build_simulated(place / "fusionrs", 8 * ROWS, size=64)
    assemble_space(config(place, place / "demo_space"))
    return place


def config(place: Path, output: Path, **changes: Any) -> SpaceConfig:
    values = {
        "clip": str(place / "clip"),
        "captioner": str(place / "captioner"),
        "data": place / "fusionrs",
        "output": output,
        "rows": ROWS,
        "scene_tile": SCENE_TILE,
    }
    return SpaceConfig(**{**values, **changes})


@pytest.fixture
def named(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same Space from names on the Hub, which are looked up in the folders."""
    for function in ("load_gallery_model", "check_captioner"):
        original = getattr(model_cards.space, function)

        def look_up(name: str, revision: str | None, original: Any = original) -> Any:
            folder = place / name.split("/")[1]
            return original(str(folder) if name in NAMES.values() else name, None)

        monkeypatch.setattr(model_cards.space, function, look_up)
    changes = {**NAMES, "clip_revision": "ab" * 20}
    return assemble_space(config(place, tmp_path / "named", **changes))


def data_rows(place: Path) -> dict[str, dict[str, Any]]:
    shards = sorted((place / "fusionrs" / "data").glob("test-*.parquet"))
    return {row["id"]: row for shard in shards for row in pq.read_table(shard).to_pylist()}


def gallery_rows(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "gallery.json").read_text()))


def test_the_gallery_is_rows_of_the_test_split_with_their_embeddings(place: Path) -> None:
    folder, data = place / "demo_space", data_rows(place)
    listed = gallery_rows(folder)
    assert len(listed) == len({row["id"] for row in listed}) == min(ROWS, len(data))
    rows = [data[row["id"]] for row in listed]
    for row, shown in zip(rows, listed, strict=True):
        assert shown["caption"] == row["captions"][0]
        assert shown["infrared_caption"] == row["infrared_captions"][0]
        assert (shown["license"], shown["infrared_origin"]) == ("Apache-2.0", "simulated")
        assert Image.open(folder / shown["rgb"]).size == Image.open(folder / shown["infrared"]).size == (64, 64)
        wanted = load_infrared(row["infrared"]["bytes"], scaling=SCALING).pixels
        assert np.abs(np.asarray(Image.open(folder / shown["infrared"])) / 255 - wanted).mean() < 0.02
    run = CrossModalRetrievalPipeline(
        model=AutoModel.from_pretrained(place / "clip").eval(), processor=AutoProcessor.from_pretrained(place / "clip")
    )
    pairs = [{"image": row["rgb"]["bytes"], "infrared": row["infrared"]["bytes"]} for row in rows]
    found = load_file(folder / "gallery.safetensors")
    assert set(found) == {"fused", "rgb", "infrared"}
    torch.testing.assert_close(found["fused"], run.embed(pairs))
    torch.testing.assert_close(found["rgb"], run.embed([{"image": pair["image"]} for pair in pairs]))
    torch.testing.assert_close(found["infrared"], run.embed([{"infrared": pair["infrared"]} for pair in pairs]))
    assert not torch.equal(found["rgb"], found["infrared"])


def test_classes_take_turns(place: Path) -> None:
    classes = [row["class_name"] for row in gallery_rows(place / "demo_space")]
    different = {row["class_name"] for row in data_rows(place).values()}
    first = min(len(different), len(classes))
    assert len(set(classes[:first])) == first


def test_examples_keep_their_sixteen_bits_and_the_scene_says_that_it_is_simulated(place: Path) -> None:
    folder, data = place / "demo_space", data_rows(place)
    settings = json.loads((folder / "space.json").read_text())
    for example, row in zip(settings["examples"], gallery_rows(folder)[:3], strict=True):
        kept = Image.open(folder / "examples" / example["infrared"])
        original = place / "original.png"
        original.write_bytes(data[row["id"]]["infrared"]["bytes"])
        assert kept.mode == "I;16"
        assert np.array_equal(np.asarray(kept), np.asarray(Image.open(original)))
    rgb, infrared = (Image.open(folder / "scene" / name) for name in ("rgb.jpg", "infrared.png"))
    assert rgb.size == infrared.size == (4 * SCENE_TILE, 3 * SCENE_TILE)
    assert infrared.mode == "I;16"
    assert "**simulated**" in settings["scene_note"]
    assert "no temperature" in settings["scene_note"]
    assert "The large scene is simulated." in (folder / "README.md").read_text()


def change_column(folder: Path, name: str, change: Any) -> Path:
    """A copy of a dataset with one column of its test rows changed."""
    copy = shutil.copytree(folder, folder.parent / f"changed_{name}", dirs_exist_ok=True)
    for shard in (copy / "data").glob("test-*.parquet"):
        table = pq.read_table(shard)
        values = [change(number, value) for number, value in enumerate(table[name].to_pylist())]
        place = table.column_names.index(name)
        pq.write_table(
            table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type)), shard
        )
    return copy


def test_rows_whose_licence_forbids_it_are_not_handed_on(place: Path) -> None:
    count = len(data_rows(place))
    some = change_column(place / "fusionrs", "license", lambda number, value: value if number % 2 else "unknown")
    kept = choose_rows(some, 100)
    assert len(kept) == count // 2
    assert {row.facts["license"] for row in kept} == {"Apache-2.0"}
    none = change_column(place / "fusionrs", "license", lambda number, value: "all rights reserved")
    with pytest.raises(
        ValueError, match=rf"has 0 test rows that may be handed on; wanted at least 3.* {count} under 'all r"
    ):
        choose_rows(none, 100)
    # A translation is made from the RGB image, which this licence forbids.
    translated = change_column(none, "infrared_origin", lambda number, value: "translated:unet@1")
    forbids = change_column(translated, "license", lambda number, value: "cc-by-nd-4.0")
    with pytest.raises(ValueError, match=f"{count} under 'cc-by-nd-4.0'"):
        choose_rows(forbids, 100)


def test_a_row_that_the_model_cannot_read_is_named_and_nothing_is_left(place: Path, tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.new("I;16", (8, 8)).save(small, "PNG")
    bad = change_column(
        place / "fusionrs",
        "infrared",
        lambda number, value: {**value, "bytes": small.getvalue()} if number == 0 else value,
    )
    with pytest.raises(ValueError, match=r"^row simulator:0-\d{7}: infrared image \[too_small\]: got 8 x 8 pixels"):
        assemble_space(config(place, tmp_path / "out", data=bad, rows=100))
    assert list(tmp_path.iterdir()) == []


def test_a_space_of_names_is_published_and_names_its_models_and_revisions(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = space_metadata(named)
    assert metadata["models"] == ["ORG/clip", "ORG/captioner"]
    assert (metadata["sdk"], metadata["sdk_version"], metadata["license"]) == ("gradio", gradio_version(), "apache-2.0")
    settings = json.loads((named / "space.json").read_text())
    assert settings["clip"] == {"name": "ORG/clip", "revision": "ab" * 20}
    assert settings["captioner"] == {"name": "ORG/captioner", "revision": None}
    assert publish(PublishSpace(path=named, repo="ORG/demo")) is None
    assert "nothing was sent" in capsys.readouterr().err
    with LoopbackHub(tmp_path / "hub") as hub:
        publish(PublishSpace(path=named, repo="ORG/demo", push=True), impatient_client(hub, monkeypatch))
        there = set(hub.tree("ORG/demo", kind="spaces"))
    here = {path.relative_to(named).as_posix() for path in named.rglob("*") if path.is_file()}
    assert there == here | {"manifest.json"}
    assert {"app.py", "requirements.txt", "style.css", "gallery.safetensors", "scene/infrared.png"} <= there


def test_a_space_of_folders_cannot_be_published(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnfitError) as raised:
        publish(PublishSpace(path=place / "demo_space", repo="ORG/demo"))
    faults = {(fault.place.partition(":")[0], fault.kind, fault.detail) for fault in raised.value.faults}
    assert ("README.md metadata", "missing", "models") in faults
    assert ("space.json", "machine_path", str(place / "clip")) in faults


@pytest.mark.usefixtures("named")
def test_a_name_beside_a_folder_is_not_declared(place: Path, tmp_path: Path) -> None:
    mixed = assemble_space(config(place, tmp_path / "mixed", clip=NAMES["clip"]))
    assert "models" not in space_metadata(mixed)


def test_requirements_bring_what_the_app_imports_and_a_pillow_of_their_own(place: Path) -> None:
    lines = (APP / "requirements.txt").read_text().splitlines()
    wanted = {found.name: found for found in map(Requirement, (line for line in lines if line[0] != "#"))}
    assert not wanted["pillow"].specifier.contains("13.0.0")
    assert wanted["pillow"].specifier.contains("12.3.0")
    assert "Gradio refuses Pillow 13" in " ".join(lines)
    core = (ROOT / "pyproject.toml").read_text()
    assert '"pillow>=13.0"' in core
    assert '"gradio' not in core.split("[tool.")[0]
    for name in ("torch", "transformers", "safetensors", "numpy", "simplejpeg"):
        assert f'"{wanted[name]}"' in core, name
    trees = [ast.parse(path.read_text()) for path in APP.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    roots = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    roots |= {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    own = {path.stem for path in APP.glob("*.py")}
    assert roots - own - set(sys.stdlib_module_names) == IMPORTED
    pinned = (ROOT / "model_cards" / "space_constraints.txt").read_text()
    assert f"gradio=={gradio_version()}\n" in pinned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": "clip"}, r"--clip is 'clip'; wanted ORG/NAME on the Hub, or a folder that is there"),
        ({"captioner": "/nowhere/model"}, "--captioner is '/nowhere/model'"),
        ({"clip_revision": "main"}, "is a folder, which has no revisions; drop --clip-revision"),
        ({"data": Path("nowhere")}, "--data is nowhere, which is no folder"),
        ({"rows": 2}, "--rows is 2; wanted at least 3"),
        ({"scene_tile": 31}, "--scene-tile is 31; wanted one of 32, 48"),
    ],
)
def test_options_that_cannot_work_are_refused(
    place: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(place, tmp_path / "out", **changes)


def test_what_cannot_be_assembled_is_refused_before_anything_is_written(place: Path, tmp_path: Path) -> None:
    swapped = {"clip": str(place / "captioner"), "captioner": str(place / "clip")}
    with pytest.raises(ValueError, match="is a 'rsclip'; wanted a 'rscaptioner'"):
        assemble_space(config(place, tmp_path / "out", **swapped))
    bare = shutil.copytree(place / "clip", tmp_path / "bare")
    about = json.loads((bare / "config.json").read_text())
    del about["custom_pipelines"]
    (bare / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"brings no pipeline 'rgb-infrared-classification'\. Publish it with"):
        assemble_space(config(place, tmp_path / "out", clip=str(bare)))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty; choose another --output"):
        assemble_space(config(place, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_command_says_what_it_made_and_that_folders_stay_here(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--{name}={place / name}" for name in NAMES]
    options += [f"--data={place / 'fusionrs'}", f"--output={tmp_path / 'out'}", "--rows=3", "--scene-tile=32"]
    main(options)
    found = capsys.readouterr()
    assert found.out.splitlines()[-1].endswith(f"run it with: python {tmp_path / 'out' / 'app.py'}")
    assert "so this cannot be published" in found.err
    with pytest.raises(SystemExit, match=r"FileExistsError: .* is not empty"):
        main(options)


def of_the_app(name: str) -> Any:
    """A module of the app that needs no Gradio."""
    spec = importlib.util.spec_from_file_location(name, APP / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_colours_of_the_heat_map_are_those_of_inferno() -> None:
    places = np.linspace(0, 1, 253)
    found = of_the_app("heat_overlay").colour_map(places[None])[0].astype(float)
    wanted = 255 * colormaps["inferno"](places)[:, :3]
    assert np.abs(found - wanted).max() < 12
    assert np.abs(found[::28] - wanted[::28]).max() < 1.6


def test_an_overlay_is_strongest_where_the_heat_is_and_frames_the_best_window() -> None:
    heat = np.zeros((60, 80))
    heat[30:, 40:] = 1.0
    scene = Image.new("RGB", (40, 30), (100, 100, 100))  # half as large as its heat map
    found = np.asarray(of_the_app("heat_overlay").overlay(scene, heat, (40, 30, 80, 60)), dtype=float)
    assert found.shape == (30, 40, 3)
    assert found[15, 30].tolist() == [255, 255, 255]
    assert found[29, 39].tolist() == [255, 255, 255]
    assert found[5, 5] == pytest.approx(0.75 * 100 + 0.25 * np.array([0, 0, 4]), abs=1.5)
    assert found[22, 30] == pytest.approx(0.25 * 100 + 0.75 * np.array([252, 255, 164]), abs=1.5)


def test_texts_of_users_and_of_data_are_escaped() -> None:
    parts, evil = of_the_app("page_parts"), '<img src=x onerror="alert(1)">'
    names = ("id", "license", "attribution", "infrared_origin", "caption", "infrared_caption")
    pictures = {"rgb": "data:,", "infrared": "data:,"}
    found = parts.bars([{"label": evil, "score": 0.5}]) + parts.hit(dict.fromkeys(names, evil), pictures, 0.25)
    assert found.count("&lt;img") == 11
    assert "<img src=x" not in found
    assert 'onerror="' not in found


def test_the_commands_and_links_of_the_page_are_right(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
    seen: list[SpaceConfig] = []
    monkeypatch.setattr(model_cards.space, "assemble_space", lambda what: seen.append(what) or Path("demo_space"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fusionrs").mkdir()
    for line in lines:
        if line.startswith("python -m model_cards.space "):
            main(shlex.split(line)[3:])
    assert [what.clip for what in seen] == ["ORG/rsclip-vit-b-32"]
    assert any(line.startswith("python -m model_cards.publish space demo_space --repo ") for line in lines)
    assert any(line.endswith("/python demo_space/app.py") for line in lines)
    assert f"gradio=={gradio_version()}" not in PAGE  # one place for the version
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
