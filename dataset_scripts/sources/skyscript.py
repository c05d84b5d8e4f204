"""SkyScript: images of Google Earth Engine collections with captions assembled from OpenStreetMap tags.

Read are the published CSV files and the unpacked `images2` to `images7`. The collection, and with it the licence, is
the two-letter code in an image's name (`a198234555_CH_19.jpg`), by the authors' `image_sources.py`; else unknown. The
`meta` pickles are not opened: a pickle can run any code.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from ..stages.rejects import RefusedError, Reject
from .confined_files import confined_name, existing_folder, file_state
from .listing_text import SPLITS, read_captions, read_name
from .numbered_records import csv_columns, read_csv
from .parts import Listed, ListedRow, Place, cut_into_parts, read_part, settings_text
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

CAPTION_COLUMNS = ("title", "title_multi_objects")
_PUBLIC_DOMAIN = "public-domain"
# Code in the file name: (collection of Earth Engine, licence as `rights` names it, whom to name). Terms: its catalogue.
COLLECTIONS = {
    "US": ("USDA/NAIP/DOQQ", _PUBLIC_DOMAIN, "USDA Farm Production and Conservation, NAIP"),
    "CH": (
        "ORTHO/Switzerland/SWISSIMAGE/10cm",
        "LicenseRef-swisstopo-OGD",
        "Federal Office of Topography swisstopo",
    ),
    "DE": ("Germany/Brandenburg/orthos/20cm", "DL-DE-BY-2.0", "© GeoBasis-DE/LGB, dl-de/by-2-0, cut out"),
    "FI": ("Finland/SMK/V/50cm", "CC-BY-4.0", "Contains data from the National Land Survey of Finland"),
    "ES": ("Spain/PNOA/PNOA10", "CC-BY-4.0", "PNOA CC-BY 4.0 scne.es"),
    "P3": ("SKYSAT/GEN-A/PUBLIC/ORTHO/RGB", "CC-BY-4.0", "Planet Labs Inc., SkySat"),
    "P5": ("SKYSAT/GEN-A/PUBLIC/ORTHO/MULTISPECTRAL", "CC-BY-4.0", "Planet Labs Inc., SkySat"),
    "S2": (
        "COPERNICUS/S2_SR_HARMONIZED",
        "copernicus-sentinel",
        "Modified Copernicus Sentinel data",
    ),
    "L8": ("LANDSAT/LC08/C02/T1_TOA", _PUBLIC_DOMAIN, "Landsat-8 image courtesy of the U.S. Geological Survey"),
    "L9": ("LANDSAT/LC09/C02/T1_TOA", _PUBLIC_DOMAIN, "Landsat-9 image courtesy of the U.S. Geological Survey"),
}
_IMAGE_NAME = re.compile(r"[anw]\d+_([A-Z0-9]{2})_\d+")
_SPLIT_IN_NAME = re.compile(r"_(train|val|test)_")


@dataclass(frozen=True, kw_only=True)
class SkyScript:
    """SkyScript; captions are ODbL-1.0, as their tags are, also where a language model rewrote them."""

    folder: Path
    """Folder that holds images2, images3, ... and the CSV files, these perhaps in `dataframe`."""
    captions: tuple[str, ...] = ()
    """Names of the CSV files to use, below the folder; none: all there are, at most one for each split."""

    name: ClassVar[str] = "skyscript"
    citation: ClassVar[str] = (
        "Wang, Prabha, Huang, Wu and Rajagopal, SkyScript: A Large and Semantically Diverse Vision-Language Dataset "
        "for Remote Sensing, AAAI 2024; arXiv:2312.12856"
    )
    homepage: ClassVar[str] = "https://github.com/wangzhecheng/SkyScript"
    version: ClassVar[str | None] = "b16d2e76c5a0cdd644e2422a4446fb092d2dc1e4"
    image_license: ClassVar[str] = UNKNOWN_LICENSE
    caption_license: ClassVar[str] = "ODbL-1.0"
    attribution: ClassVar[str] = "through SkyScript (Z. Wang and others, 2024); captions © OpenStreetMap contributors"

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """Cut the CSV files into parts, file by file."""
        files = self._files()
        states = [file_state(self.folder, file) for file in files]
        places = (self._place(where, listed) for file in files for where, listed in self._from({"file": file}))
        what = f"{self.name} in {str(self.folder)!r}"
        return cut_into_parts(places, rows_per_part, settings=settings_text({"name": self.name}, states), what=what)

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a part."""
        return read_part(part, (listed for _, listed in self._from(part.where)), self.folder)

    def listed_rows(self) -> Iterator[ListedRow]:
        """Yield the rows of all parts that can be read, without their images."""
        rows = (listed for file in self._files() for _, listed in self._from({"file": file}))
        return (listed for listed in rows if isinstance(listed, ListedRow))

    def _files(self) -> list[str]:
        existing_folder(self.folder, self.name)
        files = [confined_name(file) for file in self.captions]
        for file in files:
            if not (self.folder / file).is_file():
                raise FileNotFoundError(f"{str(self.folder)!r} holds no {file!r}; captions names CSV files below it.")
        if not files:
            found = [*self.folder.glob("*.csv"), *self.folder.glob("dataframe/*.csv")]
            files = sorted(path.relative_to(self.folder).as_posix() for path in found)
            self._require_one_for_each_split(files)
        for file in files:
            columns = csv_columns(self.folder / file)
            if "filepath" not in columns or not set(CAPTION_COLUMNS) & set(columns):
                raise ValueError(
                    f"{file} has the columns {', '.join(columns)}; wanted filepath and {' or '.join(CAPTION_COLUMNS)}."
                )
        return files

    def _require_one_for_each_split(self, files: Sequence[str]) -> None:
        if not files:
            raise FileNotFoundError(f"{str(self.folder)!r} and its dataframe folder hold no CSV file of {self.name}.")
        for split in (*SPLITS.values(), None):
            same = [file for file in files if _split_of(file) == split]
            if len(same) > 1:
                raise ValueError(
                    f"{' and '.join(same)} are captions of one split ({split or 'none in the name'}), and their rows "
                    "overlap; say which to use by captions=(...,)."
                )

    def _place(self, where: Mapping[str, Any], listed: Listed) -> Place:
        group = PurePosixPath(where["file"]).stem
        if isinstance(listed, RefusedError):
            return Place(where=where, group=group, key=None)
        return Place(where=where, group=group, key=listed.row.source_id, state=file_state(self.folder, listed.image))

    def _from(self, where: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Listed]]:
        file = where["file"]
        split = _split_of(file)
        # The polished files were written by a language model; the others by rules from tags.
        kind = "machine" if "language_polished" in file else "metadata"
        for record in read_csv(self.folder / file, offset=where.get("offset", 0), line=where.get("line", 1)):
            here = {"file": file, "offset": record.offset, "line": record.line}
            if isinstance(record.values, RefusedError):
                yield here, record.values
            else:
                yield here, self._parse(record.values, f"{file}, line {record.line}", split, kind)

    def _parse(self, values: dict[str, Any], place: str, split: str | None, kind: str) -> Listed:
        try:
            name = confined_name(read_name(values, "filepath", place))
            captions = read_captions([values[column] for column in CAPTION_COLUMNS if column in values], place)
            if not captions:
                raise RefusedError("no_caption", f"{place}: {name}")
        except RefusedError as refusal:
            return refusal
        license_name, credit = license_of_image(name)
        row = SourceRow(
            source=self.name,
            source_id=name,
            # A focus object that stands alone has the same caption in both columns.
            captions=tuple(dict.fromkeys(captions)),
            caption_kind=kind,
            license=license_name,
            caption_license=self.caption_license,
            attribution=f"{credit}, {self.attribution}" if credit else self.attribution,
            split=split,
        )
        return ListedRow(row=row, image=name)


def license_of_image(name: str) -> tuple[str, str]:
    """Return the licence of an image and whom to name, by the code of its collection in the name."""
    match = _IMAGE_NAME.fullmatch(PurePosixPath(name).stem)
    if match is None or match[1] not in COLLECTIONS:
        return UNKNOWN_LICENSE, ""
    _, license_name, credit = COLLECTIONS[match[1]]
    return license_name, credit


def _split_of(file: str) -> str | None:
    match = _SPLIT_IN_NAME.search(PurePosixPath(file).name)
    return None if match is None else SPLITS[match[1]]
