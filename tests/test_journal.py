"""The journal of finished shards, and files that are whole or absent."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from dataset_scripts.durable_files import (
    DiskFullError,
    file_sha256,
    is_leftover,
    named_disk_errors,
    remove_leftovers,
    write_durably,
    write_text_durably,
)
from dataset_scripts.journal import BuildLockedError, Journal, ShardRecord, content_key, locked

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def record_of(folder: Path, shard: str, text: str = "rows", *, key: str = "wanted", step: str = "read") -> ShardRecord:
    """Write a file, and say of it what a step would say."""
    path = folder / f"{shard}.parquet"
    path.write_text(text)
    facts = {"rows_in": 2, "rejected": {"empty": 1}, "sample": [{"id": "\u6cb3", "reason": "empty", "detail": "\n"}]}
    return ShardRecord(
        step=step,
        shard=shard,
        key=key,
        file=path.name,
        rows=1,
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        facts=facts,
    )


def test_what_is_noted_is_found_by_another_journal_and_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "work" / "journal.jsonl"
    journal = Journal(path)
    record = record_of(tmp_path, "a")
    journal.append(record)
    for one in (journal, Journal(path)):
        assert one.find("read", "a", "wanted", tmp_path) == record
        assert one.find("read", "a", "other", tmp_path) is None
        assert one.find("read", "b", "wanted", tmp_path) is None
        assert one.find("write", "a", "wanted", tmp_path) is None
        assert one.last("read", "a") == record
    # Manifests are made of facts; the order of keys must not tell a run that was resumed from one that was not.
    found = Journal(path).last("read", "a")
    assert found is not None
    assert json.dumps(asdict(found)) == json.dumps(asdict(record))


def test_the_last_line_of_a_shard_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(record_of(tmp_path, "a", "first"))
    second = record_of(tmp_path, "a", "second", key="new")
    journal.append(second)
    for one in (journal, Journal(path)):
        assert one.find("read", "a", "wanted", tmp_path) is None
        assert one.find("read", "a", "new", tmp_path) == second


@pytest.mark.parametrize("damage", [b"", b"row", b"rowz", b"rows and more", None])
def test_a_file_that_is_not_the_noted_one_is_not_found(tmp_path: Path, damage: bytes | None) -> None:
    journal_path = tmp_path / "journal.jsonl"
    Journal(journal_path).append(record_of(tmp_path, "a"))
    file = tmp_path / "a.parquet"
    file.unlink() if damage is None else file.write_bytes(damage)
    assert Journal(journal_path).find("read", "a", "wanted", tmp_path) is None
    file.write_text("rows")
    assert Journal(journal_path).find("read", "a", "wanted", tmp_path) is not None


def test_a_journal_cut_at_any_byte_loses_one_line_at_most_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    records = [record_of(tmp_path, name) for name in "abc"]
    ends = []
    for record in records:
        Journal(path).append(record)
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    extra = record_of(tmp_path, "z")
    near_ends = {end + offset for end in ends for offset in range(-3, 3)}
    for length in sorted({*range(0, len(whole), 9), *near_ends} & set(range(len(whole) + 1))):
        path.write_bytes(whole[:length])
        # A line without its line feed is whole.
        there = [record for record, end in zip(records, ends, strict=True) if length >= end - 1]
        journal = Journal(path)
        assert [journal.last("read", name) for name in "abc"] == [*there, *[None] * (3 - len(there))]
        journal.append(extra)
        after = Journal(path)
        assert [after.last("read", name) for name in "abcz"] == [*there, *[None] * (3 - len(there)), extra]


def test_a_line_with_any_flipped_bit_is_ignored_and_never_misread(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    records = [record_of(tmp_path, name) for name in "ab"]
    for record in records:
        Journal(path).append(record)
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x11,)) + whole[at + 1 :])
        journal = Journal(path)
        found = [journal.last("read", name) for name in "ab"]
        assert all(one in (None, record) for one, record in zip(found, records, strict=True))
        if at != second - 1:
            assert found == ([None, records[1]] if at < second else [records[0], None]) or at == len(whole) - 1


def test_zeros_at_the_end_as_a_lost_machine_leaves_them_hide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = record_of(tmp_path, "a"), record_of(tmp_path, "b")
    Journal(path).append(first)
    with path.open("ab") as file:
        file.write(bytes(300))
    Journal(path).append(second)
    assert [Journal(path).last("read", name) for name in "ab"] == [first, second]


def test_keys_do_not_depend_on_the_order_of_settings_and_take_any_name() -> None:
    assert content_key("read", {"a": 1, "b": [2]}) == content_key("read", {"b": [2], "a": 1})
    values = ["a", 1, 1.5, "1", None, ["a"], {"a": None}, "caf\u00e9", "cafe\u0301", "caf\udce9", ("a", "b")]
    assert len({content_key(value) for value in values}) == len(values)
    assert content_key() != content_key(None) != content_key([])
    assert len(content_key("read")) == 64


def test_a_work_folder_is_held_by_one_process_and_free_after_its_death(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dataset_scripts.journal import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        message = f"another process is building in {tmp_path}; wait for it, or choose another --output"
        with pytest.raises(BuildLockedError, match=message), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "card.md"
    write_text_durably(path, "old \u6cb3\n")
    assert path.read_bytes() == "old \u6cb3\n".encode()

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert is_leftover(temporary.name)
        assert str(os.getpid()) in temporary.name
        raise RuntimeError("no more rows")

    with pytest.raises(RuntimeError, match="no more rows"):
        write_durably(path, fail)
    assert path.read_bytes() == "old \u6cb3\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["card.md"]
    write_durably(path, lambda temporary: temporary.touch())
    assert file_sha256(path) == EMPTY_SHA256


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().suffix or 'folder'}")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        events.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    write_text_durably(tmp_path / "card.md", "text")
    assert events == ["fsync .part", "rename", "fsync folder"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"),
        OSError("Error writing bytes to file. Detail: [errno 27] File too large"),
    ],
)
def test_every_form_of_a_full_disk_is_one_error_that_says_what_to_do(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(DiskFullError) as raised, named_disk_errors(tmp_path / "train.parquet"):
        raise error
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.__cause__ is error
    assert str(raised.value) == (
        f"[Errno 28] no space is left to write train.parquet in {tmp_path}. Everything finished so far is kept: free "
        "some space, or move the folder to a larger disk, and run the same command again"
    )


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), OSError("[errno 2800] odd"), ValueError("x")])
def test_other_errors_keep_their_names(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, named_disk_errors(tmp_path):
        raise error
    assert raised.value is error


def test_a_folder_that_cannot_be_made_for_lack_of_space_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(DiskFullError, match=r"no space is left to write a\.txt"):
        write_text_durably(tmp_path / "folder" / "a.txt", "text")


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    left = (".a.parquet.12.part", "read/.b.parquet.7.part", "read/.b.parquet.7.spool.part")
    kept = ("a.parquet", "read/b.part", ".hidden", "read/.b.partial", ".part.txt")
    for name in (*left, *kept):
        (tmp_path / name).touch()
    assert [is_leftover(Path(name).name) for name in (*left, *kept)] == [True] * 3 + [False] * 5
    remove_leftovers(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(kept)
    remove_leftovers(tmp_path / "absent")
