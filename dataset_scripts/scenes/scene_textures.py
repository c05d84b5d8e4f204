"""Periodic noise tiles, made once per process; every scene takes its crop by its own offsets."""

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TILE = 512
_SEED = 20240613

FloatImage = NDArray[np.float32]
TextureName = Literal["grain", "mottle", "hue", "canopy", "ripple"]


def crop_texture(name: TextureName, size: int, rng: np.random.Generator) -> FloatImage:
    """Cut a `size` by `size` window out of the endless repetition of a tile, at a random place."""
    tile = _tile(name)
    row, column = (int(offset) for offset in rng.integers(0, TILE, 2))
    if row + size <= TILE and column + size <= TILE:
        return tile[row : row + size, column : column + size]
    rows, columns = (np.arange(start, start + size) % TILE for start in (row, column))
    return np.take(np.take(tile, rows, axis=0), columns, axis=1)


def relief(height: FloatImage, azimuth_degrees: float) -> FloatImage:
    """Light on a height field from the side opposite to where shadows fall, about -1 to 1."""
    azimuth = np.radians(azimuth_degrees)
    light = np.zeros_like(height)
    light[:, 1:] += np.diff(height, axis=1) * np.float32(np.cos(azimuth))
    light[1:, :] += np.diff(height, axis=0) * np.float32(np.sin(azimuth))
    return -light


@cache
def _tile(name: TextureName) -> FloatImage:
    rng = np.random.default_rng([_SEED, sum(name.encode())])
    match name:
        case "grain":
            return _filtered(rng, _grain_spectrum)
        case "mottle" | "hue":
            return _filtered(rng, _mottle_spectrum)
        case "ripple":
            return _filtered(rng, _ripple_spectrum)
        case "canopy":
            return _crowns(rng)


def _grain_spectrum(fx: FloatImage, fy: FloatImage) -> FloatImage:
    return np.asarray(np.exp(-((np.hypot(fx, fy) / 0.28) ** 2)), dtype=np.float32)


def _mottle_spectrum(fx: FloatImage, fy: FloatImage) -> FloatImage:
    return np.asarray(1 / (np.hypot(fx, fy) + 0.006) ** 1.35, dtype=np.float32)


def _ripple_spectrum(fx: FloatImage, fy: FloatImage) -> FloatImage:
    along, across = 0.94 * fx + 0.34 * fy, -0.34 * fx + 0.94 * fy
    ring = np.exp(-(((np.hypot(along, across) - 0.14) / 0.05) ** 2))
    return np.asarray(ring * np.exp(-((across / 0.07) ** 2)), dtype=np.float32)


def _filtered(rng: np.random.Generator, response: Callable[[FloatImage, FloatImage], FloatImage]) -> FloatImage:
    """White noise through a spectrum, scaled to mean 0 and standard deviation 1."""
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.rfftfreq(TILE)[None, :]
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * response(fx, fy)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE))
    # Rounded, so that another FFT library cannot change a pixel by its last bit.
    return np.round(np.clip(noise / noise.std(), -3.5, 3.5), 4).astype(np.float32)


def _crowns(rng: np.random.Generator) -> FloatImage:
    """Heights of a closed canopy: domes of tree crowns, the tallest on top."""
    height = np.zeros((TILE, TILE), dtype=np.float32)
    for _ in range(5200):
        radius = rng.uniform(3.0, 7.5)
        x, y = rng.uniform(0, TILE, 2)
        reach = int(np.ceil(radius))
        rows = np.arange(int(y) - reach, int(y) + reach + 1)
        columns = np.arange(int(x) - reach, int(x) + reach + 1)
        squared = (rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2
        dome = np.sqrt(np.maximum(radius**2 - squared, 0)) + np.where(squared < radius**2, rng.uniform(0, 3), 0)
        window = np.ix_(rows % TILE, columns % TILE)
        height[window] = np.maximum(height[window], dome.astype(np.float32))
    return height
