"""Which infrared captions are kept, and by what name the others are refused."""

import pickle

import pytest

from dataset_scripts.stages.infrared_caption_filters import (
    REASONS,
    InfraredFilterSettings,
    KeptInfraredCaption,
    filter_infrared_captions,
    find_colour,
    find_physical_claim,
    find_uncertainty,
    first_reason,
)
from dataset_scripts.stages.rejects import Reject, count_reasons
from dataset_scripts.stages.remote_sensing_words import CONCEPTS, IMPLIES, named_concepts, singular, with_implied

AIRPORT = "An airport with two runways and several airplanes."
HARBOR = "Many boats are moored at the harbor."
FARM = "Some rectangular farmland is beside a road."
HOMES = "A residential area with many houses and trees."

# caption, scene caption, the reason expected
TABLE: list[tuple[object, str, str | None]] = [
    # Kept.
    ("An airport with two runways; the runways are dark and contrast is strong.", AIRPORT, None),
    ("In the infrared image the airport shows bright aircraft on dark aprons.", AIRPORT, None),
    ("Two dark airstrips cross the airfield, with bright planes in the upper left.", AIRPORT, None),
    ("A thermal image of an airport whose runways have smooth texture.", AIRPORT, None),
    ("Boats in the harbour appear bright against uniformly dark water.", HARBOR, None),
    ("The marina holds many boats with crisp outlines on low-texture water.", HARBOR, None),
    ("Rectangular fields of farmland show varied grey tones beside a bright road.", FARM, None),
    ("Rectangular cropland beside a road, with black and white stripes of high contrast.", FARM, None),
    (
        "Greenhouses on farmland beside a road stand out with bright outlines.",
        "Greenhouses on farmland by a road.",
        None,
    ),
    ("Houses near Red Square have bright roofs and dark outlines.", "Houses near Red Square.", None),
    ("The Yellow River runs dark between brighter banks.", "The Yellow River.", None),
    ("A river in Orange County is dark, its outline clear.", "A river in Orange County.", None),
    ("An orange grove with dark rows of trees and low contrast.", "An orange grove.", None),
    ("A golf green shows up as a smooth bright patch.", "A golf green.", None),
    ("An aerial view taken in May 2014 of farmland with bright plots.", FARM, None),
    ("Farmland on 3 May shows bright and dark plots.", FARM, None),
    ("The warm-up area of the airport is dark and the runways bright.", AIRPORT, None),
    ("Cooling towers of the power plant are bright with sharp outlines.", "A power plant with cooling towers.", None),
    ("Streets radiate from the roundabout as dark lines of low contrast.", "Streets meet at a roundabout.", None),
    ("Hotels and houses have bright roofs in the residential area.", HOMES, None),
    ("Houses and trees in Colorado form a residential area of mixed grey tones.", HOMES, None),
    ("A residential area of houses without ships, in bright and dark tones.", HOMES, None),
    ("Bright squares lie on a dark field of view above the houses of a residential area.", HOMES, None),
    ("The heath is evenly grey, and its edges are few.", "A heath.", None),
    # What is no caption.
    (None, AIRPORT, "not_text"),
    (17, AIRPORT, "not_text"),
    ("Bright runways\x00 of an airport with dark aprons.", AIRPORT, "not_text"),
    ("Bright runways \ufffd of an airport with dark aprons.", AIRPORT, "not_text"),
    ("", AIRPORT, "empty"),
    (" \n ", AIRPORT, "empty"),
    ("I'm sorry, I cannot describe the bright runways of the airport.", AIRPORT, "refusal"),
    ("As an AI, I see an airport with bright runways.", AIRPORT, "refusal"),
    # Physics.
    ("The runways of the airport are hotter and therefore bright.", AIRPORT, "physical_claim"),
    ("Bright runways of the airport give off heat.", AIRPORT, "physical_claim"),
    ("Heated roofs look bright in the residential area with houses.", HOMES, "physical_claim"),
    ("The airport has strong thermal signatures on its bright runways.", AIRPORT, "physical_claim"),
    ("Bright runways of high emissivity cross the airport.", AIRPORT, "physical_claim"),
    ("Highly reflective dark runways cross the airport.", AIRPORT, "physical_claim"),
    ("Metallic aircraft are bright on the airport.", AIRPORT, "physical_claim"),
    ("The materials of the runways at the airport look dark.", AIRPORT, "physical_claim"),
    ("Cold water looks dark under the boats of the harbor.", HARBOR, "physical_claim"),
    ("Warmer boats are bright in the harbor.", HARBOR, "physical_claim"),
    ("A bright hotspot lies on the apron of the airport.", AIRPORT, "physical_claim"),
    ("Bright boats at 20 °C in the harbor.", HARBOR, "physical_claim"),
    ("TEMPERATURE is high on the bright runways of the airport.", AIRPORT, "physical_claim"),
    ("Differences of surface property make the airport runways dark.", AIRPORT, "physical_claim"),
    # Colours.
    ("Houses with red roofs and dark outlines in a residential area.", HOMES, "colour_word"),
    ("Red roofs of houses stand out bright in the residential area.", HOMES, "colour_word"),
    ("A View Of Red Roofs And Dark Trees In A Residential Area", HOMES, "colour_word"),
    ("Green spaces between the houses of the residential area are dark.", HOMES, "colour_word"),
    ("Bluish dark roofs cover the residential area of houses.", HOMES, "colour_word"),
    ("The red-roofed houses of the residential area are bright.", HOMES, "colour_word"),
    ("Golden fields of farmland beside a bright road.", FARM, "colour_word"),
    ("Orange trees around the houses of the residential area are dark.", HOMES, "colour_word"),
    ("Turquoise water with bright boats in the harbor.", HARBOR, "colour_word"),
    # Doubt.
    ("The bright runways may belong to an airport.", AIRPORT, "uncertainty"),
    ("May be an airport with bright runways.", AIRPORT, "uncertainty"),
    ("In May the bright runways may belong to an airport.", AIRPORT, "uncertainty"),
    ("What appears to be an airport has bright runways.", AIRPORT, "uncertainty"),
    ("An airport, most likely, with bright runways and dark aprons.", AIRPORT, "uncertainty"),
    ("Bright lines suggest the runways of an airport.", AIRPORT, "uncertainty"),
    ("The airport seems dark with bright runways.", AIRPORT, "uncertainty"),
    # Length and cue.
    ("Bright airport runways.", AIRPORT, "too_short"),
    ("An airport with bright runways " + "and some more bright runways there " * 20, AIRPORT, "too_long"),
    ("An airport with two runways and several airplanes.", AIRPORT, "no_infrared_cue"),
    ("White airplanes stand at the edge of the airport near Brighton.", AIRPORT, "no_infrared_cue"),
    # Consistency.
    ("An airport with bright runways and a dark ship.", AIRPORT, "inconsistent_with_scene_caption"),
    ("A dark forest with bright clearings and strong contrast.", AIRPORT, "inconsistent_with_scene_caption"),
    ("The frame is bright with strong contrast and many edges.", AIRPORT, "inconsistent_with_scene_caption"),
    ("Cows graze on bright farmland beside a dark road.", FARM, "inconsistent_with_scene_caption"),
    ("Some bright farmland with rectangular plots and a dark bridge.", FARM, "inconsistent_with_scene_caption"),
    (
        "The frame is bright with strong contrast and many edges.",
        "Reykjavik by night",
        "inconsistent_with_scene_caption",
    ),
    # Form.
    ("an airport with bright runways and dark aprons.", AIRPORT, "not_a_sentence"),
    ("An airport with bright runways and dark aprons", AIRPORT, "not_a_sentence"),
    ("Is it an airport with bright runways?", AIRPORT, "not_a_sentence"),
    ('{"infrared_caption": "An airport with bright runways."}', AIRPORT, "not_a_sentence"),
    ("- An airport with bright runways and dark aprons.", AIRPORT, "not_a_sentence"),
    ("An airport with bright runways.\nIt has dark aprons.", AIRPORT, "not_a_sentence"),
    # Loops.
    ("An airport with bright bright bright runways and dark aprons.", AIRPORT, "repeated_text"),
    ("The airport has bright runways. The airport has bright runways.", AIRPORT, "repeated_text"),
    ("The airport is dark and the airport is dark, and the airport is dark.", AIRPORT, "repeated_text"),
    ("An airport with brighttttttt bright runways.", AIRPORT, "repeated_text"),
    # The other image.
    ("As in the RGB image, the airport has bright runways.", AIRPORT, "speaks_of_rgb"),
    ("A colourful airport with bright runways and dark aprons.", AIRPORT, "speaks_of_rgb"),
    ("Multicolored boats lie in the harbor on dark water.", HARBOR, "speaks_of_rgb"),
    ("In visible light the airport has bright runways.", AIRPORT, "speaks_of_rgb"),
]


@pytest.mark.parametrize(("caption", "scene_caption", "reason"), TABLE)
def test_a_caption_is_kept_or_refused_by_the_first_reason(
    caption: object, scene_caption: str, reason: str | None
) -> None:
    assert first_reason(caption, scene_caption) == reason


def test_the_table_holds_every_reason_and_sixty_captions() -> None:
    assert len(TABLE) >= 60
    assert {reason for _, _, reason in TABLE} == {None, *REASONS}


def test_a_batch_is_split_and_no_row_is_lost() -> None:
    captions = [row[0] for row in TABLE]
    kept, rejects = filter_infrared_captions(captions, [row[1] for row in TABLE])
    assert kept == [KeptInfraredCaption(at, str(row[0])) for at, row in enumerate(TABLE) if row[2] is None]
    assert [(reject.row, reject.reason) for reject in rejects] == [
        (at, row[2]) for at, row in enumerate(TABLE) if row[2] is not None
    ]
    assert rejects[0] == Reject(24, "not_text", "None")
    assert count_reasons(rejects)["not_text"] == 4
    with pytest.raises(ValueError, match="zip"):
        filter_infrared_captions(captions, [])


# fmt: off
PHYSICAL_WORDS = [
    "temperature", "heat", "heated", "heating", "heat signature", "hot",
    "hotter", "cold", "colder", "warm", "warmer", "thermal signature",
    "thermal signatures", "emissive", "emissivity", "radiance", "reflective", "reflectivity",
    "material", "materials", "metallic", "conductive", "conductivity", "surface property",
]
# fmt: on


@pytest.mark.parametrize("word", PHYSICAL_WORDS)
def test_every_published_physical_word_is_refused_in_any_case_and_only_as_a_word(word: str) -> None:
    for text in (f"a {word} thing", word.upper(), f"({word.title()})"):
        assert find_physical_claim(text) == "physical_claim", text
    assert find_physical_claim(f"x{word}x") is None


@pytest.mark.parametrize(
    "word",
    [
        "red",
        "green",
        "blue",
        "yellow",
        "orange",
        "purple",
        "pink",
        "brown",
        "golden",
        "gold",
        "turquoise",
        "cyan",
        "magenta",
        "violet",
        "beige",
    ],
)
def test_every_colour_is_refused_and_only_as_a_word(word: str) -> None:
    for text in (f"a {word} roof", f"A {word.upper()} ROOF", f"{word.title()} roofs", f"it is {word}."):
        assert find_colour(text) == "colour_word", text
    assert find_colour(f"x{word}x and black, white, gray, grey") is None


@pytest.mark.parametrize("text", ["hotel", "heather and heath", "photo", "thermal", "shotgun", "warm up", "immaterial"])
def test_words_that_hold_or_resemble_a_physical_word_are_allowed(text: str) -> None:
    assert find_physical_claim(text) is None


def test_the_month_is_no_doubt() -> None:
    for text in ("in May", "in may 2019", "late May", "12 May", "May 12", "of May, 2014", "seen on a May day"):
        assert find_uncertainty(text) is None, text
    for text in ("it may be", "May it be", "roofs may 'glow'", "they possibly are", "Maybe so"):
        assert find_uncertainty(text) == "uncertainty", text


def test_a_similarity_of_the_caller_is_asked_last_of_the_consistency_checks() -> None:
    asked = []

    def similarity(caption: str, scene_caption: str) -> float:
        asked.append((caption, scene_caption))
        return 0.4

    caption = "An airport with two bright runways."
    for threshold, reason in ((0.5, "inconsistent_with_scene_caption"), (0.4, None)):
        settings = InfraredFilterSettings(similarity=similarity, min_similarity=threshold)
        assert first_reason(caption, AIRPORT, settings) == reason
    assert asked == [(caption, AIRPORT)] * 2


def test_the_share_of_kept_concepts_is_a_setting() -> None:
    scene = "A river, a bridge, a forest and a factory."
    caption = "A dark river flows under a bright bridge."  # two of four
    assert first_reason(caption, scene, InfraredFilterSettings(min_kept_share=0.5)) is None
    assert (
        first_reason(caption, scene, InfraredFilterSettings(min_kept_share=0.51)) == "inconsistent_with_scene_caption"
    )


def test_settings_that_keep_nothing_are_refused_and_the_others_travel_between_processes() -> None:
    with pytest.raises(ValueError, match="min_words is 9, max_words is 8; wanted 1 <= min <= max"):
        InfraredFilterSettings(min_words=9, max_words=8)
    with pytest.raises(ValueError, match="min_kept_share is 2; wanted a share between 0 and 1"):
        InfraredFilterSettings(min_kept_share=2)
    settings = InfraredFilterSettings(max_words=50)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_concepts_are_found_by_synonym_plural_and_longest_phrase_unless_denied() -> None:
    assert named_concepts("Aeroplanes, harbours and two lorries") == {"airplane", "harbor", "truck"}
    assert named_concepts("a swimming pool beside storage tanks") == {"swimming pool", "storage tank"}
    assert named_concepts("no ships, and without any bridge over the water") == {"water"}
    assert named_concepts("a bright field", as_claims=True) == frozenset()
    assert with_implied(frozenset({"airport"})) >= {"runway", "building", "roof", "airplane"}
    assert "ship" not in with_implied(frozenset({"airport"}))


def test_the_vocabulary_is_sound() -> None:
    words = [word for group in CONCEPTS.values() for word in group]
    assert sorted({word for word in words if words.count(word) > 1}) == []
    named = set(IMPLIES) | {word for group in IMPLIES.values() for word in group}
    assert named <= set(CONCEPTS)
    plurals = {"buses": "bus", "beaches": "beach", "cities": "city", "grass": "grass", "boats": "boat", "gas": "gas"}
    assert {word: singular(word) for word in plurals} == plurals


def test_odd_text_never_breaks_the_chain() -> None:
    for text in ("𝔅right runways of an airport.", "亮 " * 9, "é" * 99, "\ud800 bright", "(" * 50, "May", "-", "’s ’s"):
        assert first_reason(text, text) in {*REASONS, None}
