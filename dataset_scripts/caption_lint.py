"""Tells how much of the captions that are trained on a text tower would not read, from a sample of the rows."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .journal import ShardRecord
from .row_table import RowTable
from .rs5m_rows import all_captions, preferred_caption
from .stages.token_limit import lint_token_limit
from .steps.staged_rows import joined_rows
from .steps.write_step import Dataset

SAMPLE_ROWS = 10_000
_COLUMNS = {
    "rs5m": ("captions", "caption_kind", "written_captions"),
    "fusionrs": ("captions", "infrared_captions"),
}


def open_tokenizer(folder: Path | None) -> Any | None:
    """Return the tokenizer of a folder; None where none is given, and tokens are estimated."""
    if folder is None:
        return None
    # Here, because this import takes seconds, and an estimate needs none of it.
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def lint_captions(
    dataset: Dataset,
    work: Path,
    table: RowTable,
    files: Sequence[Mapping[int, ShardRecord]],
    tokenizer: Any | None,
) -> dict[str, Any]:
    """Return what becomes of each kind of caption, for the manifest; what is lost is printed as a warning.

    Args:
        dataset: which captions are trained on.
        work: folder of the staged shards.
        table: the rows that are written, with `shuffle_key`.
        files: for the first step and each later one, the record of what it made of a staged shard.
        tokenizer: a tokenizer of transformers, or None to estimate.
    """
    # Rows of the smallest keys are as good as drawn by lot, and the same in every run.
    sample = table.keep(np.sort(np.argsort(table.numbers("shuffle_key"), kind="stable")[:SAMPLE_ROWS]))
    captions = [[part] for part in _training_captions(dataset, work, sample, files)]
    _, summaries = lint_token_limit(captions, tokenizer)
    for summary in summaries:
        if summary.wholly_lost or summary.partly_lost:
            print(f"warning: captions are cut off in training; {summary}", file=sys.stderr)
    return {"rows": len(sample), "captions": [asdict(summary) for summary in summaries]}


def _training_captions(
    dataset: Dataset, work: Path, sample: RowTable, files: Sequence[Mapping[int, ShardRecord]]
) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of what a row is trained on."""
    for shard, positions in sample.positions_by_shard().items():
        shard_files = [{"file": records[shard].file} for records in files if shard in records]
        for row in joined_rows(work, shard_files, positions, _COLUMNS[dataset]):
            if dataset == "rs5m":
                captions = all_captions(row)
                text = preferred_caption(captions)
                yield next((one["kind"], one["text"]) for one in captions if one["text"] == text)
            else:
                for name in ("captions", "infrared_captions"):
                    yield from ((name, text) for text in row[name][:1])
