"""What a licence lets us hand on: images, pictures derived from them, captions. The gate of everything published.

Only what stands in the table may go out. An identifier that is not in it, without its version, or with more text
around it, gives no right at all. This is a reading of the licences by engineers, not legal advice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

IMAGE_COLUMNS = ("rgb", "infrared", "image")
CAPTION_COLUMNS = ("caption", "captions", "infrared_captions", "class_name")
# Infrared that was not made out of the RGB image. Any other origin is a derivative of it.
ORIGINAL_INFRARED = ("sensor", "simulated")


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be handed on."""

    images: bool = False
    derived_images: bool = False
    """Pictures made from the image, such as its translation to infrared."""
    captions: bool = False
    """Captions and other labels."""
    derived_captions: bool = False
    """Texts made from the captions, such as captions of an infrared image translated from the RGB image."""
    non_commercial: bool = False
    share_alike: bool = False


NOTHING = Rights()
_ALL = Rights(images=True, derived_images=True, captions=True, derived_captions=True)
_AS_IS = Rights(images=True, captions=True)
# The licences of databases do not license what is in them: facts and captions made from facts, but no photographs.
_FACTS = Rights(captions=True, derived_captions=True)


def _creative_commons() -> dict[str, Rights]:
    kinds = {
        "by": _ALL,
        "by-sa": replace(_ALL, share_alike=True),
        "by-nd": _AS_IS,
        "by-nc": replace(_ALL, non_commercial=True),
        "by-nc-sa": replace(_ALL, non_commercial=True, share_alike=True),
        "by-nc-nd": replace(_AS_IS, non_commercial=True),
    }
    versions = ("1.0", "2.0", "2.5", "3.0", "3.0-igo", "4.0")
    return {f"cc-{kind}-{version}": rights for kind, rights in kinds.items() for version in versions}


# Identifiers of SPDX in lower case, and a few names of public data that SPDX lacks.
TABLE: Mapping[str, Rights] = {
    **_creative_commons(),
    **dict.fromkeys(("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause"), _ALL),
    **dict.fromkeys(("cc0-1.0", "pddl-1.0", "cc-pdm-1.0", "public-domain", "us-pd"), _ALL),
    **dict.fromkeys(("cdla-permissive-1.0", "cdla-permissive-2.0"), _ALL),
    "cdla-sharing-1.0": replace(_ALL, share_alike=True),
    "odbl-1.0": replace(_FACTS, share_alike=True),
    "odc-by-1.0": _FACTS,
    # Governments: Germany (SPDX and own spelling), France, United Kingdom, Canada, Norway.
    **dict.fromkeys(("dl-de-by-2.0", "dl-de/by-2-0", "dl-de-zero-2.0", "dl-de/zero-2-0"), _ALL),
    **dict.fromkeys(("etalab-2.0", "ogl-uk-1.0", "ogl-uk-2.0", "ogl-uk-3.0", "ogl-canada-2.0", "nlod-2.0"), _ALL),
    # Legal notice on the use of Copernicus Sentinel data: reproduction, distribution, adaptation.
    "copernicus-sentinel": _ALL,
    "unknown": NOTHING,
}
NOT_SPDX = ("unknown", "public-domain", "us-pd", "dl-de/by-2-0", "dl-de/zero-2-0", "copernicus-sentinel")
_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.+/-]*[A-Za-z0-9])?", re.ASCII)
_TWO_LICENSES = re.compile(r"images (?P<images>\S+); captions (?P<captions>\S+)", re.ASCII | re.IGNORECASE)


def rights_of(identifier: str) -> Rights:
    """Return what one licence permits: an exact match, in any case, or nothing."""
    return TABLE.get(identifier.strip().lower(), NOTHING) if identifier.isascii() else NOTHING


def license_text(images: str, captions: str | None = None) -> str:
    """Return the `license` of a row: one identifier, or `images ID; captions ID` where the two differ.

    Args:
        images: identifier of the licence of the images.
        captions: that of the captions; None where it is the same.

    Raises:
        ValueError: one is not an identifier, so that the text could not be read back.
    """
    for identifier in (images, captions if captions is not None else images):
        if not _IDENTIFIER.fullmatch(identifier):
            raise ValueError(f"licence {identifier!r} is not an identifier such as 'CC-BY-4.0'; use 'unknown'.")
    if captions is None or captions.lower() == images.lower():
        return images
    return f"images {images}; captions {captions}"


def parse_license(text: str) -> tuple[str, str]:
    """Return the identifiers for images and for captions of a row's `license`."""
    match = _TWO_LICENSES.fullmatch(text.strip())
    return (text, text) if match is None else (match["images"], match["captions"])


def row_rights(row_license: str | None) -> Rights:
    """Return what a row's `license` permits: images by the first, captions by the second of its identifiers."""
    images, captions = (rights_of(identifier) for identifier in parse_license(row_license or ""))
    return Rights(
        images=images.images,
        derived_images=images.derived_images,
        captions=captions.captions,
        derived_captions=captions.derived_captions,
        non_commercial=images.non_commercial or captions.non_commercial,
        share_alike=images.share_alike or captions.share_alike,
    )


def may_publish(row_license: str | None, infrared_origin: str | None) -> bool:
    """Whether a whole row may go out; `infrared_origin` is None where it has no infrared image."""
    rights = row_rights(row_license)
    return rights.images and rights.captions and _may_have_infrared(rights, infrared_origin)


def withhold(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row as the public index may show it: what may not go out is empty, lists `[]`, all else None.

    Identifiers, addresses, hashes, groups and metadata are facts, and stay. Captions of a translated infrared image
    are made from what the RGB image shows, so they are withheld where nothing may be derived.
    """
    rights, origin = row_rights(row["license"]), row.get("infrared_origin")
    emptied: set[str] = set()
    if not may_publish(row["license"], origin):
        emptied |= set(IMAGE_COLUMNS)
    if not rights.captions:
        emptied |= set(CAPTION_COLUMNS)
    if not _is_original(origin) and not rights.derived_captions:
        emptied.add("infrared_captions")
    return {name: _empty(value) if name in emptied else value for name, value in row.items()}


def _may_have_infrared(rights: Rights, infrared_origin: str | None) -> bool:
    return _is_original(infrared_origin) or (rights.derived_images and rights.derived_captions)


def _is_original(infrared_origin: str | None) -> bool:
    return infrared_origin is None or infrared_origin in ORIGINAL_INFRARED


def _empty(value: Any) -> Any:
    return [] if isinstance(value, (list, tuple)) else None
