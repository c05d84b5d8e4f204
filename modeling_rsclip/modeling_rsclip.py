"""RSCLIP: contrastive model over RGB, infrared and text, on the towers of transformers' CLIP and SigLIP.

Shapes: B rows, L text tokens, C channels, H W pixels, D width of the shared space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .adapters_rsclip import add_adapters, init_adapters
from .configuration_rsclip import RSCLIPConfig
from .fusion_rsclip import ImageView, build_fusion, corrections
from .losses_rsclip import pair_loss, weighted_mean
from .pretrained_rsclip import LoudPreTrainedModel
from .towers_rsclip import build_infrared_tower, build_tower, match_channels, start_from_rgb


@dataclass
class RSCLIPOutput(ModelOutput):
    """What `RSCLIPModel` returns; whatever its inputs do not define is None.

    Args:
        loss: Weighted mean of `losses`, with `return_loss=True`.
        losses: Unweighted loss of each pair of modalities that has a weight.
        logits_per_image: Scaled similarities (B, B) of RGB images (rows) and texts; `logits_per_text` is its transpose.
        logits_per_infrared: The same for infrared images (rows) and texts.
        logits_per_fused: The same for fused pairs (rows) and texts.
        logits_rgb_infrared: The same for RGB (rows) and infrared images.
        text_embeds, image_embeds, infrared_embeds, fused_embeds, infrared_text_embeds: Unit embeddings (B, D).
        text_model_output, vision_model_output, infrared_model_output: What the towers returned.
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    logits_per_infrared: torch.Tensor | None = None
    logits_per_fused: torch.Tensor | None = None
    logits_rgb_infrared: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    infrared_embeds: torch.Tensor | None = None
    fused_embeds: torch.Tensor | None = None
    infrared_text_embeds: torch.Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    infrared_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class RSCLIPPreTrainedModel(LoudPreTrainedModel):
    """Weight initialisation and what the towers support."""

    config: RSCLIPConfig
    base_model_prefix = "rsclip"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = [
        "CLIPTextEmbeddings",
        "CLIPVisionEmbeddings",
        "CLIPEncoderLayer",
        "SiglipTextEmbeddings",
        "SiglipVisionEmbeddings",
        "SiglipEncoderLayer",
        "SiglipMultiheadAttentionPoolingHead",
        "AttentionFusion",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if not isinstance(module, RSCLIPModel):
            return
        # All of it here: for remote code transformers skips modules without parameters of their own.
        for projection in (module.text_projection, module.visual_projection, module.infrared_projection):
            if projection is not None:
                init.normal_(projection.weight, std=projection.in_features**-0.5)
        init.constant_(module.logit_scale, self.config.logit_scale_init_value)
        if module.logit_bias is not None:
            init.constant_(module.logit_bias, self.config.logit_bias_init_value)
        for parameter in corrections(module.fusion):
            init.zeros_(parameter)
        init_adapters(module, self.config.initializer_range)


class RSCLIPModel(RSCLIPPreTrainedModel):
    """RGB, infrared and text in one space, with a fused embedding of the pair."""

    _fp32_parameters = ("logit_scale", "logit_bias")
    hub_auto_map = {
        "AutoConfig": "configuration_rsclip.RSCLIPConfig",
        "AutoModel": "modeling_rsclip.RSCLIPModel",
        "AutoModelForZeroShotImageClassification": "modeling_rsclip.RSCLIPModel",
    }

    def __init__(self, config: RSCLIPConfig):
        super().__init__(config)
        text, vision = config.text_config, config.vision_config
        self.text_model = build_tower(text)
        self.vision_model = build_tower(vision)
        self._adapt("text", self.text_model)
        self._adapt("rgb", self.vision_model)
        self.infrared_model = build_infrared_tower(self.vision_model, config.infrared_tower, config.infrared_channels)
        self._adapt("infrared", self.infrared_model)

        projected = config.projection_dim is not None
        width = config.embedding_dim
        self.text_projection = nn.Linear(text.hidden_size, width, bias=False) if projected else None
        self.visual_projection = nn.Linear(vision.hidden_size, width, bias=False) if projected else None
        own_projection = projected and config.infrared_tower == "separate"
        self.infrared_projection = nn.Linear(vision.hidden_size, width, bias=False) if own_projection else None
        self.fusion = build_fusion(config.fusion, width, vision.hidden_size, config.fusion_heads)

        # One element, not zero dimensions: FSDP2 shards no scalars.
        self.logit_scale = nn.Parameter(torch.full((1,), float(config.logit_scale_init_value)))
        bias = config.logit_bias_init_value
        self.logit_bias = nn.Parameter(torch.full((1,), float(bias))) if bias is not None else None
        self._keep_in_fp32_modules_strict = [name for name in self._fp32_parameters if getattr(self, name) is not None]
        if config.infrared_tower == "adapted":
            self.declare_shared("infrared_model", "vision_model")
        self.post_init()

    def _adapt(self, name: str, tower: PreTrainedModel | None) -> None:
        """Adds the adapters that the configuration names; an adapted infrared tower has the RGB tower's."""
        if tower is not None and self.config.adapter is not None and name in self.config.adapter["towers"]:
            add_adapters(tower, self.config.adapter)

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.set_input_embeddings(value)

    def start_infrared_from_rgb(self) -> None:
        """Gives the infrared tower and projection the RGB tower's weights. Does nothing for a shared tower."""
        if self.infrared_model is not None:
            start_from_rgb(self.infrared_model, self.vision_model)
        if self.infrared_projection is not None and self.visual_projection is not None:
            self.infrared_projection.load_state_dict(self.visual_projection.state_dict())

    @property
    def clamped_logit_scale(self) -> torch.Tensor:
        """The inverse temperature, from a log that is clamped to [0, `logit_scale_max`], in float32 at least."""
        exact = self.logit_scale.to(torch.promote_types(self.logit_scale.dtype, torch.float32))
        return exact.clamp(0, self.config.logit_scale_max).exp()

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Encodes texts.

        Args:
            input_ids: Token ids (B, L).
            attention_mask: 1 where there is text, 0 where there is padding. CLIP towers read left-padded rows right:
                they are moved to the front first. SigLIP towers were trained on full length without a mask: shorter
                texts are padded to it.
            position_ids: Positions of the tokens; normally left out.

        Returns:
            The tower's output; `pooler_output` (B, D) is projected, not normalised.
        """
        text = self.config.text_config
        if text.model_type == "siglip_text_model" and input_ids.shape[1] < text.max_position_embeddings:
            input_ids, attention_mask = self._fill_up(input_ids), None
        if text.model_type == "clip_text_model" and attention_mask is not None and position_ids is None:
            input_ids, attention_mask = _left_align(input_ids, attention_mask)
        output = self.text_model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, return_dict=True, **kwargs
        )
        return _project(output, self.text_projection)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool = False, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encodes RGB images (B, C, H, W); `pooler_output` (B, D) is projected, not normalised."""
        output = self.vision_model(
            pixel_values=pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
        )
        return _project(output, self.visual_projection)

    @can_return_tuple
    def get_infrared_features(
        self, infrared_values: torch.Tensor, interpolate_pos_encoding: bool = False, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encodes infrared images (B, 1 or C, H, W); `pooler_output` (B, D) is projected, not normalised."""
        tower = self.infrared_model if self.infrared_model is not None else self.vision_model
        output = tower(
            pixel_values=match_channels(infrared_values, tower),
            interpolate_pos_encoding=interpolate_pos_encoding,
            return_dict=True,
            **kwargs,
        )
        return _project(output, self._infrared_head())

    @can_return_tuple
    def get_fused_features(
        self,
        pixel_values: torch.Tensor | None = None,
        infrared_values: torch.Tensor | None = None,
        image_present: torch.Tensor | None = None,
        infrared_present: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Encodes pairs into one embedding; either image may be missing, for all rows or for some.

        Args:
            pixel_values: RGB images (B, C, H, W), or None.
            infrared_values: Infrared images (B, 1 or C, H, W) of the same scenes, or None.
            image_present: Booleans (B,), False where the RGB image is a placeholder.
            infrared_present: Booleans (B,), False where the infrared image is a placeholder.

        Returns:
            `pooler_output` (B, D), not normalised.
        """
        rgb = infrared = None
        if pixel_values is not None:
            rgb = self.get_image_features(pixel_values, interpolate_pos_encoding, **kwargs)
        if infrared_values is not None:
            infrared = self.get_infrared_features(infrared_values, interpolate_pos_encoding, **kwargs)
        fused = self._fuse(rgb, infrared, image_present, infrared_present)
        return BaseModelOutputWithPooling(pooler_output=fused)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        infrared_values: torch.Tensor | None = None,
        infrared_input_ids: torch.Tensor | None = None,
        infrared_attention_mask: torch.Tensor | None = None,
        caption_keys: torch.Tensor | None = None,
        infrared_caption_keys: torch.Tensor | None = None,
        image_present: torch.Tensor | None = None,
        infrared_present: torch.Tensor | None = None,
        infrared_text_present: torch.Tensor | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> RSCLIPOutput:
        """Embeds whatever is given, compares it, and with `return_loss=True` scores the pairs.

        Args:
            input_ids, attention_mask: Scene captions (B, L).
            pixel_values: RGB images (B, C, H, W).
            infrared_values: Infrared images (B, 1 or C, H, W).
            infrared_input_ids, infrared_attention_mask: Captions of what the infrared shows.
            caption_keys: One integer per row (B,); rows with equal keys share a scene caption and are positives of
                each other wherever that text takes part.
            infrared_caption_keys: The same for the infrared captions.
            image_present, infrared_present, infrared_text_present: Booleans (B,), False where a row holds a
                placeholder; such rows take no part in any loss or embedding of that modality.
            return_loss: Compute the loss over every pair at hand.
        """
        embeds, outputs = self.embed_modalities(
            input_ids,
            attention_mask,
            pixel_values,
            infrared_values,
            infrared_input_ids,
            infrared_attention_mask,
            image_present,
            infrared_present,
            interpolate_pos_encoding,
            **kwargs,
        )

        losses = None
        if return_loss:
            present = {"rgb": image_present, "infrared": infrared_present, "infrared_text": infrared_text_present}
            keys = {"text": caption_keys, "infrared_text": infrared_caption_keys}
            losses = self.pair_losses(embeds, present, keys)

        logits_per_image = self._logits(embeds, "rgb", "text")
        return RSCLIPOutput(
            loss=weighted_mean(losses, self.config.loss_weights) if losses is not None else None,
            losses=losses,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.t() if logits_per_image is not None else None,
            logits_per_infrared=self._logits(embeds, "infrared", "text"),
            logits_per_fused=self._logits(embeds, "fused", "text"),
            logits_rgb_infrared=self._logits(embeds, "rgb", "infrared"),
            text_embeds=embeds.get("text"),
            image_embeds=embeds.get("rgb"),
            infrared_embeds=embeds.get("infrared"),
            fused_embeds=embeds.get("fused"),
            infrared_text_embeds=embeds.get("infrared_text"),
            text_model_output=outputs.get("text"),
            vision_model_output=outputs.get("rgb"),
            infrared_model_output=outputs.get("infrared"),
        )

    def embed_modalities(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        infrared_values: torch.Tensor | None = None,
        infrared_input_ids: torch.Tensor | None = None,
        infrared_attention_mask: torch.Tensor | None = None,
        image_present: torch.Tensor | None = None,
        infrared_present: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc]
    ) -> tuple[dict[str, torch.Tensor], dict[str, BaseModelOutputWithPooling]]:
        """Returns the unit embeddings of whatever is given, and the outputs of the towers; arguments as of `forward`.

        The embeddings (B, D) are named `text`, `rgb`, `infrared`, `infrared_text` and `fused`.
        """
        embeds: dict[str, torch.Tensor] = {}
        outputs: dict[str, BaseModelOutputWithPooling] = {}
        if input_ids is not None:
            outputs["text"] = self.get_text_features(input_ids, attention_mask, **kwargs)
            embeds["text"] = F.normalize(outputs["text"].pooler_output, dim=-1)
        if pixel_values is not None:
            outputs["rgb"] = self.get_image_features(pixel_values, interpolate_pos_encoding, **kwargs)
            embeds["rgb"] = F.normalize(outputs["rgb"].pooler_output, dim=-1)
        if infrared_values is not None:
            outputs["infrared"] = self.get_infrared_features(infrared_values, interpolate_pos_encoding, **kwargs)
            embeds["infrared"] = F.normalize(outputs["infrared"].pooler_output, dim=-1)
        if infrared_input_ids is not None:
            features = self.get_text_features(infrared_input_ids, infrared_attention_mask, **kwargs)
            embeds["infrared_text"] = F.normalize(features.pooler_output, dim=-1)
        rgb, infrared = outputs.get("rgb"), outputs.get("infrared")
        if self.fusion is not None and (rgb is not None or infrared is not None):
            embeds["fused"] = F.normalize(self._fuse(rgb, infrared, image_present, infrared_present), dim=-1)
        return embeds, outputs

    def _fill_up(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Pads texts to the full length, as a SigLIP tower was trained: it attends to the padding."""
        pad, length = self.config.text_pad_token_id, self.config.text_config.max_position_embeddings
        if pad is None:
            raise ValueError(
                f"the texts have {input_ids.shape[1]} tokens; a SigLIP tower was trained on texts padded to {length} "
                "and reads shorter ones wrongly. Use RSCLIPProcessor, tokenize with padding='max_length', or set "
                "config.text_pad_token_id."
            )
        return F.pad(input_ids, (0, length - input_ids.shape[1]), value=pad)

    def _infrared_head(self) -> nn.Module | None:
        return self.infrared_projection if self.infrared_projection is not None else self.visual_projection

    def _fuse(
        self,
        rgb: BaseModelOutputWithPooling | None,
        infrared: BaseModelOutputWithPooling | None,
        image_present: torch.Tensor | None,
        infrared_present: torch.Tensor | None,
    ) -> torch.Tensor:
        if self.fusion is None:
            raise ValueError(
                "This model has fusion='none' and therefore no fused embedding; choose mean, gated or attention."
            )
        some = rgb if rgb is not None else infrared
        if some is None:
            raise ValueError("A fused embedding needs pixel_values, infrared_values, or both; got neither.")
        return self.fusion(_view(rgb, image_present, some), _view(infrared, infrared_present, some))

    def _logits(self, embeds: dict[str, torch.Tensor], rows: str, columns: str) -> torch.Tensor | None:
        if rows not in embeds or columns not in embeds:
            return None
        scale = self.clamped_logit_scale.to(embeds[rows].dtype)
        logits = scale * embeds[rows] @ embeds[columns].t().to(embeds[rows].device)
        return logits if self.logit_bias is None else logits + self.logit_bias.to(logits.dtype)

    def pair_losses(
        self,
        embeds: dict[str, torch.Tensor],
        present: dict[str, torch.Tensor | None],
        keys: dict[str, torch.Tensor | None],
        loss: Callable[..., torch.Tensor] = pair_loss,
    ) -> dict[str, torch.Tensor]:
        """Loss of each pair at hand that has a weight. Pairs of images are positives only of themselves.

        Args:
            embeds: Unit embeddings by modality, as `embed_modalities` returns them.
            present: Booleans (B,) by modality, where rows may lack it.
            keys: One integer per row (B,) by kind of text.
            loss: Computes one pair; training passes one that gathers rows of all processes.
        """
        if present["rgb"] is not None and present["infrared"] is not None:
            present = {**present, "fused": present["rgb"] | present["infrared"]}
        losses = {}
        for first, second in PAIRS:
            name = f"{first}_{second}"
            if first not in embeds or second not in embeds or not self.config.loss_weights.get(name):
                continue
            losses[name] = loss(
                self.config.loss,
                embeds[first],
                embeds[second],
                self.clamped_logit_scale,
                self.logit_bias,
                keys.get(second),
                _both(present.get(first), present.get(second)),
            )
        if not losses:
            raise ValueError(
                f"return_loss=True needs two modalities of a pair in loss_weights {self.config.loss_weights}, got "
                f"{sorted(embeds) or 'none'}. Pass e.g. input_ids and pixel_values, or return_loss=False."
            )
        return losses


PAIRS = (("rgb", "text"), ("infrared", "text"), ("infrared", "infrared_text"), ("rgb", "infrared"), ("fused", "text"))


def _project(output: BaseModelOutputWithPooling, projection: nn.Module | None) -> BaseModelOutputWithPooling:
    if projection is not None:
        output.pooler_output = projection(output.pooler_output)
    return output


def _left_align(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotates each row until its text starts at position 0: a CLIP text tower knows no other layout."""
    length = input_ids.shape[1]
    start = attention_mask.ne(0).int().argmax(dim=1, keepdim=True)  # (B, 1)
    order = (torch.arange(length, device=input_ids.device) + start) % length  # (B, L)
    return input_ids.gather(1, order), attention_mask.gather(1, order)


def _view(
    output: BaseModelOutputWithPooling | None, present: torch.Tensor | None, other: BaseModelOutputWithPooling
) -> ImageView:
    """A modality as fusion sees it; a missing one is a row of zeros that is marked absent."""
    rows, device = len(other.pooler_output), other.pooler_output.device
    if output is None:
        absent = torch.zeros(rows, dtype=torch.bool, device=device)
        return ImageView(torch.zeros_like(other.pooler_output), torch.zeros_like(other.last_hidden_state), absent)
    if present is None:
        present = torch.ones(rows, dtype=torch.bool, device=device)
    return ImageView(output.pooler_output, output.last_hidden_state, present)


def _both(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
    if first is None or second is None:
        return first if second is None else second
    return first & second


__all__ = ["RSCLIPModel", "RSCLIPOutput", "RSCLIPPreTrainedModel"]
