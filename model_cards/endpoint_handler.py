"""The endpoint behind `handler.py`: loads the folder it lies in, and answers requests from any number of threads."""

import os
import threading
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from .captioner_handler import CaptionAnswers
from .clip_handler import ClipAnswers
from .fetch_handler import ImageFetcher
from .images_handler import ImageReader
from .limits_handler import Limits, RequestError
from .request_handler import parse_request

ALLOW_URLS = "RSCLIP_HANDLER_ALLOW_URLS"
# Images decoded at one time: bounds the memory that concurrent requests take.
DECODERS = 2


class Endpoint:
    """Answers requests with the model of a folder, a CLIP or a captioner.

    Args:
        folder: Weights, processor and the code beside them.
        limits: What a request may cost.
        fetcher: Downloads images of requests; without it URLs are refused, unless the environment allows them.
    """

    refusal = RequestError

    def __init__(self, folder: str, limits: Limits | None = None, fetcher: ImageFetcher | None = None) -> None:
        self.limits = limits or Limits()
        families: dict[str, tuple[Any, type[ClipAnswers] | type[CaptionAnswers]]] = {
            "rsclip": (AutoModel, ClipAnswers),
            "rscaptioner": (AutoModelForImageTextToText, CaptionAnswers),
        }
        model_type = AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type
        if model_type not in families:
            raise ValueError(f"{folder} holds a {model_type!r}; this handler serves {', '.join(families)}.")
        auto_class, answers = families[model_type]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = auto_class.from_pretrained(folder, trust_remote_code=True).to(device).eval()
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        self._answers = answers(model, processor)
        if fetcher is None and os.environ.get(ALLOW_URLS) == "1":
            fetcher = ImageFetcher(self.limits)
        self._fetcher = fetcher
        self._decoders = threading.Semaphore(DECODERS)

    def __call__(self, data: Any) -> Any:
        """The answer to one request; a list where a list of inputs was sent.

        Raises:
            RequestError: The request cannot be answered, by its own fault.
        """
        request = parse_request(data, self._answers.tasks, self.limits)
        reader = ImageReader(self.limits, self._fetcher)
        places = [f"inputs[{index}]" if request.is_batch else "inputs" for index in range(len(request.inputs))]
        images = [reader.read(item, place) for item, place in zip(request.inputs, places, strict=True)]
        with self._decoders:
            prepared = [
                self._answers.prepare(item, request.image_settings, place)
                for item, place in zip(images, places, strict=True)
            ]
        answers = self._answers.answer(request, prepared)
        return answers if request.is_batch else answers[0]


__all__ = ["Endpoint"]
