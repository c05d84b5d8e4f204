"""Scenes of semantic localization, read window by window: pictures of any format, and GeoTIFFs without loading them.

A heat map of a GeoTIFF is written as a GeoTIFF in the same place (`pip install rsclip[geo]`).
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from processing import read_bands

from .windows import Pixels

try:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.windows import Window
except ImportError:
    rasterio = None

STRIPE = 512
RGB = ("red", "green", "blue")
# Pillow makes RGB of the others by cutting values off.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class Scene(Protocol):
    """A scene of `height` x `width` pixels that is read in windows."""

    name: str
    height: int
    width: int

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[Pixels, float]:
        """RGB (bottom - top, right - left, 3), and the share of it that is data."""


class PictureScene:
    """A scene in memory."""

    def __init__(self, pixels: Pixels, name: str = "scene") -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"scene {name!r} is {pixels.dtype} of shape {pixels.shape}, wanted uint8 (H, W, 3).")
        self.name, self.pixels = name, pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[Pixels, float]:
        """See `Scene`."""
        return self.pixels[top:bottom, left:right], 1.0


class GeoTiffScene:
    """A GeoTIFF of any size. Pixels without data become the mean of the window's others.

    Args:
        path: The file.
        bands: Three names for RGB, or one that serves as all three; see `processing.read_bands`.
        band_numbers: Number of each band, from 1, for a file that does not name them.
        value_range: The values that become 0 and 255, the same for the whole scene; needed unless pixels have 8 bits.
    """

    def __init__(
        self,
        path: Path,
        bands: tuple[str, ...] = RGB,
        band_numbers: Mapping[str, int] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        if rasterio is None:
            raise ImportError("GeoTIFF scenes need rasterio, which is not installed. Run `pip install rsclip[geo]`.")
        if len(bands) not in (1, 3):
            raise ValueError(f"bands are {bands}, wanted three for red, green and blue, or one.")
        if value_range is not None and not value_range[0] < value_range[1]:
            raise ValueError(f"value_range is {value_range}, wanted a low and a higher value.")
        self.path, self.name = path, path.name
        self.bands, self.band_numbers, self.value_range = bands, band_numbers, value_range
        with _opened(path) as dataset:
            self.height, self.width = dataset.height, dataset.width
            eight_bits = set(dataset.dtypes) == {"uint8"}
        if not eight_bits and value_range is None:
            raise ValueError(
                f"scene {path} holds {dataset.dtypes[0]}; wanted 8 bits, or the values that are black and white. "
                "Pass value_range=(low, high)."
            )

    def read(self, top: int, bottom: int, left: int, right: int) -> tuple[Pixels, float]:
        """See `Scene`."""
        window = (left, top, right - left, bottom - top)
        with _quiet():
            bands = read_bands(self.path, self.bands, window=window, band_numbers=self.band_numbers)
        values = np.atleast_3d(bands.data)  # (h, w, 1 or 3)
        valid = ~np.atleast_3d(np.ma.getmaskarray(bands)).any(axis=2) & np.isfinite(values).all(axis=2)
        if self.value_range is not None:
            low, high = self.value_range
            values = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255
            values = np.rint(np.nan_to_num(values)).astype(np.uint8)
        if not valid.all():
            values = values.copy()
            values[~valid] = np.rint(values[valid].mean(axis=0)).astype(np.uint8) if valid.any() else 0
        return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3))), float(valid.mean())


def open_scene(path: Path) -> Scene:
    """A scene of a file: a TIFF is read by windows, any other picture whole and turned upright.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or is larger than pictures are read whole.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no scene at {path}.")
    if path.suffix.lower() in (".tif", ".tiff"):
        return GeoTiffScene(path)
    try:
        with warnings.catch_warnings():
            # Scenes of 10,000 x 10,000 pixels are what this is for; twice that is refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode not in EIGHT_BIT_MODES:
                    raise ValueError(
                        f"scene {path} has pixels of mode {image.mode}, wanted 8 bits per channel. Convert it to a "
                        "GeoTIFF and open that with GeoTiffScene(path, value_range=(low, high))."
                    )
                return PictureScene(np.asarray(ImageOps.exif_transpose(image).convert("RGB")), path.name)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"scene {path} is too large to be read whole: {error} Convert it to a tiled GeoTIFF."
        ) from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"scene {path} cannot be read: {error}. Fetch the file again.") from error


def write_heat_geotiff(
    path: Path, heat: Pixels, source: Path, *, covered: npt.NDArray[np.bool_] | None = None, tags: dict[str, str]
) -> None:
    """Writes a heat map where its scene lies: one float32 band from 0 to 1, NaN where there is no data.

    Args:
        path: File to write.
        heat: Heat map (H, W) of 256 levels.
        source: GeoTIFF of the scene; its reference system, transform and ground control points are copied.
        covered: Pixels (H, W) that a window with data covers; all of them where left out.
        tags: What the file says of itself, such as the text.
    """
    with _opened(source) as scene:
        size, place = (scene.height, scene.width), {"crs": scene.crs, "transform": scene.transform}
        points, points_crs = scene.gcps
    if heat.shape != size:
        raise ValueError(
            f"the heat map is {heat.shape}, its scene {source} {size} (height, width); both must be equal."
        )
    if points:
        place = {"gcps": points, "crs": points_crs}
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": float("nan"), "compress": "deflate"}
    profile |= {"height": size[0], "width": size[1], "tiled": True, "blockxsize": STRIPE, "blockysize": STRIPE, **place}
    with _quiet(), rasterio.open(path, "w", bigtiff="if_safer", **profile) as file:
        for top in range(0, size[0], STRIPE):
            rows = heat[top : top + STRIPE].astype(np.float32) / np.float32(255)
            if covered is not None:
                rows[~covered[top : top + STRIPE]] = np.nan
            file.write(rows, 1, window=Window(0, top, size[1], len(rows)))
        file.set_band_description(1, "heat")
        file.update_tags(**tags)


def _opened(path: Path) -> Any:
    try:
        with _quiet():
            return rasterio.open(path)
    except RasterioError as error:
        raise ValueError(f"scene {path} cannot be read: {error}. Wanted a GeoTIFF; fetch the file again.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """A scene without a place on earth is no mistake: its heat map has none either."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
