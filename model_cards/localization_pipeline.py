"""Where in a large scene is what a text says: semantic localization, shipped with the weights.

pipeline("semantic-localization", model, trust_remote_code=True)({"image": scene}, ["a ship", "an airport"])

Shapes: H, W the scene in pixels, N windows, T texts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .pair_pipeline import PairPipeline

# Cosines in float32 that differ by less than this are equal; stretching them to 0..1 would show rounding.
FLAT = 1e-6
EMBEDS = {"images": "image_embeds", "infrared": "infrared_embeds"}


class SemanticLocalizationPipeline(PairPipeline):
    """Heat maps of texts over a scene: the mean cosine of all windows that cover a pixel, stretched to 0..1.

    Args of a call:
        inputs: `{"image": scene}`, `{"infrared": scene}` or both on one grid, as arrays (H, W, 3) and (H, W).
        candidate_labels: Texts.
        window: Side of the windows in pixels; 256 when not given.
        stride: Pixels between them, from 1 to `window`, half a window when not given; the last row and column always
            reach the edge.
        encode_batch_size: Windows encoded at once.

    Returns:
        A list of `{"label", "heat_map", "box", "score"}` in the order of the texts: an array (H, W) from 0 to 1, the
        best window as (left, top, right, bottom), and its cosine.
    """

    def __call__(self, inputs: Any, candidate_labels: list[str] | None = None, **kwargs: Any) -> Any:
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self,
        candidate_labels: Any = None,
        window: int | None = None,
        stride: int | None = None,
        encode_batch_size: int | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"candidate_labels": candidate_labels, "window": window, "stride": stride}
        forward = {} if encode_batch_size is None else {"encode_batch_size": encode_batch_size}
        return {name: value for name, value in given.items() if value is not None}, forward, {}

    def preprocess(
        self, inputs: Any, candidate_labels: Any = (), window: int = 256, stride: int | None = None
    ) -> dict[str, Any]:
        labels = self.check_texts(candidate_labels, "candidate_labels")
        stride = max(window // 2, 1) if stride is None else stride
        if window < 1 or stride < 1:
            raise ValueError(f"window is {window} and stride {stride}; wanted at least one pixel.")
        if stride > window:
            raise ValueError(
                f"stride is {stride} and window {window}; wanted at most {window}, as pixels between two windows would "
                "be in none."
            )
        scenes = {name: np.asarray(images[0]) for name, images in self.split_pair(inputs).items() if images}
        sizes = {scene.shape[:2] for scene in scenes.values()}
        if len(sizes) > 1:
            raise ValueError(f"the two images have sizes {sorted(sizes)}; wanted one grid for both.")
        height, width = sizes.pop()
        corners = [(y, x) for y in _starts(height, window, stride) for x in _starts(width, window, stride)]
        tokens = self.processor(text=labels)
        return {"labels": labels, "tokens": tokens, "scenes": scenes, "corners": corners, "window": window}

    def _forward(self, model_inputs: dict[str, Any], encode_batch_size: int = 64) -> dict[str, Any]:
        texts = self.model(**model_inputs["tokens"]).text_embeds.float()
        images = torch.cat([self._embed(crops) for crops in _crops(model_inputs, encode_batch_size)])
        kept = {name: model_inputs[name] for name in ("labels", "corners", "window")}
        size = next(iter(model_inputs["scenes"].values())).shape[:2]
        return {**kept, "cosines": texts @ images.t(), "size": size}

    def postprocess(self, model_outputs: dict[str, Any]) -> list[dict[str, Any]]:
        cosines = np.asarray(model_outputs["cosines"].cpu().numpy(), dtype=np.float64)  # (T, N)
        corners, window = model_outputs["corners"], model_outputs["window"]
        maps = heat_maps(cosines, corners, window, model_outputs["size"])
        best = cosines.argmax(axis=1)
        return [
            {
                "label": label,
                "heat_map": heat,
                "box": (corners[at][1], corners[at][0], corners[at][1] + window, corners[at][0] + window),
                "score": float(row[at]),
            }
            for label, heat, at, row in zip(model_outputs["labels"], maps, best.tolist(), cosines, strict=True)
        ]

    def _embed(self, crops: dict[str, list[Any]]) -> torch.Tensor:
        """Unit embeddings of windows: of the pair where both are given."""
        tensors = self._ensure_tensor_on_device(self.processor(**crops), device=self.device)
        output = self.model(**tensors)
        embeds = output.get("fused_embeds" if len(crops) == 2 else EMBEDS[next(iter(crops))])
        if embeds is None:
            raise ValueError("the input is a pair, and this model fuses none; pass 'image' or 'infrared' alone.")
        found: torch.Tensor = embeds.float()
        return found


def heat_maps(
    cosines: npt.NDArray[np.float64], corners: list[tuple[int, int]], window: int, size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Mean cosine of all windows over a pixel, from 0 at its least to 1 at its most (T, H, W); a flat map is 0."""
    height, width = size
    # Differences at the corners of windows; summed up twice they are the sums over windows.
    steps = np.zeros((len(cosines) + 1, height + 1, width + 1))
    for index, (y, x) in enumerate(corners):
        values = np.append(cosines[:, index], 1.0)  # the last map counts windows
        for row, column, sign in ((y, x, 1), (y + window, x, -1), (y, x + window, -1), (y + window, x + window, 1)):
            steps[:, row, column] += sign * values
    sums = steps.cumsum(axis=1).cumsum(axis=2)[:, :height, :width]
    means = sums[:-1] / np.rint(sums[-1])
    low, high = means.min(axis=(1, 2), keepdims=True), means.max(axis=(1, 2), keepdims=True)
    spread = np.where(high - low > FLAT, high - low, np.inf)
    return np.asarray((means - low) / spread)


def _crops(inputs: dict[str, Any], batch_size: int) -> Iterator[dict[str, list[Any]]]:
    window, corners = inputs["window"], inputs["corners"]
    for start in range(0, len(corners), batch_size):
        batch = corners[start : start + batch_size]
        yield {
            name: [np.ascontiguousarray(scene[y : y + window, x : x + window]) for y, x in batch]
            for name, scene in inputs["scenes"].items()
        }


def _starts(length: int, window: int, stride: int) -> list[int]:
    if length < window:
        raise ValueError(f"the scene is {length} pixels long or wide, less than one window of {window}.")
    return sorted({*range(0, length - window + 1, stride), length - window})


__all__ = ["SemanticLocalizationPipeline", "heat_maps"]
