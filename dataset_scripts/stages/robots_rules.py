"""What a site's robots.txt lets our program fetch, as RFC 9309 has it: our group or that of all, longest rule wins.

The parser of the standard library takes the first rule that fits and knows no `*` and `$`, so it lets through what
most sites write today (`Disallow: /*.jpg$`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

MAX_ROBOTS_BYTES = 512_000  # RFC 9309, 2.5: at least 500 KiB are read
# Every rule is tried on every image of the site. A file with more is taken as a no.
_MAX_RULES = 5000


@dataclass(frozen=True, slots=True)
class RobotsRules:
    """Rules for one agent: whether it is allowed, and the pattern."""

    rules: tuple[tuple[bool, str], ...] = ()

    def allows(self, target: str) -> bool:
        """Whether a path with its query may be fetched. Where rules of equal length disagree, the allowing one wins."""
        if len(self.rules) > _MAX_RULES:
            return False
        verdicts = [(len(pattern), allowed) for allowed, pattern in self.rules if _fits(pattern, target)]
        return max(verdicts, default=(0, True))[1]


def parse_robots(text: str, user_agent: str) -> RobotsRules:
    """Read the rules that hold for an agent; lines that are no rule are skipped, as the RFC asks."""
    ours = user_agent.split("/")[0].split()[0].lower()
    groups: dict[str, list[tuple[bool, str]]] = {}
    agents: list[str] = []
    in_rules = False
    for line in text.removeprefix("\ufeff").splitlines():
        key, colon, value = line.split("#", 1)[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            agents = [] if in_rules else agents
            in_rules = False
            agents.append(value.split("/")[0].lower())
            groups.setdefault(agents[-1], [])
        elif key in ("allow", "disallow"):
            in_rules = True
            if value:
                rule = (key == "allow", quote(value, safe="%/?:@!$&'()*+,;=-._~"))
                for agent in dict.fromkeys(agents):
                    groups[agent].append(rule)
    rules = groups.get(ours, groups.get("*", []))
    return RobotsRules(tuple(dict.fromkeys(rules)))


def _fits(pattern: str, target: str) -> bool:
    """Match `*` and a final `$`, from the left, without a regular expression that could be made to run for ever."""
    ends = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not target.startswith(first):
        return False
    if not rest:
        return not ends or len(target) == len(first)
    return _pieces_follow(rest, target, len(first), ends)


def _pieces_follow(pieces: Sequence[str], target: str, start: int, ends: bool) -> bool:
    """Whether the pieces come in this order from `start` on, the last one at the end if it must."""
    *middle, last = pieces
    for piece in middle:
        found = target.find(piece, start)
        if found < 0:
            return False
        start = found + len(piece)
    if ends:
        return len(target) - len(last) >= start and target.endswith(last)
    return target.find(last, start) >= 0
