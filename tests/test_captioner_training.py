"""Training the captioner: what the loss is of, parts and adapters that change nothing, and stages that do."""

import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from conftest import LLAMA
from peft import PeftModel
from PIL import Image
from processing_fixtures import make_scene, make_tokenizer
from simulated_dataset import build_simulated
from transformers import AutoConfig, AutoModelForCausalLM

from evaluation.captions.generation import INFRARED_PROMPT, SCENE_PROMPT, prompt
from evaluation.rows import load_split
from modeling_rsclip import RSCaptionerForConditionalGeneration, RSCLIPModel
from modeling_rsclip.losses_rscaptioner import chunked_causal_loss
from processing import RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor
from train import train_captioner
from train.captioner.build import build_captioner
from train.captioner.config import CaptionerModelConfig, LoraConfig, TaskConfig
from train.captioner.data import CaptionerBatches, TooLongError, read_instructions
from train.captioner.presets import CAPTIONER_PRESETS
from train.captioner.step import captioning_step, split_rows
from train.clip.config import AugmentationConfig

# PEFT asks transformers for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

Build = Callable[..., RSCaptionerForConditionalGeneration]
SIDE = {"height": 32, "width": 32}
SCENE, GREY = make_scene(), make_scene(seed=1)[..., 0]
EOS, IMAGE = 3, 4
TOKENS = 16


@pytest.fixture(scope="module")
def processor() -> RSCaptionerProcessor:
    return RSCaptionerProcessor(images_32(), make_tokenizer(appends_eos=False), num_image_tokens=TOKENS)


def images_32() -> RSImageProcessor:
    return RSImageProcessor(size={"shortest_edge": 32}, crop_size=SIDE)


def language(**fields: Any) -> dict[str, Any]:
    return {"text_config": {**LLAMA, "vocab_size": len(make_tokenizer(appends_eos=False)), **fields}}


def mixed_batch(processor: RSCaptionerProcessor) -> dict[str, Any]:
    """A pair, text alone, infrared alone, and RGB alone, of four lengths."""
    shown = [[("image", SCENE), ("infrared", GREY)], [], [("infrared", GREY)], [("image", SCENE)]]
    texts = ["a harbor", "an airport seen from above", "ships", "an infrared image of ships in a harbor, from above"]
    chats = [
        [
            {"role": "user", "content": [*({"type": kind, "image": image} for kind, image in images), text("say")]},
            {"role": "assistant", "content": answer},
        ]
        for images, answer in zip(shown, texts, strict=True)
    ]
    return dict(processor.prepare_conversations(chats))


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


# The loss in parts


@pytest.mark.parametrize("fields", [{}, {"tie_word_embeddings": True}, {"logits_multiplier": 0.25}])
@pytest.mark.parametrize("num_items", [None, torch.tensor(7.0)])
def test_the_loss_in_parts_is_the_plain_loss(
    tiny_captioner: Build, processor: RSCaptionerProcessor, fields: dict[str, Any], num_items: torch.Tensor | None
) -> None:
    model = tiny_captioner(infrared_tower="adapted", **language(), **fields).double()
    batch = {**mixed_batch(processor), "num_items_in_batch": num_items}
    batch["pixel_values"] = batch["pixel_values"].double()
    plain = model(**batch)
    plain.loss.backward()
    expected = gradients(model)
    parts = model.train()(**batch)
    parts.loss.backward()
    assert parts.logits is None
    assert plain.logits.shape[:2] == batch["labels"].shape
    torch.testing.assert_close(parts.loss, plain.loss, rtol=1e-6, atol=1e-6)  # both sum in float32
    assert len(expected) > 20
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("entries", [1, 99, 250, 10**9])
def test_the_head_never_sees_more_rows_than_a_part_and_only_those_with_a_label(entries: int) -> None:
    torch.manual_seed(0)
    head, states = torch.nn.Linear(8, 50), torch.randn(3, 7, 8, requires_grad=True)
    labels = torch.randint(50, (3, 7)).masked_fill(torch.rand(3, 7) < 0.4, -100)
    wanted = int((labels[:, 1:] != -100).sum())
    seen: list[int] = []
    head.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    loss = chunked_causal_loss(head, states, labels, 50, chunk_entries=entries)
    rows = max(1, entries // 50)
    assert seen == [rows] * (wanted // rows) + ([wanted % rows] if wanted % rows else [])
    plain = torch.nn.functional.cross_entropy(head(states)[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(loss, plain)
    gradient, expected = (torch.autograd.grad(one, [states, head.weight]) for one in (loss, plain))
    torch.testing.assert_close(gradient, expected)


def test_a_part_without_labels_gives_zero_gradients_and_not_none() -> None:
    head, states = torch.nn.Linear(8, 50), torch.randn(2, 3, 8, requires_grad=True)
    labels = torch.full((2, 3), -100)
    loss = chunked_causal_loss(head, states, labels, 50, num_items_in_batch=torch.tensor(4.0))
    loss.backward()
    assert loss.item() == 0
    assert states.grad is not None
    assert head.weight.grad is not None
    assert not head.weight.grad.any()


def test_logits_are_returned_to_who_asks_for_them(tiny_captioner: Build, processor: RSCaptionerProcessor) -> None:
    model, batch = tiny_captioner(**language()), mixed_batch(processor)
    full = model(**batch)
    kept = model(**batch, logits_to_keep=3)
    torch.testing.assert_close(kept.logits, full.logits[:, -3:])
    torch.testing.assert_close(kept.loss, full.loss)
    training = model.train()(**batch, logits_to_keep=1)
    torch.testing.assert_close(training.logits, full.logits[:, -1:])
    del batch["labels"]
    torch.testing.assert_close(model(**batch).logits, full.logits)


def test_a_batch_of_text_alone_gives_the_projector_a_zero_gradient(
    tiny_captioner: Build, processor: RSCaptionerProcessor
) -> None:
    batches = CaptionerBatches(processor, 0, ("pair",), TaskConfig())
    batches.instructions = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ships"}]]
    batches.conversation = lambda row: batches.instructions[0]  # type: ignore[method-assign]
    batch = batches([{"id": "a", "epoch": 0}, {"id": "b", "epoch": 0}])
    assert batch["pixel_values"].shape == (0, 3, 32, 32)
    model = tiny_captioner(**language()).train()
    model(**batch).loss.backward()
    gradient = model.model.projector.linear_1.weight.grad
    assert gradient is not None
    assert not gradient.any()


# Parts of a step


@pytest.mark.parametrize("chunks", [2, 3, 4, 6])
def test_parts_of_similar_length_give_the_loss_and_gradients_of_the_whole_step(
    tiny_captioner: Build, processor: RSCaptionerProcessor, chunks: int
) -> None:
    accelerator = Accelerator(cpu=True)
    model = tiny_captioner(infrared_tower="separate", **language()).double().train()
    batch = mixed_batch(processor)
    batch["pixel_values"] = batch["pixel_values"].double()
    whole = captioning_step(accelerator, model, batch, 1)
    expected = gradients(model)
    parts = captioning_step(accelerator, model, batch, chunks)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-7, msg=name)


def test_parts_are_as_long_as_their_own_rows(processor: RSCaptionerProcessor) -> None:
    batch = mixed_batch(processor)
    lengths = sorted(batch["attention_mask"].sum(dim=1).tolist())
    parts = split_rows(batch, 4)
    assert [part["input_ids"].shape[1] for part in parts] == lengths
    assert sum(part["input_ids"].numel() for part in parts) < batch["input_ids"].numel()
    assert sorted(len(part["pixel_values"]) for part in parts) == [0, 1, 1, 2]
    assert [int((part["labels"] != -100).sum()) for part in split_rows(batch, 6)][-2:] == [0, 0]


# Labels


def unmasked(processor: RSCaptionerProcessor, batch: dict[str, Any], row: int = 0) -> list[str]:
    """The stretches of a row that the loss is of, as text."""
    stretches: list[list[int]] = [[]]
    for label in batch["labels"][row].tolist():
        if label == -100:
            stretches.append([])
        else:
            stretches[-1].append(label)
    return [processor.tokenizer.decode(stretch) for stretch in stretches if stretch]


def test_only_the_answer_and_its_end_are_learnt(processor: RSCaptionerProcessor) -> None:
    batch = mixed_batch(processor)
    assert unmasked(processor, batch, 0) == [" a harbor</s>"]
    assert unmasked(processor, batch, 1) == [" an airport seen from above</s>"]
    generated = prompt(processor, "pair", "say")
    asked = processor(images=[[SCENE]], infrared=[[GREY]], text=generated)["input_ids"][0]
    assert batch["input_ids"][0, : len(asked)].tolist() == asked.tolist(), "training must see what generation sees"
    suffix = processor(images=[[SCENE]], infrared=[[GREY]], text=generated, suffix="a harbor")
    own = batch["attention_mask"][0].bool()
    assert suffix["input_ids"][0].tolist() == batch["input_ids"][0][own].tolist()
    assert suffix["labels"][0].tolist() == batch["labels"][0][own].tolist()


def test_every_answer_of_several_turns_is_learnt(processor: RSCaptionerProcessor) -> None:
    chat = [
        {"role": "user", "content": [{"type": "infrared", "image": GREY}, text("what is it")]},
        {"role": "assistant", "content": "a harbor"},
        {"role": "user", "content": "and how many ships"},
        {"role": "assistant", "content": "two ships"},
    ]
    batch = processor.prepare_conversations([chat])
    assert unmasked(processor, batch) == [" a harbor</s>", " two ships</s>"]
    assert processor.tokenizer.decode(batch["input_ids"][0]).endswith(
        "USER: and how many ships\nASSISTANT: two ships</s>"
    )


CHATML = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def test_a_language_models_own_chat_template_is_used(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(appends_eos=False)
    tokenizer.chat_template = CHATML
    processor = RSCaptionerProcessor(images_32(), tokenizer, num_image_tokens=2)
    processor.save_pretrained(tmp_path)
    for one in (processor, RSCaptionerProcessor.from_pretrained(tmp_path)):
        asked = prompt(one, "pair", "say")
        assert asked == "<s><|user|>\n<image>\n<infrared>\nsay</s>\n<|assistant|>\n"
        ids = one(images=[[SCENE]], infrared=[[GREY]], text=asked)["input_ids"][0].tolist()
        assert ids.count(2) == 1, "the template and the tokenizer both write the start"
        batch = one.prepare_conversations(
            [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ships"}]] * 2
        )
        assert unmasked(one, batch) == ["ships</s>"]
        assert batch["input_ids"][0].tolist().count(2) == 1


def test_a_template_that_rewrites_what_it_wrote_is_refused() -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    processor = RSCaptionerProcessor(images_32(), make_tokenizer(appends_eos=False), chat_template=template)
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ships"}]
    with pytest.raises(ValueError, match="writes message 1 of a conversation differently once more follows"):
        processor.prepare_conversations([chat])
    with pytest.raises(ValueError, match="no message of the assistant"):
        processor.prepare_conversations([chat[:1]])


# Tasks

ROW = {
    "id": "scene-1",
    "class_name": "harbor",
    "captions": ["A harbor with ships."],
    "infrared_captions": ["In this night infrared image of a harbor the sea looks bright while the quay looks dark."],
    "rgb": {"bytes": SCENE},
    "infrared": {"bytes": GREY},
}


def drawn(processor: RSCaptionerProcessor, task: TaskConfig, inputs: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Of 60 epochs of a row: images, question, answer."""
    batches = CaptionerBatches(processor, 0, inputs, task, ("harbor", "river"))
    found = []
    for epoch in range(60):
        asked, answered = batches.conversation({**ROW, "epoch": epoch})
        blocks = asked["content"] if isinstance(asked["content"], list) else [text(asked["content"])]
        found.append(("+".join(block["type"] for block in blocks[:-1]), blocks[-1]["text"], answered["content"]))
    assert found[7] == drawn_again(batches, 7, found[7])
    return found


def drawn_again(batches: CaptionerBatches, epoch: int, _: Any) -> tuple[str, str, str]:
    torch.rand(3)
    asked, answered = batches.conversation({**ROW, "epoch": epoch})
    blocks = asked["content"] if isinstance(asked["content"], list) else [text(asked["content"])]
    return "+".join(block["type"] for block in blocks[:-1]), blocks[-1]["text"], answered["content"]


def test_rows_become_tasks_by_weight_and_never_ask_of_what_is_not_shown(processor: RSCaptionerProcessor) -> None:
    both = drawn(processor, TaskConfig(scene=1, infrared=1), ("pair", "rgb"))
    assert {(shown, asked) for shown, asked, _ in both} == {
        ("image+infrared", SCENE_PROMPT),
        ("image+infrared", INFRARED_PROMPT),
        ("image", SCENE_PROMPT),
    }
    assert {answer for _, asked, answer in both if asked == INFRARED_PROMPT} == set(ROW["infrared_captions"])
    questions = drawn(processor, TaskConfig(scene=0, infrared=0, question=1), ("pair",))
    answers = {asked.split("?")[0]: answer for _, asked, answer in questions}
    assert answers["Was the infrared image taken by day or by night"] == "night"
    assert answers["Does the sea look bright or dark in the infrared image"] == "bright"
    assert answers["Does the quay look bright or dark in the infrared image"] == "dark"
    assert answers["What kind of scene does this image show"] == "harbor"
    assert answers["Does this image show the scene class river"] == "no"
    blind = drawn(processor, TaskConfig(scene=0, infrared=0, question=1), ("rgb",))
    assert not any("infrared" in asked for _, asked, _ in blind)
    control = drawn(processor, TaskConfig(scene=0, infrared=0, question=1, infrared_of_rgb=True), ("rgb",))
    assert any("infrared" in asked for _, asked, _ in control)


def test_questions_are_of_the_types_that_are_wanted(processor: RSCaptionerProcessor) -> None:
    task = TaskConfig(scene=0, infrared=0, question=1, question_types=("region_brightness",))
    asked = {question.split("?")[0] for _, question, _ in drawn(processor, task, ("pair",))}
    assert asked == {f"Does the {region} look bright or dark in the infrared image" for region in ("sea", "quay")}
    with pytest.raises(ValueError, match="question_types is empty; name at least one of scene_class"):
        TaskConfig(question_types=())


def test_the_images_of_a_pair_are_turned_together(processor: RSCaptionerProcessor) -> None:
    rgb, infrared = Image.new("RGB", (32, 32)), Image.new("L", (32, 32))
    for image, bright in ((rgb, (255, 255, 255)), (infrared, 255)):
        image.paste(bright, (0, 0, 8, 4))  # in a corner, longer than high: all eight views differ
    encoded = []
    for image in (rgb, infrared):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue()})
    row = {**ROW, "rgb": encoded[0], "infrared": encoded[1]}
    batches = CaptionerBatches(
        processor, 0, ("pair",), TaskConfig(), augmentation=AugmentationConfig(orientation="all")
    )
    views = [batches([{**row, "epoch": epoch}])["pixel_values"] for epoch in range(60)]
    masks = [view[:, 0] > (view.amax() + view.amin()) / 2 for view in views]
    assert all(torch.equal(*mask) for mask in masks)
    assert {int(mask[0].sum()) for mask in masks} == {32}
    assert len({mask.numpy().tobytes() for mask in masks}) == 8
    plain = CaptionerBatches(processor, 0, ("pair",), TaskConfig())([{**row, "epoch": 0}])["pixel_values"]
    unvaried = CaptionerBatches(processor, 0, ("pair",), TaskConfig(), augmentation=AugmentationConfig())
    assert torch.equal(unvaried([{**row, "epoch": 0}])["pixel_values"], plain)


def test_a_row_without_what_it_shall_show_is_named(processor: RSCaptionerProcessor) -> None:
    row = {**ROW, "epoch": 0, "infrared": None, "infrared_captions": None}
    for shown in ("pair", "infrared"):
        with pytest.raises(
            ValueError, match=f"has no infrared image, and inputs may show {shown}; leave such rows out"
        ):
            CaptionerBatches(processor, 0, (shown,), TaskConfig()).conversation(row)  # type: ignore[arg-type]
    asked, _ = CaptionerBatches(processor, 0, ("rgb",), TaskConfig()).conversation(row)
    assert [block["type"] for block in asked["content"]] == ["image", "text"]


def test_instructions_are_replayed_in_place_of_rows(processor: RSCaptionerProcessor, tmp_path: Path) -> None:
    path = tmp_path / "instructions.jsonl"
    messages = [("user", "hi"), ("assistant", "hello"), ("user", "ships"), ("assistant", "two")]
    lines = [
        {"prompt": "add one and one", "answer": "two"},
        {"messages": [{"role": role, "content": said} for role, said in messages]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = TaskConfig(scene=1, infrared=0, instruction=1, instructions=path)
    batches = CaptionerBatches(processor, 0, ("pair",), task)
    chats = [batches.conversation({**ROW, "epoch": epoch}) for epoch in range(40)]
    counts = [sum(chat == wanted for chat in chats) for wanted in read_instructions(path)]
    assert min(counts) >= 5
    assert 10 <= sum(counts) <= 30
    batch = batches([{**ROW, "epoch": epoch} for epoch in range(12)])
    texts = [unmasked(processor, batch, row) for row in range(12)]
    assert [" hello</s>", " two</s>"] in texts
    assert [" A harbor with ships.</s>"] in texts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "a"}, "wanted prompt and answer, or messages"),
        ({"messages": []}, "wanted prompt and answer, or messages"),
        ({"prompt": 1, "answer": "b"}, "with text in both"),
        ({"messages": [{"role": "user", "content": "a"}]}, "the last message is of 'user', not an answer"),
    ],
)
def test_lines_that_are_no_instruction_are_refused(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=f"line 1: .*{message}"):
        read_instructions(path)


def test_what_does_not_fit_the_language_model_is_refused(processor: RSCaptionerProcessor, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(appends_eos=False, model_max_length=60)
    short = RSCaptionerProcessor(images_32(), tokenizer, num_image_tokens=TOKENS)
    with pytest.raises(TooLongError, match=r"a row of \['scene-1'\] has \d+ tokens, of which an image takes 16; the"):
        CaptionerBatches(short, 0, ("pair",))([{**ROW, "epoch": 0}])
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "a", "answer": "ships " * 90}) + "\n")
    with pytest.raises(TooLongError, match=r"instruction 1 of .*long.jsonl has \d+ tokens"):
        CaptionerBatches(short, 0, ("rgb",), TaskConfig(instruction=1, instructions=path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scene": -1}, "none may be negative"),
        ({"scene": 0}, "one that every row can be must be positive"),
        ({"instruction": 1}, "a weight needs a file"),
    ],
)
def test_impossible_tasks_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskConfig(**fields)


def test_pixel_shuffle_makes_a_pair_cheaper_than_one_image(tiny_captioner: Build) -> None:
    patches = 16
    for reduction, tokens in ((1, 2 * patches), (2, 2 * patches // 4), (4, 2 * patches // 16)):
        model = tiny_captioner(projector_reduction=reduction)
        seen = model.get_image_features(torch.randn(2, 3, 32, 32), torch.tensor([0, 1])).pooler_output
        assert sum(map(len, seen)) == tokens == 2 * model.config.num_image_tokens
    assert 2 * patches // 4 < patches


# Stages


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 40, seed=3)


@pytest.fixture(scope="module")
def parts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An RSCLIP folder and a language model folder."""
    from conftest import TEXT, VISION

    from modeling_rsclip import RSCLIPConfig

    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    clip = RSCLIPModel(
        RSCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16, infrared_tower="adapted")
    )
    clip.save_pretrained(folder / "clip")
    RSCLIPProcessor(images_32(), make_tokenizer()).save_pretrained(folder / "clip")
    write_language(folder / "language", "llama")
    return folder / "clip", folder / "language"


def write_language(folder: Path, kind: str, **fields: Any) -> None:
    tokenizer = make_tokenizer(appends_eos=False)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1, "vocab_size": len(tokenizer)}
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**shape, **special, **fields}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def arguments(preset: str, data: Path, output: Path, **options: Any) -> list[str]:
    fixed = {"data.path": data, "data.workers": 0, "output": output, "optim.steps": 4, "optim.warmup-steps": 1}
    fixed |= {"optim.batch-size": 6, "optim.learning-rate": 1e-2, **options}
    return [preset, *(part for name, value in fixed.items() for part in (f"--{name}", str(value)))]


@pytest.fixture(scope="module")
def stage_1(data: Path, parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "stage1"
    options = {"model.clip": parts[0], "model.language-model": parts[1]}
    train_captioner.main(arguments("projector", data, output, **options))
    return output


def load(folder: Path) -> RSCaptionerForConditionalGeneration:
    return RSCaptionerForConditionalGeneration.from_pretrained(folder).eval()


def moved(first: torch.nn.Module, second: torch.nn.Module) -> set[str]:
    other = second.state_dict()
    return {name for name, value in first.state_dict().items() if not torch.equal(value, other[name])}


def test_the_first_stage_trains_the_projector_only(stage_1: Path, data: Path, parts: tuple[Path, Path]) -> None:
    model, clip = load(stage_1 / "model"), RSCLIPModel.from_pretrained(parts[0])
    language_model = AutoModelForCausalLM.from_pretrained(parts[1])
    assert not moved(language_model.base_model, model.model.language_model)
    assert not moved(language_model.lm_head, model.lm_head)
    assert not moved(clip.vision_model, model.model.vision_tower)
    assert not moved(clip.infrared_model, model.model.infrared_tower)
    torch.manual_seed(0)
    config = CaptionerModelConfig(clip=parts[0], language_model=str(parts[1]), tune="none")
    fresh, _ = build_captioner(config, load_split(str(data), "train"))
    trained = {name for name, parameter in fresh.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(name.startswith("model.projector.") for name in trained)


def example(data: Path, folder: Path) -> dict[str, Any]:
    processor = RSCaptionerProcessor.from_pretrained(folder)
    row = load_split(str(data), "train")[0]
    return dict(CaptionerBatches(processor, 0, ("pair",))([{**row, "epoch": 0}]))


def test_the_second_stage_trains_adapters_and_merges_them(stage_1: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "stage2"
    options = {"model.captioner": stage_1 / "model", "optim.rows-at-once": 2, "model.lora.rank": 4}
    train_captioner.main(arguments("lora", data, output, **options))
    before, after = load(stage_1 / "model"), load(output / "model")
    assert moved(before, after) == {
        name for name in before.state_dict() if "projector" in name or (("_proj" in name) and "language_model" in name)
    }
    batch = example(data, output / "model")
    adapted = PeftModel.from_pretrained(load(stage_1 / "model"), output / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(adapted(**batch).logits, after(**batch).logits, rtol=1e-4, atol=1e-4)
        assert (before(**batch).logits - after(**batch).logits).abs().max() > 1e-2
    size = sum(path.stat().st_size for path in (output / "adapter").iterdir())
    assert size < (output / "model" / "model.safetensors").stat().st_size
    record = json.loads((output / "run.json").read_text())
    assert 0 < record["adapter"]["trained_parameters"] < sum(p.numel() for p in after.parameters())


def test_a_resumed_adapter_run_is_the_uninterrupted_one(stage_1: Path, data: Path, tmp_path: Path) -> None:
    options = {"model.captioner": stage_1 / "model", "save.every-steps": 2, "model.lora.rank": 2}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_captioner.main(arguments("lora", data, whole, **options))
    cut.mkdir()
    (whole / "checkpoints").rename(cut / "checkpoints")
    (cut / "log.jsonl").write_text((whole / "log.jsonl").read_text())
    saved = next((cut / "checkpoints").glob("step-*")) / "model.safetensors"
    assert saved.stat().st_size < (whole / "model" / "model.safetensors").stat().st_size
    train_captioner.main([*arguments("lora", data, cut, **options), "--save.resume"])
    assert not moved(load(whole / "model"), load(cut / "model"))


def test_adapters_suit_language_models_with_other_layers(parts: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    write_language(tmp_path / "gpt2", "gpt2", n_positions=512)
    options = {"model.clip": parts[0], "model.language-model": tmp_path / "gpt2"}
    train_captioner.main(arguments("lora", data, tmp_path / "run", **options))
    assert load(tmp_path / "run" / "model").config.text_config.model_type == "gpt2"


@pytest.mark.parametrize(("was_evaluated", "tolerance"), [(False, 1e-4), (True, 2e-2)])
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.filterwarnings("ignore:Merge lora module to 4-bit:UserWarning")
def test_adapters_on_four_bits_are_merged_as_they_were_trained(
    stage_1: Path, data: Path, tmp_path: Path, was_evaluated: bool, tolerance: float
) -> None:
    torch.manual_seed(0)
    lora = LoraConfig(rank=4, dropout=0.0)
    config = CaptionerModelConfig(captioner=stage_1 / "model", tune="qlora", lora=lora)
    model, processor = build_captioner(config, load_split(str(data), "train"))
    from bitsandbytes.nn import Linear4bit

    assert any(isinstance(module, Linear4bit) for module in model.modules())
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = example(data, stage_1 / "model")
    del batch["labels"]
    with torch.no_grad():
        trained = model.train()(**batch).logits
        if was_evaluated:  # where a CPU can, bitsandbytes then packs the weights anew, with scales of bfloat16
            model.eval()(**batch)
    train_captioner.save_captioner(model, processor, tmp_path)
    merged = load(tmp_path / "model")
    assert not any(isinstance(module, Linear4bit) for module in merged.modules())
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch).logits, trained, rtol=tolerance, atol=tolerance)
    train_captioner.main(arguments("qlora", data, tmp_path / "run", **{"model.captioner": stage_1 / "model"}))
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


def test_four_bits_without_their_library_are_refused(
    data: Path, stage_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.captioner.build.is_bitsandbytes_available", lambda: False)
    with pytest.raises(ImportError, match=r"model\.tune=qlora needs bitsandbytes, which is not installed"):
        build_captioner(CaptionerModelConfig(captioner=stage_1 / "model", tune="qlora"), load_split(str(data), "train"))


def test_folders_that_hold_no_such_model_are_refused(data: Path, parts: tuple[Path, Path], stage_1: Path) -> None:
    rows = load_split(str(data), "train")
    with pytest.raises(FileNotFoundError, match=r"model.clip=nowhere holds no config.json; wanted a folder that"):
        build_captioner(CaptionerModelConfig(clip=Path("nowhere")), rows)
    with pytest.raises(ValueError, match="holds a 'rscaptioner' model, wanted 'rsclip'"):
        build_captioner(CaptionerModelConfig(clip=stage_1 / "model"), rows)
    with pytest.raises(ValueError, match="holds a 'rsclip' model, wanted 'rscaptioner'"):
        build_captioner(CaptionerModelConfig(captioner=parts[0]), rows)
    with pytest.raises(ValueError, match="keeps a language model, and none is given: a random one would stay random"):
        build_captioner(CaptionerModelConfig(clip=parts[0], tune="none"), rows)
    with pytest.raises(ValueError, match="trains adapters and the projector; the image towers stay as they are"):
        CaptionerModelConfig(tune="lora", freeze_towers=False)


def test_a_language_model_too_short_for_a_pair_is_refused(parts: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    write_language(tmp_path, "llama", max_position_embeddings=48)
    config = CaptionerModelConfig(clip=parts[0], language_model=str(tmp_path), projector_reduction=1)
    with pytest.raises(ValueError, match=r"reads 48 tokens; a pair of 16 tokens an image and a question need 64"):
        build_captioner(config, load_split(str(data), "train"))


@pytest.mark.parametrize("name", ["debug", "projector", "lora", "qlora", "full"])
def test_presets_say_what_they_train(name: str) -> None:
    said, config = CAPTIONER_PRESETS[name]
    assert said.endswith(".")
    assert config.model.tune == {"debug": "full", "projector": "none"}.get(name, name)
