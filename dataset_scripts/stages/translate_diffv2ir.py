"""Translates with DiffV2IR, the diffusion model that made FusionRS, or with any InstructPix2Pix of 8 channels.

Source: Ran et al., arXiv 2503.19012. Its guidance, sampler and prompts are kept. What differs: captions are left out
unless asked for, noise is drawn per image (published: one seed, the same noise for every image), images are stretched
to the working size and back (published: cropped), and the three decoded channels become their mean.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer, CLIPTextModel

from .rejects import Reject
from .translate import (
    CAPTION_PROMPT,
    RESOLUTION_MULTIPLE,
    Segment,
    Translated,
    TranslationInput,
    TranslatorSettings,
    encode_translated,
    find_checkpoint,
    image_seed,
    images_in_fixed_batches,
)
from .translate_unet import not_finite, quantise, reproducible

# Shapes: B images, 4 latent channels, h and w latent sides, T tokens, D text width.
MAX_ASPECT = 8.0


class DiffV2IRTranslator:
    """A loaded diffusion model: autoencoder, denoising U-Net, text encoder."""

    def __init__(self, settings: TranslatorSettings, segment: Segment | None = None) -> None:
        folder, revision = find_checkpoint(settings)
        name = "diffv2ir+caption" if settings.caption_conditioned else "diffv2ir"
        self.origin = f"translated:{name}@{revision}"
        self.band: str | None = None
        self.settings = settings
        self.segment = segment
        options = {"use_safetensors": True, "torch_dtype": getattr(torch, settings.dtype)}
        self.unet: Any = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options)
        # The autoencoder is small, and in float16 it overflows on some images.
        self.vae: Any = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True)
        self.text_encoder: Any = CLIPTextModel.from_pretrained(
            folder, subfolder="text_encoder", use_safetensors=True, dtype=options["torch_dtype"]
        )
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer")
        self.scheduler: Any = EulerAncestralDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
        for model in (self.unet, self.vae, self.text_encoder):
            model.eval().to(settings.device)
        self._check_channels()

    def translate(self, batch: Sequence[TranslationInput]) -> tuple[list[Translated], list[Reject]]:
        """Translate every image at the working resolution, and bring it back to its own size."""
        rejects = [reject for row, item in enumerate(batch) if (reject := self._judge(row, item))]
        left_out = {reject.row for reject in rejects}
        sizes = [
            (row, working_size(*item.rgb.size, self.settings.resolution))
            for row, item in enumerate(batch)
            if row not in left_out
        ]
        working = dict(sizes)
        kept: list[Translated] = []
        for rows, padded in images_in_fixed_batches(sizes, self.settings.images_at_once):
            with reproducible(self.settings.cpu_threads):
                infrared = self._run([batch[row] for row in padded], working[rows[0]])
            for row, unit in zip(rows, infrared, strict=False):  # the padding is dropped
                if np.isfinite(unit).all():
                    resized = Image.fromarray(unit).resize(batch[row].rgb.size, Image.Resampling.BICUBIC)
                    kept.append(encode_translated(row, quantise(np.asarray(resized), bits=8)))
                else:
                    rejects.append(not_finite(row, unit))
        return sorted(kept, key=lambda done: done.row), sorted(rejects, key=lambda reject: reject.row)

    def _judge(self, row: int, item: TranslationInput) -> Reject | None:
        width, height = item.rgb.size
        if item.rgb.mode != "RGB":
            return Reject(row, "not_rgb", f"mode {item.rgb.mode}")
        if max(width, height) > MAX_ASPECT * min(width, height):
            return Reject(row, "aspect", f"{width}x{height}; the longer side may be {MAX_ASPECT:g} times the shorter")
        if self.settings.caption_conditioned and not (item.caption or "").strip():
            return Reject(row, "no_caption")
        return None

    def _run(self, items: list[TranslationInput], size: tuple[int, int]) -> NDArray[np.float32]:
        """Images (B, h, w) in [0, 1], of the working size."""
        shape = (1, self._latent_channels, size[1] // self._shrinkage, size[0] // self._shrinkage)
        # On the CPU, so that the noise is the same on every device.
        generators = [torch.Generator().manual_seed(image_seed(self.settings.seed, item.id)) for item in items]
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])  # (B, 4, h, w)
        segmentation = None
        if self.segment is not None:
            segmentation = self._encode([_draw(self.segment, item) for item in items], size)
        latents = self._denoise(
            noise.to(self.settings.device),
            generators,
            rgb=self._encode([item.rgb for item in items], size),
            segmentation=segmentation,
            text=self._encode_texts([self._prompt(item) for item in items]),
        )
        decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample  # (B, 3, H, W) in [-1, 1]
        result: NDArray[np.float32] = ((decoded.mean(dim=1) + 1) / 2).cpu().numpy()
        return result

    def _denoise(
        self,
        latents: torch.Tensor,
        generators: list[torch.Generator],
        *,
        rgb: torch.Tensor,
        segmentation: torch.Tensor | None,
        text: torch.Tensor,
    ) -> torch.Tensor:
        """Sample latents (B, 4, h, w), starting from unit noise."""
        branches = self._branches(rgb, segmentation, text)
        conditions = torch.cat([condition for _, condition, _ in branches])  # (branches * B, 4 or 8, h, w)
        texts = torch.cat([text for _, _, text in branches])  # (branches * B, T, D)
        self.scheduler.set_timesteps(self.settings.steps, device=self.settings.device)
        latents = latents * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            noisy = self.scheduler.scale_model_input(latents, time)
            stacked = torch.cat([noisy.repeat(len(branches), 1, 1, 1), conditions], dim=1).to(self.unet.dtype)
            predicted = self.unet(stacked, time, encoder_hidden_states=texts).sample.float().chunk(len(branches))
            guided = sum(weight * one for (weight, _, _), one in zip(branches, predicted, strict=True))
            latents = self.scheduler.step(guided, time, latents, generator=generators).prev_sample
        return latents

    def _branches(
        self, rgb: torch.Tensor, segmentation: torch.Tensor | None, text: torch.Tensor
    ) -> list[tuple[float, torch.Tensor, torch.Tensor]]:
        """(weight, image condition, text) of every prediction that the guidance needs.

        Conditions are dropped one after the other: text, then RGB, then segmentation.
        """
        none, nothing = torch.zeros_like(rgb), self._encode_texts([""]).expand_as(text)
        extra = [] if self.settings.segmentation is None else [none]
        scales = [self.settings.image_guidance, self.settings.text_guidance]
        steps = [([none, *extra], nothing), ([rgb, *extra], nothing), ([rgb, *extra], text)]
        if segmentation is not None:
            scales = [self.settings.segmentation_guidance, *scales]
            steps = [
                ([none, none], nothing),
                ([none, segmentation], nothing),
                ([rgb, segmentation], nothing),
                ([rgb, segmentation], text),
            ]
        weights = branch_weights(scales)
        return [
            (weight, torch.cat(images, dim=1), words)
            for weight, (images, words) in zip(weights, steps, strict=True)
            if weight != 0
        ]

    def _encode(self, images: Sequence[Image.Image], size: tuple[int, int]) -> torch.Tensor:
        """Latents (B, 4, h, w) of 8-bit images: the mode, and not scaled, as InstructPix2Pix was trained."""
        resized = [np.asarray(image.resize(size, Image.Resampling.LANCZOS)) for image in images]
        pixels = torch.from_numpy(np.stack(resized)).to(self.settings.device).permute(0, 3, 1, 2)
        return self.vae.encode(pixels / 127.5 - 1).latent_dist.mode()

    def _encode_texts(self, prompts: list[str]) -> torch.Tensor:
        """Hidden states (B, T, D); longer prompts are cut at the tokenizer's length, as published."""
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.text_encoder.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        return self.text_encoder(tokens.input_ids.to(self.settings.device)).last_hidden_state

    def _prompt(self, item: TranslationInput) -> str:
        if not self.settings.caption_conditioned:
            return self.settings.prompt
        return CAPTION_PROMPT.format(" ".join((item.caption or "").split()))

    @property
    def _latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def _shrinkage(self) -> int:
        """How many pixels of a side become one of the latent's."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def _check_channels(self) -> None:
        one, found = self._latent_channels, self.unet.config.in_channels
        if found not in (2 * one, 3 * one):
            raise ValueError(
                f"the U-Net of {self.settings.checkpoint} takes {found} channels; wanted {2 * one} (noise and RGB, "
                f"InstructPix2Pix) or {3 * one} (noise, RGB and segmentation, DiffV2IR)."
            )
        if (found == 3 * one) != (self.settings.segmentation is not None):
            raise ValueError(
                f"the U-Net of {self.settings.checkpoint} takes {found} channels and segmentation is "
                f"{self.settings.segmentation!r}; with {3 * one} channels say segmentation='given' and pass a function "
                f"that draws it, or 'absent' to do without; with {2 * one} leave it out."
            )
        width = self.text_encoder.config.hidden_size
        if self.unet.config.cross_attention_dim != width:
            raise ValueError(
                f"the U-Net of {self.settings.checkpoint} reads text of width {self.unet.config.cross_attention_dim}, "
                f"its text encoder writes {width}; the parts come from different models."
            )


def branch_weights(scales: Sequence[float]) -> list[float]:
    """Weight of each prediction p0 (no condition) to pn (all of them) in p0 + s1 (p1 - p0) + s2 (p2 - p1) + ...

    Equal neighbouring scales cancel the prediction between them, which then need not be computed: at the published
    1.5 for segmentation and RGB that is one of four, and at scales of 1 only the last one is left.
    """
    padded = [1.0, *scales, 0.0]
    return [lower - upper for lower, upper in pairwise(padded)]


def working_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Width and height, multiples of 64, with the longer side near the resolution; as published."""
    step, short, long = RESOLUTION_MULTIPLE, min(width, height), max(width, height)
    new_short = -(-short * resolution // (long * step)) * step
    new_long = long * new_short // (short * step) * step
    return (new_long, new_short) if width >= height else (new_short, new_long)


def _draw(segment: Segment, item: TranslationInput) -> Image.Image:
    drawn = segment(item.rgb)
    if drawn.size != item.rgb.size or drawn.mode not in ("RGB", "L"):
        raise ValueError(
            f"the segmentation of {item.id!r} has the mode {drawn.mode} and the size {drawn.size}; wanted RGB or L "
            f"and {item.rgb.size}, the size of its image."
        )
    return drawn.convert("RGB")
