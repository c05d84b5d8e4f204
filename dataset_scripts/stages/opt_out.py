"""Whether the publisher of an image has said that it may not be used: in the headers that it was sent with.

X-Robots-Tag with noai, noimageai, noml, noindex, noimageindex or none, for all agents or for ours, and the TDM
Reservation Protocol (https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240202/).
"""

import re
from collections.abc import Iterable

OPT_OUT_TOKENS = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})

# Rules with a value: "max-snippet: 20" does not speak to an agent of the name max-snippet.
_RULES_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
# A date has colons too ("25-Aug-05 15:52:01"), an agent begins with a letter and has no blank.
_AGENT = re.compile(r"\*|[a-z][\w.*/-]*")


def find_opt_out(headers: Iterable[tuple[str, str]], user_agent: str) -> str | None:
    """Return the header that opts the image out, as it was sent, or None.

    Args:
        headers: Names and values, one pair for each header line.
        user_agent: Ours; its first word, without the version, is the name a publisher may speak to.
    """
    ours = user_agent.split("/")[0].split()[0].lower()
    for name, value in headers:
        reserved = name.lower() == "tdm-reservation" and any(part.strip() == "1" for part in value.split(","))
        tagged = name.lower() == "x-robots-tag" and OPT_OUT_TOKENS & _tokens_for(value.lower(), ours)
        if reserved or tagged:
            return f"{name}: {value}"[:200]
    return None


def _tokens_for(value: str, ours: str) -> set[str]:
    """The rules of one header line that hold for us. An agent, once named, holds until the next is named."""
    tokens: set[str] = set()
    agent = "*"
    for part in re.split("[,;]", value):
        before, colon, rules = part.strip().partition(":")
        if not colon:
            rules = before
        elif before.strip() in _RULES_WITH_VALUE or not _AGENT.fullmatch(before.strip()):
            continue
        else:
            agent = before.strip()
        if agent in ("*", ours):
            tokens.update(rules.split())
    return tokens
