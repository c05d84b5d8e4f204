"""Builds the CLIP of a run and its processor, from a source or from random weights."""

import json
import re
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from transformers import CLIPTextConfig, CLIPVisionConfig, SiglipVisionConfig

from modeling_rsclip import RSCLIPConfig, RSCLIPModel, import_clip
from modeling_rsclip.configuration_rsclip import LOSS_PAIRS
from processing import RSCLIPProcessor, RSImageProcessor, import_processor

from ..data.captions import all_captions
from ..data.vocabulary import learn_clip_tokenizer
from .config import ClipModelConfig, TowerSize

# ORG/NAME of a Hub repository, and the path of a checkpoint in it.
HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:/([\w./-]+\.(?:pt|pth|bin|safetensors)))?")


def build_clip(config: ClipModelConfig, rows: Dataset) -> tuple[RSCLIPModel, RSCLIPProcessor]:
    """The model and processor to train."""
    fields: dict[str, Any] = {
        "infrared_tower": config.infrared_tower,
        "infrared_channels": config.infrared_channels,
        "fusion": config.fusion,
        "loss": config.loss,
        "loss_weights": {name: float(name in config.pairs) for name in LOSS_PAIRS},
    }
    if config.loss == "sigmoid":
        fields["logit_bias_init_value"] = -10.0  # SigLIP's start: at first nearly every pair is a negative
    if config.source is None:
        return _small_clip(config.size, rows, fields)
    source = find_source(config.source)
    if _is_rsclip(source):
        model = RSCLIPModel.from_pretrained(source)
        if "fused_text" in config.pairs and model.config.fusion == "none":
            raise ValueError(
                f"model.source {str(config.source)!r} fuses nothing, and model.pairs ask for fused_text; leave that "
                "pair out, or start from a model with a fusion."
            )
        model.config.loss_weights = fields["loss_weights"]
        return model, RSCLIPProcessor.from_pretrained(source)
    model = import_clip(source, activation=config.activation, **fields)
    return model, _imported_processor(source, config, model)


def find_source(source: str | Path) -> Path:
    """The folder or file of a source; what is not here comes from the Hub, or from its cache.

    Raises:
        FileNotFoundError: the source is neither here nor on the Hub, or the Hub cannot be reached.
    """
    if Path(source).exists():
        return Path(source)
    named = HUB_NAME.fullmatch(str(source))
    if named is None:
        raise FileNotFoundError(
            f"model.source {str(source)!r} does not exist here, and is no Hub id (ORG/NAME, or ORG/NAME/FILE.pt for a "
            "file of it). Check the path."
        )
    repository, file = named.groups()
    try:
        if file is not None:
            return Path(hf_hub_download(repository, file))
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, EntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"model.source {str(source)!r} does not exist here and cannot be had from the Hub ({error}). Give "
            "`--model.source` a folder or file that is here, or check the id and the network."
        ) from error


def _is_rsclip(source: Path) -> bool:
    config = source / "config.json"
    return config.is_file() and json.loads(config.read_text()).get("model_type") == "rsclip"


def _small_clip(size: TowerSize, rows: Dataset, fields: dict[str, Any]) -> tuple[RSCLIPModel, RSCLIPProcessor]:
    tokenizer = learn_clip_tokenizer(all_captions(rows), size.vocabulary, size.text_tokens)
    shape = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_attention_heads": size.heads,
        "hidden_act": "gelu",
    }
    vision = (CLIPVisionConfig if size.tower == "clip" else SiglipVisionConfig)(
        **shape, num_hidden_layers=size.vision_layers, image_size=size.image_size, patch_size=size.patch_size
    )
    text = CLIPTextConfig(
        **shape,
        num_hidden_layers=size.text_layers,
        vocab_size=len(tokenizer),
        max_position_embeddings=size.text_tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = RSCLIPConfig(text_config=text, vision_config=vision, projection_dim=size.width, **fields)
    images = RSImageProcessor(
        size={"shortest_edge": size.image_size},
        crop_size={"height": size.image_size, "width": size.image_size},
        infrared_scaling={"rule": "percentile", "low": 1.0, "high": 99.0},
    )
    return RSCLIPModel(config), RSCLIPProcessor(images, tokenizer, max_text_length=size.text_tokens)


def _imported_processor(source: Path, config: ClipModelConfig, model: RSCLIPModel) -> RSCLIPProcessor:
    vision = model.config.vision_config
    imported = import_processor(
        source,
        image_size=vision.image_size,
        infrared_channels=vision.num_channels if config.infrared_tower == "shared" else model.config.infrared_channels,
        tokenizer=config.tokenizer,
        siglip=vision.model_type.startswith("siglip"),
    )
    # Tokenizers come with a limit of their own, or none; the tower's counts, and texts are kept within it.
    tokens = model.config.text_config.max_position_embeddings
    return RSCLIPProcessor(imported.image_processor, imported.tokenizer, imported.text_padding, tokens)
