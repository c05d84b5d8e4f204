"""Holds a decoder to one JSON object, `{"infrared_caption": "..."}`: only tokens that keep it valid have a chance.

The grammar is a table over bytes; a token is walked through it byte by byte, so that tokens which merge a quote with
other characters (`."}`) end the string where they say so, and never by accident.
"""

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor, PreTrainedTokenizerFast

KEY = "infrared_caption"
PREFIX = f'{{"{KEY}": "'
# Longer tokens are runs of blanks and rules; no caption needs one.
_MAX_TOKEN_BYTES = 24
# Beyond this, a temperature below 1 could make a sum overflow.
_LARGEST_LOGIT = 1e30
_DEAD, _NEVER = -1, 10_000
_BYTE_TOKEN_LENGTH = len("<0x0A>")


# Shapes: B rows, T tokens of prompt and answer, V vocabulary, S states, L bytes in the longest token
class CaptionGrammar:
    """States of `{"infrared_caption": "..."}` and what every token of a vocabulary does to them.

    A string is any UTF-8 text without control characters; quote, backslash and slash may be escaped. Other escapes
    are not needed for one line of text, and `\\u` could write half a surrogate pair.
    """

    def __init__(self, token_bytes: list[bytes | None], eos_token_ids: tuple[int, ...]) -> None:
        """Build the grammar.

        Args:
            token_bytes: what each token writes; None for tokens that may not be used.
            eos_token_ids: tokens that end a finished object.
        """
        if not eos_token_ids:
            raise ValueError("no end-of-sequence token is given; a finished object could not be ended.")
        self.token_bytes = token_bytes
        self.eos_token_ids = eos_token_ids
        self._table, self._cost = _automaton()
        self.start, self.finished = 0, len(self._table) - 1
        single = {token[0] for token in token_bytes if token is not None and len(token) == 1}
        missing = sorted(set(f'{PREFIX}x"}}'.encode()) - {ord("x")} - single)
        if missing:
            raise ValueError(
                f"the vocabulary has no token for {', '.join(repr(chr(byte)) for byte in missing)} alone, so "
                f'{PREFIX}..."}} cannot be forced; use a tokenizer with byte-level or byte-fallback pieces.'
            )
        # Inside a character, the way out needs tokens of one byte.
        if not set(range(0x80, 0xC0)) <= single:
            self._cost[len(PREFIX) + 3 : -2] = _NEVER
        usable = [token if token and len(token) <= _MAX_TOKEN_BYTES else b"" for token in token_bytes]
        length = max(map(len, usable))
        self._lengths = np.array([len(token) for token in usable])
        self._bytes = np.array([list(token.ljust(length, b"\0")) for token in usable], dtype=np.uint8)  # (V, L)
        self._next: dict[int, NDArray[np.int16]] = {}
        self._allowed: dict[tuple[int, int], NDArray[np.bool_]] = {}

    @property
    def min_tokens(self) -> int:
        """Tokens that the shortest object may need, with its end."""
        return int(self._cost[self.start])

    def next_states(self, state: int) -> NDArray[np.int16]:
        """Where each token leads from a state (V,); -1 for tokens that break the grammar."""
        if state not in self._next:
            states = np.full(len(self._bytes), state, dtype=np.int16)
            for column in range(self._bytes.shape[1]):
                is_inside = (self._lengths > column) & (states != _DEAD)
                states[is_inside] = self._table[states[is_inside], self._bytes[is_inside, column]]
            states[self._lengths == 0] = _DEAD
            self._next[state] = states
        return self._next[state]

    def allowed(self, state: int, tokens_left: int) -> NDArray[np.bool_]:
        """Tokens (V,) after which the object can still be closed and ended in the tokens that are left."""
        key = (state, min(tokens_left, int(self._cost[self.start]) + 1))
        if key not in self._allowed:
            states = self.next_states(state)
            mask = (states != _DEAD) & (self._cost[states] < key[1])
            if state == self.finished:
                mask[list(self.eos_token_ids)] = True
            self._allowed[key] = mask
        return self._allowed[key]

    def read(self, tokens: list[int]) -> str:
        """Return the caption that a finished answer holds, blanks joined."""
        written = b"".join(self.token_bytes[token] or b"" for token in self._answer(tokens))
        caption: str = json.loads(written.decode("utf-8"))[KEY]
        return " ".join(caption.split())

    def walk(self, tokens: list[int]) -> tuple[int, bool]:
        """State after tokens of an answer, and whether it has been ended."""
        answer = self._answer(tokens)
        state = self.start
        for token in answer:
            state = int(self.next_states(state)[token])
            if state == _DEAD:
                raise ValueError(f"token {token} breaks the grammar; was the processor left out at some step?")
        return state, len(answer) < len(tokens)

    def _answer(self, tokens: list[int]) -> list[int]:
        end = next((at for at, token in enumerate(tokens) if token in self.eos_token_ids), len(tokens))
        return tokens[:end]


class CaptionGrammarProcessor(LogitsProcessor):
    """Leaves only the tokens that the grammar allows; keeps no state, so that beams may be reordered."""

    def __init__(self, grammar: CaptionGrammar, prompt_tokens: int, max_new_tokens: int) -> None:
        """Hold answers to a grammar.

        Args:
            grammar: from the tokenizer of the model.
            prompt_tokens: length of the prompt, the same in every row.
            max_new_tokens: tokens of an answer with its end; `generate` must have the same limit.
        """
        if max_new_tokens < grammar.min_tokens + 1:
            raise ValueError(
                f"max_new_tokens is {max_new_tokens}; the shortest object may need {grammar.min_tokens + 1} tokens."
            )
        self.grammar = grammar
        self.prompt_tokens = prompt_tokens
        self.max_new_tokens = max_new_tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mask the scores (B, V) of the next token after `input_ids` (B, T)."""
        left = self.max_new_tokens - (input_ids.shape[1] - self.prompt_tokens)
        masks = []
        for row in input_ids[:, self.prompt_tokens :].tolist():
            state, is_ended = self.grammar.walk(row)
            masks.append(self.grammar.allowed(self.grammar.finished if is_ended else state, max(left, 1)))
        # A model may have more rows of logits than its tokenizer has tokens.
        allowed = torch.zeros(scores.shape, dtype=torch.bool)  # (B, V)
        allowed[:, : masks[0].size] = torch.from_numpy(np.stack(masks))
        allowed = allowed.to(scores.device)
        scores = torch.nan_to_num(scores.float(), nan=-_LARGEST_LOGIT).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        return scores.masked_fill(~allowed, -float("inf"))


def token_bytes_of(tokenizer: Any) -> list[bytes | None]:
    """What each token of a tokenizer writes, in bytes; None for special and added tokens.

    Args:
        tokenizer: a fast tokenizer of transformers, with byte-level pieces or with sentencepiece's.

    Raises:
        TypeError: the tokenizer is of another kind, whose tokens do not spell their text exactly.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TypeError(f"a {type(tokenizer).__name__} is not a fast tokenizer; load it through AutoTokenizer.")
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    kinds = _decoder_kinds(backend["decoder"])
    if "ByteLevel" in kinds:
        spell = _byte_level
    elif kinds & {"Metaspace", "ByteFallback", "Replace"}:
        spell = _sentencepiece
    else:
        raise TypeError(
            f"the tokenizer decodes by {', '.join(sorted(kinds)) or 'nothing'}; constrained captions need a byte-level "
            "or a sentencepiece tokenizer."
        )
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    added = {token["content"] for token in backend["added_tokens"]} | set(tokenizer.all_special_tokens)
    pieces: list[bytes | None] = [None] * (max(vocabulary.values()) + 1)
    for piece, token in vocabulary.items():
        pieces[token] = None if piece in added else spell(piece)
    return pieces


def _decoder_kinds(decoder: dict[str, Any] | None) -> set[str]:
    if decoder is None:
        return set()
    if decoder["type"] == "Sequence":
        return set().union(*(_decoder_kinds(part) for part in decoder["decoders"]))
    return {decoder["type"]}


def _byte_level(piece: str) -> bytes | None:
    try:
        return bytes(_BYTE_OF_CHARACTER[character] for character in piece)
    except KeyError:
        return None


def _sentencepiece(piece: str) -> bytes | None:
    if len(piece) == _BYTE_TOKEN_LENGTH and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode("utf-8")


def _byte_characters() -> dict[str, int]:
    """The printable characters by which byte-level tokenizers write bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


_BYTE_OF_CHARACTER = _byte_characters()


def _automaton() -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """The table (S, 256) of next states, and for each state the most tokens that a close and an end may need."""
    first = len(PREFIX)  # before the first character, which is no blank: captions are not empty
    body, escape, low1, low2, low3 = range(first + 1, first + 6)
    after_c2, after_e0, after_ed, after_f0, after_f4, quoted, finished = range(first + 6, first + 13)
    table = np.full((finished + 1, 256), _DEAD, dtype=np.int16)
    for at, byte in enumerate(PREFIX.encode()):
        table[at, byte] = at + 1
    for state in (first, body):
        table[state, 0x20:0x7F] = body
        table[state, ord("\\")] = escape
        table[state, 0xC3:0xE0], table[state, 0xE1:0xF0], table[state, 0xF1:0xF4] = low1, low2, low3
        for byte, lead in ((0xC2, after_c2), (0xE0, after_e0), (0xED, after_ed), (0xF0, after_f0), (0xF4, after_f4)):
            table[state, byte] = lead
    table[first, ord(" ")] = _DEAD
    table[first, ord('"')] = _DEAD
    table[body, ord('"')] = quoted
    table[escape, [ord('"'), ord("\\"), ord("/")]] = body
    table[low1, 0x80:0xC0], table[low2, 0x80:0xC0], table[low3, 0x80:0xC0] = body, low1, low2
    table[after_c2, 0xA0:0xC0] = body  # U+0080 to U+009F are control characters
    table[after_e0, 0xA0:0xC0], table[after_ed, 0x80:0xA0] = low1, low1  # no long forms, no surrogates
    table[after_f0, 0x90:0xC0], table[after_f4, 0x80:0x90] = low2, low2
    table[quoted, ord("}")] = finished
    # The end-of-sequence token, the brace and the quote; a character may want three more bytes.
    cost = np.full(finished + 1, 3, dtype=np.int64)
    cost[[escape, low1, after_c2]], cost[[low2, after_e0, after_ed]], cost[[low3, after_f0, after_f4]] = 4, 5, 6
    cost[quoted], cost[finished] = 2, 1
    cost[: first + 1] = 3 + 1 + np.arange(first, -1, -1)
    return table, cost
