"""What a request to the endpoint may cost, and the one error that says what is wrong with it."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most of everything. A server in front bounds the bytes of the body: `body_bytes` says to what."""

    body_bytes: int = 20_000_000
    image_bytes: int = 10_000_000
    """Of one image, decoded from base64 or downloaded."""
    image_pixels: int = 4096 * 4096
    """Of one image, by its header, before anything is decoded."""
    request_pixels: int = 3 * 4096 * 4096
    """Of all images of a request."""
    inputs: int = 32
    """Inputs of one request."""
    labels: int = 256
    text_characters: int = 1_000
    """Of one text, label or template."""
    new_tokens: int = 256
    url_characters: int = 2_048
    url_seconds: float = 10.0
    """For all URLs of a request together."""
    redirects: int = 3


class RequestError(ValueError):
    """A request that is refused, by its own fault.

    Its text is JSON: the endpoint's toolkit sends nothing but the text of an error.

    Attributes:
        kind: A short stable code.
        message: What is wrong, and what to do.
        status: 400 malformed, 403 not allowed here, 413 too much, 422 not usable.
    """

    def __init__(self, kind: str, message: str, status: int) -> None:
        super().__init__(kind, message, status)
        self.kind = kind
        self.message = message
        self.status = status

    def answer(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"type": self.kind, "message": self.message, "status": self.status}}

    def __str__(self) -> str:
        return json.dumps(self.answer()["error"])


def malformed(message: str) -> RequestError:
    """For a request of the wrong shape."""
    return RequestError("bad_request", message, 400)


def too_much(message: str) -> RequestError:
    """For a request that would cost too much."""
    return RequestError("too_large", message, 413)


def unusable(kind: str, message: str) -> RequestError:
    """For a request of the right shape that cannot be answered."""
    return RequestError(kind, message, 422)
