"""Adapters of a run: they alone are trained, `model/` loads anywhere, `adapter/` goes back onto the same CLIP."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_sources import save_sources
from conftest import SIGLIP_TEXT, SIGLIP_VISION, TEXT, VISION
from huggingface_hub.errors import StrictDataclassClassValidationError
from peft import PeftModel
from simulated_dataset import build_simulated
from transformers import AutoModel

from modeling_rsclip import RSCLIPConfig, RSCLIPModel, import_clip
from modeling_rsclip.adapters_rsclip import AdaptedAttention, Bottleneck
from train import train_clip
from train.clip.adapters import AdaptedClip, load_adapter
from train.clip.config import AdapterConfig, ClipConfig, ClipModelConfig
from train.clip.freezing import count_parameters

# PEFT asks for it by its old name.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # It saves a shared module under its first name, and misses the second one although nothing is lost.
    pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning"),
]

Batch = dict[str, torch.Tensor]
KINDS = ("lora", "dora", "ia3", "bottleneck", "prefix", "unipelt")
EMBEDS = ("text_embeds", "image_embeds", "infrared_embeds", "fused_embeds")


@pytest.fixture
def moved_clip(tiny_clip: Any) -> Any:
    """Builds a `tiny_clip` none of whose weights is where it started."""

    def build(**fields: Any) -> RSCLIPModel:
        model: RSCLIPModel = tiny_clip(**fields)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.startswith("logit_"):
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        return model

    return build


def embed(model: RSCLIPModel, batch: Batch) -> Batch:
    model.eval()
    with torch.no_grad():
        out = model(**batch)
    return {name: out[name] for name in EMBEDS if out[name] is not None}


def train(model: RSCLIPModel, batch: Batch, steps: int = 3) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.3)
    model.train()
    for _ in range(steps):
        model(**batch, return_loss=True).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def assert_close(found: Batch, wanted: Batch, tolerance: float) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tower", ["shared", "adapted", "separate"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_alone_is_trained_saved_and_put_back(
    kind: str, tower: str, moved_clip: Any, triplet: Batch, tmp_path: Path
) -> None:
    base = moved_clip(infrared_tower=tower, fusion="gated")
    base.save_pretrained(tmp_path / "base")
    torch.manual_seed(0)
    adapted = AdaptedClip(
        base, AdapterConfig(kind=kind, rank=4, prefix_length=3, reduction=4, also_train=("fusion",)), "base"
    )
    before = {name: parameter.detach().clone() for name, parameter in adapted.model.named_parameters()}
    trainable = {name for name, parameter in adapted.model.named_parameters() if parameter.requires_grad}
    parts = ("lora_", "_lora.", "ia3_", "bottleneck", "prefix_", "gate", "fusion")
    assert all(any(part in name for part in parts) for name in trainable)
    train(adapted.model, triplet)
    after = dict(adapted.model.named_parameters())
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == trainable
    trained = embed(adapted.model, triplet)

    model = adapted.save(tmp_path / "adapter")
    model.save_pretrained(tmp_path / "model")
    loaded = AutoModel.from_pretrained(tmp_path / "model")
    assert (loaded.config.adapter is None) == (kind in ("lora", "dora", "ia3"))
    assert_close(embed(loaded, triplet), trained, 2e-5)
    again = load_adapter(RSCLIPModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    assert_close(embed(again, triplet), trained, 2e-5)
    untouched = embed(RSCLIPModel.from_pretrained(tmp_path / "base"), triplet)
    assert all((trained[name] - untouched[name]).abs().max() > 1e-3 for name in EMBEDS)


@pytest.mark.parametrize("kind", ["lora", "bottleneck", "unipelt"])
def test_adapters_start_where_the_clip_is(kind: str, moved_clip: Any, triplet: Batch) -> None:
    base = moved_clip(infrared_tower="adapted", fusion="gated")
    wanted = embed(base, triplet)
    adapted = AdaptedClip(base, AdapterConfig(kind=kind, prefix_length=1), "base").model
    if kind == "unipelt":  # a key far from every query takes the prefix away, and leaves the rest
        for module in adapted.modules():
            if isinstance(module, AdaptedAttention):
                module.prefix_gate.score.bias.data.fill_(-100.0)
        found = embed(adapted, triplet)
        assert (found["text_embeds"] - wanted["text_embeds"]).abs().max() < 0.5
    else:
        assert_close(embed(adapted, triplet), wanted, 1e-6)


def test_a_bottleneck_is_what_pfeiffer_wrote() -> None:
    torch.manual_seed(0)
    layer, hidden = Bottleneck(32, reduction=16), torch.randn(2, 3, 32)
    assert layer.down.out_features == 2
    change = (hidden @ layer.down.weight.T + layer.down.bias).clamp(min=0) @ layer.up.weight.T + layer.up.bias
    torch.testing.assert_close(layer(hidden), change)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_prefix_is_more_keys_and_values_for_every_token(family: str) -> None:
    torch.manual_seed(0)
    clip = family == "clip"
    config = RSCLIPConfig(
        text_config=TEXT if clip else SIGLIP_TEXT,
        vision_config=VISION if clip else SIGLIP_VISION,
        projection_dim=16 if clip else None,
        adapter={
            "kind": "prefix",
            "towers": ["text", "rgb"],
            "reduction": 16,
            "prefix_length": 3,
            "rank": 8,
            "alpha": 8.0,
        },
    )
    attention = RSCLIPModel(config).text_model.encoder.layers[0].self_attn
    hidden, length, heads = torch.randn(2, 5, 32), 5, 4
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    found, _ = attention(hidden, None, is_causal=True)

    queries, keys, values = (layer(hidden) for layer in (attention.q_proj, attention.k_proj, attention.v_proj))
    keys = torch.cat([attention.prefix_keys.expand(2, -1, -1), keys], dim=1)
    values = torch.cat([attention.prefix_values.expand(2, -1, -1), values], dim=1)
    outputs = []
    for head in range(heads):
        columns = slice(8 * head, 8 * head + 8)
        scores = queries[..., columns] @ keys[..., columns].transpose(1, 2) / 8**0.5
        scores[:, :, 3:] = scores[:, :, 3:].masked_fill(~mask[0, 0], float("-inf"))
        outputs.append(scores.softmax(dim=-1) @ values[..., columns])
    torch.testing.assert_close(found, attention.out_proj(torch.cat(outputs, dim=-1)), rtol=1e-4, atol=1e-5)
    additive = torch.zeros(2, 1, length, length).masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(attention(hidden, additive)[0], found)
    with pytest.raises(ValueError, match="got one of shape"):
        attention(hidden, torch.ones(2, length))


def test_a_later_token_does_not_change_an_earlier_one_behind_a_prefix(moved_clip: Any, triplet: Batch) -> None:
    adapted = AdaptedClip(moved_clip(), AdapterConfig(kind="unipelt"), "base").model.eval()
    for module in adapted.modules():
        if isinstance(module, AdaptedAttention):  # gates read the whole text, as UniPELT's do
            module.prefix_gate = module.lora_gate = None
    for layer in adapted.text_model.encoder.layers:
        layer.mlp.gate = None
    changed = triplet["input_ids"].clone()
    changed[:, 5] = 42
    first, second = (adapted.text_model(ids).last_hidden_state for ids in (triplet["input_ids"], changed))
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert (first[:, 5:] - second[:, 5:]).abs().max() > 1e-3


def test_parameters_are_counted_in_closed_form(moved_clip: Any) -> None:
    layers, width, middle = 4, 32, 64  # of both towers together
    counts = {
        "lora": layers * 2 * (2 * width * 4),
        "dora": layers * 2 * (2 * width * 4 + width),
        "ia3": layers * (2 * width + middle),
        "bottleneck": layers * (width * 2 + 2 + 2 * width + width),
        "prefix": layers * 2 * 3 * width,
        "unipelt": layers * (2 * 2 * width * 4 + 2 * 3 * width + width * 2 + 2 + 2 * width + width + 3 * (width + 1)),
    }
    for kind, wanted in counts.items():
        config = AdapterConfig(kind=kind, rank=4, prefix_length=3, also_train=())
        assert count_parameters(AdaptedClip(moved_clip(), config, "base").model)["trained"] == wanted, kind


@pytest.mark.parametrize(
    ("also_train", "names"),
    [
        ((), set()),
        (("logit_scale",), {"logit_scale"}),
        (("projections",), {"text_projection.weight", "visual_projection.weight"}),
        (("fusion",), {"fusion.gate.weight", "fusion.gate.bias"}),
    ],
)
def test_named_parts_are_trained_beside_an_adapter(
    also_train: tuple[str, ...], names: set[str], moved_clip: Any
) -> None:
    model = moved_clip(infrared_tower="adapted", fusion="gated")
    AdaptedClip(model, AdapterConfig(kind="lora", also_train=also_train), "base")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad and "lora_" not in name}
    assert trained == names


def test_norms_and_the_infrared_input_are_trained_where_they_are_the_infrared_towers_own(moved_clip: Any) -> None:
    model = moved_clip(infrared_tower="adapted")
    AdaptedClip(model, AdapterConfig(kind="lora", also_train=("norms", "infrared_input"), towers=("rgb",)), "base")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad and "lora_" not in name}
    assert "infrared_model.embeddings.patch_embedding.weight" in trained
    assert "infrared_model.encoder.layers.1.layer_norm2.bias" in trained
    assert "vision_model.post_layernorm.weight" in trained
    assert not any(name.startswith("text_model") or "vision_model.embeddings" in name for name in trained)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    build_simulated(folder / "fusionrs", 24, seed=3)
    save_sources(folder)
    return folder


def arguments(place: Path, output: Path, **changes: object) -> list[str]:
    options = {
        "data.path": place / "fusionrs",
        "data.workers": 0,
        "model.source": place / "clip",
        "optim.steps": 4,
        "optim.warmup-steps": 1,
        "optim.batch-size": 8,
        "output": output,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def test_a_run_with_lora_leaves_a_plain_model_and_an_adapter_for_peft(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    train_clip.main(["debug", *arguments(place, output, adapter__kind="lora", adapter__rank=4)])
    run = json.loads((output / "run.json").read_text())
    assert run["adapter"]["rank"] == 4
    assert run["adapter"]["towers"] == ["text", "rgb"]
    # Two towers of two layers of width 32: q and v, two factors of rank 4; the gate of 16, scale.
    assert run["parameters"]["trained"] == 2 * 2 * 2 * (2 * 32 * 4) + (2 * 16 * 16 + 16) + 1
    assert run["parameters"]["frozen_as_unreached"] == []

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    merged = AutoModel.from_pretrained(output / "model").eval()
    assert merged.config.adapter is None
    base = import_clip(place / "clip", infrared_tower="adapted", fusion="gated")
    plain = base.get_image_features(images).pooler_output
    assert (merged.get_image_features(images).pooler_output - plain).abs().max() > 1e-5
    with_peft = PeftModel.from_pretrained(base, output / "adapter").eval()
    torch.testing.assert_close(
        with_peft.get_image_features(images).pooler_output,
        merged.get_image_features(images).pooler_output,
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.slow
def test_a_resumed_run_with_an_adapter_equals_the_uninterrupted_one(place: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = {"adapter__kind": "unipelt", "save__every-steps": 2}
    train_clip.main(["debug", *arguments(place, tmp_path / "whole", **settings), "--save.deterministic"])
    train_clip.main(["debug", *arguments(place, tmp_path / "cut", **settings), "--save.deterministic"])
    for name in ("run.json", "model/model.safetensors"):
        (tmp_path / "cut" / name).unlink()
    train_clip.main(["debug", *arguments(place, tmp_path / "cut", **settings), "--save.deterministic", "--save.resume"])
    whole, cut = (AutoModel.from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "cut"))
    assert any("prefix_gate" in name for name in whole)
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name


def test_an_adapter_of_another_architecture_is_refused(moved_clip: Any, tmp_path: Path) -> None:
    config = AdapterConfig(kind="bottleneck", also_train=("fusion",))
    AdaptedClip(moved_clip(fusion="gated"), config, "base").save(tmp_path)
    with pytest.raises(ValueError, match="for which the model has no place"):
        load_adapter(moved_clip(fusion="none"), tmp_path)
    adapted = AdaptedClip(moved_clip(fusion="gated"), config, "base").model
    with pytest.raises(ValueError, match="The model holds adapters already"):
        load_adapter(adapted, tmp_path)


@pytest.mark.parametrize(
    ("adapter", "model", "message"),
    [
        ({"kind": "lora"}, {}, "adapts trained towers; give --model.source"),
        ({"kind": "lora"}, {"source": "x", "freeze_text_tower": True}, "name those to adapt with adapter.towers"),
        ({"kind": "lora", "towers": ("infrared",)}, {"source": "x"}, "has the attention of the RGB tower"),
    ],
)
def test_adapters_that_make_no_sense_are_refused(adapter: Any, model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ClipConfig(), adapter=AdapterConfig(**adapter), model=ClipModelConfig(**model))


def test_unknown_settings_of_an_adapter_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adapter.rank must be above zero, got 0"):
        AdapterConfig(kind="lora", rank=0)
    with pytest.raises(ValueError, match="'prefix' adapts whole layers"):
        AdapterConfig(kind="prefix", target_modules=("q_proj",))
    for settings, message in (
        ({"kind": "loha"}, "adapter kind is 'loha'"),
        ({"kind": "prefix", "towers": ["infrared"]}, r"wanted some of \('text', 'rgb'\)"),
        ({"kind": "prefix", "towers": ["rgb"], "rank": 0}, "all above zero"),
    ):
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            RSCLIPConfig(text_config=TEXT, vision_config=VISION, adapter=settings)
