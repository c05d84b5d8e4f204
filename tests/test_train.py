"""Training: order, captions and dropout are functions of the seed; a run learns, saves and loads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TEXT, VISION
from processing_fixtures import make_tokenizer
from simulated_dataset import build_simulated
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedModel,
)

from evaluation.rows import load_split
from modeling_rsclip import RSCaptionerForConditionalGeneration, RSCLIPModel
from processing import RSCLIPProcessor
from train import train_captioner, train_clip
from train.captioner.build import build_captioner
from train.captioner.config import CaptionerModelConfig
from train.captioner.presets import CAPTIONER_PRESETS
from train.clip.build import build_clip
from train.clip.config import ClipModelConfig, TowerSize
from train.clip.data import ClipBatches, text_key
from train.clip.presets import CLIP_PRESETS
from train.data.draw import draw
from train.data.order import DataOrder, RankBatches
from train.engine.config import OptimConfig
from train.engine.optimizer import cosine_with_warmup, make_optimizer

SIZE = TowerSize(image_size=32, width=32, vision_layers=2, text_layers=1, heads=2, vocabulary=400)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "fusionrs"
    return build_simulated(folder, 48, seed=3)


@pytest.fixture(scope="module")
def clip_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "clip"
    train_clip.main(["debug", *arguments(data, output, steps=12)])
    return output


def arguments(data: Path, output: Path, steps: int) -> list[str]:
    options = {
        "data.path": data,
        "data.workers": 0,
        "output": output,
        "optim.steps": steps,
        "optim.warmup-steps": 2,
        "optim.batch-size": 8,
    }
    if "clip" in output.name:
        sizes = {"image-size": 32, "width": 32, "vision-layers": 2, "text-layers": 1, "heads": 2, "vocabulary": 400}
        options |= {f"model.size.{name}": value for name, value in sizes.items()}
    else:
        options |= {"model.size.width": 32, "model.size.layers": 1, "model.size.heads": 2}
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 3), (12, 4), (97, 16), (5, 5)])
def test_every_epoch_is_a_permutation_cut_into_equal_steps(rows: int, batch_size: int) -> None:
    order = DataOrder(rows, batch_size, seed=0)
    epochs = [
        [order.rows_of_step(epoch * order.steps_per_epoch + step) for step in range(order.steps_per_epoch)]
        for epoch in range(2)
    ]
    for number, steps in enumerate(epochs):
        assert sorted(row for step in steps for row in step) == [(number, row) for row in range(rows)]
        sizes = {len(step) for step in steps}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
    first, second = ([row for step in steps for _, row in step] for steps in epochs)
    assert first != second


def test_a_step_depends_on_the_seed_alone_and_is_shared_out_among_ranks() -> None:
    order, again = DataOrder(50, 12, seed=3), DataOrder(50, 12, seed=3)
    late = again.rows_of_step(17)
    assert [order.rows_of_step(step) for step in range(20)][17] == late
    assert DataOrder(50, 12, seed=4).rows_of_step(17) != late
    for ranks in (1, 2, 3, 4):
        shares = [order.rows_of_rank(17, rank, ranks) for rank in range(ranks)]
        assert [row for share in shares for row in share] == late
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert list(RankBatches(order, 15, 18, 1, 2)) == [order.rows_of_rank(step, 1, 2) for step in (15, 16, 17)]
    with pytest.raises(ValueError, match=r"step 17 has 10 rows for 11 processes"):
        order.rows_of_rank(17, 0, 11)


def test_a_split_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="The split has 3 rows, fewer than one batch of 4"):
        DataOrder(3, 4, seed=0)


def test_draws_depend_on_their_names_only() -> None:
    first = torch.rand(3, generator=draw(0, "a", 1))
    torch.manual_seed(5)
    assert torch.equal(first, torch.rand(3, generator=draw(0, "a", 1)))
    assert not torch.equal(first, torch.rand(3, generator=draw(0, "a", 2)))


def test_text_keys_are_equal_for_equal_texts_only() -> None:
    assert text_key("Two ships") == text_key("two ships")
    assert len({text_key(f"ship {number}") for number in range(10_000)}) == 10_000
    assert -(2**63) <= text_key("ship") < 2**63


def batch_of(data: Path, **changes: Any) -> dict[str, Any]:
    rows = load_split(str(data), "train")
    _, processor = build_clip(ClipModelConfig(size=SIZE), rows)
    settings = {"seed": 0, "modality_dropout": 0.0, "pairs": ("rgb_text", "infrared_infrared_text"), **changes}
    return ClipBatches(processor, **settings)([{**rows[index], "epoch": 0} for index in range(16)])


def test_batches_are_reproducible_and_change_with_the_seed(data: Path) -> None:
    first, again, other = (batch_of(data, seed=seed) for seed in (0, 0, 1))
    for name, value in first.items():
        assert torch.equal(value, again[name]) if isinstance(value, torch.Tensor) else value == again[name]
    assert torch.equal(first["pixel_values"], other["pixel_values"])
    assert first["input_ids"].shape != other["input_ids"].shape or not torch.equal(
        first["input_ids"], other["input_ids"]
    )


def test_a_dropped_modality_leaves_the_other(data: Path) -> None:
    batch = batch_of(data, modality_dropout=0.9)
    rgb, infrared = batch["image_present"], batch["infrared_present"]
    assert (rgb | infrared).all()
    assert 8 <= (~rgb | ~infrared).sum().item() <= 16
    assert 0 < (~rgb).sum().item() < 16


def test_inputs_that_no_pair_needs_are_not_made(data: Path) -> None:
    batch = batch_of(data, pairs=("rgb_text",))
    assert "infrared_values" not in batch
    assert "infrared_input_ids" not in batch


def test_small_text_towers_read_texts_to_their_last_word(data: Path) -> None:
    model, processor = build_clip(ClipModelConfig(size=SIZE), load_split(str(data), "train"))
    assert processor.tokenizer.eos_token_id == len(processor.tokenizer) - 1 < SIZE.vocabulary
    texts = processor(text=["Two ships near a pier", "Two ships near a pier at night"], return_tensors="pt")
    with torch.no_grad():
        first, second = model.eval().get_text_features(**texts).pooler_output
    # Pooled at any place before the end mark, the two would be equal.
    assert (first - second).abs().max() > 1e-3


def test_a_small_siglip_tower_is_built_and_used_by_a_captioner(data: Path, tmp_path: Path) -> None:
    rows = load_split(str(data), "train")
    model, processor = build_clip(ClipModelConfig(size=replace(SIZE, tower="siglip")), rows)
    assert {model.vision_model.config.model_type, model.infrared_model.config.model_type} == {"siglip_vision_model"}
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    captioner, _ = build_captioner(CaptionerModelConfig(clip=tmp_path, feature_layer=-1), rows)
    assert captioner.config.vision_feature_select_strategy == "full"
    assert captioner.config.vision_feature_layer == -1
    assert captioner.config.text_config.initializer_range == captioner.config.text_config.hidden_size**-0.5


def test_the_schedule_rises_and_falls() -> None:
    shares = [cosine_with_warmup(step, warmup_steps=10, steps=110) for step in range(111)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[60] == pytest.approx(0.5)
    assert shares[110] == pytest.approx(0.0)


def test_only_matrices_decay(tiny_clip: Any) -> None:
    model = tiny_clip(infrared_tower="adapted")
    optimizer, _ = make_optimizer(model, OptimConfig(steps=10, warmup_steps=1))
    decayed, kept = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert optimizer.param_groups[1]["weight_decay"] == 0.0
    assert id(model.logit_scale) in kept
    assert id(model.visual_projection.weight) in decayed
    assert len(decayed) + len(kept) == len(list(model.parameters()))


def test_a_run_learns_saves_and_loads(clip_run: Path, data: Path) -> None:
    log = [json.loads(line) for line in (clip_run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 13))
    assert set(log[0]) >= {"loss_rgb_text", "loss_infrared_text", "loss_fused_text", "gradient_norm", "learning_rate"}
    run = json.loads((clip_run / "run.json").read_text())
    assert run["config"]["optim"]["steps"] == 12
    assert run["final"]["loss"] == log[-1]["loss"]
    model = RSCLIPModel.from_pretrained(clip_run / "model").eval()
    processor = RSCLIPProcessor.from_pretrained(clip_run / "model")
    rows = load_split(str(data), "train")
    inputs = processor(images=[rows[0]["rgb"]["bytes"]], infrared=[rows[0]["infrared"]["bytes"]], text="a harbor")
    assert model(**inputs).fused_embeds.norm().item() == pytest.approx(1.0, abs=1e-5)


def test_the_same_seed_gives_the_same_weights(clip_run: Path, data: Path, tmp_path: Path) -> None:
    train_clip.main(["debug", *arguments(data, tmp_path / "clip", steps=12)])
    first, second = (RSCLIPModel.from_pretrained(run / "model") for run in (clip_run, tmp_path / "clip"))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_captioner_trains_on_frozen_towers(clip_run: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "captioner"
    train_captioner.main(["debug", "--model.clip", str(clip_run / "model"), *arguments(data, output, steps=6)])
    captioner = RSCaptionerForConditionalGeneration.from_pretrained(output / "model")
    clip = RSCLIPModel.from_pretrained(clip_run / "model")
    for name, value in clip.vision_model.state_dict().items():
        assert torch.equal(captioner.model.vision_tower.state_dict()[name], value), name
    log = [json.loads(line)["loss"] for line in (output / "log.jsonl").read_text().splitlines()]
    assert log[-1] < log[0]


LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "hidden_size": None},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 256},
    "phi": {},
    "cohere": {"logit_scale": 0.0625},
    "granite": {"logits_scaling": 8.0},
}


def write_language_model(folder: Path, kind: str) -> PreTrainedModel:
    tokenizer = make_tokenizer(appends_eos=False)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1, "vocab_size": len(tokenizer)}
    fields = {name: value for name, value in {**shape, **special, **LANGUAGE_MODELS[kind]}.items() if value is not None}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_a_captioner_speaks_as_its_language_model(clip_run: Path, data: Path, tmp_path: Path, kind: str) -> None:
    language = write_language_model(tmp_path / "language", kind)
    config = CaptionerModelConfig(
        clip=clip_run / "model", language_model=str(tmp_path / "language"), projector_reduction=1
    )
    captioner, _ = build_captioner(config, load_split(str(data), "train"))
    captioner.save_pretrained(tmp_path / "captioner")
    loaded = RSCaptionerForConditionalGeneration.from_pretrained(tmp_path / "captioner").eval()
    tokens = torch.tensor([[2, 10, 20, 30, 40]])
    with torch.no_grad():
        expected = language(input_ids=tokens).logits
        torch.testing.assert_close(loaded(input_ids=tokens).logits, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.02, "flat logits would hide a head that scales them"


def test_a_head_that_the_captioner_does_not_know_is_refused(
    clip_run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_language_model(tmp_path, "granite")
    monkeypatch.setattr("train.captioner.build._logits_multiplier", lambda config: 1.0)
    config = CaptionerModelConfig(clip=clip_run / "model", language_model=str(tmp_path), projector_reduction=1)
    with pytest.raises(
        ValueError, match="a granite model computes its logits in a way that the captioner does not know"
    ):
        build_captioner(config, load_split(str(data), "train"))


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step \d+"):
        train_clip.main(["debug", *arguments(data, tmp_path / "clip", steps=12), "--optim.learning-rate", "1e30"])


def test_a_run_continues_from_an_earlier_one(clip_run: Path, data: Path) -> None:
    rows = load_split(str(data), "train")
    model, _ = build_clip(ClipModelConfig(source=clip_run / "model", pairs=("rgb_text",)), rows)
    for name, value in RSCLIPModel.from_pretrained(clip_run / "model").state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert model.config.infrared_tower == "adapted"
    assert [name for name, weight in model.config.loss_weights.items() if weight] == ["rgb_text"]


def test_a_run_starts_from_a_clip_of_transformers(data: Path, tmp_path: Path) -> None:
    rows = load_split(str(data), "train")
    _, processor = build_clip(ClipModelConfig(size=SIZE), rows)
    text = {**TEXT, "vocab_size": len(processor.tokenizer), "max_position_embeddings": 77}
    torch.manual_seed(0)
    source = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)).eval()
    source.save_pretrained(tmp_path)
    processor.tokenizer.save_pretrained(tmp_path)
    square = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square).save_pretrained(tmp_path)
    model, processor = build_clip(ClipModelConfig(source=tmp_path, infrared_tower="separate"), rows)
    assert processor.image_processor.crop_size["height"] == 32
    inputs = processor(images=[rows[0]["rgb"]["bytes"]], text="Two ships")
    with torch.no_grad():
        expected = source.get_image_features(inputs["pixel_values"]).pooler_output
        torch.testing.assert_close(model.get_image_features(inputs["pixel_values"]).pooler_output, expected)


@pytest.mark.parametrize("name", CLIP_PRESETS)
def test_clip_presets_are_valid_and_described(name: str) -> None:
    text, config = CLIP_PRESETS[name]
    assert text.endswith(".")
    assert replace(config, seed=1).seed == 1


@pytest.mark.parametrize("name", CAPTIONER_PRESETS)
def test_captioner_presets_are_valid_and_described(name: str) -> None:
    text, config = CAPTIONER_PRESETS[name]
    assert text.endswith(".")
    assert config.optim.warmup_steps < config.optim.steps


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"steps": 0}, "at least 1"), ({"steps": 5, "warmup_steps": 5}, "from 0 to below the 5 steps")],
)
def test_impossible_plans_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimConfig(**fields)
