"""Captions of an RGB-infrared pair, shipped with the weights of a captioner.

pipeline("rgb-infrared-captioning", model, trust_remote_code=True)({"image": ..., "infrared": ...})
"""

from typing import Any

from .pair_pipeline import PairPipeline


class PairCaptioningPipeline(PairPipeline):
    """Says what a pair shows, or one of its images.

    Args of a call:
        inputs: `{"image": ..., "infrared": ...}`, either of them, or a list of such.
        instruction: What to say.
        max_new_tokens: Length of a caption.
        generate_kwargs: Further arguments of `generate`; captions are greedy without any.

    Returns:
        Per input `{"generated_text": ...}`.
    """

    def _sanitize_parameters(
        self,
        instruction: str | None = None,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        forward = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            forward["max_new_tokens"] = max_new_tokens
        return {} if instruction is None else {"instruction": instruction}, forward, {}

    def preprocess(self, inputs: Any, instruction: str = "Describe the scene.") -> Any:
        given = self.split_pair(inputs)
        kinds = [kind for name, kind in (("images", "image"), ("infrared", "infrared")) if given[name]]
        content = [{"type": kind} for kind in kinds] + [{"type": "text", "text": instruction}]
        conversation = [{"role": "user", "content": content}]
        prompt = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        return self.processor(text=prompt, **given)

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, Any]:
        tokens = self.model.generate(**model_inputs, **{"max_new_tokens": 64, "do_sample": False, **generate_kwargs})
        return {"tokens": tokens[:, model_inputs["input_ids"].shape[1] :]}

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, str]:
        text = self.processor.tokenizer.decode(model_outputs["tokens"][0], skip_special_tokens=True)
        return {"generated_text": text.strip()}


__all__ = ["PairCaptioningPipeline"]
