"""RSICD, RSITMD and NWPU-Captions: photographs from above, each with sentences written by people.

Two layouts are read: the authors' JSON file beside a folder of images, and `train.jsonl`, `val.jsonl`, `test.jsonl`
whose rows are `{"image": path, "captions": [...], "class_name": ...}`. The authors' JSON (some ten megabytes) is held
while a part is read; images are read one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from ..stages.rejects import RefusedError, Reject
from .confined_files import confined_name, existing_folder, file_state
from .listing_text import class_of_file, read_captions, read_name, read_split, read_string
from .numbered_records import load_json, read_jsonl
from .parts import Listed, ListedRow, Place, cut_into_parts, read_part, settings_text
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

SPLIT_FILES = ("train.jsonl", "val.jsonl", "validation.jsonl", "test.jsonl")


@dataclass(frozen=True, kw_only=True)
class CaptionedImages:
    """What the three sources share."""

    folder: Path
    """Folder with the authors' JSON file and the folder of images, or with train.jsonl, val.jsonl, test.jsonl."""
    image_folder: Path | None = None
    """Where the images are, if they are not where the authors put them."""

    name: ClassVar[str]
    annotations: ClassVar[str]
    images: ClassVar[str]
    citation: ClassVar[str]
    homepage: ClassVar[str]
    attribution: ClassVar[str]
    version: ClassVar[str | None] = None
    image_license: ClassVar[str] = UNKNOWN_LICENSE
    caption_license: ClassVar[str] = UNKNOWN_LICENSE

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """Cut the listing into parts, in its own order."""
        files = self._listings()
        root, prefix = self._images(files)
        states = [file_state(self.folder, file) for file in files]
        places = (
            _place(where, group, listed, file_state(root, listed.image) if isinstance(listed, ListedRow) else "")
            for where, group, listed in self._listed(files, prefix)
        )
        what = f"{self.name} in {str(self.folder)!r}"
        return cut_into_parts(places, rows_per_part, settings=settings_text({"name": self.name}, states), what=what)

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a part."""
        root, prefix = self._images([part.where["file"]])
        return read_part(part, (listed for _, _, listed in self._from(part.where, prefix)), root)

    def listed_rows(self) -> Iterator[ListedRow]:
        """Yield the rows of all parts that can be read, without their images."""
        files = self._listings()
        _, prefix = self._images(files)
        return (listed for _, _, listed in self._listed(files, prefix) if isinstance(listed, ListedRow))

    def _listings(self) -> list[str]:
        """Names of the files that list the images: the authors' file, or those of the splits."""
        existing_folder(self.folder, self.name)
        splits = [file for file in SPLIT_FILES if (self.folder / file).is_file()]
        if (self.folder / self.annotations).is_file():
            if splits:
                raise ValueError(
                    f"{str(self.folder)!r} holds {self.annotations} and {splits[0]}, two listings; keep one of them."
                )
            return [self.annotations]
        if not splits:
            raise FileNotFoundError(
                f"{str(self.folder)!r} holds neither {self.annotations} nor any of {', '.join(SPLIT_FILES)}. "
                f"Unpack {self.name} there; see {self.homepage}."
            )
        return splits

    def _images(self, files: Sequence[str]) -> tuple[Path, str]:
        """The folder that no image may lie outside of, and what goes before the listed names."""
        if self.image_folder is not None:
            return existing_folder(self.image_folder, f"{self.name}, image_folder"), ""
        if files != [self.annotations]:
            return self.folder, ""
        existing_folder(self.folder / self.images, f"{self.name}, images")
        return self.folder, f"{self.images}/"

    def _listed(self, files: Sequence[str], prefix: str) -> Iterator[tuple[Mapping[str, Any], str, Listed]]:
        for file in files:
            yield from self._from({"file": file}, prefix)

    def _from(self, where: Mapping[str, Any], prefix: str) -> Iterator[tuple[Mapping[str, Any], str, Listed]]:
        """The rows of a file from a place on, each with its own place and group."""
        file = where["file"]
        if file == self.annotations:
            entries = self._entries(load_json(self.folder / file))
            for first, (place, values, folder) in enumerate(entries):
                if first >= where.get("first", 0):
                    yield {"file": file, "first": first}, Path(file).stem, self._parse(values, place, prefix, folder)
            return
        split = Path(file).stem
        for record in read_jsonl(self.folder / file, offset=where.get("offset", 0), line=where.get("line", 1)):
            here = {"file": file, "offset": record.offset, "line": record.line}
            if isinstance(record.values, RefusedError):
                yield here, split, record.values
            else:
                place = f"{file}, line {record.line}"
                yield here, split, self._parse_simple({"split": split, **record.values}, place, prefix)

    def _entries(self, content: Any) -> Iterator[tuple[str, Any, str]]:
        """The entries of the authors' file: where each stands, what stands there, and the folder of its image."""
        images = content.get("images") if isinstance(content, dict) else None
        if not isinstance(images, list):
            raise ValueError(f"{self.annotations} has no list under the key 'images'; is it the file of {self.name}?")
        return ((f"images[{number}]", values, "") for number, values in enumerate(images))

    def _sentences(self, values: dict[str, Any], place: str) -> tuple[str, ...]:
        sentences = values.get("sentences", [])
        if not isinstance(sentences, list) or not all(isinstance(sentence, dict) for sentence in sentences):
            raise RefusedError("malformed_row", f"{place}: sentences are no list of objects")
        return read_captions([sentence.get("raw") for sentence in sentences], place)

    def _parse(self, values: Any, place: str, prefix: str, folder: str) -> Listed:
        try:
            if not isinstance(values, dict):
                raise RefusedError("malformed_row", f"{place}: a {type(values).__name__}, wanted an object")
            name = confined_name(folder + read_name(values, "filename", place))
            return self._row(name, prefix, values, self._sentences(values, place), None, place)
        except RefusedError as refusal:
            return refusal

    def _parse_simple(self, values: dict[str, Any], place: str, prefix: str) -> Listed:
        try:
            name = confined_name(read_name(values, "image", place))
            captions = read_captions(values.get("captions"), place)
            return self._row(name, prefix, values, captions, read_string(values, "class_name", place), place)
        except RefusedError as refusal:
            return refusal

    def _row(
        self,
        name: str,
        prefix: str,
        values: dict[str, Any],
        captions: tuple[str, ...],
        class_name: str | None,
        place: str,
    ) -> ListedRow:
        split = read_split(values.get("split"), place)
        if not captions:
            raise RefusedError("no_caption", f"{place}: {name}")
        row = SourceRow(
            source=self.name,
            source_id=name,
            captions=captions,
            caption_kind="human",
            class_name=class_name or class_of_file(PurePosixPath(name).stem),
            license=self.image_license,
            caption_license=self.caption_license if self.caption_license != self.image_license else None,
            attribution=self.attribution,
            split=split,
        )
        return ListedRow(row=row, image=prefix + name)


@dataclass(frozen=True, kw_only=True)
class RSICD(CaptionedImages):
    """RSICD: 10,921 images with five sentences each."""

    name: ClassVar[str] = "rsicd"
    annotations: ClassVar[str] = "dataset_rsicd.json"
    images: ClassVar[str] = "RSICD_images"
    citation: ClassVar[str] = (
        "Lu, Wang, Zheng and Li, Exploring Models and Data for Remote Sensing Image Caption Generation, "
        "IEEE TGRS 56(4), 2018; arXiv:1712.07835"
    )
    homepage: ClassVar[str] = "https://github.com/201528014227051/RSICD_optimal"
    attribution: ClassVar[str] = "RSICD (X. Lu and others, 2018)"


@dataclass(frozen=True, kw_only=True)
class RSITMD(CaptionedImages):
    """RSITMD: 4,743 images with five sentences each."""

    name: ClassVar[str] = "rsitmd"
    annotations: ClassVar[str] = "dataset_RSITMD.json"
    images: ClassVar[str] = "images"
    citation: ClassVar[str] = (
        "Yuan, Zhang, Fu and others, Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image "
        "Retrieval, IEEE TGRS 60, 2022; arXiv:2204.09868"
    )
    homepage: ClassVar[str] = "https://github.com/xiaoyuan1996/AMFMN/tree/master/RSITMD"
    attribution: ClassVar[str] = "RSITMD (Z. Yuan and others, 2022)"


@dataclass(frozen=True, kw_only=True)
class NWPUCaptions(CaptionedImages):
    """NWPU-Captions: the 31,500 images of NWPU-RESISC45 with five sentences each, in folders of 45 classes."""

    name: ClassVar[str] = "nwpu_captions"
    annotations: ClassVar[str] = "dataset_nwpu.json"
    images: ClassVar[str] = "NWPU_images"
    citation: ClassVar[str] = (
        "Cheng, Huang, Xu, Zhou, Li and Wang, NWPU-Captions Dataset and MLCA-Net for Remote Sensing Image Captioning, "
        "IEEE TGRS 60, 2022; images: Cheng, Han and Lu, Proceedings of the IEEE 105(10), 2017"
    )
    homepage: ClassVar[str] = "https://github.com/HaiyanHuang98/NWPU-Captions"
    attribution: ClassVar[str] = "NWPU-RESISC45 (G. Cheng and others, 2017), captions of NWPU-Captions (2022)"
    # Those of the images do not extend to the sentences, for which nothing is stated.
    image_license: ClassVar[str] = "CC-BY-NC-4.0"

    def _entries(self, content: Any) -> Iterator[tuple[str, Any, str]]:
        if not isinstance(content, dict) or not all(isinstance(entries, list) for entries in content.values()):
            raise ValueError(f"{self.annotations} is not an object of lists, one for each class of {self.name}.")
        return (
            (f"{category}[{number}]", values, f"{category}/")
            for category, entries in content.items()
            for number, values in enumerate(entries)
        )

    def _sentences(self, values: dict[str, Any], place: str) -> tuple[str, ...]:
        keys = ("raw", "raw_1", "raw_2", "raw_3", "raw_4")
        return read_captions([values[key] for key in keys if values.get(key) is not None], place)


def _place(where: Mapping[str, Any], group: str, listed: Listed, state: str) -> Place:
    key = listed.row.source_id if isinstance(listed, ListedRow) else None
    return Place(where=where, group=group, key=key, state=state)
