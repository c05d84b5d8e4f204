"""Writes candidate captions of an image by sampling from any image-text-to-text model of transformers.

transformers samples from torch's global random numbers. Here each image is captioned by itself, under numbers that
start from a hash of (seed, id of the image) and are put back afterwards; so its candidates do not depend on the batch,
the shard or the order. They may still differ between kinds of hardware and versions of torch.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from .caption_key import normalise_caption
from .model_loading import ModelSettings, as_rgb, load_model, load_processor

DEFAULT_INSTRUCTION = "Describe this remote sensing image in one sentence."


@dataclass(frozen=True, kw_only=True)
class CaptionerSettings(ModelSettings):
    """Which captioner, and how it is sampled from (the defaults are RS5M's)."""

    prompt: str | None = None
    """Chat models: the instruction, DEFAULT_INSTRUCTION where not given. Others: the words the caption goes on from,
    with the image token if the model wants one; where not given the model gets the image alone."""
    use_chat_template: bool = True
    """Put the prompt into the processor's chat template if it has one."""
    candidates: int = 20
    """Captions that are sampled; fewer are left once empty and repeated ones are dropped."""
    top_p: float = 0.95
    top_k: int = 50
    temperature: float = 1.0
    max_new_tokens: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates < 1 or self.max_new_tokens < 1 or self.top_k < 1:
            raise ValueError(
                f"candidates, max_new_tokens and top_k are {self.candidates}, {self.max_new_tokens} and {self.top_k}; "
                "each must be at least 1."
            )
        if not 0 < self.top_p <= 1 or not self.temperature > 0:
            raise ValueError(
                f"top_p is {self.top_p} and temperature is {self.temperature}; wanted 0 < top_p <= 1, temperature > 0."
            )


class Captioner:
    """A loaded image-text-to-text model."""

    def __init__(self, settings: CaptionerSettings) -> None:
        from transformers import AutoModelForImageTextToText

        self.settings = settings
        self._model = load_model(AutoModelForImageTextToText, settings)
        self._processor = load_processor(settings)
        self._chats = settings.use_chat_template and getattr(self._processor, "chat_template", None) is not None

    @classmethod
    def open(cls, settings: CaptionerSettings) -> "Captioner":
        """Return the captioner of these settings; it is loaded once in a process."""
        return _open_captioner(settings)

    @property
    def resolved_revision(self) -> str | None:
        """The commit that was loaded from the Hub; None for a folder."""
        revision: str | None = getattr(self._model.config, "_commit_hash", None)
        return revision

    def write_candidates(self, image: Image.Image, image_id: str) -> list[str]:
        """Return the sampled captions of one image as the model wrote them, prompt and special tokens taken off."""
        import torch

        settings = self.settings
        inputs = self._prepare(as_rgb(image, 0)).to(self._model.device, settings.torch_dtype)
        try:
            with torch.inference_mode(), _random_numbers_of(self._model.device, image_seed(settings.seed, image_id)):
                tokens = self._model.generate(
                    **inputs,
                    do_sample=True,
                    num_beams=1,
                    num_return_sequences=settings.candidates,
                    top_p=settings.top_p,
                    top_k=settings.top_k,
                    temperature=settings.temperature,
                    max_new_tokens=settings.max_new_tokens,
                )
        except RuntimeError as error:
            error.add_note(f"while {settings.model} captioned image {image_id!r}")
            raise
        # A decoder repeats the prompt before its answer; an encoder-decoder does not.
        prompt = inputs.get("input_ids")
        if prompt is not None and torch.equal(tokens[:, : prompt.shape[1]], prompt.expand(len(tokens), -1)):
            tokens = tokens[:, prompt.shape[1] :]
        return [self._strip_prompt(text) for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]

    def _prepare(self, image: Image.Image) -> Any:
        prompt = self.settings.prompt
        if not self._chats:
            text = {} if prompt is None else {"text": prompt}
            return self._processor(images=image, return_tensors="pt", **text)
        content = [
            {"type": "image", "image": image},
            {"type": "text", "text": DEFAULT_INSTRUCTION if prompt is None else prompt},
        ]
        return self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def _strip_prompt(self, text: str) -> str:
        """BLIP gives the words of its prompt again as part of the caption; BLIP-2 does not."""
        if self._chats or not self.settings.prompt:
            return text
        words = r"\s+".join(map(re.escape, self.settings.prompt.split()))
        return re.sub(rf"^\s*{words}(?!\w)", "", text, flags=re.IGNORECASE)


def clean_candidates(texts: Sequence[str]) -> list[str]:
    """Collapse white space; drop captions without a word, and those that repeat one before but for case or points."""
    kept: dict[str, str] = {}
    for text in texts:
        if key := normalise_caption(text):
            kept.setdefault(key, " ".join(text.split()))
    return list(kept.values())


def image_seed(seed: int, image_id: str) -> int:
    """Return a seed of 63 bits that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def _random_numbers_of(device: Any, seed: int) -> Iterator[None]:
    """Start the random numbers of the CPU and of one device from the seed, and put them back at the end."""
    import torch

    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
        return
    module = torch.get_device_module(device)
    index = module.current_device() if device.index is None else device.index
    with torch.random.fork_rng(devices=[index], device_type=device.type), torch.accelerator.device_index(index):
        torch.default_generator.manual_seed(seed)
        module.manual_seed(seed)
        yield


@lru_cache(maxsize=1)
def _open_captioner(settings: CaptionerSettings) -> Captioner:
    return Captioner(settings)
