"""Builds the translator of a run and its image processor, after a look at where the infrared of the rows is from."""

from collections import Counter

from datasets import Dataset

from modeling_rsclip import RSTranslatorConfig, RSTranslatorModel
from processing import RSImageProcessor, Scaling

from .config import TranslatorImages, TranslatorModelConfig

SIZES = ("base_channels", "max_channels", "depth", "blocks_per_level", "norm_groups")


def build_translator(
    config: TranslatorModelConfig, rows: Dataset, images: TranslatorImages
) -> tuple[RSTranslatorModel, RSImageProcessor]:
    """A U-Net that says which band it imitates and what its 0 and 1 stand for, and the processor of its images.

    Raises:
        ValueError: The rows have no infrared, are of an origin that was not named, or of several bands.
    """
    if "infrared_origin" not in rows.column_names:
        raise ValueError(
            f"the rows have no infrared images, only {', '.join(rows.column_names)}; a translator learns from pairs, "
            "such as `python -m dataset_scripts build fusionrs` makes of two folders."
        )
    _check_origins(rows["infrared_origin"], images.origins)
    band = _only_band(rows["infrared_band"])
    window = output_window(Scaling.parse(images.infrared_scaling))
    learnt = {"output_bits": config.output_bits, "output_window": window, "infrared_band": band}
    if config.source is None:
        sizes = {name: getattr(config, name) for name in SIZES}
        model = RSTranslatorModel(RSTranslatorConfig(**sizes, **learnt))
    else:
        model = RSTranslatorModel.from_pretrained(config.source)
        model.config = RSTranslatorConfig.from_dict({**model.config.to_dict(), **learnt})
    processor = RSImageProcessor(
        do_resize=False,
        do_center_crop=False,
        do_normalize=False,
        infrared_scaling=images.infrared_scaling,
        infrared_band=band,
        nodata=images.saved_nodata,
    )
    return model, processor


def output_window(scaling: Scaling) -> list[float] | None:
    """Pixel values that 0 and 1 stand for; None, the whole range, for percentiles, which no output can undo."""
    match scaling.rule:
        case "window":
            return [scaling.low, scaling.high]
        case "dtype_range":
            return None if scaling.bits is None else [0.0, float(2**scaling.bits - 1)]
        case "percentile":
            return None


def _check_origins(found: list[str], wanted: tuple[str, ...]) -> None:
    others = Counter(origin for origin in found if origin not in wanted)
    if others:
        listed = ", ".join(f"{origin} ({count:,})" for origin, count in others.most_common(3))
        raise ValueError(
            f"{sum(others.values()):,} of {len(found):,} rows have infrared of the origin {listed}; a translator is to "
            f"learn from {' and '.join(wanted)}. Build a dataset of such pairs only, or name the origin in "
            "--images.origins."
        )


def _only_band(found: list[str]) -> str:
    bands = Counter(found)
    if len(bands) > 1:
        listed = ", ".join(f"{band} ({count:,})" for band, count in bands.most_common())
        raise ValueError(f"the rows are of the bands {listed}; a translator imitates one. Build a dataset for each.")
    return next(iter(bands))
