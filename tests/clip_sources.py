"""Tiny CLIPs in every form that the presets start from, and rows of `rs5m` to train them on."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from processing_fixtures import make_tokenizer
from saved_clips import save_clip

from dataset_scripts.rs5m_rows import rs5m_features
from evaluation.rows import load_split

FAMILIES = {"vit": "clip", "openclip": "clip", "siglip2": "siglip"}
CHECKPOINT = "RS5M_ViT.pt"


def save_sources(folder: Path) -> None:
    """A CLIP, a SigLIP and an open_clip checkpoint with the tokenizer that it needs."""
    for family in ("clip", "siglip"):
        save_clip(family, folder / family)
    torch.save(open_clip_state(), folder / CHECKPOINT)
    make_tokenizer(model_max_length=40).save_pretrained(folder / "tokenizer")


def open_clip_state(width: int = 64, embedding: int = 16, tokens: int = 40, patches: int = 16) -> dict[str, Any]:
    """Weights under the names of open_clip: two towers of two layers."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = len(make_tokenizer())

    def random(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    state = {
        "token_embedding.weight": random(vocabulary, width),
        "positional_embedding": random(tokens, width),
        "text_projection": random(width, embedding),
        "logit_scale": torch.tensor(2.0),
        "visual.conv1.weight": random(width, 3, 8, 8),
        "visual.class_embedding": random(width),
        "visual.positional_embedding": random(patches + 1, width),
        "visual.proj": random(width, embedding),
    }
    norms = ["ln_final", "visual.ln_pre", "visual.ln_post"]
    for prefix in ("", "visual."):
        for layer in range(2):
            block = f"{prefix}transformer.resblocks.{layer}"
            norms += [f"{block}.ln_1", f"{block}.ln_2"]
            state |= {
                f"{block}.attn.in_proj_weight": random(3 * width, width),
                f"{block}.attn.in_proj_bias": random(3 * width),
                f"{block}.attn.out_proj.weight": random(width, width),
                f"{block}.attn.out_proj.bias": random(width),
                f"{block}.mlp.c_fc.weight": random(2 * width, width),
                f"{block}.mlp.c_fc.bias": random(2 * width),
                f"{block}.mlp.c_proj.weight": random(width, 2 * width),
                f"{block}.mlp.c_proj.bias": random(width),
            }
    for name in norms:
        state |= {f"{name}.weight": 1 + random(width), f"{name}.bias": random(width)}
    return state


def save_rs5m(fusionrs: Path, folder: Path) -> Path:
    """The RGB images of a `fusionrs` folder as rows of `rs5m`: every second one has a metadata caption as well."""
    rows = []
    for number, row in enumerate(load_split(str(fusionrs), "train")):
        captions = [{"text": text, "kind": "machine", "score": None} for text in row["captions"]]
        if number % 2:
            captions.append({"text": f"It has a ground sample distance of {number} metres.", "kind": "metadata"})
        values = {name: row[name] for name in ("source", "license", "attribution", "leak_group", "caption_key")}
        rows.append(
            {**values, "id": row["id"], "image": row["rgb"], "caption": row["captions"][0], "captions": captions}
        )
    features = rs5m_features()
    filled = [{**dict.fromkeys(features), **row} for row in rows]
    (folder / "data").mkdir(parents=True)
    Dataset.from_list(filled, features=features).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder
