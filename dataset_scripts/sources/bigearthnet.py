"""Reads BigEarthNet v1, Sentinel-2: patches as band files with labels, or as RGB images that were made of them.

It has no captions; its rows carry the facts that captions are written from. Clouds, snow and splits are known from
the lists that its authors publish.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..stages.metadata_facts import facts_to_mapping
from ..stages.rejects import RefusedError, Reject
from ..stages.upstream_facts import bigearthnet_facts
from .confined_files import confined_name, read_confined
from .file_parts import list_files
from .fmow import read_metadata
from .image_names import parts_of_names
from .source_row import Part, SourceRow

REASONS = (
    "outside_source_folder",
    "missing_image",
    "file_too_large",
    "unreadable_image",
    "band_mismatch",
    "missing_metadata",
    "malformed_metadata",
    "missing_field",
    "cloud_or_shadow",
    "seasonal_snow",
    "in_no_split",
)
CITATION = "Sumbul et al., BigEarthNet, IGARSS 2019, arXiv:1902.06148"
HOMEPAGE = "https://bigearth.net"
VERSION = "S2 v1.0"
LICENSE = "CDLA-Permissive-1.0"
ATTRIBUTION = "BigEarthNet; contains modified Copernicus Sentinel data 2017-2018"

RGB_BANDS = ("B04", "B03", "B02")
PATCH_PIXELS = 120
# Reflectance times 10,000 that becomes white. EuroSAT, which is Sentinel-2 too, is published as
# `gdal_translate -ot Byte -scale 0 2750 1 255`; with the same rule both sets look alike.
WHITE_REFLECTANCE = 2750
BLACK_VALUE = 1
_LABELS_ENDING = "_labels_metadata.json"
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class BigEarthNet:
    """A folder of patches, or of RGB images."""

    folder: Path
    """With bands: the folder of the folders `PATCH/PATCH_B04.tif`. As RGB: the folder of `PATCH.jpg` or `.png`."""
    rgb: bool = False
    """Whether the folder holds images that were converted already; their bytes are taken as they are."""
    labels: Path | None = None
    """For RGB: the folder of the patches with their `*_labels_metadata.json`; without it rows have no facts."""
    cloud_list: Path | None = None
    """`patches_with_cloud_and_shadow.csv`; patches in it are refused."""
    snow_list: Path | None = None
    """`patches_with_seasonal_snow.csv`; patches in it are refused."""
    split_lists: Mapping[str, Path] | None = None
    """The published lists of patches of `train`, `validation` and `test`; a patch in none that is given is refused."""

    def __post_init__(self) -> None:
        unknown = set(self.split_lists or ()) - set(_SPLITS)
        if unknown:
            raise ValueError(f"split_lists names {', '.join(sorted(unknown))}; splits are {', '.join(_SPLITS)}.")
        if self.labels is not None and not self.rgb:
            raise ValueError("labels is for RGB images; patches of bands hold their own. Set rgb=True or leave it out.")

    @property
    def name(self) -> str:
        return "bigearthnet"

    def parts(self, rows_per_part: int) -> list[Part]:
        """List the patches; each part names its own, and what the lists say of them.

        Raises:
            ValueError: there are none, or a list is not a list of patches.
        """
        endings = (".jpg", ".jpeg", ".png") if self.rgb else (_LABELS_ENDING, f"_{RGB_BANDS[0]}.tif")
        found = list_files(self.folder, endings)
        # A patch is its folder; one that lacks its labels or a band is met when it is read.
        names = found if self.rgb else sorted({PurePosixPath(name).parent.as_posix() for name in found} - {"."})
        if not names:
            kind = "image .jpg or .png" if self.rgb else f"folder with {_LABELS_ENDING}"
            raise ValueError(f"there is no {kind} in {str(self.folder)!r}.")
        files = ((name,) for name in names) if self.rgb else (_files_of_patch(name) for name in names)
        verdicts = self._verdicts()
        return [
            self._with_verdicts(part, verdicts) for part in parts_of_names(self.folder, names, files, rows_per_part)
        ]

    def read(self, part: Part) -> Iterator[SourceRow | Reject]:
        """Yield the patches of a part as RGB images with their facts."""
        refused, splits = part.where["refused"], part.where["splits"]
        for row, name in enumerate(part.where["names"]):
            try:
                if name in refused:
                    raise RefusedError(refused[name], "by a list of patches")
                yield self._row(confined_name(name), splits.get(name))
            except RefusedError as refusal:
                yield Reject(row, refusal.reason, f"{name}: {refusal.detail}"[:400])

    def _verdicts(self) -> tuple[dict[str, str], dict[str, str] | None]:
        """What the lists say: the reason of each refused patch, and the split of each patch in one."""
        refused: dict[str, str] = {}
        for path, reason in ((self.snow_list, "seasonal_snow"), (self.cloud_list, "cloud_or_shadow")):
            refused |= dict.fromkeys(read_patch_list(path), reason) if path is not None else {}
        if self.split_lists is None:
            return refused, None
        splits: dict[str, str] = {}
        for split, path in sorted(self.split_lists.items()):
            for patch in read_patch_list(path):
                if splits.setdefault(patch, split) != split:
                    raise ValueError(f"{patch} is in the lists of {splits[patch]} and of {split}; it must be in one.")
        return refused, splits

    def _with_verdicts(self, part: Part, verdicts: tuple[dict[str, str], dict[str, str] | None]) -> Part:
        reasons, splits = verdicts
        refused: dict[str, str] = {}
        split_of: dict[str, str] = {}
        for name in part.where["names"]:
            patch = PurePosixPath(name).stem if self.rgb else PurePosixPath(name).name
            if patch in reasons:
                refused[name] = reasons[patch]
            elif splits is not None and patch not in splits:
                refused[name] = "in_no_split"
            elif splits is not None:
                split_of[name] = splits[patch]
        where = {**part.where, "refused": refused, "splits": split_of}
        state = hashlib.sha256(f"{part.fingerprint} {json.dumps([refused, split_of])}".encode()).hexdigest()
        return replace(part, where=where, fingerprint=state)

    def _row(self, name: str, split: str | None) -> SourceRow:
        patch = PurePosixPath(name).stem if self.rgb else PurePosixPath(name).name
        if self.rgb:
            image = read_confined(self.folder, name)
            if not image:
                raise RefusedError("missing_image", "the file is empty")
            metadata = None if self.labels is None else self._facts(self.labels, f"{patch}/{patch}{_LABELS_ENDING}")
        else:
            bands = [read_band(read_confined(self.folder, f"{name}/{patch}_{band}.tif"), band) for band in RGB_BANDS]
            metadata = self._facts(self.folder, f"{name}/{patch}{_LABELS_ENDING}")
            image = encode_png(reflectance_to_rgb(np.stack(bands, axis=-1)))
        return SourceRow(
            source=self.name,
            source_id=patch,
            image=image,
            license=LICENSE,
            attribution=ATTRIBUTION,
            split=split,
            metadata=metadata or {},
        )

    def _facts(self, folder: Path, name: str) -> dict[str, Any]:
        metadata = read_metadata(folder, confined_name(name))
        try:
            return facts_to_mapping(bigearthnet_facts(metadata))
        except RefusedError:
            raise
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise RefusedError("malformed_metadata", f"{type(error).__name__}: {error}") from error


def _files_of_patch(name: str) -> list[str]:
    patch = PurePosixPath(name).name
    return [f"{name}/{patch}{ending}" for ending in (*(f"_{band}.tif" for band in RGB_BANDS), _LABELS_ENDING)]


def read_patch_list(path: Path) -> list[str]:
    """Read a list of patches: the first column of each line, without a header.

    Raises:
        ValueError: a line is not the name of a Sentinel-2 patch.
    """
    names = [line.split(",")[0].strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    wrong = next((name for name in names if not name.startswith("S2")), None)
    if wrong is not None:
        raise ValueError(
            f"{str(path)!r} holds {wrong!r}, which is not the name of a Sentinel-2 patch (S2A_..., S2B_...)."
        )
    return names


def read_band(data: bytes, band: str) -> NDArray[np.uint16]:
    """Decode a 10 m band.

    Raises:
        RefusedError: the bytes are not a TIFF of 120 x 120 unsigned 16-bit values.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            if image.size != (PATCH_PIXELS, PATCH_PIXELS) or image.mode != "I;16":
                found = f"{image.width}x{image.height} of mode {image.mode}"
                raise RefusedError("band_mismatch", f"{band} is {found}, wanted 120x120 of mode I;16")
            return np.asarray(image, dtype=np.uint16)
    except RefusedError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, Warning) as error:
        raise RefusedError("unreadable_image", f"{band}: {type(error).__name__}: {error}") from error


def reflectance_to_rgb(reflectance: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Scale 0..2750 to 1..255, linearly and rounded; what is brighter is white."""
    scaled = BLACK_VALUE + reflectance.astype(np.float64) * (255 - BLACK_VALUE) / WHITE_REFLECTANCE
    return np.floor(np.minimum(scaled, 255) + 0.5).astype(np.uint8)


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode without loss; the pixels are the same everywhere, the bytes are with the same zlib."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()
