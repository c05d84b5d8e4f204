"""Protocol `captioning`: generated captions against references, by every metric, with intervals over images.

What each number is, and with which published number it compares, is in docs/evaluation-text.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..intervals.cluster_bootstrap import Outcomes, Score, mean_score, with_intervals
from ..predictions import PredictionFile, Predictions, read_predictions
from ..results import Metric
from .bleu import bleu_scores
from .cider import cider_rows
from .fusionrs_score import DRAWS, SEED, lexical_f1, rouge_l_f1
from .meteor import meteor_exact_stem_score
from .meteor_java import meteor_java_score
from .references import References, ReferenceSource, read_references
from .rouge import rouge_l
from .spice_java import spice_java_score
from .tokens import caption_tokens


@dataclass(frozen=True, kw_only=True)
class CaptionScoring:
    """Scores a file of captions."""

    predictions: PredictionFile
    """The captions."""
    references: ReferenceSource
    """The references; their rows are the manifest."""
    meteor_jar: Path | None = None
    """meteor-1.5.jar with its data beside it, to add METEOR 1.5; needs Java."""
    spice_jar: Path | None = None
    """spice-1.0.jar with its lib folder beside it, to add SPICE; needs Java."""
    draws: int = DRAWS
    """Bootstrap samples."""
    seed: int = SEED
    """Seed of the samples."""


@dataclass(frozen=True, kw_only=True)
class ScoredTexts:
    """Metrics, what they were computed from, and which rows had no text of their own."""

    metrics: list[Metric]
    outcomes: Outcomes
    rows: int
    missing: int
    """Rows of the manifest without a prediction: scored as an empty text."""
    failed: int
    """Rows whose generation failed: scored the same."""
    left_out: int = 0
    """Rows of the manifest that no metric can score, as no reference has a word."""


def run_captioning(config: CaptionScoring) -> ScoredTexts:
    """Reads, scores and resamples."""
    references = read_references(config.references)
    predictions = read_predictions(config.predictions, references.ids)
    outcomes = caption_outcomes(references, predictions, config.meteor_jar, config.spice_jar)
    return ScoredTexts(
        metrics=with_intervals(outcomes, config.draws, config.seed),
        outcomes=outcomes,
        rows=len(outcomes.keys),
        missing=predictions.missing,
        failed=predictions.failed,
        left_out=len(references.ids) - len(outcomes.keys),
    )


def caption_outcomes(
    references: References, predictions: Predictions, meteor_jar: Path | None = None, spice_jar: Path | None = None
) -> Outcomes:
    """Every metric of every row that has a reference with a word in it.

    Beside such a reference one without words, as RSICD has, stays an empty text, as in coco-caption.
    The FusionRS metrics come also per source, where there is more than one.
    """
    tokenised = [[caption_tokens(text) for text in texts] for texts in references.texts]
    rows = [row for row, texts in enumerate(tokenised) if any(texts)]
    if not rows:
        raise ValueError("no row of the manifest has a reference with a word; name another split or column.")
    said = [predictions.texts[row] or "" for row in rows]
    texts = [references.texts[row] for row in rows]
    keys, sources = [references.ids[row] for row in rows], [references.sources[row] for row in rows]
    candidates = [caption_tokens(text) for text in said]
    tokens = [tokenised[row] for row in rows]
    cider, cider_d = cider_rows(candidates, tokens)
    scores = [
        *bleu_scores(candidates, tokens),
        meteor_exact_stem_score(candidates, tokens),
        mean_score("rouge_l", [rouge_l(one, of) for one, of in zip(candidates, tokens, strict=True)]),
        mean_score("cider", cider),
        mean_score("cider_d", cider_d),
        *_fusionrs_scores(said, texts, sources),
    ]
    if meteor_jar is not None:
        scores.append(meteor_java_score(meteor_jar, candidates, tokens))
    if spice_jar is not None:
        scores.append(spice_java_score(spice_jar, said, texts))
    images = tuple(references.images[row] for row in rows)
    return Outcomes(keys=tuple(keys), clusters=images, scores=tuple(scores))


def _fusionrs_scores(said: Sequence[str], texts: Sequence[Sequence[str]], sources: Sequence[str]) -> list[Score]:
    values = {
        "fusionrs/rouge_l": [rouge_l_f1(one, of) for one, of in zip(said, texts, strict=True)],
        "fusionrs/lexical_f1": [lexical_f1(one, of) for one, of in zip(said, texts, strict=True)],
    }
    scores = [mean_score(name, value) for name, value in values.items()]
    names = sorted(set(sources))
    for source in names if len(names) > 1 else []:
        here = [other == source for other in sources]
        scores += [mean_score(f"source/{source}/{name}", value, here) for name, value in values.items()]
    return scores
