"""Folders of tiny models as users have them, weights and processor: CLIPs of four families, and a captioner."""

from pathlib import Path
from typing import Any

import torch
from conftest import LLAMA, SIGLIP_TEXT, TEXT, VISION
from processing_fixtures import make_tokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration, RSCLIPConfig, RSCLIPModel
from processing import RSCaptionerProcessor, RSCLIPProcessor, RSImageProcessor

SIZE = {"height": 32, "width": 32}


def spread(model: Any) -> Any:
    """Moves weights far enough from their start that texts and images differ."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def save_clip(family: str, folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 40}
    siglip_text = {**SIGLIP_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    model: Any
    processor: Any
    if family == "clip":
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
        images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
        processor = CLIPProcessor(images, tokenizer)
    elif family == "siglip":
        model = SiglipModel(SiglipConfig(text_config=siglip_text, vision_config=VISION))
        processor = SiglipProcessor(SiglipImageProcessor(size=SIZE), tokenizer)
    elif family == "siglip2":
        vision = {**VISION, "model_type": "siglip2_vision_model", "num_patches": 16}
        siglip_text = {**siglip_text, "model_type": "siglip2_text_model"}
        model = Siglip2Model(Siglip2Config(text_config=siglip_text, vision_config=vision))
        processor = Siglip2Processor(Siglip2ImageProcessor(patch_size=8, max_num_patches=16), tokenizer)
    else:
        model = RSCLIPModel(RSCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16, fusion_heads=4))
        images = RSImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
        processor = RSCLIPProcessor(images, tokenizer)
    spread(model).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_captioner(folder: Path) -> None:
    """A captioner of random weights, in Hub form."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(appends_eos=False)
    llama = {**LLAMA, "vocab_size": len(tokenizer), "max_position_embeddings": 256}
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = RSCaptionerConfig(vision_config=VISION, text_config=llama, image_token_id=image_token)
    images = RSImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    spread(RSCaptionerForConditionalGeneration(config)).save_pretrained(folder)
    RSCaptionerProcessor(images, tokenizer, num_image_tokens=16).save_pretrained(folder)
