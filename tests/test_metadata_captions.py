"""Captions from metadata: right facts, wording, budget, and the checker that reads every caption back."""

import dataclasses
import json
import math
import random
import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from dataset_scripts.stages.country_names import COUNTRY_NAMES, with_article
from dataset_scripts.stages.fmow_categories import PHRASES
from dataset_scripts.stages.image_grid import BLOCKS, GridSettings, are_neighbours, locate_box
from dataset_scripts.stages.metadata_captions import (
    FACT_NAMES,
    IMPORTANCE,
    REASONS,
    ImageFacts,
    MetadataCaptionSettings,
    check_metadata_caption,
    facts_from_mapping,
    facts_to_mapping,
    parse_metadata_caption,
    write_metadata_captions,
)
from dataset_scripts.stages.metadata_templates import ENTRIES, HEAD, LIST_INTROS, MOST_SENTENCES, NOUNS, SENTENCES
from dataset_scripts.stages.rejects import RefusedError, Reject
from dataset_scripts.stages.seasons import season_of
from dataset_scripts.stages.upstream_facts import bigearthnet_facts, fmow_facts, yfcc_facts
from dataset_scripts.stages.utm_zones import (
    epsg_of_projection,
    utm_to_degrees,
    zone_of_band,
    zone_of_epsg,
)

SYDNEY = ImageFacts(
    class_name="airport",
    latitude=-33.9461,
    longitude=151.1772,
    timestamp=datetime(2016, 1, 14, 23, 59, tzinfo=UTC),
    ground_sample_distance_metres=0.4967,
    utm_zone="56S",
    cloud_cover_percent=3,
    off_nadir_degrees=12.34,
    target_azimuth_degrees=314.3,
    scan_direction="forward",
    country="Australia",
    city="Sydney",
    box=(100, 100, 50, 60),
    image_width=1000,
    image_height=1000,
)
FMOW = {
    "gsd": 0.4967,
    "timestamp": "2012-04-02T10:32:22Z",
    "cloud_cover": 2,
    "off_nadir_angle_dbl": 14.8,
    "target_azimuth_dbl": 31.2082061768,
    "scan_direction": "Reverse",
    "country_code": "CHE",
    "utm": "32T",
    "img_width": 900,
    "img_height": 600,
    "raw_location": "POLYGON ((8.0 47.0, 9.0 47.0, 9.0 48.0, 8.0 48.0, 8.0 47.0))",
    "bounding_boxes": [
        {"category": "false_detection", "box": [0, 0, 10, 10], "raw_location": "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"},
        {
            "category": "airport_terminal",
            "box": [400, 250, 100, 100],
            "raw_location": "POLYGON ((8.56 47.44, 8.60 47.44, 8.60 47.46, 8.56 47.46, 8.56 47.44))",
        },
        {"category": "runway", "box": [0, 0, 90, 90], "raw_location": "POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))"},
    ],
}
UTM_33N = (
    'PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],AUTHORITY["EPSG","4326"]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["central_meridian",15],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AUTHORITY["EPSG","32633"]]'
)
BIGEARTHNET = {
    "labels": ["Pastures", "Inland marshes"],
    "coordinates": {"ulx": 499400.0, "uly": 4650976.0, "lrx": 500600.0, "lry": 4649776.0},
    "projection": UTM_33N,
    "corresponding_s1_patch": "S1A_x",
    "acquisition_date": "2017-06-13 10:10:32",
    "tile_source": "S2A_x.SAFE",
}


def caption_of(facts: ImageFacts, row_id: str = "a", **settings: object) -> str:
    kept, rejects = write_metadata_captions([row_id], [facts], MetadataCaptionSettings(**settings))  # type: ignore[arg-type]
    assert rejects == []
    return kept[0].text


def random_facts(draw: random.Random, *, share: float = 0.7) -> ImageFacts:
    """Facts of which each is known with a probability."""

    def known(value: object) -> object:
        return value if draw.random() < share else None

    latitude, longitude = draw.uniform(-80, 84), draw.uniform(-180, 180)
    place = draw.random() < share
    width, height = draw.randint(30, 2000), draw.randint(30, 2000)
    x, y = draw.randint(0, width - 1), draw.randint(0, height - 1)
    moment = datetime(1999, 1, 1, tzinfo=timezone(timedelta(hours=draw.randint(-12, 12)))) + timedelta(
        minutes=draw.randint(0, 13_000_000)
    )
    names = [*PHRASES, "dense residential", "Sparse_Shrub", "Tidal flats", "AID park", "storage tanks"]
    labels = [
        "Pastures",
        "Sea and ocean",
        "Mixed forest",
        "Beaches, dunes, sands",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "Transitional woodland/shrub",
        "Bare rock",
        "Coastal lagoons",
    ]
    cities = ["Sydney", "St. John's", "6th of October City", "São Paulo", "Winter", "Stratford-upon-Avon", "In Salah"]
    zone = f"{int((longitude + 180) // 6) % 60 + 1}{'N' if latitude >= 0 else 'S'}"
    return ImageFacts(
        class_name=known(draw.choice(names)),  # type: ignore[arg-type]
        labels=tuple(draw.sample(labels, draw.randint(0, 4))) if draw.random() < share else (),
        latitude=latitude if place else None,
        longitude=longitude if place else None,
        timestamp=known(draw.choice([moment, moment.date()])),  # type: ignore[arg-type]
        ground_sample_distance_metres=known(10 ** draw.uniform(-2, 4)),  # type: ignore[arg-type]
        utm_zone=known(zone),  # type: ignore[arg-type]
        cloud_cover_percent=known(draw.choice([0, 100, draw.uniform(0, 100)])),  # type: ignore[arg-type]
        off_nadir_degrees=known(draw.uniform(0, 90)),  # type: ignore[arg-type]
        target_azimuth_degrees=known(draw.uniform(0, 360)),  # type: ignore[arg-type]
        scan_direction=known(draw.choice(["forward", "reverse"])),  # type: ignore[arg-type]
        country=known(draw.choice(list(COUNTRY_NAMES.values()))),  # type: ignore[arg-type]
        city=known(draw.choice(cities)),  # type: ignore[arg-type]
        box=known((x, y, draw.randint(1, width - x), draw.randint(1, height - y))),  # type: ignore[arg-type]
        image_width=width,
        image_height=height,
    )


# Season


@pytest.mark.parametrize(
    ("month", "north", "south"),
    [
        *((month, "winter", "summer") for month in (12, 1, 2)),
        *((month, "spring", "autumn") for month in (3, 4, 5)),
        *((month, "summer", "winter") for month in (6, 7, 8)),
        *((month, "autumn", "spring") for month in (9, 10, 11)),
    ],
)
def test_the_season_is_the_other_one_south_of_the_equator(month: int, north: str, south: str) -> None:
    assert (season_of(48, date(2016, month, 1)), season_of(-34, date(2016, month, 28))) == (north, south)


def test_no_season_is_claimed_between_the_tropics_or_without_a_latitude_or_a_day() -> None:
    day = date(2016, 1, 1)
    assert [season_of(latitude, day) for latitude in (0, 23.43, -23.43, None)] == [None] * 4
    assert (season_of(23.44, day), season_of(-23.44, day)) == ("winter", "summer")
    assert season_of(48, None) is None
    for facts in (ImageFacts(country="Brazil", timestamp=day), ImageFacts(latitude=-3, longitude=-60, timestamp=day)):
        text = " ".join(caption_of(facts, str(row)) for row in range(50))
        assert not re.search("winter|spring|summer|autumn", text)
    with pytest.raises(ValueError, match="latitude nan is not within"):
        season_of(math.nan, day)


def test_the_season_goes_with_the_day_that_the_caption_states() -> None:
    # The first of March in Sydney, still February in UTC.
    east = timezone(timedelta(hours=10))
    facts = ImageFacts(latitude=-34, longitude=151, timestamp=datetime(2016, 3, 1, 5, tzinfo=east))
    claims = parse_metadata_caption(caption_of(facts))
    assert (claims.season, claims.day, claims.time_of_day) == ("summer", date(2016, 2, 29), "19:00")


# Location in the image


def shares_by_counting(box: tuple[int, int, int, int], width: int, height: int) -> dict[str, float]:
    """Count pixels of the box in each block; sides are multiples of three, so a pixel is in one block."""
    x, y, box_width, box_height = box
    counts = dict.fromkeys(BLOCKS, 0)
    for row in range(y, y + box_height):
        for column in range(x, x + box_width):
            counts[BLOCKS[row // (height // 3) * 3 + column // (width // 3)]] += 1
    return {block: count / (box_width * box_height) for block, count in counts.items()}


def test_blocks_are_those_that_hold_most_pixels_of_the_box() -> None:
    draw = random.Random(5)
    seen = set()
    for _ in range(3000):
        width, height = 3 * draw.randint(1, 12), 3 * draw.randint(1, 12)
        x, y = draw.randrange(width), draw.randrange(height)
        box = (x, y, draw.randint(1, width - x), draw.randint(1, height - y))
        named = locate_box(box, width, height)
        seen.add(named)
        if box[2] * box[3] * 2 > width * height:
            assert named == ("most",)
            continue
        shares = shares_by_counting(box, width, height)
        assert shares[named[0]] == max(shares.values())
        others = [share for block, share in shares.items() if are_neighbours(block, named[0])]
        if len(named) == 2:
            assert are_neighbours(*named)
            assert shares[named[1]] == max(others) >= 0.25
        else:
            assert max(others) < 0.25
    # All nine blocks alone, both orders of all twelve pairs that share an edge, the image, and nothing else.
    pairs = {(first, second) for first in BLOCKS for second in BLOCKS if are_neighbours(first, second)}
    assert (len(pairs), seen) == (24, {("most",), *((block,) for block in BLOCKS), *pairs})


def test_a_box_in_one_block_names_no_second_one() -> None:
    # RS5M says "center and top-left" of the first of these, because the second-largest overlap is a tie at zero.
    assert locate_box((40, 40, 20, 20), 100, 100) == ("center",)
    assert locate_box((0, 0, 10, 10), 100, 100) == ("top-left",)
    assert locate_box((90, 90, 10, 10), 100, 100) == ("bottom-right",)


def test_a_second_block_needs_its_share_of_the_box() -> None:
    # 75 and 25 of 100 columns of the box; then 76 and 24.
    assert locate_box((25, 0, 100, 10), 300, 300) == ("top-left", "top")
    assert locate_box((24, 0, 100, 10), 300, 300) == ("top-left",)
    assert locate_box((24, 0, 100, 10), 300, 300, GridSettings(second_share=0.24)) == ("top-left", "top")
    with pytest.raises(ValueError, match=r"second_share is 0; it must be above 0 and at most 0\.5\."):
        GridSettings(second_share=0)
    with pytest.raises(ValueError, match="'most of the image' would be false"):
        GridSettings(most_share=0.3)


def test_equal_overlaps_are_told_by_a_rule_and_not_by_chance() -> None:
    assert locate_box((75, 75, 50, 50), 300, 300) == ("center", "top")
    assert locate_box((0, 0, 300, 100), 300, 300) == ("top", "top-left")
    assert locate_box((0, 0, 300, 300), 300, 300) == ("most",)
    with pytest.raises(ValueError, match="empty or not within its image of 300x300 pixels"):
        locate_box((299, 0, 2, 2), 300, 300)


# UTM


@pytest.mark.parametrize(
    ("easting", "northing", "zone", "latitude", "longitude"),
    [
        # On the central meridian the northing is 0.9996 times the length of the meridian: 45 degrees are 4984944.378 m.
        (500000.0, 0.9996 * 4984944.37798, "33N", 45.0, 15.0),
        (500000.0, 1e7 - 0.9996 * 4984944.37798, "19S", -45.0, -69.0),
        (500000.0, 0.0, "1N", 0.0, -177.0),
        # The corner of a zone, at the equator.
        (166021.44308, 0.0, "31N", 0.0, 0.0),
        (833978.55692, 0.0, "60N", 0.0, -180.0),
    ],
)
def test_metres_of_utm_become_the_degrees_of_known_points(
    easting: float, northing: float, zone: str, latitude: float, longitude: float
) -> None:
    north, east = utm_to_degrees(easting, northing, zone)
    assert north == pytest.approx(latitude, abs=1e-9)
    assert abs((east - longitude + 180) % 360 - 180) < 1e-9


def test_metres_of_utm_become_the_degrees_of_a_projection_library() -> None:
    warp = pytest.importorskip("rasterio.warp", exc_type=ImportError)
    draw = random.Random(3)
    for number in (1, 17, 32, 60):
        for hemisphere, code, low, high in (("N", 32600, 0, 9.3e6), ("S", 32700, 1.1e6, 1e7)):
            eastings = [draw.uniform(166_000, 834_000) for _ in range(50)]
            northings = [draw.uniform(low, high) for _ in range(50)]
            longitudes, latitudes = warp.transform(f"EPSG:{code + number}", "EPSG:4326", eastings, northings)
            for *metres, latitude, longitude in zip(eastings, northings, latitudes, longitudes, strict=True):
                north, east = utm_to_degrees(*metres, f"{number}{hemisphere}")
                assert north == pytest.approx(latitude, abs=1e-9)
                assert abs((east - longitude + 180) % 360 - 180) < 1e-9


def test_bands_of_the_military_grid_become_hemispheres() -> None:
    # Washington is in band S of zone 18, which is north.
    assert [zone_of_band(zone) for zone in ("18S", "32T", "21J", "33M", "33N", "56H")] == [
        *("18N", "32N", "21S", "33S", "33N", "56S")
    ]
    for zone in ("33I", "33O", "61N", "0N", "33", "N"):
        with pytest.raises(ValueError, match="must be a number from 1 to 60 and a latitude band"):
            zone_of_band(zone)
    assert [zone_of_epsg(code) for code in (32601, 32760, 32661, 32700, 4326)] == ["1N", "60S", None, None, None]
    assert epsg_of_projection(UTM_33N) == 32633
    assert epsg_of_projection(UTM_33N.replace(',AUTHORITY["EPSG","32633"]', "")) != 32633
    assert epsg_of_projection("") is None


# Facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latitude": 90.1}, r"latitude is 90\.1; it must be between -90 and 90\."),
        ({"latitude": math.nan}, r"latitude is nan; it must be between -90 and 90\."),
        ({"longitude": -181}, r"longitude is -181; it must be between"),
        ({"cloud_cover_percent": 101}, "cloud_cover_percent is 101"),
        ({"ground_sample_distance_metres": 0}, "ground_sample_distance_metres is 0"),
        ({"target_azimuth_degrees": math.inf}, "target_azimuth_degrees is inf"),
        ({"utm_zone": "56H"}, "UTM zone '56H' must be"),
        ({"utm_zone": "56N"}, r"'56N' is in the other hemisphere than latitude -33\.9461\."),
        ({"utm_zone": "33S"}, r"'33S' is 136\.2 degrees away from longitude 151\.1772\."),
        ({"timestamp": datetime(2016, 1, 1)}, "timestamp 2016-01-01T00:00:00 has no time zone"),
        ({"box": (990, 0, 11, 5)}, r"not within its image of 1000x1000 pixels\."),
        ({"box": (0, 0, 0, 5)}, r"box \(0, 0, 0, 5\) is empty"),
        ({"box": (0, 0, math.nan, 5)}, "box width is nan"),
        ({"image_width": None}, "box is given without image_width"),
        ({"country": "Korea, Republic of"}, "country 'Korea, Republic of' contains ','"),
        ({"city": "S?o Paulo"}, r"city 'S\?o Paulo' contains '\?'"),
        ({"city": "S\ufffdo Paulo"}, "which a name must not"),
        ({"class_name": ""}, "class_name '' must be 1 to 120 printable characters"),
        ({"class_name": "a\nb"}, "printable characters"),
        ({"scan_direction": "Forward"}, "scan_direction is 'Forward'"),
        ({"latitude": None, "utm_zone": None}, "longitude is given without a latitude"),
    ],
)
def test_impossible_facts_are_refused_with_what_is_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SYDNEY, **change)  # type: ignore[arg-type]


def test_facts_travel_through_json_unchanged() -> None:
    draw = random.Random(2)
    for _ in range(300):
        facts = random_facts(draw)
        assert facts_from_mapping(json.loads(json.dumps(facts_to_mapping(facts)))) == facts


def test_unknown_names_of_facts_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown facts cloud, gsd; known are class_name, labels, latitude, "):
        facts_from_mapping({"gsd": 1, "cloud": 2, "latitude": 3})
    with pytest.raises(ValueError, match="timestamp 'June' is not ISO 8601"):
        facts_from_mapping({"timestamp": "June"})
    with pytest.raises(TypeError, match="labels must be a list, got 'Pastures'"):
        facts_from_mapping({"labels": "Pastures"})
    assert len(FACT_NAMES) == 16


def test_fmow_takes_label_box_and_coordinate_from_the_first_true_box() -> None:
    facts = fmow_facts(FMOW)
    assert facts.latitude == pytest.approx(47.45, abs=1e-9)
    assert facts.longitude == pytest.approx(8.58, abs=1e-9)
    assert dataclasses.replace(facts, latitude=None, longitude=None) == ImageFacts(
        class_name="airport_terminal",
        timestamp=datetime(2012, 4, 2, 10, 32, 22, tzinfo=UTC),
        ground_sample_distance_metres=0.4967,
        utm_zone="32N",
        cloud_cover_percent=2,
        off_nadir_degrees=14.8,
        target_azimuth_degrees=31.2082061768,
        scan_direction="reverse",
        country="Switzerland",
        box=(400, 250, 100, 100),
        image_width=900,
        image_height=600,
    )
    assert "center" in caption_of(facts)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bounding_boxes": FMOW["bounding_boxes"][:1]}, "false_detection"),  # type: ignore[index]
        ({"bounding_boxes": []}, "no_box"),
        ({"bounding_boxes": None}, "missing_field"),
        ({"img_width": None}, "missing_field"),
        ({"bounding_boxes": [{"category": "zoo", "box": [900, 0, 5, 5]}]}, "box_outside_image"),
    ],
)
def test_fmow_records_that_show_nothing_are_refused_by_name(change: dict[str, object], reason: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        fmow_facts({**FMOW, **change})
    assert refusal.value.reason == reason


def test_fmow_boxes_are_cut_at_the_border_and_unknown_values_stay_unknown() -> None:
    box = {"category": "zoo", "box": [-5, 590, 20, 20]}
    facts = fmow_facts({**FMOW, "bounding_boxes": box, "cloud_cover": -1, "country_code": "CA-", "utm": None})
    assert facts.box == (0, 590, 15, 10)
    assert (facts.latitude, facts.cloud_cover_percent, facts.country, facts.utm_zone) == (None, None, None, None)


@pytest.mark.parametrize("outline", ["POLYGON ((1, 2))", "POLYGON ((a b))", "POINT (1 2)", "POLYGON (())"])
def test_an_fmow_outline_that_is_none_is_an_error_that_shows_it(outline: str) -> None:
    box = {"category": "zoo", "box": [0, 0, 9, 9], "raw_location": outline}
    with pytest.raises(ValueError, match=r"raw_location must|could not convert string to float: 'a'"):
        fmow_facts({**FMOW, "bounding_boxes": [box]})


def test_an_fmow_outline_across_the_180th_meridian_has_its_middle_there() -> None:
    outline = "POLYGON ((179.9 -17.0, -179.7 -17.0, -179.7 -16.8, 179.9 -16.8, 179.9 -17.0))"
    box = {"category": "zoo", "box": [0, 0, 9, 9], "raw_location": outline}
    facts = fmow_facts({**FMOW, "bounding_boxes": [box], "utm": "1K"})
    assert (facts.latitude, facts.longitude) == (pytest.approx(-16.9), pytest.approx(-179.9))


def test_bigearthnet_gives_the_middle_of_the_patch_in_degrees() -> None:
    facts = bigearthnet_facts(BIGEARTHNET)
    # The middle is on the central meridian; its northing over 0.9996 is the arc of the meridian to 42.0054 degrees.
    assert facts.longitude == pytest.approx(15.0, abs=1e-9)
    assert facts.latitude == pytest.approx(42 + 600 / 0.9996 / 111_072, abs=1e-5)
    assert (facts.utm_zone, facts.labels) == ("33N", ("Pastures", "Inland marshes"))
    assert facts.timestamp == datetime(2017, 6, 13, 10, 10, 32, tzinfo=UTC)
    other = bigearthnet_facts({**BIGEARTHNET, "projection": UTM_33N.replace("32633", "3035")})
    assert (other.latitude, other.utm_zone) == (None, None)
    with pytest.raises(RefusedError, match="missing_field: labels is empty"):
        bigearthnet_facts({**BIGEARTHNET, "labels": []})


def test_yfcc_gives_a_date_without_a_time_and_no_null_island() -> None:
    facts = yfcc_facts(latitude="48.85", longitude="2.35", date_taken="2009-07-11 13:00:36.0")
    assert facts == ImageFacts(latitude=48.85, longitude=2.35, timestamp=date(2009, 7, 11))
    assert yfcc_facts(latitude=0, longitude=0.0, date_taken="") == ImageFacts()
    assert yfcc_facts(latitude="48", longitude="", date_taken=None) == ImageFacts()


# Captions


def test_a_caption_states_the_facts_in_words() -> None:
    assert caption_of(SYDNEY, "4") == (
        "This is a remote sensing image of an airport taken over Sydney, Australia during summer on 2016-01-14 at "
        "23:59 UTC. It is in the top-left of the image. Metadata: ground sample distance 0.497 m; 3% cloud cover; at "
        "33.946°S, 151.177°E; UTM zone 56S; 12.3° off nadir; target azimuth 314.3°; forward scan."
    )


def test_wording_depends_on_seed_and_id_alone() -> None:
    ids = [str(row) for row in range(40)]
    kept, _ = write_metadata_captions(ids, [SYDNEY] * 40)
    backward, _ = write_metadata_captions(ids[::-1], [SYDNEY] * 40)
    assert [caption.text for caption in kept] == [caption.text for caption in backward][::-1]
    other, _ = write_metadata_captions(ids, [SYDNEY] * 40, MetadataCaptionSettings(seed=1))
    assert sum(a.text != b.text for a, b in zip(kept, other, strict=True)) >= 39


@pytest.mark.parametrize("facts", [SYDNEY, bigearthnet_facts(BIGEARTHNET), fmow_facts(FMOW)])
def test_there_are_hundreds_of_surface_forms(facts: ImageFacts) -> None:
    kept, rejects = write_metadata_captions([str(row) for row in range(1000)], [facts] * 1000)
    assert rejects == []
    assert len({caption.text for caption in kept}) > 900


def test_every_phrase_is_used() -> None:
    draw = random.Random(1)
    facts = [random_facts(draw, share=1) for _ in range(1500)]
    facts += [dataclasses.replace(SYDNEY, box=(0, 0, 1000, 900))] * 50
    kept, _ = write_metadata_captions([str(row) for row in range(len(facts))], facts)
    text = "\n".join(caption.text for caption in kept)
    phrases = [phrase for group in (HEAD, SENTENCES, ENTRIES) for options in group.values() for phrase in options]
    for phrase in (*phrases, *MOST_SENTENCES, *LIST_INTROS, *NOUNS["satellite"]):
        assert re.search(".+?".join(map(re.escape, re.split(r"\{\w+\}", phrase))), text, re.IGNORECASE), phrase


@pytest.mark.parametrize("view", sorted(NOUNS))
def test_every_caption_that_is_written_is_read_back_without_a_contradiction(view: str) -> None:
    draw = random.Random(view)
    for row in range(1500):
        facts = random_facts(draw, share=draw.choice([0.2, 0.5, 0.8, 1.0]))
        kept, rejects = write_metadata_captions([str(row)], [facts], MetadataCaptionSettings(view=view))
        assert [reject.reason for reject in rejects] in ([], ["no_facts"]), rejects
        for caption in kept:
            assert check_metadata_caption(caption.text, facts) == []
            stated = parse_metadata_caption(caption.text).facts()
            for name in ("country", "city", "utm_zone", "scan_direction"):
                assert getattr(stated, name) == getattr(facts, name)
            if facts.latitude is not None:
                assert stated.latitude == pytest.approx(facts.latitude, abs=0.0005 + 1e-9)
            if facts.ground_sample_distance_metres is not None:
                assert stated.ground_sample_distance_metres == pytest.approx(
                    facts.ground_sample_distance_metres, rel=0.005 + 1e-9
                )
            assert (stated.timestamp is None) == (facts.timestamp is None)


def test_every_class_of_fmow_is_read_back_from_its_phrase() -> None:
    for name in PHRASES:
        for row in range(8):
            assert parse_metadata_caption(caption_of(ImageFacts(class_name=name), str(row))).class_name == name


def test_countries_take_their_article() -> None:
    assert [with_article(COUNTRY_NAMES[code]) for code in ("NLD", "USA", "GBR", "SLB", "FRA")] == [
        *("the Netherlands", "the United States", "the United Kingdom", "the Solomon Islands", "France")
    ]
    assert len(COUNTRY_NAMES) == 251
    assert COUNTRY_NAMES["KO-"] == "Kosovo"
    for country in COUNTRY_NAMES.values():
        ImageFacts(country=country)


MUTATIONS: list[tuple[str, dict[str, object]]] = [
    ("class_name", {"class_name": "zoo"}),
    ("latitude", {"latitude": -33.9472}),
    ("longitude", {"longitude": 151.1783}),
    ("day", {"timestamp": datetime(2016, 1, 13, 23, 59, tzinfo=UTC)}),
    ("day", {"timestamp": datetime(2016, 1, 14, 23, 59, tzinfo=timezone(timedelta(hours=-1)))}),
    ("time_of_day", {"timestamp": datetime(2016, 1, 14, 23, 58, tzinfo=UTC)}),
    ("time_of_day", {"timestamp": date(2016, 1, 14)}),
    ("season", {"timestamp": datetime(2016, 7, 14, 23, 59, tzinfo=UTC)}),
    ("season", {"latitude": 33.9461, "utm_zone": None}),
    ("season", {"latitude": None, "longitude": None}),
    ("ground_sample_distance_metres", {"ground_sample_distance_metres": 0.51}),
    ("utm_zone", {"utm_zone": "55S"}),
    ("cloud_cover_percent", {"cloud_cover_percent": 4}),
    ("off_nadir_degrees", {"off_nadir_degrees": 13}),
    ("target_azimuth_degrees", {"target_azimuth_degrees": 31.43}),
    ("scan_direction", {"scan_direction": "reverse"}),
    ("country", {"country": "Austria"}),
    ("country", {"country": None}),
    ("city", {"city": "Melbourne"}),
    ("location", {"box": (400, 400, 50, 60)}),
    ("location", {"box": None}),
]


@pytest.mark.parametrize(("claim", "change"), MUTATIONS)
def test_a_caption_is_caught_when_a_fact_is_another_one(claim: str, change: dict[str, object]) -> None:
    other = dataclasses.replace(SYDNEY, **change)  # type: ignore[arg-type]
    for row in range(100):
        text = caption_of(SYDNEY, str(row))
        assert claim in [found.claim for found in check_metadata_caption(text, other)], text


@pytest.mark.parametrize(
    ("right", "wrong", "claim"),
    [
        ("314.3°", "314.30?", "degree_sign"),
        ("314.3°", "314.3\ufffd", "degree_sign"),
        ("314.3°", "314.3Â°", "degree_sign"),
        ("314.3°", "314.3", "unread"),
        ("summer", "winter", "season"),
        ("top-left", "center and top-left", "location"),
        ("top-left", "bottom-left", "location"),
        ("Australia", "Austria", "country"),
        ("33.946°S, 151.177°E", "151.177°S, 33.946°E", "latitude"),
        ("33.946°S", "33.946°N", "latitude"),
        ("2016-01-14", "2016-01-15", "day"),
        ("2016-01-14", "2016-01-32", "unread"),
        ("23:59", "11:59", "time_of_day"),
        ("23:59", "23:59 UTC at 11:59", "class_name"),
        ("an airport", "an airport at night", "class_name"),
        ("Metadata:", "It is night. Metadata:", "unread"),
        ("56S", "56N", "utm_zone"),
        ("forward scan.", "forward scan. The target azimuth is 31°.", "unread"),
        ("forward scan.", "forward scan. a", "unread"),
        ("forward scan", "reverse scan", "scan_direction"),
    ],
)
def test_a_planted_falsehood_is_caught(right: str, wrong: str, claim: str) -> None:
    text = caption_of(SYDNEY, "4")
    assert right in text
    found = check_metadata_caption(text.replace(right, wrong), SYDNEY)
    assert claim in [contradiction.claim for contradiction in found]


def test_a_contradiction_says_what_is_stated_and_what_is_known() -> None:
    text = caption_of(SYDNEY, "4").replace("summer", "winter")
    assert [str(found) for found in check_metadata_caption(text, SYDNEY)] == [
        "season: the caption states 'winter', known is summer"
    ]
    assert [str(found) for found in check_metadata_caption("A photo in Rome, Italy.", ImageFacts(country="Italy"))] == [
        "city: the caption states 'Rome', known is nothing"
    ]
    assert len(check_metadata_caption("", ImageFacts())) == 0
    assert [found.claim for found in check_metadata_caption("x" * 3000, SYDNEY)] == ["unread"]


# Budget and rejects


def words(text: str) -> int:
    return len(re.findall(r"\d|[^\W\d]+|[^\w\s]", text)) + 2


def test_the_least_important_clauses_are_dropped_until_both_captions_fit() -> None:
    machine = "an aerial view of an airport with many planes parked next to the terminal"
    lengths = []
    for limit in (200, 77, 64, 50, 40, 30):
        settings = MetadataCaptionSettings(max_tokens=limit)
        kept, rejects = write_metadata_captions(
            ["4"], [SYDNEY], settings, count_tokens=words, machine_captions=[machine]
        )
        assert rejects == []
        caption = kept[0]
        assert words(f"{caption.text} {machine}") <= limit
        order = [kind for kind in IMPORTANCE if kind != "labels"]
        assert (*caption.kinds, *caption.dropped) == tuple(order)
        assert check_metadata_caption(caption.text, SYDNEY) == []
        # One clause more would not have fitted.
        lengths.append(len(caption.kinds))
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == 13
    assert 1 <= lengths[-1] < 5 < lengths[1]


def test_a_clause_is_dropped_only_where_the_short_form_with_it_is_too_long() -> None:
    kept, _ = write_metadata_captions(["4"], [SYDNEY], MetadataCaptionSettings(max_tokens=60), count_tokens=words)
    used = words(kept[0].text)
    more, _ = write_metadata_captions(["4"], [SYDNEY], MetadataCaptionSettings(max_tokens=used), count_tokens=words)
    less, _ = write_metadata_captions(["4"], [SYDNEY], MetadataCaptionSettings(max_tokens=used - 1), count_tokens=words)
    assert (more[0].text, len(less[0].kinds)) == (kept[0].text, len(kept[0].kinds) - 1)


def test_rows_without_a_caption_have_a_named_reason() -> None:
    batch = [
        ImageFacts(),
        {"latitude": 99},
        {"nonsense": 1},
        {"country": "Chile"},
        {"labels": [7]},
        {"class_name": "the class in Rome, Italy"},
    ]
    ids = [str(row) for row in range(len(batch))]
    kept, rejects = write_metadata_captions(ids, batch)
    assert [(caption.row, caption.kinds) for caption in kept] == [(3, ("place",))]
    assert [(reject.row, reject.reason) for reject in rejects] == [
        *((0, "no_facts"), (1, "invalid_facts"), (2, "invalid_facts"), (4, "invalid_facts"), (5, "not_read_back"))
    ]
    assert rejects[1] == Reject(1, "invalid_facts", "latitude is 99; it must be between -90 and 90.")
    _, rejects = write_metadata_captions(["a"], [SYDNEY], MetadataCaptionSettings(max_tokens=3), count_tokens=words)
    assert rejects[0].reason == "does_not_fit"
    assert {"no_facts", "invalid_facts", "does_not_fit", "not_read_back"} == set(REASONS)


def test_clauses_can_be_omitted_and_those_that_need_them_go_too() -> None:
    kept, _ = write_metadata_captions(["a"], [SYDNEY], MetadataCaptionSettings(omit=("subject", "date", "coordinates")))
    assert kept[0].kinds == tuple(
        kind
        for kind in IMPORTANCE
        if kind not in ("subject", "location", "date", "time_of_day", "coordinates", "labels")
    )


def test_wrong_settings_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="view is 'radar'; it must be one of satellite, aerial, photo"):
        MetadataCaptionSettings(view="radar")
    with pytest.raises(ValueError, match="omit names colour; kinds of clauses are subject, labels"):
        MetadataCaptionSettings(omit=("colour",))
    with pytest.raises(ValueError, match="max_tokens is set without count_tokens"):
        write_metadata_captions(["a"], [SYDNEY], MetadataCaptionSettings(max_tokens=77))
    with pytest.raises(ValueError, match="1 ids, 0 records of facts"):
        write_metadata_captions(["a"], [])
