"""Semantic localization beside a naive reading of the original: one window, one query, one pixel at a time."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from saved_clips import save_clip
from transformers import CLIPModel, CLIPProcessor, SiglipModel, SiglipProcessor

from evaluation.localization.benchmark import LocalizationConfig, read_queries, run_localization, summarise
from evaluation.localization.encoder import ModelEncoder, scene_maps, window_cosines
from evaluation.localization.figure import heat_figure, preview
from evaluation.localization.heat_map import cell_maps, heat_levels, median_filter_cells
from evaluation.localization.metrics import (
    LocalizationScore,
    attention_shift,
    discrete_attention,
    salient_area,
    score_heat,
)
from evaluation.localization.peaks import attention_centres, box_filter, component_centres, maximum_filter
from evaluation.localization.regions import Circle, circle_of, region_mask
from evaluation.localization.run import LocalizationRun, evaluate_localization
from evaluation.localization.scene import GeoTiffScene, PictureScene, open_scene, write_heat_geotiff
from evaluation.localization.windows import crop_for_encoder, through_jpeg, windows_of
from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

Array = np.ndarray[Any, Any]
SQUARE = ((10.0, 20.0), (30.0, 20.0), (30.0, 50.0), (10.0, 50.0))


class Colours:
    """An encoder whose images are their mean colours and whose texts are numbers, "r g b"."""

    def encode_images(self, images: list[Array]) -> Array:
        return np.stack([image.reshape(-1, 3).mean(axis=0) + 1 for image in images])

    def encode_texts(self, texts: list[str]) -> Array:
        return np.array([[float(part) for part in text.split()] for text in texts])


# The original, naively


def naive_windows(height: int, width: int, scales: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
    """As generate_site cuts them, one file name per window; a scene smaller than a window is a window."""
    found = set()
    for step in scales:
        for gap in (step, int(0.5 * step)):
            for x in range(step - gap, width, step):
                for y in range(step - gap, height, step):
                    left, right = (x, x + step) if x + step < width else (max(width - step, 0), width)
                    top, bottom = (y, y + step) if y + step < height else (max(height - step, 0), height)
                    found.add((top, bottom, left, right))
    return found


def naive_mean(windows: Array, cosines: Array, height: int, width: int) -> Array:
    total, seen = np.zeros((height, width)), np.zeros((height, width))
    for (top, bottom, left, right), cosine in zip(windows.tolist(), cosines.tolist(), strict=True):
        total[top:bottom, left:right] += cosine
        seen[top:bottom, left:right] += 1
    return total / seen


def naive_levels(mean: Array) -> Array:
    lifted = mean - mean.min()
    return np.uint8(255 * (lifted / lifted.max())) if lifted.max() > 0 else np.zeros(mean.shape, np.uint8)


def naive_median(levels: Array, size: int) -> Array:
    padded = np.pad(levels, size // 2, mode="edge")
    heat = np.empty_like(levels)
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            heat[y, x] = np.median(padded[y : y + size, x : x + size])
    return heat


def mirrored(index: int, length: int) -> int:
    """Border rule of cv2.boxFilter: the pixel at the border is not repeated."""
    while length > 1 and not 0 <= index < length:
        index = -index if index < 0 else 2 * (length - 1) - index
    return index if length > 1 else 0


def naive_box(image: Array) -> Array:
    height, width = image.shape
    sums = np.zeros(image.shape, np.int64)
    for down in range(-25, 25):
        rows = [mirrored(y + down, height) for y in range(height)]
        for across in range(-25, 25):
            sums += image[np.ix_(rows, [mirrored(x + across, width) for x in range(width)])]
    return np.array([[round(total / 2500) for total in row] for row in sums.tolist()], dtype=np.uint8)


def naive_centres(heat: Array) -> list[tuple[int, int]]:
    """Flood fill instead of runs; the neighbourhood of 1,000 pixels spans the small maps of these tests in part."""
    smooth = heat
    for _ in range(5):
        smooth = naive_box(smooth)
    height, width = heat.shape
    peak = np.zeros(heat.shape, bool)
    for y in range(height):
        for x in range(width):
            around = smooth[max(y - 500, 0) : y + 500, max(x - 500, 0) : x + 500]
            peak[y, x] = smooth[y, x] > 0 and smooth[y, x] == around.max()
    return [centre for centre in naive_components(peak) if heat[centre[1], centre[0]] / 255 >= 0.5]


def naive_components(mask: Array) -> list[tuple[int, int]]:
    left, centres = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    for seed in sorted(left):
        if seed not in left:
            continue
        waiting, members = [seed], []
        left.discard(seed)
        while waiting:
            y, x = waiting.pop()
            members.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
        y, x = np.mean(members, axis=0)
        centres.append((int(x), int(y)))
    return centres


def naive_scores(heat: Array, polygons: tuple[Any, ...], mask: Array, centres: list[tuple[int, int]]) -> list[float]:
    """Rsu, Ras, Rda, Rmi as published, region by region; the quirk of a map without centres included."""
    p = heat / 255.0
    inside = (p * mask).sum()
    rsu = -np.exp(-0.707 * inside / (p.sum() - inside + 1e-7) * (mask.size - mask.sum()) / mask.sum()) + 1
    circles = []
    for polygon in polygons:
        x, y = (int(sum(vertex[axis] for vertex in polygon) / len(polygon)) for axis in (0, 1))
        circles.append((x, y, int(1.5 * np.mean([np.hypot(vx - x, vy - y) for vx, vy in polygon]))))
    distances = [[d for cx, cy in centres if (d := np.hypot(cx - x, cy - y)) <= r] for x, y, r in circles]
    offsets = [np.mean(d) if d else r for d, (_, _, r) in zip(distances, circles, strict=True)]
    if not centres:
        offsets = offsets[:1]
    shift = np.mean([offset / r for offset, (_, _, r) in zip(offsets, circles, strict=False)])
    ras = (np.exp(3 * shift) - 1) / (np.exp(3) - 1)
    rda = []
    for x, y, r in circles:
        near = np.array([c for c in centres if np.hypot(c[0] - x, c[1] - y) <= r])
        if len(near) <= 1:
            rda.append(float(len(near)))
        else:
            spread = np.mean([np.linalg.norm(c - near.mean(axis=0)) for c in near])
            rda.append(0.5 * (1 - spread / r) + np.exp(-0.5 * (len(near) + 2)))
    return [rsu, ras, float(np.mean(rda)), 0.4 * rsu + 0.35 * (1 - ras) + 0.25 * float(np.mean(rda))]


def parts(score: LocalizationScore) -> list[float]:
    return [score.rsu, score.ras, score.rda, score.rmi]


# Windows and crops


@pytest.mark.parametrize(
    ("height", "width", "count"), [(2000, 3000, 261), (5000, 5000, 1095), (10000, 10001, 4283), (2048, 2048, 175)]
)
def test_scenes_have_as_many_windows_as_the_original_cuts(height: int, width: int, count: int) -> None:
    assert len(windows_of(height, width)) == count


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [
        (611, 437, (64, 128)),
        (97, 1001, (31, 50)),
        (256, 256, (256,)),
        (40, 90, (64, 16)),
        (1, 1, (8,)),
        (65, 64, (64,)),
    ],
)
def test_windows_are_those_of_a_naive_loop(height: int, width: int, scales: tuple[int, ...]) -> None:
    windows = windows_of(height, width, scales)
    assert {tuple(window) for window in windows.tolist()} == naive_windows(height, width, scales)
    assert naive_mean(windows, np.ones(len(windows)), height, width).min() == 1  # every pixel is seen


@pytest.mark.parametrize(("height", "scales"), [(0, (8,)), (9, ()), (9, (8, 1))])
def test_impossible_windows_are_refused(height: int, scales: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"wanted at least one"):
        windows_of(height, 9, scales)


def test_crops_are_resized_as_opencv_does() -> None:
    generator = np.random.default_rng(0)
    large = generator.integers(0, 256, (768, 768, 3), dtype=np.uint8)
    assert (
        crop_for_encoder(large, jpeg=False) == large[1::3, 1::3]
    ).all()  # a third: the cubic meets every third pixel
    half = generator.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    taps = np.array([-3, 19, 19, -3]) / 32  # OpenCV's cubic, a = -0.75, halfway between two pixels
    padded = np.pad(half.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = sum(tap * padded[offset : offset + 511 : 2] for offset, tap in enumerate(taps))
    expected = sum(tap * rows[:, offset : offset + 511 : 2] for offset, tap in enumerate(taps))
    assert (crop_for_encoder(half, jpeg=False) == np.clip(np.rint(expected), 0, 255)).all()


def test_jpegs_are_those_of_opencv() -> None:
    # Values that cv2.imwrite and imread (OpenCV 4.11 and 5.0) give for the same pixels
    y, x = np.mgrid[0:256, 0:256]
    colour = np.stack([x, y, (x * y // 64) % 256], axis=-1).astype(np.uint8)
    grey = ((x // 3 + y // 2) % 256).astype(np.uint8)
    assert hashlib.sha256(through_jpeg(colour).tobytes()).hexdigest()[:16] == "d4351ffe2ed803c0"
    assert hashlib.sha256(through_jpeg(grey).tobytes()).hexdigest()[:16] == "c445aed76efb2017"


# Maps


@pytest.mark.parametrize(
    ("height", "width", "scales"), [(301, 233, (64, 100)), (64, 64, (64,)), (33, 170, (64, 32)), (128, 77, (9,))]
)
def test_maps_on_cells_equal_maps_pixel_by_pixel(height: int, width: int, scales: tuple[int, ...]) -> None:
    windows = windows_of(height, width, scales)
    generator = np.random.default_rng(height)
    cosines = generator.normal(0.2, 0.05, (3, len(windows))).astype(np.float32)
    cosines[2] = np.round(cosines[2], 1)  # ties
    maps = cell_maps(windows, cosines, height, width)
    for text in range(3):
        mean = naive_mean(windows, cosines[text], height, width)
        np.testing.assert_allclose(maps.expand(maps.cosines[text]), mean, atol=1e-12)
        levels = maps.expand((255 * maps.relative(text)).astype(np.uint8))
        assert (levels == naive_levels(mean)).all()


def test_the_order_of_windows_does_not_change_a_bit() -> None:
    windows = windows_of(300, 400, (64, 96))
    cosines = np.random.default_rng(0).normal(size=(2, len(windows))).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(windows))
    one, other = cell_maps(windows, cosines, 300, 400), cell_maps(windows[order], cosines[:, order], 300, 400)
    assert (one.cosines == other.cosines).all()


def test_a_flat_map_is_zero_and_rounding_is_not_stretched() -> None:
    windows = windows_of(100, 100, (40,))
    cosines = np.full((2, len(windows)), 0.3, np.float32)
    cosines[1, ::2] += np.float32(1e-7)
    maps = cell_maps(windows, cosines, 100, 100)
    assert (heat_levels(maps, 0) == 0).all()
    assert (heat_levels(maps, 1) == 0).all()
    assert parts(score_heat(heat_levels(maps, 0), (SQUARE,))) == pytest.approx([0, 1, 0, 0])


def test_windows_without_data_leave_no_trace_and_cells_without_windows_are_nan() -> None:
    windows = np.array([[0, 10, 0, 10], [0, 10, 10, 20], [0, 10, 20, 30]])
    maps = cell_maps(windows, np.array([[0.1, 0.3, np.nan]]), 10, 30)
    assert maps.relative(0).tolist() == [[0, 1, 0]]
    assert np.isnan(maps.cosines[0, 0]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("height", "width", "scales", "size"),
    [(61, 83, (16, 24), 25), (40, 33, (16,), 51), (30, 30, (40,), 11), (57, 20, (7, 9), 3), (25, 61, (10,), 1)],
)
def test_the_median_equals_a_sorted_neighbourhood(height: int, width: int, scales: tuple[int, ...], size: int) -> None:
    windows = windows_of(height, width, scales)
    generator = np.random.default_rng(size)
    maps = cell_maps(windows, generator.normal(size=(1, len(windows))), height, width)
    for levels in ((255 * maps.relative(0)).astype(np.uint8), generator.integers(0, 3, maps.cosines[0].shape)):
        levels = levels.astype(np.uint8)
        heat = median_filter_cells(levels, maps.row_edges, maps.column_edges, size)
        assert (heat == naive_median(maps.expand(levels), size)).all()


def test_the_median_of_251_equals_a_sorted_neighbourhood_at_random_pixels() -> None:
    windows = windows_of(1100, 901)
    maps = cell_maps(windows, np.random.default_rng(2).normal(size=(1, len(windows))), 1100, 901)
    levels = (255 * maps.relative(0)).astype(np.uint8)
    heat, padded = heat_levels(maps, 0, as_published=False), np.pad(maps.expand(levels), 125, mode="edge")
    generator = np.random.default_rng(3)
    for y, x in zip(generator.integers(0, 1100, 150), generator.integers(0, 901, 150), strict=True):
        assert heat[y, x] == np.median(padded[y : y + 251, x : x + 251])
    assert (heat_levels(maps, 0) == through_jpeg(heat)).all()


def test_an_even_median_is_refused() -> None:
    with pytest.raises(ValueError, match="size 250, wanted an odd number"):
        median_filter_cells(np.zeros((1, 1), np.uint8), np.array([0, 9]), np.array([0, 9]), 250)


# Regions


def test_a_mask_holds_its_outline() -> None:
    mask = region_mask((SQUARE,), 80, 60)
    assert mask.sum() == 21 * 31
    assert mask[20:51, 10:31].all()


def test_overlapping_regions_leave_a_hole_as_published_and_none_otherwise() -> None:
    other = tuple((x + 10, y + 10) for x, y in SQUARE)
    hole, union = region_mask((SQUARE, other), 80, 60), region_mask((SQUARE, other), 80, 60, as_published=False)
    assert not hole[31:50, 21:30].any()
    assert union[20:51, 10:31].all()
    assert union[30:61, 20:41].all()
    assert union.sum() == 2 * 21 * 31 - 11 * 21
    assert (union | hole == union).all()


def test_masks_are_those_of_opencv() -> None:
    # Of cv2.fillPoly (OpenCV 4.11 and 5.0) for the same vertices: self-crossing, steep, flat and thin polygons
    generator = np.random.default_rng(0)
    digest = hashlib.sha256()
    for _ in range(40):
        count = int(generator.integers(3, 9))
        polygons = tuple(tuple(map(tuple, generator.random((count, 2)) * [119, 89])) for _ in range(2))
        digest.update(np.packbits(region_mask(polygons, 90, 120)).tobytes())
    assert digest.hexdigest()[:16] == "5604cd92f5fd28a8"


def test_a_region_outside_the_scene_is_refused_and_one_partly_outside_is_cut() -> None:
    with pytest.raises(
        ValueError, match=r"no region touches the scene of 9 x 8 pixels; the first starts at \(10.0, 20"
    ):
        region_mask((SQUARE,), 8, 9)
    inside = region_mask((((-10.0, -10.0), (4.0, -10.0), (4.0, 4.0), (-10.0, 4.0)),), 20, 20)
    assert inside[:5, :5].all()
    assert inside.sum() == 25


def test_the_circle_of_a_region_counts_repeated_vertices_and_cuts_to_pixels() -> None:
    # distances from (20, 35) are sqrt(10^2 + 15^2) = 18.03
    assert circle_of(SQUARE) == Circle(x=20, y=35, radius=27)
    assert circle_of((*SQUARE, SQUARE[0], SQUARE[0])) == Circle(x=16, y=30, radius=24)
    with pytest.raises(ValueError, match=r"a region around \(3, 3\) has no radius"):
        circle_of(((3.0, 3.0), (3.2, 3.0), (3.0, 3.2)))


# Centres and metrics


def test_the_box_filter_equals_fifty_by_fifty_means_and_rounds_halves_to_even() -> None:
    generator = np.random.default_rng(0)
    for shape in ((61, 80), (9, 40), (1, 30)):
        image = generator.integers(0, 256, shape, dtype=np.uint8)
        assert (box_filter(image) == naive_box(image)).all()
    striped = np.tile(np.array([0, 1], np.uint8), (60, 40))
    assert (box_filter(striped)[:, 25:55] == 0).all()  # 0.5
    assert (box_filter(striped + 1)[:, 25:55] == 2).all()  # 1.5
    tall = generator.integers(0, 256, (1100, 3), dtype=np.uint8)  # more than one stripe
    assert (box_filter(tall)[500:560] == box_filter(tall[450:610])[50:110]).all()


def test_the_maximum_filter_sees_500_pixels_before_and_499_after() -> None:
    image = np.zeros((1300, 1), np.uint8)
    image[600] = 7
    assert np.flatnonzero(maximum_filter(image)[:, 0] == 7).tolist() == list(range(101, 1101))
    assert (maximum_filter(image.T)[0] == maximum_filter(image)[:, 0]).all()
    assert (maximum_filter(np.array([[3, 9]], np.uint8)) == 9).all()


def test_components_equal_a_flood_fill() -> None:
    generator = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.45, 0.6, 1.0, 0.0):
        mask = generator.random((37, 52)) < share
        assert component_centres(mask).tolist() == [list(centre) for centre in naive_components(mask)]
    spiral = np.zeros((9, 9), bool)
    spiral[0, :] = spiral[:, 8] = spiral[8, :] = spiral[2:, 0] = spiral[2, :7] = spiral[2:7, 6] = True
    assert len(component_centres(spiral)) == len(naive_components(spiral)) == 1


def test_no_pixel_or_only_dark_ones_have_no_centre() -> None:
    assert attention_centres(np.zeros((20, 30), np.uint8)).shape == (0, 2)
    assert attention_centres(np.full((20, 30), 127, np.uint8)).shape == (0, 2)
    assert attention_centres(np.full((20, 30), 128, np.uint8)).tolist() == [[14, 9]]  # the plateau's centroid, cut


def test_each_far_peak_is_a_centre_and_the_brightest_comes_first() -> None:
    heat = np.zeros((300, 2400), np.uint8)
    heat[100:201, 300:401] = 180
    heat[100:201, 1900:2001] = 250
    heat[100:201, 1500:1601] = 240  # within 500 pixels of a higher one
    (x0, y0), (x1, y1) = attention_centres(heat).tolist()
    assert (x0, y0) == pytest.approx((1950, 150), abs=3)
    assert (x1, y1) == pytest.approx((350, 150), abs=3)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_a_naive_reading_of_the_original(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = int(generator.integers(61, 120)) | 1, int(generator.integers(61, 120)) | 1
    windows = windows_of(height, width, (16, 32))
    maps = cell_maps(windows, generator.normal(size=(1, len(windows))), height, width)
    heat = median_filter_cells((255 * maps.relative(0)).astype(np.uint8), maps.row_edges, maps.column_edges, 9)
    heat = [heat, heat // 3, through_jpeg(heat)][seed % 3]  # the second has no centre
    scale, corner = np.array([width / 2, height / 2]), generator.random((4, 1, 2)) * [width / 2.2, height / 2.2]
    polygons = tuple(tuple(map(tuple, region)) for region in generator.random((4, 5, 2)) * scale + corner)
    centres = naive_centres(heat)
    assert bool(centres) == (seed != 1)
    for published in (True, False):
        mask = region_mask(polygons, height, width, as_published=published)
        score = score_heat(heat, polygons, as_published=published)
        assert parts(score) == pytest.approx(naive_scores(heat, polygons, mask, centres), abs=1e-9)


def test_salient_area_of_a_uniform_map_is_that_of_its_constant_alone() -> None:
    mask = region_mask((SQUARE,), 80, 60)
    assert salient_area(np.full((80, 60), 200, np.uint8), mask) == pytest.approx(1 - np.exp(-0.707), abs=1e-9)
    assert salient_area(np.where(mask, 255, 0).astype(np.uint8), mask) == pytest.approx(1)
    assert salient_area(np.where(mask, 0, 255).astype(np.uint8), mask) == 0


def test_attention_is_scored_by_hand() -> None:
    circles = [Circle(x=100, y=100, radius=50), Circle(x=500, y=100, radius=20)]
    none, one = np.zeros((0, 2), int), np.array([[130, 140]])  # 50 away: the rim counts
    assert (attention_shift(circles, none), discrete_attention(circles, none)) == (1.0, 0.0)
    assert attention_shift(circles[:1], np.array([[100, 100]])) == 0
    assert attention_shift(circles, one) == 1
    assert discrete_attention(circles, one) == 0.5
    two = np.array([[90, 100], [110, 100], [500, 110]])
    shift = (10 / 50 + 10 / 20) / 2
    assert attention_shift(circles, two) == pytest.approx((np.exp(3 * shift) - 1) / (np.exp(3) - 1))
    expected = (0.5 * (1 - 10 / 50) + np.exp(-0.5 * 4) + 1) / 2
    assert discrete_attention(circles, two) == pytest.approx(expected)


# Encoders


def test_every_window_is_encoded_once_whatever_the_number_of_texts_and_batches() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 170, 3), dtype=np.uint8)
    seen: list[int] = []

    class Counting(Colours):
        def encode_images(self, images: list[Array]) -> Array:
            seen.append(len(images))
            return super().encode_images(images)

    windows, texts = windows_of(120, 170, (40, 80)), ["1 0 0", "0 1 0", "1 1 1"]
    together = window_cosines(PictureScene(pixels), windows, texts, Counting(), batch_size=7)
    assert sum(seen) == len(windows)
    assert max(seen) == 7
    alone = [window_cosines(PictureScene(pixels), windows, [text], Colours(), batch_size=1)[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("family", ["rsclip", "clip", "siglip"])
def test_models_of_any_family_map_as_one_window_and_one_query_at_a_time(family: str, tmp_path: Path) -> None:
    classes: dict[str, tuple[Any, Any]] = {
        "rsclip": (RSCLIPModel, RSCLIPProcessor),
        "clip": (CLIPModel, CLIPProcessor),
        "siglip": (SiglipModel, SiglipProcessor),
    }
    save_clip(family, tmp_path)
    model, processor = (one.from_pretrained(tmp_path) for one in classes[family])
    encoder, texts = ModelEncoder(model, processor), ["an airport seen from above", "ships"]
    scene = np.random.default_rng(0).integers(0, 256, (149, 211, 3), dtype=np.uint8)
    maps = scene_maps(PictureScene(scene), texts, encoder, scales=(64, 100), batch_size=5)
    windows = windows_of(149, 211, (64, 100))
    for number, text in enumerate(texts):
        one = torch.from_numpy(encoder.encode_texts([text]))
        cosines = []
        for top, bottom, left, right in windows.tolist():
            crop = crop_for_encoder(scene[top:bottom, left:right], jpeg=True)
            image = torch.from_numpy(encoder.encode_images([crop]))
            cosines.append(torch.nn.functional.cosine_similarity(one, image).item())
        mean = naive_mean(windows, np.array(cosines), 149, 211)
        relative = (mean - mean.min()) / (mean.max() - mean.min())
        np.testing.assert_allclose(maps.expand(maps.relative(number)), relative, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            lambda crops: np.full((len(crops), 3), np.nan),
            "windows of scene 'scene': 7 of 7 embeddings are not finite, row 0",
        ),
        (lambda crops: np.ones((1, 3)), r"embeddings of shape \(1, 3\), wanted \(7, width\)"),
        (lambda crops: np.ones((len(crops), 4)), "images have 4 dimensions, texts 3; wanted one space"),
    ],
)
def test_embeddings_that_cannot_be_scored_are_refused(images: Callable[[list[Array]], Array], message: str) -> None:
    encoder = Colours()
    encoder.encode_images = images  # type: ignore[method-assign]
    scene = PictureScene(np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(ValueError, match=message):
        scene_maps(scene, ["1 0 0"], encoder, scales=(40,))


# GeoTIFF


def write_tiff(path: Path, pixels: Array, **profile: Any) -> Path:
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32610", "transform": rasterio.Affine(0.6, 0, 5e5, 0, -0.6, 4e6)}
    settings = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", **settings, count=pixels.shape[2], **{**place, **profile}) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return path


def test_a_geotiff_maps_as_its_pixels_and_its_heat_map_lies_where_it_does(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 131, 3), dtype=np.uint8)
    scene = open_scene(write_tiff(tmp_path / "scene.tif", pixels, photometric="RGB"))
    assert isinstance(scene, GeoTiffScene)
    maps = scene_maps(scene, ["1 0 0"], Colours(), scales=(32, 50))
    assert (maps.cosines == scene_maps(PictureScene(pixels), ["1 0 0"], Colours(), scales=(32, 50)).cosines).all()
    heat = heat_levels(maps, 0)
    covered = np.ones(heat.shape, bool)
    covered[:5] = False
    write_heat_geotiff(tmp_path / "heat.tif", heat, scene.path, covered=covered, tags={"text": "1 0 0"})
    with rasterio.open(tmp_path / "heat.tif") as file, rasterio.open(scene.path) as source:
        assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, source.shape)
        assert file.tags()["text"] == "1 0 0"
        assert np.isnan(file.nodata)
        written = file.read(1)
    assert np.isnan(written[:5]).all()
    assert (written[5:] == (heat / np.float32(255))[5:]).all()


def test_sixteen_bits_need_their_range_and_nodata_is_no_evidence(tmp_path: Path) -> None:
    values = np.full((60, 120, 3), 1000, np.uint16)
    values[:, 60:90] = 3000
    values[:, 90:] = 0  # nodata
    path = write_tiff(tmp_path / "scene.tif", values, photometric="RGB", nodata=0)
    with pytest.raises(ValueError, match=r"holds uint16; wanted 8 bits, .* Pass value_range=\(low, high\)"):
        open_scene(path)
    scene = GeoTiffScene(path, value_range=(1000, 3000))
    pixels, data = scene.read(0, 60, 50, 110)
    assert data == pytest.approx(40 / 60)
    assert (pixels[:, :10] == 0).all()
    assert (pixels[:, 10:40] == 255).all()
    assert (pixels[:, 40:] == round(255 * 0.75)).all()  # the mean of the pixels that are data
    maps = scene_maps(scene, ["1 1 0"], Colours(), scales=(20,))
    covered = maps.expand(np.isfinite(maps.cosines[0]))
    assert covered[:, :90].all()
    assert not covered[:, 100:].any()


def test_a_scene_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no scene at .*away\.jpg"):
        open_scene(tmp_path / "away.jpg")
    for name in ("broken.jpg", "broken.tif"):
        (tmp_path / name).write_bytes(b"no picture")
        with pytest.raises(ValueError, match=rf"scene .*{name} cannot be read"):
            open_scene(tmp_path / name)


def test_a_picture_of_sixteen_bits_is_not_cut_to_eight(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 5000, np.uint16)).save(tmp_path / "scene.png")
    with pytest.raises(ValueError, match=r"scene .*scene\.png has pixels of mode I;16, wanted 8 bits per channel"):
        open_scene(tmp_path / "scene.png")


# Figures


@pytest.mark.parametrize(
    ("height", "width", "longest"), [(1000, 777, 100), (2300, 1100, 500), (50, 40, 100), (5, 900, 90)]
)
def test_a_preview_is_the_mean_of_blocks(height: int, width: int, longest: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    small, factor = preview(PictureScene(pixels), longest)
    assert factor == min(-(-max(height, width) // longest), height)
    blocks = pixels[: height // factor * factor, : width // factor * factor]
    means = blocks.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=0.51)


def test_a_text_with_dollars_is_drawn_as_it_is() -> None:
    scene = PictureScene(np.zeros((40, 60, 3), np.uint8))
    figure = heat_figure(scene, np.zeros((40, 60), np.uint8), "a $5 \\frac field $", (SQUARE,))
    figure.canvas.draw()
    assert figure.get_suptitle().count(r"\$") == 2


# The benchmark


def make_benchmark(folder: Path) -> LocalizationConfig:
    images = folder / "imgs"
    images.mkdir()
    scene = np.full((150, 200, 3), 30, np.uint8)
    scene[20:80, 20:80] = (250, 20, 20)
    scene[90:140, 130:190] = (20, 250, 20)
    Image.fromarray(scene).save(images / "0.png")
    write_tiff(images / "1.tif", np.ascontiguousarray(scene[:, ::-1]), photometric="RGB")
    red, green = [[20, 20], [80, 20], [80, 80], [20, 80]], [[130, 90], [190, 90], [190, 140], [130, 140]]
    rows = [
        {"caption": "1 0 0\n", "jpg_name": "0.png", "points": [red]},
        {"caption": "1 0 0", "jpg_name": "1.tif", "points": [[[200 - x, y] for x, y in red]]},
        {"caption": "0 1 0", "jpg_name": "0.png", "points": [green]},
    ]
    (folder / "anno.json").write_text(json.dumps(rows))
    return LocalizationConfig(
        annotations=folder / "anno.json",
        images=images,
        output=folder / "out",
        scales=(32, 64),
        batch_size=16,
        geotiffs=True,
    )


def test_the_benchmark_scores_every_query_in_order_and_writes_what_it_saw(tmp_path: Path) -> None:
    config = make_benchmark(tmp_path)
    result = run_localization(config, Colours())
    assert [query.text for query in result.queries] == ["1 0 0", "1 0 0", "0 1 0"]
    assert [metric.name for metric in result.metrics] == ["rsu", "rda", "ras", "rmi"]
    for metric in result.metrics:
        values = [getattr(score, metric.name) for score in result.scores]
        assert (metric.value, metric.n) == (pytest.approx(np.mean(values)), 3)
        assert metric.low <= metric.value <= metric.high
    for query, score in zip(result.queries, result.scores, strict=True):
        scene = open_scene(config.images / query.image)
        maps = scene_maps(scene, [query.text], Colours(), scales=config.scales)
        assert parts(score) == pytest.approx(parts(score_heat(heat_levels(maps, 0), query.polygons)), abs=1e-6)
    lines = [json.loads(line) for line in (config.output / "queries.jsonl").read_text().splitlines()]
    assert [(line["image"], line["rmi"]) for line in lines] == [
        (query.image, score.rmi) for query, score in zip(result.queries, result.scores, strict=True)
    ]
    files = sorted(str(path.relative_to(config.output)) for path in config.output.rglob("*") if path.is_file())
    assert files == [
        "figures/0.png",
        "figures/1.png",
        "figures/2.png",
        "geotiffs/1.tif",
        "queries.jsonl",
        "summary.png",
    ]
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        LocalizationConfig(annotations=config.annotations, images=config.images, output=config.output)


def test_a_missing_scene_stops_the_run_before_anything_is_encoded(tmp_path: Path) -> None:
    config = make_benchmark(tmp_path)
    (config.images / "1.tif").unlink()
    with pytest.raises(FileNotFoundError, match=r"query 1 is about .*1\.tif, which is not there"):
        run_localization(config, None)  # type: ignore[arg-type]


def test_a_run_that_fails_leaves_no_empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_benchmark(tmp_path)
    (config.images / "0.png").write_bytes(b"no picture")
    monkeypatch.setattr("evaluation.localization.run.load_clip", lambda *arguments, **options: None)
    there = tmp_path / "there"
    there.mkdir()
    for output in (there, tmp_path / "new" / "deep"):
        with pytest.raises(ValueError, match=r"0\.png cannot be read"):
            evaluate_localization(LocalizationRun(model="m", data=tmp_path, output=output))
    assert there.is_dir()
    assert not any(there.iterdir())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("scales", [(256, 256), (512, 256, 768)])
def test_scales_that_are_the_same_windows_are_no_protocol_of_their_own(tmp_path: Path, scales: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"wanted each window size once, from small to large"):
        LocalizationRun(model="m", data=tmp_path, output=tmp_path, scales=scales)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no list of queries"),
        ([{"caption": "a", "jpg_name": "0.jpg"}], "query 0 is not an object with caption, jpg_name and points"),
        ([{"caption": " ", "jpg_name": "0.jpg", "points": [SQUARE]}], "query 0 has caption ' '"),
        ([{"caption": "a", "jpg_name": "../0.jpg", "points": [SQUARE]}], "wanted a name inside the folder"),
        ([{"caption": "a", "jpg_name": "0.jpg", "points": []}], "query 0 has no regions"),
        ([{"caption": "a", "jpg_name": "0.jpg", "points": [SQUARE, SQUARE[:2]]}], "region 1 of query 0 is not a list"),
        ([{"caption": "a", "jpg_name": "0.jpg", "points": [[[1, 1]] * 3]}], r"query 0: a region around \(1, 1\)"),
        ([{"caption": "a", "jpg_name": "0.jpg", "points": [SQUARE]}] * 2, "queries 0 and 1 are the same text on 0.jpg"),
    ],
)
def test_annotations_that_cannot_be_scored_are_refused(rows: list[Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "anno.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        read_queries(tmp_path / "anno.json")


def test_intervals_resample_scenes_and_one_scene_says_nothing_of_others() -> None:
    good, bad = (LocalizationScore(rsu=value, ras=value, rda=value, rmi=value) for value in (0.9, 0.1))
    wide = summarise(["a"] * 10 + ["b"] * 10, [good] * 10 + [bad] * 10)[0]
    assert (wide.value, wide.low, wide.high) == pytest.approx((0.5, 0.1, 0.9))
    alone = summarise(["a"] * 20, [good] * 10 + [bad] * 10)[0]
    assert (alone.value, alone.low, alone.high, alone.n) == (pytest.approx(0.5), 0.0, 1.0, 20)
