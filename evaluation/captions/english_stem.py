"""English word stems by the Snowball "English" algorithm (Porter's second stemmer), as METEOR uses them.

After the published description of the algorithm (snowballstem.org); words here are lower case.
"""

import re
from functools import lru_cache

VOWELS = "aeiouy"
SPECIAL = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl", "sky": "sky", "news": "news", "howe": "howe",
    "atlas": "atlas", "cosmos": "cosmos", "bias": "bias", "andes": "andes",
}  # fmt: skip
FINAL_AFTER_PLURAL = frozenset(("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"))
STEP_2 = (
    ("ization", "ize"), ("ational", "ate"), ("fulness", "ful"), ("ousness", "ous"), ("iveness", "ive"),
    ("tional", "tion"), ("biliti", "ble"), ("lessli", "less"), ("entli", "ent"), ("ation", "ate"), ("alism", "al"),
    ("aliti", "al"), ("ousli", "ous"), ("iviti", "ive"), ("fulli", "ful"), ("enci", "ence"), ("anci", "ance"),
    ("abli", "able"), ("izer", "ize"), ("ator", "ate"), ("alli", "al"), ("bli", "ble"), ("ogi", "og"), ("li", ""),
)  # fmt: skip
STEP_3 = (
    ("ational", "ate"), ("tional", "tion"), ("alize", "al"), ("icate", "ic"), ("iciti", "ic"), ("ative", ""),
    ("ical", "ic"), ("ness", ""), ("ful", ""),
)  # fmt: skip
STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic",
)  # fmt: skip
_REGION = re.compile(r"[aeiouy][^aeiouy]")
_SHORT_SYLLABLE = re.compile(r"(?:(?:^|.*[^aeiouy])[aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")


@lru_cache(maxsize=65536)
def english_stem(word: str) -> str:
    """The stem of a lower-case word."""
    if len(word) < 3:
        return word
    if word in SPECIAL:
        return SPECIAL[word]
    word = re.sub(r"(?:^|(?<=[aeiouy]))y", "Y", word.removeprefix("'"))
    first, second = _regions(word)
    word = _plural(_possessive(word))
    if word in FINAL_AFTER_PLURAL:
        return word
    word = re.sub(r"(?<=.[^aeiouy])[yY]$", "i", _past(word, first))
    word = _derived(word, first, second)
    return _last(word, first, second).replace("Y", "y")


def _regions(word: str) -> tuple[int, int]:
    """Where R1 and R2 begin: after the first consonant that follows a vowel, and after the next such one."""
    prefix = re.match(r"gener|commun|arsen", word)
    found = _REGION.search(word)
    first = prefix.end() if prefix else found.end() if found else len(word)
    found = _REGION.search(word, first)
    return first, found.end() if found else len(word)


def _possessive(word: str) -> str:
    return re.sub(r"'(?:s'?)?$", "", word)


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and re.search("[aeiouy]", word[:-2]):
        return word[:-1]
    return word


def _past(word: str, first: int) -> str:
    for suffix in ("eedly", "eed"):
        if word.endswith(suffix):
            return word[: -len(suffix)] + "ee" if len(word) - len(suffix) >= first else word
    for suffix in ("ingly", "edly", "ing", "ed"):
        if not word.endswith(suffix):
            continue
        stem = word[: -len(suffix)]
        if not re.search("[aeiouy]", stem):
            return word
        if stem.endswith(("at", "bl", "iz")):
            return stem + "e"
        if stem.endswith(("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")):
            return stem[:-1]
        return stem + "e" if first >= len(stem) and _SHORT_SYLLABLE.match(stem) else stem
    return word


def _derived(word: str, first: int, second: int) -> str:
    for suffix, new in STEP_2:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            before = {"ogi": "l", "li": "cdeghkmnrt"}.get(suffix)
            if len(stem) >= first and (before is None or stem[-1:] in tuple(before)):
                word = stem + new
            break
    for suffix, new in STEP_3:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            if len(stem) >= (second if suffix == "ative" else first):
                word = stem + new
            break
    for suffix in STEP_4:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            if len(stem) >= second and (suffix != "ion" or stem[-1:] in ("s", "t")):
                word = stem
            break
    return word


def _last(word: str, first: int, second: int) -> str:
    if word.endswith("e"):
        stem = word[:-1]
        if len(stem) >= second or (len(stem) >= first and not _SHORT_SYLLABLE.match(stem)):
            return stem
    if word.endswith("ll") and len(word) - 1 >= second:
        return word[:-1]
    return word
