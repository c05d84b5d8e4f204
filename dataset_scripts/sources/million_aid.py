"""Reads Million-AID: a folder of images of the test set, `P0000000.jpg` and on, whose classes are not published."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..stages.rejects import RefusedError, Reject
from .confined_files import confined_name, read_confined
from .file_parts import list_files
from .image_names import parts_of_names
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

REASONS = ("outside_source_folder", "missing_image", "file_too_large", "unreadable_image")
CITATION = "Long et al., On Creating Benchmark Dataset for Aerial Image Interpretation, JSTARS 2021, arXiv:2006.12485"
HOMEPAGE = "https://captain-whu.github.io/DiRS/"
VERSION = "2021"
LICENSE = UNKNOWN_LICENSE
ATTRIBUTION = "Million-AID, Wuhan University; imagery Google Earth"


@dataclass(frozen=True, kw_only=True)
class MillionAID:
    """The folder of the test images; images may lie in folders inside."""

    folder: Path
    endings: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
    """What the names of images end in."""

    @property
    def name(self) -> str:
        return "million_aid"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the images; each part names its own.

        Raises:
            ValueError: there are none.
        """
        names = list_files(self.folder, self.endings)
        if not names:
            raise ValueError(f"no image in {str(self.folder)!r} ends in {' or '.join(self.endings)}.")
        return parts_of_names(self.folder, names, ((name,) for name in names), rows_per_part)

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the images of a part; their names with folders are their ids."""
        for row, name in enumerate(part.where["names"]):
            try:
                image = read_confined(self.folder, confined_name(name))
                if not image:
                    raise RefusedError("missing_image", "the file is empty")
            except RefusedError as refusal:
                yield Reject(row, refusal.reason, f"{name}: {refusal.detail}"[:400])
            else:
                yield SourceRow(
                    source=self.name,
                    source_id=PurePosixPath(name).as_posix(),
                    image=image,
                    license=LICENSE,
                    attribution=ATTRIBUTION,
                    split="test",
                )
