"""Inputs of the pipelines that are shipped with the weights: an RGB image, an infrared image, or the pair.

transformers' own pipelines open an image as 8-bit RGB, which ruins infrared; these leave it to the model's processor.
"""

from collections.abc import Mapping
from typing import Any

from transformers import Pipeline

IMAGE_KEYS = ("image", "infrared")


class PairPipeline(Pipeline):  # type: ignore[misc]
    """A pipeline whose inputs are `{"image": ..., "infrared": ...}`, either of them, or a list of such."""

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        if (kwargs.get("batch_size") or self._batch_size or 1) > 1:
            raise ValueError("batch_size is not supported here: images differ in size. Leave it out, or use the model.")
        return super().__call__(inputs, **kwargs)

    def split_pair(self, inputs: Any) -> dict[str, Any]:
        """The processor's arguments for one input.

        Args:
            inputs: A mapping with `image`, `infrared` or both: `pathlib.Path`, bytes, PIL images, arrays or tensors.

        Raises:
            ValueError: It is something else.
        """
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"the input is a {type(inputs).__name__}; wanted a mapping with 'image', 'infrared', or both."
            )
        unknown = set(inputs) - set(IMAGE_KEYS)
        given = {name: [inputs[name]] for name in IMAGE_KEYS if inputs.get(name) is not None}
        if unknown or not given:
            raise ValueError(f"the input has keys {sorted(map(str, inputs))}; wanted 'image', 'infrared', or both.")
        return {"images": given.get("image"), "infrared": given.get("infrared")}

    def check_texts(self, texts: Any, name: str) -> list[str]:
        """A list of at least one string."""
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name} is {texts!r}; wanted a list of at least one string.")
        return list(texts)


__all__ = ["PairPipeline"]
