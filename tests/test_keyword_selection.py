"""Which captions speak of remote sensing, and which keyword of RS5M says so."""

import pytest

from dataset_scripts.stages.keyword_selection import (
    IMAGE_KEYWORDS,
    KEYWORDS,
    REASONS,
    SENSOR_KEYWORDS,
    KeywordHit,
    find_keyword,
    select_by_keyword,
)
from dataset_scripts.stages.rejects import Reject, count_reasons


def test_there_are_the_42_published_keywords_in_two_groups() -> None:
    assert (len(IMAGE_KEYWORDS), len(SENSOR_KEYWORDS), len(set(KEYWORDS))) == (27, 15, 42)


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_is_found_as_published_in_any_case_and_place(keyword: str) -> None:
    for text in (keyword, keyword.upper(), keyword.lower(), f"a {keyword}, 2014", f"({keyword})", f"x_{keyword}_y"):
        assert find_keyword(text) == keyword, text


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_no_keyword_is_found_inside_a_longer_word(keyword: str) -> None:
    assert find_keyword(f"x{keyword}") is None
    assert find_keyword(f"7{keyword}") is None


@pytest.mark.parametrize(
    ("caption", "keyword"),
    [
        ("Aerial images of the port", "aerial imag"),
        ("AERIAL IMAGERY", "aerial imag"),
        ("aerial imaging of crops", "aerial imag"),
        ("Aerial photographs from 1945", "aerial photo"),
        ("an aerial-photography company", "aerial photo"),
        ("aerial mapping by drone", "aerial map"),
        ("aerial pics and aerial pictures", "aerial pic"),
        ("aerial\nviews", "aerial view"),
        ("city_aerial_view.jpg", "aerial view"),
        ("aerial scanner", "aerial scan"),
        ("aerial satellite image of Rome", "aerial satellite"),
        ("Satellite   pictures", "satellite pic"),
        ("satellite database", "satellite data"),
        ("spaceborne imaging radar", "spaceborne imag"),
        ("space-borne imaging radar", "space-borne imag"),
        ("space borne imaging radar", "space-borne imag"),
        ("space views of the Earth", "space view"),
        ("Earth Observation and Earth observing", "earth observ"),
        ("remote-sensing", "remote sensing"),
        ("Sentinel 1", "Sentinel-1"),
        ("sentinel2", "Sentinel-2"),
        ("Sentinel-2B true colour", "Sentinel-2"),
        ("a Landsat-8 scene", "Landsat"),
        ("Landsat8", "Landsat"),
        ("worldview3 pan", "WorldView"),
        ("GAOFEN-2", "Gaofen"),
        ("Planet Doves", "Planet Dove"),
        ("Geographic Information Systems", "Geographic Information System"),
        ("photo: USGS / Landsat", "USGS"),
    ],
)
def test_an_inflection_names_its_keyword(caption: str, keyword: str) -> None:
    assert find_keyword(caption) == keyword


@pytest.mark.parametrize(
    "caption",
    [
        "a photo of a cat",
        "aerial pickup antenna",
        "an aerial picnic",
        "aerial maple seeds",
        "satellite imagination",
        "aerial imagining",
        "aerial scandal",
        "space photon counter",
        "satellite photovoltaic panel",
        "satellite dish on a roof",
        "aerospace photo",
        "crawlspace view",
        "Sentinel-10",
        "Sentinel 1st edition",
        "the Sentinel newspaper",
        "a modish dress",
        "snaipe",
        "Google Earthling",
        "Maxarine",
        "remote sensings" + "x",
        "planet dovetail",
        "geographic information",
        "aerial, view",
    ],
)
def test_other_words_are_not_selected(caption: str) -> None:
    assert find_keyword(caption) is None


def test_a_batch_is_split_into_hits_and_named_rejects_and_no_row_is_lost() -> None:
    captions = ["aerial view of a farm", "", None, "  \n", "a dog", "Seen by MODIS"]
    kept, rejects = select_by_keyword(captions)
    assert kept == [KeywordHit(0, "aerial view"), KeywordHit(5, "MODIS")]
    assert rejects == [
        Reject(1, "empty_caption"),
        Reject(2, "empty_caption"),
        Reject(3, "empty_caption"),
        Reject(4, "no_keyword", "a dog"),
    ]
    assert count_reasons(rejects) == {"empty_caption": 3, "no_keyword": 1}
    assert set(count_reasons(rejects)) <= set(REASONS)
    assert select_by_keyword([]) == ([], [])


def test_the_first_keyword_of_a_caption_is_the_one_reported() -> None:
    assert find_keyword("Landsat, an aerial view") == "Landsat"
    assert find_keyword("an aerial view by Landsat") == "aerial view"
