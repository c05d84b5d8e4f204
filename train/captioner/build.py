"""Builds the captioner of a run and its processor, and chooses what of it is trained."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import is_bitsandbytes_available

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration, RSCLIPModel
from processing import RSCaptionerProcessor

from ..data.captions import all_captions
from ..data.vocabulary import IMAGE, learn_language_tokenizer
from .adapter import CaptionerWithAdapter, add_adapter
from .config import CaptionerModelConfig, LanguageModelSize

TEXT_TOKENS = 32  # a question and a short answer beside a pair
# What four bits leave as it is: all that is not the language model's body.
NEVER_QUANTIZED = ["model.vision_tower", "model.infrared_tower", "model.projector", "lm_head"]


def build_captioner(
    config: CaptionerModelConfig, rows: Dataset
) -> tuple[RSCaptionerForConditionalGeneration | CaptionerWithAdapter, RSCaptionerProcessor]:
    """The captioner to train, from a captioner or from an RSCLIP and a language model.

    Raises:
        FileNotFoundError: a folder holds no model.
        ImportError: four bits are asked for without bitsandbytes.
        ValueError: a folder holds another kind of model, or the parts do not fit.
    """
    if config.tune == "qlora" and not is_bitsandbytes_available():
        raise ImportError(
            "model.tune=qlora needs bitsandbytes, which is not installed. Run `pip install bitsandbytes`, or choose "
            "model.tune lora."
        )
    if config.captioner is not None:
        captioner, processor = _load_captioner(config)
    else:
        captioner, processor = _assemble(config, rows)
    _check_room(captioner, processor)
    trained = config.tune == "full"
    for part, is_trained in (
        (captioner.model.vision_tower, not config.freeze_towers),
        (captioner.model.infrared_tower, not config.freeze_towers),
        (captioner.model.language_model, trained),
        (captioner.lm_head, trained),
    ):
        if part is not None:
            _set_trainable(part, is_trained=is_trained)
    if config.tune in ("lora", "qlora"):
        return add_adapter(captioner, config.lora), processor
    return captioner, processor


def _set_trainable(part: torch.nn.Module, *, is_trained: bool) -> None:
    for parameter in part.parameters():
        if parameter.is_floating_point():  # weights of four bits have no gradient
            parameter.requires_grad_(is_trained)


def _load_captioner(config: CaptionerModelConfig) -> tuple[RSCaptionerForConditionalGeneration, RSCaptionerProcessor]:
    assert config.captioner is not None
    _check_folder(config.captioner, "rscaptioner", "model.captioner", "python -m train.train_captioner")
    captioner = RSCaptionerForConditionalGeneration.from_pretrained(config.captioner, **_loading(config))
    return captioner, RSCaptionerProcessor.from_pretrained(config.captioner)


def _assemble(
    config: CaptionerModelConfig, rows: Dataset
) -> tuple[RSCaptionerForConditionalGeneration, RSCaptionerProcessor]:
    """A captioner on the image towers of an RSCLIP; its language model comes from a source or starts at random."""
    _check_folder(config.clip, "rsclip", "model.clip", "python -m train.train_clip")
    clip = RSCLIPModel.from_pretrained(config.clip)
    language, tokenizer = _language_model(config, rows)
    siglip = clip.config.vision_config.model_type.startswith("siglip")
    head = language.get_output_embeddings()
    described = RSCaptionerConfig(
        vision_config=clip.config.vision_config,
        text_config=language.config,
        infrared_tower=clip.config.infrared_tower,
        infrared_channels=clip.config.infrared_channels,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        projector_reduction=config.projector_reduction,
        vision_feature_layer=config.feature_layer,
        vision_feature_select_strategy="full" if siglip else "default",
        tie_word_embeddings=language.config.tie_word_embeddings,
        lm_head_bias=head.bias is not None,
        logits_multiplier=_logits_multiplier(language.config),
    )
    with torch.device("meta"):  # the parts bring their weights; a second language model would not fit
        captioner = RSCaptionerForConditionalGeneration(described)
    captioner.model.vision_tower = clip.vision_model
    captioner.model.infrared_tower = clip.infrared_model
    captioner.model.language_model = language.base_model
    captioner.lm_head = head
    captioner.model.projector.to_empty(device=PartialState().device if config.tune == "qlora" else "cpu")
    captioner.model.projector.apply(captioner._init_weights)
    _check_language_model(captioner, language)
    captioner.generation_config.update(
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id
    )
    images = AutoImageProcessor.from_pretrained(config.clip)
    return captioner, RSCaptionerProcessor(images, tokenizer, num_image_tokens=captioner.config.num_image_tokens)


def _language_model(config: CaptionerModelConfig, rows: Dataset) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A language model and its tokenizer, which knows the image token."""
    if config.language_model is None:
        if config.tune != "full":
            raise ValueError(
                f"model.tune={config.tune!r} keeps a language model, and none is given: a random one would stay "
                "random. Pass --model.language-model, or --model.captioner to go on from a captioner."
            )
        tokenizer = learn_language_tokenizer(all_captions(rows), config.size.vocabulary, config.size.tokens)
        return AutoModelForCausalLM.from_config(_small_language_model(config.size, tokenizer)), tokenizer
    tokenizer = AutoTokenizer.from_pretrained(config.language_model)
    language = AutoModelForCausalLM.from_pretrained(config.language_model, **_loading(config))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    if len(tokenizer) > language.get_input_embeddings().num_embeddings:
        language.resize_token_embeddings(len(tokenizer))
    longest = getattr(language.config, "max_position_embeddings", None) or tokenizer.model_max_length
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return language, tokenizer


def _loading(config: CaptionerModelConfig) -> dict[str, Any]:
    """How weights are read: all of float32 where they are trained, as they were saved where not, or in four bits."""
    if config.tune == "full":
        return {"dtype": torch.float32}
    if config.tune != "qlora":
        return {"dtype": "auto"}
    device = PartialState().device
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=half,
        llm_int8_skip_modules=NEVER_QUANTIZED,
    )
    return {"dtype": half, "quantization_config": bits, "device_map": {"": device}}


def _check_folder(folder: Path, kind: str, option: str, program: str) -> None:
    """Refuses what is not a folder of such a model, before a library asks the Hub for it."""
    config = folder / "config.json"
    if not config.is_file():
        raise FileNotFoundError(
            f"{option}={folder} holds no config.json; wanted a folder that `{program}` wrote. Train it first, or name "
            "another."
        )
    found = json.loads(config.read_text()).get("model_type")
    if found != kind:
        raise ValueError(f"{option}={folder} holds a {found!r} model, wanted {kind!r}.")


def _check_room(captioner: RSCaptionerForConditionalGeneration, processor: RSCaptionerProcessor) -> None:
    """Refuses a language model that cannot read a pair and a question."""
    needed, limit = 2 * processor.num_image_tokens + TEXT_TOKENS, processor.tokenizer.model_max_length
    if needed > limit:
        raise ValueError(
            f"the language model reads {limit} tokens; a pair of {processor.num_image_tokens} tokens an image and a "
            f"question need {needed}. Raise model.projector-reduction from {captioner.config.projector_reduction}, or "
            "choose a longer language model."
        )


def _logits_multiplier(config: PreTrainedConfig) -> float:
    """Cohere's models multiply their logits, Granite's divide them."""
    return float(getattr(config, "logit_scale", 1.0)) / float(getattr(config, "logits_scaling", 1.0))


@torch.no_grad()
def _check_language_model(captioner: RSCaptionerForConditionalGeneration, language: PreTrainedModel) -> None:
    """Refuses a language model whose head is more than the linear map that the captioner has."""
    tokens = torch.arange(1, 9, device=language.device)[None]
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
        # Embeddings of length one: with the 0.02 of wide models, a narrow one hardly sees its inputs at first.
        initializer_range=size.width**-0.5,
    )
