"""torch.compile and torch.export of the towers, decoding under a compiler, and automatic mixed precision."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import IMAGE_TOKEN
from torch import nn
from transformers import StaticCache

from modeling_rsclip import RSCaptionerForConditionalGeneration, RSCLIPModel

Build = Callable[..., RSCLIPModel]
Batch = dict[str, torch.Tensor]
TOWERS = ["shared", "adapted", "separate", "siglip"]
ENCODERS = {
    "get_image_features": ("pixel_values",),
    "get_infrared_features": ("infrared_values",),
    "get_text_features": ("input_ids", "attention_mask"),
    "get_fused_features": ("pixel_values", "infrared_values"),
}


@pytest.fixture(autouse=True)
def _forget_compiled_code() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def build(tiny_clip: Build, tiny_siglip: Build) -> Callable[[str], RSCLIPModel]:
    """A model by the name of its infrared tower, or `siglip`, none of whose weights is where it started."""

    def build_named(name: str) -> RSCLIPModel:
        if name == "siglip":
            model = tiny_siglip(infrared_tower="adapted", fusion="attention")
        else:
            model = tiny_clip(infrared_tower=name, fusion="attention")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        return model

    return build_named


class Encoder(nn.Module):
    """One of the model's encoders as a module of tensors, as exporters want it."""

    def __init__(self, model: RSCLIPModel, method: str):
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return getattr(self.model, self.method)(*inputs).pooler_output


def left_padded(batch: Batch) -> Batch:
    """The second text two tokens shorter and padded on the left, so that CLIP's alignment has work to do."""
    ids, mask = batch["input_ids"].clone(), batch["attention_mask"].clone()
    ids[1, :2], mask[1, :2] = 1, 0
    return {**batch, "input_ids": ids, "attention_mask": mask}


def assert_compiled_equals_eager(model: RSCLIPModel, method: str, batch: Batch, backend: str) -> None:
    inputs = [left_padded(batch)[name] for name in ENCODERS[method]]
    expected = getattr(model, method)(*inputs).pooler_output
    compiled = torch.compile(getattr(model, method), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(*inputs).pooler_output, expected, rtol=1e-5, atol=1e-5)


def compiled_cases() -> list[Any]:
    """Every encoder of every model; those whose code another case already compiles are slow ones."""
    repeats = {
        (name, method) for name in ("adapted", "separate") for method in ("get_image_features", "get_text_features")
    }
    repeats |= {(name, "get_fused_features") for name in TOWERS if name != "adapted"}
    cases = [(name, method) for name in TOWERS for method in ENCODERS]
    return [pytest.param(*case, marks=[pytest.mark.slow] if case in repeats else []) for case in cases]


@pytest.mark.parametrize(("name", "method"), compiled_cases())
def test_compiled_encoders_equal_eager_ones_without_a_graph_break(
    build: Callable[[str], RSCLIPModel], triplet: Batch, name: str, method: str
) -> None:
    with torch.no_grad():
        assert_compiled_equals_eager(build(name), method, triplet, "aot_eager")


def test_a_compiled_encoder_takes_batches_of_any_size(build: Callable[[str], RSCLIPModel], triplet: Batch) -> None:
    model = build("shared")
    compiled = torch.compile(model.get_infrared_features, backend="aot_eager", fullgraph=True, dynamic=True)
    with torch.no_grad():
        for rows in (4, 3, 1):
            images = triplet["infrared_values"][:rows]
            expected = model.get_infrared_features(images).pooler_output
            torch.testing.assert_close(compiled(images).pooler_output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
# torch's own, while it imports its compiler.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["adapted", "siglip"])
def test_inductor_equals_eager(
    build: Callable[[str], RSCLIPModel], triplet: Batch, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = build(name)
    with torch.no_grad():
        for method in ENCODERS:
            assert_compiled_equals_eager(model, method, triplet, "inductor")


@pytest.mark.parametrize(
    "name", ["adapted", *(pytest.param(name, marks=pytest.mark.slow) for name in TOWERS if name != "adapted")]
)
def test_a_compiled_training_step_gives_the_gradients_of_an_eager_one(
    build: Callable[[str], RSCLIPModel], triplet: Batch, name: str
) -> None:
    model = build(name).train()
    model(**triplet, return_loss=True).loss.backward()
    expected = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(**triplet, return_loss=True).loss.backward()
    actual = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    assert actual.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(actual[key], gradient, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("method", ["get_image_features", "get_infrared_features", "get_text_features"])
@pytest.mark.parametrize("name", TOWERS)
def test_exported_encoders_equal_eager_ones_at_another_batch_size(
    build: Callable[[str], RSCLIPModel], triplet: Batch, name: str, method: str
) -> None:
    encoder = Encoder(build(name), method).eval()
    inputs = tuple(left_padded(triplet)[key] for key in ENCODERS[method])
    rows = torch.export.Dim("rows", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(encoder, inputs, dynamic_shapes=[tuple({0: rows} for _ in inputs)])
        for count in (4, 7, 1):
            other = tuple(torch.cat([value.flip(0), value])[:count] for value in inputs)
            torch.testing.assert_close(program.module()(*other), encoder(*other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TOWERS)
def test_automatic_mixed_precision_trains_every_weight_with_finite_gradients(
    build: Callable[[str], RSCLIPModel], triplet: Batch, name: str
) -> None:
    model = build(name).train()
    full = model(**triplet, return_loss=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(**triplet, return_loss=True)
    assert {out[key].dtype for key in ("text_embeds", "image_embeds", "infrared_embeds")} == {torch.bfloat16}
    assert out.loss.dtype == torch.float32
    assert out.loss.item() == pytest.approx(full.loss.item(), rel=0.03)
    out.loss.backward()
    gradients = {key: p.grad for key, p in model.named_parameters()}
    assert {key for key, gradient in gradients.items() if gradient is None} == set()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
    assert max(gradient.abs().max().item() for gradient in gradients.values()) > 0


def test_a_compiled_decoding_step_equals_an_eager_one(
    tiny_captioner: Callable[..., RSCaptionerForConditionalGeneration],
) -> None:
    model = tiny_captioner(infrared_tower="adapted")
    image = [IMAGE_TOKEN] * model.config.num_image_tokens
    prompt = {
        "input_ids": torch.tensor([[2, *image, 11, *image, 12]]),
        "pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)),
        "image_modalities": torch.tensor([[0, 1]]),
    }

    def decode(step: Any) -> torch.Tensor:
        """Logits of four tokens after the prompt."""
        length = prompt["input_ids"].shape[1]
        cache = StaticCache(config=model.config.text_config, max_cache_len=length + 4)
        found = [model(**prompt, past_key_values=cache, logits_to_keep=1).logits]
        for offset in range(4):
            token, position = found[-1].argmax(-1), torch.tensor([[length + offset]])
            found.append(step(input_ids=token, position_ids=position, past_key_values=cache).logits)
        return torch.cat(found, dim=1)

    with torch.no_grad():
        expected = decode(model)
        actual = decode(torch.compile(model, backend="aot_eager", fullgraph=True))
        whole = {**prompt, "input_ids": torch.cat([prompt["input_ids"], expected[:, :-1].argmax(-1)], dim=1)}
        torch.testing.assert_close(expected, model(**whole).logits[:, -5:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
