"""RGB to infrared-style images: the three translators, and that an image's pixels depend on that image alone."""

import hashlib
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translation_fixtures import (
    assert_alone_together_and_reordered_are_the_same,
    assert_whole,
    hashes,
    picture,
    pictures,
)

from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.translate import (
    REASONS,
    TranslationInput,
    TranslatorSettings,
    folder_sha256,
    image_seed,
    images_in_fixed_batches,
    open_translator,
)
from dataset_scripts.stages.translate_unet import quantise
from dataset_scripts.steps.infrared_step import InfraredStep
from modeling_rsclip import RSCLIPConfig, RSTranslatorConfig, RSTranslatorModel

LUMINANCE = TranslatorSettings(name="luminance")


# Settings and seeds.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "sepia"}, "name is 'sepia'; wanted one of ('luminance', 'unet', 'diffv2ir')."),
        ({"dtype": "int8"}, "dtype is 'int8'; wanted one of"),
        ({"segmentation": "sam"}, "segmentation is 'sam'; wanted one of (None, 'absent', 'given')."),
        ({"checkpoint": "somewhere"}, "checkpoint is 'somewhere' for 'luminance'; luminance takes none"),
        ({"name": "unet"}, "checkpoint is None for 'unet'; luminance takes none, the others need a folder"),
        ({"caption_conditioned": True}, "'luminance' knows no captions and no segmentation"),
        ({"name": "unet", "checkpoint": "x", "segmentation": "absent"}, "'unet' knows no captions"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1."),
        ({"cpu_threads": 0}, "cpu_threads is 0; it must be at least 1."),
        ({"steps": 0}, "steps is 0; it must be at least 1."),
        ({"resolution": 500}, "resolution is 500; wanted a multiple of 64."),
        ({"resolution": 0}, "resolution is 0; wanted a multiple of 64."),
        ({"text_guidance": float("nan")}, "guidance is (nan, 1.5, 1.5)"),
        ({"max_megapixels": 0}, "max_megapixels 0; wanted finite, positive."),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TranslatorSettings(**{"name": "luminance", **fields})


def test_the_settings_travel_to_another_process() -> None:
    settings = TranslatorSettings(name="diffv2ir", checkpoint="somewhere", segmentation="absent", seed=7)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_defaults_are_those_that_fusionrs_published() -> None:
    settings = TranslatorSettings(name="diffv2ir", checkpoint="somewhere")
    guidance = (settings.text_guidance, settings.image_guidance, settings.segmentation_guidance)
    assert (settings.resolution, settings.steps, settings.seed, guidance) == (512, 20, 1234, (7.5, 1.5, 1.5))
    assert not settings.caption_conditioned


def test_a_function_that_segments_and_the_setting_go_together() -> None:
    with pytest.raises(ValueError, match="segmentation is None and segment is <function"):
        open_translator(LUMINANCE, segment=lambda image: image)
    with pytest.raises(ValueError, match="segmentation is 'given' and segment is None"):
        open_translator(TranslatorSettings(name="diffv2ir", checkpoint="somewhere", segmentation="given"))


def test_the_seed_of_an_image_is_a_hash_of_the_seed_and_the_id() -> None:
    assert image_seed(1234, "rsicd:1") == int(hashlib.sha256(b"1234\0rsicd:1").hexdigest()[:16], 16)
    seeds = {image_seed(seed, name) for seed in (1, 12) for name in ("", "2", "22")}
    assert len(seeds) == 6
    torch.Generator().manual_seed(max(seeds))


def test_batches_have_one_size_of_image_and_a_fixed_number_of_rows() -> None:
    sizes = [(0, "a"), (1, "b"), (3, "a"), (4, "a"), (6, "b")]
    assert list(images_in_fixed_batches(sizes, 2)) == [([0, 3], [0, 3]), ([4], [4, 4]), ([1, 6], [1, 6])]
    assert list(images_in_fixed_batches(sizes, 4)) == [([0, 3, 4], [0, 3, 4, 4]), ([1, 6], [1, 6, 6, 6])]
    assert [rows for rows, _ in images_in_fixed_batches(sizes, 1)] == [[0], [3], [4], [1], [6]]
    assert list(images_in_fixed_batches([], 4)) == []


# Luminance.


def test_luminance_is_the_integer_luma_of_itu_r_601() -> None:
    batch = pictures()
    kept, rejects = open_translator(LUMINANCE).translate(batch)
    assert not rejects
    assert [done.row for done in kept] == list(range(len(batch)))
    assert_whole(batch, kept, "L")
    for done in kept:
        red, green, blue = np.moveaxis(np.asarray(batch[done.row].rgb, dtype=np.int64), -1, 0)
        luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
        np.testing.assert_array_equal(np.asarray(done.infrared), luma)


def test_luminance_names_its_origin_and_rejects_what_is_not_rgb() -> None:
    translator = open_translator(LUMINANCE)
    assert translator.origin == "luminance"
    modes = ("L", "RGB", "RGBA", "I;16")
    kept, rejects = translator.translate([TranslationInput(mode, Image.new(mode, (4, 5))) for mode in modes])
    assert [done.row for done in kept] == [1]
    assert rejects == [Reject(row, "not_rgb", f"mode {modes[row]}") for row in (0, 2, 3)]
    assert {reject.reason for reject in rejects} <= set(REASONS)
    assert translator.translate([]) == ([], [])


# U-Net.


@pytest.fixture(scope="module")
def unet_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A saved tiny U-Net with 8 or 16 bits of output."""

    def save(output_bits: int) -> Path:
        folder = root / f"bits-{output_bits}"
        if not folder.exists():
            torch.manual_seed(0)
            fields = {"base_channels": 8, "max_channels": 16, "depth": 2, "norm_groups": 4}
            RSTranslatorModel(RSTranslatorConfig(**fields, output_bits=output_bits)).save_pretrained(folder)
        return folder

    root = tmp_path_factory.mktemp("unet")
    return save


def unet_settings(folder: Path, **fields: Any) -> TranslatorSettings:
    return TranslatorSettings(name="unet", checkpoint=str(folder), **fields)


@pytest.mark.parametrize(("bits", "mode"), [(8, "L"), (16, "I;16")])
def test_the_unet_writes_the_pixels_of_its_model_in_the_geometry_of_the_image(
    bits: int, mode: str, unet_folder: Callable[[int], Path]
) -> None:
    batch = pictures()
    kept, rejects = open_translator(unet_settings(unet_folder(bits))).translate(batch)
    assert not rejects
    assert [done.row for done in kept] == list(range(len(batch)))
    assert_whole(batch, kept, mode)
    model = RSTranslatorModel.from_pretrained(unet_folder(bits))
    for done in kept:
        rgb = torch.from_numpy(np.array(batch[done.row].rgb)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            unit = model(rgb).infrared[0, 0].double().numpy()
        off = np.asarray(done.infrared) - unit * (2**bits - 1)
        assert np.abs(off).max() <= 0.55  # half a step, and what the shape of a tensor changes in the last bit


def test_the_unet_gives_an_image_the_same_bytes_alone_among_others_and_in_any_order(
    unet_folder: Callable[[int], Path],
) -> None:
    assert_alone_together_and_reordered_are_the_same(open_translator(unet_settings(unet_folder(16))), pictures())


def test_on_a_cpu_neither_the_batch_size_nor_the_threads_of_the_process_show_in_the_bytes(
    unet_folder: Callable[[int], Path],
) -> None:
    batch = pictures()
    wanted = hashes(open_translator(unet_settings(unet_folder(16))), batch)
    assert hashes(open_translator(unet_settings(unet_folder(16), batch_size=4)), batch) == wanted
    translator: Any = open_translator(unet_settings(unet_folder(16)))
    threads: list[int] = []
    translator.model.register_forward_pre_hook(lambda *_: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert hashes(translator, batch) == wanted
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert threads == [1] * len(batch)


def test_in_batches_as_on_a_gpu_every_row_gets_its_own_image(
    unet_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = pictures()
    translator = open_translator(unet_settings(unet_folder(8), batch_size=2))
    alone, _ = translator.translate(batch)
    calls: list[int] = []
    forward = translator.model.forward
    monkeypatch.setattr(TranslatorSettings, "images_at_once", property(lambda self: self.batch_size))
    monkeypatch.setattr(
        translator.model, "forward", lambda pixel_values: calls.append(len(pixel_values)) or forward(pixel_values)
    )
    together, _ = translator.translate(batch)
    assert calls == [2] * 5
    assert [done.row for done in together] == [done.row for done in alone]
    for one, other in zip(alone, together, strict=True):
        difference = np.asarray(one.infrared).astype(int) - np.asarray(other.infrared)
        assert np.abs(difference).max() <= 1


def test_the_unet_rejects_by_name(unet_folder: Callable[[int], Path]) -> None:
    translator = open_translator(unet_settings(unet_folder(8), max_megapixels=0.001))
    images = (Image.new("L", (4, 4)), Image.new("RGB", (40, 25)), Image.new("RGB", (41, 25)))
    kept, rejects = translator.translate([TranslationInput(str(row), image) for row, image in enumerate(images)])
    assert [done.row for done in kept] == [1]
    assert rejects == [
        Reject(0, "not_rgb", "mode L"),
        Reject(2, "too_large", "41x25 is more than 0.001 megapixels"),
    ]
    with torch.no_grad():
        translator.model.conv_out.bias.fill_(float("nan"))
    kept, rejects = translator.translate([TranslationInput("a", images[1])])
    assert (kept, rejects) == ([], [Reject(0, "not_finite", "1000 of 1000 pixels")])
    assert translator.translate([]) == ([], [])


def test_a_model_that_loses_the_geometry_stops_the_run(
    unet_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = open_translator(unet_settings(unet_folder(8)))
    forward = translator.model.forward
    monkeypatch.setattr(translator.model, "forward", lambda pixel_values: forward(pixel_values[..., :-1]))
    with pytest.raises(RuntimeError, match=r"returned \(1, 1, 5, 3\) for images of \(1, 1, 5, 4\); geometry is lost"):
        translator.translate([TranslationInput("a", picture(4, 5))])


def test_a_translator_of_another_band_than_the_rows_would_say_is_refused(tmp_path: Path) -> None:
    fields = {"base_channels": 8, "max_channels": 16, "depth": 2, "norm_groups": 4}
    RSTranslatorModel(RSTranslatorConfig(**fields, infrared_band="nir")).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"makes nir images, and the rows would say thermal; give .* nir"):
        InfraredStep(work=tmp_path, translator=unet_settings(tmp_path), band="thermal").open()
    assert callable(InfraredStep(work=tmp_path, translator=unet_settings(tmp_path), band="nir").open())


def test_the_origin_of_the_unet_is_the_hash_of_its_folder_which_a_revision_verifies(
    unet_folder: Callable[[int], Path],
) -> None:
    found = folder_sha256(unet_folder(8))
    assert open_translator(unet_settings(unet_folder(8))).origin == f"translated:unet@{found}"
    assert open_translator(unet_settings(unet_folder(8), revision=found)).origin == f"translated:unet@{found}"
    assert folder_sha256(unet_folder(16)) != found
    with pytest.raises(ValueError, match=f"has the SHA-256 {found}, the settings name 0{'0' * 63}; it is another"):
        open_translator(unet_settings(unet_folder(8), revision="0" * 64))


def test_the_hash_of_a_folder_is_that_of_the_listing_that_sha256sum_prints(tmp_path: Path) -> None:
    for name, text in {"b.json": "2", "a/x.bin": "1", "README.md": "3", ".git/head": "4", "a/.x": "5"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = "".join(f"{hashlib.sha256(t).hexdigest()}  {n}\n" for n, t in (("a/x.bin", b"1"), ("b.json", b"2")))
    assert folder_sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no files; wanted the folder of a saved model"):
        folder_sha256(tmp_path / "empty")


def test_a_hub_id_needs_a_full_commit_and_is_fetched_at_it(
    unet_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TranslatorSettings(name="unet", checkpoint="somebody/translator")
    for revision in (None, "main", "abc123", "g" * 40):
        with pytest.raises(ValueError, match="is not a folder, and as a Hub id it comes with revision"):
            open_translator(replace(settings, revision=revision))
    asked: list[tuple[str, str]] = []

    def snapshot_download(name: str, revision: str) -> str:
        asked.append((name, revision))
        return str(unet_folder(8))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    translator = open_translator(replace(settings, revision="a" * 40))
    assert translator.origin == f"translated:unet@{'a' * 40}"
    assert asked == [("somebody/translator", "a" * 40)]


def test_another_model_than_a_translator_is_refused(tmp_path: Path) -> None:
    RSCLIPConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="holds a model of type 'rsclip'; 'unet' wants the folder of a saved RSTrans"):
        open_translator(unet_settings(tmp_path / "clip"))


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_every_level_survives_quantisation_and_what_lies_outside_is_clipped(bits: int, kind: type) -> None:
    levels = np.arange(2**bits)
    unit = (levels / (2**bits - 1)).astype(np.float32)
    np.testing.assert_array_equal(quantise(unit, bits), levels.astype(kind))
    outside = quantise(np.array([-0.5, 1.5, 0.0, 1.0], dtype=np.float32), bits)
    assert outside.dtype == kind
    assert outside.tolist() == [0, 2**bits - 1, 0, 2**bits - 1]
