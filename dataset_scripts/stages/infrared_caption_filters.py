"""Filters of infrared-aware captions: each is a pure function that returns None or a named reason; the first counts.

After the filter families that FusionRS publishes (arXiv 2606.17020), with the checks that it names but does not
release. Strict on purpose: a good caption lost costs little, a claim that the pixels cannot bear costs trust.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .rejects import Reject
from .remote_sensing_words import content_words, named_concepts, with_implied

REASONS = (
    "not_text",
    "empty",
    "refusal",
    "physical_claim",
    "colour_word",
    "uncertainty",
    "too_short",
    "too_long",
    "no_infrared_cue",
    "inconsistent_with_scene_caption",
    "not_a_sentence",
    "repeated_text",
    "speaks_of_rgb",
)
# "thermal" alone is the name of the band. A cooling tower and a cold store are things that the RGB image shows too;
# roads may radiate from a square. Hot Springs is lost, by choice.
_PHYSICAL = re.compile(
    r"""\b(?:
      temperatures? | (?:pre|over|re)?heat(?:s|ed|ing|er|ers|maps?)? | hot(?:ter|test|[ -]?spots?)? | hotly
    | cold(?:er|est|ness)?(?![ -](?:storages?|stores?)\b)
    | cool(?:s|er|ers|est|ed|ness|ing)?(?![ -](?:towers?|ponds?|basins?)\b)
    | (?:luke)?warm(?:s|er|est|ed|ing|th|ly)?(?![ -]?up\b)
    | thermal[ -](?:signatures?|emissions?|energy|inertia|mass|propert(?:y|ies)|outputs?|gradients?|loss(?:es)?)
    | thermally | emissiv\w* | emit(?:s|ted|ting|ters?)? | emissions?
    | (?:ir)?radianc\w* | radiant | radiation | radiometr\w* | reflectiv\w* | reflectanc\w*
    | materials? | metallic | conductiv\w* | surface[ ]propert(?:y|ies)
    | absor(?:b|bs|bed|bing|bent|ption|ptive|ptivity) | insulat\w* | kelvins? | celsius | fahrenheit
    )\b | °\s?[CFK]\b""",
    re.IGNORECASE | re.VERBOSE,
)
_COLOUR = re.compile(
    r"""\b(?:
      (?P<name>red|green|blue|yellow|orange|purple|pink|brown|golden|gold)
    | reds | blues | yellows | (?:redd|greeni?|blui?|yellow|brown|purpl|pink|orang)(?:e|n)?ish | turquoise | cyan
    | magenta | violet | beige | crimson | scarlet | maroon | teal | indigo | lilac | ochre | khaki | tan | silver
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ORANGE_FRUIT = re.compile(r"\s+(?:grove|orchard|plantation|farm)s?\b", re.IGNORECASE)
_GREEN_OF_A_GAME = re.compile(r"\b(?:golf|putting|bowling|village)\s+$", re.IGNORECASE)
_NAME_AFTER = re.compile(r"[ -][A-Z][a-z]")
_UNCERTAIN = re.compile(
    r"""\b(?:
      might | possibl[ey] | (?:im)?probabl[ey] | perhaps | maybe | (?:un)?likely | appear(?:s|ed|ing)?\s+to
    | seem(?:s|ed|ing|ingly)? | suggest(?:s|ed|ing|ive|ion)? | presumabl[ey] | apparently | potentially | supposedly
    | uncertain(?:ty)? | unclear | could\s+be | looks?\s+like | hard\s+to\s+tell | assum(?:e|es|ed|ing|ably)
    | cannot\s+be\s+(?:determined|identified) | (?P<may>may)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_MONTH_BEFORE = re.compile(
    r"(?:\b(?:in|of|since|until|during|early|mid|late|before|after|between|from|through|april|june)[\s-]+|\d\s+)$", re.I
)
_MONTH_AFTER = re.compile(r",?\s+\d")
# An edge is a cue only as an outline: "at the edge of the forest" is a place. Black and white are none: they may be
# the RGB image's.
_CUE = re.compile(
    r"""\b(?:
      bright(?:er|est|ness|ly|ens?|ened|ening)? | dark(?:er|est|ness|ly|ens?|ened)? | gr[ae]y(?:s|er|ish|[ -]?scale)?
    | gr[ae]y-?levels? | contrast(?:s|ed|ing)? | (?:high|low)-contrast | intensit(?:y|ies) | textur(?:e|es|ed|al|eless)
    | (?:sharp|clear|crisp|soft|blurred|strong|weak|distinct)[ ]edge | edges | outlin(?:e|es|ed) | silhouett\w*
    | contours? | ton(?:e|es|al|ality) | shad(?:e|es|ing) | luminan\w* | mid-?tones?
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_RGB = re.compile(
    r"\b(?:rgb|(?:multi|uni)?-?colou?r(?!ad)\w*|(?:visible|natural)[ -](?:light|spectrum|image)"
    r"|(?:optical|daylight) (?:image|photo)\w*)",
    re.I,
)
_REFUSAL = re.compile(
    r"\b(?:i'?m sorry|i am sorry|i cannot|i can'?t|i am unable|i'?m unable|as an ai|as a language model)\b", re.I
)
_FORMAT_REMAINS = re.compile(r"[{}\[\]<>|`]|\\[nt\"]|infrared_caption|https?://|^\s*(?:[-*#]|\d+[.)])\s|\n")
_SENTENCE_START = re.compile(r"[\"'“‘(]?[^\W_]")
_SENTENCE_END = re.compile(r"[.!][\"'”’)]?$")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f�\ud800-\udfff\ufffe\uffff]")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LONGEST_RUN_OF_A_CHARACTER = re.compile(r"([^\W\d_])\1{4}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class InfraredFilterSettings:
    """What a caption may be."""

    min_words: int = 6
    max_words: int = 80
    min_kept_share: float = 0.34
    """Part of the concepts of the scene caption that the infrared caption must keep."""
    similarity: Callable[[str, str], float] | None = None
    """Similarity of an infrared caption and its scene caption, by a model of the caller; a module-level function, if
    the settings are to be sent to another process."""
    min_similarity: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(f"min_words is {self.min_words}, max_words is {self.max_words}; wanted 1 <= min <= max.")
        if not 0 <= self.min_kept_share <= 1:
            raise ValueError(f"min_kept_share is {self.min_kept_share}; wanted a share between 0 and 1.")


@dataclass(frozen=True, slots=True)
class KeptInfraredCaption:
    """A caption that passed every filter, unchanged."""

    row: int
    caption: str


DEFAULT_SETTINGS = InfraredFilterSettings()


def filter_infrared_captions(
    captions: Sequence[object],
    scene_captions: Sequence[str],
    settings: InfraredFilterSettings = DEFAULT_SETTINGS,
) -> tuple[list[KeptInfraredCaption], list[Reject]]:
    """Split a batch of infrared captions, each with its scene caption, into kept ones and rejects."""
    kept: list[KeptInfraredCaption] = []
    rejects: list[Reject] = []
    for row, (caption, scene_caption) in enumerate(zip(captions, scene_captions, strict=True)):
        reason = first_reason(caption, scene_caption, settings)
        if reason is None:
            kept.append(KeptInfraredCaption(row, str(caption)))
        else:
            rejects.append(Reject(row, reason, caption[:200] if isinstance(caption, str) else repr(caption)[:200]))
    return kept, rejects


def first_reason(
    caption: object, scene_caption: str, settings: InfraredFilterSettings = DEFAULT_SETTINGS
) -> str | None:
    """Return the first reason against a caption, in the order of REASONS, or None."""
    if not isinstance(caption, str) or _CONTROL.search(caption):
        return "not_text"
    if not caption.strip():
        return "empty"
    return (
        find_refusal(caption)
        or find_physical_claim(caption)
        or find_colour(caption)
        or find_uncertainty(caption)
        or judge_length(caption, settings)
        or find_missing_cue(caption)
        or find_inconsistency(caption, scene_caption, settings)
        or judge_form(caption)
        or find_repetition(caption)
        or find_rgb(caption)
    )


def find_refusal(text: str) -> str | None:
    """A model that says what it will not do."""
    return "refusal" if _REFUSAL.search(text.replace("’", "'")) else None


def find_physical_claim(text: str) -> str | None:
    """Heat, temperature, emission, reflection or material: nothing that grey levels alone can show."""
    return "physical_claim" if _PHYSICAL.search(text) else None


def find_colour(text: str) -> str | None:
    """A colour other than black, white and grey.

    Not counted: a colour inside a word (greenhouse, Greenland); a name, that is, a capitalised colour before another
    capitalised word (Red Square, Yellow River) in a text that is not in title case; orange groves and orchards (orange
    trees may be autumn); golf, putting, bowling and village greens. "Green space" and "green belt" do count.
    """
    return "colour_word" if any(not _is_no_colour(match, text) for match in _COLOUR.finditer(text)) else None


def find_uncertainty(text: str) -> str | None:
    """Guesses. The month is told from the verb by what stands around it, or by a capital inside a sentence."""
    certain = (match["may"] is not None and _is_month(match, text) for match in _UNCERTAIN.finditer(text))
    return None if all(certain) else "uncertainty"


def judge_length(text: str, settings: InfraredFilterSettings) -> str | None:
    """Too few or too many words."""
    count = len(text.split())
    if count < settings.min_words:
        return "too_short"
    return "too_long" if count > settings.max_words else None


def find_missing_cue(text: str) -> str | None:
    """A caption must name something that can be measured in a grey image."""
    return None if _CUE.search(text) else "no_infrared_cue"


def find_inconsistency(caption: str, scene_caption: str, settings: InfraredFilterSettings) -> str | None:
    """Objects that the scene caption does not support, or too little of what it says.

    A concept is supported by a synonym, or by a concept that implies it (an airport has runways). Where the scene
    caption names no known concept, its plain content words are what must be kept.
    """
    reason = "inconsistent_with_scene_caption"
    scene, said = named_concepts(scene_caption), named_concepts(caption)
    if named_concepts(caption, as_claims=True) - with_implied(scene):
        return reason
    named, kept = (scene, scene & with_implied(said)) if scene else _kept_words(caption, scene_caption)
    if named and len(kept) < settings.min_kept_share * len(named):
        return reason
    if settings.similarity is not None and settings.similarity(caption, scene_caption) < settings.min_similarity:
        return reason
    return None


def judge_form(text: str) -> str | None:
    """One or more whole sentences of prose."""
    text = text.strip()
    is_prose = _SENTENCE_START.match(text) and _SENTENCE_END.search(text) and not _FORMAT_REMAINS.search(text)
    return None if is_prose and not text[0].islower() else "not_a_sentence"


def find_repetition(text: str) -> str | None:
    """Loops of a degenerate decoder: a letter, a word, a phrase or a sentence again and again."""
    words = [match[0].lower() for match in _WORD.finditer(text)]
    sentences = [part.strip().lower() for part in re.split(r"[.!?;]", text) if len(part.split()) > 2]
    phrases = Counter(tuple(words[at : at + 4]) for at in range(len(words) - 3))
    is_loop = (
        _LONGEST_RUN_OF_A_CHARACTER.search(text) is not None
        or any(words[at] == words[at + 1] == words[at + 2] for at in range(len(words) - 2))
        or len(set(sentences)) < len(sentences)
        or max(phrases.values(), default=0) > 2
        or (len(words) >= 12 and len(set(words)) < 0.4 * len(words))
    )
    return "repeated_text" if is_loop else None


def find_rgb(text: str) -> str | None:
    """Speaks of the RGB image, or of colours without naming one."""
    return "speaks_of_rgb" if _RGB.search(text) else None


def is_title_case(text: str) -> bool:
    """Whether most words begin with a capital, so that a capital does not tell a name."""
    words = [word for word in text.split() if word[0].isalpha()]
    return 2 * sum(word[0].isupper() for word in words) > len(words) > 3


def _is_no_colour(match: re.Match[str], text: str) -> bool:
    word = match["name"]
    if word is None:
        return False
    before, after = text[: match.start()], text[match.end() :]
    if word.lower() == "orange" and _ORANGE_FRUIT.match(after):
        return True
    if word.lower() == "green" and _GREEN_OF_A_GAME.search(before):
        return True
    return word.istitle() and _NAME_AFTER.match(after) is not None and not is_title_case(text)


def _is_month(match: re.Match[str], text: str) -> bool:
    before, after = text[: match.start()], text[match.end() :]
    if _MONTH_BEFORE.search(before) or _MONTH_AFTER.match(after):
        return True
    return match["may"] == "May" and re.search(r"[\w,]\s+$", before) is not None


def _kept_words(caption: str, scene_caption: str) -> tuple[frozenset[str], frozenset[str]]:
    named = frozenset(word for word in content_words(scene_caption) if find_colour(word) is None)
    return named, named & content_words(caption)
