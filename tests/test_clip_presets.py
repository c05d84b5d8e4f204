"""Every preset builds on tiny weights and trains: what is trainable moves, what is frozen does not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from clip_sources import CHECKPOINT, FAMILIES, save_rs5m, save_sources
from datasets import Dataset
from simulated_dataset import build_simulated
from transformers import AutoModel, AutoProcessor

from modeling_rsclip import RSCLIPModel
from train import train_clip
from train.clip.build import find_source
from train.clip.config import ClipConfig, ClipDataConfig, ClipModelConfig
from train.clip.data import ClipBatches
from train.clip.presets import ARMS, CLIP_PRESETS, WEIGHTS
from train.clip.rows import load_clip_rows
from train.clip.step import ContrastiveObjective, contrastive_step
from train.engine.config import OptimConfig
from train.engine.optimizer import make_optimizer
from train.train_clip import TrainedClip

# PEFT asks for it by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

ROWS = 8
# A key's bias adds the same number to all scores of a query, which softmax takes away again: no gradient, for any loss.
WITHOUT_GRADIENT = ".k_proj.bias"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fusionrs/`, `rs5m/` and tiny weights."""
    folder = tmp_path_factory.mktemp("presets")
    build_simulated(folder / "fusionrs", 24, seed=3)
    save_rs5m(folder / "fusionrs", folder / "rs5m")
    save_sources(folder)
    return folder


def on_tiny_weights(config: ClipConfig, weights: str, place: Path) -> ClipConfig:
    """The same preset on tiny weights, small batches and float32."""
    model = replace(config.model, source=tiny_source(weights, place))
    if model.tokenizer is not None:
        model = replace(model, tokenizer=str(place / "tokenizer"))
    data = replace(config.data, path=str(place / ("fusionrs" if config.data.path == "fusionrs" else "rs5m")), workers=0)
    optim = replace(
        config.optim,
        steps=3,
        warmup_steps=1,
        batch_size=ROWS,
        learning_rate=1e-2,
        mixed_precision="no",
        weight_decay=0.0,
    )
    return replace(config, model=model, data=data, optim=optim)


def tiny_source(weights: str, place: Path) -> Path:
    family = weights.split("-")[0]
    return place / (CHECKPOINT if family == "georsclip" else FAMILIES[family])


def train_two_steps(config: ClipConfig, rows: Any = None) -> tuple[dict[str, torch.Tensor], RSCLIPModel]:
    """The weights before, and the model after two optimizer steps."""
    torch.manual_seed(config.seed)
    rows = load_clip_rows(config.data) if rows is None else rows
    model, processor = TrainedClip(config).build(config.model, rows)
    batches = ClipBatches.of(processor, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    accelerator = Accelerator(cpu=True)
    objective = ContrastiveObjective(model).train()
    optimizer, _ = make_optimizer(model, config.optim)
    for step in range(2):
        batch = batches([{**rows[index], "epoch": step} for index in range(step * ROWS, (step + 1) * ROWS)])
        result = contrastive_step(accelerator, objective, batch, 1 if config.optim.rows_at_once is None else 2)
        assert torch.isfinite(result.loss)
        optimizer.step()
        optimizer.zero_grad()
    return before, model


def assert_only_trainable_parameters_moved(before: dict[str, torch.Tensor], model: RSCLIPModel) -> None:
    parameters = dict(model.named_parameters())
    trainable = {name for name, parameter in parameters.items() if parameter.requires_grad}
    moved = {name for name, parameter in parameters.items() if not torch.equal(parameter, before[name])}
    assert trainable
    assert moved - trainable == set()
    assert {name for name in trainable - moved if not name.endswith(WITHOUT_GRADIENT)} == set()


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("weights", ["vit-b-32", "siglip2-b-16", "georsclip-l-14"])
def test_a_preset_of_every_family_trains_what_it_names(arm: str, weights: str, place: Path) -> None:
    config = on_tiny_weights(CLIP_PRESETS[f"{arm}-{weights}"][1], weights, place)
    assert_only_trainable_parameters_moved(*train_two_steps(config))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CLIP_PRESETS if not name.startswith("debug")])
def test_every_preset_trains_what_it_names(name: str, place: Path) -> None:
    _, weights = next((arm, weights) for arm in ARMS for weights in WEIGHTS if f"{arm}-{weights}" == name)
    config = on_tiny_weights(CLIP_PRESETS[name][1], weights, place)
    assert config.model.loss == ("sigmoid" if weights.startswith("siglip2") else "softmax")
    assert_only_trainable_parameters_moved(*train_two_steps(config))


def test_a_bias_of_keys_has_no_gradient_worth_the_name(place: Path) -> None:
    """Why it is left out above."""
    config = on_tiny_weights(CLIP_PRESETS["fusionrs-trimodal-vit-b-32"][1], "vit-b-32", place)
    rows = load_clip_rows(config.data)
    model, processor = TrainedClip(config).build(config.model, rows)
    batch = ClipBatches.of(processor, config)([{**rows[index], "epoch": 0} for index in range(ROWS)])
    contrastive_step(Accelerator(cpu=True), ContrastiveObjective(model), batch, 1)
    gradients = {name: p.grad.abs().max().item() for name, p in model.named_parameters() if p.grad is not None}
    keys = [value for name, value in gradients.items() if name.endswith(WITHOUT_GRADIENT)]
    values = [value for name, value in gradients.items() if name.endswith(".v_proj.bias")]
    assert len(keys) == 4
    assert max(keys) < 1e-6 < 1e-3 < min(values)


def frozen_names(place: Path, **fields: Any) -> set[str]:
    """Beginnings of the names of what a model with these fields does not train, checked by two steps."""
    defaults = {"source": place / "clip", "infrared_tower": "adapted", "fusion": "gated"}
    config = ClipConfig(
        data=ClipDataConfig(path=str(place / "fusionrs")),
        model=ClipModelConfig(**{**defaults, **fields}),
        optim=OptimConfig(steps=3, warmup_steps=1, batch_size=ROWS, learning_rate=1e-2, weight_decay=0.0),
    )
    before, model = train_two_steps(config)
    assert_only_trainable_parameters_moved(before, model)
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_frozen_towers_do_not_move_and_all_else_does(place: Path) -> None:
    text = frozen_names(place, freeze_text_tower=True)
    assert {name.split(".")[0] for name in text} == {"text_model", "text_projection"}
    rgb = frozen_names(place, freeze_rgb_tower=True)
    assert {name.split(".")[0] for name in rgb} == {"vision_model", "visual_projection"}
    infrared = frozen_names(place, freeze_infrared_tower=True)
    assert {name.split(".")[0] for name in infrared} == {"infrared_model"}
    assert all("norm" in name or "embedding" in name or "layrnorm" in name for name in infrared)
    separate = frozen_names(place, freeze_rgb_tower=True, infrared_tower="separate")
    assert {name.split(".")[0] for name in separate} == {"vision_model", "visual_projection"}
    assert frozen_names(place, freeze_logit_scale=True) == {"logit_scale"}
    assert frozen_names(place) == set()


def test_first_layers_are_frozen_with_the_embeddings_below_them(place: Path) -> None:
    text = frozen_names(place, frozen_text_layers=1)
    assert {name.split(".encoder.")[0] for name in text if ".encoder." in name} == {"text_model"}
    assert "text_model.embeddings.token_embedding.weight" in text
    assert not any("layers.1." in name or "final" in name for name in text)
    images = frozen_names(place, frozen_image_layers=2)
    assert "vision_model.encoder.layers.1.mlp.fc1.weight" in images
    assert "vision_model.pre_layrnorm.weight" in images
    assert "infrared_model.encoder.layers.1.layer_norm1.weight" in images
    assert "vision_model.post_layernorm.weight" not in images
    with pytest.raises(ValueError, match="frozen-image-layers=3, but the tower has 2 layers"):
        frozen_names(place, frozen_image_layers=3)


@pytest.mark.parametrize(
    ("pairs", "parts"),
    [
        (("rgb_text",), {"infrared_model", "fusion"}),
        (("rgb_infrared",), {"text_model", "text_projection", "fusion"}),
        (("infrared_text",), {"vision_model", "fusion"}),
        (("fused_text",), set()),
    ],
)
def test_what_no_pair_reaches_is_frozen(pairs: tuple[str, ...], parts: set[str], place: Path) -> None:
    assert {name.split(".")[0] for name in frozen_names(place, pairs=pairs)} == parts


def test_a_model_of_which_nothing_is_trained_is_refused(place: Path) -> None:
    with pytest.raises(ValueError, match="Every parameter is frozen"):
        frozen_names(
            place,
            pairs=("rgb_text",),
            infrared_tower="shared",
            fusion="none",
            freeze_text_tower=True,
            freeze_rgb_tower=True,
            freeze_logit_scale=True,
        )


def batch_of(config: ClipConfig, count: int = 12) -> tuple[dict[str, Any], Any]:
    rows = load_clip_rows(config.data)
    _, processor = TrainedClip(config).build(config.model, rows)
    return ClipBatches.of(processor, config)([{**rows[index], "epoch": 0} for index in range(count)]), processor


def test_the_duplicate_control_is_the_rgb_image_and_the_grayscale_control_is_not(place: Path) -> None:
    duplicate = on_tiny_weights(CLIP_PRESETS["fusionrs-rgb-duplicate-vit-b-32"][1], "vit-b-32", place)
    batch, _ = batch_of(duplicate)
    assert torch.equal(batch["infrared_values"], batch["pixel_values"])
    assert batch["infrared_values"].data_ptr() != batch["pixel_values"].data_ptr()
    grayscale = on_tiny_weights(CLIP_PRESETS["fusionrs-grayscale-vit-b-32"][1], "vit-b-32", place)
    grey, _ = batch_of(grayscale)
    real, _ = batch_of(on_tiny_weights(CLIP_PRESETS["fusionrs-trimodal-vit-b-32"][1], "vit-b-32", place))
    assert torch.equal(grey["pixel_values"], real["pixel_values"])
    assert not torch.allclose(grey["infrared_values"], real["infrared_values"], atol=0.1)
    # One grey value under the three normalisations of RGB: undone, the channels are equal.
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.481, 0.458, 0.408), (0.269, 0.261, 0.276)))
    grey_levels = grey["infrared_values"] * std + mean
    assert (grey_levels - grey_levels[:, :1]).abs().max() < 0.02


def test_rows_without_infrared_take_part_without_it(place: Path) -> None:
    config = on_tiny_weights(CLIP_PRESETS["fusionrs-trimodal-fused-vit-b-32"][1], "vit-b-32", place)
    config = replace(config, data=replace(config.data, also=(str(place / "rs5m"),)))
    rows = load_clip_rows(config.data)
    assert len(rows) == 2 * len(load_clip_rows(replace(config.data, also=())))
    _, processor = TrainedClip(config).build(config.model, rows)
    pairs = len(rows) // 2
    chosen = [*range(4), *range(pairs, pairs + 8)]
    batch = ClipBatches.of(processor, config)([{**rows[index], "epoch": 0} for index in chosen])
    assert not batch["infrared_present"][4:].any()
    assert batch["image_present"][4:].all(), "modality dropout leaves a row its only image"
    assert not batch["infrared_text_present"][4:].any()
    only_rgb = rows.select(range(pairs, pairs + 2 * ROWS))
    assert_only_trainable_parameters_moved(
        *train_two_steps(replace(config, model=replace(config.model, pairs=("rgb_text",))), only_rgb)
    )


def test_a_batch_without_any_infrared_image_has_a_finite_loss(place: Path) -> None:
    config = on_tiny_weights(CLIP_PRESETS["fusionrs-trimodal-vit-b-32"][1], "vit-b-32", place)
    config = replace(config, data=replace(config.data, also=(str(place / "rs5m"),)))
    rows = load_clip_rows(config.data)
    model, processor = TrainedClip(config).build(config.model, rows)
    last = range(len(rows) - ROWS, len(rows))
    batch = ClipBatches.of(processor, config)([{**rows[index], "epoch": 0} for index in last])
    assert not batch["infrared_present"].any()
    result = contrastive_step(Accelerator(cpu=True), ContrastiveObjective(model), batch, 1)
    assert result.losses["rgb_text"] > 0
    assert result.losses["infrared_text"] == result.losses["rgb_infrared"] == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("choice", ["conventional", "infrared_aware", "mixed"])
def test_a_text_choice_fills_the_infrared_text(choice: str, place: Path) -> None:
    config = on_tiny_weights(CLIP_PRESETS["fusionrs-trimodal-infrared-text-vit-b-32"][1], "vit-b-32", place)
    config = replace(config, text=replace(config.text, infrared=(choice,)))
    batch, processor = batch_of(config)
    rows = load_clip_rows(config.data)
    limit = processor.max_text_length
    for index, ids in enumerate(batch["infrared_input_ids"]):
        text = processor.tokenizer.decode(ids, skip_special_tokens=True)
        row = rows[index]
        sources = {"infrared_aware": row["infrared_captions"]}.get(choice, row["captions"])
        assert any(text.startswith(source[:12]) for source in sources)
        assert len(processor.tokenizer(text)["input_ids"]) <= limit
    same = [text == scene for text, scene in zip(batch["infrared_caption_keys"], batch["caption_keys"], strict=True)]
    assert all(same) if choice == "conventional" else not any(same)


def arguments(place: Path, output: Path, preset: str, **changes: object) -> list[str]:
    options = {
        "data.path": place / "fusionrs",
        "data.workers": 0,
        "optim.steps": 4,
        "optim.warmup-steps": 1,
        "optim.batch-size": 8,
        "output": output,
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return [preset, *(part for name, value in options.items() for part in (f"--{name}", *str(value).split("+")))]


def test_a_preset_runs_from_the_command_line_and_says_what_was_trained(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    options: dict[str, object] = {
        "model__source": place / "clip",
        "optim__mixed-precision": "no",
        "augmentation__orientation": "all",
        "augmentation__infrared-gamma": 1.5,
        "text__infrared": "mixed+infrared_aware",
    }
    name = "fusionrs-trimodal-fused-vit-b-32"
    train_clip.main([*arguments(place, output, name, **options), "--model.freeze-text-tower"])
    run = json.loads((output / "run.json").read_text())
    assert run["config"]["text"]["infrared"] == ["mixed", "infrared_aware"]
    parameters = run["parameters"]
    assert set(parameters["trained_by_part"]) == {"vision_model", "visual_projection", "fusion", "logit_scale"}
    assert sum(parameters["trained_by_part"].values()) == parameters["trained"] < parameters["total"]
    model = AutoModel.from_pretrained(output / "model")
    frozen = AutoModel.from_pretrained(place / "clip")
    assert torch.equal(
        model.text_model.embeddings.token_embedding.weight, frozen.text_model.embeddings.token_embedding.weight
    )
    assert AutoProcessor.from_pretrained(output / "model").max_text_length == 40
    entry = json.loads((output / "log.jsonl").read_text().splitlines()[-1])
    assert 0 <= entry["text_shortened"] <= 1


def test_bad_input_is_refused_with_what_to_do(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SystemExit, match=r"no preset 'fusionrs-trimodal-vit-b-33'; did you mean fusionrs-trimodal-vit-b-32"
    ):
        train_clip.main(arguments(place, tmp_path / "a", "fusionrs-trimodal-vit-b-33"))
    with pytest.raises(SystemExit):
        train_clip.main(arguments(place, tmp_path / "b", "rs5m-lora-vit-b-32", adapter__target_modules="query"))
    assert "q_proj" in "".join(capsys.readouterr())
    with pytest.raises(SystemExit):
        train_clip.main(arguments(place, tmp_path / "c", "debug", model__pairs="rgb_txt"))
    with pytest.raises(
        FileNotFoundError, match=r"model.source '.*/nowhere/at/all' does not exist here, and is no Hub id"
    ):
        train_clip.main(arguments(place, tmp_path / "d", "debug", model__source=tmp_path / "nowhere" / "at" / "all"))
    with pytest.raises(ValueError, match="has rgb_infrared, fused_text, but the rows have no infrared images"):
        train_clip.main(
            arguments(place, tmp_path / "e", "debug", data__path=place / "rs5m", model__pairs="rgb_infrared+fused_text")
        )


def test_a_source_on_the_hub_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def offline(*names: str, **_: object) -> str:
        asked.append(names)
        raise OSError("offline")

    monkeypatch.setattr("train.clip.build.hf_hub_download", offline)
    monkeypatch.setattr("train.clip.build.snapshot_download", offline)
    for source in ("ORG/no-such-clip", "Zilun/GeoRSCLIP/ckpt/RS5M_ViT-B-32.pt"):
        with pytest.raises(FileNotFoundError, match=f"'{source}' does not exist here and cannot be had from the Hub"):
            find_source(source)
    assert asked == [("ORG/no-such-clip",), ("Zilun/GeoRSCLIP", "ckpt/RS5M_ViT-B-32.pt")]


def test_rows_without_captions_are_counted_and_named(place: Path, tmp_path: Path) -> None:
    rows = load_clip_rows(ClipDataConfig(path=str(place / "fusionrs")))
    bare = [{**row, "captions": [] if index in (2, 5) else row["captions"]} for index, row in enumerate(rows)]
    (tmp_path / "data").mkdir()
    rows.from_list(bare, features=rows.features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    config = ClipConfig(data=ClipDataConfig(path=str(tmp_path)))
    with pytest.raises(
        ValueError, match=rf"2 of {len(bare)} rows have no caption \({bare[2]['id']}, {bare[5]['id']}\)"
    ):
        TrainedClip(config).build(config.model, load_clip_rows(config.data))


def test_infrared_texts_that_no_row_has_are_refused(place: Path) -> None:
    rows = load_clip_rows(ClipDataConfig(path=str(place / "fusionrs")))
    bare = rows.from_list([{**row, "infrared_captions": []} for row in rows], features=rows.features)
    with pytest.raises(ValueError, match=r"text.infrared asks for infrared captions, and no row has one"):
        TrainedClip(ClipConfig()).build(ClipModelConfig(), bare)


def test_columns_of_neither_dataset_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Dataset.from_dict({"id": ["a"], "text": ["b"]}).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=r"has the columns \['id', 'text'\]; wanted those of fusionrs"):
        load_clip_rows(ClipDataConfig(path=str(tmp_path)))


def test_a_duplicate_that_would_not_be_one_is_refused() -> None:
    config = CLIP_PRESETS["fusionrs-rgb-duplicate-vit-b-32"][1]
    with pytest.raises(ValueError, match="needs an infrared tower that reads three channels"):
        replace(config, model=replace(config.model, infrared_tower="adapted"))
    with pytest.raises(ValueError, match="shows the RGB image twice, as it is"):
        replace(config, augmentation=replace(config.augmentation, infrared_noise=0.1))


def test_every_preset_is_described_and_named_after_its_arm_and_weights() -> None:
    assert len(CLIP_PRESETS) == 2 + len(ARMS) * len(WEIGHTS)
    for name, (text, config) in CLIP_PRESETS.items():
        assert text.endswith(".")
        assert (config.model.source is None) == name.startswith("debug")
