"""Retrieval: ranks, recall, chance and intervals against hand-written and brute-force cases."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from evaluation.embedding import Bundle, load_bundle
from evaluation.retrieval import retrieval_fusionrs
from evaluation.retrieval.recall import chance_recall, mean_interval, ranks_of_first_positive, recall_at
from evaluation.score import ProtocolOptions, score_protocol


def test_ranks_of_a_case_written_by_hand() -> None:
    gallery = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    queries = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]], dtype=np.float32)
    keys = np.array(["a", "b", "c"])
    ranks = ranks_of_first_positive(queries, gallery, keys, keys)
    assert ranks.tolist() == [0, 1, 2]
    assert [recall_at(ranks, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_any_entry_with_the_querys_key_counts() -> None:
    gallery = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    assert ranks_of_first_positive(query, gallery, np.array(["x"]), np.array(["x", "x"])).tolist() == [0]
    assert ranks_of_first_positive(query, gallery, np.array(["x"]), np.array(["x", "y"])).tolist() == [1]


def test_equal_embeddings_score_nothing() -> None:
    same = np.ones((7, 3), dtype=np.float32)
    keys = np.arange(7).astype(str)
    assert ranks_of_first_positive(same, same, keys, keys).tolist() == [6] * 7


def test_blocks_equal_brute_force() -> None:
    generator = np.random.default_rng(0)
    queries, gallery = (generator.normal(size=(n, 8)).astype(np.float32) for n in (1500, 400))
    query_keys = generator.integers(60, size=1500).astype(str)
    gallery_keys = np.concatenate([np.arange(60), generator.integers(60, size=340)]).astype(str)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery)]
    scores = unit[0] @ unit[1].T
    expected = []
    for row, key in zip(scores, query_keys, strict=True):
        order = np.argsort(-row, kind="stable")
        expected.append(int((gallery_keys[order] == key).argmax()))
    assert ranks_of_first_positive(queries, gallery, query_keys, gallery_keys).tolist() == expected


def test_norms_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(50, 4)).astype(np.float32)
    keys = np.arange(50).astype(str)
    noisy = (vectors + generator.normal(size=(50, 4))).astype(np.float32)
    scaled = noisy * generator.uniform(0.1, 10, size=(50, 1)).astype(np.float32)
    expected = ranks_of_first_positive(noisy, vectors, keys, keys)
    assert (ranks_of_first_positive(scaled, vectors, keys, keys) == expected).all()


def test_chance_is_the_closed_form_and_what_random_orders_give() -> None:
    keys = np.array(["a", "a", "b", "c", "d", "d", "d", "e"])
    expected = np.mean([1 - comb(8 - n, 3) / comb(8, 3) for n in (2, 2, 1, 1, 3, 3, 3, 1)])
    assert chance_recall(keys, keys, 3) == pytest.approx(expected)
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(3000):
        order = generator.permutation(8)[:3]
        hits.append(np.mean([key in keys[order] for key in keys]))
    assert np.mean(hits) == pytest.approx(expected, abs=0.02)


def test_the_interval_has_the_width_of_a_binomial() -> None:
    values = np.repeat([1.0, 0.0], [300, 700])
    low, high = mean_interval(values)
    assert (low + high) / 2 == pytest.approx(0.3, abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 1000), rel=0.1)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    vectors = np.eye(3, dtype=np.float32)
    broken = vectors.copy()
    broken[1, 0] = np.nan
    keys = np.arange(3).astype(str)
    with pytest.raises(ValueError, match="gallery hold 1 rows that are not finite"):
        ranks_of_first_positive(vectors, broken, keys, keys)


def test_a_query_without_a_positive_is_refused() -> None:
    vectors = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="query 1 has no positive"):
        ranks_of_first_positive(vectors, vectors, np.array(["a", "z"]), np.array(["a", "b"]))


def bundle() -> Bundle:
    eye = np.eye(4, dtype=np.float32)
    return Bundle(
        id=np.array(["1", "2", "3", "4"]),
        caption_key=np.array(["a", "a", "b", "c"]),
        label=np.array(["x"] * 4),
        source=np.array(["s"] * 4),
        text=eye[[0, 0, 2, 3]],
        rgb=eye[[1, 0, 2, 3]],
        infrared=eye[[0, 1, 2, 3]],
    )


def test_texts_match_by_caption_and_images_by_row() -> None:
    scores = {metric.name: metric.value for metric in retrieval_fusionrs.score(bundle())}
    assert scores["infrared_to_text/recall_at_1"] == 0.75  # row 2 looks like nothing, ties rank last
    assert scores["text_to_rgb/recall_at_1"] == 1.0  # row 1's image is row 2's, whose caption is the same
    assert scores["rgb_to_infrared/recall_at_1"] == 0.5
    assert scores["chance/rgb_to_infrared/recall_at_1"] == pytest.approx(0.25)
    assert scores["chance/text_to_rgb/recall_at_1"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4)
    assert not any("fused" in name for name in scores)


def test_equal_infrared_texts_count_as_one_where_their_keys_are_given() -> None:
    eye = np.eye(4, dtype=np.float32)
    alone = replace(bundle(), infrared_text=eye[[0, 0, 2, 3]])  # rows 1 and 2 say the same of the infrared
    keyed = replace(alone, infrared_caption_key=np.array(["p", "p", "q", "r"]))
    scores, strict = (
        {metric.name: metric.value for metric in score_protocol("retrieval-fusionrs", one, ProtocolOptions()).metrics}
        for one in (keyed, alone)
    )
    assert scores["infrared_text_to_infrared/recall_at_1"] == 1.0  # both texts find row 1's image, which either may
    assert strict["infrared_text_to_infrared/recall_at_1"] == 0.75
    assert scores["infrared_to_infrared_text/recall_at_1"] == 0.75  # row 2 looks like nothing
    assert strict["infrared_to_infrared_text/recall_at_1"] == 0.5  # row 1's text is tied with row 2's
    for name in ("infrared_text_to_infrared", "infrared_to_infrared_text"):
        assert scores[f"single_positive/{name}/recall_at_1"] == strict[f"{name}/recall_at_1"]
    assert scores["chance/infrared_to_infrared_text/recall_at_1"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.25) / 4)
    assert keyed.listing_sha256() != alone.listing_sha256()


def test_a_bundle_survives_its_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    before = bundle()
    before.save(tmp_path / "bundle.npz")
    after = load_bundle(tmp_path / "bundle.npz")
    assert (after.rgb == before.rgb).all()
    assert (after.caption_key == before.caption_key).all()
    assert after.fused is None
