"""Adapters of PEFT on remote-code models: they train, reload and merge; a merged model is a remote-code repository."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import IMAGE_TOKEN
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import dynamic_module_utils

from modeling_rsclip import RSCaptionerForConditionalGeneration, RSCLIPModel

# PEFT asks for it by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

Batch = dict[str, torch.Tensor]
LoadRemote = Callable[[str, Path], Any]
EMBEDDINGS = ("text_embeds", "image_embeds", "infrared_embeds", "fused_embeds")
ATTENTION_OF_INFRARED = r"infrared_model\..*\.(q|v)_proj"
ADAPTERS: dict[str, PeftConfig] = {
    "lora": LoraConfig(r=4, target_modules=ATTENTION_OF_INFRARED),
    "lora on all linear layers": LoraConfig(r=4, target_modules="all-linear"),
    "lora with a patch embedding": LoraConfig(
        r=4, target_modules=["q_proj"], modules_to_save=["patch_embedding", "infrared_projection"]
    ),
    "dora": LoraConfig(r=4, target_modules=["q_proj", "v_proj", "fc1"], use_dora=True),
    "ia3": IA3Config(target_modules=["k_proj", "v_proj", "fc2"], feedforward_modules=["fc2"]),
}
CAPTIONER_ADAPTER = LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", modules_to_save=["projector"])


@pytest.fixture(scope="module")
def load_remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadRemote]:
    """Loads a folder with the code that lies in it, as an Auto class does where our packages are not installed."""
    modules = str(tmp_path_factory.mktemp("modules"))
    before = {name: module for name, module in sys.modules.items() if name.startswith("transformers_modules")}
    for name in before:
        del sys.modules[name]

    def load(auto: str, folder: Path) -> Any:
        target = json.loads((folder / "config.json").read_text())["auto_map"][auto]
        model_class = dynamic_module_utils.get_class_from_dynamic_module(target, folder)
        model_class.register_for_auto_class(auto)
        assert model_class.__module__.startswith("transformers_modules.")
        return model_class.from_pretrained(folder).eval()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", modules)
        # Before the folder that another file's tests may have added: transformers appends.
        patch.setattr(sys, "path", [modules, *sys.path])
        yield load
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def save_clip(tiny_clip: Callable[..., RSCLIPModel], tmp_path: Path) -> Callable[[str], Path]:
    """Saves a model with this infrared tower, none of whose weights is where it started."""

    def save(tower: str) -> Path:
        model = tiny_clip(infrared_tower=tower, fusion="attention")
        move_weights(model)
        model.save_pretrained(tmp_path / "base")
        return tmp_path / "base"

    return save


def move_weights(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("logit_scale"):
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)


def train(model: PeftModel, batch: dict[str, Any]) -> None:
    """A few steps; whatever is trainable moves and whatever is frozen does not."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert trainable != set(before)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model.train()
    for _ in range(3):  # LoRA's first factor has no gradient before the second has moved
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == trainable


def embed(model: Any, batch: Batch) -> Batch:
    with torch.no_grad():
        out = model(**{name: value for name, value in batch.items() if name != "return_loss"})
    return {name: out[name] for name in EMBEDDINGS}


def assert_close(actual: Batch, expected: Batch, tolerance: float) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=tolerance, msg=lambda text, name=name: name + text)


def assert_differ(actual: Batch, expected: Batch, names: set[str]) -> None:
    """Exactly these moved, by more than a merge may be off."""
    moved = {name for name, value in expected.items() if (actual[name] - value).abs().max() > 1e-3}
    assert moved == names


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_trains_reloads_and_merges(
    kind: str, save_clip: Callable[[str], Path], load_remote: LoadRemote, triplet: Batch, tmp_path: Path
) -> None:
    base = save_clip("separate")
    batch: dict[str, Any] = {**triplet, "return_loss": True}
    torch.manual_seed(0)
    untouched = embed(load_remote("AutoModel", base), batch)
    model = get_peft_model(load_remote("AutoModel", base), copy.deepcopy(ADAPTERS[kind]))
    train(model, batch)
    adapted = embed(model, batch)
    only_infrared = {"infrared_embeds", "fused_embeds"}
    assert_differ(adapted, untouched, only_infrared if kind == "lora" else set(EMBEDDINGS))

    model.save_pretrained(tmp_path / "adapter")
    assert sorted(path.suffix for path in (tmp_path / "adapter").iterdir()) == [".json", ".md", ".safetensors"]
    reloaded = PeftModel.from_pretrained(load_remote("AutoModel", base), tmp_path / "adapter").eval()
    assert_close(embed(reloaded, batch), adapted, 1e-7)
    assert_close(embed(reloaded.merge_and_unload(), batch), adapted, 1e-5)


def test_an_adapter_of_shared_attention_is_shared_by_both_modalities(
    save_clip: Callable[[str], Path], load_remote: LoadRemote, triplet: Batch, tmp_path: Path
) -> None:
    base = save_clip("adapted")
    batch: dict[str, Any] = {**triplet, "return_loss": True}
    torch.manual_seed(0)
    untouched = embed(load_remote("AutoModel", base), batch)
    adapter = LoraConfig(r=4, target_modules=r"vision_model\..*\.self_attn\.(q|v)_proj")
    model = get_peft_model(load_remote("AutoModel", base), adapter)
    vision, infrared = model.base_model.model.vision_model, model.base_model.model.infrared_model
    for ours, theirs in zip(vision.encoder.layers, infrared.encoder.layers, strict=True):
        assert ours.self_attn.q_proj.lora_B is theirs.self_attn.q_proj.lora_B
    train(model, batch)
    adapted = embed(model, batch)
    assert_differ(adapted, untouched, {"image_embeds", "infrared_embeds", "fused_embeds"})

    model.save_pretrained(tmp_path / "adapter")
    # PEFT saves a shared module under its first name, and misses the second one although nothing is lost.
    with pytest.warns(UserWarning, match=r"missing adapter keys .*infrared_model") as caught:
        reloaded = PeftModel.from_pretrained(load_remote("AutoModel", base), tmp_path / "adapter").eval()
    assert "base_model.model.vision_model" not in str(caught[0].message)
    assert_close(embed(reloaded, batch), adapted, 1e-7)
    merged = reloaded.merge_and_unload()
    assert_close(embed(merged, batch), adapted, 1e-5)
    merged.save_pretrained(tmp_path / "merged")
    again = load_remote("AutoModel", tmp_path / "merged")
    assert again.infrared_model.encoder.layers[0].self_attn is again.vision_model.encoder.layers[0].self_attn
    assert_close(embed(again, batch), embed(merged, batch), 0)


def test_an_adapter_for_the_attention_of_an_adapted_infrared_tower_is_refused(
    save_clip: Callable[[str], Path], load_remote: LoadRemote
) -> None:
    """That attention is the RGB tower's, and has its name."""
    with pytest.raises(ValueError, match=r"Target modules .* not found in the base model"):
        get_peft_model(load_remote("AutoModel", save_clip("adapted")), LoraConfig(target_modules=ATTENTION_OF_INFRARED))


def test_a_merged_model_is_a_remote_code_repository(
    save_clip: Callable[[str], Path], load_remote: LoadRemote, triplet: Batch, tmp_path: Path
) -> None:
    model = get_peft_model(load_remote("AutoModel", save_clip("separate")), copy.deepcopy(ADAPTERS["lora"]))
    train(model, {**triplet, "return_loss": True})
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    torch.save(triplet, tmp_path / "batch.pt")
    script = (
        "import sys, torch; from transformers import AutoModel; torch.set_num_threads(1);"
        "model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval();"
        "assert type(model).__module__.startswith('transformers_modules.'), type(model);"
        "out = model(**torch.load(sys.argv[2]));"
        f"torch.save({{name: out[name].detach() for name in {EMBEDDINGS}}}, sys.argv[3])"
    )
    files = [str(tmp_path / name) for name in ("merged", "batch.pt", "out.pt")]
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-I", "-W", "error", "-c", script, *files]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_close(torch.load(tmp_path / "out.pt"), embed(merged, triplet), 1e-6)
    own = {path.name: path.read_text() for path in (tmp_path / "base").glob("*.py")}
    assert {path.name: path.read_text() for path in (tmp_path / "merged").glob("*.py")} == own
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["auto_map"] == merged.hub_auto_map


def test_lora_on_the_language_model_and_the_projector_of_the_captioner(
    tiny_captioner: Callable[..., RSCaptionerForConditionalGeneration], load_remote: LoadRemote, tmp_path: Path
) -> None:
    base, tokens = tiny_captioner(infrared_tower="adapted"), 16
    move_weights(base)
    base.save_pretrained(tmp_path / "base")
    generator = torch.Generator().manual_seed(1)
    prompts = {
        "input_ids": torch.tensor([[2, *[IMAGE_TOKEN] * tokens, 11, *[IMAGE_TOKEN] * tokens, 12, 13]]),
        "pixel_values": torch.randn(2, 3, 32, 32, generator=generator),
        "image_modalities": torch.tensor([[0, 1]]),
    }
    labels = prompts["input_ids"].masked_fill(prompts["input_ids"] < 5, -100)

    def logits(model: Any) -> Batch:
        with torch.no_grad():
            return {"logits": model(**prompts).logits}

    def load() -> Any:
        return load_remote("AutoModelForImageTextToText", tmp_path / "base")

    torch.manual_seed(0)
    untouched = logits(load())
    model = get_peft_model(load(), copy.deepcopy(CAPTIONER_ADAPTER))
    train(model, {**prompts, "labels": labels})
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if "language_model" in name} == {name for name in trained if "lora_" in name}
    assert len([name for name in trained if "projector.modules_to_save" in name]) == 5
    adapted = logits(model)
    assert_differ(adapted, untouched, {"logits"})

    model.save_pretrained(tmp_path / "adapter")
    reloaded = PeftModel.from_pretrained(load(), tmp_path / "adapter").eval()
    assert_close(logits(reloaded), adapted, 1e-7)
    mask = torch.ones_like(prompts["input_ids"])
    options: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
    generated = reloaded.generate(**prompts, **options)
    merged = reloaded.merge_and_unload()
    assert_close(logits(merged), adapted, 1e-5)
    assert torch.equal(merged.generate(**prompts, **options), generated)
    merged.save_pretrained(tmp_path / "merged")
    assert_close(logits(load_remote("AutoModelForImageTextToText", tmp_path / "merged")), logits(merged), 0)
