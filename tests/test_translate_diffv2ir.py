"""DiffV2IR: the published sampler, guidance and prompts, one image at a time; and its checkpoint's conversion."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processing_fixtures import make_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel
from translation_fixtures import (
    assert_alone_together_and_reordered_are_the_same,
    assert_whole,
    hashes,
    picture,
    pictures,
)

from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.translate import (
    CAPTION_PROMPT,
    NEUTRAL_PROMPT,
    REASONS,
    TranslationInput,
    TranslatorSettings,
    folder_sha256,
    image_seed,
    open_translator,
)

# The scheduler of diffusers 0.42 turns a tensor into an array as NumPy 2 no longer likes it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel  # noqa: E402

from dataset_scripts.stages.diffv2ir_checkpoint import convert_checkpoint  # noqa: E402
from dataset_scripts.stages.translate_diffv2ir import branch_weights, working_size  # noqa: E402

DIFFUSION = {"resolution": 64, "steps": 4}
MOVED = 0.3


def move_weights(model: torch.nn.Module, seed: int) -> Any:
    """Random weights large enough for every condition to show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=MOVED if parameter.ndim > 1 else 0)
    return model


def build_unet(in_channels: int, text_width: int = 16) -> Any:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=text_width,
    )
    return move_weights(unet, seed=1)


def build_vae() -> Any:
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        norm_num_groups=2,
        sample_size=64,
        scaling_factor=0.18215,
    )


@pytest.fixture(scope="module")
def diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny diffusion model in the folder form of diffusers."""

    def save(in_channels: int = 12, text_width: int = 16) -> Path:
        folder = root / f"{in_channels}-{text_width}"
        if not folder.exists():
            build_unet(in_channels, text_width).save_pretrained(folder / "unet")
            build_vae().save_pretrained(folder / "vae")
            text.save_pretrained(folder / "text_encoder")
            tokenizer.save_pretrained(folder / "tokenizer")
            scheduler.save_pretrained(folder / "scheduler")
        return folder

    root = tmp_path_factory.mktemp("diffusion")
    tokenizer = make_tokenizer(model_max_length=77)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    text = move_weights(CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **shape)), seed=2)
    scheduler = EulerAncestralDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return save


def diffusion_settings(folder: Path, **fields: Any) -> TranslatorSettings:
    return TranslatorSettings(**{"name": "diffv2ir", "checkpoint": str(folder), **DIFFUSION, **fields})


def invert(image: Image.Image) -> Image.Image:
    """Stands for a segmentation."""
    return Image.fromarray(255 - np.asarray(image))


@torch.no_grad()
def published_infrared(
    parts: Any, item: TranslationInput, prompt: str, scales: tuple[float, float, float], drawn: Image.Image | None
) -> np.ndarray[Any, Any]:
    """DiffV2IR as it was published, one image of the working size: four predictions of the clean latent at each step,
    combined by (text, image, segmentation), in Karras' form of the Euler ancestral sampler. Without `drawn` the
    segmentation latent is zero."""

    def encode(image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image)).float().permute(2, 0, 1)[None]
        return parts.vae.encode(2 * pixels / 255 - 1).latent_dist.mode()

    def encode_text(text: str) -> torch.Tensor:
        tokens = parts.tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return parts.text_encoder(tokens.input_ids).last_hidden_state

    text, null, rgb = encode_text(prompt), encode_text(""), encode(item.rgb)
    zero = torch.zeros_like(rgb)
    segmentation = zero if drawn is None else encode(drawn)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)
    times = [999, 666, 333, 0]  # whole numbers, so that no rule of interpolation comes in
    sigmas = [float(((1 - kept[time]) / kept[time]) ** 0.5) for time in times] + [0.0]
    generator = torch.Generator().manual_seed(image_seed(1234, item.id))
    z = torch.randn(rgb.shape, generator=generator) * sigmas[0]
    for time, sigma, following in zip(times, sigmas[:-1], sigmas[1:], strict=True):

        def clean(image: torch.Tensor, seg: torch.Tensor, words: torch.Tensor, z: torch.Tensor = z) -> torch.Tensor:
            scaled = torch.cat([z / (sigma**2 + 1) ** 0.5, image, seg], dim=1)  # noqa: B023
            return z - sigma * parts.unet(scaled, time, encoder_hidden_states=words).sample  # noqa: B023

        full, no_text = clean(rgb, segmentation, text), clean(rgb, segmentation, null)
        only_segmentation, nothing = clean(zero, segmentation, null), clean(zero, zero, null)
        denoised = nothing + scales[0] * (full - no_text) + scales[1] * (no_text - only_segmentation)
        denoised = denoised + scales[2] * (only_segmentation - nothing)
        up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5
        z = z + (z - denoised) / sigma * ((following**2 - up**2) ** 0.5 - sigma)
        z = z + torch.randn(rgb.shape, generator=generator) * up
    return ((parts.vae.decode(z / 0.18215).sample.mean(dim=1)[0] + 1) / 2).numpy()


@pytest.mark.parametrize(
    ("segmentation", "scales"),
    [("given", (7.5, 1.5, 1.5)), ("given", (3.0, 2.0, 0.5)), ("given", (1.0, 1.0, 1.0)), ("absent", (7.5, 1.5, 4.0))],
)
def test_diffv2ir_gives_what_the_published_sampler_gives(
    segmentation: str, scales: tuple[float, float, float], diffusion_folder: Callable[..., Path]
) -> None:
    guidance = dict(zip(("text_guidance", "image_guidance", "segmentation_guidance"), scales, strict=True))
    settings = diffusion_settings(diffusion_folder(12), segmentation=segmentation, **guidance)
    translator = open_translator(settings, segment=invert if segmentation == "given" else None)
    items = [TranslationInput(f"row-{row}", picture(64, 64, seed=row)) for row in range(2)]
    kept, _ = translator.translate(items)
    assert_whole(items, kept, "L")
    for item, done in zip(items, kept, strict=True):
        drawn = invert(item.rgb) if segmentation == "given" else None
        wanted = published_infrared(translator, item, NEUTRAL_PROMPT, scales, drawn)
        assert 255 * wanted.clip(0, 1).std() > 3
        assert np.abs(np.asarray(done.infrared) - 255 * wanted.clip(0, 1)).max() <= 0.6


def test_an_image_of_another_size_is_stretched_to_the_working_size_and_back(
    diffusion_folder: Callable[..., Path],
) -> None:
    translator: Any = open_translator(diffusion_settings(diffusion_folder(12), segmentation="absent"))
    item = TranslationInput("a", picture(40, 32))
    (done,), _ = translator.translate([item])
    stretched = TranslationInput("a", item.rgb.resize((64, 64), Image.Resampling.LANCZOS))
    unit = published_infrared(translator, stretched, NEUTRAL_PROMPT, (7.5, 1.5, 1.5), None)
    back = np.asarray(Image.fromarray(unit).resize((40, 32), Image.Resampling.BICUBIC))
    assert np.abs(np.asarray(done.infrared) - 255 * back.clip(0, 1)).max() <= 0.6


@pytest.mark.parametrize(
    ("in_channels", "segmentation", "scales", "predictions"),
    [
        (12, "given", (1.0, 1.0, 1.0), 1),  # the plain conditional prediction, and nothing else is computed
        (12, "given", (7.5, 1.5, 1.5), 3),
        (12, "given", (7.5, 1.5, 1.0), 3),
        (12, "given", (7.5, 2.0, 1.5), 4),
        (12, "absent", (7.5, 1.5, 1.5), 3),
        (8, None, (7.5, 1.5, 1.5), 3),
        (8, None, (1.0, 1.0, 9.0), 1),
    ],
)
def test_only_the_predictions_that_count_are_computed(
    in_channels: int,
    segmentation: str | None,
    scales: tuple[float, float, float],
    predictions: int,
    diffusion_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guidance = dict(zip(("text_guidance", "image_guidance", "segmentation_guidance"), scales, strict=True))
    settings = diffusion_settings(diffusion_folder(in_channels), segmentation=segmentation, **guidance)
    translator: Any = open_translator(settings, segment=invert if segmentation == "given" else None)
    seen: list[tuple[int, ...]] = []
    forward = translator.unet.forward
    monkeypatch.setattr(
        translator.unet, "forward", lambda x, *rest, **named: seen.append(tuple(x.shape)) or forward(x, *rest, **named)
    )
    translator.translate([TranslationInput("a", picture(64, 64))])
    assert seen == [(predictions, in_channels, 8, 8)] * 4


def test_the_weights_of_the_predictions_are_those_of_the_published_formula() -> None:
    nothing, segmentation, image, text = np.random.default_rng(0).normal(size=(4, 100))
    for cfg_text, cfg_image, cfg_seg in ((7.5, 1.5, 1.5), (3.0, 2.0, 0.5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)):
        weights = branch_weights([cfg_seg, cfg_image, cfg_text])
        ours = sum(w * p for w, p in zip(weights, (nothing, segmentation, image, text), strict=True))
        published = nothing + cfg_text * (text - image) + cfg_image * (image - segmentation)
        np.testing.assert_allclose(ours, published + cfg_seg * (segmentation - nothing), atol=1e-12)
    assert branch_weights([1.0, 1.0, 1.0]) == [0, 0, 0, 1]
    assert branch_weights([1.5, 1.5, 7.5]) == [-0.5, 0, -6, 7.5]


def test_diffv2ir_gives_an_image_the_same_bytes_alone_among_others_and_in_any_order(
    diffusion_folder: Callable[..., Path],
) -> None:
    batch = pictures(((64, 48), (33, 50), (64, 48), (7, 5)))
    settings = diffusion_settings(diffusion_folder(12), segmentation="absent")
    assert_alone_together_and_reordered_are_the_same(open_translator(settings), batch)
    wanted = hashes(open_translator(settings), batch)
    torch.manual_seed(99)  # the noise is the image's own
    assert hashes(open_translator(replace(settings, batch_size=4)), batch) == wanted
    assert not set(hashes(open_translator(replace(settings, seed=1)), batch).values()) & set(wanted.values())
    kept, _ = open_translator(settings).translate(batch)
    assert_whole(batch, kept, "L")


def test_in_batches_diffv2ir_gives_every_row_its_own_noise(
    diffusion_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = pictures(((64, 48), (48, 64), (64, 48), (64, 48)))
    settings = diffusion_settings(diffusion_folder(12), segmentation="given", batch_size=2)
    translator = open_translator(settings, segment=invert)
    alone, _ = translator.translate(batch)
    monkeypatch.setattr(TranslatorSettings, "images_at_once", property(lambda self: self.batch_size))
    together, _ = translator.translate(batch)
    assert [done.row for done in together] == [done.row for done in alone] == [0, 1, 2, 3]
    for one, other in zip(alone, together, strict=True):
        difference = np.asarray(one.infrared).astype(int) - np.asarray(other.infrared)
        assert np.abs(difference).max() <= 1


def test_without_captions_they_change_nothing_and_with_them_they_are_the_prompt(
    diffusion_folder: Callable[..., Path],
) -> None:
    free = diffusion_settings(diffusion_folder(12), segmentation="absent")
    told = replace(free, caption_conditioned=True)

    def translate(settings: TranslatorSettings, caption: str | None) -> str:
        (done,), _ = open_translator(settings).translate([TranslationInput("a", picture(64, 64), caption)])
        return done.sha256

    plain = {translate(free, caption) for caption in (None, "", "a farm", "ships in a harbor")}
    assert len(plain) == 1
    farm, ships = translate(told, "a farm"), translate(told, " ships in\na harbor")
    assert len(plain | {farm, ships}) == 3
    assert farm == translate(replace(free, prompt=CAPTION_PROMPT.format("a farm")), None)
    assert ships == translate(replace(free, prompt=CAPTION_PROMPT.format("ships in a harbor")), None)
    assert open_translator(told).origin == f"translated:diffv2ir+caption@{folder_sha256(diffusion_folder(12))}"
    assert open_translator(free).origin == f"translated:diffv2ir@{folder_sha256(diffusion_folder(12))}"


def test_diffv2ir_rejects_by_name(diffusion_folder: Callable[..., Path]) -> None:
    settings = diffusion_settings(diffusion_folder(8), caption_conditioned=True)
    translator: Any = open_translator(settings)
    rows = [
        (Image.new("L", (64, 64)), "a farm"),
        (Image.new("RGB", (81, 10)), "a farm"),
        (Image.new("RGB", (64, 64)), None),
        (Image.new("RGB", (64, 64)), " \n"),
        (Image.new("RGB", (80, 10)), "a farm"),
    ]
    batch = [TranslationInput(str(row), image, caption) for row, (image, caption) in enumerate(rows)]
    kept, rejects = translator.translate(batch)
    assert [(done.row, done.infrared.size) for done in kept] == [(4, (80, 10))]
    assert rejects == [
        Reject(0, "not_rgb", "mode L"),
        Reject(1, "aspect", "81x10; the longer side may be 8 times the shorter"),
        Reject(2, "no_caption"),
        Reject(3, "no_caption"),
    ]
    with torch.no_grad():
        translator.unet.conv_out.bias.fill_(float("inf"))
    kept, rejects = translator.translate(batch[4:])
    assert (kept, [(reject.row, reject.reason) for reject in rejects]) == ([], [(0, "not_finite")])
    assert {reject.reason for reject in rejects} <= set(REASONS)
    assert translator.translate([]) == ([], [])


@pytest.mark.parametrize(
    ("in_channels", "text_width", "segmentation", "message"),
    [
        (4, 16, None, r"takes 4 channels; wanted 8 \(noise and RGB, InstructPix2Pix\) or 12 \(noise, RGB and"),
        (12, 16, None, r"takes 12 channels and segmentation is None; with 12 channels say segmentation='given'"),
        (8, 16, "absent", r"takes 8 channels and segmentation is 'absent'; .*; with 8 leave it out"),
        (8, 24, None, r"reads text of width 24, its text encoder writes 16; the parts come from different models"),
    ],
)
def test_parts_that_do_not_fit_the_settings_or_each_other_are_refused(
    in_channels: int, text_width: int, segmentation: str | None, message: str, diffusion_folder: Callable[..., Path]
) -> None:
    folder = diffusion_folder(in_channels, text_width)
    with pytest.raises(ValueError, match=message):
        open_translator(diffusion_settings(folder, segmentation=segmentation))


def test_a_segmentation_of_another_geometry_is_refused(diffusion_folder: Callable[..., Path]) -> None:
    settings = diffusion_settings(diffusion_folder(12), segmentation="given")
    item = TranslationInput("rsicd:1", picture(64, 48))
    turned = open_translator(settings, segment=lambda image: image.transpose(Image.Transpose.ROTATE_90))
    with pytest.raises(ValueError, match=r"segmentation of 'rsicd:1' has the mode RGB and the size \(48, 64\)"):
        turned.translate([item])
    grey, colour = (
        open_translator(settings, segment=lambda image, mode=mode: image.convert("L").convert(mode))
        for mode in ("L", "RGB")
    )
    assert hashes(grey, [item]) == hashes(colour, [item])


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((512, 512), (512, 512)),
        ((256, 256), (512, 512)),
        ((1, 1), (512, 512)),
        ((600, 400), (576, 384)),
        ((400, 600), (384, 576)),
        ((640, 512), (512, 448)),
        ((800, 100), (512, 64)),
        ((10000, 9999), (512, 512)),
    ],
)
def test_the_working_size_is_the_published_one(size: tuple[int, int], working: tuple[int, int]) -> None:
    assert working_size(*size, 512) == working


# The checkpoint's names, written from the diffusers names by hand.


def unet_name(name: str) -> str:
    """Latent diffusion's name of a weight of `build_unet`, which has one layer per block."""
    name = re.sub(
        r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)",
        lambda found: (
            f"{'input' if found[1] == 'down' else 'output'}_blocks."
            f"{2 * int(found[2]) + int(found[4]) + (found[1] == 'down')}.{0 if found[3] == 'resnets' else 1}"
        ),
        name,
    )
    for ours, theirs in {
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "conv_in": "input_blocks.0.0",
    }.items():
        name = name.replace(ours, theirs)
    if "transformer_blocks" in name:  # which have a norm1 of their own
        return name
    for ours, theirs in {
        ".norm1.": ".in_layers.0.",
        ".conv1.": ".in_layers.2.",
        "time_emb_proj": "emb_layers.1",
        ".norm2.": ".out_layers.0.",
        ".conv2.": ".out_layers.3.",
        "conv_shortcut": "skip_connection",
    }.items():
        name = name.replace(ours, theirs)
    return name


def vae_name(name: str) -> str:
    """Latent diffusion's name of a weight of `build_vae`, which has four levels."""
    name = re.sub(r"up_blocks\.(\d)", lambda found: f"up.{3 - int(found[1])}", name)
    for ours, theirs in {
        "down_blocks.": "down.",
        "mid_block.resnets.0": "mid.block_1",
        "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1",
        ".resnets.": ".block.",
        "downsamplers.0": "downsample",
        "upsamplers.0": "upsample",
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }.items():
        name = name.replace(ours, theirs)
    return name


TEXT = "cond_stage_model.transformer.text_model."


def released_state(folder: Path) -> dict[str, torch.Tensor]:
    """The checkpoint of which `folder` is the converted form; the weights that are not averaged are other ones."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    vae = AutoencoderKL.from_pretrained(folder / "vae").state_dict()
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    state = {}
    for name, tensor in unet.items():
        full = f"model.diffusion_model.{unet_name(name)}"
        state[full] = tensor + 1
        state["model_ema." + full.removeprefix("model.").replace(".", "")] = tensor
    for name, tensor in vae.items():
        attention = "attentions" in name and name.endswith("weight") and "norm" not in name
        state[f"first_stage_model.{vae_name(name)}"] = tensor[:, :, None, None] if attention else tensor
    for name, tensor in text.items():
        state[TEXT + name.removeprefix("text_model.")] = tensor
    return state


def test_a_released_checkpoint_translates_as_its_diffusers_form_does(
    diffusion_folder: Callable[..., Path], tmp_path: Path
) -> None:
    torch.save({"state_dict": released_state(diffusion_folder(12)), "global_step": 3}, tmp_path / "after_phase_2.ckpt")
    # Stable Diffusion itself takes 4 channels.
    convert_checkpoint(tmp_path / "after_phase_2.ckpt", diffusion_folder(4), tmp_path / "converted")
    item = TranslationInput("a", picture(64, 64))
    ours, theirs = (
        open_translator(diffusion_settings(folder, segmentation="given"), segment=invert)
        for folder in (diffusion_folder(12), tmp_path / "converted")
    )
    assert hashes(theirs, [item]) == hashes(ours, [item])
    with pytest.raises(FileExistsError, match="converted exists; name a folder that does not"):
        convert_checkpoint(tmp_path / "after_phase_2.ckpt", diffusion_folder(4), tmp_path / "converted")


@pytest.mark.parametrize(
    ("lost", "changed", "message"),
    [
        (
            "model_ema.diffusion_modelout2weight",
            None,
            r"lacks the average of 1 of them \(model_ema.diff.*out2weight\)",
        ),
        ("first_stage_model.decoder.conv_in.bias", None, "AutoencoderKL has 6831 numbers, the checkpoint 6827"),
        (
            None,
            f"{TEXT}final_layer_norm.weight",
            r"differs from the checkpoint's in '.*final_layer_norm.w",
        ),
    ],
)
def test_a_checkpoint_that_lacks_weights_or_has_other_ones_is_refused(
    lost: str | None, changed: str | None, message: str, diffusion_folder: Callable[..., Path], tmp_path: Path
) -> None:
    state = released_state(diffusion_folder(12))
    if lost:
        del state[lost]
    if changed:
        state[changed] = state[changed] + 1
    torch.save(state, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / "model.ckpt", diffusion_folder(4), tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_a_checkpoint_that_would_run_code_is_not_read(diffusion_folder: Callable[..., Path], tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callback": Path("x")}, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="holds more than weights, and reading it would run its code"):
        convert_checkpoint(tmp_path / "model.ckpt", diffusion_folder(4), tmp_path / "converted")
