"""The U-Net from RGB to infrared: any size, gradients everywhere, learning, saving, remote code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from modeling_rsclip import RSTranslatorConfig, RSTranslatorModel
from modeling_rsclip.modeling_rstranslator import _pad_by_reflection
from processing import RSImageProcessor

TINY: dict[str, Any] = {"base_channels": 8, "max_channels": 16, "depth": 2, "norm_groups": 4}

# A user's machine, on which our packages cannot be imported.
REFUSE_PACKAGES = """
import sys
from importlib.abc import MetaPathFinder

class RefusePackages(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in ("modeling_rsclip", "processing", "dataset_scripts"):
            raise ModuleNotFoundError(f"refused by the test: {fullname}", name=fullname)

sys.meta_path.insert(0, RefusePackages())
"""
REMOTE_USER = (
    REFUSE_PACKAGES
    + """
import torch
from transformers import AutoModel

torch.set_num_threads(1)
folder, again, results = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
with torch.no_grad():
    out = model(pixel_values=torch.linspace(0, 1, 3 * 21 * 13).reshape(1, 3, 21, 13))
model.save_pretrained(again)
torch.save({"infrared": out.infrared, "class": f"{type(model).__module__}.{type(model).__name__}"}, results)
"""
)


def build(seed: int = 0, **fields: Any) -> RSTranslatorModel:
    torch.manual_seed(seed)
    return RSTranslatorModel(RSTranslatorConfig(**{**TINY, **fields})).eval()


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 4), (16, 16), (17, 31), (1, 40)])
def test_any_size_comes_back_in_the_same_geometry_and_between_0_and_1(height: int, width: int) -> None:
    infrared = build()(images(2, 3, height, width)).infrared
    assert infrared.shape == (2, 1, height, width)
    assert infrared.dtype == torch.float32
    assert (infrared >= 0).all()
    assert (infrared <= 1).all()


def test_padding_mirrors_the_image_as_numpy_does_however_small_it_is() -> None:
    for height, width, multiple in ((3, 5, 4), (2, 2, 16), (1, 7, 8), (9, 16, 16)):
        x = images(1, 3, height, width)
        wanted = np.pad(x.numpy(), ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)), mode="reflect")
        assert torch.equal(_pad_by_reflection(x, multiple), torch.from_numpy(wanted)), (height, width)


def test_an_image_padded_by_hand_gives_the_same_pixels_as_the_image_itself() -> None:
    model, x = build(), images(1, 3, 10, 13)
    by_hand = torch.nn.functional.pad(x, (0, 3, 0, 2), mode="reflect")
    assert torch.equal(model(by_hand).infrared[..., :10, :13], model(x).infrared)


def test_the_images_of_a_batch_do_not_see_each_other() -> None:
    model, x = build(), images(3, 3, 12, 12)
    torch.testing.assert_close(model(x).infrared[1:2], model(x[1:2]).infrared, atol=1e-5, rtol=0)
    changed = x.clone()
    changed[0] = 0
    assert torch.equal(model(changed).infrared[1:], model(x).infrared[1:])


def test_the_loss_is_the_mean_absolute_error() -> None:
    model, x, target = build(), images(2, 3, 9, 8), images(2, 1, 9, 8, seed=2)
    out = model(x, infrared_values=target)
    assert out.loss.item() == pytest.approx((out.infrared - target).abs().mean().item(), rel=1e-6)
    assert out[0] is out.loss
    assert model(x).loss is None
    loss, infrared = model(x, infrared_values=target, return_dict=False)
    assert torch.equal(loss, out.loss)
    assert torch.equal(infrared, out.infrared)


@pytest.mark.parametrize("fields", [{}, {"depth": 0}, {"depth": 3, "blocks_per_level": 2, "max_channels": 32}])
def test_every_parameter_gets_a_gradient(fields: dict[str, Any]) -> None:
    model = build(**fields).train()
    model(images(2, 3, 16, 16), infrared_values=torch.zeros(2, 1, 16, 16)).loss.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_a_few_steps_learn_the_inverse_of_luminance() -> None:
    model = build().train()
    x = images(4, 3, 16, 16)
    target = 1 - (0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:])
    constant = (target - target.mean()).abs().mean().item()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model(x, infrared_values=target).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * constant  # an answer of one grey has no part of the image


def test_bfloat16_weights_give_float32_pixels_close_to_those_of_float32() -> None:
    model, x = build(), images(1, 3, 16, 16)
    exact = model(x).infrared
    rounded = model.to(torch.bfloat16)(x).infrared
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("shape", "target", "message"),
    [
        ((3, 8, 8), None, r"pixel_values have the shape \(3, 8, 8\); wanted RGB images \(batch, 3, height, width\)"),
        ((1, 1, 8, 8), None, r"pixel_values have the shape \(1, 1, 8, 8\)"),
        ((1, 3, 0, 8), None, r"pixel_values have the shape \(1, 3, 0, 8\)"),
        ((2, 3, 8, 8), (2, 3, 8, 8), r"infrared_values have the shape \(2, 3, 8, 8\); wanted \(2, 1, 8, 8\)"),
        ((2, 3, 8, 8), (1, 1, 8, 8), r"infrared_values have the shape \(1, 1, 8, 8\); wanted \(2, 1, 8, 8\)"),
    ],
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...], target: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(shape), infrared_values=None if target is None else torch.zeros(target))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm_groups": 3}, r"norm_groups=3 does not divide the width 8; the levels have \[8, 16, 16\] channels"),
        ({"depth": 11}, "depth=11; it must lie in 0..10"),
        ({"base_channels": 0}, "base_channels=0; it must be at least 1"),
        ({"output_bits": 12}, "output_bits"),
        ({"output_window": [0.0, 256.0]}, r"output_window=\[0.0, 256.0\]; it must be .* in 0..255, what output_bits=8"),
        ({"output_window": [9.0, 9.0]}, "it must be a lower and a higher pixel value"),
        ({"output_window": [9.0]}, "it must be a lower and a higher pixel value"),
        ({"output_window": [0.0, float("nan")]}, "it must be a lower and a higher pixel value"),
        ({"infrared_band": "sonar"}, "infrared_band"),
    ],
)
def test_impossible_configurations_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StrictDataclassError, match=message):
        RSTranslatorConfig(**{**TINY, **fields})


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, [0, 0, 128, 255, 255]),
        ({"output_bits": 16}, [0, 0, 32768, 65535, 65535]),
        ({"output_bits": 16, "output_window": [2000.0, 6000.0]}, [2000, 2000, 4000, 6000, 6000]),
    ],
)
def test_pixels_are_rounded_counts_of_the_sensor(fields: dict[str, Any], wanted: list[int]) -> None:
    assert build(**fields).to_pixels(torch.tensor([-0.5, 0.0, 0.50001, 1.0, 2.0])).tolist() == wanted


@pytest.mark.parametrize("bits", [8, 16])
def test_every_pixel_value_survives_the_way_through_0_to_1(bits: int) -> None:
    levels = torch.arange(2**bits)
    assert torch.equal(build(output_bits=bits).to_pixels(levels / (2**bits - 1)).long(), levels)


def test_a_saved_model_loads_again_bit_for_bit_in_safetensors(tmp_path: Path) -> None:
    model, x = build(output_bits=16), images(1, 3, 11, 14)
    model.save_pretrained(tmp_path / "translator")
    again = AutoModel.from_pretrained(tmp_path / "translator")
    assert type(again) is RSTranslatorModel
    assert again.config.output_bits == 16
    assert AutoConfig.from_pretrained(tmp_path / "translator").level_channels == [8, 16, 16]
    assert torch.equal(again(x).infrared, model(x).infrared)
    files = {path.name for path in (tmp_path / "translator").iterdir()}
    assert {"model.safetensors", "config.json", "modeling_rstranslator.py", "configuration_rstranslator.py"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt"))]


def test_a_checkpoint_without_some_weights_is_refused(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path / "translator")
    state = load_file(tmp_path / "translator" / "model.safetensors")
    del state["conv_out.weight"]
    save_file(state, tmp_path / "translator" / "model.safetensors", {"format": "pt"})
    with pytest.raises(OSError, match=r"lacks 1 weights of RSTranslatorModel \(conv_out.weight\)"):
        RSTranslatorModel.from_pretrained(tmp_path / "translator")


def run_alone(folder: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh process: offline, in an empty folder, with a Hugging Face home of its own."""
    (folder / "empty").mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-I", "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder / "empty", env=environment, capture_output=True, text=True)


@pytest.fixture
def use_remotely(tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    def use(folder: Path) -> dict[str, Any]:
        process, results = tmp_path / f"process_{folder.name}", tmp_path / f"{folder.name}.pt"
        done = run_alone(process, REMOTE_USER, folder, tmp_path / f"{folder.name}_again", results)
        assert done.returncode == 0, done.stderr
        return dict(torch.load(results))

    return use


REMOTE_TRANSLATION = (
    REFUSE_PACKAGES
    + """
import numpy as np, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

torch.set_num_threads(1)
folder, rgb, results = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
with torch.no_grad(), Image.open(rgb) as image:
    infrared = model(**processor(images=image)).infrared
Image.fromarray(model.to_pixels(infrared)[0, 0].numpy().astype(np.uint16)).save(results)
"""
)


def test_an_image_becomes_counts_of_the_sensor_on_a_machine_of_a_user(tmp_path: Path) -> None:
    model = build(output_bits=16, output_window=[100.0, 4000.0])
    model.save_pretrained(tmp_path / "translator")
    plain = {"do_resize": False, "do_center_crop": False, "do_normalize": False}
    RSImageProcessor(**plain, infrared_scaling={"rule": "window", "low": 100, "high": 4000}).save_pretrained(
        tmp_path / "translator"
    )
    rgb = np.random.default_rng(0).integers(0, 256, (21, 33, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    made = tmp_path / "infrared.png"
    done = run_alone(tmp_path / "process", REMOTE_TRANSLATION, tmp_path / "translator", tmp_path / "rgb.png", made)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        ours = model.to_pixels(model(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255).infrared)[0, 0]
    with Image.open(made) as found:
        assert found.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(found), ours.numpy())
    assert ours.float().std() > 1


def test_remote_code_gives_the_same_pixels_and_what_it_saves_loads_again(
    tmp_path: Path, use_remotely: Callable[[Path], dict[str, Any]]
) -> None:
    model = build()
    model.save_pretrained(tmp_path / "translator")
    x = torch.linspace(0, 1, 3 * 21 * 13).reshape(1, 3, 21, 13)
    with torch.no_grad():
        ours = model(x).infrared
    first = use_remotely(tmp_path / "translator")
    second = use_remotely(tmp_path / "translator_again")
    for found in (first, second):
        assert torch.equal(found["infrared"], ours)
        assert found["class"].startswith("transformers_modules.translator")
        assert found["class"].endswith(".modeling_rstranslator.RSTranslatorModel")
    auto_map = json.loads((tmp_path / "translator_again" / "config.json").read_text())["auto_map"]
    assert auto_map == RSTranslatorModel.hub_auto_map
