"""Images of streamed rows: row groups fetched once per machine into a folder of bounded size, and mapped from there."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from .streamed_rows import SCHEME, cache_folder, open_shard, parse_address, parse_group

FETCHED_AT_ONCE = 8
# Each holds a file open; common limits are 1,024 for a process.
MAPPED_AT_ONCE = 256
LOCKS = 64


class RowGroupStore:
    """Finds the bytes of images by their address. Processes share the folder; a row group is fetched by one of them."""

    def __init__(self, gigabytes: float, folder: Path | None = None) -> None:
        """Takes the size to keep the folder to; what was opened longest ago is removed first."""
        self.limit = int(gigabytes * 1e9)
        self.folder = folder if folder is not None else cache_folder("row_groups")
        self._mapped: OrderedDict[str, pa.Array] = OrderedDict()

    def fill(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows with the bytes of their images; rows that hold them already are returned as they are."""
        found = [(row, name) for row in rows for name, value in row.items() if _is_address(value)]
        if not found:
            return rows
        filled = {id(row): dict(row) for row in rows}
        places = [parse_address(row[name]["path"]) for row, name in found]
        self._fetch({group for group, _ in places})
        for (row, name), (group, number) in zip(found, places, strict=True):
            filled[id(row)][name] = self._images(group)[number].as_py()
        return [filled[id(row)] for row in rows]

    def _fetch(self, groups: Iterable[str]) -> None:
        missing = sorted(group for group in groups if group not in self._mapped and not self._file(group).exists())
        if missing:
            with ThreadPoolExecutor(FETCHED_AT_ONCE) as threads:
                list(threads.map(self._write, missing))

    def _images(self, group: str) -> pa.Array:
        if group in self._mapped:
            self._mapped.move_to_end(group)
            return self._mapped[group]
        path = self._file(group)
        try:
            os.utime(path)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except FileNotFoundError:  # another process removed it between two batches
            self._write(group)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self._mapped[group] = table.column(0).combine_chunks()
        if len(self._mapped) > MAPPED_AT_ONCE:
            self._mapped.popitem(last=False)
        return self._mapped[group]

    def _file(self, group: str) -> Path:
        return self.folder / f"{hashlib.sha256(group.encode()).hexdigest()[:32]}.arrow"

    def _write(self, group: str) -> None:
        """Fetch a row group; another process that wants it waits, and finds it."""
        target = self._file(group)
        # A lock serves many row groups, so that the folder does not fill with locks.
        with FileLock(self.folder / f"{int(target.stem, 16) % LOCKS}.lock"):
            if target.exists():
                return
            file, column, number = parse_group(group)
            with open_shard(file) as opened:
                shard = pq.ParquetFile(
                    opened, metadata=_metadata(file), pre_buffer=True, page_checksum_verification=True
                )
                table = shard.read_row_group(number, columns=[column], use_threads=False)
            part = target.with_suffix(".part")
            # One at a time, or each makes room for itself and none for the others.
            with FileLock(self.folder / "room.lock"):
                self._make_room(table.nbytes)
                with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                    writer.write_table(table.combine_chunks())
                part.replace(target)

    def _make_room(self, size: int) -> None:
        """Remove what was opened longest ago. Processes that have it mapped keep it, and others fetch it again."""
        kept = []
        for path in self.folder.glob("*.arrow"):
            try:
                found = path.stat()
            except FileNotFoundError:  # removed by another process
                continue
            kept.append((found.st_mtime_ns, found.st_size, path))
        excess = sum(own for _, own, _ in kept) + size - self.limit
        for _, own, path in sorted(kept):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= own


@lru_cache(maxsize=4096)
def _metadata(file: str) -> pq.FileMetaData:
    with open_shard(file) as opened:
        return pq.read_metadata(opened)


def _is_address(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("bytes") is None
        and isinstance(value.get("path"), str)
        and value["path"].startswith(SCHEME)
    )
