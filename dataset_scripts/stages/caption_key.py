"""The identity of a caption: two captions with equal keys are one caption, for losses, retrieval and splits."""

import hashlib
import re
import unicodedata

_NOT_WORD_OR_SPACE = re.compile(r"[^\w\s]")


def normalise_caption(text: str) -> str:
    """Fold case, compatibility forms, punctuation and runs of whitespace away."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    return " ".join(_NOT_WORD_OR_SPACE.sub(" ", folded).split())


def caption_key(text: str) -> str:
    """Return the SHA-256, in hexadecimal, of the normalised caption."""
    return hashlib.sha256(normalise_caption(text).encode("utf-8")).hexdigest()
