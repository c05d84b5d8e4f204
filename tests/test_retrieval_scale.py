"""Exact ranks whatever the block, in both directions and in bounded memory; search beside them."""

import sys
import tracemalloc

import numpy as np
import pytest

from evaluation.retrieval import search_index
from evaluation.retrieval.anchored_ranks import ranks_of_keys, ranks_of_keys_both_ways, ranks_of_pairs
from evaluation.retrieval.exact_ranks import NEVER, exact_ranks, sorted_pairs
from evaluation.retrieval.recall import ranks_both_ways, ranks_of_first_positive
from evaluation.retrieval.search_index import build_index, recall_against_exact

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def naive_ranks(queries: np.ndarray, gallery: np.ndarray, positive: np.ndarray) -> list[int]:
    """The definition, query by query: negatives whose cosine is at least the best positive's."""
    left, right = (x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (queries, gallery))
    ranks = []
    for query, mine in zip(left, positive, strict=True):
        cosines = [float(np.dot(query, entry)) for entry in right]
        best = max(c for c, right_one in zip(cosines, mine, strict=True) if right_one)
        ranks.append(sum(c >= best - 1e-13 for c, right_one in zip(cosines, mine, strict=True) if not right_one))
    return ranks


def case(name: str) -> Case:
    generator = np.random.default_rng(3)
    queries, gallery = (generator.normal(size=(n, 24)).astype(np.float32) for n in (31, 43))
    if name == "small whole numbers":  # many exact ties between different vectors
        queries, gallery = (generator.integers(1, 3, size=x.shape).astype(np.float32) for x in (queries, gallery))
    if name == "duplicates":
        queries, gallery = queries[generator.integers(9, size=31)], gallery[generator.integers(7, size=43)]
        gallery[::5] = queries[:9]
    if name == "multiples":  # equal cosines of different norms
        queries, gallery = queries[:1] * 2.0 ** np.arange(31)[:, None] / 2**15, queries[:1] * np.ones((43, 1), "f4")
        gallery[20:] *= 3
    if name == "all equal":
        queries, gallery = np.full_like(queries, 0.1), np.full_like(gallery, 0.7)
    gallery_keys = np.concatenate([np.arange(15), generator.integers(15, size=28)])
    query_keys = np.concatenate([np.arange(15), generator.integers(15, size=16)])
    return queries, gallery, query_keys.astype(str), gallery_keys.astype(str)


@pytest.mark.parametrize("name", ["random", "small whole numbers", "duplicates", "multiples", "all equal"])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_ranks_of_both_directions_are_the_definition_whatever_the_block(name: str, block: int) -> None:
    queries, gallery, query_keys, gallery_keys = case(name)
    positive = query_keys[:, None] == gallery_keys
    there, back = ranks_both_ways(*case(name), query_block=block, gallery_block=block)
    assert there.tolist() == naive_ranks(queries, gallery, positive)
    assert back.tolist() == naive_ranks(gallery, queries, positive.T)
    one = ranks_of_first_positive(*case(name), query_block=block, gallery_block=max(1, block // 2))
    assert (one == there).all()
    pairs = np.nonzero(positive)
    assert (ranks_of_pairs(queries, gallery, pairs, np.ones(31, bool), np.ones(43, bool)) == there).all()


def test_embeddings_that_are_equal_everywhere_rank_every_negative_first_at_any_size() -> None:
    same, keys = np.full((1500, 37), 0.3, dtype=np.float32), np.arange(1500)
    for ranks in ranks_both_ways(same, same * np.float32(1.7), keys, keys, query_block=256, gallery_block=999):
        assert (ranks == 1499).all()


def test_a_copy_of_the_positive_ties_wherever_it_stands() -> None:
    # Products of different blocks round differently, so a copy may score a last bit less than what it copies.
    generator = np.random.default_rng(4)
    queries = generator.normal(size=(300, 512)).astype(np.float32)
    entries = (queries + generator.normal(size=(300, 512))).astype(np.float32)
    gallery, keys = np.concatenate([entries, entries, entries[::-1]]), np.arange(900).astype(str)
    assert (ranks_of_first_positive(queries, gallery, keys[:300], keys, gallery_block=641) == 2).all()


def test_a_difference_below_float32_decides() -> None:
    queries = np.array([[1.0, 0.0]])
    near, nearer = [1.0, 2e-5], [1.0, 1e-5]  # cosines 1 - 2e-10 and 1 - 5e-11
    keys = np.array(["right", "wrong"])
    for gallery, expected in (([nearer, near], 0), ([near, nearer], 1), ([near, near], 1)):
        assert ranks_of_first_positive(queries, np.array(gallery), keys[:1], keys).tolist() == [expected]


def test_an_entry_without_a_positive_never_ranks_and_repeated_pairs_count_once() -> None:
    eye = np.eye(3, dtype=np.float32)
    pairs = sorted_pairs(np.array([0, 0, 1]), np.array([1, 1, 1]))
    there, back = exact_ranks(eye, eye, pairs, both_ways=True)
    assert there.tolist() == [2, 0, NEVER]
    assert back.tolist() == [NEVER, 0, NEVER]


def test_absent_rows_never_rank_in_either_direction() -> None:
    generator = np.random.default_rng(9)
    queries, gallery = (generator.normal(size=(n, 4)).astype(np.float32) for n in (40, 50))
    keys = [generator.integers(12, size=n).astype(str) for n in (40, 50)]
    there = [generator.random(n) < 0.7 for n in (40, 50)]
    ways = ranks_of_keys_both_ways(queries, gallery, *keys, *there)
    assert (ways[0] == ranks_of_keys(queries, gallery, *keys, *there)).all()
    assert (ways[1] == ranks_of_keys(gallery, queries, *keys[::-1], *there[::-1])).all()
    assert (ways[0][~there[0]] == NEVER).all()


def test_one_direction_returns_no_ranks_of_the_other() -> None:
    eye = np.eye(3, dtype=np.float32)
    there, back = exact_ranks(eye, eye, sorted_pairs(np.arange(3), np.arange(3)))
    assert there.tolist() == [0, 0, 0]
    assert back.shape == (0,)


def test_both_directions_need_a_positive_for_each_side() -> None:
    eye = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="gallery entry 1 has no positive in the queries"):
        ranks_both_ways(eye[:1], eye, np.array(["a"]), np.array(["a", "b"]))


@pytest.mark.parametrize(
    ("queries", "gallery", "keys", "message"),
    [
        (np.eye(2), np.eye(3), (2, 3), r"queries have shape \(2, 2\), gallery \(3, 3\); wanted"),
        (np.eye(2), np.eye(2), (2, 3), "2 gallery have 3 keys; wanted one key for each"),
        (np.array([[1.0], [np.inf]]), np.ones((2, 1)), (2, 2), "queries hold 1 rows that are not finite.*row 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    queries: np.ndarray, gallery: np.ndarray, keys: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ranks_of_first_positive(queries, gallery, np.arange(keys[0]).astype(str), np.arange(keys[1]).astype(str))


def peak_mib(queries: np.ndarray, gallery: np.ndarray) -> float:
    keys, entries = np.arange(len(queries)), np.arange(len(gallery))
    tracemalloc.start()
    ranks_of_first_positive(queries, gallery, keys, entries, query_block=256, gallery_block=512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def test_memory_is_that_of_a_block_and_not_of_the_matrix() -> None:
    generator = np.random.default_rng(5)
    queries, gallery = (generator.normal(size=(4000, 16)).astype(np.float32) for _ in range(2))
    keys = np.arange(4000)
    tracemalloc.start()
    ranks_both_ways(queries, gallery, keys, keys, query_block=256, gallery_block=512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20  # the matrix alone holds 61 MiB


def test_a_memory_mapped_gallery_is_read_in_blocks(tmp_path) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(6)
    gallery = generator.normal(size=(16_000, 64)).astype(np.float32)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    queries = gallery[:20] + generator.normal(size=(20, 64)).astype(np.float32)
    keys = np.arange(16_000)
    expected = naive_ranks(queries, gallery, keys[:20, None] == keys)
    assert ranks_of_first_positive(queries, mapped, keys[:20], keys).tolist() == expected
    # Four times the gallery takes its keys, norms and ranks more: 100 bytes an entry, not 256 for its vector.
    grown = peak_mib(queries, mapped) - peak_mib(queries, mapped[:4000])
    assert grown < 12_000 * 100 / 2**20


# Search


def test_exact_search_is_the_sorted_matrix_and_keeps_the_order_of_ties(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(7)
    queries, gallery = (generator.normal(size=(n, 8)).astype(np.float32) for n in (9, 50))
    monkeypatch.setattr(search_index, "ADDED_AT_ONCE", 7)
    index = build_index(gallery, "exact")
    left, right = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    expected = np.argsort(-(left @ right.T), axis=1)[:, :12]
    found, cosines = index.search(queries, 12)
    assert (found == expected).all()
    assert cosines == pytest.approx(np.take_along_axis(left @ right.T, expected, axis=1), abs=1e-6)
    assert recall_against_exact(index, queries, 12) == 1.0
    tied = build_index(np.ones((20, 4), np.float32), "exact").search(np.ones((1, 4), np.float32), 5)
    assert tied[0].tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("kind", "package"), [("usearch", "usearch"), ("faiss", "faiss-cpu")])
def test_a_missing_library_is_named_and_never_replaced(kind, package, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ModuleNotFoundError, match=f"{kind} cannot be imported .*; run `pip install {package}`"):
        build_index(np.eye(3), kind)


class _LosesTheBest:
    """A graph that returns the entries after the best one, as faiss would."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.tile(np.arange(1, k + 1), (len(queries), 1))
        return np.zeros(order.shape, np.float32), order


def test_recall_of_an_index_is_the_share_of_the_best_that_it_finds() -> None:
    angles = np.linspace(0, 1, 10)
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    sizes = np.ones(10)
    index = search_index.SearchIndex(kind="faiss", gallery=gallery, gallery_norms=sizes, graph=_LosesTheBest())
    assert recall_against_exact(index, gallery[:1], 4) == 0.75


@pytest.mark.parametrize("kind", ["usearch", "faiss"])
def test_an_approximate_index_finds_most_of_the_best(kind) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip(kind)
    generator = np.random.default_rng(8)
    gallery = generator.normal(size=(2000, 16)).astype(np.float32)
    index = build_index(gallery, kind)
    assert recall_against_exact(index, gallery[:50], 10) > 0.9
    found, cosines = index.search(3 * gallery[:1], 1)
    assert found.tolist() == [[0]]
    assert cosines[0, 0] == pytest.approx(1, abs=1e-5)


def test_impossible_searches_are_refused() -> None:
    index = build_index(np.eye(3, dtype=np.float32), "exact")
    with pytest.raises(ValueError, match="k is 4, wanted 1 to 3"):
        index.search(np.eye(3), 4)
    with pytest.raises(ValueError, match=r"queries have shape \(2, 2\), wanted \(Q, 3\)"):
        index.search(np.eye(2), 1)
    with pytest.raises(ValueError, match="kind is 'annoy', wanted 'exact' or 'usearch' or 'faiss'"):
        build_index(np.eye(3), "annoy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the gallery has shape \(0, 3\)"):
        build_index(np.zeros((0, 3)), "exact")
