"""PSNR, SSIM, answers without a network, and the benchmark that holds a translator against them."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from simulated_dataset import build_simulated

from evaluation.__main__ import main
from evaluation.cases import load_cases
from evaluation.results import SCHEMA_FILE
from evaluation.rows import load_split
from evaluation.translation.metrics import psnr, ssim, ssim_map, valid_windows
from evaluation.translation.pairs import fit_baselines
from evaluation.translation.run import TranslationRun, rows_to_show
from modeling_rsclip import RSTranslatorConfig, RSTranslatorModel
from processing import RSImageProcessor


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def all_valid(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


def naive_ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One window after the other, with its weighted moments written out."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    result = np.empty((x.shape[0] - 10, x.shape[1] - 10))
    for row, column in np.ndindex(*result.shape):
        a, b = (image[row : row + 11, column : column + 11] for image in (x, y))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        result[row, column] = ((2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)) / (
            (mean_a**2 + mean_b**2 + 0.01**2) * (variance_a + variance_b + 0.03**2)
        )
    return result


def test_ssim_is_that_of_every_window_by_itself() -> None:
    x = images(2, 1, 17, 23)
    y = (x + 0.3 * images(2, 1, 17, 23, seed=1)).clamp(0, 1)
    found = ssim_map(x, y)
    for row in range(2):
        wanted = naive_ssim_map(x[row, 0].numpy(), y[row, 0].numpy())
        np.testing.assert_allclose(found[row, 0].numpy(), wanted, rtol=1e-10, atol=1e-12)
        assert ssim(x, y, all_valid(x))[row].item() == pytest.approx(wanted.mean())


def test_an_image_is_like_itself_and_unlike_its_negative() -> None:
    x = images(1, 1, 32, 32)
    assert ssim(x, x, all_valid(x)).item() == pytest.approx(1)
    assert ssim(x, 1 - x, all_valid(x)).item() < -0.5
    assert psnr(x, x, all_valid(x)).item() == 100


@pytest.mark.parametrize("error", [0.5, 0.1, 0.01])
def test_psnr_of_a_constant_error_is_its_logarithm(error: float) -> None:
    x = images(2, 1, 8, 8)
    assert psnr(x + error, x, all_valid(x)).tolist() == pytest.approx([-20 * math.log10(error)] * 2)


def test_what_stands_in_pixels_without_data_changes_nothing() -> None:
    x, y = images(1, 1, 24, 24), images(1, 1, 24, 24, seed=1)
    valid = all_valid(x)
    valid[..., 4:7, 2:9] = False
    spoilt = x.masked_fill(~valid, 9.0)
    for measure in (psnr, ssim):
        assert measure(spoilt, y, valid).item() == pytest.approx(measure(x, y, valid).item())
    windows = valid_windows(valid)
    wanted = [[not (4 - 10 <= r <= 6 and 2 - 10 <= c <= 8) for c in range(14)] for r in range(14)]
    assert windows[0, 0].tolist() == wanted
    assert psnr(x, y, valid).item() == pytest.approx(-10 * math.log10(((x - y) ** 2)[valid].mean()))
    assert math.isnan(ssim(x, y, torch.zeros_like(valid)).item())


def test_images_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 1, 10, 40\); SSIM wants .* at least 11 pixels a side"):
        ssim(torch.zeros(1, 1, 10, 40), torch.zeros(1, 1, 10, 40), torch.ones(1, 1, 10, 40, dtype=torch.bool))


def test_baselines_find_the_mix_of_colours_that_made_the_infrared() -> None:
    mix = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
    pairs = []
    for seed in range(3):
        rgb = images(3, 9, 7, seed=seed)
        infrared = (mix[:, None, None] * rgb).sum(dim=0, keepdim=True) + 0.3
        valid = torch.ones(1, 9, 7, dtype=torch.bool)
        valid[0, seed] = False
        pairs.append({"pixel_values": rgb, "infrared_values": infrared.masked_fill(~valid, 7.0), "valid": valid})
    fitted = fit_baselines(pairs)
    assert fitted.mix == pytest.approx((0.5, -0.2, 0.1, 0.3))
    seen = torch.cat([pair["infrared_values"][pair["valid"]] for pair in pairs])
    assert fitted.constant == pytest.approx(seen.mean().item())
    answers = fitted.answers(pairs[0]["pixel_values"])
    torch.testing.assert_close(answers["linear"][0, 1:], pairs[0]["infrared_values"][0, 1:])
    grey = np.asarray(
        Image.fromarray((pairs[0]["pixel_values"].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).convert("L")
    )
    np.testing.assert_allclose(answers["luminance"][0].numpy() * 255, grey, atol=1.6)
    assert answers["constant"].unique().tolist() == pytest.approx([fitted.constant])
    with pytest.raises(ValueError, match="no valid pixel to fit the baselines on"):
        fit_baselines([{**pairs[0], "valid": torch.zeros(1, 9, 7, dtype=torch.bool)}])


def test_shown_rows_are_of_different_groups_spread_over_the_split() -> None:
    clusters = ["a", "a", "b", "c", "c", "d", "e", "f"]
    assert rows_to_show(clusters, 3) == [0, 3, 6]
    assert rows_to_show(clusters, 99) == [0, 2, 3, 5, 6, 7]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("translation")
    build_simulated(root / "fusionrs", 40, size=32, seed=2)
    torch.manual_seed(0)
    config = RSTranslatorConfig(base_channels=8, max_channels=16, depth=2, norm_groups=4, infrared_band="thermal")
    RSTranslatorModel(config).save_pretrained(root / "model")
    RSImageProcessor(do_resize=False, do_center_crop=False, do_normalize=False).save_pretrained(root / "model")
    main(arguments(root))
    return root


def arguments(root: Path, **more: Any) -> list[str]:
    options = {"model": root / "model", "data": root / "fusionrs", "output": root / "results", **more}
    return ["run", "translation", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


def test_the_benchmark_writes_every_answer_with_its_interval(world: Path) -> None:
    record = json.loads((world / "results" / "translation.json").read_text())
    jsonschema.validate(record, json.loads(SCHEMA_FILE.read_text()))
    metrics = {metric["name"]: metric for metric in record["metrics"]}
    answers = ("translated", "luminance", "linear", "constant")
    gains = [f"gain_over_{name}" for name in answers[1:]]
    assert set(metrics) == {f"{name}/{metric}" for name in (*answers, *gains) for metric in ("psnr", "ssim")}
    rows = load_split(str(world / "fusionrs"), "test")
    assert {metric["n"] for metric in metrics.values()} == {len(rows)}
    for metric in ("psnr", "ssim"):
        gain = metrics[f"translated/{metric}"]["value"] - metrics[f"luminance/{metric}"]["value"]
        assert metrics[f"gain_over_luminance/{metric}"]["value"] == pytest.approx(gain)
    assert record["config"]["infrared_origins"] == {"simulated": len(rows)}
    [outcomes] = load_cases(world / "results" / "translation.cases.npz").texts
    assert set(outcomes.keys) == set(rows["id"])
    assert set(outcomes.clusters) == set(map(str, rows["leak_group"]))
    with Image.open(world / "results" / "translation.images.png") as figure:
        assert figure.width > 1000


def test_an_answer_of_the_benchmark_is_what_the_saved_model_gives(world: Path) -> None:
    rows = load_split(str(world / "fusionrs"), "test")
    [outcomes] = load_cases(world / "results" / "translation.cases.npz").texts
    found = dict(zip(outcomes.keys, outcomes.rows(), strict=True))[rows[0]["id"]]
    model = RSTranslatorModel.from_pretrained(world / "model").eval()
    processor = RSImageProcessor.from_pretrained(world / "model")
    inputs = processor(images=[rows[0]["rgb"]["bytes"]], infrared=[rows[0]["infrared"]["bytes"]])
    with torch.inference_mode():
        infrared = model(pixel_values=inputs["pixel_values"]).infrared
    error = float(((infrared - inputs["infrared_values"]).double() ** 2).mean())
    assert found["translated/psnr"] == pytest.approx(-10 * math.log10(error), abs=1e-4)


def test_what_cannot_be_scored_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileExistsError, match=r"translation\.json exists\. Choose another --output, or pass --overwrite"
    ):
        main(arguments(world))
    model = RSTranslatorModel.from_pretrained(world / "model")
    model.config.infrared_band = "nir"
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(
        FileNotFoundError, match=r"has no preprocessor_config\.json, which says how infrared was scaled"
    ):
        main(arguments(world, model=tmp_path / "model", output=tmp_path))
    RSImageProcessor(infrared_band="nir").save_pretrained(tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"shows the bands thermal, and .* imitates nir; score it on pairs of that band"
    ):
        main(arguments(world, model=tmp_path / "model", output=tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "rsclip"}')
    with pytest.raises(ValueError, match="is a 'rsclip' model; translation needs an 'rstranslator'"):
        main(arguments(world, model=tmp_path / "other", output=tmp_path))
    shutil.copytree(world / "fusionrs", tmp_path / "grey")
    [shard] = (tmp_path / "grey" / "data").glob("test-*.parquet")
    rows = pq.read_table(shard)
    origins = pa.array(["luminance"] * len(rows))
    pq.write_table(rows.set_column(rows.column_names.index("infrared_origin"), "infrared_origin", origins), shard)
    with pytest.raises(ValueError, match=r"of .*grey holds infrared of origin luminance, which was made from the RGB"):
        main(arguments(world, data=tmp_path / "grey", output=tmp_path))
    with pytest.raises(ValueError, match="name is 'a/b', wanted a file name"):
        TranslationRun(model="m", data=tmp_path, output=tmp_path, name="a/b")
    with pytest.raises(ValueError, match="shown_rows is 0, draws 1000; both must be at least 1"):
        TranslationRun(model="m", data=tmp_path, output=tmp_path, shown_rows=0)
