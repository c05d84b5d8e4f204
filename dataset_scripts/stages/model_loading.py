"""Loads the pretrained models that judge or caption images: any of transformers', with all their weights."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

DTYPES = ("float32", "bfloat16", "float16")
# `I;16`, `I` and `F` are not here: Pillow turns them to RGB by cutting at 255, without an error.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model, and how it runs. Can be sent to another process, and is the key under which a model is kept."""

    model: str
    """A folder, or a name on the Hub."""
    revision: str | None = None
    """Commit, tag or branch on the Hub; give a commit for a dataset that is to be built again."""
    device: str = "auto"
    """A torch device such as `cuda:1`; `auto` takes the accelerator if there is one, else the CPU."""
    dtype: str = "float32"
    """`float32`, `bfloat16` or `float16`. In the last two, results depend on the batch in their last digits."""
    trust_remote_code: bool = False
    """Run the Python code in the model's repository."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty; give a folder, or a name on the Hub.")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; it must be one of {', '.join(DTYPES)}.")

    @property
    def torch_dtype(self) -> Any:
        """The type of weights and pixels. `model.dtype` may be that of one scale which is kept in float32."""
        import torch

        return getattr(torch, self.dtype)


def load_model(auto_class: Any, settings: ModelSettings) -> Any:
    """Return the model in evaluation mode on its device.

    Args:
        auto_class: the auto class of transformers, such as `AutoModel`.
        settings: which model.

    Raises:
        ValueError: the checkpoint lacks weights. transformers would start them from random numbers and go on, and a
            classifier with a random head gives scores like any other.
    """
    model, loading = auto_class.from_pretrained(
        settings.model,
        revision=settings.revision,
        dtype=settings.torch_dtype,
        trust_remote_code=settings.trust_remote_code,
        output_loading_info=True,
    )
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(
            f"{settings.model} lacks {len(missing)} weights of {type(model).__name__} ({', '.join(missing[:3])}, ...), "
            "which would be random numbers; give a checkpoint that was saved from this kind of model."
        )
    return model.to(pick_device(settings.device)).eval()


def load_image_processor(settings: ModelSettings) -> Any:
    """Return what prepares images for the model."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(
        settings.model, revision=settings.revision, trust_remote_code=settings.trust_remote_code
    )


def load_processor(settings: ModelSettings) -> Any:
    """Return what prepares both images and texts for the model.

    Raises:
        ValueError: the files of the processor are not all there. transformers builds a tokenizer without vocabulary
            where there is none, which gives any two texts of one length the same tokens.
    """
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(
        settings.model, revision=settings.revision, trust_remote_code=settings.trust_remote_code
    )
    lost = [part for part in ("image_processor", "tokenizer") if getattr(processor, part, None) is None]
    if lost:
        raise ValueError(
            f"the processor of {settings.model} is a {type(processor).__name__} without {' and '.join(lost)}; "
            "save the whole processor beside the model."
        )
    first, second = processor.tokenizer(["sea", "fog"])["input_ids"]
    if first == second:
        raise ValueError(
            f"the tokenizer of {settings.model} has {len(processor.tokenizer)} tokens and cannot tell 'sea' from "
            "'fog'; save the model's own tokenizer beside it."
        )
    return processor


def pick_device(name: str) -> str:
    """Turn `auto` into the name of the accelerator, or `cpu` where there is none."""
    import torch

    if name != "auto":
        return name
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type


def as_rgb(image: Image.Image, row: int) -> Image.Image:
    """Return an 8-bit image as RGB; transparency is dropped.

    Raises:
        ValueError: the image has another mode, such as 16 bits, which have no one way into 8.
    """
    if image.mode == "RGB":
        return image
    if image.mode not in _MODES:
        raise ValueError(f"image {row} of the batch has mode {image.mode}; wanted 8 bits, as {', '.join(_MODES)}.")
    # Pillow warns of a palette whose transparency is a table unless it goes through RGBA.
    return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
