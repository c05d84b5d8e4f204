"""Whether what is in a shard may leave this machine: licences of its rows, tokens and folders in its texts."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..rights import CAPTION_COLUMNS, may_publish, withhold
from ..steps.write_step import INDEX_FOLDER, Dataset
from .folder_problem import Problem
from .shard_rows import READ_ERRORS, columns_problem

# Access tokens of Hugging Face, GitHub and Amazon, and private keys.
SECRET = (
    r"hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,}|(AKIA|ASIA)[0-9A-Z]{16}|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
)
# A Unix path of two parts or more, a home folder, a drive, a file URL. Web addresses have a word or `/` before.
_MACHINE_PATH = re.compile(
    r"file://[^\s\"']*|(?<![\w./:~<-])/(?:[\w.@+-]+/)+[\w.@+-]*|(?<![\w.])~/[\w.-]+|\b[A-Za-z]:\\+[\w.-]+"
)
_SECRET = re.compile(SECRET)
_SAMPLE = 3


def text_problems(file: str, text: str) -> Iterator[Problem]:
    """Find tokens and folders of this machine in a text that is to be published; a token is not repeated."""
    # Markdown writes `hf\_` for `hf_`.
    for match in _SECRET.finditer(text.replace("\\", "")):
        yield Problem(file, "secret", f"{match.group()[:6]}..., {len(match.group())} characters")
    for found in sorted({match.group() for match in _MACHINE_PATH.finditer(text)}):
        yield Problem(file, "machine_path", found[:200])


def shard_rights_problems(folder: Path, dataset: Dataset, shard: Mapping[str, Any]) -> list[Problem]:
    """Check the texts and licences of a shard that is to be published, a row group at a time, without its images."""
    name: str = shard["file"]
    place = name.partition("/")[0]
    found: dict[tuple[str, str], list[str]] = {}
    try:
        with pq.ParquetFile(folder / name, page_checksum_verification=True) as file:
            if difference := columns_problem(file.schema_arrow, dataset, place):
                return [Problem(name, "columns", difference)]
            columns = [field.name for field in file.schema_arrow if not pa.types.is_struct(field.type)]
            for batch in file.iter_batches(batch_size=10_000, columns=columns):
                for kind, detail, ids in _batch_problems(pa.Table.from_batches([batch]), place):
                    found.setdefault((kind, detail), []).extend(ids)
    except READ_ERRORS as error:
        return [Problem(name, "unreadable", f"{type(error).__name__}: {str(error)[:200]}")]
    return [
        Problem(name, kind, f"{detail}: {len(ids)} rows, such as {', '.join(ids[:_SAMPLE])}")
        for (kind, detail), ids in found.items()
    ]


def _batch_problems(table: pa.Table, place: str) -> Iterator[tuple[str, str, list[str]]]:
    has_origin = "infrared_origin" in table.column_names
    keys = ["license", *(["infrared_origin"] if has_origin else [])]
    for pair in table.group_by(keys).aggregate([]).to_pylist():
        license_, origin = pair["license"], pair.get("infrared_origin")
        own = table.filter(_equals(table, pair))
        if place != INDEX_FOLDER:
            if not may_publish(license_, origin):
                yield "license", f"{license_!r} with infrared {origin!r}", own["id"].to_pylist()
            continue
        for column in _withheld_columns(license_, origin) & set(table.column_names):
            mask = _has_value(own[column])
            if pc.any(mask).as_py():
                yield "not_withheld", f"{column} under {license_!r}", own.filter(mask)["id"].to_pylist()
    for column in table.column_names:
        mask = _matches(table[column], SECRET)
        if mask is not None and pc.any(mask).as_py():
            yield "secret", f"a token in {column}", table.filter(mask)["id"].to_pylist()


def _equals(table: pa.Table, pair: Mapping[str, Any]) -> pa.ChunkedArray:
    masks = [
        pc.is_null(table[name]) if value is None else pc.fill_null(pc.equal(table[name], value), fill_value=False)
        for name, value in pair.items()
    ]
    return masks[0] if len(masks) == 1 else pc.and_(*masks)


def _has_value(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type):
        return pc.fill_null(pc.greater(pc.list_value_length(column), 0), fill_value=False)
    return pc.is_valid(column)


def _matches(column: pa.ChunkedArray, pattern: str) -> pa.Array | None:
    """For every row whether a text in it matches; None for a column without texts."""
    if pa.types.is_string(column.type):
        return pc.fill_null(pc.match_substring_regex(column, pattern), fill_value=False)
    if not pa.types.is_list(column.type):
        return None
    column = column.combine_chunks()
    parents, texts = pc.list_parent_indices(column), pc.list_flatten(column)
    if pa.types.is_struct(texts.type):
        texts = texts.field("text")
    hits = parents.filter(pc.fill_null(pc.match_substring_regex(texts, pattern), fill_value=False))
    return pc.is_in(pa.array(range(len(column)), parents.type), hits)


@cache
def _withheld_columns(license_: str | None, origin: str | None) -> frozenset[str]:
    """Columns that must be empty under a licence."""
    row = withhold({"license": license_, "infrared_origin": origin, **dict.fromkeys(CAPTION_COLUMNS, "text")})
    return frozenset(name for name in CAPTION_COLUMNS if row[name] is None)
