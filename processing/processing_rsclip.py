"""RGB, infrared and their texts to the inputs of RSCLIP.

Shapes: tokens (B, T), RGB (B, 3, H, W), infrared (B, C, H, W).
"""

from collections.abc import Mapping
from typing import Any

from transformers.image_processing_base import BatchFeature
from transformers.processing_utils import ProcessorMixin

TEXT_PADDINGS = ("longest", "max_length")


class RSCLIPProcessor(ProcessorMixin):  # type: ignore[misc]
    """Bundles an `RSImageProcessor` and a tokenizer.

    Text is always padded on the right: a CLIP text tower reads positions from the left, and left padding ruins its
    embeddings without an error.

    Args:
        text_padding: `longest` (CLIP) or `max_length` (SigLIP, which was trained on full-length padding and attends to
            it: no `attention_mask` is returned then).
        max_text_length: tokens per text, longer texts are cut; the tokenizer's own limit when not given.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        text_padding: str = "longest",
        max_text_length: int | None = None,
    ) -> None:
        if text_padding not in TEXT_PADDINGS:
            raise ValueError(f"text_padding is {text_padding!r}; wanted one of {TEXT_PADDINGS}.")
        super().__init__(image_processor, tokenizer)
        self.text_padding = text_padding
        self.max_text_length = max_text_length
        self.text_kwargs = {"padding": text_padding, "truncation": True, "return_tensors": "pt"}
        if max_text_length is not None:
            self.text_kwargs["max_length"] = max_text_length

    @property
    def model_input_names(self) -> list[str]:
        infrared_text = [f"infrared_{name}" for name in self.tokenizer.model_input_names]
        return [*super().model_input_names, *infrared_text]

    def __call__(
        self, images: Any = None, text: Any = None, infrared: Any = None, infrared_text: Any = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare any subset of the four inputs.

        Args:
            images: RGB images, see `RSImageProcessor`.
            text: one string or a list of strings.
            infrared: infrared images; pairs with `images` unless `paired=False`.
            infrared_text: texts that say what the infrared images show.

        Returns:
            `input_ids`, `attention_mask` (where the tokenizer makes one), `pixel_values`, `infrared_values`,
            `infrared_input_ids`, `infrared_attention_mask`, as far as their inputs were given; torch tensors unless
            `return_tensors` says otherwise.
        """
        if images is None and text is None and infrared is None and infrared_text is None:
            raise ValueError(
                f"You need to provide at least one input to call {type(self).__name__}: "
                "images, text, infrared or infrared_text."
            )
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data: dict[str, Any] = {}
        if text is not None:
            data.update(self._tokenize(text, "text", merged["text_kwargs"]))
        if images is not None or infrared is not None:
            data.update(self.image_processor(images=images, infrared=infrared, **merged["images_kwargs"]))
        if infrared_text is not None:
            tokens = self._tokenize(infrared_text, "infrared_text", merged["text_kwargs"])
            data.update({f"infrared_{name}": value for name, value in tokens.items()})
        return BatchFeature(data)

    def _tokenize(self, text: Any, argument: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, (list, tuple)) or not all(isinstance(item, str) for item in texts):
            raise ValueError(f"`{argument}` must be a string or a list of strings, got {type(text).__name__}.")
        forced: dict[str, Any] = {"padding_side": "right"}
        if settings["padding"] == "max_length":
            forced["return_attention_mask"] = False
        return dict(self.tokenizer(texts, **{**settings, **forced}))
