"""Splits of whole leak groups: sizes, minimum per source, published splits, no bias, and what the audit finds."""

import hashlib
import re
from collections import Counter
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest

from dataset_scripts.stages.split_audit import GroupFacts, SplitLeakError, audit_splits
from dataset_scripts.stages.split_draw import subset_sum
from dataset_scripts.stages.splits import SPLITS, SplitSettings, assign_splits, hash_order, plan_splits


def rows_of(sizes: list[int]) -> list[str]:
    return [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]


def settings(**values: object) -> SplitSettings:
    return SplitSettings(**{"validation": 0, "test": 0, **values})  # type: ignore[arg-type]


def splits_of_groups(splits: list[str], groups: list[str]) -> dict[str, str]:
    pairs = set(zip(groups, splits, strict=True))
    assert len(pairs) == len(set(groups)), "a group lies in two splits"
    return dict(pairs)


def best_sum(sizes: list[int], target: int) -> int:
    return max(
        sum(chosen) for count in range(len(sizes) + 1) for chosen in combinations(sizes, count) if sum(chosen) <= target
    )


def test_fractions_give_whole_groups_and_their_share_of_rows() -> None:
    groups = [f"g{n // 3}" for n in range(300)]
    splits = assign_splits(groups, ["a"] * 300, settings(validation=0.1, test=0.2))
    assert Counter(splits) == {"train": 210, "validation": 30, "test": 60}
    splits_of_groups(splits, groups)
    assert assign_splits(groups, ["a"] * 300, settings(validation=0.1, test=0.2, salt="other")) != splits


def test_the_first_groups_of_the_hash_order_are_test_and_the_next_validation() -> None:
    groups = [f"g{number}" for number in range(20)]
    split_of = splits_of_groups(assign_splits(groups, ["a"] * 20, settings(validation=3, test=2)), groups)
    order = [groups[n] for n in hash_order(groups, settings().salt).tolist()]
    assert [split_of[group] for group in order] == ["test"] * 2 + ["validation"] * 3 + ["train"] * 15


def test_the_hash_order_is_that_of_sha256_of_salt_and_name() -> None:
    names = ["a", "b", "c", "d", "\u00e9", ""]
    expected = sorted(range(6), key=lambda n: hashlib.sha256(f"s:{names[n]}".encode()).hexdigest())
    assert hash_order(names, "s").tolist() == expected
    assert hash_order([], "s").tolist() == []


def test_neither_the_order_of_rows_nor_the_kind_of_group_name_changes_a_split() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 400, 1000)
    sources = np.where(groups % 3 == 0, "a", np.where(groups % 3 == 1, "b", "c")).tolist()
    own = settings(validation=97, test=0.113, min_rows_per_source=20)
    splits = assign_splits(groups, sources, own)
    assert Counter(splits) == {"train": 790, "validation": 97, "test": 113}
    shuffle = rng.permutation(1000)
    shuffled = assign_splits(groups[shuffle], [sources[n] for n in shuffle], own)
    assert shuffled == [splits[n] for n in shuffle]
    assert assign_splits([str(group) for group in groups], sources, own) == splits
    assert assign_splits(groups.tolist(), sources, own) == splits


@pytest.mark.parametrize("seed", range(12))
def test_a_tight_minimum_is_met_in_the_same_way_for_any_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 120, 400)
    sources = rng.choice(["a", "b", "c", "d"], 400).tolist()
    own = settings(test=60, min_rows_per_source=13)
    splits = assign_splits(groups, sources, own)
    shuffle = rng.permutation(400)
    assert assign_splits(groups[shuffle], [sources[n] for n in shuffle], own) == [splits[n] for n in shuffle]


def test_a_walk_that_ends_short_is_mended_by_a_subset_sum() -> None:
    # 40 = 7 + 33 only, whatever comes first in the order of the hash.
    groups = rows_of([33, 9, 9, 9, 9, 7, 100])
    for salt in range(20):
        splits = assign_splits(groups, ["a"] * len(groups), settings(test=40, salt=str(salt)))
        split_of = splits_of_groups(splits, groups)
        chosen = {group for group, split in split_of.items() if split == "test"}
        assert sum(group in chosen for group in groups) == 40
        assert chosen == {"g0", "g5"}


@pytest.mark.parametrize("seed", range(40))
def test_the_rows_drawn_are_the_most_that_any_choice_of_groups_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 40, 11).tolist()
    target = int(rng.integers(1, sum(sizes) // 2))
    groups = rows_of(sizes)
    plan = plan_splits(groups, ["a"] * len(groups), settings(test=target))
    splits_of_groups(plan.splits, groups)
    assert plan.splits.count("test") == plan.rows["test"] == best_sum(sizes, target)
    assert plan.targets == {"test": target, "validation": 0}


@pytest.mark.parametrize("seed", range(40))
def test_subset_sums_are_those_of_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 15, int(rng.integers(0, 11)))
    target = int(rng.integers(1, 60))
    chosen = subset_sum(sizes, target)
    assert len(set(chosen.tolist())) == len(chosen)
    assert sizes[chosen].sum() == best_sum(sizes.tolist(), target)


def test_an_unreachable_size_is_reported() -> None:
    groups = rows_of([4] * 30)
    plan = plan_splits(groups, ["a"] * 120, settings(validation=11, test=6))
    assert plan.targets == {"test": 6, "validation": 11}
    assert plan.rows == {"train": 108, "validation": 8, "test": 4}
    assert Counter(plan.splits) == plan.rows


def test_every_source_has_its_minimum_in_every_split() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(3000), rng.integers(1, 4, 3000))
    sources = np.where(groups < 40, "rare", np.where(groups < 60, "rarer", "web")).tolist()
    plan = plan_splits(groups, sources, settings(validation=100, test=100, min_rows_per_source=9))
    counts = Counter(zip(plan.splits, sources, strict=True))
    assert plan.rows["validation"] == plan.rows["test"] == 100
    assert all(counts[split, source] >= 9 for split in SPLITS for source in ("rare", "rarer", "web"))
    without = Counter(zip(assign_splits(groups, sources, settings(validation=100, test=100)), sources, strict=True))
    assert without["test", "rarer"] < 9
    assert plan.exempt_sources == []


def test_a_group_of_two_sources_serves_both_and_is_never_cut() -> None:
    groups = rows_of([2] * 50)
    sources = ["a", "b"] * 50
    plan = plan_splits(groups, sources, settings(test=10, min_rows_per_source=5))
    assert Counter(zip(plan.splits, sources, strict=True))["test", "b"] == 5
    splits_of_groups(plan.splits, groups)


def test_a_source_that_is_too_small_is_refused_by_name_or_exempt() -> None:
    groups = [f"g{n}" for n in range(1000)]
    sources = ["tiny"] * 29 + ["big"] * 971
    own = {"validation": 50, "test": 50, "min_rows_per_source": 10}
    message = (
        "too few rows for 10 in each of 3 splits: tiny (29 rows to draw from). "
        "Lower min_rows_per_source, drop the source, or set small_sources to 'exempt'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        plan_splits(groups, sources, settings(**own))
    plan = plan_splits(groups, sources, settings(**own, small_sources="exempt"))
    assert plan.exempt_sources == ["tiny"]
    assert plan.rows == {"train": 900, "validation": 50, "test": 50}
    enough = plan_splits(groups, ["tiny", *sources[:-1]], settings(**own))
    counts = Counter(zip(enough.splits, ["tiny", *sources[:-1]], strict=True))
    assert [counts[split, "tiny"] for split in SPLITS] == [10, 10, 10]


def test_a_source_in_one_large_group_cannot_give_its_minimum() -> None:
    groups = rows_of([60] + [1] * 300)
    sources = ["lump"] * 60 + ["fine"] * 300
    message = (
        "test of 100 rows has no room, or no whole groups, for 10 rows of every source: lump lacks 10. "
        "Ask for more rows, or lower min_rows_per_source."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        plan_splits(groups, sources, settings(test=100, min_rows_per_source=10))


def test_a_minimum_leaves_train_its_own_even_where_a_split_would_take_all() -> None:
    groups = [f"g{n}" for n in range(100)]
    sources = ["a"] * 10 + ["b"] * 90
    for salt in range(30):
        splits = assign_splits(groups, sources, settings(test=90, min_rows_per_source=4, salt=str(salt)))
        counts = Counter(zip(splits, sources, strict=True))
        assert counts["train", "a"] >= 4
        assert counts["train", "b"] >= 4
        assert splits.count("test") == 90


def test_a_group_that_touches_a_published_test_split_goes_there_as_a_whole() -> None:
    groups = ["a", "a", "a", "b", "b", "c", "c", *(f"free{n}" for n in range(93))]
    published = ["train", "validation", "test", "train", "validation", "train", None, *([None] * 93)]
    plan = plan_splits(groups, ["s"] * 100, settings(validation=10, test=12), published)
    assert plan.splits[:7] == ["test"] * 3 + ["validation"] * 2 + ["train"] * 2
    assert plan.rows == {"train": 78, "validation": 10, "test": 12}
    assert plan.moved_rows == 3


def test_more_published_rows_than_asked_for_are_refused() -> None:
    message = "the published test rows, with their leak groups, are 3, more than the 2 rows asked for; ask for more."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        plan_splits(["a", "a", "b", *"cdefgh"], ["s"] * 9, settings(test=2), ["test", None, "test", *([None] * 6)])
    with pytest.raises(ValueError, match="a published split is 'val'; it must be one of train, validation, test"):
        plan_splits(["a", "b"], ["s"] * 2, settings(), ["val", None])


def test_no_minimum_is_asked_of_a_source_whose_splits_are_published() -> None:
    groups = [f"g{n}" for n in range(200)]
    sources = ["rsicd"] * 50 + ["web"] * 150
    published = ["train"] * 45 + ["test"] * 5 + [None] * 150
    plan = plan_splits(groups, sources, settings(validation=20, test=20, min_rows_per_source=10), published)
    assert plan.exempt_sources == ["rsicd"]
    assert plan.splits[:50] == published[:50]
    assert (plan.rows["validation"], plan.rows["test"], plan.moved_rows) == (20, 20, 0)


def test_what_published_splits_hold_of_a_source_counts_for_its_minimum() -> None:
    groups = [f"g{n}" for n in range(200)]
    sources = ["a"] * 40 + ["b"] * 160
    published = ["test"] * 10 + ["validation"] * 25 + [None] * 165
    own = {"validation": 35, "test": 30, "small_sources": "exempt"}
    # Five rows are left to draw from: enough for train, where test and validation have theirs.
    plan = plan_splits(groups, sources, settings(**own, min_rows_per_source=5), published)
    assert (plan.exempt_sources, plan.splits[35:40]) == ([], ["train"] * 5)
    plan = plan_splits(groups, sources, settings(**own, min_rows_per_source=6), published)
    assert plan.exempt_sources == ["a"]
    assert Counter(plan.splits) == {"train": 135, "validation": 35, "test": 30}


def test_held_out_groups_are_as_large_as_those_of_train() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30_000), np.minimum(rng.zipf(2.0, 30_000), 60))
    rng.shuffle(groups)
    own = settings(validation=0.1, test=0.1)
    splits = assign_splits(groups, ["a"] * len(groups), own)
    audit = audit_splits(splits, groups, [None] * len(groups), ["a"] * len(groups))
    means = {split: facts.mean_group_rows for split, facts in audit.splits.items()}
    assert audit.splits["test"].rows == round(len(groups) / 10)
    assert means["test"] == pytest.approx(means["train"], rel=0.1)
    assert means["validation"] == pytest.approx(means["train"], rel=0.1)
    assert means["train"] > 2


def test_a_million_groups_are_split_exactly() -> None:
    groups = np.arange(1_200_000) % 1_000_000
    own = settings(validation=9_999, test=0.01, min_rows_per_source=100)
    plan = plan_splits(groups, ["a"] * len(groups), own)
    assert plan.rows == {"train": 1_178_001, "validation": 9_999, "test": 12_000}


def test_no_rows_are_no_splits() -> None:
    plan = plan_splits([], [], settings(validation=0.1, test=0.1, min_rows_per_source=3))
    assert (plan.splits, plan.rows) == ([], {"train": 0, "validation": 0, "test": 0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test": 1.5}, "test is 1.5; give a number of rows, or a fraction from 0 to below 1."),
        ({"test": 1.0}, "test is 1.0; give a number of rows, or a fraction from 0 to below 1."),
        ({"validation": -1}, "validation is -1; give a number of rows"),
        ({"validation": True}, "validation is True; give a number of rows"),
        ({"validation": float("nan")}, "validation is nan; give a number of rows"),
        ({"min_rows_per_source": -2}, "min_rows_per_source is -2; it must not be negative"),
        ({"small_sources": "drop"}, "small_sources is 'drop'; it must be 'refuse' or 'exempt'"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        settings(**values)


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("columns have [2, 1] rows; give one group, source and")):
        plan_splits(["a", "b"], ["s"], settings())
    with pytest.raises(ValueError, match=re.escape("of 4 rows leave none for train; ask for fewer")):
        plan_splits(list("abcd"), ["s"] * 4, settings(validation=2, test=2))
    with pytest.raises(ValueError, match=re.escape("groups are float64 of shape (2,); an array must be integer")):
        plan_splits(np.zeros(2), ["s"] * 2, settings())  # type: ignore[arg-type]


def test_the_audit_counts_rows_and_groups_and_finds_nothing_in_clean_splits() -> None:
    splits = ["train", "train", "train", "test", "test", "validation"]
    audit = audit_splits(splits, ["a", "a", "b", "c", "c", "d"], ["k", "k", None, "l", None, "m"], list("xyxxyy"))
    assert (audit.rows, audit.groups) == (6, 4)
    assert audit.splits == {
        "test": GroupFacts(rows=2, groups=1, mean_group_rows=2.0),
        "train": GroupFacts(rows=3, groups=2, mean_group_rows=1.5),
        "validation": GroupFacts(rows=1, groups=1, mean_group_rows=1.0),
    }
    assert audit.sources["train"] == {
        "x": GroupFacts(rows=2, groups=2, mean_group_rows=1.0),
        "y": GroupFacts(rows=1, groups=1, mean_group_rows=1.0),
    }
    assert (audit.groups_across_splits, audit.caption_keys_across_splits) == (0, 0)
    audit.require_clean()
    assert asdict(audit)["sources"]["validation"] == {"y": {"rows": 1, "groups": 1, "mean_group_rows": 1.0}}


def test_planted_leaks_are_counted_named_and_raised() -> None:
    groups = np.arange(1000)
    keys: list[str | None] = [f"key{n:04}" for n in range(1000)]
    splits = assign_splits(groups, ["a"] * 1000, settings(validation=100, test=100))
    audit_splits(splits, groups, keys, ["a"] * 1000).require_clean()
    train, test = splits.index("train"), splits.index("test")
    keys[train] = keys[test]
    audit = audit_splits(splits, groups, keys, ["a"] * 1000)
    assert (audit.groups_across_splits, audit.caption_keys_across_splits) == (0, 1)
    assert audit.crossing_caption_keys == [keys[test]]
    groups[splits.index("validation")] = test
    audit = audit_splits(splits, groups, keys, ["a"] * 1000)
    assert (audit.groups_across_splits, audit.crossing_groups) == (1, [str(test)])
    message = (
        "1 leak groups and 1 caption keys lie in more than one split, such as "
        f"{test}, {keys[test]}. Group rows by their caption keys as well as their hashes, and split whole groups."
    )
    with pytest.raises(SplitLeakError, match=f"^{re.escape(message)}$"):
        audit.require_clean()
    keys[train] = keys[test] = None
    assert audit_splits(splits, groups, keys, ["a"] * 1000).caption_keys_across_splits == 0
