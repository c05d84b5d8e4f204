"""Writes infrared-aware captions with a vision-language model of transformers, from infrared image and scene caption.

The prompt is a versioned file, the answer is held to `{"infrared_caption": "..."}`, and images are captioned one by
one from their own seed, so that a caption depends on its row and the settings only, not on batches or order.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from .infrared_regions import grey_values
from .json_grammar import CaptionGrammar, CaptionGrammarProcessor, token_bytes_of
from .rejects import Reject

REASONS = ("unreadable_infrared", "empty_scene_caption")
DEFAULT_PROMPT_FILE = str(Path(__file__).parents[1] / "prompts" / "infrared_caption_v1.txt")
EIGHT_BIT_RULE = "8 bits as they are; others: percentiles 1 and 99 of the image to 0 and 255, clipped"
_PERCENTILES = (1.0, 99.0)
_PLACEHOLDER = "{scene_caption}"
_MAX_CAPTION_CHARACTERS = 1000
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Marks of chat formats, whether or not this tokenizer has them as tokens.
_CONTROL_MARKS = re.compile(
    r"<[|｜]?/?\w[\w .:/|｜▁-]*[|｜]?>|<</?SYS>>|\[/?[A-Z_]{2,}\]|[\x00-\x1f\x7f-\x9f\u2028\u2029]"
)
_ROLE_MARK = re.compile(r"\b(system|user|assistant|human|model)\s*:", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class InfraredCaptionModelSettings:
    """All that a caption depends on besides its row."""

    model: str
    """Folder, or name on the Hub."""
    revision: str | None = None
    """Commit of the model on the Hub, 40 hexadecimal digits; a folder needs none."""
    prompt_file: str = DEFAULT_PROMPT_FILE
    """Text with `{scene_caption}` where the scene caption goes."""
    plain_template: str | None = None
    """For models without a chat template: all of the prompt with `{prompt}` where the prompt text goes, such as
    `USER: <image>\\n{prompt} ASSISTANT:`."""
    max_new_tokens: int = 180
    temperature: float = 0.2
    """0 decodes greedily."""
    seed: int = 0
    dtype: str = "auto"
    """A name of torch, such as `bfloat16`, or `auto`: as saved."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not Path(self.model).is_dir() and not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(
                f"the model {self.model!r} is no folder, and its revision is {self.revision!r}; one of the Hub needs "
                "the 40 hexadecimal digits of a commit, or captions cannot be made again."
            )
        if self.plain_template is not None and self.plain_template.count("{prompt}") != 1:
            raise ValueError(f"plain_template {self.plain_template!r} must hold {{prompt}} once.")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature is {self.temperature}; wanted 0 (greedy) to 2.")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; wanted a positive number.")


@dataclass(frozen=True, slots=True)
class ModelCaption:
    """A caption that the model wrote for one row; not filtered yet."""

    row: int
    caption: str


class InfraredCaptionModel:
    """A loaded model with its prompt and its grammar."""

    def __init__(self, settings: InfraredCaptionModelSettings) -> None:
        """Load the model; from the Hub where `settings.model` is no folder."""
        self.settings = settings
        self.prompt = read_prompt(settings.prompt_file)
        self.prompt_version = prompt_version(settings.prompt_file)
        self.processor: Any = AutoProcessor.from_pretrained(settings.model, revision=settings.revision)
        model = AutoModelForImageTextToText.from_pretrained(
            settings.model, revision=settings.revision, dtype=settings.dtype
        )
        self.model: Any = model.to(settings.device).eval()
        tokenizer = self.processor.tokenizer
        if settings.plain_template is None and self.processor.chat_template is None:
            raise ValueError(
                f"{settings.model} has no chat template; give plain_template, such as 'USER: <image>\\n{{prompt}} "
                "ASSISTANT:'."
            )
        self.grammar = CaptionGrammar(token_bytes_of(tokenizer), _end_tokens(self.model, tokenizer))
        self._special = tuple(sorted(tokenizer.get_added_vocab(), key=len, reverse=True))
        # What the model was saved with (top-k, penalties, ...) must not change captions: only the settings may.
        self.model.generation_config = self._generation_config(tokenizer)

    def write(self, infrared: Image.Image | NDArray[Any], scene_caption: str, name: str) -> str:
        """Return the caption of one image.

        Args:
            infrared: one channel, 8- or 16-bit or float.
            scene_caption: what the scene holds; control tokens in it are left out.
            name: the id of the row, from which its seed is drawn.

        Raises:
            ValueError: the image is not one channel of finite values.
        """
        inputs = self.prepare(infrared, scene_caption)
        length = inputs["input_ids"].shape[1]
        rules = CaptionGrammarProcessor(self.grammar, length, self.settings.max_new_tokens)
        device = torch.device(self.settings.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.inference_mode():
            torch.manual_seed(row_seed(self.settings.seed, name))
            tokens = self.model.generate(**inputs, logits_processor=[rules])
        return self.grammar.read(tokens[0, length:].tolist())

    def prepare(self, infrared: Image.Image | NDArray[Any], scene_caption: str) -> dict[str, torch.Tensor]:
        """Tensors of one prompt with its image."""
        image = eight_bit_image(infrared)
        safe = clean_scene_caption(scene_caption, self._special)
        text = self.prompt.replace(_PLACEHOLDER, safe)
        if self.settings.plain_template is None:
            content = [{"type": "image", "image": image}, {"type": "text", "text": text}]
            inputs = self.processor.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            prompt = self.settings.plain_template.replace("{prompt}", text)
            inputs = self.processor(images=image, text=prompt, return_tensors="pt")
        inputs = inputs.to(self.settings.device)
        floats = {name: tensor.to(self.model.dtype) for name, tensor in inputs.items() if tensor.is_floating_point()}
        return {**inputs, **floats}

    def _generation_config(self, tokenizer: Any) -> GenerationConfig:
        is_sampling = self.settings.temperature > 0
        ends = list(self.grammar.eos_token_ids)
        pad = tokenizer.pad_token_id
        return GenerationConfig(
            max_new_tokens=self.settings.max_new_tokens,
            do_sample=is_sampling,
            eos_token_id=ends,
            pad_token_id=ends[0] if pad is None else pad,
            bos_token_id=tokenizer.bos_token_id,
            **({"temperature": self.settings.temperature, "top_k": 0, "top_p": 1.0} if is_sampling else {}),
        )


def caption_infrared_images(
    writer: InfraredCaptionModel,
    images: Sequence[Image.Image | NDArray[Any]],
    scene_captions: Sequence[str],
    ids: Sequence[str],
) -> tuple[list[ModelCaption], list[Reject]]:
    """Caption the rows of a batch; rows without a usable image or a scene caption are rejects with their reason."""
    kept: list[ModelCaption] = []
    rejects: list[Reject] = []
    for row, (image, scene_caption, name) in enumerate(zip(images, scene_captions, ids, strict=True)):
        if not scene_caption.strip():
            rejects.append(Reject(row, "empty_scene_caption"))
            continue
        try:
            grey_values(image)
        except ValueError as error:
            rejects.append(Reject(row, "unreadable_infrared", str(error)))
        else:
            kept.append(ModelCaption(row, writer.write(image, scene_caption, name)))
    return kept, rejects


def read_prompt(prompt_file: str) -> str:
    """Read a prompt.

    Raises:
        ValueError: it does not hold `{scene_caption}` exactly once.
    """
    prompt = Path(prompt_file).read_text(encoding="utf-8").strip()
    if prompt.count(_PLACEHOLDER) != 1:
        raise ValueError(f"{prompt_file} holds {_PLACEHOLDER} {prompt.count(_PLACEHOLDER)} times; wanted once.")
    return prompt


def prompt_version(prompt_file: str) -> str:
    """Name and SHA-256 of a prompt file, for the manifest."""
    path = Path(prompt_file)
    return f"{path.stem}@sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def row_seed(seed: int, name: str) -> int:
    """The seed of one row: the same in any batch, order or process."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4])


def clean_scene_caption(scene_caption: str, special_tokens: Sequence[str] = ()) -> str:
    """A scene caption on one line that cannot steer the prompt.

    Control tokens, those of the tokenizer and those that look like one of a chat format, become blanks; quotes become
    apostrophes, and role marks lose their colon. It ends after 1,000 characters.
    """
    text = scene_caption
    for _ in range(len(scene_caption)):
        before = text
        for token in special_tokens:
            # A token that is a word of its own ("the") harms nothing; blanks alone would loop.
            if not token.isalnum() and token.strip():
                text = text.replace(token, " ")
        text = _CONTROL_MARKS.sub(" ", text)
        if text == before:
            break
    text = _ROLE_MARK.sub(r"\1", text).replace('"', "'")
    return " ".join(text.split())[:_MAX_CAPTION_CHARACTERS].strip()


def eight_bit_image(infrared: Image.Image | NDArray[Any]) -> Image.Image:
    """The image as grey RGB in 8 bits, by EIGHT_BIT_RULE; a constant image of more bits is mid-grey."""
    values = grey_values(infrared)
    if values.dtype != np.uint8:
        low, high = np.percentile(values, _PERCENTILES)
        if high <= low:
            low, high = float(values.min()), float(values.max())
        scaled = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
        values = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end an answer, as the model was saved with, else the tokenizer's."""
    saved = model.generation_config.eos_token_id
    ends = saved if isinstance(saved, list) else [tokenizer.eos_token_id if saved is None else saved]
    return tuple(int(token) for token in ends if token is not None)
