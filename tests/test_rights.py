"""The licence gate: what may go out, and that everything else stays."""

import re

import pytest

from dataset_scripts.rights import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    NOTHING,
    TABLE,
    Rights,
    license_text,
    may_publish,
    parse_license,
    rights_of,
    row_rights,
    withhold,
)


def summary(rights: Rights) -> str:
    """i images, d derived images, c captions, r derived captions, n non-commercial, s share alike."""
    flags = {
        "i": rights.images,
        "d": rights.derived_images,
        "c": rights.captions,
        "r": rights.derived_captions,
        "n": rights.non_commercial,
        "s": rights.share_alike,
    }
    return "".join(letter for letter, value in flags.items() if value)


@pytest.mark.parametrize(
    ("identifier", "permitted"),
    [
        ("Apache-2.0", "idcr"),
        ("MIT", "idcr"),
        ("CC0-1.0", "idcr"),
        ("CC-BY-4.0", "idcr"),
        ("CC-BY-3.0-IGO", "idcr"),
        ("CC-BY-SA-3.0", "idcrs"),
        ("CC-BY-NC-4.0", "idcrn"),
        ("CC-BY-NC-SA-4.0", "idcrns"),
        ("CC-BY-ND-4.0", "ic"),
        ("CC-BY-NC-ND-2.0", "icn"),
        ("ODbL-1.0", "crs"),
        ("ODC-By-1.0", "cr"),
        ("PDDL-1.0", "idcr"),
        ("CDLA-Permissive-1.0", "idcr"),
        ("CDLA-Permissive-2.0", "idcr"),
        ("dl-de/by-2-0", "idcr"),
        ("DL-DE-BY-2.0", "idcr"),
        ("public-domain", "idcr"),
        ("US-PD", "idcr"),
        ("etalab-2.0", "idcr"),
        ("OGL-UK-3.0", "idcr"),
        ("unknown", ""),
    ],
)
def test_a_licence_of_the_table_permits_what_it_says_in_any_case(identifier: str, permitted: str) -> None:
    for spelling in (identifier, identifier.lower(), identifier.upper(), f" {identifier}\n"):
        assert summary(rights_of(spelling)) == permitted


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        " ",
        "other",
        "none",
        "None",
        "CC-BY",
        "CC-BY-5.0",
        "CC BY 4.0",
        "CC-BY-4.0 with exceptions",
        "CC-BY-4.0-no-redistribution",
        "not CC-BY-4.0",
        "CC-BY-4.0 OR unknown",
        "CC-BY-4.0,MIT",
        "MITRE",
        "permit",
        "unknown MIT",
        "LicenseRef-proprietary",
        "CC-BY-\u0130-4.0",
        "C\u212a-BY-4.0",
        "CC-BY-\u017fA-4.0",
        "CC\u2010BY\u20104.0",
        "\u041c\u0406\u0422",
        "MIT\u200b",
        "\u00a0MIT",
    ],
)
def test_anything_else_permits_nothing(identifier: str) -> None:
    assert rights_of(identifier) == NOTHING == Rights()
    assert row_rights(identifier) == NOTHING
    assert not may_publish(identifier, None)


def test_no_licence_permits_derivatives_of_what_it_does_not_permit() -> None:
    assert all(key == key.lower() and key.isascii() for key in TABLE)
    for rights in TABLE.values():
        assert rights.images or not rights.derived_images
        assert rights.captions or not rights.derived_captions


@pytest.mark.parametrize(
    ("images", "captions", "text"),
    [
        ("CC-BY-4.0", None, "CC-BY-4.0"),
        ("CC-BY-4.0", "CC-BY-4.0", "CC-BY-4.0"),
        ("CC-BY-4.0", "cc-by-4.0", "CC-BY-4.0"),
        ("US-PD", "ODbL-1.0", "images US-PD; captions ODbL-1.0"),
        ("dl-de/by-2-0", "unknown", "images dl-de/by-2-0; captions unknown"),
    ],
)
def test_the_license_column_is_written_and_read_back(images: str, captions: str | None, text: str) -> None:
    assert license_text(images, captions) == text
    parsed = parse_license(text)
    assert [part.lower() for part in parsed] == [images.lower(), (captions or images).lower()]


@pytest.mark.parametrize("identifier", ["", "CC BY 4.0", "MIT; captions MIT", "MIT\n", "\u00e9", "-MIT", "MIT;"])
def test_what_could_not_be_read_back_is_not_written(identifier: str) -> None:
    message = f"licence {identifier!r} is not an identifier such as 'CC-BY-4.0'; use 'unknown'."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        license_text(identifier)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        license_text("MIT", identifier)


@pytest.mark.parametrize(
    ("text", "permitted"),
    [
        ("images US-PD; captions ODbL-1.0", "idcrs"),
        ("IMAGES us-pd; Captions odbl-1.0", "idcrs"),
        ("images CC-BY-NC-4.0; captions unknown", "idn"),
        ("images unknown; captions CC0-1.0", "cr"),
        ("images MIT; captions MIT; captions MIT", ""),
        ("images MIT;captions MIT", ""),
        ("captions MIT; images MIT", ""),
        ("images MIT", ""),
        ("images ; captions MIT", ""),
    ],
)
def test_images_and_captions_have_the_rights_of_their_own_licence(text: str, permitted: str) -> None:
    assert summary(row_rights(text)) == permitted


@pytest.mark.parametrize(
    ("text", "origin", "expected"),
    [
        ("CC-BY-4.0", "sensor", True),
        ("CC-BY-4.0", "translated:diffv2ir@177d0399", True),
        ("CC-BY-4.0", "luminance", True),
        ("CC-BY-ND-4.0", None, True),
        ("CC-BY-ND-4.0", "sensor", True),
        ("CC-BY-ND-4.0", "simulated", True),
        ("CC-BY-ND-4.0", "luminance", False),
        ("CC-BY-ND-4.0", "translated:diffv2ir@177d0399", False),
        ("CC-BY-ND-4.0", "Sensor", False),
        ("CC-BY-ND-4.0", "", False),
        ("images US-PD; captions ODbL-1.0", "luminance", True),
        ("images US-PD; captions CC-BY-ND-4.0", "luminance", False),
        ("images US-PD; captions CC-BY-ND-4.0", "sensor", True),
        ("ODbL-1.0", None, False),
        ("images CC-BY-NC-4.0; captions unknown", None, False),
        ("images unknown; captions MIT", None, False),
        ("unknown", "sensor", False),
        (None, "sensor", False),
    ],
)
def test_a_row_goes_out_only_with_its_images_captions_and_derived_infrared(
    text: str | None, origin: str | None, expected: bool
) -> None:
    assert may_publish(text, origin) is expected


def row(**values: object) -> dict[str, object]:
    return {
        "id": "a:1",
        "captions": ["a farm"],
        "infrared_captions": ["a bright roof"],
        "class_name": "farm",
        "license": "MIT",
        "infrared_origin": "sensor",
        "leak_group": "leak:0",
        "caption_key": "00",
        "rgb_sha256": "11",
        **values,
    }


@pytest.mark.parametrize(
    ("changes", "emptied"),
    [
        ({}, {}),
        ({"license": "ODbL-1.0", "infrared_origin": "luminance"}, {}),
        ({"license": "unknown"}, {"captions": [], "infrared_captions": [], "class_name": None}),
        ({"license": None}, {"captions": [], "infrared_captions": [], "class_name": None}),
        (
            {"license": "images MIT; captions unknown"},
            {"captions": [], "infrared_captions": [], "class_name": None},
        ),
        ({"license": "CC-BY-ND-4.0"}, {}),
        ({"license": "CC-BY-ND-4.0", "infrared_origin": "translated:x@1"}, {"infrared_captions": []}),
        (
            {"license": "images unknown; captions MIT", "rgb": {"bytes": b"x"}, "image": b"x"},
            {"rgb": None, "image": None},
        ),
        (
            {"license": "unknown", "caption": "a farm"},
            dict.fromkeys(["caption", "class_name"]) | {"captions": [], "infrared_captions": []},
        ),
        ({"license": "unknown", "captions": ("a",)}, {"captions": [], "infrared_captions": [], "class_name": None}),
    ],
)
def test_the_index_shows_only_what_may_go_out(changes: dict[str, object], emptied: dict[str, object]) -> None:
    before = row(**changes)
    assert withhold(before) == {**before, **emptied}
    assert before == row(**changes)


def test_a_row_of_no_known_licence_shows_no_text_of_others_in_any_column() -> None:
    full = row(license="unknown", caption="x", rgb=b"x", infrared=b"x", image=b"x")
    shown = withhold(full)
    assert {name for name in full if not shown[name]} == (set(CAPTION_COLUMNS) | set(IMAGE_COLUMNS))
    with pytest.raises(KeyError, match="license"):
        withhold({"captions": ["a"]})
