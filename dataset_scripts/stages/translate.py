"""Translates RGB images to infrared style: what every translator takes and gives, and the choice between them.

The pixels of one image depend on that image, its id and the settings alone: not on the images it shares a batch or a
shard with, nor on their order, so that work can be cut, resumed and repeated. `images_in_fixed_batches` says how.
"""

import hashlib
import io
import math
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .rejects import Reject

Name = Literal["luminance", "unet", "diffv2ir"]
Segmentation = Literal["absent", "given"]
Segment = Callable[[Image.Image], Image.Image]
"""Draws the segmentation image of an RGB image, in its size; for DiffV2IR the union of SAM's masks, white on black."""

REASONS = ("not_rgb", "aspect", "too_large", "no_caption", "not_finite")
DTYPES = ("float32", "bfloat16", "float16")
# What the published model falls back to without a caption, and what it wraps around one.
NEUTRAL_PROMPT = "turn the RGB image into the infrared one"
CAPTION_PROMPT = "turn the visible image of {} into infrared"
RESOLUTION_MULTIPLE = 64
# Run-length encoding only: many times faster than the default, for files that are a little larger.
PNG_OPTIONS = {"compress_level": 1, "compress_type": 3}
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class TranslatorSettings:
    """Which translator, and how it runs. All of it belongs in the manifest: the pixels depend on it."""

    name: Name
    """`luminance` is the greyscale control, `unet` an RSTranslatorModel, `diffv2ir` the diffusion model of FusionRS."""
    checkpoint: str | None = None
    """Folder or Hub id; not for `luminance`."""
    revision: str | None = None
    """Full commit of a Hub id, which needs one. Of a folder its SHA-256 (`folder_sha256`), to be verified if given."""
    trust_remote_code: bool = False
    """Whether the code in a `unet` checkpoint may run. Not needed where modeling_rsclip has been imported."""
    seed: int = 1234
    """Together with the id of an image the seed of its noise."""
    batch_size: int = 1
    """Images that run together on a GPU, always this many; on a CPU, which gains nothing from it, each runs alone."""
    device: str = "cpu"
    cpu_threads: int = 1
    """Threads on a CPU. Their number shows in the last bit, so it is fixed; more workers are the way to more cores."""
    dtype: str = "float32"
    """Of the network; images, noise and the autoencoder of `diffv2ir` stay in float32."""
    max_megapixels: float = 16.0
    """Larger images are rejected by `unet`, which needs about 1 GB of memory per megapixel at its default width."""
    steps: int = 20
    resolution: int = 512
    """Longer side that `diffv2ir` works at, about: both sides are multiples of 64, the shorter one rounded up."""
    text_guidance: float = 7.5
    image_guidance: float = 1.5
    segmentation_guidance: float = 1.5
    """No effect with `segmentation="absent"`."""
    segmentation: Segmentation | None = None
    """For a 12-channel `diffv2ir`: `given` by the caller's function, or `absent`, the zero latent that training drops
    it to. None for an 8-channel checkpoint (InstructPix2Pix), which has no such input."""
    caption_conditioned: bool = False
    """Whether captions guide `diffv2ir`. Then the pixels leak text, and the origin says so."""
    prompt: str = NEUTRAL_PROMPT
    """What guides `diffv2ir` otherwise; the same for all images."""

    def __post_init__(self) -> None:
        for field, value, known in (
            ("name", self.name, get_args(Name)),
            ("dtype", self.dtype, DTYPES),
            ("segmentation", self.segmentation, (None, *get_args(Segmentation))),
        ):
            if value not in known:
                raise ValueError(f"{field} is {value!r}; wanted one of {known}.")
        if (self.checkpoint is None) != (self.name == "luminance"):
            raise ValueError(
                f"checkpoint is {self.checkpoint!r} for {self.name!r}; luminance takes none, the others need a folder "
                "or a Hub id."
            )
        if self.name != "diffv2ir" and (self.caption_conditioned or self.segmentation is not None):
            raise ValueError(f"{self.name!r} knows no captions and no segmentation; only 'diffv2ir' does.")
        for field in ("batch_size", "cpu_threads", "steps"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 1.")
        if self.resolution < RESOLUTION_MULTIPLE or self.resolution % RESOLUTION_MULTIPLE:
            raise ValueError(f"resolution is {self.resolution}; wanted a multiple of {RESOLUTION_MULTIPLE}.")
        guidance = (self.text_guidance, self.image_guidance, self.segmentation_guidance)
        if not all(math.isfinite(scale) for scale in guidance) or not self.max_megapixels > 0:
            raise ValueError(f"guidance is {guidance}, max_megapixels {self.max_megapixels}; wanted finite, positive.")

    @property
    def images_at_once(self) -> int:
        """Images in every call of the network."""
        return 1 if self.device.startswith("cpu") else self.batch_size


@dataclass(frozen=True, slots=True)
class TranslationInput:
    """One image to translate, upright (EXIF orientation applied)."""

    id: str
    rgb: Image.Image
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Translated:
    """The infrared-style image of one row: mode `L` or `I;16`, in the size of its RGB image."""

    row: int
    infrared: Image.Image
    sha256: str
    """Of `png`."""
    png: bytes


class Translator(Protocol):
    """A loaded translator. It holds a model, so it stays in its process; settings travel."""

    @property
    def origin(self) -> str:
        """What the rows say in `infrared_origin`: `luminance`, or `translated:NAME@REVISION`."""

    @property
    def band(self) -> str | None:
        """The band whose images it learnt from, where it says so."""

    def translate(self, batch: Sequence[TranslationInput]) -> tuple[list[Translated], list[Reject]]:
        """Split a batch into translated rows and rejects with their reason, each in the order of the rows."""


def open_translator(settings: TranslatorSettings, segment: Segment | None = None) -> Translator:
    """Load the translator that the settings name.

    Args:
        segment: draws segmentation images; goes with `segmentation="given"`.
    """
    if (segment is not None) != (settings.segmentation == "given"):
        raise ValueError(
            f"segmentation is {settings.segmentation!r} and segment is {segment!r}; a function needs "
            "segmentation='given', and the other way round."
        )
    match settings.name:
        case "luminance":
            from .translate_luminance import LuminanceTranslator

            return LuminanceTranslator()
        case "unet":
            from .translate_unet import UNetTranslator

            return UNetTranslator(settings)
        case "diffv2ir":
            from .translate_diffv2ir import DiffV2IRTranslator

            return DiffV2IRTranslator(settings, segment)


def image_seed(seed: int, image_id: str) -> int:
    """The seed of one image's noise, which nothing else draws from."""
    digest = hashlib.sha256(f"{seed}\0{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def images_in_fixed_batches(
    sizes: Sequence[tuple[int, Hashable]], batch_size: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (rows, rows that run) of images of one size; the second is padded to `batch_size` with the last row.

    Libraries choose their order of summation by the shape of a batch, so an image alone and the same image among
    others differ in the last bit, and some of those bits decide how a pixel is rounded. So all batches have one shape.

    Args:
        sizes: (row, size) of every image; equal sizes run together.
    """
    by_size: dict[Hashable, list[int]] = {}
    for row, size in sizes:
        by_size.setdefault(size, []).append(row)
    for rows in by_size.values():
        for start in range(0, len(rows), batch_size):
            chunk = rows[start : start + batch_size]
            yield chunk, chunk + chunk[-1:] * (batch_size - len(chunk))


def encode_translated(row: int, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Translated:
    """Write (H, W) pixels of 8 or 16 bits as PNG."""
    return encode_image(row, Image.fromarray(pixels))


def encode_image(row: int, infrared: Image.Image) -> Translated:
    """Write an image of mode `L` or `I;16` as PNG."""
    buffer = io.BytesIO()
    infrared.save(buffer, "PNG", **PNG_OPTIONS)
    png = buffer.getvalue()
    return Translated(row, infrared, hashlib.sha256(png).hexdigest(), png)


def find_checkpoint(settings: TranslatorSettings) -> tuple[Path, str]:
    """Return the folder of the checkpoint and its revision; a Hub id is downloaded.

    Raises:
        ValueError: a Hub id comes without a full commit, or a folder is not the one that the revision names.
    """
    checkpoint, revision = str(settings.checkpoint), settings.revision
    if (folder := Path(checkpoint)).is_dir():
        found = folder_sha256(folder)
        if revision not in (None, found):
            raise ValueError(
                f"the folder {checkpoint} has the SHA-256 {found}, the settings name {revision}; it is another model "
                "than the one they were written for."
            )
        return folder, found
    if revision is None or not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"{checkpoint!r} is not a folder, and as a Hub id it comes with revision {revision!r}; name the full "
            "commit of 40 digits, so that the rows say which model made them."
        )
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(checkpoint, revision=revision)), revision


def folder_sha256(folder: Path) -> str:
    """The SHA-256 of a checkpoint: of what `sha256sum` prints for its files in the order of their names.

    Hidden files and Markdown, which no model reads, do not count.
    """
    relative = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    names = sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts))
    if not names:
        raise ValueError(f"{folder} holds no files; wanted the folder of a saved model.")
    listing = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as file:
            listing.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
    return listing.hexdigest()
