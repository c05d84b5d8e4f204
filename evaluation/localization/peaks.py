"""Centres of attention of a heat map: plateaus of local maxima after smoothing, as AIR-SLT finds them.

Shapes: H x W pixels, K runs of equal pixels along rows.
"""

import numpy as np
import numpy.typing as npt

from .regions import Mask
from .windows import Pixels

Points = npt.NDArray[np.int64]

BOX = 50
SMOOTHINGS = 5
NEIGHBOURHOOD = 1000
LEAST_LEVEL = 128  # the least of 256 levels that is at least 0.5 of 255
STRIPE = 512


def attention_centres(heat: Pixels) -> Points:
    """Centres (n, 2) as (x, y), the brightest first; only those where the heat map itself is at least 0.5."""
    smooth = heat
    for _ in range(SMOOTHINGS):
        smooth = box_filter(smooth)
    centres = component_centres((smooth == maximum_filter(smooth)) & (smooth > 0))
    levels = heat[centres[:, 1], centres[:, 0]]
    order = np.argsort(-levels.astype(np.int64), kind="stable")
    return centres[order][levels[order] >= LEAST_LEVEL]


def box_filter(image: Pixels) -> Pixels:
    """Mean of 50 x 50 pixels, 25 to the left of and above a pixel to 24 beyond, equal to `cv2.boxFilter`.

    The border is mirrored without repeating its pixel; half a level is rounded to the even one.
    """
    before, after = BOX // 2, BOX - BOX // 2 - 1
    padded = np.pad(image, ((before, after), (before, after)), mode="reflect")
    smooth = np.empty_like(image)
    # In stripes of rows, so that sums in 32 bits never exist for the whole scene.
    for top in range(0, len(image), STRIPE):
        rows = padded[top : top + STRIPE + BOX - 1]
        sums = np.zeros((len(rows) - BOX + 1, padded.shape[1] + 1), dtype=np.int32)
        np.subtract(*_window_ends(np.cumsum(rows, axis=0, dtype=np.int32)), out=sums[:, 1:])
        np.cumsum(sums, axis=1, out=sums)
        means = (sums[:, BOX:] - sums[:, :-BOX]).astype(np.float32) * np.float32(1 / BOX**2)
        smooth[top : top + STRIPE] = np.rint(means)
    return smooth


def maximum_filter(image: Pixels) -> Pixels:
    """Largest of 1,000 x 1,000 pixels, 500 before a pixel to 499 beyond, as far as there are pixels."""
    return _running_maximum(_running_maximum(image).T).T


def component_centres(mask: Mask) -> Points:
    """Centroid (n, 2), cut to a pixel (x, y), of every eight-connected component, in the order of its first pixel."""
    busy = np.flatnonzero(mask.any(axis=1))
    steps = np.diff(np.pad(mask[busy], ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # exclusive
    rows = busy[rows]
    labels = _connect(rows, starts, ends, mask.shape[1])
    roots, component = np.unique(labels, return_inverse=True)
    area = np.bincount(component, ends - starts, minlength=len(roots))
    y = np.bincount(component, rows * (ends - starts), minlength=len(roots)) / np.maximum(area, 1)
    x = np.bincount(component, (starts + ends - 1) * (ends - starts) / 2, minlength=len(roots)) / np.maximum(area, 1)
    return np.stack([x, y], axis=1).astype(np.int64)


def _window_ends(sums: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Cumulative sums at the end of each window of rows, and before its start."""
    return sums[BOX - 1 :], np.concatenate([np.zeros_like(sums[:1]), sums[:-BOX]])


def _running_maximum(image: Pixels) -> Pixels:
    """Along columns. The maximum of 2k neighbours is that of two maxima of k; the last two may overlap."""
    before = NEIGHBOURHOOD // 2
    reach = np.pad(image, ((before, NEIGHBOURHOOD - before - 1), (0, 0)))
    length = 1
    while length < NEIGHBOURHOOD:
        shift = min(length, NEIGHBOURHOOD - length)
        reach = np.maximum(reach[:-shift], reach[shift:])
        length += shift
    return reach


def _connect(rows: Points, starts: Points, ends: Points, width: int) -> Points:
    """The first run (K,) of each run's component: runs of neighbouring rows connect where they touch or meet."""
    stride = width + 2
    above = (rows - 1) * stride
    first = np.searchsorted(rows * stride + ends, above + starts)
    last = np.searchsorted(rows * stride + starts, above + ends, side="right")
    counts = np.maximum(last - first, 0)
    lower = np.repeat(np.arange(len(rows)), counts)
    upper = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    labels = np.arange(len(rows))
    while True:
        least = np.minimum(labels[lower], labels[upper])
        joined = labels.copy()
        np.minimum.at(joined, labels[lower], least)
        np.minimum.at(joined, labels[upper], least)
        joined = joined[joined]
        if (joined == labels).all():
            return labels
        labels = joined
