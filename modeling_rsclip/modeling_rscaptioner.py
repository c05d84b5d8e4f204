"""RSCaptioner: image towers, a projector with modality embeddings, and a causal language model.

One pixel stream: RGB and infrared images follow each other in placeholder order, and `image_modalities` says which is
which, so that transformers' own generation (chunked prefill, beams, caches) works unchanged.

Shapes: B prompts, L tokens, M images per prompt, N images in the batch, K tokens per image, P patches, W tower width,
D model width.
"""

from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import nn
from transformers import AutoModel, GenerationMixin
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .configuration_rscaptioner import RSCaptionerConfig
from .losses_rscaptioner import chunked_causal_loss
from .pretrained_rsclip import LoudPreTrainedModel
from .towers_rsclip import build_infrared_tower, build_tower, match_channels, start_from_rgb

RGB, INFRARED, NO_IMAGE = 0, 1, -1
LOSS_OPTIONS = ("num_items_in_batch", "ignore_index", "shift_labels")  # of transformers' losses


@dataclass
class RSCaptionerModelOutputWithPast(BaseModelOutputWithPast):
    """Output of the language model; `image_hidden_states` (N * K, D) are the projected image tokens."""

    image_hidden_states: torch.Tensor | None = None


@dataclass
class RSCaptionerCausalLMOutputWithPast(ModelOutput):
    """Logits of the next token, and the loss where labels were given."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    image_hidden_states: torch.Tensor | None = None


class RSProjector(nn.Module):
    """Patches of a tower to tokens of the language model, with an embedding of the modality."""

    def __init__(self, config: RSCaptionerConfig):
        super().__init__()
        self.reduction = config.projector_reduction
        width = config.text_config.hidden_size
        self.linear_1 = nn.Linear(config.vision_config.hidden_size * self.reduction**2, width)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(width, width)
        self.modality_embedding = nn.Embedding(2, width)

    def forward(self, patches: torch.Tensor, modalities: torch.Tensor) -> torch.Tensor:
        tokens = self.linear_2(self.act(self.linear_1(self._merge(patches))))  # (N, K, D)
        return tokens + self.modality_embedding(modalities)[:, None]

    def _merge(self, patches: torch.Tensor) -> torch.Tensor:
        """Pixel shuffle: each square of neighbouring patches becomes one token of more channels."""
        if self.reduction == 1:
            return patches
        side = int(patches.shape[1] ** 0.5)
        grid = patches.unflatten(1, (side // self.reduction, self.reduction, side // self.reduction, self.reduction))
        return grid.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)  # (N, K, W * reduction**2)


class RSCaptionerPreTrainedModel(LoudPreTrainedModel):
    """What the parts support."""

    config: RSCaptionerConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True


class RSCaptionerModel(RSCaptionerPreTrainedModel):
    """Towers, projector and language model without its head."""

    hub_auto_map = {
        "AutoConfig": "configuration_rscaptioner.RSCaptionerConfig",
        "AutoModel": "modeling_rscaptioner.RSCaptionerModel",
        "AutoModelForImageTextToText": "modeling_rscaptioner.RSCaptionerForConditionalGeneration",
        "AutoModelForMultimodalLM": "modeling_rscaptioner.RSCaptionerForConditionalGeneration",
    }

    def __init__(self, config: RSCaptionerConfig):
        super().__init__(config)
        self.vision_tower = build_tower(config.vision_config)
        self.infrared_tower = build_infrared_tower(self.vision_tower, config.infrared_tower, config.infrared_channels)
        self.projector = RSProjector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        if config.infrared_tower == "adapted":
            self.declare_shared("infrared_tower", "vision_tower")
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def start_infrared_from_rgb(self) -> None:
        """Gives the infrared tower the RGB tower's weights. Does nothing for a shared tower."""
        if self.infrared_tower is not None:
            start_from_rgb(self.infrared_tower, self.vision_tower)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, image_modalities: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encodes and projects the images of a batch.

        Args:
            pixel_values: Images (N, C, H, W) in placeholder order.
            image_modalities: Per prompt and image (B, M) or per image (N,): 0 RGB, 1 infrared, -1 none. Left out, all
                images are RGB.

        Returns:
            The tower's output; `pooler_output` is a list of N tensors (K, D).
        """
        modalities = _modality_per_image(image_modalities, pixel_values)
        images = len(pixel_values)
        if not images:  # a blank image that nobody sees: every parameter still gets its (zero) gradient
            pixel_values = pixel_values.new_zeros(1, *pixel_values.shape[1:])
            modalities = modalities.new_zeros(1)
        layer = self.config.vision_feature_layer
        if not kwargs.get("output_hidden_states"):
            kwargs["output_hidden_states"] = layer  # the tower keeps this one only
        output = self._encode(pixel_values, modalities, {**kwargs, "return_dict": True})
        patches = output.hidden_states[layer]  # (N, P, W)
        if self.config.vision_feature_select_strategy == "default":
            patches = patches[:, 1:]
        tokens = self.projector(patches, modalities)  # (N, K, D)
        output.pooler_output = list(tokens) if images else [tokens[0, :0]]
        return output

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_modalities: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> RSCaptionerModelOutputWithPast:
        """Runs the language model over text and image tokens.

        Args:
            input_ids: Token ids (B, L) with `image_token_id` where image tokens belong.
            pixel_values: Images (N, C, H, W) in placeholder order.
            image_modalities: Which image is what (B, M), see `get_image_features`; with it, each prompt's
                placeholders are counted against its own images.
            inputs_embeds: Embeddings (B, L, D) instead of `input_ids`.
            mm_encoder_outputs: Images that were encoded before, as `generate` passes them.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Pass exactly one of input_ids and inputs_embeds.")
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("Pass pixel_values or mm_encoder_outputs, not both.")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)

        image_tokens = None
        encoded: Any = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None or encoded is not None:
            placeholders = self._placeholders(input_ids, inputs_embeds)
            if pixel_values is not None:
                self.check_placeholders(placeholders, pixel_values, image_modalities)
                encoded = self.get_image_features(pixel_values, image_modalities, return_dict=True)
            image_tokens = torch.cat(list(encoded.pooler_output)).to(inputs_embeds.device, inputs_embeds.dtype)
            room = int(placeholders.sum())
            if room != len(image_tokens):
                raise ValueError(
                    f"The prompts hold {room} image placeholders, the images give {len(image_tokens)} tokens."
                )
            inputs_embeds = inputs_embeds.masked_scatter(placeholders[..., None], image_tokens)

        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return RSCaptionerModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=image_tokens,
        )

    def check_placeholders(
        self, placeholders: torch.Tensor, pixel_values: torch.Tensor, image_modalities: torch.Tensor | None
    ) -> None:
        """Refuses a batch in which a prompt's placeholders are not those of its own images.

        A total that fits is not enough: image tokens would silently move from one prompt to another.
        """
        tokens = self.config.num_image_tokens
        found = placeholders.sum(dim=1).tolist()  # per prompt
        if image_modalities is not None and image_modalities.ndim == 2:
            wanted = [images * tokens for images in (image_modalities != NO_IMAGE).sum(dim=1).tolist()]
            for row, (have, want) in enumerate(zip(found, wanted, strict=True)):
                if have != want:
                    raise ValueError(
                        f"prompt {row} holds {have} image placeholders, its {want // tokens} images need {want} "
                        f"({tokens} each). Build prompts with RSCaptionerProcessor, and do not truncate them."
                    )
        for row, have in enumerate(found):
            if have % tokens:
                raise ValueError(
                    f"prompt {row} holds {have} image placeholders, no multiple of the {tokens} tokens of an image."
                )
        if sum(found) != len(pixel_values) * tokens:
            raise ValueError(
                f"The prompts have room for {sum(found) // tokens} images, pixel_values holds {len(pixel_values)}."
            )

    def _placeholders(self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor) -> torch.Tensor:
        """Where image tokens belong (B, L)."""
        if input_ids is not None:
            return input_ids == self.config.image_token_id
        token = torch.tensor(self.config.image_token_id, device=inputs_embeds.device)
        return (inputs_embeds == self.get_input_embeddings()(token)).all(dim=-1)

    def _encode(
        self, pixel_values: torch.Tensor, modalities: torch.Tensor, kwargs: dict[str, Any]
    ) -> BaseModelOutputWithPooling:
        """Runs each image through the tower of its modality and restores the order."""
        if self.infrared_tower is None:
            return self.vision_tower(pixel_values, **kwargs)
        infrared = modalities == INFRARED
        if not infrared.any():
            return self.vision_tower(pixel_values, **kwargs)
        channels = self.infrared_tower.config.num_channels
        seen = self.infrared_tower(match_channels(pixel_values[infrared][:, :channels], self.infrared_tower), **kwargs)
        if infrared.all():
            return seen
        output = self.vision_tower(pixel_values[~infrared], **kwargs)
        for name in ("last_hidden_state", "pooler_output"):
            if output[name] is not None:
                output[name] = _interleave(output[name], seen[name], infrared)
        for name in ("hidden_states", "attentions"):
            if output.get(name) is not None:
                pairs = zip(output[name], seen[name], strict=True)
                output[name] = tuple(
                    None if ours is None else _interleave(ours, theirs, infrared) for ours, theirs in pairs
                )
        return output


class RSCaptionerForConditionalGeneration(RSCaptionerPreTrainedModel, GenerationMixin):
    """The captioner: `generate` continues a prompt that holds RGB and infrared images."""

    hub_auto_map = RSCaptionerModel.hub_auto_map
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: RSCaptionerConfig):
        super().__init__(config)
        self.model = RSCaptionerModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=config.lm_head_bias)
        self._tied_weights_keys = {"lm_head.weight": f"model.{_input_embedding_name(self.model)}.weight"}
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_image_features(
        self, pixel_values: torch.Tensor, image_modalities: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """See `RSCaptionerModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, image_modalities, **kwargs)

    def _logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The head; some language models scale what it returns, Gemma's bound it."""
        logits = self.lm_head(hidden_states) * self.config.logits_multiplier
        bound = getattr(self.config.text_config, "final_logit_softcapping", None)
        return logits if bound is None else bound * torch.tanh(logits / bound)

    @torch.no_grad()
    def generate(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """Generates captions, after refusing the batches that would silently give wrong ones.

        Raises:
            ValueError: A prompt's placeholders are not those of its images, the batch is padded on the right, or an
                image holds a value that is not finite.
        """
        input_ids = inputs if inputs is not None else kwargs.get("input_ids")
        pixel_values, mask = kwargs.get("pixel_values"), kwargs.get("attention_mask")
        if pixel_values is not None and input_ids is not None:
            placeholders = input_ids == self.config.image_token_id
            self.model.check_placeholders(placeholders, pixel_values, kwargs.get("image_modalities"))
        if pixel_values is not None and not torch.isfinite(pixel_values).all():
            bad = (~torch.isfinite(pixel_values).flatten(1).all(dim=1)).nonzero().flatten().tolist()
            raise ValueError(
                f"pixel_values of image {bad} hold NaN or infinity; check the images and their normalisation."
            )
        if mask is not None and mask.ndim == 2 and not mask[:, -1].all():
            raise ValueError(
                "The batch is padded on the right, and generation would continue the padding. "
                "Pad on the left: processor(..., padding_side='left')."
            )
        return super().generate(inputs, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_modalities: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> RSCaptionerCausalLMOutputWithPast:
        """Next-token logits, and the loss where labels are given; the rest as in `RSCaptionerModel`.

        While training, the loss is computed in parts and the logits are left out, unless `logits_to_keep` asks for
        some: held whole they would be most of a step's memory.

        Args:
            labels: Tokens (B, L), -100 where no loss is wanted.
            logits_to_keep: How many last positions to return logits of, or which ones; 0 is all of them.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_modalities=image_modalities,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        states = outputs.last_hidden_state  # (B, L, D)
        loss = logits = None
        in_parts = labels is not None and self.training and not torch.compiler.is_compiling()
        asked_for_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if not (in_parts and asked_for_all):
            keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            logits = self._logits(states[:, keep])
        vocabulary = self.config.text_config.vocab_size
        if labels is not None and asked_for_all and logits is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=vocabulary, **kwargs)
        elif labels is not None:
            options = {name: kwargs[name] for name in LOSS_OPTIONS if name in kwargs}
            loss = chunked_causal_loss(self._logits, states, labels, vocabulary, **options)
        return RSCaptionerCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )


def _input_embedding_name(model: RSCaptionerModel) -> str:
    """Name of the embedding of the tokens, which language models call differently."""
    embedding = model.get_input_embeddings()
    return next(name for name, module in model.named_modules() if module is embedding)


def _modality_per_image(image_modalities: torch.Tensor | None, pixel_values: torch.Tensor) -> torch.Tensor:
    """(B, M) or (N,) or None to one modality per image (N,)."""
    images, device = len(pixel_values), pixel_values.device
    if image_modalities is None:
        return torch.zeros(images, dtype=torch.long, device=device)
    modalities = image_modalities.to(device).flatten()
    modalities = modalities[modalities != NO_IMAGE]
    if len(modalities) != images:
        raise ValueError(f"image_modalities names {len(modalities)} images, pixel_values holds {images}.")
    return modalities


def _interleave(rgb: torch.Tensor, infrared: torch.Tensor, is_infrared: torch.Tensor) -> torch.Tensor:
    """Puts the rows of both modalities back into the order of the stream."""
    merged = rgb.new_empty(len(is_infrared), *rgb.shape[1:])
    merged[~is_infrared] = rgb
    merged[is_infrared] = infrared.to(rgb.dtype)
    return merged


__all__ = ["RSCaptionerForConditionalGeneration", "RSCaptionerModel", "RSCaptionerPreTrainedModel"]
