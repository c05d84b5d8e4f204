"""Intervals over images: against closed forms, a naive loop, and the interval of a plain mean."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from evaluation.intervals.cluster_bootstrap import (
    Outcomes,
    Score,
    differences,
    mean_score,
    ratio,
    resampled_sums,
    with_intervals,
)
from evaluation.predictions import PredictionFile, read_predictions
from evaluation.retrieval.recall import mean_interval


def outcomes(values: np.ndarray, clusters: list[str] | None = None, name: str = "mean") -> Outcomes:
    keys = tuple(f"k{row}" for row in range(len(values)))
    return Outcomes(keys=keys, clusters=tuple(clusters or keys), scores=(mean_score(name, values),))


def test_rows_that_are_their_own_clusters_have_the_interval_of_a_mean_draw_for_draw() -> None:
    values = np.random.default_rng(1).random(137)
    (metric,) = with_intervals(outcomes(values))
    assert (metric.low, metric.high) == pytest.approx(mean_interval(values), abs=1e-12)
    assert (metric.value, metric.n) == (pytest.approx(values.mean()), 137)


def test_sums_equal_a_loop_over_the_drawn_clusters() -> None:
    columns = np.random.default_rng(2).random((7, 3))
    clusters = ["b", "a", "b", "c", "a", "b", "d"]
    order = ["b", "a", "c", "d"]  # of their first rows
    generator = np.random.default_rng(5)
    expected = []
    for _ in range(20):
        drawn = [order[index] for index in generator.integers(4, size=4)]
        expected.append(sum(columns[row] for name in drawn for row in range(7) if clusters[row] == name))
    np.testing.assert_allclose(resampled_sums(columns, clusters, 20, 5), expected, atol=1e-12)


def test_rows_of_one_image_do_not_count_as_independent() -> None:
    values = np.repeat([1.0, 0.0], 200)
    images = [str(row // 4) for row in range(400)]
    (clustered,), (naive,) = with_intervals(outcomes(values, images)), with_intervals(outcomes(values))
    assert clustered.high - clustered.low == pytest.approx(2 * (naive.high - naive.low), rel=0.15)
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 100), rel=0.1)


def test_a_hundred_thousand_rows_take_seconds() -> None:
    values = np.random.default_rng(0).random(100_000)
    images = [str(row // 2) for row in range(100_000)]
    started = time.perf_counter()
    (metric,) = with_intervals(outcomes(values, images))
    assert time.perf_counter() - started < 10
    assert metric.high - metric.low == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 100_000), rel=0.1)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    generator = np.random.default_rng(3)
    hard = generator.random(500)
    first, second = outcomes(hard + 0.02), outcomes(hard + 0.01 * generator.random(500))
    (difference,) = differences(first, second)
    assert difference.name == "difference/mean"
    assert difference.value == pytest.approx(0.015, abs=0.001)
    assert 0 < difference.low < difference.value < difference.high
    (alone,) = with_intervals(first)
    assert difference.high - difference.low < 0.05 * (alone.high - alone.low)
    (nothing,) = differences(first, first)
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


def test_pairs_meet_by_key_not_by_place() -> None:
    values = np.arange(6.0)
    first = outcomes(values)
    turned = Outcomes(keys=first.keys[::-1], clusters=first.clusters[::-1], scores=(mean_score("mean", values[::-1]),))
    (difference,) = differences(first, turned)
    assert (difference.low, difference.high) == (0.0, 0.0)


def test_models_that_scored_other_rows_images_or_metrics_are_not_compared() -> None:
    first = outcomes(np.arange(3.0))
    with pytest.raises(ValueError, match="1 keys are of one only, such as 'k3'"):
        differences(first, outcomes(np.arange(4.0)))
    with pytest.raises(ValueError, match="row 'k0' is of image 'x'"):
        differences(first, outcomes(np.arange(3.0), ["x", "k1", "k2"]))
    with pytest.raises(ValueError, match="metric 'mean' over 3 rows stands against 'other' over 3"):
        differences(first, outcomes(np.arange(3.0), name="other"))
    part = Outcomes(keys=first.keys, clusters=first.keys, scores=(mean_score("mean", [1, 2, 3], [True, True, False]),))
    with pytest.raises(ValueError, match="over 3 rows stands against 'mean' over 2"):
        differences(first, part)


def test_a_mean_over_some_rows_resamples_its_denominator_too() -> None:
    counts = np.arange(40) % 2 == 0
    (metric,) = with_intervals(
        Outcomes(
            keys=tuple(map(str, range(40))),
            clusters=tuple(map(str, range(40))),
            scores=(mean_score("part", np.where(counts, 1.0, 77.0), counts),),
        )
    )
    assert (metric.value, metric.low, metric.high, metric.n) == (1.0, 1.0, 1.0, 20)


def test_bad_outcomes_are_refused() -> None:
    with pytest.raises(ValueError, match="mean: row 1 is not finite"):
        mean_score("mean", [1.0, float("nan")])
    with pytest.raises(ValueError, match="part: no row counts"):
        mean_score("part", [1.0], [False])
    with pytest.raises(ValueError, match="1 keys of the rows repeat"):
        Outcomes(keys=("a", "a"), clusters=("a", "a"), scores=())
    with pytest.raises(ValueError, match="1 clusters for 2 rows"):
        Outcomes(keys=("a", "b"), clusters=("a",), scores=())
    score = mean_score("m", [1.0])
    with pytest.raises(ValueError, match=r"metric names repeat: \['m'\]"):
        Outcomes(keys=("a",), clusters=("a",), scores=(score, score))
    with pytest.raises(ValueError, match="draws is 0"):
        with_intervals(outcomes(np.ones(2)), draws=0)
    empty = Score(name="empty", columns=np.zeros((2, 2)), statistic=ratio, n=0)
    with pytest.raises(ValueError, match="empty: its value over 0 rows is nan"):
        with_intervals(Outcomes(keys=("a", "b"), clusters=("a", "b"), scores=(empty,)))


# Prediction files


def file_of(folder: Path, *lines: object) -> PredictionFile:
    path = folder / "said.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return PredictionFile(path=path)


def test_texts_return_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        {"id": "c", "text": "third"},
        "",
        {"id": "a", "text": "first"},
        {"id": "d", "text": "half a te", "status": "error"},
        {"id": "e", "text": None},
    )
    read = read_predictions(file, ["a", "b", "c", "d", "e"])
    assert read.texts == ("first", None, "third", None, None)
    assert (read.missing, read.failed) == (1, 2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "line 2: 'a' has a text already on line 1"),
        ([{"id": "z", "text": "x"}], "line 1: 'z' is not in the manifest, which has 2 rows"),
        ([{"id": "a"}], r"line 1: no field 'text', only \['id'\]"),
        ([{"id": 1, "text": "x"}], "line 1: 'id' is 1, wanted a string"),
        ([{"id": "a", "text": 3}], "line 1: 'text' is 3, wanted a string, or null"),
        (["[1]"], "line 1: list, wanted an object"),
        (["{"], "line 1: not JSON"),
        ([], "holds no prediction"),
    ],
)
def test_lines_that_cannot_count_are_refused(tmp_path: Path, lines: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_predictions(file_of(tmp_path, *lines), ["a", "b"])


def test_one_run_of_a_file_is_chosen_by_its_fields(tmp_path: Path) -> None:
    lines = [{"key": "a", "said": shown, "shown": shown} for shown in ("rgb", "pair")]
    path = file_of(tmp_path, *lines).path
    file = PredictionFile(path=path, key="key", text="said", where=("shown=pair",))
    assert read_predictions(file, ["a"]).texts == ("pair",)
    with pytest.raises(ValueError, match="holds no prediction where shown=infrared"):
        read_predictions(PredictionFile(path=path, key="key", text="said", where=("shown=infrared",)), ["a"])
    with pytest.raises(ValueError, match="where holds 'shown', wanted FIELD=VALUE"):
        PredictionFile(path=path, where=("shown",))
