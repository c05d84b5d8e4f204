"""Named rules that bring infrared counts, kelvin or reflectance to [0, 1], and what counts as missing data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .bands_rsclip import Array, Mask
from .image_checks_rsclip import BadImage, check_masked_fraction

Rule = Literal["dtype_range", "percentile", "window"]
RULES = ("dtype_range", "percentile", "window")
DECLARE = (
    'Declare {"rule": "window", "low": ..., "high": ...} in the unit of the data, '
    'or {"rule": "percentile", "low": 1, "high": 99}.'
)
# Values that writers of signed and float rasters use for "no data".
SENTINELS = (-9999.0, -99999.0, -32768.0, -32767.0, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min))
UNDECLARED_16_BIT_MAXIMUM = 1 << 14


@dataclass(frozen=True)
class Scaling:
    """One rule with its parameters.

    `dtype_range`: uint8 over 255, uint16 over 65535 (over 2^bits - 1 when `bits` is declared), floats already in 0..1.
    `percentile`: the `low` and `high` percentiles of the valid pixels of each image go to 0 and 1.
    `window`: `low` and `high` in the unit of the data go to 0 and 1.
    Outside the last two ranges values are clipped, as declared.
    """

    rule: Rule
    low: float = 0.0
    high: float = 1.0
    bits: int | None = None

    @classmethod
    def parse(cls, declared: "Mapping[str, Any] | Scaling") -> "Scaling":
        """Read a rule from its form in the saved configuration, and check it."""
        if isinstance(declared, Scaling):
            return declared
        rule = declared.get("rule")
        wanted = {"dtype_range": set(), "percentile": {"low", "high"}, "window": {"low", "high"}}
        if rule not in RULES:
            raise ValueError(f"infrared scaling rule is {rule!r}; wanted one of {RULES}. {DECLARE}")
        given = set(declared) - {"rule"} - ({"bits"} if rule == "dtype_range" else set())
        if given != wanted[rule]:
            raise ValueError(
                f"infrared scaling {dict(declared)} has parameters {sorted(given)}; rule {rule!r} wants "
                f"{sorted(wanted[rule])}. {DECLARE}"
            )
        low, high = float(declared.get("low", 0.0)), float(declared.get("high", 1.0))
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"infrared scaling {dict(declared)} has low {low} and high {high}; wanted low < high.")
        if rule == "percentile" and not 0 <= low < high <= 100:
            raise ValueError(f"infrared percentiles are {low} and {high}; both must lie in 0..100.")
        bits = declared.get("bits")
        if bits is not None and bits not in range(8, 17):
            raise ValueError(f"infrared bits are {bits!r}; wanted a whole number from 8 to 16, or none.")
        return cls(rule=rule, low=low, high=high, bits=bits)


def parse_nodata(declared: float | str) -> float:
    """A nodata value in its form in the saved configuration: a finite number, or the string `nan`."""
    if isinstance(declared, str) and declared != "nan":
        raise ValueError(f"nodata is {declared!r}; wanted a number, 'nan', or none.")
    return float(declared)


def find_valid(pixels: Array, nodata: float | None, given: Mask | None, name: str) -> Mask | None:
    """Which pixels hold data: None when all do. NaN and infinity are missing data once a nodata value is declared."""
    valid = given
    if nodata is not None and not np.isnan(nodata):
        present = pixels != np.asarray(nodata).astype(pixels.dtype) if _fits(nodata, pixels) else np.True_
        valid = np.broadcast_to(present, pixels.shape) if valid is None else valid & present
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        known = finite if valid is None else finite | ~valid
        if nodata is None and not known.all():
            raise BadImage(
                name,
                "not_finite",
                f"{int((~known).sum())} pixels that are NaN or infinite",
                "finite values, or a declared nodata value",
                "Declare `nodata` (any value, or 'nan'), or repair the image.",
            )
        valid = finite if valid is None else valid & finite
    if valid is None or valid.all():
        return None
    check_masked_fraction(int(valid.size - valid.sum()), valid.size, name)
    return np.asarray(valid)


def _fits(value: float, pixels: Array) -> bool:
    if pixels.dtype.kind == "f":
        return abs(value) <= float(np.finfo(pixels.dtype).max)
    limits = np.iinfo(pixels.dtype)
    return value.is_integer() and limits.min <= value <= limits.max


def scale(pixels: Array, valid: Mask | None, scaling: Scaling, name: str) -> Array:
    """Bring one (H, W) band to float32 in [0, 1]. Masked pixels get the mean of the valid ones."""
    known = pixels if valid is None else pixels[valid]
    low, high = _limits(known, scaling, name)
    _refuse_sentinels(known, low, high, name)
    exact = np.float32 if pixels.dtype.itemsize < 4 or pixels.dtype == np.float32 else np.float64
    counts: Array = pixels.astype(exact)
    if valid is not None:
        counts[~valid] = low
    counts -= exact(low)
    counts /= exact(high - low)
    scaled: Array = np.clip(counts, 0.0, 1.0, out=counts).astype(np.float32, copy=False)
    if valid is not None:
        scaled[~valid] = scaled[valid].mean(dtype=np.float64)
    return scaled


def _limits(known: Array, scaling: Scaling, name: str) -> tuple[float, float]:
    match scaling.rule:
        case "window":
            return scaling.low, scaling.high
        case "percentile":
            low, high = percentiles(known, scaling.low, scaling.high)
            if low == high:
                raise BadImage(
                    name,
                    "no_contrast",
                    f"percentiles {scaling.low:g} and {scaling.high:g} both equal to {low:g}",
                    "an image with contrast",
                    'Use {"rule": "window", ...}, which needs none, or drop the image.',
                )
            return low, high
        case "dtype_range":
            return 0.0, _dtype_maximum(known, scaling.bits, name)


def percentiles(known: Array, low: float, high: float) -> tuple[float, float]:
    """What `np.percentile` gives; for 8 and 16 bits by counting levels, which takes a third of the time."""
    if known.dtype not in (np.uint8, np.uint16):
        first, second = np.percentile(known, (low, high))
        return float(first), float(second)
    up_to = np.bincount(known.ravel()).cumsum()
    return _counted_percentile(up_to, low), _counted_percentile(up_to, high)


def _counted_percentile(up_to: Array, percentile: float) -> float:
    """Interpolates as NumPy does, to the last bit. `up_to[level]` counts the pixels of a level or below."""
    last = int(up_to[-1]) - 1
    place = last * (percentile / 100)
    below = int(place)
    first, second = (int(level) for level in np.searchsorted(up_to, (below, min(below + 1, last)), side="right"))
    share = place - below
    step = second - first
    return float(first + step * share if share < 0.5 else second - step * (1 - share))


def _dtype_maximum(known: Array, bits: int | None, name: str) -> float:
    smallest, largest = known.min(), known.max()
    if known.dtype.kind == "f" and smallest >= 0 and largest <= 1:
        return 1.0
    if known.dtype not in (np.uint8, np.uint16):
        raise BadImage(
            name,
            "no_dtype_range",
            f"{known.dtype} values from {smallest} to {largest}, a type without a range of its own",
            "uint8, uint16, or floats in 0..1 for rule 'dtype_range'",
            DECLARE,
        )
    if known.dtype == np.uint8:
        return 255.0
    if bits is not None and largest > (1 << bits) - 1:
        raise BadImage(name, "bits", f"a value of {largest}", f"at most {bits} bits as declared", "Declare 16 bits.")
    if bits is None and smallest != largest and largest < UNDECLARED_16_BIT_MAXIMUM:
        raise BadImage(
            name,
            "undeclared_bits",
            f"uint16 values from {smallest} to {largest}: raw counts of a sensor with fewer bits?",
            "values that use the 16-bit range, or a declared number of bits",
            f'{DECLARE} If the range is right, declare {{"rule": "dtype_range", "bits": 16}} (or 12, or 14).',
        )
    return float((1 << (bits or 16)) - 1)


def _refuse_sentinels(known: Array, low: float, high: float, name: str) -> None:
    if known.dtype.kind == "u":
        return
    smallest = float(known.min())
    if smallest in SENTINELS and not low <= smallest <= high:
        raise BadImage(
            name,
            "undeclared_nodata",
            f"the value {smallest:g}, which rasters use for missing data",
            "a declared nodata value",
            f"Declare `nodata={smallest:g}`.",
        )
