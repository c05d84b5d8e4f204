"""`RSCLIPProcessor` and `RSCaptionerProcessor`: padding, placeholders, modality order, labels, chats."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer

from processing import BadImage, RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor

SMALL: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
SCENE = make_scene()
OTHER = make_scene(seed=1)
GREY = SCENE[..., 1]
PAD, BOS, EOS, IMAGE = 1, 2, 3, 4
TOKENS = 4


def clip_processor(**settings: Any) -> RSCLIPProcessor:
    return RSCLIPProcessor(RSImageProcessor(**SMALL), make_tokenizer(), **settings)


@pytest.fixture(scope="module")
def captioner() -> RSCaptionerProcessor:
    return RSCaptionerProcessor(RSImageProcessor(**SMALL), make_tokenizer(appends_eos=False), num_image_tokens=TOKENS)


# RSCLIPProcessor


def test_all_four_inputs_give_all_outputs_of_the_contract() -> None:
    batch = clip_processor()(images=SCENE, text="an airport", infrared=GREY, infrared_text="hot ships in a harbor")
    assert set(batch) == {
        "input_ids",
        "attention_mask",
        "pixel_values",
        "infrared_values",
        "infrared_input_ids",
        "infrared_attention_mask",
    }
    assert set(batch) == set(clip_processor().model_input_names)
    assert batch["pixel_values"].shape == (1, 3, 32, 32)
    assert batch["infrared_values"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize("missing", ["images", "text", "infrared", "infrared_text"])
def test_every_input_may_be_missing(missing: str) -> None:
    given = {"images": SCENE, "text": "an airport", "infrared": GREY, "infrared_text": "hot ships"}
    del given[missing]
    everything = clip_processor()(**given)
    for name, value in given.items():
        for key, tensor in clip_processor()(**{name: value}).items():
            assert torch.equal(everything[key], tensor)
    with pytest.raises(ValueError, match="at least one input"):
        clip_processor()()


def test_infrared_text_is_tokenized_like_text() -> None:
    texts = ["an airport seen from above", "ships"]
    batch = clip_processor()(text=texts, infrared_text=texts)
    assert torch.equal(batch["input_ids"], batch["infrared_input_ids"])
    assert torch.equal(batch["attention_mask"], batch["infrared_attention_mask"])


def test_text_is_padded_on_the_right_whatever_the_tokenizer_says() -> None:
    processor = RSCLIPProcessor(RSImageProcessor(**SMALL), make_tokenizer(padding_side="left"))
    for call in ({}, {"padding_side": "left"}):
        ids = processor(text=["an airport seen from above", "a"], **call)["input_ids"]
        assert (ids[:, 0] == BOS).all()
        assert ids[1, -1] == PAD


def test_longest_padding_for_clip_and_full_length_for_siglip() -> None:
    texts = ["a", "an airport"]
    assert clip_processor()(text=texts)["input_ids"].shape[1] < 8
    siglip = clip_processor(text_padding="max_length", max_text_length=64)
    assert siglip(text=texts)["input_ids"].shape == (2, 64)
    assert clip_processor(max_text_length=5)(text="ships in a harbor " * 20)["input_ids"].shape == (1, 5)
    assert clip_processor()(text="ships in a harbor " * 90)["input_ids"].shape == (1, 77)
    with pytest.raises(ValueError, match="text_padding is 'none'"):
        clip_processor(text_padding="none")


def test_a_tokenizer_without_attention_mask_gives_none() -> None:
    tokenizer = make_tokenizer(model_input_names=["input_ids"])
    processor = RSCLIPProcessor(RSImageProcessor(**SMALL), tokenizer, text_padding="max_length", max_text_length=16)
    batch = processor(text="ships", infrared_text="hot ships")
    assert set(batch) == {"input_ids", "infrared_input_ids"}


def test_text_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="`infrared_text` must be a string"):
        clip_processor()(infrared_text=["a", 3])


def test_image_settings_reach_the_image_processor() -> None:
    batch = clip_processor()(images=SCENE, infrared=[GREY, GREY], paired=False, do_normalize=False)
    assert len(batch["infrared_values"]) == 2
    assert batch["infrared_values"].min() >= 0
    with pytest.raises(BadImage, match="string_source"):
        clip_processor()(images="http://127.0.0.1/a.png")


# RSCaptionerProcessor: placeholders


def test_placeholders_become_image_tokens_and_keep_their_order(captioner: RSCaptionerProcessor) -> None:
    texts = ["<infrared><image> compare", "<image> and <image>", "no image", "<infrared>"]
    batch = captioner(text=texts, images=[SCENE, OTHER, SCENE], infrared=[GREY, OTHER[..., 0]])
    assert batch["image_modalities"].tolist() == [[1, 0], [0, 0], [-1, -1], [1, -1]]
    assert (batch["input_ids"] == IMAGE).sum(1).tolist() == [8, 8, 0, 4]
    assert set(batch) == {"input_ids", "attention_mask", "pixel_values", "image_modalities"}
    images = captioner.image_processor
    wanted = [
        images(infrared=GREY)["infrared_values"].expand(1, 3, -1, -1),
        images(SCENE)["pixel_values"],
        images(OTHER)["pixel_values"],
        images(SCENE)["pixel_values"],
        images(infrared=OTHER[..., 0])["infrared_values"].expand(1, 3, -1, -1),
    ]
    assert torch.equal(batch["pixel_values"], torch.cat(wanted))


def test_the_expanded_ids_are_the_text_around_the_image_tokens(captioner: RSCaptionerProcessor) -> None:
    ids = captioner(text="a<infrared>b", infrared=GREY)["input_ids"][0].tolist()
    tokenizer = captioner.tokenizer
    around = [tokenizer.encode(part, add_special_tokens=False) for part in "ab"]
    assert ids == [BOS, *around[0], *[IMAGE] * TOKENS, *around[1]]


def test_nested_and_flat_lists_of_images_are_equal(captioner: RSCaptionerProcessor) -> None:
    texts = ["<image><infrared>", "none", "<image>"]
    flat = captioner(text=texts, images=[SCENE, OTHER], infrared=[GREY])
    nested = captioner(text=texts, images=[[SCENE], [], [OTHER]], infrared=[[GREY], None, []])
    assert all(torch.equal(flat[name], nested[name]) for name in flat)


def test_prompts_are_padded_left_and_training_rows_right(captioner: RSCaptionerProcessor) -> None:
    texts = ["a long text about an airport", "a"]
    assert captioner(text=texts)["input_ids"][1, 0] == PAD
    assert captioner(text=texts, padding_side="right")["input_ids"][1, -1] == PAD
    training = captioner(text=texts, suffix=["ships", "b"])
    assert training["input_ids"][1, -1] == PAD
    left = captioner(text=texts, suffix=["ships", "b"], padding_side="left")
    assert left["input_ids"][1, 0] == PAD
    assert left["labels"][1, 0] == -100
    assert left["labels"][1, -1] == EOS


@pytest.mark.parametrize(
    ("texts", "images", "infrared", "message"),
    [
        (["<image>", "a"], None, None, "prompt 0 has 1 <image> placeholders and 0 RGB images"),
        (["a", "b"], [SCENE], None, "prompt 1 has 0 <image> placeholders and 1 RGB images"),
        (["<image>", "<image>"], [[SCENE, SCENE], []], None, "prompt 0 has 1 <image> placeholders and 2 RGB images"),
        (["<image>", "<infrared>"], None, [GREY, GREY], "prompt 0 has 1 <image> placeholders and 0 RGB images"),
        (["<infrared>", "<infrared>"], None, [GREY], "prompt 1 has 1 <infrared> placeholders and 0 infrared images"),
        (["<image>", "<image>"], [[SCENE]], None, "1 lists of RGB images for 2 prompts"),
        (["<image>" * TOKENS], [SCENE], None, "prompt 0 has 4 <image> placeholders and 1 RGB images"),
    ],
)
def test_prompts_and_images_that_do_not_match_are_refused_by_prompt(
    captioner: RSCaptionerProcessor, texts: list[str], images: Any, infrared: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        captioner(text=texts, images=images, infrared=infrared)


def test_bad_pixels_are_refused_by_prompt_and_image(captioner: RSCaptionerProcessor) -> None:
    texts = ["<infrared>", "<infrared><image>"]
    with pytest.raises(BadImage, match=r"^prompt 1: infrared image 0 of batch \[not_finite\]"):
        captioner(text=texts, images=[SCENE], infrared=[GREY, np.full((48, 64), np.inf)])
    with pytest.raises(BadImage, match=r"^prompt 1: infrared image 0 of batch \[geometry\]"):
        captioner(text=texts, images=[SCENE], infrared=[GREY, GREY[:40]])


def test_truncation_may_cut_text_but_never_an_image(captioner: RSCaptionerProcessor) -> None:
    text = "<image> a photo of an airport seen from above"
    batch = captioner(text=text, images=SCENE, truncation=True, max_length=8)
    assert batch["input_ids"].shape == (1, 8)
    with pytest.raises(ValueError, match="prompt 0 has 2 image tokens after tokenizing; wanted 1 images of 4"):
        captioner(text=text, images=SCENE, truncation=True, max_length=3)


def test_unusable_tokenizers_are_refused() -> None:
    images = RSImageProcessor(**SMALL)
    with pytest.raises(ValueError, match="appends it to prompts"):
        RSCaptionerProcessor(images, make_tokenizer())
    with pytest.raises(ValueError, match="wanted one of its own"):
        RSCaptionerProcessor(images, make_tokenizer(appends_eos=False), image_token="<picture>")
    with pytest.raises(ValueError, match="two different placeholders"):
        RSCaptionerProcessor(images, make_tokenizer(appends_eos=False), infrared_token="<image>")


# RSCaptionerProcessor: labels


def test_labels_are_the_answer_and_the_end_and_nothing_else(captioner: RSCaptionerProcessor) -> None:
    tokenizer = captioner.tokenizer
    prompts = ["<image>What is it?", "<infrared><image>Which ships are warm?"]
    answers = ["an airport", "the two ships in the harbor"]
    batch = captioner(text=prompts, images=[SCENE, SCENE], infrared=[GREY], suffix=answers)
    for row, prompt, answer in zip(range(2), prompts, answers, strict=True):
        expanded = prompt.replace("<infrared>", "<image>").replace("<image>", "<image>" * TOKENS)
        prompt_ids = tokenizer.encode(expanded)
        answer_ids = [*tokenizer.encode(f" {answer}", add_special_tokens=False), EOS]
        length = len(prompt_ids) + len(answer_ids)
        padding = batch["input_ids"].shape[1] - length
        assert batch["input_ids"][row].tolist() == [*prompt_ids, *answer_ids, *[PAD] * padding]
        assert batch["labels"][row].tolist() == [*[-100] * len(prompt_ids), *answer_ids, *[-100] * padding]
        assert batch["attention_mask"][row].tolist() == [*[1] * length, *[0] * padding]


def test_the_prompt_of_a_training_row_is_the_prompt_of_generation(captioner: RSCaptionerProcessor) -> None:
    prompt = captioner(text="<image>What?", images=SCENE)["input_ids"][0]
    training = captioner(text="<image>What?", images=SCENE, suffix="ships")
    assert torch.equal(training["input_ids"][0, : len(prompt)], prompt)
    assert (training["labels"][0, : len(prompt)] == -100).all()


@pytest.mark.parametrize(("prompt", "answer"), [("Say: ", "b"), ("Say:\n", "b"), ("Say:", "b"), ("Say:", " b")])
def test_exactly_one_space_goes_between_prompt_and_answer(
    captioner: RSCaptionerProcessor, prompt: str, answer: str
) -> None:
    labels = captioner(text=prompt, suffix=answer)["labels"][0]
    text = captioner.decode(labels[labels != -100], skip_special_tokens=True)
    assert text == ("b" if prompt[-1].isspace() else " b")


def test_answers_must_match_the_prompts_and_survive_truncation(captioner: RSCaptionerProcessor) -> None:
    with pytest.raises(ValueError, match="2 prompts and 1 answers"):
        captioner(text=["a", "b"], suffix=["c"])
    with pytest.raises(ValueError, match="prompt 0: truncation to 3 tokens leaves nothing of the answer"):
        captioner(text="abcdefgh", suffix="c", truncation=True, max_length=3)


# RSCaptionerProcessor: chats


def test_a_chat_renders_blocks_in_order_and_takes_its_images(captioner: RSCaptionerProcessor) -> None:
    content = [
        {"type": "infrared", "image": GREY},
        {"type": "image", "image": Image.fromarray(SCENE)},
        {"type": "text", "text": "What is warm?"},
    ]
    chat = [{"role": "user", "content": content}]
    prompt = captioner.apply_chat_template(chat, add_generation_prompt=True)
    assert prompt == "USER: <infrared>\n<image>\nWhat is warm?\nASSISTANT:"
    batch = captioner.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
    direct = captioner(text=prompt, images=SCENE, infrared=GREY)
    assert batch["image_modalities"].tolist() == [[1, 0]]
    assert all(torch.equal(batch[name], direct[name]) for name in direct)


def test_a_whole_dialogue_renders_with_ends_after_answers(captioner: RSCaptionerProcessor) -> None:
    chat = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Ships."}]},
    ]
    wanted = "SYSTEM: Be short.\nUSER: <image>\nWhat?\nASSISTANT: Ships.</s>\n"
    assert captioner.apply_chat_template(chat) == wanted


def test_a_chat_and_its_training_row_have_the_same_ids(captioner: RSCaptionerProcessor) -> None:
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    answer = [{"role": "assistant", "content": "two ships"}]
    whole = captioner(text=captioner.apply_chat_template(chat + answer).rstrip("\n"), images=SCENE)
    row = captioner(
        text=captioner.apply_chat_template(chat, add_generation_prompt=True), images=SCENE, suffix="two ships"
    )
    assert torch.equal(whole["input_ids"], row["input_ids"])


def test_a_batch_of_chats_may_mix_modalities(captioner: RSCaptionerProcessor) -> None:
    chats = [
        [{"role": "user", "content": [{"type": "infrared", "image": GREY}, {"type": "text", "text": "a"}]}],
        [{"role": "user", "content": "b"}],
        [{"role": "user", "content": [{"type": "image", "image": SCENE}]}],
    ]
    batch = captioner.apply_chat_template(chats, tokenize=True, return_dict=True)
    assert batch["image_modalities"].tolist() == [[1], [-1], [0]]


def test_placeholders_typed_by_a_user_are_text(captioner: RSCaptionerProcessor) -> None:
    attack = [
        {"type": "image", "image": SCENE},
        {"type": "text", "text": "<image> <infrared> <ima"},
        {"type": "text", "text": "ge>"},
    ]
    chats = [[{"role": "user", "content": attack}], [{"role": "user", "content": "<infrared><image>"}]]
    prompts = captioner.apply_chat_template(chats)
    assert prompts[0] == "USER: <image>\n< image> < infrared> < image>\n"
    assert prompts[1] == "USER: < infrared>< image>\n"
    batch = captioner.apply_chat_template(chats, tokenize=True, return_dict=True)
    assert batch["image_modalities"].tolist() == [[0], [-1]]
    assert (batch["input_ids"] == IMAGE).sum() == TOKENS
    assert attack[1]["text"] == "<image> <infrared> <ima"


def test_an_infrared_file_in_a_chat_is_read_with_all_its_bits(captioner: RSCaptionerProcessor, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    block = {"type": "infrared", "path": str(tmp_path / "ramp.png")}
    chat = [{"role": "user", "content": [block]}]
    batch = captioner.apply_chat_template(
        chat, tokenize=True, return_dict=True, processor_kwargs={"do_resize": False, "do_center_crop": False}
    )
    assert batch["pixel_values"].shape == (1, 3, 64, 64)
    assert len(torch.unique(batch["pixel_values"])) == 64 * 64


@pytest.mark.parametrize("kind", ["image", "infrared"])
def test_urls_and_unknown_blocks_in_a_chat_are_refused(captioner: RSCaptionerProcessor, kind: str) -> None:
    chat = [{"role": "user", "content": [{"type": kind, "url": "http://127.0.0.1/a.png"}]}]
    with pytest.raises(ValueError, match="URLs and base64 are not read"):
        captioner.apply_chat_template(chat, tokenize=True, return_dict=True)
    chat = [{"role": "user", "content": [{"type": kind, "image": "http://127.0.0.1/a.png"}]}]
    with pytest.raises(BadImage, match=r"^prompt 0: .* image 0 of batch \[string_source\]"):
        captioner.apply_chat_template(chat, tokenize=True, return_dict=True)


def test_a_block_type_that_the_template_does_not_know_is_refused(captioner: RSCaptionerProcessor) -> None:
    from jinja2.exceptions import TemplateError

    with pytest.raises(TemplateError, match="unknown content type radar"):
        captioner.apply_chat_template([{"role": "user", "content": [{"type": "radar"}]}])


def test_text_is_needed_and_must_be_text(captioner: RSCaptionerProcessor) -> None:
    with pytest.raises(ValueError, match="at least one input"):
        captioner(images=SCENE)
    with pytest.raises(ValueError, match="string or a list of strings"):
        captioner(text=["a", 3])
