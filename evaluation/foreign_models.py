"""Opens any CLIP for evaluation: ours, CLIP, SigLIP and SigLIP 2 of transformers, FusionRS-CLIP, open_clip files.

A CLIP of RGB reads infrared with the same tower, as three equal channels under the normalisation of RGB.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import snapshot_download
from tqdm import tqdm

from modeling_rsclip import RSCLIPModel, import_clip
from processing import BadImage, RSCLIPProcessor, import_processor

from .pair_conditions import PairCondition, under_condition
from .results import weights_sha256

Floats = npt.NDArray[np.float32]
Source = Path | bytes
Kind = Literal["rgb", "infrared"]

FOREIGN = ("clip", "siglip", "siglip2")
# What a Hub repository may hold beside what is read here.
UNREAD = ["*.h5", "*.msgpack", "*.onnx", "*.tflite", "*.ot", "onnx/*", "*.gguf"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A model and its processor, ready to embed, and what a result says about it."""

    id: str
    weights_sha256: str
    model: RSCLIPModel
    processor: RSCLIPProcessor

    @property
    def fuses(self) -> bool:
        """Whether the model has an embedding of a pair."""
        return self.model.fusion is not None


def load_clip(
    source: str,
    *,
    activation: str | None = None,
    tokenizer: str | None = None,
    image_size: int | None = None,
    revision: str | None = None,
    device: str = "cpu",
) -> Clip:
    """Loads a model.

    Args:
        source: Folder, checkpoint file of open_clip, or Hub id.
        activation: `quick_gelu` or `gelu`, for a checkpoint file, which does not say.
        tokenizer: Folder or Hub id of the tokenizer, for a checkpoint file.
        image_size: Side at which a SigLIP 2 NaFlex model is fixed.
        revision: Git revision on the Hub.
        device: Where the model runs.
    """
    path = local_path(source, revision)
    kind = "open_clip" if path.is_file() else model_type(path)
    if kind != "open_clip" and tokenizer is not None:
        raise ValueError(f"{source} holds its own tokenizer; leave tokenizer={tokenizer!r} out.")
    if kind == "rsclip":
        if activation is not None or image_size is not None:
            raise ValueError(f"{source} records its activation and image size; leave activation and image_size out.")
        model, processor = RSCLIPModel.from_pretrained(path), RSCLIPProcessor.from_pretrained(path)
    elif kind in (*FOREIGN, "open_clip"):
        model = import_clip(path, activation=activation, image_size=image_size)
        side = model.config.vision_config.image_size
        settings = {"image_size": side, "infrared_channels": 3, "siglip": kind.startswith("siglip")}
        processor = import_processor(path, tokenizer=tokenizer, **settings)
    else:
        raise ValueError(f"{source} is a {kind!r} model; wanted rsclip, {', '.join(FOREIGN)}, or an open_clip file.")
    return Clip(
        id=source,
        weights_sha256=weights_sha256(path if path.is_file() else _config_folder(path)),
        model=model.eval().to(device),
        processor=processor,
    )


def local_path(source: str, revision: str | None = None) -> Path:
    """The file or folder of a model; downloads a Hub id into the cache of huggingface_hub."""
    if Path(source).exists():
        return Path(source)
    try:
        return Path(snapshot_download(source, revision=revision, ignore_patterns=UNREAD))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{source!r} is no file or folder here, and no Hub repository that can be read ({error})."
        ) from error


def model_type(folder: Path) -> str:
    """What `config.json` says the model is."""
    config = _config_folder(folder) / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{folder} has no config.json; it is no model folder in transformers form.")
    return str(json.loads(config.read_text()).get("model_type"))


def _config_folder(folder: Path) -> Path:
    """FusionRS-CLIP keeps its CLIP in `model/`."""
    nested = folder / "model"
    return nested if not (folder / "config.json").is_file() and (nested / "config.json").is_file() else folder


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str], batch_size: int = 256) -> Floats:
    """Embeddings (texts, D) as the tower gives them, before any normalisation; longer texts are cut."""
    parts = []
    # Some tokenizers allow more tokens than their tower has positions.
    words = clip.processor
    limit = words.max_text_length if words.max_text_length is not None else words.tokenizer.model_max_length
    limit = min(limit, clip.model.config.text_config.max_position_embeddings)
    for start in range(0, len(texts), batch_size):
        inputs = words(text=list(texts[start : start + batch_size]), max_length=limit)
        output = clip.model.get_text_features(**{name: value.to(clip.model.device) for name, value in inputs.items()})
        parts.append(output.pooler_output.float().cpu().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def embed_images(
    clip: Clip, sources: Sequence[Source], names: Sequence[str], kind: Kind, batch_size: int = 64
) -> Floats:
    """Embeddings (images, D) of RGB or infrared images, not normalised.

    Raises:
        BadImage: An image cannot be read; the message holds its name.
    """
    parts = []
    for start in tqdm(range(0, len(sources), batch_size), desc=f"embed {kind}", unit="batch", leave=False):
        batch = slice(start, start + batch_size)
        inputs = _read(clip, [{_argument(kind): source} for source in sources[batch]], names[batch])
        if kind == "rgb":
            output = clip.model.get_image_features(inputs["pixel_values"])
        else:
            output = clip.model.get_infrared_features(inputs["infrared_values"])
        parts.append(output.pooler_output.float().cpu().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def embed_pairs(
    clip: Clip,
    pairs: Sequence[tuple[Source, Source]],
    names: Sequence[str],
    batch_size: int = 64,
    condition: PairCondition = "as_is",
    ids: Sequence[str] | None = None,
) -> dict[str, Floats]:
    """`rgb`, `infrared` and, where the model fuses, `fused` embeddings (pairs, D), not normalised.

    Under a condition that leaves an image out there are none of it, and `fused` is of the other alone. Noise follows
    from `ids` (from `names` when not given), which say the same wherever the files are.

    Raises:
        BadImage: An image cannot be read, or the two of a pair differ in size; the message holds its name.
    """
    parts: dict[str, list[Floats]] = {}
    for start in tqdm(range(0, len(pairs), batch_size), desc="embed pairs", unit="batch", leave=False):
        batch = slice(start, start + batch_size)
        inputs = _read(clip, [{"images": rgb, "infrared": infrared} for rgb, infrared in pairs[batch]], names[batch])
        inputs = under_condition(condition, inputs, (names if ids is None else ids)[batch])
        outputs = {}
        if "pixel_values" in inputs:
            outputs["rgb"] = clip.model.get_image_features(inputs["pixel_values"])
        if "infrared_values" in inputs:
            outputs["infrared"] = clip.model.get_infrared_features(inputs["infrared_values"])
        if clip.fuses:
            outputs["fused"] = clip.model.get_fused_features(**inputs)
        for name, output in outputs.items():
            parts.setdefault(name, []).append(output.pooler_output.float().cpu().numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def _argument(kind: Kind) -> str:
    return "images" if kind == "rgb" else "infrared"


def _read(clip: Clip, items: Sequence[dict[str, Source]], names: Sequence[str]) -> dict[str, Any]:
    """Pixels of a batch; a bad image is looked up one by one, so that the error names its file and not its number."""
    arguments = {name: [item[name] for item in items] for name in items[0]}
    try:
        inputs = clip.processor(**arguments)
    except BadImage:
        for item, name in zip(items, names, strict=True):
            try:
                clip.processor(**{argument: [source] for argument, source in item.items()})
            except BadImage as error:
                raise error.inside(name) from error
        raise
    return {name: value.to(clip.model.device) for name, value in inputs.items()}
