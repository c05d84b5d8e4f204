"""Zero-shot classification of an RGB-infrared pair, shipped with the weights.

pipeline("rgb-infrared-classification", model, trust_remote_code=True)({"image": ..., "infrared": ...}, [labels])
"""

from typing import Any

from .pair_pipeline import PairPipeline

LOGITS = {"rgb": "logits_per_image", "infrared": "logits_per_infrared", "fused": "logits_per_fused"}


class PairClassificationPipeline(PairPipeline):
    """Scores labels for a pair, or for one of its images.

    Args of a call:
        inputs: `{"image": ..., "infrared": ...}`, either of them, or a list of such.
        candidate_labels: Labels.
        hypothesis_template: Text around each label, with `{}` for it.
        view: `fused` (the pair in one embedding), `rgb` or `infrared`; when not given `fused` where the model fuses,
            else the only image.

    Returns:
        Per input a list of `{"label", "score"}`, the best first.
    """

    def __call__(self, inputs: Any, candidate_labels: list[str] | None = None, **kwargs: Any) -> Any:
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self, candidate_labels: Any = None, hypothesis_template: str | None = None, view: str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {"candidate_labels": candidate_labels, "hypothesis_template": hypothesis_template}
        return (
            {name: value for name, value in preprocess.items() if value is not None},
            {},
            {"view": view} if view else {},
        )

    def preprocess(self, inputs: Any, candidate_labels: Any = (), hypothesis_template: str = "{}") -> dict[str, Any]:
        labels = self.check_texts(candidate_labels, "candidate_labels")
        if hypothesis_template.count("{}") != 1:
            raise ValueError(
                f"hypothesis_template is {hypothesis_template!r}; wanted `{{}}` in it once, for the label."
            )
        texts = [hypothesis_template.replace("{}", label) for label in labels]
        return {"labels": labels, "tensors": self.processor(**self.split_pair(inputs), text=texts)}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        output = self.model(**model_inputs["tensors"])
        return {"labels": model_inputs["labels"], **{name: output.get(logits) for name, logits in LOGITS.items()}}

    def postprocess(self, model_outputs: dict[str, Any], view: str | None = None) -> list[dict[str, Any]]:
        chosen = view or self._default_view(model_outputs)
        if chosen not in LOGITS:
            raise ValueError(f"view is {chosen!r}; wanted one of {tuple(LOGITS)}.")
        if model_outputs[chosen] is None:
            raise ValueError(f"view {chosen!r} needs an image, or a fusion, that is not there.")
        scores = model_outputs[chosen][0].float().softmax(dim=-1).tolist()
        best_first = sorted(zip(model_outputs["labels"], scores, strict=True), key=lambda pair: -pair[1])
        return [{"label": label, "score": score} for label, score in best_first]

    def _default_view(self, outputs: dict[str, Any]) -> str:
        if outputs["fused"] is not None:
            return "fused"
        given = [name for name in ("rgb", "infrared") if outputs[name] is not None]
        if len(given) > 1:
            raise ValueError("the input is a pair, and this model fuses none; pass view='rgb' or view='infrared'.")
        return given[0]


__all__ = ["PairClassificationPipeline"]
