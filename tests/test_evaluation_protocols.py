"""Protocols on embeddings: cases written by hand, and parity with naive readings of the original scorers."""

import hashlib
from itertools import permutations

import numpy as np
import pytest

from evaluation.classification import presence, zero_shot
from evaluation.classification.class_names import (
    AID,
    CLASS_SETS,
    EUROSAT,
    PROMPT_SETS,
    RESISC45,
    RS5M_TEMPLATES,
    class_text,
)
from evaluation.intervals.joint_interval import joint_interval
from evaluation.results import Metric
from evaluation.retrieval import fusion_blend, pair_retrieval, retrieval_rs
from evaluation.retrieval.anchored_ranks import NEVER, anchor, ranks_of_keys, ranks_of_pairs
from evaluation.retrieval.recall import mean_interval, ranks_of_first_positive


def values(metrics: list[Metric]) -> dict[str, float]:
    for metric in metrics:
        assert metric.low <= metric.value <= metric.high, metric
    return {metric.name: metric.value for metric in metrics}


def noisy(seed: int, vectors: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return (vectors + scale * np.random.default_rng(seed).normal(size=vectors.shape)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# Anchoring


def test_rows_return_in_the_order_of_the_manifest_and_absent_ones_are_marked() -> None:
    vectors = np.array([[0.0, 3.0], [2.0, 0.0]], dtype=np.float32)
    anchored, present = anchor(np.array(["a", "b", "c"]), np.array(["c", "a"]), vectors, "images")
    assert anchored.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert present.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("ids", "embedded", "message"),
    [
        (["a", "a"], ["a"], "the manifest's images hold 1 ids more than once, such as 'a'"),
        (["a", "b"], ["b", "b"], "the embedded images hold 1 ids more than once, such as 'b'"),
        (["a", "b"], ["a", "z"], "images hold 1 ids that the manifest lacks, such as 'z'"),
    ],
)
def test_ids_that_repeat_or_are_unknown_are_refused(ids: list[str], embedded: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        anchor(np.array(ids), np.array(embedded), np.ones((len(embedded), 2), np.float32), "images")


def test_an_embedding_that_is_not_finite_is_named() -> None:
    vectors = np.array([[1.0, 0.0], [np.nan, 0.0]], dtype=np.float32)
    with pytest.raises(ValueError, match="1 embeddings that are not finite, such as that of 'b'"):
        anchor(np.array(["a", "b"]), np.array(["a", "b"]), vectors, "images")


def test_pairs_rank_as_keys_do_where_keys_say_the_same() -> None:
    generator = np.random.default_rng(0)
    axes = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)  # exact cosines, and so many exact ties
    queries, gallery = (axes[generator.integers(6, size=n)] for n in (1300, 90))
    query_keys, gallery_keys = generator.integers(20, size=1300).astype(str), (np.arange(90) % 20).astype(str)
    everything = np.ones(1300, bool), np.ones(90, bool)
    pairs = np.nonzero(query_keys[:, None] == gallery_keys)
    expected = ranks_of_first_positive(queries, gallery, query_keys, gallery_keys)
    assert (ranks_of_keys(queries, gallery, query_keys, gallery_keys, *everything) == expected).all()
    shuffled = generator.permutation(len(pairs[0]))
    assert (ranks_of_pairs(queries, gallery, (pairs[0][shuffled], pairs[1][shuffled]), *everything) == expected).all()


def test_an_absent_query_or_positive_never_ranks_and_an_absent_negative_does_not_compete() -> None:
    eye, keys = np.eye(3, dtype=np.float32), np.array(["a", "b", "c"])
    queries = eye[[0, 0, 0]]  # all look like entry a
    gone, all_there = np.array([False, True, True]), np.ones(3, bool)
    pairs = np.arange(3), np.arange(3)
    for present, expected in (((all_there, gone), [NEVER, 1, 1]), ((gone, all_there), [NEVER, 2, 2])):
        assert ranks_of_keys(queries, eye, keys, keys, *present).tolist() == expected
        assert ranks_of_pairs(queries, eye, pairs, *present).tolist() == expected


# Intervals


def test_the_joint_interval_of_one_direction_is_the_interval_of_a_mean() -> None:
    hits = (np.random.default_rng(0).random(137) < 0.4).astype(np.float64)
    assert joint_interval([(hits, np.ones(137))]) == pytest.approx(mean_interval(hits), abs=1e-12)


def test_one_case_says_nothing_of_others() -> None:
    assert mean_interval(np.ones(1)) == (0, 1)
    assert joint_interval([(np.ones(1), np.ones(1)), (np.zeros(1), np.ones(1))]) == (0, 1)


def test_a_joint_interval_knows_that_directions_move_together() -> None:
    hits = np.repeat([1.0, 0.0], 200)
    ones = np.ones(400)
    same, opposite = joint_interval([(hits, ones), (hits, ones)]), joint_interval([(hits, ones), (1 - hits, ones)])
    assert same == pytest.approx(mean_interval(hits))
    assert opposite == pytest.approx((0.5, 0.5))


def test_captions_of_one_image_do_not_count_as_independent_cases() -> None:
    hits = np.repeat([1.0, 0.0], 100)  # images whose five captions are all right or all wrong
    low, high = joint_interval([(5 * hits, np.full(200, 5.0))])
    assert (low, high) == pytest.approx(mean_interval(hits))
    naive_low, naive_high = mean_interval(np.repeat(hits, 5))
    assert high - low > 1.8 * (naive_high - naive_low)


def test_a_ratio_is_resampled_in_both_its_parts() -> None:
    # Images with one or nine captions, all right: whatever the draw, every caption is right.
    counts = np.where(np.arange(30) % 2 == 0, 1.0, 9.0)
    assert joint_interval([(counts, counts)]) == (1.0, 1.0)


# retrieval-rs


def captions(images: int, shared: tuple[tuple[int, int], ...] = ()) -> retrieval_rs.CaptionManifest:
    """Five captions an image, all distinct but the pairs of caption rows in `shared`."""
    keys = [f"text {row}" for row in range(5 * images)]
    for one, other in shared:
        keys[other] = keys[one]
    return retrieval_rs.CaptionManifest(
        image_ids=np.array([f"{image}.jpg" for image in range(images)]),
        caption_ids=np.array([f"{row // 5}.jpg#{row % 5}" for row in range(5 * images)]),
        caption_image_ids=np.array([f"{row // 5}.jpg" for row in range(5 * images)]),
        caption_keys=np.array(keys),
    )


def embedded(manifest: retrieval_rs.CaptionManifest, seed: int, scale: float) -> retrieval_rs.CaptionEmbeddings:
    """Noisy embeddings in another order than the manifest's; equal texts have equal embeddings."""
    centres = np.random.default_rng(seed).normal(size=(len(manifest.image_ids), 8))
    texts = noisy(seed + 1, centres[manifest.images_of_captions], scale)
    first = {key: row for row, key in reversed(list(enumerate(manifest.caption_keys.tolist())))}
    texts = texts[[first[key] for key in manifest.caption_keys.tolist()]]
    order = np.random.default_rng(seed).permutation(len(texts))
    images = noisy(seed + 2, centres, scale)
    return retrieval_rs.CaptionEmbeddings(
        image_ids=manifest.image_ids[::-1],
        images=images[::-1],
        caption_ids=manifest.caption_ids[order],
        captions=texts[order],
    )


def original_recalls(images: np.ndarray, texts: np.ndarray, positive: np.ndarray) -> list[float]:
    """RS5M's scorer: scores = T @ I^T; a query is right if its recall of positives among the k best is above zero."""
    scores = unit(texts) @ unit(images).T
    recalls = []
    for matrix, relevant in ((scores.T, positive.T), (scores, positive)):
        for k in (1, 5, 10):
            top = np.argsort(-matrix, axis=1)[:, :k]
            recall = np.take_along_axis(relevant, top, axis=1).sum(axis=1) / relevant.sum(axis=1)
            recalls.append(float((recall > 0).mean()))
    return recalls


def in_order(
    manifest: retrieval_rs.CaptionManifest, embeddings: retrieval_rs.CaptionEmbeddings
) -> tuple[np.ndarray, np.ndarray]:
    rows = {key: row for row, key in enumerate(embeddings.image_ids.tolist())}
    lines = {key: row for row, key in enumerate(embeddings.caption_ids.tolist())}
    images = embeddings.images[[rows[key] for key in manifest.image_ids.tolist()]]
    return images, embeddings.captions[[lines[key] for key in manifest.caption_ids.tolist()]]


NAMES = [f"{way}/recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]


def test_retrieval_rs_equals_the_full_matrix_of_the_original() -> None:
    manifest = captions(40)
    embeddings = embedded(manifest, 3, 1.5)
    positive = manifest.caption_image_ids[:, None] == manifest.image_ids[None, :]
    expected = original_recalls(*in_order(manifest, embeddings), positive)
    scores = values(retrieval_rs.score(manifest, embeddings))
    assert [scores[name] for name in NAMES] == pytest.approx(expected)
    assert scores["mean_recall"] == pytest.approx(np.mean(expected))
    assert 0.1 < scores["mean_recall"] < 0.9
    assert scores == values(retrieval_rs.score_dedup(manifest, embeddings))  # no caption is shared


def test_dedup_equals_the_full_matrix_with_credit_for_shared_captions() -> None:
    # Caption 0 of images 1 and 2 is image 0's caption 0 and image 3's caption 4 is image 2's caption 1: not transitive.
    manifest = captions(40, shared=((0, 5), (0, 10), (11, 19), (6, 7)))
    embeddings = embedded(manifest, 4, 1.5)
    has = [set(manifest.caption_keys[5 * image : 5 * image + 5].tolist()) for image in range(40)]
    positive = np.array([[key in keys for keys in has] for key in manifest.caption_keys.tolist()])
    assert positive.sum() == 200 + 3 * 2 + 2
    expected = original_recalls(*in_order(manifest, embeddings), positive)
    scores = values(retrieval_rs.score_dedup(manifest, embeddings))
    assert [scores[name] for name in NAMES] == pytest.approx(expected)


def test_a_shared_caption_costs_recall_only_where_it_gets_no_credit() -> None:
    manifest = captions(2, shared=((0, 5),))
    eye = np.eye(2, dtype=np.float32)
    # The shared text looks like image 0, the others like their own image.
    texts = eye[[0, 0, 0, 0, 0, 0, 1, 1, 1, 1]]
    embeddings = retrieval_rs.CaptionEmbeddings(
        image_ids=manifest.image_ids, images=eye, caption_ids=manifest.caption_ids, captions=texts
    )
    strict = values(retrieval_rs.score(manifest, embeddings))
    credited = values(retrieval_rs.score_dedup(manifest, embeddings))
    assert strict["text_to_image/recall_at_1"] == pytest.approx(0.9)
    assert credited["text_to_image/recall_at_1"] == 1.0
    # Image 0's own captions tie with image 1's copy, a negative without credit: ties rank last.
    assert strict["image_to_text/recall_at_1"] == 0.5
    assert credited["image_to_text/recall_at_1"] == 1.0


def test_skyscript_merges_captions_by_text() -> None:
    manifest = captions(12, shared=((0, 5), (0, 6), (20, 31)))
    embeddings = embedded(manifest, 5, 1.5)
    images, texts = in_order(manifest, embeddings)
    keys, first = np.unique(manifest.caption_keys, return_index=True)
    has = [set(manifest.caption_keys[5 * image : 5 * image + 5].tolist()) for image in range(12)]
    positive = np.array([[key in own for own in has] for key in keys.tolist()])
    expected = original_recalls(images, texts[first], positive)
    metrics = retrieval_rs.score_skyscript(manifest, embeddings)
    scores = values(metrics)
    assert [scores[name] for name in NAMES] == pytest.approx(expected)
    assert scores["image_to_text/mean_recall"] == pytest.approx(np.mean(expected[:3]))
    assert scores["text_to_image/mean_recall"] == pytest.approx(np.mean(expected[3:]))
    assert "mean_recall" not in scores
    assert {metric.n for metric in metrics if metric.name.startswith("text")} == {57}


def test_a_merged_text_has_the_embedding_of_the_first_caption_that_has_one() -> None:
    manifest = captions(2, shared=((0, 5),))
    eye = np.eye(2, dtype=np.float32)
    texts = eye[[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
    for kept in (slice(None), slice(1, None)):  # without caption 0, its copy stands for the text
        embeddings = retrieval_rs.CaptionEmbeddings(
            image_ids=manifest.image_ids,
            images=eye,
            caption_ids=manifest.caption_ids[kept],
            captions=texts[kept],
        )
        assert values(retrieval_rs.score_skyscript(manifest, embeddings))["text_to_image/recall_at_1"] == 1.0


def test_images_and_captions_that_were_not_embedded_are_wrong() -> None:
    manifest = captions(4)
    eye = np.eye(4, dtype=np.float32)
    embeddings = retrieval_rs.CaptionEmbeddings(
        image_ids=manifest.image_ids[1:],
        images=eye[1:],
        caption_ids=manifest.caption_ids[:-1],
        captions=eye[manifest.images_of_captions][:-1],
    )
    for protocol in (retrieval_rs.score, retrieval_rs.score_dedup):
        metrics = protocol(manifest, embeddings)
        scores = values(metrics)
        assert scores["image_to_text/recall_at_10"] == 0.75
        assert scores["text_to_image/recall_at_10"] == 14 / 20
        assert {m.name: m.n for m in metrics} == {**dict.fromkeys(NAMES[:3], 4), **dict.fromkeys(NAMES[3:], 20)} | {
            "mean_recall": 4
        }


def test_an_image_without_its_five_captions_is_refused() -> None:
    whole = captions(2)
    part = {name: getattr(whole, name)[:-1] for name in ("caption_ids", "caption_image_ids", "caption_keys")}
    with pytest.raises(ValueError, match=r"image '1.jpg' has 4 captions, wanted 5"):
        retrieval_rs.CaptionManifest(image_ids=whole.image_ids, **part)
    assert retrieval_rs.CaptionManifest(image_ids=whole.image_ids, captions_per_image=None, **part)


def test_a_caption_of_an_unknown_image_is_refused() -> None:
    whole = captions(2)
    with pytest.raises(ValueError, match=r"caption '1.jpg#0' is of image '1.jpg', which the manifest lacks"):
        retrieval_rs.CaptionManifest(
            image_ids=whole.image_ids[:1],
            caption_ids=whole.caption_ids,
            caption_image_ids=whole.caption_image_ids,
            caption_keys=whole.caption_keys,
        )


# zero-shot


def test_the_two_orders_differ_where_norms_do() -> None:
    prompts = np.array([[[3.0, 0.0], [0.0, 1.0]]])
    long = zero_shot.text_classifier(prompts, "mean_then_normalise")
    fair = zero_shot.text_classifier(prompts, "normalise_then_mean")
    assert long[0] == pytest.approx(np.array([3, 1]) / np.sqrt(10))
    assert fair[0] == pytest.approx(np.array([1, 1]) / np.sqrt(2))


def test_the_classifier_of_rs5m_is_a_loop_over_classes() -> None:
    generator = np.random.default_rng(0)
    table: dict[str, np.ndarray] = {}

    def encode(texts: list[str]) -> np.ndarray:
        return np.stack([table.setdefault(text, generator.normal(size=6)) for text in texts]).astype(np.float32)

    classifier = zero_shot.embed_classes(EUROSAT.names, PROMPT_SETS["rs5m"], encode)
    for row, name in enumerate(EUROSAT.names):
        texts = encode([template.replace("{}", name) for template in RS5M_TEMPLATES])
        mean = texts.mean(axis=0)
        assert classifier[row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert len(table) == 10 * 105


def test_zero_shot_by_hand() -> None:
    classifier = np.eye(3, dtype=np.float32)
    images = np.array([[2, 1, 0], [1, 2, 0], [0, 1, 2], [1, 1, 0]], dtype=np.float32)
    ids, labels = np.array(["a", "b", "c", "d", "e"]), np.array([0, 0, 2, 1, 2])
    result = zero_shot.score(ids, labels, ids[:4], images, classifier, ("x", "y", "z"))
    scores = values(result.metrics)
    assert scores["top_1"] == 2 / 5  # a and c; d ties, e was not embedded
    assert scores["class/x/top_1"] == 0.5
    assert scores["class/y/top_1"] == 0.0
    assert scores["class/z/top_1"] == 0.5
    assert scores["mean_per_class/top_1"] == pytest.approx(1 / 3)
    assert "top_5" not in scores
    assert result.confusion.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]
    assert [metric.n for metric in result.metrics] == [5, 5, 2, 1, 2]


def test_zero_shot_equals_a_sort_of_the_logits() -> None:
    generator = np.random.default_rng(1)
    classifier = unit(generator.normal(size=(45, 16))).astype(np.float32)
    labels = np.repeat(np.arange(45), 20)
    images = noisy(2, classifier[labels], 0.4)
    ids = np.arange(900).astype(str)
    order = generator.permutation(900)
    result = zero_shot.score(ids, labels, ids[order], images[order], classifier, RESISC45.names)
    scores = values(result.metrics)
    top = np.argsort(-100 * unit(images) @ classifier.T, axis=1)
    assert scores["top_1"] == pytest.approx((top[:, 0] == labels).mean())
    assert scores["top_5"] == pytest.approx((top[:, :5] == labels[:, None]).any(axis=1).mean())
    assert scores["mean_per_class/top_1"] == pytest.approx(scores["top_1"])  # classes are of one size
    expected = np.zeros((45, 46), dtype=int)
    for label, answer in zip(labels, top[:, 0], strict=True):
        expected[label, answer] += 1
    assert (result.confusion == expected).all()
    assert 0.2 < scores["top_1"] < 0.95


def test_a_classifier_that_says_the_same_of_every_class_scores_nothing() -> None:
    ids, labels = np.arange(20).astype(str), np.arange(20) % 10
    result = zero_shot.score(
        ids, labels, ids, np.ones((20, 4), np.float32), np.ones((10, 4), np.float32), EUROSAT.names
    )
    scores = values(result.metrics)
    assert scores["top_1"] == scores["top_5"] == 0.0
    assert np.trace(result.confusion) == 0


def test_a_label_beyond_the_classes_is_refused() -> None:
    eye = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="labels run from 0 to 2, classes from 0 to 1"):
        zero_shot.score(np.array(["a", "b"]), np.array([0, 2]), np.array(["a", "b"]), eye, eye, ("x", "y"))


# Names and templates


def test_class_sets_are_complete_and_in_the_order_of_sorted_folders() -> None:
    assert {name: len(classes.names) for name, classes in CLASS_SETS.items()} == {
        "aid": 30,
        "resisc45": 45,
        "eurosat": 10,
        "eurosat-folders": 10,
        "hit-uav": 4,
    }
    for name, classes in CLASS_SETS.items():
        assert len(set(classes.names)) == len(classes.folders), name
        if name != "hit-uav":
            assert list(classes.folders) == sorted(classes.folders)


def test_a_folder_is_found_however_it_is_spelt() -> None:
    assert AID.index_of("BareLand") == AID.index_of("Bare Land") == AID.index_of("bare_land") == 1
    assert EUROSAT.names[EUROSAT.index_of("SeaLake")] == "lake or sea"
    assert class_text("Thermal_Power/Station") == "thermal power station"
    with pytest.raises(ValueError, match="folder 'Volcano' is no class"):
        AID.index_of("Volcano")


def test_the_105_templates_are_the_published_ones_in_their_order() -> None:
    # SHA-256 of the list in om-ai-lab/RS5M inference/classname_and_prompt/RSAID.py, one template per line.
    digest = hashlib.sha256("\n".join(RS5M_TEMPLATES).encode()).hexdigest()
    assert digest == "5d81961f1eed8ff0ee90778d056e695ba6fd396da877a4d7d8eb9d991a2916ff"
    assert len(set(RS5M_TEMPLATES)) == 105


def test_the_templates_of_clip_are_the_published_ones_in_their_order() -> None:
    resisc45 = PROMPT_SETS["clip-resisc45"].templates
    views = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo", "satellite view", "aerial view")
    assert resisc45[:6] == tuple(f"{view} of {{}}." for view in views)
    assert resisc45[6:12] == tuple(f"{view} of a {{}}." for view in views)
    assert resisc45[12:] == tuple(f"{view} of the {{}}." for view in views)
    assert PROMPT_SETS["clip-eurosat"].templates == (
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    )


def test_every_prompt_set_has_one_place_for_the_class() -> None:
    assert {name: len(prompts.templates) for name, prompts in PROMPT_SETS.items()} == {
        "rs5m": 105,
        "rs5m-normalised": 105,
        "remoteclip": 1,
        "skyscript": 2,
        "rs-transclip": 106,
        "clip-resisc45": 18,
        "clip-eurosat": 3,
        "fusionrs-infrared": 3,
        "hit-uav": 3,
    }
    assert [name for name, prompts in PROMPT_SETS.items() if prompts.order == "mean_then_normalise"] == ["rs5m"]
    for prompts in PROMPT_SETS.values():
        assert all(template.count("{}") == 1 for template in prompts.templates)


# presence


def naive_average_precision(ranked: list[bool], lost_positives: int = 0) -> float:
    hits, total = 0, 0.0
    for place, positive in enumerate(ranked, start=1):
        hits += positive
        total += hits / place if positive else 0.0
    return total / (sum(ranked) + lost_positives)


def precision(scores: list[float], truth: list[bool], weights: list[int] | None = None) -> float:
    counts = np.array([weights or [1] * len(scores)])
    everything = np.ones(len(scores), bool)
    return float(presence.average_precision(np.array(scores, float), np.array(truth), everything, counts)[0])


def test_average_precision_without_ties_is_the_naive_one() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores, truth = generator.permutation(30).astype(float), generator.random(30) < 0.3
        ranked = truth[np.argsort(-scores)].tolist()
        assert precision(scores.tolist(), truth.tolist()) == pytest.approx(naive_average_precision(ranked))


def test_average_precision_with_ties_is_the_mean_over_all_their_orders() -> None:
    generator = np.random.default_rng(1)
    for _ in range(10):
        scores, truth = generator.integers(3, size=6), generator.random(6) < 0.5
        truth[0] = True
        expected = []
        for order in permutations(range(6)):
            ranked = sorted(order, key=lambda image: -scores[image])  # stable: ties keep the permutation
            expected.append(naive_average_precision([bool(truth[image]) for image in ranked]))
        assert precision(scores.tolist(), truth.tolist()) == pytest.approx(np.mean(expected))


def test_a_weight_is_a_number_of_copies() -> None:
    scores, truth, weights = [3.0, 2.0, 2.0, 1.0], [False, True, False, True], [2, 3, 0, 1]
    copies = [image for image, weight in enumerate(weights) for _ in range(weight)]
    expected = precision([scores[image] for image in copies], [truth[image] for image in copies])
    assert precision(scores, truth, weights) == pytest.approx(expected)
    assert np.isnan(precision(scores, truth, [1, 0, 1, 0]))


def test_presence_by_hand() -> None:
    ids = np.array(["a", "b", "c", "d"])
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.7], [0.1, 0.9]])
    result = values(presence.score(ids, truth, ids[::-1], scores[::-1], ("car", "person")))
    assert result["class/car/average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert result["class/person/average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["mean_average_precision"] == pytest.approx((5 / 6 + 7 / 12) / 2)
    assert result["top_1_hit"] == 0.5  # a and c; b's best class is absent, d shows none


def test_a_best_class_that_ties_with_an_absent_one_is_no_hit() -> None:
    truth = np.array([[True, False], [True, True]])
    assert presence.top_1_hits(np.ones((2, 2)), truth).tolist() == [False, True]


def test_leaving_images_out_never_helps() -> None:
    ids = np.array(["a", "b", "c"])
    truth = np.array([[True], [False], [True]])
    scores = np.array([[0.9], [0.8], [0.7]])
    assert values(presence.score(ids, truth, ids, scores, ("car",)))["mean_average_precision"] == pytest.approx(5 / 6)
    # Without b, which ranks before all: places 2 and 3.
    without_negative = values(presence.score(ids, truth, ids[[0, 2]], scores[[0, 2]], ("car",)))
    assert without_negative["mean_average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Without a, which is never found: c at place 2 of b, c.
    without_positive = values(presence.score(ids, truth, ids[1:], scores[1:], ("car",)))
    assert without_positive["mean_average_precision"] == pytest.approx((1 / 2) / 2)
    assert without_positive["top_1_hit"] == pytest.approx(1 / 3)
    nothing = values(presence.score(ids, truth, ids[:0], scores[:0], ("car",)))
    assert nothing == {"class/car/average_precision": 0, "mean_average_precision": 0, "top_1_hit": 0}


def test_the_interval_of_average_precision_is_that_of_resampled_images() -> None:
    generator = np.random.default_rng(2)
    truth = generator.random((80, 1)) < 0.4
    scores = truth + generator.normal(size=(80, 1))
    ids = np.arange(80).astype(str)
    metric = presence.score(ids, truth, ids, scores, ("car",))[0]
    draws = []
    for _ in range(2000):
        sample = generator.integers(80, size=80)
        order = np.argsort(-scores[sample, 0], kind="stable")
        draws.append(naive_average_precision(truth[sample, 0][order].tolist()))
    assert (metric.low, metric.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.03)
    assert metric.n == truth.sum()


def test_a_class_that_no_image_shows_is_refused() -> None:
    ids = np.array(["a", "b"])
    with pytest.raises(ValueError, match="no image shows 'boat'"):
        presence.score(ids, np.array([[True, False], [True, False]]), ids, np.zeros((2, 2)), ("car", "boat"))


def test_class_scores_are_cosines() -> None:
    scores = presence.class_scores(np.array([[3.0, 4.0]], dtype=np.float32), np.eye(2, dtype=np.float32))
    assert scores == pytest.approx(np.array([[0.6, 0.8]]))


# pair-retrieval


def test_pair_retrieval_equals_the_full_matrix() -> None:
    ids = np.arange(60).astype(str)
    centres = np.random.default_rng(0).normal(size=(60, 8))
    rgb, thermal = noisy(1, centres), noisy(2, centres)
    order = np.random.default_rng(3).permutation(60)
    first = pair_retrieval.Sensor(name="rgb", ids=ids, embeddings=rgb)
    second = pair_retrieval.Sensor(name="infrared", ids=ids[order], embeddings=thermal[order])
    scores = values(pair_retrieval.score(ids, first, second))
    matrix, expected = unit(rgb) @ unit(thermal).T, []
    for one in (matrix, matrix.T):
        top = np.argsort(-one, axis=1)
        expected += [float((top[:, :k] == np.arange(60)[:, None]).any(axis=1).mean()) for k in (1, 5, 10)]
    names = [f"{way}/recall_at_{k}" for way in ("rgb_to_infrared", "infrared_to_rgb") for k in (1, 5, 10)]
    assert [scores[name] for name in names] == pytest.approx(expected)
    assert scores["mean_recall"] == pytest.approx(np.mean(expected))
    assert 0.2 < scores["mean_recall"] < 0.95


def test_a_pair_that_one_sensor_lacks_is_wrong_both_ways() -> None:
    eye, ids = np.eye(4, dtype=np.float32), np.array(["a", "b", "c", "d"])
    first = pair_retrieval.Sensor(name="rgb", ids=ids, embeddings=eye)
    second = pair_retrieval.Sensor(name="thermal", ids=ids[1:], embeddings=eye[1:])
    metrics = pair_retrieval.score(ids, first, second)
    assert {metric.value for metric in metrics} == {0.75}
    assert {metric.n for metric in metrics} == {4}


# fusion-blend


def split(seed: int, rgb_noise: float, infrared_noise: float) -> fusion_blend.Split:
    centres = np.random.default_rng(seed).normal(size=(50, 8))
    ids = np.array([f"row {row}" for row in range(50)])
    return fusion_blend.Split(
        ids=ids,
        caption_keys=np.array([f"text {max(row, 1)}" for row in range(50)]),
        embedded_ids=ids,
        rgb=5 * noisy(seed + 1, centres, rgb_noise),
        infrared=noisy(seed + 2, centres, infrared_noise),
        text=noisy(seed + 3, centres, 0.5),
    )


def naive_mean(data: fusion_blend.Split, alpha: float) -> float:
    fused = unit(alpha * unit(data.rgb) + (1 - alpha) * unit(data.infrared))
    positive, recalls = data.caption_keys[:, None] == data.caption_keys[None, :], []
    scores = fused @ unit(data.text).T
    for matrix in (scores, scores.T):
        top = np.argsort(-matrix, axis=1)
        hits = np.take_along_axis(positive, top, axis=1)
        recalls += [float(hits[:, :k].any(axis=1).mean()) for k in (1, 5, 10)]
    return float(np.mean(recalls))


@pytest.mark.parametrize(("rgb_noise", "infrared_noise"), [(1.0, 1.0), (0.3, 5.0), (5.0, 0.3)])
def test_alpha_is_the_best_of_a_direct_reading(rgb_noise: float, infrared_noise: float) -> None:
    validation, test = split(0, rgb_noise, infrared_noise), split(10, rgb_noise, infrared_noise)
    expected = {alpha: naive_mean(validation, alpha) for alpha in (0, 0.25, 0.5, 0.75, 1)}
    assert fusion_blend.mean_recalls(validation) == pytest.approx(expected)
    chosen, metrics = fusion_blend.score(validation, test)
    assert expected[chosen] == max(expected.values())
    scores = values(metrics)
    for row, alpha in (("infrared_only", 0), ("mean", 0.5), ("rgb_only", 1), ("selected", chosen)):
        assert scores[f"{row}/mean_recall"] == pytest.approx(naive_mean(test, alpha))
    assert len(metrics) == 4 * 7


def test_equal_means_take_the_alpha_closest_to_a_half() -> None:
    assert fusion_blend.choose_alpha({0.0: 0.1, 0.25: 0.3, 0.5: 0.2, 0.75: 0.1, 1.0: 0.3}) == 0.25
    assert fusion_blend.choose_alpha({0.0: 0.3, 0.25: 0.3, 0.5: 0.3, 0.75: 0.3, 1.0: 0.3}) == 0.5
    assert fusion_blend.choose_alpha({0.0: 0.1, 0.25: 0.3, 0.5: 0.2, 0.75: 0.3, 1.0: 0.1}) == 0.25
    assert fusion_blend.choose_alpha({0.0: 0.1, 0.25: 0.1, 0.5: 0.2, 0.75: 0.2, 1.0: 0.9}) == 1.0


def test_the_test_split_does_not_choose_alpha() -> None:
    chosen, _ = fusion_blend.score(split(0, 0.3, 5.0), split(10, 5.0, 0.3))
    assert chosen > 0.5


def test_a_row_of_the_manifest_that_was_not_embedded_is_wrong() -> None:
    eye, ids = np.eye(4, dtype=np.float32), np.array(["a", "b", "c", "d"])
    part = fusion_blend.Split(
        ids=ids, caption_keys=ids, embedded_ids=ids[:3], rgb=eye[:3], infrared=eye[:3], text=eye[:3]
    )
    assert set(fusion_blend.mean_recalls(part).values()) == {0.75}
