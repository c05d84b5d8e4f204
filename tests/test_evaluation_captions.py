"""Caption scores and the heat map against cases computed by hand."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from evaluation.captions.generation import Caption, day_or_night, facts, names
from evaluation.localization.single_scale import heat_map


@pytest.mark.parametrize(
    ("text", "term", "named"),
    [
        ("An aerial view of an airport.", "airport", True),
        ("Two airports", "airport", True),
        ("a seaport", "port", False),
        ("a dense residential area", "dense residential", True),
        ("carpark", "car", False),
    ],
)
def test_terms_are_whole_words(text: str, term: str, named: bool) -> None:
    assert names(text, term) == named


def test_a_text_that_says_both_times_says_neither() -> None:
    assert day_or_night("in this night image") == "night"
    assert day_or_night("day and night") is None
    assert day_or_night("holiday, nightly") is None


def test_a_fact_that_is_not_stated_is_wrong() -> None:
    rows = Dataset.from_list(
        [
            {"class_name": "lake", "infrared_captions": ["a night infrared image"]},
            {"class_name": "lake", "infrared_captions": ["a day infrared image"]},
            {"class_name": None, "infrared_captions": []},
        ]
    )
    said = [
        Caption(id=str(index), shown="pair", instruction="", text=text)
        for index, text in enumerate(["a lake by night", "the water", "a lake by night"])
    ]
    assert facts(rows, said) == {"class_named": [True, False, None], "time_right": [True, False, None]}


class Brightness:
    """A model whose image embedding turns from (1, 0) to (0, 1) as the crop gets brighter."""

    def __call__(self, pixels: torch.Tensor | None = None, text: torch.Tensor | None = None) -> "Brightness":
        if pixels is not None:
            mean = pixels.float().mean(dim=(1, 2, 3)) / 255
            self.image_embeds = torch.stack([1 - mean, mean], dim=1)
        if text is not None:
            self.text_embeds = text
        return self


def test_the_heat_map_points_at_the_window_that_matches() -> None:
    scene = np.zeros((60, 80, 3), dtype=np.uint8)
    scene[20:40, 40:60] = 255

    def processor(images=None, text=None):  # type: ignore[no-untyped-def]
        if images is not None:
            return {"pixels": torch.stack([torch.from_numpy(image) for image in images])}
        return {"text": torch.tensor([[0.0, 1.0], [1.0, 0.0]])}

    bright, dark = heat_map(Brightness(), processor, scene, ["bright", "dark"], window=20, stride=10)  # type: ignore[arg-type]
    assert bright.shape == (60, 80)
    assert bright[20:40, 40:60].min() > bright[:, :30].max()
    assert (bright.min(), bright.max()) == (0.0, 1.0)
    np.testing.assert_allclose(dark, 1 - bright, atol=1e-6)


def test_a_scene_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="The scene is 10 pixels wide, less than one window of 20"):
        heat_map(Brightness(), lambda **_: {}, np.zeros((10, 40, 3)), ["x"], 20, 10)  # type: ignore[arg-type]
