"""One job of `benchmarks.evaluation` in a process of its own, so that its memory is its own; prints what it took.

python -m benchmarks.evaluation_jobs ranks_both_ways --queries 10000 --gallery 10000
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from evaluation.retrieval.recall import ranks_both_ways, ranks_of_first_positive

Array = NDArray[Any]
Recalls = dict[str, float]

RECALLS = (1, 5, 10)
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, on simulated embeddings of pairs: an entry is its query and noise."""

    name: tyro.conf.Positional[str]
    """A key of `JOBS`."""
    queries: int
    """Number of queries; each has one right gallery entry."""
    gallery: int
    """Number of gallery entries."""
    width: int = 512
    """Width of the embeddings."""
    noise: float = 6.0
    """Standard deviation of the noise over that of the query; the higher, the more entries compete."""
    gallery_file: Path | None = None
    """A memory-mapped .npy to search instead; the queries are then noisy copies of rows spread over it."""


def main(job: Job) -> None:
    """Print seconds, recalls and memory before the job as JSON."""
    queries, gallery, keys = embeddings(job)
    before = anonymous_mib()
    start, cpu = time.perf_counter(), time.process_time()
    recalls = JOBS[job.name](queries, gallery, *keys)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**took, "anonymous_mib_before": before, "recalls": recalls}))


def embeddings(job: Job) -> tuple[Array, Array, tuple[Array, Array]]:
    """Queries, gallery, and the keys of both."""
    generator = np.random.default_rng(0)
    noise = np.float32(job.noise)
    if job.gallery_file is None:
        queries = generator.standard_normal((job.queries, job.width), dtype=np.float32)
        gallery = generator.standard_normal((job.gallery, job.width), dtype=np.float32)
        gallery *= noise
        gallery[: job.queries] += queries
        return queries, gallery, (np.arange(job.queries), np.arange(job.gallery))
    gallery = np.load(job.gallery_file, mmap_mode="r")[: job.gallery]
    places = np.arange(job.queries) * (len(gallery) // job.queries)
    queries = gallery[places] + noise * generator.standard_normal((job.queries, job.width), dtype=np.float32)
    return queries, gallery, (places, np.arange(len(gallery)))


def bare_product(queries: Array, gallery: Array, _: Array, __: Array) -> Recalls:
    """The product alone, into one buffer that is used again: what both directions need at least."""
    room = np.empty((ROWS_AT_ONCE, len(gallery)), dtype=np.float32)
    for start in range(0, len(queries), ROWS_AT_ONCE):
        rows = queries[start : start + ROWS_AT_ONCE]
        np.matmul(rows, gallery.T, out=room[: len(rows)])
    return {}


def one_way(queries: Array, gallery: Array, query_keys: Array, gallery_keys: Array) -> Recalls:
    """Ours, queries to gallery."""
    return recalls_of(ranks_of_first_positive(queries, gallery, query_keys, gallery_keys), "to_gallery")


def both_ways(queries: Array, gallery: Array, query_keys: Array, gallery_keys: Array) -> Recalls:
    """Ours, both directions."""
    there, back = ranks_both_ways(queries, gallery, query_keys, gallery_keys)
    return {**recalls_of(there, "to_gallery"), **recalls_of(back, "to_queries")}


def full_argsort(queries: Array, gallery: Array, _: Array, __: Array) -> Recalls:
    """What most evaluation code does: all scores, sorted by row and by column. Pairs stand at equal rows."""
    scores = unit(queries) @ unit(gallery).T
    found = {}
    for name, table in (("to_gallery", scores), ("to_queries", scores.T)):
        order = np.argsort(-table, axis=1)
        found.update(recalls_of((order == np.arange(len(order))[:, None]).argmax(axis=1), name))
    return found


def full_topk(queries: Array, gallery: Array, _: Array, __: Array) -> Recalls:
    """All scores, and torch's ten best by row and by column."""
    scores = torch.from_numpy(unit(queries)) @ torch.from_numpy(unit(gallery)).T
    found = {}
    for name, table in (("to_gallery", scores), ("to_queries", scores.T)):
        best = table.topk(max(RECALLS), dim=1).indices.numpy()
        hits = best == np.arange(len(best))[:, None]
        found.update({f"{name}/recall_at_{k}": float(hits[:, :k].any(axis=1).mean()) for k in RECALLS})
    return found


JOBS: dict[str, Callable[[Array, Array, Array, Array], Recalls]] = {
    "bare_product": bare_product,
    "ranks_one_way": one_way,
    "ranks_both_ways": both_ways,
    "full_matrix_argsort": full_argsort,
    "full_matrix_topk": full_topk,
}


def recalls_of(ranks: Array, name: str) -> Recalls:
    """Recalls at 1, 5 and 10."""
    return {f"{name}/recall_at_{k}": float((ranks < k).mean()) for k in RECALLS}


def unit(vectors: Array) -> Array:
    """Rows of norm 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def anonymous_mib() -> float:
    """Memory of this process without mapped files. Linux only."""
    lines = dict(line.partition(":")[::2] for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


if __name__ == "__main__":
    main(tyro.cli(Job, description=__doc__))
