"""Bundles from any framework: what is refused and how, what is missing and counts, and each protocol's parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.cases import Cases, Measured, load_cases, metric_of, paired_difference, share
from evaluation.classification import linear_probe, transductive
from evaluation.embedding import Bundle, load_bundle
from evaluation.report_figures import confusion_figure, interval_figure
from evaluation.retrieval import retrieval_fusionrs
from evaluation.score import ProtocolOptions, score_protocol

OPTIONS = ProtocolOptions()


def rows(count: int, seed: int = 0, **changes: Any) -> Bundle:
    generator = np.random.default_rng(seed)
    arrays = {name: generator.normal(size=(count, 6)).astype(np.float32) for name in ("rgb", "infrared", "text")}
    described = {
        "caption_key": np.array([f"key {index // 2}" for index in range(count)]),
        "source": np.array(["east", "west"] * (count // 2)),
    }
    return Bundle(id=np.array([f"row {index}" for index in range(count)]), **{**described, **arrays, **changes})


def values(metrics: list[Any]) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics}


# Files


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rgb": np.ones((2, 3))}, "lacks the array 'id'"),
        ({"id": ["a", "b"], "picture": np.ones((2, 3))}, r"holds unknown arrays \['picture'\]; a bundle holds id and"),
        ({"id": ["a", "a"], "rgb": np.ones((2, 3))}, "id holds 1 values more than once, such as 'a'"),
        ({"id": ["a", "b"], "rgb": np.ones((3, 3))}, r"rgb has shape \(3, 3\), wanted \(2, width\)"),
        ({"id": ["a", "b"], "rgb": np.ones(2)}, r"rgb has shape \(2,\), wanted \(2, width\)"),
        ({"id": ["a", "b"], "rgb": np.ones((2, 3), int)}, "rgb is of type int64, wanted float16, float32 or float64"),
        (
            {"id": ["a", "b"], "rgb": [[1.0, 2.0], [np.inf, 0.0]]},
            "1 embeddings that are not finite, such as that of 'b'",
        ),
        ({"id": ["a", "b"], "rgb": np.full((2, 3), 1e39)}, "2 embeddings that are not finite, such as that of 'a'"),
        (
            {"id": ["a", "b"], "rgb": np.ones((2, 3)), "text": np.ones((2, 4))},
            "different widths: {'text': 4, 'rgb': 3}",
        ),
        ({"id": ["a", "b"], "text": np.ones((5, 3))}, "text holds 5 rows for 2 ids; say whose they are"),
        ({"id": ["a", "b"], "label": ["x"]}, r"label has shape \(1,\), wanted \(2,\): one for each id"),
        ({"id": [1.5, 2.5]}, "id is of type float64, wanted strings or integers"),
    ],
)
def test_a_bundle_that_cannot_be_scored_says_why(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "bundle.npz", **arrays)
    with pytest.raises(ValueError, match=message) as raised:
        load_bundle(tmp_path / "bundle.npz")
    assert "bundle.npz" in str(raised.value)


def test_python_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", id=np.array(["a", None], dtype=object))
    with pytest.raises(ValueError, match="save strings with dtype str"):
        load_bundle(tmp_path / "objects.npz")
    (tmp_path / "text.npz").write_text("not a bundle")
    with pytest.raises(ValueError, match=r"text\.npz"):
        load_bundle(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"one\.npy"):
        load_bundle(tmp_path / "one.npy")


def test_integers_are_ids_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "bundle.npz", id=np.arange(3), rgb=np.eye(3, dtype=np.float16))
    bundle = load_bundle(tmp_path / "bundle.npz")
    assert bundle.id.tolist() == ["0", "1", "2"]
    assert bundle.rgb is not None
    assert bundle.rgb.dtype == np.float32


def test_a_listing_knows_what_was_tested_and_not_in_which_order_or_by_whom() -> None:
    bundle = rows(6)
    turned = Bundle(**{name: value[::-1] for name, value in vars(bundle).items() if value is not None})
    assert turned.listing_sha256() == bundle.listing_sha256() == rows(6, seed=1).listing_sha256()
    assert replace(bundle, source=np.array(["east"] * 6)).listing_sha256() != bundle.listing_sha256()


# Protocols


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("retrieval-rs", "retrieval-rs needs the array 'image_id', which the bundle lacks"),
        ("zero-shot", "zero-shot: classes have different numbers of prompts|needs the array 'label'"),
        ("presence", "presence needs the array 'label'"),
        ("fusion", "fusion chooses or fits on the validation split; pass its bundle with --validation"),
        ("linear-probe", "linear-probe chooses or fits on the validation split"),
    ],
)
def test_a_protocol_says_what_the_bundle_lacks(protocol: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_protocol(protocol, rows(8), OPTIONS)
    with pytest.raises(ValueError, match="pair-retrieval reads no train split; leave --train out"):
        score_protocol("pair-retrieval", rows(8), OPTIONS, train=rows(8))


def test_retrieval_fusionrs_equals_its_plain_function_and_counts_twelve() -> None:
    bundle = rows(40)
    found = values(score_protocol("retrieval-fusionrs", bundle, OPTIONS).metrics)
    plain = values(retrieval_fusionrs.score(bundle))
    for name, value in plain.items():
        assert found[name] == pytest.approx(value, abs=1e-12)
    four = ("infrared_to_text", "text_to_infrared", "rgb_to_infrared", "infrared_to_rgb")
    twelve = [found[f"{way}/recall_at_{k}"] for way in four for k in (1, 5, 10)]
    assert found["mean_recall_of_12"] == pytest.approx(np.mean(twelve))
    east = replace(bundle, **{n: v[::2] for n, v in vars(bundle).items() if v is not None and len(v)})
    for name, value in values(retrieval_fusionrs.score(east)).items():
        prefixed = f"chance/source/east/{name.removeprefix('chance/')}" if "chance" in name else f"source/east/{name}"
        assert found[prefixed] == pytest.approx(value, abs=1e-12)
    single = values(retrieval_fusionrs.score(replace(bundle, caption_key=bundle.id)))
    assert found["single_positive/text_to_rgb/recall_at_5"] == single["text_to_rgb/recall_at_5"]


def test_rows_without_an_infrared_text_take_no_part_where_one_is_asked_for() -> None:
    spoken = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    whole = rows(40, infrared_text=spoken)
    lacking = np.arange(40) % 8 == 3
    keys = np.where(lacking, "", whole.id)
    outcome = score_protocol("retrieval-fusionrs", replace(whole, infrared_caption_key=keys), OPTIONS)
    found, counts = values(outcome.metrics), {metric.name: metric.n for metric in outcome.metrics}
    some = {name: value[~lacking] for name, value in vars(whole).items() if value is not None and len(value)}
    alone = values(score_protocol("retrieval-fusionrs", replace(whole, **some), OPTIONS).metrics)
    asked = [name for name in alone if "infrared_text" in name and not name.startswith(("source", "chance/source"))]
    assert len(asked) > 20
    for name in asked:
        assert found[name] == pytest.approx(alone[name]), name
        assert counts[name] == 35
    assert counts["rgb_to_infrared/recall_at_1"] == 40
    assert set(outcome.cases.groups) == {"rows", "rows_with_infrared_text"}
    plain = values(retrieval_fusionrs.score(replace(whole, infrared_caption_key=keys)))
    assert all(plain[name] == pytest.approx(found[name]) for name in plain)


def test_what_was_not_embedded_is_wrong_and_stays_in_the_denominator() -> None:
    whole, eye = rows(8), np.eye(8, 6, dtype=np.float32)
    whole = replace(whole, rgb=eye[:, :6] + 0.1, infrared=eye[:, :6] + 0.1, text=None, caption_key=np.zeros(0, str))
    part = Bundle(id=whole.id[:6][::-1], rgb=whole.rgb[:6][::-1], infrared=whole.infrared[:6][::-1])  # type: ignore[index]
    outcome = score_protocol("pair-retrieval", part, OPTIONS, tested=whole)
    metrics = {metric.name: metric for metric in outcome.metrics}
    assert metrics["rgb_to_infrared/recall_at_1"].value == 6 / 8
    assert metrics["rgb_to_infrared/recall_at_1"].n == 8
    with pytest.raises(ValueError, match="2 ids that the manifest lacks, such as 'row 6'"):
        score_protocol("pair-retrieval", whole, OPTIONS, tested=part)


def permuted(bundle: Bundle, seed: int = 3) -> Bundle:
    """The same texts, with all that describes them, in another order."""
    order = np.random.default_rng(seed).permutation(len(bundle.text))  # type: ignore[arg-type]
    of = bundle.image_id if len(bundle.image_id) else bundle.id
    return replace(bundle, text=bundle.text[order], caption_key=bundle.caption_key[order], image_id=of[order])  # type: ignore[index]


def test_the_order_of_texts_changes_nothing_where_they_say_whose_they_are() -> None:
    whole, chosen_on = rows(12), rows(12, seed=1)
    wanted = values(score_protocol("retrieval-fusionrs", whole, OPTIONS).metrics)
    assert values(score_protocol("retrieval-fusionrs", permuted(whole), OPTIONS).metrics) == pytest.approx(wanted)
    found = score_protocol("retrieval-fusionrs", permuted(whole), OPTIONS, tested=whole)
    assert values(found.metrics) == pytest.approx(wanted)
    wanted = values(score_protocol("fusion", whole, OPTIONS, validation=chosen_on).metrics)
    found = score_protocol("fusion", permuted(whole), OPTIONS, validation=permuted(chosen_on))
    assert values(found.metrics) == pytest.approx(wanted)
    twice = replace(whole, image_id=whole.id[[0, *range(11)]])
    with pytest.raises(ValueError, match="image_id names 11 rows, for 12 texts and 12 ids; wanted one text of each"):
        score_protocol("retrieval-fusionrs", twice, OPTIONS)
    prompts = replace(whole, text=whole.text[:4], caption_key=whole.caption_key[:4])  # type: ignore[index]
    with pytest.raises(ValueError, match="holds 4 texts for 12 ids; wanted one text of each id"):
        score_protocol("retrieval-fusionrs", prompts, OPTIONS)


@pytest.mark.parametrize("protocol", ["retrieval-rs", "retrieval-rs-dedup", "retrieval-skyscript"])
def test_captions_of_an_image_are_told_apart_by_their_keys(protocol: Any) -> None:
    whole = captioned()
    wanted = values(score_protocol(protocol, whole, OPTIONS).metrics)
    assert values(score_protocol(protocol, permuted(whole), OPTIONS, tested=whole).metrics) == pytest.approx(wanted)
    other = replace(whole, caption_key=np.char.add(whole.caption_key, "!"))
    with pytest.raises(ValueError, match=r"captions hold 30 ids that the manifest lacks, such as '0\.jpg: text"):
        score_protocol(protocol, other, OPTIONS, tested=whole)


@pytest.mark.parametrize("way", ["image_to_text", "text_to_image"])
def test_chance_stands_beside_every_mean_of_skyscript(way: str) -> None:
    found = values(score_protocol("retrieval-skyscript", captioned(), OPTIONS).metrics)
    assert found[f"chance/{way}/mean_recall"] == pytest.approx(
        np.mean([found[f"chance/{way}/recall_at_{k}"] for k in (1, 5, 10)])
    )


def test_images_that_are_tested_may_not_be_fitted_or_chosen_on() -> None:
    tested, other = rows(12), rows(12, seed=1)
    score_protocol("fusion", tested, OPTIONS, validation=other)  # equal ids of other images: counted anew in each split
    leaking = replace(other, rgb=np.concatenate([other.rgb[:9], tested.rgb[9:]]))  # type: ignore[index]
    with pytest.raises(ValueError, match="3 tested images are in the validation split too, such as 'row 10'"):
        score_protocol("fusion", tested, OPTIONS, validation=leaking)


def captioned(seed: int = 0) -> Bundle:
    generator = np.random.default_rng(seed)
    keys = [f"text {index}" for index in range(30)]
    keys[7], keys[21] = keys[2], keys[20]
    of = np.repeat([f"{image}.jpg" for image in range(6)], 5)
    texts = generator.normal(size=(30, 4)).astype(np.float32)
    texts[7], texts[21] = texts[2], texts[20]
    images = generator.normal(size=(6, 4)).astype(np.float32)
    return Bundle(id=np.unique(of), rgb=images, text=texts, image_id=of, caption_key=np.array(keys))


@pytest.mark.parametrize("protocol", ["retrieval-rs", "retrieval-rs-dedup", "retrieval-skyscript"])
def test_the_cases_of_captions_give_the_metrics(protocol: Any) -> None:
    outcome = score_protocol(protocol, captioned(), OPTIONS)
    found = {metric.name: metric for metric in outcome.metrics}
    assert outcome.cases.measured
    for one in outcome.cases.measured:
        again = metric_of(one)
        assert again.value == pytest.approx(found[one.name].value, abs=1e-12)
        assert (again.low, again.high) == pytest.approx((found[one.name].low, found[one.name].high), abs=1e-12)
        assert again.n == found[one.name].n


def test_missing_texts_need_names() -> None:
    whole = captioned()
    part = replace(whole, text=whole.text[:29], image_id=whole.image_id[:29], caption_key=whole.caption_key[:29])  # type: ignore[index]
    with pytest.raises(ValueError, match="the bundle holds 29 texts, the test set 30; say which are missing"):
        score_protocol("retrieval-rs", part, OPTIONS, tested=whole)
    names = np.array([f"caption {index}" for index in range(30)])
    whole, part = replace(whole, text_id=names), replace(part, text_id=names[:29])
    found = {one.name: one for one in score_protocol("retrieval-rs", part, OPTIONS, tested=whole).metrics}
    assert found["text_to_image/recall_at_10"].value == pytest.approx(29 / 30)


def prompted(labels: list[str], **changes: Any) -> Bundle:
    eye = np.eye(3, dtype=np.float32)
    keys = ["sea", "sea", "sand", "sand", "snow", "snow"]
    images = eye[[["sea", "sand", "snow"].index(label.split("|")[0]) if label else 0 for label in labels]]
    return Bundle(
        id=np.array([f"i{index}" for index in range(len(labels))]),
        label=np.array(labels),
        caption_key=np.array(keys),
        text=np.repeat(eye, 2, axis=0),
        **{"rgb": images, "infrared": images, **changes},
    )


def test_zero_shot_with_perfect_embeddings_is_perfect_and_chance_is_exact() -> None:
    outcome = score_protocol("zero-shot", prompted(["sea", "sand", "snow", "snow"]), OPTIONS)
    found = values(outcome.metrics)
    assert found["top_1"] == found["mean_per_class/top_1"] == 1.0
    assert found["chance/top_1"] == pytest.approx(1 / 3)
    assert found["majority/top_1"] == 0.5
    assert outcome.names == ["sea", "sand", "snow"]
    assert outcome.confusion is not None
    assert outcome.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0]]


def test_a_label_without_prompts_is_refused() -> None:
    with pytest.raises(
        ValueError, match="label 'mud' has no prompts; wanted exactly one of the classes sea, sand, snow"
    ):
        score_protocol("zero-shot", replace(prompted(["sea"]), label=np.array(["mud"])), OPTIONS)
    uneven = replace(prompted(["sea"]), caption_key=np.array(["sea", "sea", "sea", "sand", "snow", "snow"]))
    with pytest.raises(ValueError, match=r"different numbers of prompts: \{'sea': 3, 'sand': 1, 'snow': 2\}"):
        score_protocol("zero-shot", uneven, OPTIONS)


def test_an_image_may_show_several_classes_or_none() -> None:
    outcome = score_protocol("presence", prompted(["sea|sand", "sand", "snow", "", "sea"]), OPTIONS)
    found = values(outcome.metrics)
    assert found["top_1_hit"] == 4 / 5
    # sea: two images and the empty one tie at the top, one of the three is wrong
    orders = [(1 + 1) / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]
    assert found["class/sea/average_precision"] == pytest.approx(np.mean(orders))
    assert found["chance/top_1_hit"] == pytest.approx(5 / 15)


# Probe, parity with scikit-learn 1.9.1: LogisticRegression(solver="liblinear", class_weight="balanced", tol=1e-12)
LIBLINEAR = {
    0.01: [0.126328162, 0.004995181, 0.031166503, -0.000913481],
    1.0: [2.69663225, 0.430897345, 0.597253395, -0.233747181],
    100.0: [10.677405282, 2.354597186, 4.7213904, -2.166316162],
}


def probe_data() -> tuple[Any, Any]:
    grid = np.sin(np.arange(40 * 3).reshape(40, 3) ** 1.5)
    return grid, (grid[:, 0] + 0.5 * np.cos(np.arange(40.0) * 3)) > 0.3


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_logistic_regression_equals_liblinear(strength: float) -> None:
    features, truth = probe_data()
    np.testing.assert_allclose(linear_probe.fit(features, truth, strength), LIBLINEAR[strength], atol=2e-6)


@pytest.mark.parametrize("strength", [*linear_probe.GRID, 1e6])
def test_the_gradient_vanishes_at_the_minimum(strength: float) -> None:
    features, truth = probe_data()
    weights = linear_probe.fit(features, truth, strength)
    assert np.abs(gradient_of(weights, features, truth, strength)).max() < 1e-6 * max(1.0, strength)


def gradient_of(weights: Any, features: Any, truth: Any, strength: float) -> Any:
    """Of half the squared weights and the weighted log losses, from their definition."""
    n, shown = len(truth), truth.sum()
    cost = strength * np.where(truth, n / (2 * shown), n / (2 * (n - shown)))
    sign = np.where(truth, 1, -1)
    missed = 1 / (1 + np.exp(sign * linear_probe.decide(features, weights)))
    return weights - ((cost * sign * missed)[:, None] * np.hstack([features, np.ones((n, 1))])).sum(axis=0)


@pytest.mark.parametrize(("seed", "strength"), [(8, 1e4), (18, 1e4), (24, 10.0), (83, 1e4), (278, 1e4), (904, 1e4)])
def test_embeddings_that_are_nearly_equal_have_a_minimum_too(seed: int, strength: float) -> None:
    """As of a model that has hardly been trained: the last steps gain less than the loss can resolve."""
    draws = np.random.default_rng(seed)
    features = 1 + 0.01 * draws.standard_normal((300, 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    truth = features[:, 0] + 0.002 * draws.standard_normal(300) > np.median(features[:, 0])
    weights = linear_probe.fit(features, truth, strength)
    assert np.linalg.norm(gradient_of(weights, features, truth, strength)) < 1e-10 * strength * 300


def test_a_class_that_separates_or_does_not_vary() -> None:
    features = np.eye(4)[[0, 0, 1, 1]]
    weights = linear_probe.fit(features, np.array([True, True, False, False]), 1e4)
    assert (linear_probe.decide(features, weights) > 0).tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match="0 of 4 training images show the class"):
        linear_probe.fit(features, np.zeros(4, bool), 1.0)


def test_the_strength_nearest_one_wins_a_tie() -> None:
    assert linear_probe.choose_strength({0.01: 0.5, 0.1: 0.7, 10.0: 0.7, 100.0: 0.7}) == 0.1
    assert linear_probe.choose_strength({0.01: 0.9, 1.0: 0.7}) == 0.01


# Transductive


def test_images_that_stand_together_are_classified_together() -> None:
    generator = np.random.default_rng(0)
    centres = np.linalg.qr(generator.normal(size=(16, 16)))[0][:3]
    truth = np.repeat([0, 1, 2], 30)
    images = centres[truth] + 0.12 * generator.normal(size=(90, 16))
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    text = centres + 0.6 * generator.normal(size=(3, 16))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    alone = ((images @ text.T).argmax(axis=1) == truth).mean()
    assignment = transductive.assign(images, text)
    np.testing.assert_allclose(assignment.sum(axis=1), 1.0, atol=1e-12)
    assert (assignment.argmax(axis=1) == truth).mean() > alone


def test_assignments_equal_a_naive_reading_of_the_published_solver() -> None:
    generator = np.random.default_rng(3)
    images, text = (_unit(generator.normal(size=(n, 10))).astype(np.float32) for n in (60, 4))
    x, logits = images.astype(float), 100 * images.astype(float) @ text.T.astype(float)
    prior = np.exp(logits - logits.max(axis=1, keepdims=True))
    prior /= prior.sum(axis=1, keepdims=True)
    z, cosines, affinity = prior.copy(), images @ images.T, np.zeros((60, 60))
    means = _unit(np.stack([sum(z[i, c] * x[i] for i in np.argsort(-z[:, c])[:8]) for c in range(4)]))
    for i in range(60):
        for j in [j for j in np.argsort(-cosines[i], kind="stable") if j != i][:3]:
            affinity[i, j] = cosines[i, j]
    variance = np.full(10, 1 / 10)
    for step in range(11):
        likelihood = -0.5 * ((x[:, None] - means[None]) ** 2 / variance).sum(axis=2)
        for _ in range(5):
            scores = likelihood + 50 / 6 * (affinity.T @ z + affinity @ z)
            z = prior * np.exp((scores - scores.max(axis=1, keepdims=True)) / 50)
            z /= z.sum(axis=1, keepdims=True)
        if step < 10:
            means = _unit((z.T @ x) / z.sum(axis=0)[:, None])
            variance = np.einsum("nc,ncd->d", z, (x[:, None] - means[None]) ** 2) / 60
    np.testing.assert_allclose(transductive.assign(images, text), z, atol=1e-10)


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_likelihood_and_the_spread_equal_their_definitions() -> None:
    generator = np.random.default_rng(1)
    features, means = generator.normal(size=(20, 5)), generator.normal(size=(4, 5))
    variance, weights = generator.uniform(0.5, 2, size=5), generator.dirichlet(np.ones(4), size=20)
    distance = features[:, None] - means[None]
    expected = -0.5 * (distance**2 / variance).sum(axis=2)
    np.testing.assert_allclose(transductive.log_likelihood(features, means, variance), expected, atol=1e-10)
    spread = np.einsum("nc,ncd->d", weights, distance**2) / 20
    np.testing.assert_allclose(transductive._spread(weights, features, means), spread, atol=1e-10)
    np.testing.assert_allclose(transductive._agree(weights, *NEIGHBOURS), _dense_agreement(weights), atol=1e-12)


NEIGHBOURS = (np.array([[(i + 1) % 20, (i + 5) % 20, (i * 3 + 1) % 20] for i in range(20)]), np.full((20, 3), 0.5))


def _dense_agreement(weights: Any) -> Any:
    affinity = np.zeros((20, 20))
    for row, columns in enumerate(NEIGHBOURS[0]):
        for column in columns:
            affinity[row, column] += 0.5
    return affinity @ weights + affinity.T @ weights


# Differences and figures


def cases(hits: Any, order: Any = None) -> Cases:
    order = np.arange(len(hits)) if order is None else order
    ids = np.array([f"q{index}" for index in range(len(hits))])
    measured = Measured(name="recall", group="rows", parts=[share(np.asarray(hits, dtype=float)[order])])
    return Cases(groups={"rows": ids[order]}, measured=[measured])


def test_a_paired_difference_is_narrower_than_two_intervals_and_finds_its_partner(tmp_path: Path) -> None:
    hits = np.random.default_rng(0).random(400) < 0.5
    better = hits.copy()
    better[np.flatnonzero(~hits)[:20]] = True
    order = np.random.default_rng(1).permutation(400)
    for shuffled in (None, order):
        cases(better, shuffled).save(tmp_path / "c.npz")
        difference = paired_difference(cases(hits), load_cases(tmp_path / "c.npz"), "recall")
        assert difference is not None
        assert difference.value == pytest.approx(20 / 400)
        half = 1.96 * np.sqrt(0.05 * 0.95 / 400)
        assert (difference.low, difference.high) == pytest.approx((0.05 - half, 0.05 + half), abs=0.006)


def test_other_cases_do_not_pair() -> None:
    with pytest.raises(ValueError, match=r"recall: the two results hold other cases \(4 and 3\)"):
        paired_difference(cases([1, 0, 1, 0]), cases([1, 0, 1]), "recall")


def test_equal_results_draw_equal_figures(tmp_path: Path) -> None:
    entry = {"top_1": {"value": 0.4, "low": 0.3, "high": 0.5}, "chance/top_1": {"value": 0.1, "low": 0.1, "high": 0.1}}
    for name in ("a", "b"):
        interval_figure(tmp_path / f"{name}.png", "title", ["top_1"], ["one", "two"], [entry, entry])
        confusion_figure(tmp_path / f"{name}c.png", np.array([[3, 1, 0], [0, 2, 1]]), ["sea", "sand"], "title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "ac.png").read_bytes() == (tmp_path / "bc.png").read_bytes()
