"""Reads Functional Map of the World, fMoW-rgb: `train/airport/airport_0/airport_0_0_rgb.jpg` and its JSON.

It has no captions; its rows carry the facts that captions are written from. RS5M took 727,144 images of train, which
are two renderings of each scene, `_rgb.jpg` and the coarser `_msrgb.jpg`; by default only the former is read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..stages.metadata_facts import facts_to_mapping
from ..stages.rejects import RefusedError, Reject
from ..stages.upstream_facts import fmow_facts
from .confined_files import confined_name, read_confined
from .file_parts import list_files
from .image_names import parts_of_names
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

REASONS = (
    "outside_source_folder",
    "missing_image",
    "file_too_large",
    "unreadable_image",
    "missing_metadata",
    "malformed_metadata",
    # As `stages.upstream_facts` names them.
    "false_detection",
    "no_box",
    "box_outside_image",
    "missing_field",
)
CITATION = "Christie et al., Functional Map of the World, CVPR 2018, arXiv:1711.07846"
HOMEPAGE = "https://github.com/fMoW/dataset"
VERSION = "fMoW-rgb, 2017"
# The terms of the challenge are no licence with an SPDX identifier; what they allow is for the user to read.
LICENSE = UNKNOWN_LICENSE
ATTRIBUTION = "Functional Map of the World, IARPA; imagery DigitalGlobe (Maxar)"
_SPLITS = {"train": "train", "val": "validation"}


@dataclass(frozen=True, kw_only=True)
class FMoW:
    """The folder that holds `train` and `val`."""

    folder: Path
    splits: tuple[str, ...] = ("train",)
    """Folders that are read, `train` and `val`; RS5M takes train."""
    ending: str = "_rgb.jpg"
    """Which rendering is read: `_rgb.jpg` or `_msrgb.jpg`."""

    def __post_init__(self) -> None:
        if not self.splits or not set(self.splits) <= set(_SPLITS) or self.ending not in ("_rgb.jpg", "_msrgb.jpg"):
            raise ValueError(f"{self} must have splits out of train and val, and the ending _rgb.jpg or _msrgb.jpg.")

    @property
    def name(self) -> str:
        return "fmow"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the images; each part names its own.

        Raises:
            ValueError: there are none.
        """
        names = [f"{split}/{name}" for split in self.splits for name in list_files(self.folder / split, (self.ending,))]
        if not names:
            raise ValueError(
                f"no image in {str(self.folder)!r} under {' and '.join(self.splits)} ends in {self.ending}."
            )
        return parts_of_names(self.folder, names, ((name, _metadata_name(name)) for name in names), rows_per_part)

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the images of a part with their facts."""
        for row, name in enumerate(part.where["names"]):
            try:
                yield self._row(confined_name(name))
            except RefusedError as refusal:
                yield Reject(row, refusal.reason, f"{name}: {refusal.detail}"[:400])

    def _row(self, name: str) -> SourceRow:
        image = read_confined(self.folder, name)
        if not image:
            raise RefusedError("missing_image", "the file is empty")
        metadata = read_metadata(self.folder, _metadata_name(name))
        try:
            facts = fmow_facts(metadata)
        except RefusedError:
            raise
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise RefusedError("malformed_metadata", f"{type(error).__name__}: {error}") from error
        return SourceRow(
            source=self.name,
            source_id=name.removesuffix(".jpg"),
            image=image,
            class_name=facts.class_name,
            license=LICENSE,
            attribution=ATTRIBUTION,
            split=_SPLITS[name.partition("/")[0]],
            metadata=facts_to_mapping(facts),
        )


def read_metadata(folder: Path, name: str) -> dict[str, Any]:
    """Read the JSON object that describes one image.

    Raises:
        RefusedError: there is none, or it is no JSON object.
    """
    data = read_confined(folder, name, missing="missing_metadata")
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError("malformed_metadata", f"{name}: {error}") from error
    if not isinstance(metadata, dict):
        raise RefusedError("malformed_metadata", f"{name}: {type(metadata).__name__}, expected an object")
    return metadata


def _metadata_name(name: str) -> str:
    return name.removesuffix(".jpg") + ".json"
