"""Protocol `text-audit`: what generated texts say of the infrared, what they claim without support, and their form.

The word lists are our own, in the families that FusionRS audits (code/benchmark/audit_fusionrs_vlm_outputs.py at
43d9d82), so rates are not those of its table. No reference is needed beyond the manifest of rows.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..intervals.cluster_bootstrap import Outcomes, Score, mean_score, with_intervals
from ..predictions import PredictionFile, Predictions, read_predictions
from .fusionrs_score import DRAWS, SEED, words
from .metrics import ScoredTexts
from .references import References, ReferenceSource, read_references

SHORT_WORDS, LONG_WORDS = 15, 25

# Names of the band, and what can be read off grey levels.
_INFRARED_CUE = re.compile(
    r"\b(?:infrared|thermal(?:ly)?|(?:bright|dark)(?:er|est|ness|ly|en(?:s|ed)?)?|gr[ae]y(?:er|ish)?"
    r"|gr[ae]y[ -]?(?:scale|levels?)|contrast(?:s|ed|ing)?|intensit(?:y|ies)|textur(?:e|es|ed)"
    r"|outlin(?:e|es|ed)|silhouett\w*|(?:mid-?)?ton(?:e|es|al)"
    r"|glow(?:s|ed|ing)?|luminan\w*)\b"
)
# Heat, emission, reflection and matter: what grey levels of an uncalibrated image cannot prove. A cooling tower, a
# cold store and a greenhouse's heating plant are things with such names.
_PHYSICAL_CLAIM = re.compile(
    r"\b(?:temperatures?|(?:over|re)?heat(?:s|ed|ing|er|ers)?(?! plants?\b)|hot(?:ter|test|[ -]?spots?)?"
    r"|cold(?:er|est)?(?![ -](?:storages?|stores?)\b)|cool(?:er|est|s|ed|ing)?(?![ -](?:towers?|ponds?|basins?)\b)"
    r"|warm(?:er|est|th|s|ed|ing)?|thermal (?:signatures?|emissions?|energy|inertia|anomal(?:y|ies)|propert(?:y|ies))"
    r"|emissivit(?:y|ies)|emissive|emi(?:ts?|tted|tting|ssions?)|(?:ir)?radian(?:ce|t)|radiat(?:e|es|ed|ing|ion)"
    r"|reflectiv\w*|reflectances?|absorptiv\w*|conductiv\w*|metallic|materials?|surface propert(?:y|ies)"
    r"|kelvin|celsius|fahrenheit)\b|°\s?[cfk]\b"
)
# Colours that an infrared image does not have; black, white and grey are tones. Orchards may be orange, trees not.
_COLOUR = re.compile(
    r"\b(?:red|green|blue|yellow|orange(?! (?:groves?|orchards?)\b)|purple|pink|brown|golden|gold|cyan|magenta|beige"
    r"|turquoise|violet|maroon|crimson|teal|tan|(?:redd|green|blu|yellow|brown|purpl|pink|orang)ish|colou?rful)\b"
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i can(?:not|'t| not)|as an ai|as a language model"
    r"|unable to (?:see|view|describe|determine|provide|process)|(?:cannot|can't) (?:see|view|describe|determine)"
    r"|please (?:upload|provide)"
    r"|no image (?:is|was|has been))\b"
)


@dataclass(frozen=True, kw_only=True)
class TextAudit:
    """Audits a file of texts."""

    predictions: PredictionFile
    """The texts."""
    references: ReferenceSource
    """The manifest of rows; its references serve only to find copies."""
    draws: int = DRAWS
    """Bootstrap samples."""
    seed: int = SEED
    """Seed of the samples."""


def run_text_audit(config: TextAudit) -> ScoredTexts:
    """Reads, audits and resamples."""
    manifest = read_references(config.references)
    predictions = read_predictions(config.predictions, manifest.ids)
    outcomes = audit_outcomes(manifest, predictions)
    return ScoredTexts(
        metrics=with_intervals(outcomes, config.draws, config.seed),
        outcomes=outcomes,
        rows=len(manifest.ids),
        missing=predictions.missing,
        failed=predictions.failed,
    )


def audit_outcomes(manifest: References, predictions: Predictions) -> Outcomes:
    """The findings of every row.

    `no_text` is a share of all rows; everything else is of the rows that have a text, as an absent text claims
    nothing. `distinct_texts` is the number of different texts over that of texts.
    """
    normal = [" ".join(words(text or "")) for text in predictions.texts]
    spoken = [bool(text) for text in normal]
    findings = finding_scores([text or "" for text in predictions.texts])
    if not any(spoken):
        raise ValueError("no row has a text to audit: all are missing, failed or empty.")
    times = Counter(text for text in normal if text)
    commonest = min(times, key=lambda text: (-times[text], text))
    lengths = [len(text.split()) for text in normal]
    copies = [
        text in {" ".join(words(reference)) for reference in references}
        for text, references in zip(normal, manifest.texts, strict=True)
    ]
    rates: dict[str, Sequence[float]] = {
        "words": lengths,
        f"at_most_{SHORT_WORDS}_words": [length <= SHORT_WORDS for length in lengths],
        f"at_least_{LONG_WORDS}_words": [length >= LONG_WORDS for length in lengths],
        "distinct_texts": [1 / times[text] if text else 0.0 for text in normal],
        "commonest_text": [text == commonest for text in normal],
        "copy_of_a_reference": copies,
    }
    form = [mean_score(name, values, spoken) for name, values in rates.items()]
    return Outcomes(keys=manifest.ids, clusters=manifest.images, scores=(*findings, *form))


def finding_scores(texts: Sequence[str]) -> list[Score]:
    """`no_text`, a share of all texts, and what is found, as shares of those that say something, if any does."""
    spoken = [bool(words(text)) for text in texts]
    found = [mean_score("no_text", [not one for one in spoken])]
    if any(spoken):
        found += [mean_score(name, [finds(text) for text in texts], spoken) for name, finds in FINDINGS.items()]
    return found


def names_infrared_cue(text: str) -> bool:
    """Whether a text names the band or something to be read off grey levels."""
    return _INFRARED_CUE.search(_plain(text)) is not None


def claims_physics(text: str) -> bool:
    """Whether a text speaks of heat, temperature, emission, reflection or material."""
    return _PHYSICAL_CLAIM.search(_plain(text)) is not None


def names_colour(text: str) -> bool:
    """Whether a text names a colour other than black, white and grey."""
    return _COLOUR.search(_plain(text)) is not None


def refuses(text: str) -> bool:
    """Whether a text says that it will not or cannot describe."""
    return _REFUSAL.search(_plain(text)) is not None


FINDINGS = {
    "infrared_cue": names_infrared_cue,
    "physical_claim": claims_physics,
    "colour_word": names_colour,
    "refusal": refuses,
}


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())
