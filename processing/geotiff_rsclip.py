"""Windows and named bands of GeoTIFFs, read lazily with rasterio (`pip install rsclip[geo]`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bands_rsclip import Array
from .decoding_rsclip import is_soft
from .image_checks_rsclip import BadImage, check_size

try:
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window
except ImportError:
    rasterio = None

BANDS = ("red", "green", "blue")


def read_bands(
    path: Path,
    bands: Sequence[str] = BANDS,
    *,
    window: tuple[int, int, int, int] | None = None,
    band_numbers: Mapping[str, int] | None = None,
    name: str | None = None,
) -> "np.ma.MaskedArray[Any, Any]":
    """Read named bands, or a window of them, without reading the rest of the file.

    Args:
        bands: names, looked up in `band_numbers`, then among the band descriptions of the file, then among its
            colour interpretations (`red`, `green`, `blue`, `gray`, `nir`, ...). Case does not matter.
        window: column, row, width and height in pixels; must lie inside the image.
        band_numbers: name to band number, counted from 1, for files that do not name their bands.

    Returns:
        (H, W) for one band, (H, W, bands) for more, in the data type of the file. The mask covers what the file
        declares as nodata; `load_rgb` and `load_infrared` take the array with its mask.

    Raises:
        ImportError: without rasterio.
        BadImage: for a missing band, a window outside the image, or an unreadable file.
    """
    if rasterio is None:
        raise ImportError("read_bands needs rasterio, which is not installed. Run `pip install rasterio`.")
    name = name or f"raster {path.name!r}"
    if not path.is_file():
        raise BadImage(name, "missing", f"no file at {path}", "an existing regular file", "Check the path.")
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            numbers = [_band_number(dataset, band, band_numbers or {}, name) for band in bands]
            column, row, width, height = window or (0, 0, dataset.width, dataset.height)
            _check_window((column, row, width, height), (dataset.width, dataset.height), name)
            array, mask = _read_masked(dataset, numbers, Window(column, row, width, height))
    except RasterioError as error:
        raise BadImage(name, "undecodable", str(error), "a whole GeoTIFF", "Fetch the file again.") from error
    return np.ma.MaskedArray(_last_axis(array), _last_axis(mask))


def _read_masked(dataset: Any, numbers: list[int], window: Any) -> tuple[Array, Array]:
    """Pixels and their mask. Many files flag their near-infrared band as alpha: such a band masks nothing."""
    colours = [colour.name.lower() for colour in dataset.colorinterp]
    if "alpha" not in colours:
        array = dataset.read(numbers, window=window, masked=True)
        return array.data, np.ma.getmaskarray(array)
    array = dataset.read(numbers, window=window)
    alpha = dataset.read(colours.index("alpha") + 1, window=window)
    is_data = colours.index("alpha") + 1 in numbers or is_soft(alpha)
    mask = np.zeros(alpha.shape, np.bool_) if is_data else alpha != 255
    return array, np.broadcast_to(mask, array.shape)


def _last_axis(array: Array) -> Array:
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


def _band_number(dataset: Any, band: str, band_numbers: Mapping[str, int], name: str) -> int:
    wanted = band.lower()
    descriptions = [(description or "").lower() for description in dataset.descriptions]
    colours = [colour.name.lower() for colour in dataset.colorinterp]
    declared = {key.lower(): number for key, number in band_numbers.items()}
    if wanted in declared:
        number = declared[wanted]
        if number not in dataset.indexes:
            raise BadImage(
                name, "band", f"band number {number} for {band!r}", f"1..{dataset.count}", "Correct `band_numbers`."
            )
        return number
    for names in (descriptions, colours):
        if names.count(wanted) == 1:
            return names.index(wanted) + 1
    raise BadImage(
        name,
        "band",
        f"no single band {band!r} (descriptions {dataset.descriptions}, colours {colours})",
        "a name that the file knows once",
        f'Pass band_numbers={{"{band}": ...}}, counted from 1.',
    )


def _check_window(window: tuple[int, int, int, int], size: tuple[int, int], name: str) -> None:
    column, row, width, height = window
    if column < 0 or row < 0 or column + width > size[0] or row + height > size[1]:
        raise BadImage(
            name,
            "window",
            f"window {window} (column, row, width, height)",
            f"a window inside {size[0]} x {size[1]} pixels",
            "Clip the window to the image.",
        )
    check_size(width, height, name)
