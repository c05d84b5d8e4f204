"""The build under faults: `kill -9`, signals, lost workers, full disks. It ends with the bytes of an undisturbed run.

RSCLIP_KILLS=50 kills the build 50 times instead of 20.
"""

import errno
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from build_faults import (
    ROOT,
    build_command,
    environment,
    file_hashes,
    read_manifest,
    require_balanced,
    run_build,
    write_folder,
    written_rows,
)

from dataset_scripts.build_fusionrs import FusionRSConfig, TranslatorConfig, build_fusionrs
from dataset_scripts.durable_files import DiskFullError, file_sha256
from dataset_scripts.engine import EngineConfig
from dataset_scripts.journal import BuildLockedError, Journal, ShardRecord
from dataset_scripts.source_options import SourceOptions

KILLS = int(os.environ.get("RSCLIP_KILLS", "20"))
_KILLS_IN_A_CHAIN = 5
_SCENES, _IMAGES = 120, 40
_STEPS = ("read", "infrared", "infrared_captions", "write")
_OUTCOME = ("README.md", "croissant.json", "manifest.json")
# Where a kill is aimed: at any moment, while a shard is written, when a shard has just got its name, when the journal
# grows, and while the files beside the shards are written.
_AIMS = ("anywhere", "part", "renamed", "journal", "outcome")


@dataclass
class Undisturbed:
    """What a build makes that nobody disturbs."""

    folder: Path
    """The images that go in."""
    output: Path
    hashes: dict[str, str]
    journal_lines: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    folder = write_folder(root / "images", _IMAGES)
    output = root / "fusionrs"
    done = run_build(build_command(output, folder, scenes=_SCENES))
    assert done.returncode == 0, done.stderr
    return Undisturbed(folder, output, file_hashes(output), journal_lines(output))


def work_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.work")


def journal_lines(output: Path) -> int:
    path = work_of(output) / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def start_build(command: Sequence[str], log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start the command as the leader of a process group of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=file, stderr=file, start_new_session=True, **options
        )


def wait_for_journal(process: "subprocess.Popen[bytes]", output: Path, lines: int) -> None:
    """Wait until so many shards are noted."""
    deadline = time.monotonic() + 60
    while journal_lines(output) < lines:
        assert process.poll() is None, "the build ended before it was disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_orphans(group: int, seconds: float = 20.0) -> None:
    """Wait until no process of the group is left; a worker ends when it cannot hand over its shard."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline, f"processes of group {group} outlive the build"
        time.sleep(0.02)


def workers_of(process: "subprocess.Popen[bytes]") -> list[int]:
    """Process ids of the workers of a build."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_worker = b"udf_worker" in path.read_bytes() and os.getpgid(int(path.parent.name)) == process.pid
        except (OSError, ValueError):
            continue
        if is_worker:
            found.append(int(path.parent.name))
    return sorted(found)


def require_as_undisturbed(output: Path, undisturbed: Undisturbed) -> None:
    """Every byte is that of the undisturbed run, and every row is there once."""
    assert file_hashes(output) == undisturbed.hashes
    leftovers = [path for place in (output, work_of(output)) for path in place.rglob("*.part")]
    assert not leftovers
    ids = Counter(row["id"] for row in written_rows(output))
    assert len(ids) == _SCENES + _IMAGES
    assert set(ids.values()) == {1}


def test_the_build_has_all_four_steps_and_accounts_for_every_row(undisturbed: Undisturbed) -> None:
    stages = {stage["stage"]: stage for stage in read_manifest(undisturbed.output)["stages"]}
    assert set(_STEPS) <= set(stages)
    require_balanced(list(stages.values()), _SCENES + _IMAGES)
    assert stages["read"]["rejected"] == {"duplicate_id": 1}
    assert stages["infrared"]["rows_in"] == stages["infrared_captions"]["rows_in"] == _IMAGES
    origins = Counter(row["infrared_origin"] for row in written_rows(undisturbed.output))
    assert origins == {"simulated": _SCENES, "luminance": _IMAGES}
    assert all(row["infrared_captions"] for row in written_rows(undisturbed.output))


@pytest.mark.parametrize("workers", [1, 4])
def test_bytes_do_not_depend_on_the_number_of_workers(undisturbed: Undisturbed, workers: int, tmp_path: Path) -> None:
    output = tmp_path / "fusionrs"
    config = FusionRSConfig(
        source=("simulator", f"folder:{undisturbed.folder}"),
        num_scenes=_SCENES,
        sources=SourceOptions(scene_size=32, license="CC-BY-4.0"),
        rows_per_part=10,
        translator=TranslatorConfig(name="luminance"),
        output=output,
        engine=EngineConfig(workers=workers),
    )
    build_fusionrs(config)
    require_as_undisturbed(output, undisturbed)


class Aim:
    """Says when to kill: after so many journal lines, and then at something that is seen on the disk."""

    def __init__(self, aim: str, output: Path, lines: int, delay_seconds: float) -> None:
        self.aim = aim
        self.output = output
        self.lines = lines
        self.delay_seconds = delay_seconds
        self.before: set[str] = set()
        self.lines_before = 0

    def is_near(self) -> bool:
        """Whether the build has come so far that the aim is taken."""
        if journal_lines(self.output) < self.lines:
            return False
        self.before, self.lines_before = self._files(), journal_lines(self.output)
        return True

    def is_now(self) -> bool:
        """Whether what is aimed at has just happened."""
        if self.aim == "anywhere":
            return True
        if self.aim == "journal":
            return journal_lines(self.output) > self.lines_before
        new = self._files() - self.before
        if self.aim == "part":
            return any(name.endswith(".part") for name in new)
        if self.aim == "renamed":
            return any(name.endswith(".parquet") for name in new)
        return any(outcome in name for name in new for outcome in _OUTCOME)

    def _files(self) -> set[str]:
        places = (self.output, work_of(self.output))
        folders = [self.output, *(place / name for place in places for name in (*_STEPS, "data", "local", "index"))]
        found: set[str] = set()
        for folder in folders:
            try:
                found.update(f"{folder.name}/{name}" for name in os.listdir(folder))  # noqa: PTH208 (speed)
            except FileNotFoundError:
                continue
        return found


@dataclass
class Kill:
    """Where a kill hit."""

    aim: str
    lines: int
    """Journal lines at that moment."""
    has_parts: bool
    """Something was being written."""
    has_unnoted_shard: bool
    """A shard had its name, and no line in the journal."""
    has_manifest: bool
    """The build was over."""


def kill_once(command: Sequence[str], aim: Aim, *, whole_group: bool, log: Path) -> tuple[Kill | None, int]:
    """Start the build and kill it; None where it ended before."""
    process = start_build(command, log)
    try:
        while not aim.is_near():
            if process.poll() is not None:
                return None, process.pid
            time.sleep(0.001)
        if aim.delay_seconds:
            time.sleep(aim.delay_seconds)
        while not aim.is_now():
            if process.poll() is not None:
                return None, process.pid
        kill = os.killpg if whole_group else os.kill
        kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    return _scene(aim), process.pid


def _scene(aim: Aim) -> Kill:
    output, work = aim.output, work_of(aim.output)
    text = (work / "journal.jsonl").read_text() if (work / "journal.jsonl").exists() else ""
    files = [path for place in (output, work) for path in place.rglob("*.parquet")]
    return Kill(
        aim=aim.aim,
        lines=journal_lines(output),
        has_parts=any(path for place in (output, work) for path in place.rglob("*.part")),
        has_unnoted_shard=any(f'"{path.parent.name}/{path.name}"' not in text for path in files),
        has_manifest=(output / "manifest.json").exists(),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Any
) -> None:
    draws = random.Random(20260)
    kills: list[Kill] = []
    missed = 0
    chain = 0
    while len(kills) < KILLS:
        output = tmp_path / f"chain{chain}" / "fusionrs"
        chain += 1
        command = build_command(output, undisturbed.folder, scenes=_SCENES)
        groups = []
        for link in range(min(_KILLS_IN_A_CHAIN, KILLS - len(kills))):
            is_last = link == _KILLS_IN_A_CHAIN - 1
            name = "outcome" if is_last else _AIMS[(link + chain) % (len(_AIMS) - 1)]
            share = undisturbed.journal_lines * (link + 1) // (_KILLS_IN_A_CHAIN + 1)
            lines = undisturbed.journal_lines - 1 if is_last else share
            delay = draws.uniform(0, 0.2) if name == "anywhere" else 0.0
            aim = Aim(name, output, max(lines, journal_lines(output)), delay)
            kill, group = kill_once(command, aim, whole_group=draws.random() < 0.5, log=tmp_path / "log")
            groups.append(group)
            if kill is None:
                missed += 1
                break
            kills.append(kill)
        done = run_build(command)
        assert done.returncode == 0, done.stderr
        require_as_undisturbed(output, undisturbed)
        for group in groups:
            wait_for_orphans(group)
        # Orphans of killed runs may still have been at work; what they write is what is there.
        require_as_undisturbed(output, undisturbed)
    facts = {
        "kills": len(kills),
        "builds": chain,
        "ended before the kill": missed,
        "amid work": sum(kill.lines > 0 and not kill.has_manifest for kill in kills),
        "file half written": sum(kill.has_parts for kill in kills),
        "shard without a line": sum(kill.has_unnoted_shard for kill in kills),
        "beside the shards": sum(kill.lines == undisturbed.journal_lines for kill in kills),
        **{f"aim {name}": sum(kill.aim == name for kill in kills) for name in _AIMS},
    }
    print(facts)
    assert len(kills) == KILLS
    assert facts["amid work"] >= KILLS / 2
    assert facts["file half written"] >= KILLS / 10
    assert facts["shard without a line"] >= KILLS / 10
    assert facts["beside the shards"] >= 1
    assert len({kill.lines for kill in kills}) >= _KILLS_IN_A_CHAIN


def test_a_lost_worker_is_one_clear_error_and_the_next_run_finishes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "fusionrs"
    command = build_command(output, undisturbed.folder, scenes=_SCENES)
    log = tmp_path / "log"
    process = start_build(command, log)
    wait_for_journal(process, output, 1)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    assert process.wait(30) == 1
    text = log.read_text()
    assert "a worker process ended in the middle of its task: it was killed, perhaps because memory ran out" in text
    assert "Traceback" not in text
    assert 1 <= journal_lines(output) < undisturbed.journal_lines
    done = run_build(command)
    assert done.returncode == 0, done.stderr
    wait_for_orphans(process.pid)
    require_as_undisturbed(output, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "driver"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_and_sigterm_end_the_build_in_seconds_with_one_line(
    number: signal.Signals, whole_group: bool, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    output = tmp_path / "fusionrs"
    command = build_command(output, undisturbed.folder, scenes=_SCENES)
    log = tmp_path / "log"
    process = start_build(command, log)
    wait_for_journal(process, output, 2)
    start = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, number)
    assert process.wait(30) == 128 + number
    assert time.monotonic() - start < 5
    text = log.read_text()
    assert f"stopped by {number.name}. What is finished is kept: run the same command again to go on.\n" in text
    assert "Traceback" not in text
    lines = journal_lines(output)
    assert 2 <= lines < undisturbed.journal_lines
    wait_for_orphans(process.pid)
    done = run_build(command)
    assert done.returncode == 0, done.stderr
    require_as_undisturbed(output, undisturbed)


def test_a_temporary_file_of_a_killed_run_is_not_a_foreign_file(undisturbed: Undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "fusionrs"
    output.mkdir()
    (output / ".README.md.4711.part").write_text("half a car")
    config = FusionRSConfig(
        source=("simulator",),
        num_scenes=2,
        sources=SourceOptions(scene_size=16),
        output=output,
        engine=EngineConfig(workers=1),
    )
    build_fusionrs(config)
    assert not (output / ".README.md.4711.part").exists()


def test_a_second_build_does_not_replace_what_the_first_is_writing(tmp_path: Path) -> None:
    output = tmp_path / "fusionrs"
    output.mkdir()
    (output / "manifest.json").write_text('{"config_key": "of other settings"}')
    code = (
        "import sys, time; from pathlib import Path; from dataset_scripts.journal import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(work_of(output))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(BuildLockedError, match="another process is building"):
            build_fusionrs(FusionRSConfig(source=("simulator",), output=output, overwrite=True))
        first.kill()
    assert (output / "manifest.json").read_text() == '{"config_key": "of other settings"}'


class Disk:
    """A file system in memory of a size that can be changed."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.place = place

    def mount(self, size_kilobytes: int) -> None:
        self._run("mount", "-t", "tmpfs", "-o", f"size={size_kilobytes}k", "tmpfs", str(self.place))

    def resize(self, size_kilobytes: int) -> None:
        self._run("mount", "-o", f"remount,size={size_kilobytes}k", str(self.place))

    def leave_no_space(self) -> None:
        facts = os.statvfs(self.place)
        self.resize((facts.f_blocks - facts.f_bfree) * facts.f_frsize // 1024)

    def unmount(self) -> None:
        self._run("umount", str(self.place))

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    try:
        disk.mount(64)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no permission to mount a file system")
    yield disk
    disk.unmount()


def write_a_page(file: Any) -> int:
    """Write 1024 bytes; return 1, or 0 where there was no space."""
    try:
        file.write(bytes(1024))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return 0
        raise
    return 1


def append_all(journal: Journal, records: Iterable[ShardRecord], noted: list[int]) -> None:
    for record in records:
        journal.append(record)
        noted.append(record.facts["rows_in"])


def test_a_journal_on_a_full_disk_says_so_and_goes_on_when_there_is_space(disk: Disk) -> None:
    journal = Journal(disk.place / "journal.jsonl")
    filler = disk.place / "filler"

    def record(number: int) -> ShardRecord:
        facts = {"rows_in": number, "rejected": {}, "sample": ["x" * 600]}
        return ShardRecord(step="read", shard=str(number), key="k", file="f", rows=1, bytes=1, sha256="s", facts=facts)

    journal.append(record(0))
    with filler.open("wb", buffering=0) as file:
        written = sum(iter(lambda: write_a_page(file), 0))
    assert 0 < written < 64
    noted = [0]
    with pytest.raises(
        DiskFullError, match=r"no space is left to write journal\.jsonl in .*disk\. Everything finished"
    ):
        append_all(journal, (record(number) for number in range(1, 20)), noted)
    failed = noted[-1] + 1
    assert journal.last("read", str(failed)) is None
    reopened = Journal(disk.place / "journal.jsonl")
    assert [number for number in range(20) if reopened.last("read", str(number))] == noted
    filler.unlink()
    reopened.append(record(failed))
    again = Journal(disk.place / "journal.jsonl")
    assert [number for number in range(20) if again.last("read", str(number))] == [*noted, failed]
    assert again.last("read", str(failed)) == record(failed)


def run_without_space(command: Sequence[str], place: Path, output: Path, **options: Any) -> str:
    """Run a build that finds no space; return the folder, or the file beside the shards, that it could not write."""
    done = run_build(command, **options)
    assert done.returncode == 1, done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.endswith(
        "Everything finished so far is kept: free some space, or move the folder to a larger disk, and run the same "
        "command again"
    )
    assert "Traceback" not in done.stderr
    assert not list(place.rglob("*.part"))
    journal = Journal(journal_of(command))
    for record in journal._records.values():
        path = (output if record.step == "write" else journal_of(command).parent) / record.file
        assert not path.exists() or file_sha256(path) == record.sha256, "a finished shard is damaged"
    match = re.search(r"no space is left to write (\S+) in (\S+)\. ", message)
    assert match is not None, message
    return match[1] if match[1] in (*_OUTCOME, "journal.jsonl") else Path(match[2]).name


def journal_of(command: Sequence[str]) -> Path:
    return Path(command[command.index("--work") + 1]) / "journal.jsonl"


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", ["work", "output"])
def test_on_a_full_disk_nothing_is_lost_and_with_more_space_the_same_command_finishes(
    on_disk: str, undisturbed: Undisturbed, disk: Disk, tmp_path: Path
) -> None:
    output = (disk.place if on_disk == "output" else tmp_path) / "fusionrs"
    work = (disk.place if on_disk == "work" else tmp_path) / "work"
    command = [*build_command(output, undisturbed.folder, scenes=_SCENES), "--work", str(work)]
    # A disk that is too small from the beginning.
    failed = [run_without_space(command, disk.place, output)]
    disk.resize(20_000)
    done = run_build(command)
    assert done.returncode == 0, done.stderr
    require_as_undisturbed(output, undisturbed)
    # Then one file after the other is missing, the last first, and there is no space for it.
    if on_disk == "work":
        missing = [sorted((work / step).glob("*.parquet"))[0] for step in reversed(_STEPS[:3])]
    else:
        shards = [sorted((output / name).glob("*.parquet"))[0] for name in ("index", "data")]
        missing = [*(output / name for name in reversed(_OUTCOME)), *shards]
    for path in missing:
        path.unlink()
        disk.leave_no_space()
        failed.append(run_without_space(command, disk.place, output))
    disk.resize(20_000)
    done = run_build(command)
    assert done.returncode == 0, done.stderr
    require_as_undisturbed(output, undisturbed)
    expected = [path.name if path.suffix != ".parquet" else path.parent.name for path in missing]
    assert failed == ["read" if on_disk == "work" else "data", *expected]


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_a_full_disk_too(undisturbed: Undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "fusionrs"
    command = [*build_command(output, undisturbed.folder, scenes=_SCENES), "--work", str(tmp_path / "work")]
    for limit, step in ((12_000, "read"), (60_000, "data")):
        limits = {"preexec_fn": partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))}
        assert run_without_space(command, tmp_path, output, **limits) == step
    done = run_build(command)
    assert done.returncode == 0, done.stderr
    require_as_undisturbed(output, undisturbed)
