"""`evaluate.load("evaluation/metrics/caption_scores")`: BLEU, METEOR, ROUGE-L, CIDEr and the FusionRS caption score."""

import datasets
import evaluate

from evaluation.captions.metrics import caption_outcomes
from evaluation.captions.references import References
from evaluation.intervals.cluster_bootstrap import with_intervals
from evaluation.predictions import Predictions

_CITATION = "See docs/evaluation-text.md for each metric and its source."
_DESCRIPTION = "Caption metrics as coco-caption and the FusionRS benchmark compute them."
_INPUTS = "predictions: one caption a row. references: a list of captions a row, at least one."


class CaptionScores(evaluate.Metric):
    """Values only; intervals come from `evaluation.captions.metrics.run_captioning`."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(features),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        ids = tuple(str(row) for row in range(len(references)))
        manifest = References(
            ids=ids, images=ids, sources=("",) * len(ids), texts=tuple(tuple(texts) for texts in references)
        )
        said = Predictions(texts=tuple(predictions), missing=0, failed=0)
        return {metric.name: metric.value for metric in with_intervals(caption_outcomes(manifest, said), draws=1)}
