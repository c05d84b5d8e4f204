"""RSCaptioner: one pixel stream, placeholders, and every way transformers generates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import IMAGE_TOKEN, LLAMA, SIGLIP_VISION, VISION

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration

Build = Callable[..., RSCaptionerForConditionalGeneration]
TOKENS = 16  # 32 pixels in patches of 8
RGB, INFRARED, NONE = 0, 1, -1


@pytest.fixture
def prompts() -> dict[str, Any]:
    """A pair, and infrared alone, padded on the left."""
    generator = torch.Generator().manual_seed(1)
    image = [IMAGE_TOKEN] * TOKENS
    pair = [2, 10, *image, 11, *image, 12, 13]
    alone = [2, 20, *image, 21]
    padding = len(pair) - len(alone)
    return {
        "input_ids": torch.tensor([pair, [1] * padding + alone]),
        "attention_mask": torch.tensor([[1] * len(pair), [0] * padding + [1] * len(alone)]),
        "pixel_values": torch.randn(3, 3, 32, 32, generator=generator),
        "image_modalities": torch.tensor([[RGB, INFRARED], [INFRARED, NONE]]),
    }


def greedy(model: RSCaptionerForConditionalGeneration, inputs: dict[str, Any], **options: Any) -> torch.Tensor:
    out = model.generate(**inputs, **{"max_new_tokens": 8, "do_sample": False, **options})
    start = inputs["input_ids"].shape[1] if inputs.get("input_ids") is not None else 0
    return out[:, start:]


def by_hand(model: RSCaptionerForConditionalGeneration, inputs: dict[str, Any], steps: int = 8) -> torch.Tensor:
    """Greedy decoding without any cache: the reference."""
    ids, mask, new = inputs["input_ids"], inputs["attention_mask"], []
    for _ in range(steps):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            logits = model(**{**inputs, "input_ids": ids, "attention_mask": mask, "position_ids": positions}).logits
        new.append(logits[:, -1].argmax(-1, keepdim=True))
        ids, mask = torch.cat([ids, new[-1]], 1), torch.cat([mask, torch.ones_like(new[-1])], 1)
    return torch.cat(new, 1)


@pytest.fixture(params=["shared", "adapted", "separate"])
def captioner(request: pytest.FixtureRequest, tiny_captioner: Build) -> RSCaptionerForConditionalGeneration:
    model = tiny_captioner(infrared_tower=request.param)
    torch.nn.init.normal_(model.lm_head.weight, std=1.0)  # fresh heads are nearly flat: ties would hide differences
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_cache": False},
        {"cache_implementation": "static", "disable_compile": True},
        {"prefill_chunk_size": 16},
        {"prefill_chunk_size": 7},
        {"num_beams": 1, "num_return_sequences": 1},
    ],
    ids=["cache", "no_cache", "static", "chunks_16", "chunks_7", "one_beam"],
)
def test_every_way_to_decode_equals_decoding_by_hand(
    captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any], options: dict[str, Any]
) -> None:
    assert torch.equal(greedy(captioner, prompts, **options), by_hand(captioner, prompts))


def test_a_batch_equals_its_rows_alone(captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]) -> None:
    together = greedy(captioner, prompts)
    ids, mask = prompts["input_ids"], prompts["attention_mask"].bool()
    for row, images in ((0, slice(0, 2)), (1, slice(2, 3))):
        alone = {
            "input_ids": ids[row][mask[row]][None],
            "attention_mask": torch.ones_like(ids[row][mask[row]][None]),
            "pixel_values": prompts["pixel_values"][images],
            "image_modalities": prompts["image_modalities"][row : row + 1],
        }
        assert torch.equal(greedy(captioner, alone), together[row : row + 1])


def test_beams_keep_each_prompts_images(
    captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]
) -> None:
    together = greedy(captioner, prompts, num_beams=3)
    pair = {
        **{name: prompts[name][:1] for name in ("input_ids", "attention_mask", "image_modalities")},
        "pixel_values": prompts["pixel_values"][:2],
    }
    assert torch.equal(greedy(captioner, pair, num_beams=3), together[:1])
    several = captioner.generate(**prompts, max_new_tokens=4, num_beams=3, num_return_sequences=3, do_sample=False)
    assert several.shape == (6, prompts["input_ids"].shape[1] + 4)


def test_prompt_lookup_equals_greedy(captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]) -> None:
    pair = {
        **{name: prompts[name][:1] for name in ("input_ids", "attention_mask", "image_modalities")},
        "pixel_values": prompts["pixel_values"][:2],
    }
    assert torch.equal(greedy(captioner, pair, prompt_lookup_num_tokens=3), greedy(captioner, pair))


def test_input_embeddings_equal_input_ids(
    captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]
) -> None:
    embeds = captioner.get_input_embeddings()(prompts["input_ids"])
    inputs = {**prompts, "input_ids": None, "inputs_embeds": embeds}
    assert torch.equal(greedy(captioner, inputs), greedy(captioner, prompts))


def test_text_alone_generates(captioner: RSCaptionerForConditionalGeneration) -> None:
    assert captioner.generate(input_ids=torch.tensor([[2, 10, 11]]), max_new_tokens=3).shape == (1, 6)


def test_swapping_the_two_images_changes_the_caption_loss(
    captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]
) -> None:
    labels = prompts["input_ids"].masked_fill(prompts["input_ids"] < 5, -100)
    loss = captioner(**prompts, labels=labels).loss.item()
    swapped = {**prompts, "pixel_values": prompts["pixel_values"][[1, 0, 2]]}
    assert captioner(**swapped, labels=labels).loss.item() != pytest.approx(loss, abs=1e-6)


def test_the_modality_of_an_image_matters(
    captioner: RSCaptionerForConditionalGeneration, prompts: dict[str, Any]
) -> None:
    other = {**prompts, "image_modalities": torch.tensor([[INFRARED, RGB], [RGB, NONE]])}
    assert not torch.allclose(captioner(**prompts).logits, captioner(**other).logits, atol=1e-5)


@pytest.mark.parametrize("tower", ["adapted", "separate"])
def test_mixed_streams_keep_their_order(tiny_captioner: Build, prompts: dict[str, Any], tower: str) -> None:
    model = tiny_captioner(infrared_tower=tower)
    modalities = torch.tensor([INFRARED, RGB, INFRARED])
    mixed = model.get_image_features(prompts["pixel_values"], modalities).pooler_output
    for row in range(3):
        alone = model.get_image_features(prompts["pixel_values"][row : row + 1], modalities[row : row + 1])
        torch.testing.assert_close(mixed[row], alone.pooler_output[0])


def test_the_loss_is_the_mean_cross_entropy_of_the_labels(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    model = tiny_captioner()
    labels = torch.full_like(prompts["input_ids"], -100)
    labels[:, -2:] = prompts["input_ids"][:, -2:]
    out = model(**prompts, labels=labels)
    logits = out.logits[:, :-1].log_softmax(-1)
    picked = logits.gather(-1, prompts["input_ids"][:, 1:, None])[:, -2:, 0]
    torch.testing.assert_close(out.loss, -picked.mean())


def test_pixel_shuffle_merges_squares_of_patches(tiny_captioner: Build) -> None:
    projector = tiny_captioner(projector_reduction=2).model.projector
    patches = torch.arange(16.0).view(1, 16, 1)  # a grid of 4 x 4, one channel
    assert projector._merge(patches).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_pixel_shuffle_needs_a_quarter_of_the_placeholders(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    model = tiny_captioner(projector_reduction=2)
    assert model.config.num_image_tokens == 4
    with pytest.raises(ValueError, match="prompt 0 holds 32 image placeholders, its 2 images need 8"):
        model(**prompts)


def test_siglip_towers_caption(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    model = tiny_captioner(vision_config=SIGLIP_VISION, vision_feature_select_strategy="full", infrared_tower="adapted")
    assert torch.equal(greedy(model, prompts), by_hand(model, prompts))


@pytest.mark.parametrize("entry", ["forward", "generate"])
@pytest.mark.parametrize(
    ("moved", "message"),
    [
        ("image", "prompt 0 holds 16 image placeholders, its 2 images need 32"),
        ("tokens", "prompt 0 holds 24 image placeholders, its 2 images need 32"),
        ("rgb_lost", "image_modalities names 3 images|room for 3 images, pixel_values holds 2"),
        ("extra", "room for 3 images, pixel_values holds 4"),
    ],
)
def test_placeholders_of_another_prompt_are_refused(
    tiny_captioner: Build, prompts: dict[str, Any], entry: str, moved: str, message: str
) -> None:
    """The total fits in the first two cases: image tokens would move from one prompt to the other."""
    ids, pixels = prompts["input_ids"].clone(), prompts["pixel_values"]
    first = (ids[0] == IMAGE_TOKEN).nonzero().flatten()
    free = [position for position in range(ids.shape[1]) if ids[1, position] != IMAGE_TOKEN]
    count = {"image": 16, "tokens": 8}.get(moved, 0)
    ids[0, first[:count]] = 30
    ids[1, free[:count]] = IMAGE_TOKEN
    pixels = {"rgb_lost": pixels[1:], "extra": torch.cat([pixels, pixels[:1]])}.get(moved, pixels)
    mask = torch.ones_like(ids)
    inputs = {**prompts, "input_ids": ids, "attention_mask": mask, "pixel_values": pixels}
    model = tiny_captioner()
    with pytest.raises(ValueError, match=message):
        model(**inputs) if entry == "forward" else model.generate(**inputs, max_new_tokens=1)


def test_right_padding_is_refused_before_generating(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    mask = prompts["attention_mask"].flip(1)
    with pytest.raises(ValueError, match="padded on the right, and generation would continue the padding"):
        tiny_captioner().generate(**{**prompts, "attention_mask": mask}, max_new_tokens=1)


def test_a_pixel_that_is_not_finite_is_refused(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    pixels = prompts["pixel_values"].clone()
    pixels[1, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match=r"pixel_values of image \[1\] hold NaN or infinity"):
        tiny_captioner().generate(**{**prompts, "pixel_values": pixels}, max_new_tokens=1)


def test_a_class_token_cannot_be_a_patch() -> None:
    with pytest.raises(Exception, match="set vision_feature_select_strategy='full'"):
        RSCaptionerConfig(vision_config=SIGLIP_VISION, text_config=LLAMA)
    with pytest.raises(Exception, match="set vision_feature_select_strategy='default'"):
        RSCaptionerConfig(vision_config=VISION, text_config=LLAMA, vision_feature_select_strategy="full")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("tower", ["shared", "adapted", "separate"])
def test_save_and_load_keep_every_weight(
    tiny_captioner: Build, prompts: dict[str, Any], tmp_path: Path, tower: str, tied: bool
) -> None:
    model = tiny_captioner(infrared_tower=tower, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    loaded = RSCaptionerForConditionalGeneration.from_pretrained(tmp_path).eval()
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    same_head = loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert same_head == tied
    torch.testing.assert_close(loaded(**prompts).logits, model(**prompts).logits)


def test_gradient_checkpointing_gives_the_same_gradients(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    model = tiny_captioner(infrared_tower="adapted").train()
    labels = prompts["input_ids"].masked_fill(prompts["input_ids"] < 5, -100)
    model(**prompts, labels=labels).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(**prompts, labels=labels).loss.backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, gradient, msg=name)


def test_attentions_are_returned_while_generating(tiny_captioner: Build, prompts: dict[str, Any]) -> None:
    model = tiny_captioner()
    model.set_attn_implementation("eager")
    out = model.generate(**prompts, max_new_tokens=3, output_attentions=True, return_dict_in_generate=True)
    assert len(out.attentions) == 3
    torch.testing.assert_close(out.attentions[0][0][0, :, -1].sum(-1), torch.ones(4))
