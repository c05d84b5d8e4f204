"""Conversations with RGB and infrared images: the default template, and what the content blocks hold."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ message['role'] | upper ~ ': ' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}"
    "{%- for block in message['content'] -%}"
    "{%- if block['type'] == 'image' -%}{{ '<image>\n' }}"
    "{%- elif block['type'] == 'infrared' -%}{{ '<infrared>\n' }}"
    "{%- elif block['type'] == 'text' -%}{{ block['text'] }}"
    "{%- else -%}{{ raise_exception('unknown content type ' ~ block['type']) }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{ eos_token }}{%- endif -%}"
    "{{ '\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"
)

# Joins content blocks to a string, for the templates of language models, which know strings only.
_BLOCKS_TO_TEXT = (
    "{%- set flat = namespace(messages=[], text='') -%}"
    "{%- for message in messages -%}"
    "{%- set flat.text = message['content'] if message['content'] is string else '' -%}"
    "{%- if message['content'] is not string -%}"
    "{%- for block in message['content'] -%}"
    "{%- if block['type'] == 'image' -%}{%- set flat.text = flat.text ~ '<image>\n' -%}"
    "{%- elif block['type'] == 'infrared' -%}{%- set flat.text = flat.text ~ '<infrared>\n' -%}"
    "{%- elif block['type'] == 'text' -%}{%- set flat.text = flat.text ~ block['text'] -%}"
    "{%- else -%}{{ raise_exception('unknown content type ' ~ block['type']) }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{%- set flat.messages = flat.messages + [{'role': message['role'], 'content': flat.text}] -%}"
    "{%- endfor -%}"
    "{%- set messages = flat.messages -%}"
)

Render = Callable[..., str]


class Piece(NamedTuple):
    """A stretch of a rendered conversation; an answer is what the loss is of."""

    text: str
    is_answer: bool = False
    is_ended: bool = False
    """Whether the end-of-sequence token follows, which is then part of the answer."""


def template_over_blocks(template: str) -> str:
    """The chat template of a language model, made to take content blocks with images."""
    return _BLOCKS_TO_TEXT + template


def split_turns(render: Render, conversation: Sequence[dict[str, Any]], end: str) -> list[Piece]:
    """Cut a conversation into what is given and what the assistant answers.

    Each answer starts where a prompt to generate it would stop, and stops with the end-of-sequence token. What the
    template writes after the last answer is left out: generation never gets there.

    Args:
        render: messages to text; `is_open` says whether the start of an answer follows them.
        conversation: messages, the assistant's among them.
        end: text of the end-of-sequence token.

    Raises:
        ValueError: if no message is the assistant's, or the template changes what it wrote of earlier messages.
    """
    pieces, written = list[Piece](), ""
    last = max((place for place, message in enumerate(conversation) if message["role"] == "assistant"), default=-1)
    if last < 0:
        raise ValueError("a conversation to learn from has no message of the assistant; wanted at least one.")
    for place, message in enumerate(conversation[: last + 1]):
        if message["role"] != "assistant":
            continue
        opened = render(conversation[:place], is_open=True)
        whole = render(conversation[: place + 1], is_open=False)
        if not opened.startswith(written) or not whole.startswith(opened):
            raise ValueError(
                f"the chat template writes message {place} of a conversation differently once more follows, so that "
                "its answers cannot be told apart. Use a template that only appends, or conversations of one answer."
            )
        answer, found, rest = whole[len(opened) :].rpartition(end)
        if not found:
            answer, rest = rest, ""
        pieces += [Piece(opened[len(written) :]), Piece(answer, is_answer=True, is_ended=bool(found) or place == last)]
        written = whole[: len(whole) - len(rest)]
    return pieces


def escape_placeholders(conversation: Any, placeholder: re.Pattern[str]) -> Any:
    """A copy of one conversation, or of a list of them, in which no text contains a placeholder."""
    if isinstance(conversation, (list, tuple)):
        return [escape_placeholders(item, placeholder) for item in conversation]
    message = dict(conversation)
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = _break_up(content, placeholder)
    elif content is not None:
        message["content"] = [
            {**block, "text": _break_up(block["text"], placeholder)} if "text" in block else block
            for block in _join_texts(content)
        ]
    return message


def _join_texts(content: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring text blocks as one, so that a placeholder cannot hide across their border."""
    joined: list[dict[str, Any]] = []
    for block in content:
        if joined and block.get("type") == "text" and joined[-1].get("type") == "text":
            joined[-1] = {**joined[-1], "text": joined[-1]["text"] + block["text"]}
        else:
            joined.append(dict(block))
    return joined


def _break_up(text: str, placeholder: re.Pattern[str]) -> str:
    return placeholder.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def images_in_chats(conversations: Sequence[Sequence[dict[str, Any]]], kind: str) -> list[list[Any]]:
    """Images of the content blocks of one kind, a list per conversation. Blocks without an image are skipped."""
    return [
        [_block_image(block) for message in chat for block in _blocks(message) if _holds(block, kind)]
        for chat in conversations
    ]


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _holds(block: dict[str, Any], kind: str) -> bool:
    return block.get("type") == kind and any(key in block for key in ("image", "path", "url", "base64"))


def _block_image(block: dict[str, Any]) -> Any:
    if "image" in block:
        return block["image"]
    if "path" in block:
        return Path(block["path"])
    raise ValueError(
        f"a content block of type {block['type']!r} names its image by {sorted(set(block) - {'type'})}; URLs and "
        "base64 are not read. Download or decode it, and pass the image or its bytes under 'image', or a file "
        "under 'path'."
    )
