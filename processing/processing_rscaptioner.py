"""Prompts with RGB and infrared images to the inputs of the captioner, for generation and for training.

Shapes: B prompts, T tokens, N images of the whole batch, M most images of one prompt.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers.image_processing_base import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .chat_rscaptioner import (
    DEFAULT_CHAT_TEMPLATE,
    Piece,
    escape_placeholders,
    images_in_chats,
    split_turns,
    template_over_blocks,
)
from .image_checks_rsclip import BadImage

RGB, INFRARED, NO_IMAGE = 0, 1, -1
IGNORED_LABEL = -100
KINDS = {RGB: "RGB", INFRARED: "infrared"}


class RSCaptionerProcessor(ProcessorMixin):  # type: ignore[misc]
    """Bundles an `RSImageProcessor` and the tokenizer of a causal language model.

    A prompt holds `image_token` where an RGB image goes and `infrared_token` where an infrared image goes, in any
    order. Both become `image_token` repeated `num_image_tokens` times; `image_modalities` says which is which.

    Args:
        num_image_tokens: tokens per image; what the projector of the model returns.
        image_token: one token of the tokenizer.
        infrared_token: a placeholder in text; never reaches the tokenizer.
        chat_template: a Jinja template over content blocks `image`, `infrared` and `text`. Left out, it is made of
            the tokenizer's own, and is `USER: … ASSISTANT: …` where the tokenizer has none.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 49,
        image_token: str = "<image>",
        infrared_token: str = "<infrared>",
        chat_template: str | None = None,
    ) -> None:
        if num_image_tokens < 1 or not image_token or not infrared_token or image_token == infrared_token:
            raise ValueError(
                f"num_image_tokens is {num_image_tokens}, image_token {image_token!r}, infrared_token "
                f"{infrared_token!r}; wanted at least one token and two different placeholders."
            )
        _check_end_of_sequence(tokenizer)
        template = chat_template or _default_template(tokenizer, image_token, infrared_token)
        super().__init__(image_processor, tokenizer, chat_template=template)
        self.num_image_tokens = num_image_tokens
        self.image_token = image_token
        self.infrared_token = infrared_token
        self.image_token_id = _single_token_id(tokenizer, image_token)
        self.text_kwargs = {"padding": True, "return_tensors": "pt"}

    @property
    def model_input_names(self) -> list[str]:
        names = [name for name in super().model_input_names if name != "infrared_values"]
        return [*names, "image_modalities"]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        infrared: Any = None,
        suffix: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare prompts for generation, or prompts with answers for training.

        Args:
            images: RGB images, flat in the order of their placeholders over the batch, or one list per prompt.
            text: one prompt or a list of them.
            infrared: infrared images, in the same two forms.
            suffix: one answer per prompt. With it the batch is for training: `labels` hold the answer and the
                end-of-sequence token and ignore the rest, and padding goes to the right (else left) unless
                `padding_side` says otherwise. A space goes between a prompt and its answer where neither brings one.

        Returns:
            `input_ids` and `attention_mask` (B, T); with images `pixel_values` (N, 3, H, W) in the order of the
            placeholders and `image_modalities` (B, M) with 0 for RGB, 1 for infrared, -1 for none; with `suffix`
            `labels` (B, T).

        Raises:
            ValueError: if prompts and images do not match, naming the prompt.
            BadImage: if an image is bad, naming the prompt and the image.
        """
        if text is None:
            raise ValueError(
                f"You need to provide at least one input to call {type(self).__name__}: `text`, with one placeholder "
                "per image."
            )
        prompts = [text] if isinstance(text, str) else list(text)
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise ValueError("`text` must be a string or a list of strings.")
        if suffix is None:
            return self._prepare([[Piece(prompt)] for prompt in prompts], images, infrared, kwargs, is_training=False)
        answers = [suffix] if isinstance(suffix, str) else suffix
        if len(prompts) != len(answers):
            raise ValueError(f"{len(prompts)} prompts and {len(answers)} answers in `suffix`; wanted one for each.")
        pieces = [
            [Piece(prompt), Piece(_spaced(prompt, answer), is_answer=True, is_ended=True)]
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return self._prepare(pieces, images, infrared, kwargs, is_training=True)

    def prepare_conversations(self, conversations: Sequence[Sequence[dict[str, Any]]], **kwargs: Any) -> BatchFeature:
        """Prepare whole conversations for training, of any number of turns.

        Images are content blocks, as in `apply_chat_template`. `labels` hold every answer of the assistant with its
        end-of-sequence token, and ignore the rest. Otherwise as `__call__` with `suffix`.

        Raises:
            ValueError: if a conversation has no answer, or the chat template rewrites earlier messages.
            BadImage: if an image is bad, naming the conversation and the image.
        """

        def render(messages: Sequence[dict[str, Any]], *, is_open: bool) -> str:
            return str(self.apply_chat_template(messages, add_generation_prompt=is_open, tokenize=False))

        end = str(self.tokenizer.eos_token)
        pieces = [split_turns(render, conversation, end) for conversation in conversations]
        images, infrared = (images_in_chats(conversations, kind) for kind in ("image", "infrared"))
        return self._prepare(pieces, images, infrared, kwargs, is_training=True)

    def _prepare(
        self, samples: list[list[Piece]], images: Any, infrared: Any, kwargs: dict[str, Any], *, is_training: bool
    ) -> BatchFeature:
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        side = kwargs.get("padding_side", kwargs.get("text_kwargs", {}).get("padding_side"))
        settings = {**merged["text_kwargs"], "padding_side": side or ("right" if is_training else "left")}
        modalities = [[kind for piece in pieces for kind in self._modalities(piece.text)] for pieces in samples]
        shown = self._split_images(images, infrared, modalities)
        expanded = [[self._expanded(piece) for piece in pieces] for pieces in samples]
        if settings.get("add_special_tokens", True):
            expanded = [self._without_second_start(pieces) for pieces in expanded]
        data = self._label(expanded, settings) if is_training else self._tokenize(expanded, settings)
        self._refuse_cut_images(data["input_ids"], modalities)
        data.update(self._pixels(shown, modalities, merged["images_kwargs"]))
        return BatchFeature(data, tensor_type=settings.get("return_tensors"))

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Render, and with `tokenize=True` prepare, one conversation or a list of them.

        Images are content blocks `{"type": "image"}` and `{"type": "infrared"}` with the image under `image` or a
        local file under `path`. Placeholders that somebody typed into a text are broken up, so that no text can ask
        for images that are not there.
        """
        return super().apply_chat_template(escape_placeholders(conversation, self._placeholder), *args, **kwargs)

    @property
    def _placeholder(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self.infrared_token)}|{re.escape(self.image_token)}")

    def _expanded(self, piece: Piece) -> Piece:
        return piece._replace(text=self._placeholder.sub(self.image_token * self.num_image_tokens, piece.text))

    def _without_second_start(self, pieces: list[Piece]) -> list[Piece]:
        """Chat templates may write the start of sequence that the tokenizer adds anyway."""
        start = self.tokenizer.bos_token
        if not start or self.tokenizer.encode("a")[0] != self.tokenizer.bos_token_id:
            return pieces
        return [pieces[0]._replace(text=pieces[0].text.removeprefix(start)), *pieces[1:]]

    def _modalities(self, prompt: str) -> list[int]:
        return [INFRARED if found == self.infrared_token else RGB for found in self._placeholder.findall(prompt)]

    def _split_images(self, images: Any, infrared: Any, modalities: list[list[int]]) -> list[dict[int, list[Any]]]:
        """Give every prompt its RGB and infrared images, and check the numbers."""
        samples: list[dict[int, list[Any]]] = [{} for _ in modalities]
        for kind, given in ((RGB, images), (INFRARED, infrared)):
            wanted = [sample.count(kind) for sample in modalities]
            token = self.image_token if kind == RGB else self.infrared_token
            for sample, part in zip(samples, _split(given, wanted, KINDS[kind], token), strict=True):
                sample[kind] = part
        return samples

    def _pixels(
        self, samples: list[dict[int, list[Any]]], modalities: list[list[int]], settings: dict[str, Any]
    ) -> dict[str, Any]:
        most = max(len(sample) for sample in modalities) if modalities else 0
        if most == 0:
            return {}
        pixels = [
            image
            for index, (sample, order) in enumerate(zip(samples, modalities, strict=True))
            for image in self._sample_pixels(index, sample, order, settings)
        ]
        padded = [order + [NO_IMAGE] * (most - len(order)) for order in modalities]
        return {"pixel_values": torch.stack(pixels), "image_modalities": torch.tensor(padded, dtype=torch.long)}

    def _sample_pixels(
        self, index: int, sample: dict[int, list[Any]], order: list[int], settings: dict[str, Any]
    ) -> list[torch.Tensor]:
        """The images of one prompt in the order of its placeholders, each (3, H, W)."""
        if not order:
            return []
        # As many of each kind are pairs, which share their geometry; anything else is not.
        paired = settings.get("paired", len(sample[RGB]) == len(sample[INFRARED]))
        try:
            values = self.image_processor(
                images=sample[RGB] or None,
                infrared=sample[INFRARED] or None,
                **{**settings, "paired": paired, "return_tensors": "pt"},
            )
        except BadImage as error:
            raise error.inside(f"prompt {index}") from error
        streams = {RGB: iter(values.get("pixel_values", ())), INFRARED: iter(values.get("infrared_values", ()))}
        return [next(streams[kind]).expand(3, -1, -1) for kind in order]

    def _tokenize(self, samples: list[list[Piece]], settings: dict[str, Any]) -> dict[str, Any]:
        return dict(self.tokenizer([pieces[0].text for pieces in samples], **settings))

    def _label(self, samples: list[list[Piece]], settings: dict[str, Any]) -> dict[str, Any]:
        """Tokens and labels; each piece is tokenized alone, as its prompt is for generation."""
        rows, labels = [], []
        for index, pieces in enumerate(samples):
            row, label = self._label_pieces(pieces, settings.get("add_special_tokens", True))
            if settings.get("truncation") and settings.get("max_length"):
                row, label = row[: settings["max_length"]], label[: settings["max_length"]]
            if all(value == IGNORED_LABEL for value in label):
                raise ValueError(
                    f"prompt {index}: truncation to {settings['max_length']} tokens leaves nothing of the answer. "
                    "Raise max_length."
                )
            rows.append(row)
            labels.append(label)
        padding = {name: settings[name] for name in ("padding", "max_length", "pad_to_multiple_of") if name in settings}
        data = dict(self.tokenizer.pad({"input_ids": rows}, padding_side=settings["padding_side"], **padding))
        data["labels"] = [
            _pad_labels(label, len(row), settings["padding_side"])
            for label, row in zip(labels, data["input_ids"], strict=True)
        ]
        return data

    def _label_pieces(self, pieces: list[Piece], add_start: bool) -> tuple[list[int], list[int]]:
        row: list[int] = []
        label: list[int] = []
        for piece in pieces:
            ids = self.tokenizer(piece.text, add_special_tokens=add_start and not row)["input_ids"]
            ids += [self.tokenizer.eos_token_id] * piece.is_ended
            row += ids
            label += ids if piece.is_answer else [IGNORED_LABEL] * len(ids)
        return row, label

    def _refuse_cut_images(self, input_ids: Any, modalities: list[list[int]]) -> None:
        for index, (row, order) in enumerate(zip(input_ids, modalities, strict=True)):
            found = [int(token) for token in row].count(self.image_token_id)
            if found != len(order) * self.num_image_tokens:
                raise ValueError(
                    f"prompt {index} has {found} image tokens after tokenizing; wanted {len(order)} images of "
                    f"{self.num_image_tokens}. Truncation cut an image: raise max_length or turn truncation off."
                )

    def _multimodal_inputs_from_conversations(
        self, conversations: list[list[dict[str, Any]]], *_: Any, **__: Any
    ) -> tuple[list[list[Any]], list[Any], list[Any], dict[str, Any]]:
        """RGB and infrared images of the content blocks, one list per conversation."""
        images, infrared = (images_in_chats(conversations, kind) for kind in ("image", "infrared"))
        return images, [], [], {"infrared": infrared} if any(infrared) else {}


def _default_template(tokenizer: Any, image_token: str, infrared_token: str) -> str:
    template = DEFAULT_CHAT_TEMPLATE
    if isinstance(getattr(tokenizer, "chat_template", None), str):
        template = template_over_blocks(tokenizer.chat_template)
    return template.replace("<image>", image_token).replace("<infrared>", infrared_token)


def _spaced(prompt: str, answer: str) -> str:
    return answer if prompt[-1:].isspace() or answer[:1].isspace() else f" {answer}"


def _single_token_id(tokenizer: Any, token: str) -> int:
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(
            f"image_token {token!r} becomes {len(ids)} tokens; wanted one of its own. Run "
            f"tokenizer.add_special_tokens({{'additional_special_tokens': [{token!r}]}}) and resize the embeddings."
        )
    return int(ids[0])


def _check_end_of_sequence(tokenizer: Any) -> None:
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id in tokenizer.encode("a")[-1:]:
        raise ValueError(
            f"the tokenizer has end-of-sequence token {tokenizer.eos_token!r} and "
            f"{'appends it to prompts' if tokenizer.eos_token else 'cannot end an answer'}; wanted one that only ends "
            "answers. Set an eos_token, and a post-processor (or add_eos_token=False) that leaves prompts open."
        )


def _split(given: Any, wanted: list[int], kind: str, token: str) -> list[list[Any]]:
    """Images of one kind, flat over the batch or nested per prompt, as one list per prompt."""
    if given is None:
        given = []
    elif not isinstance(given, (list, tuple)):
        given = list(given) if getattr(given, "ndim", 0) == 4 else [given]
    if any(isinstance(item, (list, tuple)) for item in given):
        parts = [list(item) if isinstance(item, (list, tuple)) else [] if item is None else [item] for item in given]
        if len(parts) != len(wanted):
            raise ValueError(f"{len(parts)} lists of {kind} images for {len(wanted)} prompts; wanted one per prompt.")
    else:
        parts, start = [], 0
        for count in wanted:
            parts.append(list(given[start : start + count]))
            start += count
        parts[-1:] = [parts[-1] + list(given[start:])] if parts else []
    for index, (part, count) in enumerate(zip(parts, wanted, strict=True)):
        if len(part) != count:
            raise ValueError(
                f"prompt {index} has {count} {token} placeholders and {len(part)} {kind} images; wanted as many. "
                f"Write one {token} per {kind} image, in their order."
            )
    return parts


def _pad_labels(label: list[int], length: int, side: str) -> list[int]:
    padding = [IGNORED_LABEL] * (length - len(label))
    return padding + label if side == "left" else label + padding
