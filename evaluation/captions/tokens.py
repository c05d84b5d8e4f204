"""Tokens of captions as coco-caption counts them: Penn Treebank tokens in lower case, without its punctuation list.

Equal to the Stanford tokenizer 3.4.1 of coco-caption on ordinary English captions (docs/evaluation-text.md says how
that was checked and where it may differ), without Java.
"""

import re

# The list of coco-caption; its bracket names are in upper case, so that brackets, which arrive in lower case, stay.
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# Spelled otherwise in Unicode than the treebank spells it.
SPELLINGS = {
    "‘": "'", "’": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": " -- ", "—": " -- ",
    "…": " ... ", "½": "1/2", "¼": "1/4", "¾": "3/4", "\u00a0": " ", "\u00ad": "", "²": " ² ", "³": " ³ ",
}  # fmt: skip

_CONTRACTED = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
    "wanna": ("wan", "na"),
}
# A full stop after these belongs to the word wherever it stands; after any other word it ends a sentence.
_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|st|sts|ave|blvd|rd|mt|ft|fig|no|nos|co|corp|inc|ltd|bros|jr|sr|vs|etc|al|esp|gen|gov|sen|rep|lt"
    "|col|capt|sgt|maj|adm|cmdr|rev|hon|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|tues|wed|thu|thurs|fri"
)
_TOKEN = re.compile(
    rf"""
      (?P<url>(?:https?://|www\.)\S+[^\s.,;:!?'")\]}}])
    | (?P<tag></?[a-z][^<>]*>)
    | (?P<abbreviation>(?<!\w)(?:(?:{_ABBREVIATIONS})\.|(?:[a-z]\.){{2,}})(?!\w))
    | (?P<letter>(?<!\w)[a-z]\.(?=\s*$|\s+(?-i:[a-z0-9])))
    | (?P<number>(?<!\w)[-+]?(?:\d+(?:[,:/-]\d+)+(?:\.\d+)*|\d*\.\d+|\d+(?![^\W_]))(?!-[a-z]))
    | (?P<ampersand>(?<!\w)[a-z]{{1,2}}&[a-z]{{1,2}}(?!\w))
    | (?P<hashtag>\#[a-z]\w*)
    | (?P<decade>(?<!\w)'\d\ds?(?![^\W_]))
    | (?P<clitic>'(?:s|m|d|re|ve|ll)(?![^\W_]))
    | (?P<handle>@(?=[a-z_])\w+)
    | (?P<word>\w+(?:[-./]\w+|'(?!(?:s|m|d|re|ve|ll)\b)\w+)*)
    | (?P<dots>\.{{2,}})
    | (?P<dashes>-+)
    | (?P<other>\S)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def caption_tokens(text: str) -> list[str]:
    """Lower-case treebank tokens of a caption without punctuation."""
    return [token for token in treebank_tokens(text) if token not in PUNCTUATION]


def treebank_tokens(text: str) -> list[str]:
    """Lower-case treebank tokens of a caption, punctuation included."""
    for unicode, spelling in SPELLINGS.items():
        text = text.replace(unicode, spelling)
    return [token for match in _TOKEN.finditer(text) for token in _split(match)]


def _split(match: re.Match[str]) -> list[str]:
    token = match.group().lower()
    match match.lastgroup:
        case "word" if token in _CONTRACTED:
            return list(_CONTRACTED[token])
        case "word" if token.endswith("n't") and len(token) > 3:
            return [token[:-3], "n't"]
        case "dots":
            return ["..." if len(token) > 2 else "."]
        case "dashes":
            return ["-" if len(token) == 1 else "--"]
        case "other":
            return [BRACKETS.get(token, "''" if token == '"' else token)]
        case _:
            return [token]
