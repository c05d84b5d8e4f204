"""Captions of the endpoint: what an RSCaptioner says of an RGB image, an infrared image, or the pair."""

import threading
from typing import Any

import torch

from .images_handler import refusing
from .request_handler import CAPTIONER_TASKS, Request

SCENE_PROMPT = "Describe the scene."


class CaptionAnswers:
    """Answers what a captioner can. Captions are greedy: the same request gives the same caption."""

    tasks = CAPTIONER_TASKS

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor
        self._lock = threading.Lock()

    def prepare(self, images: dict[str, Any], settings: dict[str, Any], where: str) -> dict[str, Any]:
        """The images as they came: the processor decodes them with their prompts."""
        return images

    @torch.inference_mode()
    def answer(self, request: Request, prepared: list[dict[str, Any]]) -> list[Any]:
        """One caption per input."""
        with self._lock:
            texts = [
                self._prompt(item.text or SCENE_PROMPT, images)
                for item, images in zip(request.inputs, prepared, strict=True)
            ]
            with refusing(self._processor, "inputs"):
                inputs = self._processor(
                    text=texts,
                    images=[[images["images"]] if "images" in images else [] for images in prepared],
                    infrared=[[images["infrared"]] if "infrared" in images else [] for images in prepared],
                    **request.image_settings,
                )
            inputs = inputs.to(self._model.device)
            tokens = self._model.generate(**inputs, max_new_tokens=request.max_new_tokens, do_sample=False)
            new = tokens[:, inputs["input_ids"].shape[1] :]
            captions = self._processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [{"generated_text": caption.strip()} for caption in captions]

    def _prompt(self, instruction: str, images: dict[str, Any]) -> str:
        """The template breaks up placeholders that somebody typed."""
        kinds = [kind for name, kind in (("images", "image"), ("infrared", "infrared")) if name in images]
        content = [{"type": kind} for kind in kinds] + [{"type": "text", "text": instruction}]
        conversation = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))


__all__ = ["CaptionAnswers"]
