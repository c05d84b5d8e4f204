"""Facts of infrared images whose answer is known, and captions that say them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_scripts.scenes.scene_simulator import simulate_scene
from dataset_scripts.stages.infrared_caption_filters import first_reason
from dataset_scripts.stages.infrared_caption_rules import (
    InfraredCaption,
    infrared_clause,
    scene_statement,
    write_infrared_caption,
    write_infrared_captions,
)
from dataset_scripts.stages.infrared_regions import PLACES, InfraredFacts, Structures, describe_infrared
from dataset_scripts.stages.rejects import Reject

Array = np.ndarray[Any, Any]
NAMES = [f"row:{at}" for at in range(40)]
PLACE_NAMES = [place for row in PLACES for place in row]
MIRRORED = {place: row[2 - at] for row in PLACES for at, place in enumerate(row)}


def ground(height: int = 210, width: int = 210, level: int = 100) -> Array:
    return np.full((height, width), level, dtype=np.uint8)


def with_square(row: int, column: int, level: int = 220, side: int = 30) -> Array:
    """A square in the middle of a ninth."""
    image = ground()
    top, left = 70 * row + 35 - side // 2, 70 * column + 35 - side // 2
    image[top : top + side, left : left + side] = level
    return image


def smooth_noise(seed: int, size: int = 200) -> Array:
    """Blobs in 16 bits."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.normal(30000, 900, (9, 9)).astype(np.float32))
    return (np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) + rng.normal(0, 60, (size, size))).astype(
        np.uint16
    )


IMAGES = [
    *(smooth_noise(seed) for seed in range(6)),
    *(np.asarray(simulate_scene(0, index, size=96).infrared) for index in range(6)),
]


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("tone", ["bright", "dark"])
def test_one_square_is_one_structure_where_it_is(at: int, tone: str) -> None:
    image = with_square(*divmod(at, 3), level=220 if tone == "bright" else 10)
    facts = describe_infrared(image)
    place = PLACE_NAMES[at]
    found, other = (facts.bright, facts.dark) if tone == "bright" else (facts.dark, facts.bright)
    assert (found.count, found.places, found.main_place, found.direction) == (1, (place,), place, None)
    assert found.share == pytest.approx(900 / 44100, abs=0.004)
    assert other == Structures()
    for name in NAMES:
        assert f"one {tone} structure {place}" in infrared_clause(facts, name)


def test_a_flat_image_has_low_contrast_and_no_structures() -> None:
    for image in (ground(), ground().astype(np.uint16) * 250, np.full((64, 64), 0.5)):
        facts = describe_infrared(image)
        assert (facts.is_uniform, facts.is_grainy, facts.contrast) == (True, False, "low")
        assert facts.bright == facts.dark == Structures()
        clauses = {infrared_clause(facts, name) for name in NAMES}
        assert len(clauses) == 2
        assert all("contrast is low" in clause or "low contrast" in clause for clause in clauses)
        assert not any("one bright" in clause or "one dark" in clause for clause in clauses)


def test_grain_is_no_structure() -> None:
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, (224, 224), dtype=np.uint8),
        rng.normal(30000, 40, (300, 257)).astype(np.uint16),
        np.indices((126, 126)).sum(0).astype(np.uint16) % 2,
    ):
        facts = describe_infrared(image)
        assert (facts.is_uniform, facts.is_grainy, facts.bright.count, facts.dark.count) == (True, True, 0, 0)
    faint = (100 + rng.integers(0, 3, (224, 224))).astype(np.uint8)  # three of 256 levels
    assert describe_infrared(faint).is_grainy is False


def test_structures_are_counted_one_by_one() -> None:
    for count in range(1, 10):
        image = ground(210, 420)
        for at in range(count):
            image[90:110, 12 + 42 * at : 32 + 42 * at] = 250
        facts = describe_infrared(image)
        assert (facts.bright.count, facts.dark.count) == (count, 0)
    image[90:110] = 250  # joined
    assert describe_infrared(image).bright.count == 1


@pytest.mark.parametrize(
    ("direction", "rows_per_column"),
    [
        ("from left to right", 0.0),
        ("from the upper left to the lower right", 1.0),
        ("from the lower left to the upper right", -1.0),
        ("from top to bottom", 9.0),
    ],
)
def test_a_strip_runs_as_it_was_drawn(direction: str, rows_per_column: float) -> None:
    rows, columns = np.mgrid[-105:105, -105:105]
    distance = np.abs(rows - rows_per_column * columns) / np.hypot(1, rows_per_column)
    facts = describe_infrared(np.where(distance < 6, 200, 60).astype(np.uint8))
    assert (facts.bright.count, facts.bright.direction, facts.bright.places) == (1, direction, ())
    assert f"one long bright structure running {direction}" in infrared_clause(facts, "a")


def test_tone_contrast_and_sides_are_those_of_the_image() -> None:
    half = ground(level=20)
    half[:, 105:] = 230
    facts = describe_infrared(half)
    assert (facts.tone, facts.contrast, facts.brighter_side) == ("mixed", "strong", "right")
    assert describe_infrared(half.T.copy()).brighter_side == "bottom"
    square = describe_infrared(with_square(0, 0))
    assert (square.tone, square.contrast) == ("dark", "moderate")
    assert describe_infrared(255 - with_square(0, 0)).tone == "bright"
    narrow = np.clip(with_square(0, 0), 100, 112)
    assert describe_infrared(narrow).contrast == "low"
    assert describe_infrared(narrow).bright.places == ("in the upper left",)


def test_edges_gather_where_the_pattern_is() -> None:
    image = np.tile(np.linspace(60, 180, 210), (210, 1)).astype(np.uint8)
    image[140:, :70] = 60 + 120 * (np.indices((70, 70)).sum(0) // 10 % 2)
    facts = describe_infrared(image)
    assert facts.busiest_place == "in the lower left"
    assert any("edges are densest in the lower left" in infrared_clause(facts, name) for name in NAMES)


@pytest.mark.parametrize("index", range(len(IMAGES)))
def test_a_gain_or_an_offset_changes_no_fact(index: int) -> None:
    image = IMAGES[index].astype(np.int64)
    facts = describe_infrared(image.astype(np.uint16))
    low = int(image.min())
    for gain, offset in ((1, -low), (3, 7 - 3 * low), (7, 100 - 7 * low)):
        assert describe_infrared((gain * image + offset).astype(np.int32)) == facts
    assert describe_infrared(image / 1000 - 3) == facts


@pytest.mark.parametrize("index", range(len(IMAGES)))
def test_an_inverted_image_swaps_bright_and_dark(index: int) -> None:
    facts = describe_infrared(IMAGES[index])
    inverted = describe_infrared(65535 - IMAGES[index])
    opposite = {None: None, "left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    swapped = {"dark": "bright", "bright": "dark"}
    assert (inverted.bright, inverted.dark) == (facts.dark, facts.bright)
    assert inverted.tone == swapped.get(facts.tone, facts.tone)
    assert inverted.brighter_side == opposite[facts.brighter_side]
    assert (inverted.contrast, inverted.edges) == (facts.contrast, facts.edges)
    assert (inverted.smoothest_place, inverted.busiest_place) == (facts.smoothest_place, facts.busiest_place)


@pytest.mark.parametrize("index", range(len(IMAGES)))
@pytest.mark.parametrize("width", [0, 7])
def test_a_flip_swaps_left_and_right(index: int, width: int) -> None:
    image = IMAGES[index][:, width:]
    facts, flipped = describe_infrared(image), describe_infrared(image[:, ::-1])

    def mirrored(place: str | None) -> str | None:
        return None if place is None else MIRRORED[place]

    side = {"left": "right", "right": "left"}
    direction = {
        "from the upper left to the lower right": "from the lower left to the upper right",
        "from the lower left to the upper right": "from the upper left to the lower right",
    }
    for one, other in ((facts.bright, flipped.bright), (facts.dark, flipped.dark)):
        assert (other.count, other.share, other.largest_share) == (one.count, one.share, one.largest_share)
        assert sorted(other.places) == sorted(MIRRORED[place] for place in one.places)
        assert (other.main_place, other.largest_place) == (mirrored(one.main_place), mirrored(one.largest_place))
        assert other.direction == direction.get(one.direction or "", one.direction)
    assert (flipped.tone, flipped.contrast, flipped.edges) == (facts.tone, facts.contrast, facts.edges)
    assert flipped.brighter_side == side.get(facts.brighter_side or "", facts.brighter_side)
    assert (flipped.smoothest_place, flipped.busiest_place) == (
        mirrored(facts.smoothest_place),
        mirrored(facts.busiest_place),
    )


def test_an_inverted_square_changes_its_text_by_those_words_only() -> None:
    image = with_square(0, 0)
    for name in NAMES:
        text = infrared_clause(describe_infrared(image), name)
        inverted = infrared_clause(describe_infrared(255 - image), name)
        swapped = text.replace("bright", "*").replace("dark", "bright").replace("*", "dark")
        assert inverted == swapped != text


def test_every_kind_of_image_file_says_the_same() -> None:
    image = IMAGES[0]
    facts = describe_infrared(image)
    for same in (Image.fromarray(image), image[..., None], np.stack([image] * 3, -1), image.astype(np.float32)):
        assert describe_infrared(same) == facts
    grey = Image.fromarray(with_square(0, 2))
    assert describe_infrared(grey.convert("RGB")) == describe_infrared(grey)
    assert describe_infrared(grey.convert("1").convert("L")) == describe_infrared(grey.convert("1"))


def test_what_is_no_infrared_image_is_refused_by_name() -> None:
    nan = np.zeros((64, 64))
    nan[0, 0] = np.nan
    for image, message in (
        (np.zeros((64, 64, 4), np.uint8), r"is \(64, 64, 4\) of uint8; wanted \(height, width\)"),
        (np.arange(64 * 64 * 3).reshape(64, 64, 3), "three channels that differ"),
        (Image.new("RGBA", (64, 64)), "has mode 'RGBA'"),
        (np.zeros((20, 64)), r"is \(20, 64\); each side must have 21 pixels"),
        (nan, "holds NaN or infinity"),
        (np.zeros((64, 64), complex), "of complex128"),
    ):
        with pytest.raises(ValueError, match=message):
            describe_infrared(image)


@pytest.mark.parametrize("size", [(21, 21), (22, 300), (63, 64), (1024, 23)])
def test_any_shape_is_measured(size: tuple[int, int]) -> None:
    image = np.zeros(size, np.uint8)
    image[: size[0] // 3, : size[1] // 3] = 200
    assert describe_infrared(image).bright.places == ("in the upper left",)


@pytest.mark.parametrize(
    ("scene_caption", "statement"),
    [
        ("an airport with two runways .", "An airport with two runways"),
        ("Many green trees and some white buildings.", "Many trees and some buildings"),
        # Two adjectives of one noun with an article each cannot be parted by rule: their clause goes.
        ("An orange roof and a red and a blue car", "A roof, a car"),
        ("A red, green and blue boat lies at an old pier.", "A boat lies at an old pier"),
        ("a dark green airfield", "An airfield"),
        (
            "Red Square and the Yellow River are near houses here.",
            "Red Square and the Yellow River are near houses here",
        ),
        ("A golf green near an orange grove", "A golf green near an orange grove"),
        ("A house. Its roof is red. It has a pool.", "A house. It has a pool"),
        ("A harbor with boats, which are white", "A harbor, with boats"),
        ("An RGB aerial image of a farm", "An aerial image of a farm"),
        ("The roof is red.", None),
        ("A hot spring", None),
        ("It may be a farm.", None),
        (" ?! ", None),
        ("word " * 50, None),
    ],
)
def test_the_scene_caption_keeps_what_is_no_colour(scene_caption: str, statement: str | None) -> None:
    assert scene_statement(scene_caption) == statement


def test_captions_of_scenes_pass_the_filters_are_short_and_vary_with_the_id() -> None:
    texts = set()
    for index in range(20):
        scene = simulate_scene(1, index, size=64)
        facts = describe_infrared(scene.infrared)
        rows = [(caption, f"{index}:{name}") for caption in scene.captions for name in range(5)]
        kept, rejects = write_infrared_captions([scene.infrared] * len(rows), *map(list, zip(*rows, strict=True)))
        assert rejects == []
        for row, (scene_caption, name) in zip(kept, rows, strict=True):
            assert row.caption == write_infrared_caption(facts, scene_caption, name)
            assert first_reason(row.caption, scene_caption) is None
            clause = infrared_clause(facts, name)
            assert clause in row.caption
            assert len(clause.split()) <= 40
            texts.add(row.caption)
    assert len(texts) > 200


def every_fact() -> list[InfraredFacts]:
    """Facts of all kinds, from a seeded draw."""
    rng = np.random.default_rng(3)

    def draw(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    def structures() -> Structures:
        count = int(rng.integers(0, 14))
        places = tuple(sorted(draw(*PLACE_NAMES) for _ in range(count)))
        return Structures(
            count=count,
            places=draw((), places) if count <= 2 else (),
            main_place=draw(None, *PLACE_NAMES),
            largest_place=draw(None, *PLACE_NAMES),
            largest_share=draw(0.002, 0.05, 0.3),
            direction=draw(None, None, "from the upper left to the lower right"),
        )

    return [
        InfraredFacts(
            is_uniform=draw(*(at == 0 for at in range(5))),
            is_grainy=draw(*(at == 0 for at in range(2))),
            contrast=draw("low", "moderate", "strong"),
            tone=draw("dark", "grey", "bright", "mixed"),
            bright=structures(),
            dark=structures(),
            brighter_side=draw(None, "left", "right", "top", "bottom"),
            edges=draw("few", "some", "many"),
            smoothest_place=draw(None, *PLACE_NAMES),
            busiest_place=draw(None, *PLACE_NAMES),
        )
        for _ in range(400)
    ]


def test_every_fact_can_be_said_within_the_filters_and_forty_words() -> None:
    scene_caption = "Many green trees and several buildings are around a viaduct."
    for at, facts in enumerate(every_fact()):
        caption = write_infrared_caption(facts, scene_caption, f"id {at}")
        assert caption is not None
        assert first_reason(caption, scene_caption) is None, caption
        assert len(infrared_clause(facts, f"id {at}").split()) <= 40
        assert ",;" not in caption
        assert ",." not in caption


def test_a_long_scene_caption_comes_after_the_infrared_clause() -> None:
    scene_caption = "A town with houses, roads and trees, " * 4
    caption = write_infrared_caption(describe_infrared(with_square(0, 0)), scene_caption, "a")
    assert caption is not None
    assert caption.index("structure") < caption.index("A town")


def test_a_batch_is_split_and_no_row_is_lost() -> None:
    square = with_square(0, 0)
    kept, rejects = write_infrared_captions(
        [square, square, np.zeros((4, 4)), square], ["An airport.", " ", "A farm.", "The roof is red."], list("abcd")
    )
    assert kept == [InfraredCaption(0, str(write_infrared_caption(describe_infrared(square), "An airport.", "a")))]
    assert rejects == [
        Reject(1, "empty_scene_caption"),
        Reject(2, "unreadable_infrared", "an infrared image is (4, 4); each side must have 21 pixels."),
        Reject(3, "unusable_scene_caption", "nothing is left of it: The roof is red."),
    ]
