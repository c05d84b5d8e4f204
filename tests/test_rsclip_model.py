"""RSCLIPModel: the contract of towers, fusion, losses, missing modalities and numerics."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modeling_rsclip import RSCLIPConfig, RSCLIPModel

Build = Callable[..., RSCLIPModel]
Batch = dict[str, torch.Tensor]
TOWERS = ["shared", "adapted", "separate"]
FUSIONS = ["mean", "gated", "attention"]


def test_swapping_modalities_swaps_the_directions(tiny_clip: Build, triplet: Batch) -> None:
    out = tiny_clip()(**triplet)
    torch.testing.assert_close(out.logits_per_text, out.logits_per_image.t())
    grey = triplet["infrared_values"].expand(-1, 3, -1, -1)
    swapped = tiny_clip()(pixel_values=grey, infrared_values=triplet["pixel_values"])
    torch.testing.assert_close(swapped.logits_rgb_infrared, out.logits_rgb_infrared.t())


def test_logits_are_scaled_cosines(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(fusion="mean")
    out = model(**triplet)
    for logits, rows in (
        (out.logits_per_image, out.image_embeds),
        (out.logits_per_infrared, out.infrared_embeds),
        (out.logits_per_fused, out.fused_embeds),
    ):
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(4))
        torch.testing.assert_close(logits, rows @ out.text_embeds.t() / 0.07, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_weighted_mean_of_its_pairs(tiny_clip: Build, triplet: Batch) -> None:
    weights = {"rgb_text": 1.0, "infrared_text": 2.0, "rgb_infrared": 0.5, "fused_text": 0.0}
    model = tiny_clip(fusion="mean", loss_weights=weights)
    out = model(**triplet, infrared_input_ids=triplet["input_ids"], return_loss=True)
    assert set(out.losses) == {"rgb_text", "infrared_text", "rgb_infrared"}, "a pair without weight costs nothing"
    expected = (out.losses["rgb_text"] + 2 * out.losses["infrared_text"] + 0.5 * out.losses["rgb_infrared"]) / 3.5
    torch.testing.assert_close(out.loss, expected)


def test_keys_act_on_text_pairs_only(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(fusion="mean")
    plain = model(**triplet, return_loss=True).losses
    keyed = model(**triplet, caption_keys=torch.tensor([1, 1, 2, 3]), return_loss=True).losses
    for name in ("rgb_text", "infrared_text", "fused_text"):
        assert keyed[name].item() != pytest.approx(plain[name].item(), abs=1e-4)
    torch.testing.assert_close(keyed["rgb_infrared"], plain["rgb_infrared"], rtol=0, atol=0)


@pytest.mark.parametrize("tower", ["adapted", "separate"])
def test_the_gradient_of_a_missing_modality_is_exactly_zero(tiny_clip: Build, triplet: Batch, tower: str) -> None:
    model = tiny_clip(infrared_tower=tower, fusion="attention")
    absent = torch.zeros(4, dtype=torch.bool)
    model(**triplet, infrared_present=absent, return_loss=True).loss.backward()
    shared = {id(parameter) for parameter in model.vision_model.parameters()}
    own = [p for p in model.infrared_model.parameters() if id(p) not in shared]
    assert own
    assert all(p.grad is None or p.grad.abs().max().item() == 0.0 for p in own)
    assert max(p.grad.abs().max().item() for p in model.vision_model.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("fusion", FUSIONS)
def test_placeholders_of_a_missing_image_change_nothing(tiny_clip: Build, triplet: Batch, fusion: str) -> None:
    model = tiny_clip(fusion=fusion, infrared_tower="separate")
    present = torch.tensor([True, True, False, True])
    other = {**triplet, "infrared_values": triplet["infrared_values"].clone()}
    other["infrared_values"][2] = 123.0
    first = model(**triplet, infrared_present=present, return_loss=True)
    second = model(**other, infrared_present=present, return_loss=True)
    torch.testing.assert_close(first.loss, second.loss, rtol=0, atol=0)
    torch.testing.assert_close(first.fused_embeds, second.fused_embeds, rtol=0, atol=0)


@pytest.mark.parametrize("fusion", ["mean", "gated"])
def test_the_fused_embedding_of_one_image_is_that_image(tiny_clip: Build, triplet: Batch, fusion: str) -> None:
    model = tiny_clip(fusion=fusion)
    torch.nn.init.normal_(model.fusion.gate.weight) if fusion == "gated" else None
    rgb = model(pixel_values=triplet["pixel_values"])
    torch.testing.assert_close(rgb.fused_embeds, rgb.image_embeds)
    infrared = model(infrared_values=triplet["infrared_values"])
    torch.testing.assert_close(infrared.fused_embeds, infrared.infrared_embeds)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_image_alone_equals_a_pair_marked_absent(tiny_clip: Build, triplet: Batch, fusion: str) -> None:
    model = tiny_clip(fusion=fusion)
    if fusion == "attention":
        torch.nn.init.normal_(model.fusion.out.weight)
    alone = model.get_fused_features(infrared_values=triplet["infrared_values"]).pooler_output
    absent = torch.zeros(4, dtype=torch.bool)
    marked = model.get_fused_features(triplet["pixel_values"], triplet["infrared_values"], image_present=absent)
    torch.testing.assert_close(marked.pooler_output, alone)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_starts_as_the_mean(tiny_clip: Build, triplet: Batch, fusion: str) -> None:
    out = tiny_clip(fusion=fusion)(pixel_values=triplet["pixel_values"], infrared_values=triplet["infrared_values"])
    mean = torch.nn.functional.normalize(out.image_embeds + out.infrared_embeds, dim=-1)
    torch.testing.assert_close(out.fused_embeds, mean)


def test_a_row_without_any_image_stays_finite(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(fusion="attention")
    torch.nn.init.normal_(model.fusion.out.weight)
    none = torch.tensor([False, True, True, True])
    model(**triplet, image_present=none, infrared_present=none, return_loss=True).loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_shared_towers_read_infrared_as_grey(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(infrared_tower="shared")
    grey = triplet["infrared_values"].expand(-1, 3, -1, -1)
    expected = model.get_image_features(grey).pooler_output
    torch.testing.assert_close(model.get_infrared_features(triplet["infrared_values"]).pooler_output, expected)


@pytest.mark.parametrize("tower", ["adapted", "separate"])
def test_an_infrared_tower_started_from_rgb_sees_what_rgb_sees(tiny_clip: Build, triplet: Batch, tower: str) -> None:
    model = tiny_clip(infrared_tower=tower)
    for parameter in model.vision_model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.start_infrared_from_rgb()
    grey = triplet["infrared_values"].expand(-1, 3, -1, -1)
    expected = model.get_image_features(grey).pooler_output
    actual = model.get_infrared_features(triplet["infrared_values"]).pooler_output
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_adapted_towers_share_all_but_norms_and_patches(tiny_clip: Build) -> None:
    model = tiny_clip(infrared_tower="adapted")
    shared = {id(parameter) for parameter in model.vision_model.parameters()}
    own = {name for name, p in model.infrared_model.named_parameters() if id(p) not in shared}
    assert own == {name for name in own if "norm" in name or "layrnorm" in name or "patch_embedding" in name}
    assert "encoder.layers.0.layer_norm1.weight" in own
    assert "embeddings.patch_embedding.weight" in own
    assert "embeddings.position_embedding.weight" not in own


def test_parameters_grow_as_the_towers_say(tiny_clip: Build) -> None:
    sizes = [sum(p.numel() for p in tiny_clip(infrared_tower=tower).parameters()) for tower in TOWERS]
    norms = (2 * 2 + 2) * 2 * 32  # two per layer, before and after the encoder; weight and bias
    assert sizes[1] - sizes[0] == norms + 32 * 8 * 8
    vision = sum(p.numel() for p in tiny_clip().vision_model.parameters())
    assert sizes[2] - sizes[0] == vision - 2 * 32 * 8 * 8 + 32 * 16


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("fusion", ["none", *FUSIONS])
def test_save_and_load_keep_every_weight(
    tiny_clip: Build, triplet: Batch, tmp_path: Path, tower: str, fusion: str
) -> None:
    model = tiny_clip(infrared_tower=tower, fusion=fusion)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path)
    loaded = RSCLIPModel.from_pretrained(tmp_path).eval()
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    torch.testing.assert_close(loaded(**triplet).infrared_embeds, model(**triplet).infrared_embeds)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix not in (".py", ".json")) == [".safetensors"]
    if tower == "adapted":
        assert loaded.infrared_model.encoder.layers[0].mlp is loaded.vision_model.encoder.layers[0].mlp


def test_a_checkpoint_that_lacks_weights_is_refused(tiny_clip: Build, tmp_path: Path) -> None:
    tiny_clip(infrared_tower="shared").save_pretrained(tmp_path)
    config = RSCLIPConfig.from_pretrained(tmp_path)
    config.infrared_tower = "separate"
    with pytest.raises(OSError, match=r"lacks \d+ weights of RSCLIPModel \(infrared_model\..* random numbers"):
        RSCLIPModel.from_pretrained(tmp_path, config=config)


def test_left_padded_text_gets_the_features_of_right_padded_text(tiny_clip: Build) -> None:
    model = tiny_clip()
    text = torch.tensor([[2, 10, 11, 12, 3]])
    expected = model.get_text_features(text, torch.ones_like(text)).pooler_output
    for pad in (1, 3):  # OpenAI's tokenizer pads with the end of text
        for before, after in ((4, 0), (0, 4), (2, 2)):
            ids = torch.nn.functional.pad(text, (before, after), value=pad)
            mask = torch.nn.functional.pad(torch.ones_like(text), (before, after))
            torch.testing.assert_close(model.get_text_features(ids, mask).pooler_output, expected)


def test_the_logit_scale_is_clamped(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip()
    model.logit_scale.data.fill_(9.0)
    assert model.clamped_logit_scale.item() == pytest.approx(100.0, rel=1e-5)
    model.logit_scale.data.fill_(-3.0)
    assert model.clamped_logit_scale.item() == 1.0
    assert model(**triplet).logits_per_image.abs().max().item() <= 1.0 + 1e-6


def test_the_logit_scale_stays_in_float32_and_learns_under_bfloat16(tiny_clip: Build, tmp_path: Path) -> None:
    model = tiny_clip()
    model.to(torch.bfloat16)
    assert model.logit_scale.dtype == torch.float32
    assert model.visual_projection.weight.dtype == torch.bfloat16
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07), abs=1e-6)
    optimizer = torch.optim.AdamW([model.logit_scale], lr=1e-3, weight_decay=0.0)
    for _ in range(100):
        model.logit_scale.grad = torch.full_like(model.logit_scale, -1.0)
        optimizer.step()
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07) + 0.1, abs=1e-4)
    model.save_pretrained(tmp_path)
    loaded = RSCLIPModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.logit_scale.dtype == torch.float32
    assert loaded.logit_scale.item() == model.logit_scale.item()


def test_bfloat16_features_are_close_to_float32(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(fusion="attention", infrared_tower="adapted")
    full = model(**triplet)
    half = model.to(torch.bfloat16)(**{k: v.bfloat16() if v.is_floating_point() else v for k, v in triplet.items()})
    for name in ("text_embeds", "image_embeds", "infrared_embeds", "fused_embeds"):
        cosine = torch.nn.functional.cosine_similarity(full[name], half[name].float())
        assert cosine.min().item() > 0.997, name


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_implementations_agree(tiny_clip: Build, triplet: Batch, implementation: str) -> None:
    model = tiny_clip(infrared_tower="adapted")
    expected = model(**triplet)
    model.set_attn_implementation(implementation)
    assert model.infrared_model.config._attn_implementation == implementation
    actual = model(**triplet)
    for name in ("text_embeds", "image_embeds", "infrared_embeds"):
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_gradient_checkpointing_gives_the_same_gradients(tiny_clip: Build, triplet: Batch, tower: str) -> None:
    model = tiny_clip(infrared_tower=tower, fusion="attention").train()
    model(**triplet, return_loss=True).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(**triplet, return_loss=True).loss.backward()
    actual = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, msg=name)


def test_siglip_towers_train_with_a_bias(tiny_siglip: Build, triplet: Batch) -> None:
    model = tiny_siglip(infrared_tower="adapted")
    out = model(**triplet, return_loss=True)
    expected = out.image_embeds @ out.text_embeds.t() / 0.07 - 10
    torch.testing.assert_close(out.logits_per_image, expected, rtol=1e-4, atol=1e-4)
    out.loss.backward()
    assert model.logit_bias.grad.abs().item() > 0


def test_a_short_siglip_text_is_padded_or_refused(tiny_siglip: Build, triplet: Batch) -> None:
    short = triplet["input_ids"][:, :5]
    with pytest.raises(ValueError, match="the texts have 5 tokens; a SigLIP tower was trained on texts padded to 8"):
        tiny_siglip().get_text_features(short)
    model = tiny_siglip(text_pad_token_id=1)
    full = torch.nn.functional.pad(short, (0, 3), value=1)
    expected = model.get_text_features(full).pooler_output
    torch.testing.assert_close(model.get_text_features(short).pooler_output, expected)
    torch.testing.assert_close(model.get_text_features(short, torch.ones_like(short)).pooler_output, expected)


def test_no_fusion_has_no_fused_embedding(tiny_clip: Build, triplet: Batch) -> None:
    model = tiny_clip(fusion="none")
    assert model(**triplet).fused_embeds is None
    with pytest.raises(ValueError, match="fusion='none' and therefore no fused embedding"):
        model.get_fused_features(triplet["pixel_values"])
    with pytest.raises(ValueError, match="got neither"):
        tiny_clip(fusion="mean").get_fused_features()


def test_a_loss_needs_two_modalities(tiny_clip: Build, triplet: Batch) -> None:
    with pytest.raises(ValueError, match=r"needs two modalities of a pair .* got \['rgb'\]"):
        tiny_clip()(pixel_values=triplet["pixel_values"], return_loss=True)


def test_infrared_of_the_wrong_channels_is_refused(tiny_clip: Build) -> None:
    with pytest.raises(ValueError, match="have 3 channels, the tower reads 1; pass 1 or 1"):
        tiny_clip(infrared_tower="separate").get_infrared_features(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vision_config": {"model_type": "vit"}}, "RSCLIP builds on one of"),
        ({"loss_weights": {"rgb": 1.0}}, r"loss_weights names \['rgb'\]"),
        ({"loss_weights": {"rgb_text": -1.0}}, "must not be negative"),
        ({"fusion": "attention", "fusion_heads": 7}, "does not divide the embedding width"),
        ({"logit_scale_init_value": 5.0}, "lies above logit_scale_max"),
        ({"infrared_tower": "twin"}, "infrared_tower"),
    ],
)
def test_impossible_configurations_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message):
        RSCLIPConfig(**fields)
