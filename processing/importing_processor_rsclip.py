"""The processor of a CLIP that somebody else trained: its geometry, normalisation and tokenizer, plus infrared."""

from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from .image_processing_rsclip import RSImageProcessor
from .processing_rsclip import RSCLIPProcessor

KEPT = ("size", "crop_size", "do_center_crop", "resample", "image_mean", "image_std", "rescale_factor")
SIGLIP_TEXT_TOKENS = 64
PERCENTILES = {"rule": "percentile", "low": 1.0, "high": 99.0}


def import_processor(
    source: str | Path,
    *,
    image_size: int,
    infrared_channels: int = 1,
    tokenizer: str | Path | None = None,
    siglip: bool = False,
    revision: str | None = None,
    **infrared: Any,
) -> RSCLIPProcessor:
    """Builds the processor for what `import_clip` loaded.

    Args:
        source: The same folder, repository id or checkpoint file.
        image_size: Side of the model's images, `model.config.vision_config.image_size`.
        infrared_channels: Channels that the infrared tower reads: 3 for a shared tower, which then gets infrared under
            the normalisation of RGB, channel by channel, as FusionRS-CLIP does; 1 under its mean.
        tokenizer: Folder or id of the tokenizer, where the source has none, as an open_clip file.
        siglip: Texts are padded to full length, as SigLIP was trained.
        revision: Git revision of a repository.
        **infrared: Settings of `RSImageProcessor`, e.g. `infrared_scaling`, `nodata`, `polarity`; scaling is by
            percentiles of each image when not given.
    """
    folder = _model_folder(source)
    is_file = Path(source).is_file()
    if is_file and tokenizer is None:
        raise ValueError(f"{source} holds no tokenizer; pass tokenizer=, e.g. 'openai/clip-vit-base-patch32'.")
    settings = _clip_settings() if is_file else _source_settings(folder, revision)
    settings |= _geometry(settings, image_size)
    mean, std = (list(settings[name]) for name in ("image_mean", "image_std"))
    if infrared_channels == 1:
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    images = RSImageProcessor(
        **{"infrared_mean": mean, "infrared_std": std, "infrared_scaling": PERCENTILES, **settings, **infrared}
    )
    words = AutoTokenizer.from_pretrained(tokenizer if tokenizer is not None else folder, revision=revision)
    if siglip:
        return RSCLIPProcessor(images, words, text_padding="max_length", max_text_length=SIGLIP_TEXT_TOKENS)
    return RSCLIPProcessor(images, words)


def _model_folder(source: str | Path) -> str | Path:
    """The folder that holds the CLIP: FusionRS-CLIP keeps it in `model/`."""
    nested = Path(source) / "model"
    return nested if (nested / "config.json").is_file() else source


def _source_settings(folder: str | Path, revision: str | None) -> dict[str, Any]:
    source = AutoImageProcessor.from_pretrained(folder, revision=revision)
    return {name: value for name in KEPT if (value := getattr(source, name, None)) is not None}


def _clip_settings() -> dict[str, Any]:
    """What every open_clip release of remote sensing uses."""
    return {"do_center_crop": True, "image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}


def _geometry(settings: dict[str, Any], image_size: int) -> dict[str, Any]:
    """CLIP resizes the shorter side and crops, SigLIP resizes to the square; NaFlex is fixed at the square."""
    square = {"height": image_size, "width": image_size}
    if settings.get("do_center_crop"):
        return {"size": {"shortest_edge": image_size}, "crop_size": square}
    return {"size": square, "do_center_crop": False}
