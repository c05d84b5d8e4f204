"""What a user does who has transformers and not this repository: `trust_remote_code=True`, in a process of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LLAMA, SIGLIP_TEXT, SIGLIP_VISION, TEXT, VISION
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer
from safetensors.torch import load_file, save_file

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration, RSCLIPConfig, RSCLIPModel
from processing import RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor

WORKER = Path(__file__).with_name("remote_code_worker.py")
TEXT_LENGTH = 20
IMAGE_SETTINGS: dict[str, Any] = {
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "infrared_scaling": {"rule": "window", "low": 1000.0, "high": 9000.0},
    "infrared_band": "mwir",
    "polarity": "black_hot",
    "nodata": 0,
}
SIGLIP: dict[str, Any] = {
    "text_config": {**SIGLIP_TEXT, "max_position_embeddings": TEXT_LENGTH},
    "text_pad_token_id": 1,  # of the fixtures' tokenizer
    "vision_config": SIGLIP_VISION,
    "projection_dim": None,
    "loss": "sigmoid",
    "logit_bias_init_value": -1.0,
}
CLIPS: dict[str, dict[str, Any]] = {
    "shared": {"infrared_tower": "shared", "fusion": "gated"},
    "adapted": {"infrared_tower": "adapted", "fusion": "attention"},
    "separate": {"infrared_tower": "separate", "fusion": "gated"},
    "siglip": {"infrared_tower": "adapted", "fusion": "attention", **SIGLIP},
}
MODELS = [*CLIPS, "captioner"]
CLASSES = {
    "AutoConfig": ("configuration_rsclip.RSCLIPConfig", "configuration_rscaptioner.RSCaptionerConfig"),
    "AutoModel": ("modeling_rsclip.RSCLIPModel", "modeling_rscaptioner.RSCaptionerModel"),
    "AutoModelForZeroShotImageClassification": ("modeling_rsclip.RSCLIPModel", None),
    "AutoModelForImageTextToText": (None, "modeling_rscaptioner.RSCaptionerForConditionalGeneration"),
    "AutoModelForMultimodalLM": (None, "modeling_rscaptioner.RSCaptionerForConditionalGeneration"),
    "AutoProcessor": ("processing_rsclip.RSCLIPProcessor", "processing_rscaptioner.RSCaptionerProcessor"),
    "AutoImageProcessor": ("image_processing_rsclip.RSImageProcessor", "image_processing_rsclip.RSImageProcessor"),
}
NO_TRUST = r"^ValueError: The repository .* contains custom code which must be executed.*trust_remote_code=True"


def build_clip(**fields: Any) -> RSCLIPModel:
    """A model none of whose weights is where it started, so that each of them shows in the outputs."""
    torch.manual_seed(0)
    defaults = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16, "fusion_heads": 4}
    fields = {**defaults, **fields}
    fields["text_config"] = {**fields["text_config"], "vocab_size": len(make_tokenizer())}
    return move_weights(RSCLIPModel(RSCLIPConfig(**fields)))


def build_captioner() -> RSCaptionerForConditionalGeneration:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(appends_eos=False)
    config = RSCaptionerConfig(
        vision_config=VISION,
        text_config={**LLAMA, "vocab_size": len(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        infrared_tower="adapted",
    )
    return move_weights(RSCaptionerForConditionalGeneration(config))


def move_weights(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in ("logit_scale", "logit_bias"):
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def build_processor(name: str) -> RSCLIPProcessor | RSCaptionerProcessor:
    images = RSImageProcessor(**IMAGE_SETTINGS)
    if name == "captioner":
        return RSCaptionerProcessor(images, make_tokenizer(appends_eos=False), num_image_tokens=16)
    padding = "max_length" if name == "siglip" else "longest"
    tokenizer = make_tokenizer(model_max_length=TEXT_LENGTH)
    return RSCLIPProcessor(images, tokenizer, text_padding=padding, max_text_length=TEXT_LENGTH)


def run_worker(kind: str, folder: Path, **job: Any) -> dict[str, Any]:
    """Runs the worker in a fresh process: offline, in an empty folder, with a Hugging Face home of its own."""
    folder.mkdir()
    (folder / "empty").mkdir()
    (folder / "job.json").write_text(json.dumps({"results": f"{folder}/results.pt", **job}))
    environment = {
        "PATH": os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(WORKER), kind, str(folder / "job.json")],
        cwd=folder / "empty",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(torch.load(folder / "results.pt"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, and a folder for each model with its processor."""
    root = tmp_path_factory.mktemp("remote_code")
    Image.fromarray(make_scene()).save(root / "rgb.png")
    Image.fromarray(make_scene(seed=1)).save(root / "other.png")
    Image.fromarray(make_scene()[..., 1].astype(np.uint16) * 40 + 1).save(root / "infrared.png")
    for name in MODELS:
        model = build_captioner() if name == "captioner" else build_clip(**CLIPS[name])
        model.save_pretrained(root / name)
        build_processor(name).save_pretrained(root / name)
    return root


def job_of(root: Path, name: str, again: str | None = None, folder: str = "{}") -> list[str | None]:
    model_type = "rscaptioner" if name == "captioner" else "rsclip"
    return [model_type, str(root / folder.format(name)), str(root / again.format(name)) if again else None]


@pytest.fixture(scope="module")
def from_package(root: Path) -> dict[str, Any]:
    """What a process gets that has our packages."""
    use = {name: job_of(root, name) for name in MODELS}
    return run_worker("package", root / "package", pictures=str(root), use=use)


@pytest.fixture(scope="module")
def use_remotely(root: Path) -> Callable[[str], dict[str, Any]]:
    """What a process gets that has not, and loads one model; it also saves that model again."""
    done: dict[str, dict[str, Any]] = {}

    def use(name: str) -> dict[str, Any]:
        if name not in done:
            job = {name: job_of(root, name, again="{}_again")}
            done[name] = run_worker("remote", root / f"process_{name}", pictures=str(root), use=job)[name]
        return done[name]

    return use


Remote = Callable[[str], dict[str, Any]]


def assert_same_bits(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    different = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    assert not different
    assert all(value.isfinite().all() for value in ours.values())


@pytest.mark.parametrize("name", MODELS)
def test_remote_code_gives_the_packages_outputs_bit_for_bit(
    name: str, use_remotely: Remote, from_package: dict[str, Any]
) -> None:
    assert len(from_package[name]["tensors"]) > 10
    assert_same_bits(from_package[name]["tensors"], use_remotely(name)["tensors"])


@pytest.mark.parametrize("name", MODELS)
def test_every_auto_class_gives_the_remote_class_and_the_packages_own_where_it_is_installed(
    name: str, use_remotely: Remote, from_package: dict[str, Any]
) -> None:
    wanted = {auto: classes[name == "captioner"] for auto, classes in CLASSES.items()}
    wanted = {auto: path for auto, path in wanted.items() if path is not None}
    remote, ours = use_remotely(name)["classes"], from_package[name]["classes"]
    assert remote.pop("AutoTokenizer") == ours.pop("AutoTokenizer")
    assert remote.keys() == ours.keys() == wanted.keys()
    for auto, path in wanted.items():
        assert remote[auto].startswith(f"transformers_modules.{name}."), auto
        assert remote[auto].endswith(f".{path}"), auto
        package = "processing" if "Processor" in auto else "modeling_rsclip"
        assert ours[auto] == f"{package}.{path}"


@pytest.mark.parametrize("name", CLIPS)
def test_the_pipelines_of_clip_equal_the_packages(
    name: str, use_remotely: Remote, from_package: dict[str, Any]
) -> None:
    for pipeline in ("classified", "classified in a batch", "image features", "text features"):
        assert use_remotely(name)[pipeline] == from_package[name][pipeline], pipeline


@pytest.mark.parametrize("name", CLIPS)
def test_the_pipelines_of_clip_give_what_the_model_gives(name: str, use_remotely: Remote) -> None:
    found = use_remotely(name)
    scores, tensors = found["tensors"]["label scores"].tolist(), found["tensors"]
    for row, expected in zip([found["classified"], *found["classified in a batch"]], [0, 0, 1], strict=True):
        by_label = {entry["label"]: entry["score"] for entry in row}
        assert list(by_label.values()) == sorted(by_label.values(), reverse=True)
        actual = [by_label[label] for label in ("airport", "harbor with ships", "photo")]
        assert actual == pytest.approx(scores[expected], abs=1e-5)
    torch.testing.assert_close(torch.tensor(found["image features"]), tensors["output image_embeds"][:1])
    torch.testing.assert_close(torch.tensor(found["text features"]), tensors["label embeddings"][1:2])


def test_the_captions_of_the_pipeline_are_those_of_the_prompts_written_out(
    use_remotely: Remote, from_package: dict[str, Any]
) -> None:
    captions = use_remotely("captioner")["captions of the pipeline"]
    assert captions == use_remotely("captioner")["captions without a pipeline"]
    assert captions == from_package["captioner"]["captions of the pipeline"]
    assert len(set(captions.values())) == 3


def test_model_and_processor_know_the_same_image_token(root: Path, use_remotely: Remote) -> None:
    found = use_remotely("captioner")
    assert found["image token of the model"] == found["image token of the processor"] == (4, 16)
    model, processor, tokenizer = (
        json.loads((root / "captioner" / name).read_text())
        for name in ("config.json", "processor_config.json", "tokenizer.json")
    )
    token_ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert model["image_token_id"] == token_ids[processor["image_token"]]
    grid = model["vision_config"]["image_size"] // model["vision_config"]["patch_size"]
    assert processor["num_image_tokens"] == (grid // model["projector_reduction"]) ** 2
    assert processor["image_processor"]["crop_size"]["height"] == model["vision_config"]["image_size"]


@pytest.mark.parametrize("name", MODELS)
def test_the_remote_configuration_survives_its_dictionary_and_equals_the_packages(
    name: str, use_remotely: Remote, from_package: dict[str, Any]
) -> None:
    found = use_remotely(name)
    assert found["config equals its round trip"]
    assert found["config"] == from_package[name]["config"]
    for field, value in CLIPS.get(name, {"infrared_tower": "adapted"}).items():
        if not isinstance(value, dict):
            assert found["config"][field] == value


@pytest.mark.parametrize("name", MODELS)
def test_the_remote_processor_keeps_polarity_band_and_scaling(name: str, use_remotely: Remote) -> None:
    kept = use_remotely(name)["image settings"]
    assert {setting: kept[setting] for setting in IMAGE_SETTINGS} == IMAGE_SETTINGS


def test_what_was_saved_again_from_remote_code_loads_again(root: Path, use_remotely: Remote) -> None:
    first = {name: use_remotely(name)["tensors"] for name in MODELS}
    use = {name: job_of(root, name, folder="{}_again") for name in MODELS}
    second = run_worker("remote", root / "second_generation", pictures=str(root), use=use)
    for name in MODELS:
        assert_same_bits(first[name], second[name]["tensors"])


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_folder_is_flat_and_points_only_to_itself(name: str, root: Path, use_remotely: Remote) -> None:
    use_remotely(name)
    for folder in (root / name, root / f"{name}_again"):
        assert all(path.is_file() for path in folder.iterdir())
        assert {path.suffix for path in folder.iterdir()} <= {".py", ".json", ".jinja", ".safetensors"}
        assert [path.name for path in folder.glob("*.safetensors")] == ["model.safetensors"]
        model, processor = (
            json.loads((folder / file).read_text()) for file in ("config.json", "processor_config.json")
        )
        for auto_map in (model["auto_map"], processor["auto_map"], processor["image_processor"]["auto_map"]):
            for target in auto_map.values():
                file, _, name_of_class = target.partition(".")
                assert f"class {name_of_class}(" in (folder / f"{file}.py").read_text(), target
        for file in folder.glob("*.json"):
            assert str(root) not in file.read_text(), file.name


def test_without_trust_nothing_runs_and_the_error_says_so(root: Path, tmp_path: Path) -> None:
    trusted, untrusted = (copy_with_marker(root / "shared", tmp_path / name) for name in ("trusted", "untrusted"))
    captioner = copy_with_marker(root / "captioner", tmp_path / "captioner")
    tries: dict[str, list[Any]] = {"trusted": ["AutoModel", str(trusted), True]}
    for auto, (clip, _) in CLASSES.items():
        for trust in (None, False):
            tries[f"{auto} {trust}"] = [auto, str(untrusted if clip else captioner), trust]
    tries["tokenizer"] = ["AutoTokenizer", str(untrusted), False]
    found = run_worker("remote", tmp_path / "process", **{"try": tries})
    assert found.pop("trusted") == "loaded"
    assert found.pop("tokenizer") == "loaded"  # it needs no code of ours
    for name, error in found.items():
        assert re.search(NO_TRUST, error, re.DOTALL), f"{name}: {error}"
    assert (tmp_path / "trusted.ran").exists()
    assert not (tmp_path / "untrusted.ran").exists()
    assert not (tmp_path / "captioner.ran").exists()


def copy_with_marker(source: Path, target: Path) -> Path:
    """A copy whose every file of code leaves a trace when it runs."""
    target.mkdir()
    trace = f"\n__import__('pathlib').Path({str(target.with_suffix('.ran'))!r}).touch()\n"
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes() + (trace.encode() if path.suffix == ".py" else b""))
    return target


def test_incomplete_weights_are_refused_and_bfloat16_is_kept_through_remote_code(root: Path, tmp_path: Path) -> None:
    lost = {
        "AutoModel": ("separate", "infrared_projection.weight", "RSCLIPModel"),
        "AutoModel of shared weights": ("adapted", "vision_model.encoder.layers.0.mlp.fc1.weight", "RSCLIPModel"),
        "AutoModel of norms": ("adapted", "infrared_model.post_layernorm.bias", "RSCLIPModel"),
        "AutoModelForZeroShotImageClassification": ("siglip", "logit_bias", "RSCLIPModel"),
        "AutoModelForImageTextToText": ("captioner", "lm_head.weight", "RSCaptionerForConditionalGeneration"),
        "AutoModelForMultimodalLM": (
            "captioner",
            "model.projector.modality_embedding.weight",
            "RSCaptionerForConditionalGeneration",
        ),
    }
    tries = {}
    for index, (auto, (name, weight, _)) in enumerate(lost.items()):
        folder = copy_without(root / name, tmp_path / f"incomplete_{index}", weight)
        tries[auto] = [auto.split()[0], str(folder), True]
    for name in ("adapted", "siglip"):
        build_clip(**CLIPS[name]).to(torch.bfloat16).save_pretrained(tmp_path / name)
    types = {name: str(tmp_path / name) for name in ("adapted", "siglip")}
    found = run_worker("remote", tmp_path / "process", **{"try": tries}, types=types)
    for auto, (_, weight, model) in lost.items():
        # The other names of a shared weight are missing with it.
        assert f" weights of {model} (" in found[auto], found[auto]
        assert weight in found[auto]
        assert "they would start from random numbers" in found[auto]
    for name, single in (("adapted", {"logit_scale"}), ("siglip", {"logit_scale", "logit_bias"})):
        kept = {parameter for parameter, dtype in found[name].items() if dtype == "torch.float32"}
        assert kept == single
        assert {dtype for parameter, dtype in found[name].items() if parameter not in single} == {"torch.bfloat16"}


def copy_without(source: Path, target: Path, weight: str) -> Path:
    """A copy whose checkpoint lacks one tensor."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    state = load_file(source / "model.safetensors")
    del state[weight]
    save_file(state, target / "model.safetensors", {"format": "pt"})
    return target
