"""The names that `--source` takes, and the adapters behind them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pyarrow as pa

from .rights import NOTHING, TABLE, rights_of
from .sources import bigearthnet, fmow, million_aid, rs5m_release
from .sources.bigearthnet import BigEarthNet
from .sources.built_dataset import BuiltDataset
from .sources.fmow import FMoW
from .sources.fusionrs_index import FusionRSIndex
from .sources.image_folder import ImageFolder
from .sources.karpathy_captions import RSICD, RSITMD, NWPUCaptions
from .sources.million_aid import MillionAID
from .sources.rs5m_release import RS5MMetafiles, RS5MRelease
from .sources.simulated_scenes import SimulatedScenes
from .sources.skyscript import SkyScript
from .sources.source_row import UNKNOWN_LICENSE, Source
from .sources.web_pairs import WebPairs
from .sources.web_sources import WEB, WEB_SOURCES

# Name, and what it reads; `web` and the eleven sets of RS5M hold addresses, the others images.
SOURCE_NAMES: Mapping[str, str] = {
    "simulator": "scenes of the simulator, infrared included; no path",
    "folder": "your own images with captions, and infrared partners where you have them",
    "dataset": "a folder that a build wrote, such as rs5m",
    "rsicd": "RSICD: dataset_rsicd.json and RSICD_images, or train.jsonl, val.jsonl, test.jsonl",
    "rsitmd": "RSITMD, in the same forms",
    "nwpu_captions": "NWPU-Captions: dataset_nwpu.json and its images",
    "skyscript": "SkyScript: its CSV files and images",
    "fusionrs_index": "the public index of FusionRS, joined to your copies (--sources.index-roots)",
    "rs5m_release": "the released tars of RS5M",
    "rs5m_metafiles": "the released CSV files of RS5M, with a folder of images (--sources.metafile-images)",
    "fmow": "Functional Map of the World: images with their JSON files",
    "bigearthnet": "BigEarthNet: patches of Sentinel-2 with their labels",
    "millionaid": "MillionAID: images without captions",
    **{name: f"addresses and captions of {name}" for name in WEB_SOURCES},
    "web": "addresses and captions of your own: columns `url` and `caption`",
}

# Sources whose terms are constants of their module; the releases of RS5M yield rows of these names too.
_MODULES: Mapping[str, ModuleType] = {
    "fmow": fmow,
    "bigearthnet": bigearthnet,
    "million_aid": million_aid,
    "rs5m_pub11": rs5m_release,
    "rs5m_rs3": rs5m_release,
}


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What some sources need to know besides their folder."""

    scene_size: int = 224
    """Pixels a side of simulated scenes."""
    scene_seed: int = 0
    """Names the series of simulated scenes."""
    captions_from: Literal["files", "folder"] = "files"
    """Of your own folder: captions stand in metadata.jsonl, metadata.csv or text files; or the sub-folder is the
    class."""
    caption_template: str | None = None
    """With captions from the folder, the caption of an image, such as "an aerial image of {class}"."""
    require_captions: bool = True
    """Of your own folder: leave out images without a caption."""
    ignored_columns: tuple[str, ...] = ()
    """Columns of its metadata file that mean nothing here."""
    infrared_folder: Path | None = None
    """Infrared images of your own folder: the same sub-folders and names."""
    infrared_band: Literal["thermal", "mwir", "swir", "nir"] | None = None
    """Band of the infrared images of your own folder."""
    license: str = UNKNOWN_LICENSE
    """SPDX identifier of the licence of your own folder; what is unknown is never published."""
    caption_license: str | None = None
    """SPDX identifier of the licence of its captions, if it is another."""
    attribution: str = ""
    """Whom to name for your own folder; licences such as CC-BY ask for it."""
    index_roots: tuple[str, ...] = ()
    """Your copies for `fusionrs_index`: NAME=FOLDER for NWPU, RS5M, RSICD, RSITMD, SkyScript, or for some of them."""
    index_sha256: str | None = None
    """SHA-256 that the index of `fusionrs_index` must have."""
    metafile_images: Path | None = None
    """Folder of the images that `rs5m_metafiles` names."""
    web_url_column: str = "url"
    """Column of addresses in your own files of `web`."""
    web_caption_columns: tuple[str, ...] = ("caption",)
    """Columns of captions there."""
    web_sha256_column: str = "sha256"
    """Column with the SHA-256 of each image there, where files have one; another image is left out."""

    def __post_init__(self) -> None:
        """Refuse a licence that nobody could act on, such as one that is spelt wrong."""
        for name in ("license", "caption_license"):
            value = getattr(self, name)
            if value is not None and rights_of(value) == NOTHING and not _NAMES_NO_RIGHTS.match(value):
                close = get_close_matches(value.lower(), TABLE, n=1)
                raise ValueError(
                    f"{name} {value!r} is not one that the build knows"
                    f"{f', did you mean {close[0]!r}' if close else ''}? Give an SPDX identifier of rights.py, "
                    "LicenseRef-NAME for one of your own, which is never published, or unknown."
                )


# Adapters whose name is that of their objects.
_UNNAMED: Mapping[str, Any] = {"fmow": FMoW, "bigearthnet": BigEarthNet, "millionaid": MillionAID}


_NAMES_NO_RIGHTS = re.compile(r"unknown$|LicenseRef-[\w.-]+$", re.IGNORECASE)


def open_sources(specs: Sequence[str], options: SourceOptions, *, num_scenes: int) -> list[Source]:
    """Return the adapter of every `--source`.

    Raises:
        ValueError: a name is not known, a path is missing, or one name comes twice.
        FileNotFoundError: a path does not exist.
    """
    sources = [_open_source(spec, options, num_scenes) for spec in specs]
    names = Counter(source.name for source in sources)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"source {', '.join(twice)} is given twice; rows of equal names could not be told apart.")
    return sources


def refuse_addresses(specs: Sequence[str]) -> None:
    """Raise a ValueError where a source holds addresses only, and the build does not download."""
    names = [spec.partition(":")[0] for spec in specs]
    if found := [name for name in names if name in WEB_SOURCES or name == "web"]:
        raise ValueError(
            f"source {', '.join(found)} holds addresses, not images. Build rs5m of it first, and take that: "
            "--source dataset:rs5m."
        )


def describe_sources(sources: Sequence[Source], names_of_rows: pa.Array) -> list[dict[str, Any]]:
    """Return the manifest's account of every source that rows name, with the rows that came through.

    A release of several sets yields rows under the names of those sets.
    """
    known: dict[str, Any] = {source.name: getattr(source, "source", source) for source in sources}
    known = {**WEB_SOURCES, **known, **_MODULES}
    counts = names_of_rows.value_counts()
    rows = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    return [{"name": name, **_facts(known.get(name)), "rows": rows[name]} for name in sorted(rows)]


def _facts(constants: Any) -> dict[str, Any]:
    """The terms of an adapter, of a module, or of a web set's entry in the table; else nothing is known of a source."""

    def term(name: str) -> str | None:
        return getattr(constants, name.upper() if isinstance(constants, ModuleType) else name, None)

    license_id = term("image_license") or term("license") or UNKNOWN_LICENSE
    return {
        "license": license_id,
        "caption_license": term("caption_license") or license_id,
        **{name: term(name) or "" for name in ("attribution", "citation", "homepage", "version")},
    }


def _open_source(spec: str, options: SourceOptions, num_scenes: int) -> Source:
    name, _, path = spec.partition(":")
    if name not in SOURCE_NAMES:
        raise ValueError(f"source {name!r} is not known; there are\n{source_list()}")
    if name == "simulator":
        return SimulatedScenes(num_scenes=num_scenes, seed=options.scene_seed, size=options.scene_size)
    if not path:
        raise ValueError(f"source {name!r} needs the folder of your copy: --source {name}:FOLDER.")
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"source {name!r}: {path} does not exist.")
    if name == "web":
        own = replace(
            WEB,
            url_column=options.web_url_column,
            caption_columns=options.web_caption_columns,
            sha256_column=options.web_sha256_column,
        )
        return WebPairs(folder=place, source=own)
    if name in WEB_SOURCES:
        return WebPairs(folder=place, source=WEB_SOURCES[name])
    return _image_source(name, place, options)


def _image_source(name: str, place: Path, options: SourceOptions) -> Source:
    match name:
        case "folder":
            return ImageFolder(
                folder=place,
                captions_from=options.captions_from,
                caption_template=options.caption_template,
                require_captions=options.require_captions,
                ignored_columns=options.ignored_columns,
                infrared_folder=options.infrared_folder,
                infrared_band=options.infrared_band,
                license=options.license,
                caption_license=options.caption_license,
                attribution=options.attribution,
            )
        case "dataset":
            return BuiltDataset(folder=place)
        case "rsicd":
            return RSICD(folder=place)
        case "rsitmd":
            return RSITMD(folder=place)
        case "nwpu_captions":
            return NWPUCaptions(folder=place)
        case "skyscript":
            return SkyScript(folder=place)
        case "fusionrs_index":
            return FusionRSIndex(index=place, roots=_roots(options.index_roots), index_sha256=options.index_sha256)
        case "rs5m_release":
            return RS5MRelease(folder=place)
        case "rs5m_metafiles":
            return RS5MMetafiles(folder=place, images=options.metafile_images)
        case "fmow":
            return FMoW(folder=place)
        case "bigearthnet":
            return BigEarthNet(folder=place)
        case _:
            return MillionAID(folder=place)


def _roots(specs: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=FOLDER`, several times."""
    roots = {}
    for spec in specs:
        name, equals, folder = spec.partition("=")
        if not equals or not folder:
            raise ValueError(f"index root {spec!r} is not NAME=FOLDER.")
        roots[name] = Path(folder)
    return roots


def source_list() -> str:
    """The names, a line each."""
    return "\n".join(f"  {name:<18}{text}" for name, text in SOURCE_NAMES.items())
