"""Training of the translator: losses, what is masked, equal geometry, true ranges, learning, resuming, and its use."""

import io
import json
import math
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from accelerate import Accelerator
from datasets import Dataset
from inline_engine import run_inline
from PIL import Image
from simulated_dataset import build_simulated

from dataset_scripts.__main__ import main as dataset_main
from dataset_scripts.build_fusionrs import FusionRSConfig
from dataset_scripts.stages.translate import TranslationInput, TranslatorSettings, folder_sha256, open_translator
from dataset_scripts.stages.translate_unet import quantise
from evaluation.__main__ import parse as parse_evaluation
from evaluation.rows import load_split
from evaluation.translation.metrics import psnr
from evaluation.translation.pairs import read_pair
from modeling_rsclip import RSCLIPModel, RSTranslatorModel
from processing import RSImageProcessor
from train import train_translator
from train.translator.build import build_translator
from train.translator.config import TranslatorConfig, TranslatorImages, TranslatorLoss, TranslatorModelConfig
from train.translator.data import TranslatorBatches
from train.translator.features import FeatureDistance
from train.translator.losses import term_counts, term_sums, term_weights
from train.translator.presets import TRANSLATOR_PRESETS
from train.translator.step import translator_step
from train.translator.validation import mean_measures, translate_rows

TINY = TranslatorModelConfig(base_channels=8, max_channels=16, depth=2, norm_groups=4)
ALL_TERMS = TranslatorLoss(absolute=1.0, gradient=0.5, gradient_scales=2, structure=0.2)


@pytest.fixture(scope="module", autouse=True)
def inline_engine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataset_scripts.step.run_tasks", run_inline)
        yield


def encoded(pixels: np.ndarray) -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue()}


def pair_row(name: str = "a:1", side: int = 32, infrared: np.ndarray | None = None) -> dict[str, Any]:
    """A pair whose infrared is the red channel, unless another is given."""
    rgb = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    infrared = rgb[..., 0] if infrared is None else infrared
    origin = {"infrared_origin": "sensor", "infrared_band": "nir"}
    return {"id": name, "rgb": encoded(rgb), "infrared": encoded(infrared), "epoch": 0, **origin}


def processor_of(images: TranslatorImages) -> RSImageProcessor:
    return build_translator(TINY, Dataset.from_list([pair_row()]), images)[1]


def sums_and_counts(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, loss: TranslatorLoss
) -> dict[str, float]:
    counts = term_counts(valid, loss)
    return {name: float(value / counts[name]) for name, value in term_sums(prediction, target, valid, loss).items()}


def all_valid(images: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(images, dtype=torch.bool)


# Losses.


def test_a_constant_error_costs_itself_and_no_edges() -> None:
    target = torch.rand(2, 1, 16, 24)
    found = sums_and_counts(target + 0.25, target, all_valid(target), ALL_TERMS)
    assert found["absolute"] == pytest.approx(0.25, abs=1e-6)
    assert found["gradient_1"] == pytest.approx(0, abs=1e-6)
    assert found["gradient_2"] == pytest.approx(0, abs=1e-6)
    assert set(found) == set(term_weights(ALL_TERMS)) == {"absolute", "structure", "gradient_1", "gradient_2"}
    assert term_weights(ALL_TERMS)["gradient_2"] == 0.25


def test_an_error_that_rises_to_the_right_costs_its_slope_at_every_scale() -> None:
    side, slope = 16, 0.01
    target = torch.zeros(1, 1, side, side)
    ramp = target + slope * torch.arange(side)
    loss = TranslatorLoss(gradient_scales=3)
    found = sums_and_counts(ramp, target, all_valid(target), loss)
    assert found["absolute"] == pytest.approx(slope * (side - 1) / 2)
    for scale in (1, 2, 4):  # half of the neighbours lie below one another and do not differ
        assert found[f"gradient_{scale}"] == pytest.approx(slope * scale / 2, rel=1e-4)


def test_equal_images_cost_nothing_and_an_inverted_one_costs_more_than_one_in_structure() -> None:
    target = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert sums_and_counts(target, target, all_valid(target), ALL_TERMS) == pytest.approx(
        dict.fromkeys(term_weights(ALL_TERMS), 0.0), abs=1e-6
    )
    assert sums_and_counts(1 - target, target, all_valid(target), ALL_TERMS)["structure"] > 1


def test_pixels_without_data_have_no_part_in_the_loss_and_get_no_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(2, 1, 32, 32, generator=generator) for _ in range(2))
    prediction.requires_grad_()
    valid = all_valid(target)
    valid[0, :, :8, :10] = False
    sums = term_sums(prediction, target, valid, ALL_TERMS)
    sum(sums.values()).backward()
    assert (prediction.grad[~valid] == 0).all()
    assert (prediction.grad[valid] != 0).float().mean() > 0.99
    spoilt = target.masked_fill(~valid, float("nan"))
    with torch.no_grad():
        again = term_sums(prediction.masked_fill(~valid, 5.0), spoilt, valid, ALL_TERMS)
    assert {name: float(value) for name, value in again.items()} == pytest.approx(
        {name: float(value.detach()) for name, value in sums.items()}
    )
    counts = term_counts(valid, ALL_TERMS)
    assert counts["absolute"] == 2 * 32 * 32 - 80
    assert counts["structure"] == 2 * 22 * 22 - 8 * 10  # windows that begin in the hole
    assert counts["gradient_1"] == 2 * (2 * 31 * 32) - (8 * 10) - (8 * 10)
    assert counts["gradient_2"] == 2 * (2 * 15 * 16) - (4 * 5) - (4 * 5)


def step(model: Any, batch: dict[str, torch.Tensor], loss: TranslatorLoss, chunks: int = 1) -> dict[str, float]:
    found = translator_step(Accelerator(cpu=True), model, batch, chunks, loss)
    return {name: float(value) for name, value in found.items()}


def test_parts_of_a_step_add_up_to_the_step_although_one_lacks_more_data() -> None:
    model, processor = build_translator(TINY, Dataset.from_list([pair_row()]), TranslatorImages(crop=16))
    rows = [pair_row(f"a:{number}", side=32 + number) for number in range(5)]
    batch = TranslatorBatches(processor, 0, 16)(rows)
    batch["valid"][0, :, 3:] = False
    gradients, losses = [], []
    for chunks in (1, 2, 3, 6):  # the sixth part has no row
        model.zero_grad()
        losses.append(step(model, batch, ALL_TERMS, chunks))
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for other in (1, 2, 3):
        assert losses[other] == pytest.approx(losses[0], rel=1e-5)
        for one, two in zip(gradients[0], gradients[other], strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)
    weights = term_weights(ALL_TERMS)
    assert losses[0]["loss"] == pytest.approx(sum(w * losses[0][f"loss_{name}"] for name, w in weights.items()))


def test_a_step_without_any_data_moves_nothing() -> None:
    model, processor = build_translator(TINY, Dataset.from_list([pair_row()]), TranslatorImages(crop=16))
    batch = TranslatorBatches(processor, 0, 16)([pair_row()])
    batch["valid"][:] = False
    assert set(step(model, batch, ALL_TERMS).values()) == {0.0}
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


def test_features_of_a_clip_cost_by_their_distance_and_the_clip_stays_as_it_is(
    tiny_clip: Callable[..., RSCLIPModel], tmp_path: Path
) -> None:
    tiny_clip(infrared_tower="adapted").save_pretrained(tmp_path)
    RSImageProcessor(infrared_mean=(0.4,), infrared_std=(0.2,)).save_pretrained(tmp_path)
    distance = FeatureDistance(tmp_path)
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(2, 1, 32, 32, generator=generator) for _ in range(2))
    prediction.requires_grad_()
    with torch.no_grad():  # the towers' own size, so that nothing is resized
        one, two = (
            distance.clip.get_infrared_features((images - 0.4) / 0.2).last_hidden_state
            for images in (prediction, target)
        )
    expected = 1 - torch.nn.functional.cosine_similarity(one, two, dim=-1).mean(dim=1)
    found = distance(prediction, target)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)
    assert (expected > 1e-3).all()
    torch.testing.assert_close(distance(target, target), torch.zeros(2), atol=1e-5, rtol=0)
    loss = TranslatorLoss(absolute=0, gradient=0, structure=0, features=2.0, clip=tmp_path)
    valid = all_valid(target)
    valid[:, :, 16:] = False
    term_sums(prediction, target, valid, loss, distance)["features"].backward()
    assert (prediction.grad[~valid] == 0).all()
    assert prediction.grad[valid].abs().sum() > 0
    assert all(parameter.grad is None for parameter in distance.clip.parameters())


# Images.


def test_both_images_of_a_pair_are_cut_turned_and_mirrored_alike_and_differently_in_each_epoch() -> None:
    batches = TranslatorBatches(processor_of(TranslatorImages()), seed=0, crop=16)
    rows = [{**pair_row(f"a:{number}"), "epoch": epoch} for number in range(4) for epoch in range(6)]
    batch = batches(rows)
    assert batch["pixel_values"].shape == (24, 3, 16, 16)
    assert torch.equal(batch["pixel_values"][:, :1], batch["infrared_values"])
    assert batch["valid"].all()
    assert len({square.numpy().tobytes() for square in batch["infrared_values"]}) == 24
    assert torch.equal(batches(rows[5:6])["pixel_values"][0], batch["pixel_values"][5])
    assert not torch.equal(TranslatorBatches(batches.processor, 1, 16)(rows)["pixel_values"], batch["pixel_values"])


def test_a_row_without_infrared_is_named() -> None:
    with pytest.raises(ValueError, match=r"row .* has no infrared image; wanted both images of a pair"):
        read_pair({**pair_row(side=16), "infrared": None}, processor_of(TranslatorImages()))


def test_squares_come_in_all_eight_positions_or_upright_only() -> None:
    processor = processor_of(TranslatorImages())
    rows = [{**pair_row(side=16), "epoch": epoch} for epoch in range(60)]
    whole = read_pair(rows[0], processor)["infrared_values"]
    wanted = {
        turned.numpy().tobytes()
        for turns in range(4)
        for turned in (whole.rot90(turns, (-2, -1)), whole.rot90(turns, (-2, -1)).flip(-1))
    }
    turned = TranslatorBatches(processor, 0, 16)(rows)["infrared_values"]
    assert {square.numpy().tobytes() for square in turned} == wanted
    upright = TranslatorBatches(processor, 0, 16, turn_and_flip=False)(rows)["infrared_values"]
    assert {square.numpy().tobytes() for square in upright} == {whole.numpy().tobytes()}


def test_counts_of_a_sensor_come_back_as_they_were_and_nodata_is_left_out() -> None:
    counts = np.random.default_rng(0).integers(2000, 6001, (32, 32)).astype(np.uint16)
    counts[:4, :5] = 0
    images = TranslatorImages(scaling="window", low=2000, high=6000, nodata=0, crop=16)
    row = pair_row(infrared=counts)
    model, processor = build_translator(replace(TINY, output_bits=16), Dataset.from_list([row]), images)
    pair = read_pair(row, processor)
    target = pair["infrared_values"]
    assert (~pair["valid"]).sum() == 20
    assert not pair["valid"][0, :4, :5].any()
    data = counts >= 2000
    np.testing.assert_allclose(target[0].numpy()[data], (counts[data] - 2000.0) / 4000, atol=1e-6)
    np.testing.assert_array_equal(model.to_pixels(target)[0].numpy()[data], counts[data])
    written = quantise(target[0].numpy(), model.config.output_bits, model.config.output_window)
    np.testing.assert_array_equal(written, model.to_pixels(target)[0].numpy())
    assert written.dtype == np.uint16
    assert (model.config.output_window, model.config.infrared_band) == ([2000.0, 6000.0], "nir")


@pytest.mark.parametrize(
    ("images", "window"),
    [
        (TranslatorImages(), None),
        (TranslatorImages(bits=12), [0.0, 4095.0]),
        (TranslatorImages(scaling="percentile", low=1, high=99), None),
    ],
)
def test_the_rule_says_what_0_and_1_stand_for(images: TranslatorImages, window: list[float] | None) -> None:
    rows = Dataset.from_list([pair_row()])
    model, processor = build_translator(replace(TINY, output_bits=16), rows, images)
    assert model.config.output_window == window
    assert processor.infrared_scaling == images.infrared_scaling


# Runs.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_simulated(tmp_path_factory.mktemp("data") / "fusionrs", 40, size=48, seed=5)


def arguments(data: Path, output: Path, steps: int = 6, **more: object) -> list[str]:
    options: dict[str, object] = {
        "data.path": data,
        "data.workers": 0,
        "output": output,
        "images.crop": 16,
        "optim.steps": steps,
        "optim.warmup-steps": 1,
        "optim.batch-size": 4,
        "model.base-channels": 8,
        "model.max-channels": 16,
        "model.depth": 2,
        "model.norm-groups": 4,
        **more,
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "translator"
    validated = {"validation.every-steps": 3, "save.every-steps": 3}
    train_translator.main(["debug", *arguments(data, output, **validated)])
    return output


def test_two_steps_move_every_parameter(data: Path, tmp_path: Path) -> None:
    train_translator.main(["debug", *arguments(data, tmp_path / "run", steps=2)])
    trained = RSTranslatorModel.from_pretrained(tmp_path / "run" / "model")
    torch.manual_seed(0)
    images = TranslatorImages(origins=("simulated",))
    start, _ = build_translator(TINY, load_split(str(data), "train"), images)
    still = [
        name
        for (name, one), two in zip(start.named_parameters(), trained.parameters(), strict=True)
        if torch.equal(one, two)
    ]
    assert not still


def test_a_run_measures_saves_what_translates_and_says_how(finished: Path, data: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 7))
    assert set(log[0]) >= {"loss", "loss_absolute", "loss_gradient_1", "loss_gradient_4", "loss_structure"}
    measured = [entry["validation/psnr"] for entry in log if "validation/psnr" in entry]
    assert len(measured) == 2
    model = RSTranslatorModel.from_pretrained(finished / "model").eval()
    processor = RSImageProcessor.from_pretrained(finished / "model")
    rows = load_split(str(data), "validation")
    with torch.inference_mode():
        found = translate_rows(model, processor, rows, 1)
    assert mean_measures([found[:1], found[1:]])["psnr"] == pytest.approx(measured[-1], abs=1e-4)
    record = json.loads((finished / "run.json").read_text())
    assert record["config"]["images"]["origins"] == ["simulated"]
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 33, 3), dtype=np.uint8))
    pixels = processor(images=[rgb])["pixel_values"]
    np.testing.assert_array_equal((pixels[0] * 255).round().permute(1, 2, 0).numpy(), np.asarray(rgb))
    with torch.inference_mode():
        made = model.to_pixels(model(**processor(images=[rgb])).infrared)[0, 0].numpy()
    translator = open_translator(TranslatorSettings(name="unet", checkpoint=str(finished / "model")))
    [written], _ = translator.translate([TranslationInput("a", rgb)])
    assert np.abs(np.asarray(written.infrared).astype(int) - made).max() <= 1
    assert model.config.infrared_band == "thermal"


def test_a_resumed_run_is_the_uninterrupted_one(finished: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    shutil.copytree(finished / "checkpoints", output / "checkpoints")
    shutil.copy(finished / "log.jsonl", output / "log.jsonl")
    validated = {"validation.every-steps": 3, "save.every-steps": 3}
    train_translator.main(["debug", *arguments(data, output, **validated), "--save.resume"])
    assert (output / "log.jsonl").read_text() == (finished / "log.jsonl").read_text()
    whole, resumed = (RSTranslatorModel.from_pretrained(run / "model").state_dict() for run in (finished, output))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_run_goes_on_from_an_earlier_model(finished: Path, data: Path) -> None:
    images = TranslatorImages(origins=("simulated",), scaling="window", low=10, high=200)
    config = TranslatorModelConfig(source=finished / "model", base_channels=64)
    model, _ = build_translator(config, load_split(str(data), "train"), images)
    for name, value in RSTranslatorModel.from_pretrained(finished / "model").state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert (model.config.base_channels, model.config.output_window) == (8, [10.0, 200.0])


def test_gradient_checkpointing_changes_no_gradient() -> None:
    model, processor = build_translator(TINY, Dataset.from_list([pair_row()]), TranslatorImages())
    batch = TranslatorBatches(processor, 0, 16)([pair_row()])
    model.train()
    step(model, batch, ALL_TERMS)
    plain = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    step(model, batch, ALL_TERMS)
    for one, two in zip(plain, model.parameters(), strict=True):
        torch.testing.assert_close(one, two.grad)


@pytest.mark.slow
def test_one_pair_is_learnt_by_heart() -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 32), np.linspace(0, 1, 32))
    infrared = (255 * (0.5 + 0.4 * np.sin(7 * x) * np.cos(5 * y))).astype(np.uint8)
    row = pair_row(infrared=infrared)
    torch.manual_seed(0)
    model, processor = build_translator(TINY, Dataset.from_list([row]), TranslatorImages())
    batch = TranslatorBatches(processor, 0, 32, turn_and_flip=False)([row])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        optimizer.zero_grad()
        step(model, batch, TranslatorLoss())
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = model(pixel_values=batch["pixel_values"]).infrared
    assert float(psnr(found, batch["infrared_values"], batch["valid"])) > 30


@pytest.mark.slow
def test_a_trained_translator_gives_images_their_infrared_in_a_build_that_passes_its_check(
    finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
        (tmp_path / "photos" / f"{number}.txt").write_text(f"an airport with {number} runways\n")
    output, checkpoint = tmp_path / "fusionrs", finished / "model"
    build = ["build", "fusionrs", "--source", f"folder:{tmp_path / 'photos'}", "--output", str(output)]
    rights = ["--sources.license", "CC0-1.0", "--workers", "1", "--splits.test", "0", "--splits.validation", "0"]
    unet = ["--translator.name", "unet", "--translator.checkpoint", str(checkpoint), "--translator.trust-remote-code"]
    assert not dataset_main([*build, *rights, *unet])
    assert not dataset_main(["check", str(output)])
    rows = load_split(str(output), "train")
    assert rows["infrared_origin"] == [f"translated:unet@{folder_sha256(checkpoint)}"] * 6
    model = RSTranslatorModel.from_pretrained(checkpoint).eval()
    for row in rows:
        pair = read_pair(row, RSImageProcessor.from_pretrained(checkpoint))
        with torch.inference_mode():
            made = model(pixel_values=pair["pixel_values"][None]).infrared[0]
        assert (made - pair["infrared_values"]).abs().max() < 1 / 255


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [{"infrared_origin": "luminance"}],
            r"1 of 2 rows have infrared of the origin luminance \(1\); a translator is ",
        ),
        ([{"infrared_band": "thermal"}], r"bands nir \(1\), thermal \(1\); a translator imitates one"),
    ],
)
def test_rows_that_would_teach_something_else_are_refused(changes: list[dict[str, str]], message: str) -> None:
    rows = Dataset.from_list([pair_row(), {**pair_row("a:2"), **changes[0]}])
    with pytest.raises(ValueError, match=message):
        build_translator(TINY, rows, TranslatorImages())


def test_rows_without_infrared_are_refused() -> None:
    rows = Dataset.from_list([{"id": "a", "image": pair_row()["rgb"]}])
    with pytest.raises(
        ValueError, match="the rows have no infrared images, only id, image; a translator learns from p"
    ):
        build_translator(TINY, rows, TranslatorImages())


def test_an_image_smaller_than_the_square_is_named() -> None:
    batches = TranslatorBatches(processor_of(TranslatorImages()), seed=0, crop=33)
    with pytest.raises(ValueError, match=r"row 'a:1' is 32x32, smaller than the square of 33 .* smaller --images.crop"):
        batches([pair_row()])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TranslatorImages(origins=()), "images.origins is empty"),
        (lambda: TranslatorImages(crop=15), "images.crop is 15; it must be at least 16"),
        (lambda: TranslatorImages(scaling="window"), r"rule 'window' wants \['high', 'low'\]"),
        (lambda: TranslatorImages(low=3.0), r"has parameters \['low'\]"),
        (lambda: TranslatorLoss(absolute=-1), "none may be negative, and one must be positive"),
        (lambda: TranslatorLoss(absolute=0, gradient=0, structure=0), "none may be negative, and one must be positive"),
        (lambda: TranslatorLoss(gradient_scales=0), "gradient_scales is 0; it must be at least 1"),
        (lambda: TranslatorLoss(features=0.1), r"loss.features is 0.1 and loss.clip is None; give a weight and a fold"),
        (lambda: TranslatorLoss(clip=Path("x")), r"loss.features is 0 and loss.clip is x"),
        (
            lambda: TranslatorConfig(images=TranslatorImages(crop=16), loss=TranslatorLoss(gradient_scales=5)),
            "gradient_scales=5 leave 1 pixels of a crop of 16; the coarsest scale needs 2",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_a_window_that_the_output_cannot_hold_is_refused() -> None:
    images = TranslatorImages(scaling="window", low=2000, high=6000)
    with pytest.raises(
        Exception, match=r"output_window=\[2000.0, 6000.0\]; it must be .* in 0..255, what output_bits=8"
    ):
        build_translator(TINY, Dataset.from_list([pair_row()]), images)


@pytest.mark.parametrize("name", TRANSLATOR_PRESETS)
def test_presets_are_valid_and_described(name: str) -> None:
    text, config = TRANSLATOR_PRESETS[name]
    assert text.endswith(".")
    assert config.optim.warmup_steps < config.optim.steps
    assert math.isclose(sum(term_weights(config.loss).values()), 2.1)


# The page.


def lines_of_the_page(start: str) -> list[list[str]]:
    text = (Path(__file__).parents[1] / "docs" / "training-translator.md").read_text()
    return [shlex.split(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start)]


def test_commands_of_the_page_parse() -> None:
    [train] = lines_of_the_page("accelerate launch -m train.train_translator ")
    config = tyro.extras.overridable_config_cli(TRANSLATOR_PRESETS, args=train)
    assert (config.data.path, config.output) == ("naip_pairs", Path("runs/translator"))
    [evaluation] = lines_of_the_page("python -m evaluation ")
    assert parse_evaluation(evaluation).model == "runs/translator/model"
    pairs, translated = lines_of_the_page("python -m dataset_scripts build fusionrs ")
    assert tyro.cli(FusionRSConfig, args=pairs).keep_published_splits
    translator = tyro.cli(FusionRSConfig, args=translated).translator
    assert (translator.name, translator.band, translator.trust_remote_code) == ("unet", "nir", True)
