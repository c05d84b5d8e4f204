"""The perceptual hash against its definition written out, and near duplicates against brute force."""

import hashlib
import io
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dataset_scripts.stages.caption_key import caption_key
from dataset_scripts.stages.leak_groups import leak_groups
from dataset_scripts.stages.near_duplicates import (
    MAX_RADIUS,
    block_choices,
    choose_survivor,
    duplicate_clusters,
    group_rows,
    keep_one_per_cluster,
    near_duplicate_pairs,
)
from dataset_scripts.stages.perceptual_hash import (
    grey_thumbnail,
    hamming_distances,
    hash_thumbnails,
    perceptual_hashes,
)
from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.union_find import connected_components


def naive_hash(image: Image.Image) -> int:
    """FusionRS's definition, written out sum by sum."""
    pixels = list(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)).astype(float))
    coefficients = []
    for u in range(8):
        for v in range(8):
            total = sum(
                pixels[y][x] * math.cos(math.pi * (2 * y + 1) * u / 64) * math.cos(math.pi * (2 * x + 1) * v / 64)
                for y in range(32)
                for x in range(32)
            )
            scale = (math.sqrt(1 / 32) if u == 0 else math.sqrt(2 / 32)) * (
                math.sqrt(1 / 32) if v == 0 else math.sqrt(2 / 32)
            )
            coefficients.append(scale * total)
    median = sorted(coefficients[1:])[31]
    return int("".join("1" if value > median else "0" for value in coefficients), 2)


def smooth_images(count: int, seed: int = 0) -> list[Image.Image]:
    """Colour images with structure at all scales."""
    generator = np.random.default_rng(seed)
    coarse = [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (3, 5, 9, 17) * count][:count]
    size = [(60 + 7 * (number % 9), 50 + 11 * (number % 5)) for number in range(count)]
    return [Image.fromarray(low).resize(wh, Image.Resampling.BICUBIC) for low, wh in zip(coarse, size, strict=True)]


def planted_hashes(count: int, *, seed: int, most_flips: int) -> NDArray[np.uint64]:
    """Random hashes, a third of which are copies of others with up to `most_flips` bits flipped."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    for row in range(count // 3):
        bits = generator.choice(64, generator.integers(0, most_flips + 1), replace=False)
        flips = np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0))
        hashes[row] = hashes[generator.integers(count // 3, count)] ^ flips
    return hashes[generator.permutation(count)]


def brute_force_pairs(hashes: NDArray[np.uint64], radius: int) -> set[tuple[int, int]]:
    pairs = set()
    for row in range(len(hashes)):
        near = np.flatnonzero(hamming_distances(hashes[row + 1 :], hashes[row]) <= radius) + row + 1
        pairs |= {(row, int(other)) for other in near}
    return pairs


def expected_pairs(hashes: NDArray[np.uint64], radius: int) -> set[tuple[int, int]]:
    """All pairs of distinct hashes by their first rows, and chains of equal ones."""
    rows_of: dict[int, list[int]] = {}
    for row, value in enumerate(hashes.tolist()):
        rows_of.setdefault(value, []).append(row)
    first = sorted(rows[0] for rows in rows_of.values())
    near = {(first[i], first[j]) for i, j in brute_force_pairs(hashes[first], radius)}
    return near | {pair for rows in rows_of.values() for pair in pairwise(rows)}


def as_set(pairs: NDArray[np.int64]) -> set[tuple[int, int]]:
    found = [(int(first), int(second)) for first, second in pairs]
    assert len(found) == len(set(found)), "a pair came twice"
    assert found == sorted(found)
    assert all(first < second for first, second in found)
    return set(found)


# perceptual hash


def test_the_hash_is_fusionrss_definition_bit_for_bit() -> None:
    images = smooth_images(40)
    assert perceptual_hashes(images).tolist() == [naive_hash(image) for image in images]


def test_a_batch_hashes_as_its_images_do_one_by_one() -> None:
    images = smooth_images(25, seed=3)
    together = perceptual_hashes(images)
    assert together.tolist() == [int(perceptual_hashes([image])[0]) for image in images]
    assert together.dtype == np.uint64
    assert perceptual_hashes([]).shape == (0,)


def test_a_horizontal_wave_sets_the_bit_of_its_frequency() -> None:
    wave = 100 + 50 * np.cos(math.pi * (2 * np.arange(32) + 1) * 3 / 64)
    along_x = np.tile(wave, (32, 1))
    mean_bit = 1 << 63
    assert hash_thumbnails([along_x, along_x.T]).tolist() == [mean_bit | 1 << (63 - 3), mean_bit | 1 << (63 - 24)]


def test_images_of_one_colour_hash_to_their_mean_alone_in_every_depth() -> None:
    grey = [Image.new("L", (70, 50), value) for value in (1, 37, 128, 255)]
    deep = [Image.new(mode, (70, 50), value) for mode in ("I;16", "I", "F") for value in (273, 300, 20_001)]
    assert set(perceptual_hashes(grey + deep).tolist()) == {1 << 63}
    assert perceptual_hashes([Image.new("L", (70, 50), 0)]).tolist() == [0]


def test_sixteen_bit_infrared_hashes_like_its_eight_bit_rendering() -> None:
    for image in smooth_images(48, seed=5)[3::4]:
        grey = np.asarray(image.convert("L"))
        deep = grey.astype(np.uint16) * 200 + 10_000
        versions = [
            Image.fromarray(grey),
            Image.fromarray(deep),
            Image.fromarray(deep.astype(np.int32)),
            Image.fromarray(deep.astype(np.float32) / 100),
        ]
        hashes = perceptual_hashes(versions)
        assert hamming_distances(hashes[1:], hashes[0]).max() <= 2
        assert hash_thumbnails([grey_thumbnail(Image.new("L", (9, 9)))])[0] not in hashes


def test_values_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        perceptual_hashes([Image.fromarray(np.full((40, 40), np.nan, dtype=np.float32))])
    with pytest.raises(ValueError, match=r"\(N, 32, 32\)"):
        hash_thumbnails(np.zeros((2, 31, 32)))


def test_recompressed_and_resized_copies_are_near_and_other_images_are_far() -> None:
    images = smooth_images(120, seed=7)[3::4]  # those with detail in all 64 frequencies
    copies = []
    for image in images:
        buffer = io.BytesIO()
        image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
        copies.append(Image.open(buffer))
    first, second = perceptual_hashes(images), perceptual_hashes(copies)
    assert hamming_distances(first, second).max() <= 4
    others = np.bitwise_count(first[:, None] ^ first[None, :])[~np.eye(30, dtype=bool)]
    assert others.min() > 8


def test_a_reduced_decode_changes_few_bits() -> None:
    generator = np.random.default_rng(2)
    encoded = []
    for _ in range(20):
        low = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        low.resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        encoded.append(buffer.getvalue())
    exact = perceptual_hashes(Image.open(io.BytesIO(data)) for data in encoded)
    reduced = perceptual_hashes((Image.open(io.BytesIO(data)) for data in encoded), reduced_decode=True)
    assert hamming_distances(exact, reduced).max() <= 4
    assert hamming_distances(exact, reduced).mean() < 1


# pairs


def test_radius_4_with_two_blocks_matched_takes_15_choices_of_which_any_4_flips_leave_one() -> None:
    choices = block_choices(64, 4, 2)
    assert len(choices) == 15
    for matched, rest in choices:
        covered = sorted(bit for low, width in matched + rest for bit in range(low, low + width))
        assert covered == list(range(64))
    masks = [sum(((1 << width) - 1) << low for low, width in matched) for matched, _ in choices]
    generator = np.random.default_rng(0)
    for _ in range(2000):
        flips = sum(1 << int(bit) for bit in generator.choice(64, 4, replace=False))
        assert any(flips & mask == 0 for mask in masks)


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
@pytest.mark.parametrize("matched_blocks", [None, 1, 2, 3])
def test_pairs_equal_brute_force_on_3000_hashes(radius: int, matched_blocks: int | None) -> None:
    hashes = planted_hashes(3000, seed=radius, most_flips=MAX_RADIUS + 2)
    expected = expected_pairs(hashes, radius)
    assert len(expected) > 50
    assert as_set(near_duplicate_pairs(hashes, radius, matched_blocks=matched_blocks)) == expected


@pytest.mark.parametrize("radius", [1, 3, 4])
def test_long_runs_that_agree_on_many_bits_are_searched_again_and_stay_exact(
    radius: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset_scripts.stages.near_duplicates._LONG_RUN", 300)
    generator = np.random.default_rng(radius)
    low_entropy = generator.integers(0, 2**18, 900, dtype=np.uint64) << np.uint64(23)
    sparse = np.bitwise_or.reduce(np.uint64(1) << generator.integers(0, 64, (3, 900), dtype=np.uint64))
    hashes = np.concatenate([low_entropy, sparse, planted_hashes(500, seed=1, most_flips=5)])
    expected = expected_pairs(hashes, radius)
    assert len(expected) > 20
    assert as_set(near_duplicate_pairs(hashes, radius)) == expected
    assert as_set(near_duplicate_pairs(hashes, radius, matched_blocks=2)) == expected


@pytest.mark.slow
def test_pairs_equal_brute_force_on_50000_hashes() -> None:
    hashes = planted_hashes(50_000, seed=11, most_flips=6)
    assert as_set(near_duplicate_pairs(hashes)) == expected_pairs(hashes, 4)


def test_a_million_equal_hashes_are_a_chain() -> None:
    hashes = np.full(1_000_000, 7, dtype=np.uint64)
    hashes[500_000] = 6
    pairs = near_duplicate_pairs(hashes)
    assert len(pairs) == 999_999
    assert connected_components(len(hashes), pairs).max() == 0


def test_hashes_at_the_radius_are_near_and_one_bit_more_is_far() -> None:
    hashes = np.array([0, 0b1111, 0b11111, 2**64 - 1, 2**64 - 1 - 2**63], dtype=np.uint64)
    assert near_duplicate_pairs(hashes).tolist() == [[0, 1], [1, 2], [3, 4]]
    assert near_duplicate_pairs(hashes, 5).tolist() == [[0, 1], [0, 2], [1, 2], [3, 4]]
    assert near_duplicate_pairs(hashes, 0).tolist() == []


@pytest.mark.parametrize("count", [0, 1])
def test_no_pair_among_fewer_than_two(count: int) -> None:
    assert near_duplicate_pairs(np.zeros(count, dtype=np.uint64)).shape == (0, 2)


def test_wrong_hashes_and_radii_are_errors() -> None:
    with pytest.raises(ValueError, match="int64 of shape"):
        near_duplicate_pairs(np.zeros(3, dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="radius is 8; it must be 0 to 7"):
        near_duplicate_pairs(np.zeros(3, dtype=np.uint64), 8)


# groups


def test_components_equal_a_flood_fill() -> None:
    generator = np.random.default_rng(0)
    for count, edge_count in ((1, 0), (50, 20), (400, 380), (3000, 2500)):
        edges = generator.integers(0, count, (edge_count, 2))
        neighbours: dict[int, set[int]] = {row: set() for row in range(count)}
        for first, second in edges.tolist():
            neighbours[first].add(second)
            neighbours[second].add(first)
        expected = [-1] * count
        for start in range(count):
            waiting = [start] if expected[start] < 0 else []
            while waiting:
                row = waiting.pop()
                expected[row] = start
                waiting += [other for other in neighbours[row] if expected[other] < 0]
        assert connected_components(count, edges).tolist() == expected


def test_a_long_path_is_one_component_in_any_order() -> None:
    rows = np.random.default_rng(0).permutation(100_000)
    edges = np.stack([rows[:-1], rows[1:]], axis=1)
    assert connected_components(100_000, edges).max() == 0


def test_rows_are_joined_by_rgb_by_infrared_by_file_and_by_caption() -> None:
    far = [np.uint64(value) for value in (0x0, 0xFF, 0xFF00, 0xFF0000, 0xFF000000, 0xFF00000000, 0xFF0000000000)]
    rgb = np.array([far[0], far[0] ^ np.uint64(0b1111), *far[2:]], dtype=np.uint64)
    infrared = np.array([far[6], far[1], far[1] ^ np.uint64(1 << 40), *far[2:6]], dtype=np.uint64)
    sha256 = ["a", "b", "c", "c", "e", "f", "g"]
    captions = ["A port.", "A farm.", "Trees.", "A lake!", "a LAKE", "A road.", "Snow."]
    keys = [caption_key(caption) for caption in captions]
    labels = duplicate_clusters(hash_columns=[rgb, infrared], key_columns=[sha256, keys])
    # 0-1 by RGB, 1-2 by infrared, 2-3 by file, 3-4 by caption; 5 and 6 are alone.
    assert labels.tolist() == [0, 0, 0, 0, 0, 5, 6]
    groups = group_rows(hash_columns=[rgb, infrared], key_columns=[sha256, keys]).to_pylist()
    assert len(set(groups)) == 3
    assert len(set(groups[:5])) == 1
    # A hash of RGB that equals one of infrared joins nothing.
    assert rgb[2] == infrared[3]


def test_groups_and_names_are_those_of_leak_groups_and_do_not_depend_on_the_order() -> None:
    generator = np.random.default_rng(4)
    rgb = planted_hashes(600, seed=1, most_flips=6)
    infrared = planted_hashes(600, seed=2, most_flips=6)
    captions = [f"caption:{number}" for number in generator.integers(0, 2000, 600)]
    sha256 = [f"file:{number}" for number in generator.integers(0, 5000, 600)]
    groups = group_rows(hash_columns=[rgb, infrared], key_columns=[sha256, captions]).to_pylist()
    keys: list[list[str]] = [list(pair) for pair in zip(sha256, captions, strict=True)]
    for column in (rgb, infrared):
        for first, second in brute_force_pairs(column, 4):
            keys[first].append(sha256[second])
    assert groups == leak_groups(keys)
    order = generator.permutation(600)
    shuffled = group_rows(
        hash_columns=[rgb[order], infrared[order]],
        key_columns=[[sha256[row] for row in order], [captions[row] for row in order]],
    )
    assert shuffled.to_pylist() == [groups[row] for row in order]


def test_a_missing_key_joins_nothing_and_a_row_without_any_is_an_error() -> None:
    far = np.array([0, 0xFFFF], dtype=np.uint64)
    groups = group_rows(hash_columns=[far], key_columns=[["a", "b"], [None, None]])
    assert groups[0] != groups[1]
    with pytest.raises(ValueError, match="row 1 has no key"):
        group_rows(hash_columns=[far], key_columns=[["a", None]])
    with pytest.raises(ValueError, match=r"columns have \[2, 3\] rows"):
        duplicate_clusters(hash_columns=[far], key_columns=[["a", "b", "c"]])


# survivors


def test_laioncoco_goes_first_and_the_three_large_sets_are_preferred() -> None:
    names = ["one", "two", "three"]
    assert choose_survivor(["laioncoco", "cc3m", "laion2b"], names) == 2
    assert choose_survivor(["laioncoco", "sbu", "laioncoco"], names) == 1
    assert choose_survivor(["redcaps", "COYO700M", "laioncoco"], names) == 1
    assert choose_survivor(["wit", "laion400m", "vg"], names) == 1
    assert choose_survivor(["laioncoco"], ["only"]) == 0
    with pytest.raises(ValueError, match="cluster is empty"):
        choose_survivor([], [])


def test_among_equals_the_smallest_hash_survives_in_any_order() -> None:
    names = [f"laion2b:{number}" for number in range(20)]
    expected = min(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    for seed in range(5):
        shuffled = [names[i] for i in np.random.default_rng(seed).permutation(20)]
        assert shuffled[choose_survivor(["laion2b"] * 20, shuffled)] == expected


def test_one_row_of_each_cluster_is_kept_and_the_others_name_it() -> None:
    kept, rejects = keep_one_per_cluster(
        np.array([0, 1, 0, 0, 4]),
        sources=["laioncoco", "laioncoco", "laion2b", "cc12m", "sbu"],
        identities=["a", "b", "c", "d", "e"],
        reason="near_duplicate",
    )
    assert kept == [1, 2, 4]
    assert rejects == [Reject(0, "near_duplicate", "same as c"), Reject(3, "near_duplicate", "same as c")]


def test_clusters_may_be_named_by_keys() -> None:
    kept, rejects = keep_one_per_cluster(["x", "y", "x"], sources=["sbu"] * 3, identities=["a", "b", "c"], reason="r")
    survivor = min((0, 2), key=lambda row: hashlib.sha256("abc"[row].encode()).digest())
    assert kept == sorted([1, survivor])
    assert [reject.row for reject in rejects] == [2 - survivor]
    assert keep_one_per_cluster([], sources=[], identities=[], reason="r") == ([], [])


def test_the_benchmark_writes_what_it_measured(tmp_path: Path) -> None:
    import json

    from benchmarks.near_duplicates import Config, main

    main(Config(output=tmp_path / "result.json", sizes=(2000,), bk_tree_size=200, images=4, rounds=1))
    record = json.loads((tmp_path / "result.json").read_text())
    (measured,) = record["near_duplicate_pairs"]
    assert measured["hashes"] == 2000
    assert measured["planted_found"] == measured["planted"] == 20
    assert record["bk_tree"]["same_pairs"] is True
