"""Builds the captioner of a run and its processor: towers of an RSCLIP, a language model from a source or at random."""

import torch
from datasets import Dataset
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration, RSCLIPModel
from processing import RSCaptionerProcessor

from .captioner_config import CaptionerModelConfig, LanguageModelSize
from .captions import all_captions
from .vocabulary import IMAGE, learn_language_tokenizer


def build_captioner(
    config: CaptionerModelConfig, rows: Dataset
) -> tuple[RSCaptionerForConditionalGeneration, RSCaptionerProcessor]:
    """A captioner on the image towers of an RSCLIP; its language model comes from a source or starts at random."""
    clip = RSCLIPModel.from_pretrained(config.clip)
    if config.language_model is None:
        tokenizer = learn_language_tokenizer(all_captions(rows), config.size.vocabulary, config.size.tokens)
        language = AutoModelForCausalLM.from_config(_small_language_model(config.size, tokenizer))
    else:
        tokenizer = AutoTokenizer.from_pretrained(config.language_model)
        language = AutoModelForCausalLM.from_pretrained(config.language_model)
        if IMAGE not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
            language.resize_token_embeddings(len(tokenizer))

    siglip = clip.config.vision_config.model_type.startswith("siglip")
    head = language.get_output_embeddings()
    captioner = RSCaptionerForConditionalGeneration(
        RSCaptionerConfig(
            vision_config=clip.config.vision_config,
            text_config=language.config,
            infrared_tower=clip.config.infrared_tower,
            infrared_channels=clip.config.infrared_channels,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            projector_reduction=config.projector_reduction,
            vision_feature_select_strategy="full" if siglip else "default",
            tie_word_embeddings=language.config.tie_word_embeddings,
            lm_head_bias=head.bias is not None,
            logits_multiplier=_logits_multiplier(language.config),
        )
    )
    captioner.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    if captioner.model.infrared_tower is not None:
        captioner.model.infrared_tower.load_state_dict(clip.infrared_model.state_dict())
    captioner.model.language_model.load_state_dict(language.base_model.state_dict())
    captioner.lm_head.load_state_dict(head.state_dict())
    _check_language_model(captioner, language)
    captioner.generation_config.update(
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id
    )
    for part, frozen in (
        (captioner.model.vision_tower, config.freeze_towers),
        (captioner.model.infrared_tower, config.freeze_towers),
        (captioner.model.language_model, config.freeze_language_model),
        (captioner.lm_head, config.freeze_language_model),
    ):
        if part is not None:
            part.requires_grad_(not frozen)
    images = AutoImageProcessor.from_pretrained(config.clip)
    processor = RSCaptionerProcessor(images, tokenizer, num_image_tokens=captioner.config.num_image_tokens)
    return captioner, processor


def _logits_multiplier(config: PreTrainedConfig) -> float:
    """Cohere's models multiply their logits, Granite's divide them."""
    return float(getattr(config, "logit_scale", 1.0)) / float(getattr(config, "logits_scaling", 1.0))


@torch.no_grad()
def _check_language_model(captioner: RSCaptionerForConditionalGeneration, language: PreTrainedModel) -> None:
    """Refuses a language model whose head is more than the linear map that the captioner has."""
    tokens = torch.arange(1, 9)[None]
    captioner.eval(), language.eval()
    ours, theirs = captioner(input_ids=tokens).logits, language(input_ids=tokens).logits
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
        raise ValueError(
            f"a {language.config.model_type} model computes its logits in a way that the captioner does not know: they "
            f"differ by {float((ours - theirs).abs().max()):.3g} on text alone. Choose another language model."
        )


def _small_language_model(size: LanguageModelSize, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
