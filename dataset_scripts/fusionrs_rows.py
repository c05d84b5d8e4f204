"""The rows of the `fusionrs` table: their features, and a row made from a staged one."""

from collections.abc import Mapping
from typing import Any

from datasets import Features, Image, List, Value

_TEXT_COLUMNS = (
    "class_name",
    "source",
    "source_id",
    "license",
    "attribution",
    "infrared_origin",
    "infrared_band",
    "leak_group",
    "caption_key",
    "rgb_sha256",
    "infrared_sha256",
)

Row = dict[str, Any]


def fusionrs_features() -> Features:
    """Columns of the `default` configuration; `index` has all but the images."""
    return Features(
        {
            "id": Value("string"),
            "rgb": Image(),
            "infrared": Image(),
            "captions": List(Value("string")),
            "infrared_captions": List(Value("string")),
            **{name: Value("string") for name in _TEXT_COLUMNS},
        }
    )


def fusionrs_row(staged: Mapping[str, Any], leak_group: str) -> Row:
    """Make a row of the dataset from a staged row and the group that it was given."""
    return {
        "id": staged["id"],
        "rgb": {"bytes": staged.get("image"), "path": None},
        "infrared": {"bytes": staged.get("infrared"), "path": None},
        "captions": staged["captions"],
        "infrared_captions": staged["infrared_captions"],
        "class_name": staged["class_name"],
        "source": staged["source"],
        "source_id": staged["source_id"],
        "license": staged["license"],
        "attribution": staged["attribution"],
        "infrared_origin": staged["infrared_origin"],
        "infrared_band": staged["infrared_band"],
        "leak_group": leak_group,
        "caption_key": staged["caption_key"],
        "rgb_sha256": staged["sha256"],
        "infrared_sha256": staged["infrared_sha256"],
    }
