"""Conversations with RGB and infrared images: the default template, and what the content blocks hold."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
