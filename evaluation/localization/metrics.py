"""Metrics of semantic localization: Rsu, Ras, Rda and Rmi of one heat map, with the constants of AIR-SLT.

xiaoyuan1996/SemanticLocalizationMetrics 1e9596d, evaluations/SLM.py; RS5M scores with a copy of it.
"""

from dataclasses import dataclass

import numpy as np

from .peaks import Points, attention_centres
from .regions import Circle, Mask, Polygon, circle_of, region_mask
from .windows import Pixels

RSU_BETA = 0.707
RSU_EPSILON = 1e-7
RAS_BETA = 3.0
RDA_ETA = 0.5
WEIGHTS = (0.4, 0.35, 0.25)


@dataclass(frozen=True, kw_only=True)
class LocalizationScore:
    """Scores of one query, all from 0 to 1; of `ras`, less is better."""

    rsu: float
    """Salient area: how much of the heat lies in the regions, for their size. A uniform map has 1 - exp(-0.707)."""
    ras: float
    """Attention shift: how far the centres of attention lie from those of the regions."""
    rda: float
    """Discrete attention: whether each region has one centre of attention."""
    rmi: float
    """0.4 rsu + 0.35 (1 - ras) + 0.25 rda."""


def score_heat(heat: Pixels, polygons: tuple[Polygon, ...], *, as_published: bool = True) -> LocalizationScore:
    """Scores a heat map (H, W) of 256 levels against the regions of its query.

    Args:
        heat: As `heat_map.heat_levels` gives it.
        polygons: Vertices (x, y) of each region, in pixels.
        as_published: Whether regions that overlap leave a hole, see `region_mask`.
    """
    circles = [circle_of(polygon) for polygon in polygons]
    mask = region_mask(polygons, *heat.shape, as_published=as_published)
    centres = attention_centres(heat)
    rsu, ras, rda = salient_area(heat, mask), attention_shift(circles, centres), discrete_attention(circles, centres)
    weights = zip(WEIGHTS, (rsu, 1 - ras, rda), strict=True)
    return LocalizationScore(rsu=rsu, ras=ras, rda=rda, rmi=sum(weight * part for weight, part in weights))


def salient_area(heat: Pixels, mask: Mask) -> float:
    """Rsu = 1 - exp(-0.707 L A): L the heat inside over that outside, A the area outside over that inside."""
    inside, everything = (int(part.sum(dtype=np.int64)) / 255 for part in (heat[mask], heat))
    area = int(mask.sum())
    ratio = inside / (everything - inside + RSU_EPSILON)
    return float(1 - np.exp(-RSU_BETA * ratio * (mask.size - area) / area))


def attention_shift(circles: list[Circle], centres: Points) -> float:
    """Ras = (exp(3 x) - 1) / (exp(3) - 1), x the mean over regions of centre distance over radius; 1 without a centre.

    The original, where the map has no centre at all, returns the ratio of the first region alone. It is 1, as those of
    all the regions are: no number depends on it.
    """
    shifts = []
    for circle in circles:
        near = _distances(circle, centres)
        near = near[near <= circle.radius]
        shifts.append(near.mean() / circle.radius if len(near) else 1.0)
    return float(np.expm1(RAS_BETA * np.mean(shifts)) / np.expm1(RAS_BETA))


def discrete_attention(circles: list[Circle], centres: Points) -> float:
    """Rda: mean over regions of 0 without a centre in its radius, 1 with one, less the more there are."""
    scores = []
    for circle in circles:
        near = centres[_distances(circle, centres) <= circle.radius]
        if len(near) < 2:
            scores.append(float(len(near)))
            continue
        spread = np.linalg.norm(near - near.mean(axis=0), axis=1).mean() / circle.radius
        scores.append(0.5 * (1 - spread) + np.exp(-RDA_ETA * (len(near) + 2)))
    return float(np.mean(scores))


def _distances(circle: Circle, centres: Points) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.linalg.norm(centres - np.array([circle.x, circle.y]), axis=1)
