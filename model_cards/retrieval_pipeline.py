"""Retrieval between texts, RGB images, infrared images and pairs, shipped with the weights.

pipeline("rgb-infrared-retrieval", model, trust_remote_code=True)("ships in a harbor", gallery=[{"infrared": ...}, ...])
"""

from collections.abc import Sequence
from typing import Any

import torch

from .pair_pipeline import PairPipeline

EMBEDS = {"text": "text_embeds", "rgb": "image_embeds", "infrared": "infrared_embeds", "fused": "fused_embeds"}


class CrossModalRetrievalPipeline(PairPipeline):
    """Ranks a gallery for a query; both may be texts, RGB images, infrared images or pairs.

    A pair is its fused embedding, and needs a model that fuses; an image alone is the embedding of its own tower.

    Args of a call:
        inputs: A query, or a list of them: a text, or `{"image": ..., "infrared": ...}` or either of them.
        gallery: What is ranked, in the same forms; or embeddings (N, D) from `embed`, made once for many calls.
        top_k: How many to return.
        embed_batch_size: Gallery rows that go through the model at once.

    Returns:
        Per query a list of `{"index", "score"}`, cosines, the best first; of equals the first.
    """

    def _sanitize_parameters(
        self, gallery: Any = None, top_k: int | None = None, embed_batch_size: int = 32
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; wanted at least 1.")
        post: dict[str, Any] = {} if top_k is None else {"top_k": top_k}
        if gallery is not None:
            post["gallery"] = gallery if isinstance(gallery, torch.Tensor) else self.embed(gallery, embed_batch_size)
        return {}, {}, post

    @torch.inference_mode()
    def embed(self, items: Sequence[Any], batch_size: int = 32) -> torch.Tensor:
        """Unit embeddings (N, D) of texts, images and pairs, in their order."""
        if isinstance(items, str) or not len(items):
            raise ValueError("the gallery is empty or a string; wanted a list of texts, images or pairs.")
        rows: list[torch.Tensor | None] = [None] * len(items)
        kinds: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            kinds.setdefault(self._kind(item), []).append(index)
        for kind, places in kinds.items():
            for start in range(0, len(places), batch_size):
                chosen = places[start : start + batch_size]
                found = self._embed_kind(kind, [items[place] for place in chosen])
                for place, row in zip(chosen, found, strict=True):
                    rows[place] = row
        return torch.stack([row for row in rows if row is not None])

    def preprocess(self, inputs: Any) -> dict[str, Any]:
        kind = self._kind(inputs)
        return {"kind": kind, "tensors": self._tensors(kind, [inputs])}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        return {"query": self._embeds(model_inputs["kind"], model_inputs["tensors"])}

    def postprocess(
        self, model_outputs: dict[str, Any], gallery: torch.Tensor | None = None, top_k: int = 10
    ) -> list[dict[str, Any]]:
        if gallery is None:
            raise ValueError("there is nothing to rank; pass gallery=, a list of items or what `embed` returned.")
        cosines = (gallery.cpu() @ model_outputs["query"].cpu()[0]).tolist()
        order = sorted(range(len(cosines)), key=lambda index: -cosines[index])
        return [{"index": index, "score": cosines[index]} for index in order[:top_k]]

    def _kind(self, item: Any) -> str:
        if isinstance(item, str):
            return "text"
        given = [name for name, images in self.split_pair(item).items() if images is not None]
        return "fused" if len(given) == 2 else {"images": "rgb", "infrared": "infrared"}[given[0]]

    def _tensors(self, kind: str, items: Sequence[Any]) -> Any:
        if kind == "text":
            return self.processor(text=list(items))
        pairs = [self.split_pair(item) for item in items]
        streams = {name: [pair[name][0] for pair in pairs if pair[name]] or None for name in ("images", "infrared")}
        return self.processor(**streams)

    def _embed_kind(self, kind: str, items: Sequence[Any]) -> torch.Tensor:
        tensors = self._ensure_tensor_on_device(self._tensors(kind, items), device=self.device)
        return self._embeds(kind, tensors)

    def _embeds(self, kind: str, tensors: Any) -> torch.Tensor:
        embeds = self.model(**tensors).get(EMBEDS[kind])
        if embeds is None:
            raise ValueError("the input is a pair, and this model fuses none; pass 'image' or 'infrared' alone.")
        found: torch.Tensor = embeds.float()
        return found


__all__ = ["CrossModalRetrievalPipeline"]
