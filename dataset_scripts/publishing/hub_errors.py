"""Turns what the Hub and the network answer into one sentence that says what to do; never with a token in it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

_TOKEN = re.compile(r"hf_\w+")
_CUT = (httpx2.TransportError, ConnectionError, TimeoutError)


class HubError(RuntimeError):
    """The Hub did not do what was asked; the message is for the user."""


@contextmanager
def named_hub_errors(repo: str) -> Iterator[None]:
    """Raise HubError in place of the errors of the client."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        sentence = next((text for cause in _causes(error) if (text := _sentence(cause, repo))), None)
        if sentence is None:
            raise
        raise HubError(_TOKEN.sub("hf_...", sentence)) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the client wraps errors of uploads in a RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _sentence(error: BaseException, repo: str) -> str | None:
    if isinstance(error, LocalTokenNotFoundError):
        return "no access token is found; set HF_TOKEN, or run `hf auth login`."
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked for anything; unset it to push."
    if isinstance(error, _CUT):
        return (
            f"the connection to the Hub broke ({type(error).__name__}). What was sent is kept there: run the same "
            "command again."
        )
    if isinstance(error, HfHubHTTPError):
        return _http_sentence(error, repo)
    return None


def _http_sentence(error: HfHubHTTPError, repo: str) -> str:
    status = error.response.status_code
    said = error.response.headers.get("X-Error-Message") or error.server_message or ""
    if status == 401 and "credentials" in said.lower():
        return "the Hub does not know the access token (401); set HF_TOKEN to a valid one, or run `hf auth login`."
    if status == 403:
        return f"the access token may not write to {repo} (403): {said}. Use one with write access to it."
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return f"the Hub has no {repo} that this access token may see ({status}): {said}"
    if status == 412:
        return f"somebody else changed {repo} in the meantime (412); nothing of it was replaced. Run the command again."
    if status >= 500 or status == 429:
        return f"the Hub is not ready ({status}): {said or error.response.reason_phrase}. Run the same command later."
    return f"the Hub refused ({status}): {said or error.response.reason_phrase}"
