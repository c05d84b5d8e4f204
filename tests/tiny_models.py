"""Folders of tiny models for the steps of a build: classifier, captioner, translators, vision-language model."""

from pathlib import Path
from typing import Any

import torch
from conftest import LLAMA, VISION
from processing_fixtures import make_tokenizer
from saved_clips import SIZE, spread
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from modeling_rsclip import RSTranslatorConfig, RSTranslatorModel

CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} answer: "
)


def save_classifier(folder: Path, seed: int = 1) -> None:
    """A classifier with the labels `other` and `remote sensing`."""
    torch.manual_seed(seed)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    labels = {0: "other", 1: "remote sensing"}
    fields = {name: VISION[name] for name in names}
    config = ViTConfig(**fields, id2label=labels, label2id={label: index for index, label in labels.items()})
    spread(ViTForImageClassification(config)).save_pretrained(folder)
    ViTImageProcessor(size=SIZE).save_pretrained(folder)


def save_llava(folder: Path, seed: int = 0) -> None:
    """A vision-language model that chats in random bytes."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(appends_eos=False)
    text = {**LLAMA, "vocab_size": len(tokenizer), "max_position_embeddings": 4096}
    config = LlavaConfig(
        vision_config=VISION,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    model = spread(LlavaForConditionalGeneration(config))
    model.generation_config.eos_token_id = 3
    model.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIZE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)


def save_unet(folder: Path, seed: int = 0) -> None:
    """A translator of ours with its code beside it, as on the Hub."""
    torch.manual_seed(seed)
    config = RSTranslatorConfig(base_channels=8, max_channels=16, depth=2, norm_groups=4, output_bits=8)
    RSTranslatorModel(config).save_pretrained(folder)


def save_diffusion(folder: Path) -> None:
    """A DiffV2IR of 12 channels in the folder form of diffusers."""
    from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(
            sample_size=8,
            in_channels=12,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=2,
            cross_attention_dim=16,
        ),
        "vae": AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            norm_num_groups=2,
            sample_size=64,
            scaling_factor=0.18215,
        ),
        "scheduler": EulerAncestralDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        "tokenizer": make_tokenizer(model_max_length=77),
    }
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(vocab_size=len(parts["tokenizer"]), **shape))
    for name, part in parts.items():
        part.save_pretrained(folder / name)
