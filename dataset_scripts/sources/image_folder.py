"""A folder of images with captions, in one of three layouts, and perhaps an infrared image for each.

`metadata.jsonl` or `metadata.csv` names the images and their captions; or each image has a text file of its name beside
it, one caption a line; or the sub-folder of an image is its class (`captions_from="folder"`).
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from ..rights import license_text
from ..stages.rejects import RefusedError, Reject
from .confined_files import existing_folder, file_state, is_encodable, read_confined
from .folder_metadata import METADATA_FILES, MetadataRow, metadata_rows
from .listing_text import clean_text
from .parts import Listed, ListedRow, Place, cut_into_parts, read_part, settings_text
from .source_row import UNKNOWN_LICENSE, Part, SourceRow

# Formats that the decode check refuses are listed too, so that it can say so.
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2", ".j2k", ".heic", ".avif", ".jxl")
)
CAPTION_KINDS = ("web", "machine", "rotation_invariant", "metadata", "human")
INFRARED_BANDS = ("thermal", "mwir", "swir", "nir")
_ORIGIN = re.compile(r"sensor|simulated|luminance|translated:[^@\s]+@\S+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

Partners = Callable[[str], list[str]]


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Your own images as a source."""

    folder: Path
    """Folder of RGB images, at any depth. Names that begin with a dot are skipped."""
    name: str = "image_folder"
    """Name of the source in the rows; small letters, digits, - and _."""
    captions_from: Literal["files", "folder"] = "files"
    """`files`: captions stand in metadata.jsonl, metadata.csv or text files; `folder`: the sub-folder is the class."""
    caption_template: str | None = None
    """With captions_from="folder", the caption of an image without a text file, such as "a {class} scene"."""
    require_captions: bool = True
    """Reject images without a caption; otherwise they come without."""
    caption_kind: str = "human"
    """What the captions are: `web`, `machine`, `rotation_invariant`, `metadata` or `human`."""
    ignored_columns: tuple[str, ...] = ()
    """Columns of the metadata file to leave out."""
    infrared_folder: Path | None = None
    """Folder of infrared images in equal sub-folders and of equal names but for the ending. An `infrared_file_name` of
    the metadata is below it too, or else below `folder`."""
    infrared_origin: str = "sensor"
    """Where infrared images come from: `sensor`, `simulated`, `luminance` or `translated:NAME@REVISION`."""
    infrared_band: str | None = None
    """`thermal`, `mwir`, `swir` or `nir`; required where there are infrared images."""
    license: str = UNKNOWN_LICENSE
    """SPDX identifier of the licence of the images, where the metadata name no other."""
    caption_license: str | None = None
    """SPDX identifier of the licence of the captions, if it is another."""
    attribution: str = ""
    """Whom to name, where the metadata name nobody."""

    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    version: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}; use small letters, digits, - and _.")
        if self.captions_from not in ("files", "folder"):
            raise ValueError(f"captions_from is {self.captions_from!r}; wanted files or folder.")
        if self.caption_template is not None and "{class}" not in self.caption_template:
            raise ValueError(f"caption_template is {self.caption_template!r}; it must contain {{class}}.")
        if self.caption_template is not None and self.captions_from != "folder":
            raise ValueError('caption_template writes captions from class folders; give captions_from="folder" too.')
        if self.caption_kind not in CAPTION_KINDS:
            raise ValueError(f"caption_kind is {self.caption_kind!r}; wanted one of {', '.join(CAPTION_KINDS)}.")
        license_text(self.license, self.caption_license)
        if self.infrared_band is not None and self.infrared_band not in INFRARED_BANDS:
            raise ValueError(f"infrared_band is {self.infrared_band!r}; wanted one of {', '.join(INFRARED_BANDS)}.")
        if not _ORIGIN.fullmatch(self.infrared_origin):
            raise ValueError(
                f"infrared_origin is {self.infrared_origin!r}; wanted sensor, simulated, luminance or "
                "translated:NAME@REVISION."
            )
        if self.infrared_folder is not None:
            self._require_band("infrared_folder is given")

    def parts(self, rows_per_part: int) -> Sequence[Part]:
        """Cut the images, sorted by name, or the metadata file into parts; what is left over comes last."""
        metadata = self._metadata_file()
        images, links = self._walk(self.folder)
        if not images and metadata is None:
            raise FileNotFoundError(
                f"{str(self.folder)!r} holds no images at any depth; known endings are "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        states = [] if metadata is None else [file_state(self.folder, metadata)]
        settings = {one.name: getattr(self, one.name) for one in fields(self) if not one.name.endswith("folder")}
        places = self._places(metadata, images, links)
        text = settings_text(settings, states)
        return cut_into_parts(places, rows_per_part, settings=text, what=str(self.folder / (metadata or "")))

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the rows of a part."""
        return read_part(part, self._listed(part.where), self.folder, self.infrared_folder)

    def listed_rows(self, names: Collection[str]) -> Iterator[ListedRow]:
        """Yield the rows of those images that can be read, without the images."""
        metadata = self._metadata_file()
        wanted = frozenset(names)
        where: Mapping[str, Any] = {"items": sorted(wanted)} if metadata is None else {"file": metadata}
        rows = (listed for listed in self._listed(where) if isinstance(listed, ListedRow))
        return (listed for listed in rows if listed.image in wanted)

    def _require_band(self, why: str) -> None:
        if self.infrared_band is None:
            raise ValueError(f"{why}; say what it shows by infrared_band: one of {', '.join(INFRARED_BANDS)}.")

    def _metadata_file(self) -> str | None:
        existing_folder(self.folder, self.name)
        if self.infrared_folder is not None:
            existing_folder(self.infrared_folder, f"{self.name}, infrared_folder")
        found = [file for file in METADATA_FILES if (self.folder / file).is_file()]
        if len(found) > 1:
            raise ValueError(f"{str(self.folder)!r} holds {' and '.join(found)}; keep one of them.")
        if found and self.captions_from == "folder":
            raise ValueError(
                f'{str(self.folder)!r} holds {found[0]}, which captions_from="folder" would leave unread; '
                "remove the file or the setting."
            )
        return found[0] if found else None

    def _walk(self, top: Path) -> tuple[list[str], list[str]]:
        """Names of the images, and of links to folders; a folder of infrared images below the other is left out."""
        infrared = None if self.infrared_folder is None else os.path.realpath(self.infrared_folder)
        images: list[str] = []
        links: list[str] = []
        for place, folders, files in os.walk(top):
            visible = [name for name in folders if not name.startswith(".")]
            inside = PurePosixPath(os.path.relpath(place, top))
            links += [(inside / name).as_posix() for name in visible if Path(place, name).is_symlink()]
            folders[:] = [name for name in visible if os.path.realpath(Path(place, name)) != infrared]
            images += [(inside / name).as_posix() for name in files if _is_image(name)]
        return sorted(images), sorted(links)

    def _places(self, metadata: str | None, images: Sequence[str], links: Sequence[str]) -> Iterator[Place]:
        used: set[str] = set()
        used_infrared: set[str] = set()
        partners = self._partner_finder()
        listed = self._image_places(images, partners) if metadata is None else self._metadata_places(metadata, partners)
        for place, name, infrared in listed:
            used.update((name, *infrared))
            used_infrared.update(infrared)
            yield place
        left = [(name, "not_listed", f"is not in {metadata}") for name in images if name not in used]
        left += [
            (name, "outside_source_folder", "is a link to a folder; such links are not followed") for name in links
        ]
        if self.infrared_folder is not None:
            alone = [name for name in self._walk(self.infrared_folder)[0] if name not in used_infrared]
            left += [(name, "missing_image", "is an infrared image without an RGB partner") for name in alone]
        for name, reason, detail in left:
            yield Place(where={"left": True}, group="left-over", key=None, item=[reason, f"{name!a} {detail}"])

    def _image_places(self, images: Sequence[str], partners: Partners) -> Iterator[tuple[Place, str, list[str]]]:
        for name in images:
            infrared = partners(name)
            state = file_state(self.folder, name) + file_state(self.folder, _text_file(name)) + self._states(infrared)
            yield Place(where={}, group="images", key=name, state=state, item=name), name, infrared

    def _metadata_places(self, metadata: str, partners: Partners) -> Iterator[tuple[Place, str, list[str]]]:
        for where, row in metadata_rows(self.folder, {"file": metadata}, self.ignored_columns):
            if isinstance(row, RefusedError):
                yield Place(where=where, group="metadata", key=None), "", []
                continue
            infrared = [row.infrared_file_name] if row.infrared_file_name else partners(row.file_name)
            if row.infrared_file_name:
                self._require_band(f"{metadata} names infrared images")
            state = file_state(self.folder, row.file_name) + self._states(infrared)
            yield Place(where=where, group="metadata", key=row.file_name, state=state), row.file_name, infrared

    def _states(self, infrared: Sequence[str]) -> str:
        return "".join(file_state(self.infrared_folder or self.folder, name) for name in infrared)

    def _listed(self, where: Mapping[str, Any]) -> Iterator[Listed]:
        """The rows of a part, whatever it holds."""
        partners = self._partner_finder()
        if "left" in where:
            yield from (RefusedError(reason, detail) for reason, detail in where["items"])
        elif "file" in where:
            for _, row in metadata_rows(self.folder, where, self.ignored_columns):
                yield row if isinstance(row, RefusedError) else self._row(row, partners)
        else:
            for name in where["items"]:
                try:
                    yield self._row(self._describe(name), partners)
                except RefusedError as refusal:
                    yield refusal

    def _describe(self, name: str) -> MetadataRow:
        """What the folder says of an image: the text file beside it, and its sub-folder."""
        if not is_encodable(name):
            raise RefusedError("malformed_row", f"the name {name!a} is not UTF-8; rename the file")
        class_name = PurePosixPath(name).parent.name if self.captions_from == "folder" else ""
        captions = self._text_captions(_text_file(name))
        if not captions and class_name and self.caption_template is not None:
            captions = (clean_text(self.caption_template.replace("{class}", class_name.replace("_", " "))),)
        return MetadataRow(file_name=name, captions=captions, class_name=clean_text(class_name) or None)

    def _text_captions(self, name: str) -> tuple[str, ...]:
        if not os.path.lexists(self.folder / name):
            return ()
        try:
            lines = read_confined(self.folder, name).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise RefusedError("malformed_row", f"{name} is not UTF-8") from error
        return tuple(caption for line in lines if (caption := clean_text(line)))

    def _row(self, facts: MetadataRow, partners: Partners) -> Listed:
        name = facts.file_name
        infrared = facts.infrared_file_name
        if infrared is None and self.infrared_folder is not None:
            found = partners(name)
            if len(found) != 1:
                reason = "ambiguous_infrared" if found else "missing_infrared"
                return RefusedError(reason, f"{name} has {len(found)} infrared partners {', '.join(found)}".rstrip())
            infrared = found[0]
        if self.require_captions and not facts.captions:
            return RefusedError("no_caption", name)
        row = SourceRow(
            source=self.name,
            source_id=name,
            infrared_origin=None if infrared is None else self.infrared_origin,
            infrared_band=None if infrared is None else self.infrared_band,
            captions=facts.captions,
            caption_kind=self.caption_kind,
            infrared_captions=facts.infrared_captions,
            class_name=facts.class_name,
            license=facts.license or self.license,
            caption_license=self.caption_license,
            attribution=facts.attribution or self.attribution,
            split=facts.split,
            metadata=facts.metadata,
        )
        return ListedRow(row=row, image=name, infrared=infrared)

    def _partner_finder(self) -> Partners:
        """A function that gives the infrared images of equal stem; it looks at each folder once."""
        root = self.infrared_folder
        if root is None:
            return lambda name: []

        @lru_cache(maxsize=16)
        def stems(folder: str) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            try:
                names = sorted(path.name for path in (root / folder).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return found
            for name in filter(_is_image, names):
                found.setdefault(PurePosixPath(name).stem, []).append((PurePosixPath(folder) / name).as_posix())
            return found

        return lambda name: stems(PurePosixPath(name).parent.as_posix()).get(PurePosixPath(name).stem, [])


def _is_image(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _text_file(name: str) -> str:
    return PurePosixPath(name).with_suffix(".txt").as_posix()
