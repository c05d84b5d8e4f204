"""Saved processors load in a fresh process, offline, without this repository, and give the same tensors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from processing_fixtures import make_scene, make_tokenizer

from processing import RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor

FOLDER = Path(__file__).parent.parent / "processing"
IMAGE_SETTINGS: dict[str, Any] = {
    "size": {"shortest_edge": 40},
    "crop_size": {"height": 32, "width": 36},
    "infrared_scaling": {"rule": "window", "low": 10.0, "high": 200.0},
    "infrared_mean": [0.4, 0.5, 0.6],
    "infrared_std": [0.1, 0.2, 0.3],
    "infrared_band": "mwir",
    "polarity": "black_hot",
    "nodata": 255,
    "colour_infrared": "luminance",
    "rgb_range": [0.0, 1000.0],
    "size_mismatch": "resample_infrared",
    "paired": False,
}
FRESH = """
import sys

class RefusePackages:
    '''The package may be installed here; on a user's machine it is not.'''
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("processing", "modeling_rsclip"):
            raise ImportError(name)

sys.meta_path.insert(0, RefusePackages())
import torch
from transformers import {auto}
processor = {auto}.from_pretrained(sys.argv[1], trust_remote_code=True)
assert type(processor).__module__.startswith("transformers_modules."), type(processor)
scene = torch.load(sys.argv[2])
torch.save(dict(processor({call})), sys.argv[3])
"""


def call_in_a_fresh_process(auto: str, call: str, saved: Path, work: Path) -> dict[str, torch.Tensor]:
    torch.save(torch.from_numpy(make_scene()), work / "scene.pt")
    (work / "empty").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(work / "home"),
        "OMP_NUM_THREADS": "1",
    }
    script = FRESH.format(auto=auto, call=call)
    command = [sys.executable, "-I", "-c", script, str(saved), str(work / "scene.pt"), str(work / "out.pt")]
    done = subprocess.run(command, cwd=work / "empty", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(torch.load(work / "out.pt"))


def make_clip() -> RSCLIPProcessor:
    return RSCLIPProcessor(
        RSImageProcessor(**IMAGE_SETTINGS), make_tokenizer(), text_padding="max_length", max_text_length=20
    )


def make_captioner() -> RSCaptionerProcessor:
    return RSCaptionerProcessor(
        RSImageProcessor(**IMAGE_SETTINGS),
        make_tokenizer(appends_eos=False),
        num_image_tokens=6,
        infrared_token="<heat>",
        chat_template="{{ messages[0]['content'] }}",
    )


CALLS = {
    "AutoImageProcessor": "images=[scene], infrared=[scene[..., 0]]",
    "AutoProcessor": "images=[scene], infrared=[scene[..., 0]], text=['ships'], infrared_text=['warm ships']",
    "AutoProcessor of the captioner": (
        "images=[scene], infrared=[scene[..., 0]], text=['<heat> and <image>'], suffix=['ships']"
    ),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_fresh_process_gives_the_same_tensors(kind: str, tmp_path: Path) -> None:
    makers = {"AutoImageProcessor": lambda: RSImageProcessor(**IMAGE_SETTINGS), "AutoProcessor": make_clip}
    processor = makers.get(kind, make_captioner)()
    processor.save_pretrained(tmp_path / "saved")
    fresh = call_in_a_fresh_process(kind.split()[0], CALLS[kind], tmp_path / "saved", tmp_path)
    scene = torch.from_numpy(make_scene())
    here = dict(eval(f"processor({CALLS[kind]})", {"processor": processor, "scene": scene}))
    assert set(fresh) == set(here)
    assert all(torch.equal(fresh[name], here[name]) for name in here)


def test_the_image_processor_alone_loads_out_of_a_saved_processor(tmp_path: Path) -> None:
    processor = make_clip()
    processor.save_pretrained(tmp_path / "saved")
    call = CALLS["AutoImageProcessor"]
    fresh = call_in_a_fresh_process("AutoImageProcessor", call, tmp_path / "saved", tmp_path)
    scene = torch.from_numpy(make_scene())
    here = processor.image_processor(images=[scene], infrared=[scene[..., 0]])
    assert all(torch.equal(fresh[name], here[name]) for name in here)


def test_all_settings_are_in_the_saved_configuration(tmp_path: Path) -> None:
    make_captioner().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["auto_map"] == {"AutoProcessor": "processing_rscaptioner.RSCaptionerProcessor"}
    assert (saved["num_image_tokens"], saved["image_token"], saved["infrared_token"]) == (6, "<image>", "<heat>")
    for name, value in IMAGE_SETTINGS.items():
        assert saved["image_processor"][name] == value, name
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"


def test_settings_survive_a_round_trip(tmp_path: Path) -> None:
    first = RSImageProcessor(**IMAGE_SETTINGS)
    first.save_pretrained(tmp_path)
    second = RSImageProcessor.from_pretrained(tmp_path)
    for name in RSImageProcessor.valid_kwargs.__annotations__:
        assert getattr(first, name) == getattr(second, name), name


def test_the_clip_processor_keeps_its_text_settings(tmp_path: Path) -> None:
    make_clip().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert (saved["text_padding"], saved["max_text_length"]) == ("max_length", 20)
    assert saved["auto_map"] == {"AutoProcessor": "processing_rsclip.RSCLIPProcessor"}


def test_the_saved_folder_is_flat_and_holds_every_file_it_imports(tmp_path: Path) -> None:
    make_captioner().save_pretrained(tmp_path)
    code = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    assert "processing_rscaptioner.py" in code
    for name, text in code.items():
        assert text == (FOLDER / name).read_text()
        for sibling in re.findall(r"^\s*from \.(\w+) import", text, re.MULTILINE):
            assert f"{sibling}.py" in code, f"{name} imports {sibling}"


def test_file_names_end_as_the_flat_upload_needs() -> None:
    names = [path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    assert names
    assert all(name.endswith(("_rsclip", "_rscaptioner")) for name in names)
    models = {path.stem for path in (FOLDER.parent / "modeling_rsclip").glob("*.py")} - {"__init__"}
    assert not models & set(names)
