"""Checkpoints survive kills, damage and a full disk."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from train.engine.checkpoint import (
    BrokenCheckpointWarning,
    CheckpointDiskFullError,
    find_damage,
    newest_checkpoint,
    remove_leftovers,
    save_checkpoint,
    step_of,
)

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("RSCLIP_KILLS", "100"))


def save(folder: Path, step: int, keep: int = 3) -> Path:
    weights = {"weight": torch.arange(64.0) * step}
    writers = {
        "model.safetensors": lambda path: save_file(weights, path),
        "optimizer.pt": lambda path: torch.save(weights, path),
        "position.txt": lambda path: path.write_text(str(step)),
    }
    return save_checkpoint(folder, step, writers, keep=keep)


def test_what_was_saved_is_found_and_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000030", "step-000000040"]
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert step_of(newest) == 40
    assert torch.equal(load_file(newest / "model.safetensors")["weight"], torch.arange(64.0) * 40)
    assert newest_checkpoint(tmp_path / "nothing") is None


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "position.txt", "manifest.json"])
def test_every_flip_truncation_and_deletion_is_found_and_the_one_before_is_used(tmp_path: Path, name: str) -> None:
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    path = second / name
    good = path.read_bytes()
    choose = random.Random(name)
    damages: list[bytes | None] = [None, b"", good[:1], good[:-1], good + b"\0"]
    for _ in range(50):
        flipped = bytearray(good)
        flipped[choose.randrange(len(good))] ^= 1 << choose.randrange(8)
        damages.append(bytes(flipped))
    for damage in [damage for damage in damages if damage != good]:
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        if name == "manifest.json" and damage is not None and find_damage(second) is None:
            # White space of the manifest carries nothing.
            assert damage.split() == good.split() or damage == good + b"\0"
            continue
        with pytest.warns(BrokenCheckpointWarning, match="step-000000002 is not used"):
            assert newest_checkpoint(tmp_path) == first
    path.write_bytes(good)
    assert newest_checkpoint(tmp_path) == second


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "position.txt", "manifest.json"])
def test_every_length_that_a_file_can_be_cut_to_is_found(tmp_path: Path, name: str) -> None:
    checkpoint = save(tmp_path, 2)
    good = (checkpoint / name).read_bytes()
    for length in range(len(good) - 1, -1, -1):
        os.truncate(checkpoint / name, length)
        if good[:length].strip() != good.strip():  # the manifest ends with a line break that carries nothing
            assert find_damage(checkpoint) is not None, length


def test_a_stray_file_or_folder_is_never_taken_for_a_checkpoint(tmp_path: Path) -> None:
    good = save(tmp_path, 5)
    (tmp_path / "step-000000009").mkdir()
    (tmp_path / "step-last").mkdir()
    (tmp_path / ".step-000000010.1.part").mkdir()
    with pytest.warns(BrokenCheckpointWarning, match="its writing was cut off"):
        assert newest_checkpoint(tmp_path) == good
    (good / "notes.txt").write_text("mine")
    assert "its files are" in str(find_damage(good))
    remove_leftovers(tmp_path)
    assert not (tmp_path / ".step-000000010.1.part").exists()


def test_the_only_good_checkpoint_is_not_pruned_for_broken_ones(tmp_path: Path) -> None:
    good = save(tmp_path, 1, keep=2)
    broken = save(tmp_path, 2, keep=2)
    (broken / "position.txt").write_text("?")
    save(tmp_path, 3, keep=2)
    assert good.exists()
    save(tmp_path, 4, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]


def test_a_step_that_is_saved_again_is_left_as_it_is_unless_it_is_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    inode = path.stat().st_ino
    assert save(tmp_path, 7).stat().st_ino == inode
    (path / "position.txt").write_text("8")
    assert find_damage(save(tmp_path, 7)) is None


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    good = save(tmp_path, 1)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    big = {"weight": torch.zeros(100_000)}
    try:
        for name, write in {
            "model.safetensors": lambda path: save_file(big, path),
            "optimizer.pt": lambda path: torch.save(big, path),
            "text.txt": lambda path: path.write_text("x" * 300_000),
        }.items():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
            with pytest.raises(CheckpointDiskFullError, match="no space is left to write checkpoint step-000000002"):
                save_checkpoint(tmp_path, 2, {name: write})
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            assert [path.name for path in tmp_path.iterdir()] == [good.name]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert newest_checkpoint(tmp_path) == good


def test_a_disk_that_fills_up_at_any_file_is_one_clear_error_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    """On a file system in memory, of each size from what the first checkpoint needs to what both need."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, "size=4m")
    try:
        weights = {"weight": torch.arange(16_384.0)}
        writers = {
            "model.safetensors": lambda path: save_file(weights, path),
            "optimizer.pt": lambda path: torch.save(weights, path),
            "text.txt": lambda path: path.write_text("x" * 60_000),
        }
        good = save_checkpoint(disk, 1, writers)
        used = disk_pages(disk)
        needed = None
        for room in range(0, 80, 4):
            mount(disk, f"remount,nr_blocks={used + room}")
            try:
                save_checkpoint(disk, 2, writers)
            except CheckpointDiskFullError as error:
                message = str(error)
            else:
                needed = room
                break
            assert "no space is left to write checkpoint step-000000002" in message
            assert "Checkpoints before it are whole" in message
            assert [path.name for path in disk.iterdir()] == [good.name], room
            assert newest_checkpoint(disk) == good
        assert needed is not None
        assert needed > 40, "too few sizes failed to have met every file"
        assert newest_checkpoint(disk) != good
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def mount(place: Path, options: str) -> None:
    """A file system in memory; only root may have one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if options.startswith("remount"):
        command = ["mount", "-o", options, str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no permission to mount a file system")


def disk_pages(place: Path) -> int:
    facts = os.statvfs(place)
    return facts.f_blocks - facts.f_bfree


def test_what_a_killed_save_left_is_removed_by_the_next_run_and_takes_no_place_of_a_checkpoint(tmp_path: Path) -> None:
    """A half written folder, and an old checkpoint that was half removed."""
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    (tmp_path / "step-000000002" / "optimizer.pt").unlink()
    (tmp_path / ".step-000000004.77.part").mkdir()
    remove_leftovers(tmp_path)
    save(tmp_path, 5, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003", "step-000000005"]


@pytest.mark.slow
@pytest.mark.timeout(300 + 3 * KILLS)
def test_no_kill_inside_a_save_loses_a_checkpoint_that_was_reported(tmp_path: Path) -> None:
    choose = random.Random(0)
    reported = inside = 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests" / "checkpoint_saver.py"), str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(KILLS):
            process.stdin.write("go\n")
            process.stdin.flush()
            word, step, child = process.stdout.readline().split()
            assert word == "begin"
            assert int(step) >= reported, "a checkpoint that was reported is gone"
            for _ in range(choose.randint(1, 3)):
                reported = int(process.stdout.readline().split()[1])
            time.sleep(choose.random() * 0.02)
            os.kill(int(child), signal.SIGKILL)
            while (line := process.stdout.readline()) != "ended\n":
                reported = int(line.split()[1])
            inside += any(path.name.endswith(".part") for path in tmp_path.iterdir())
        process.stdin.close()
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert step_of(newest) >= reported
    weights = load_file(newest / "model.safetensors")["weight"]
    assert torch.equal(weights, torch.full((512, 512), float(step_of(newest))))
    print(f"{KILLS} kills, {inside} inside a save, {reported} checkpoints reported, 0 lost")
    assert inside >= KILLS // 2, f"only {inside} of {KILLS} kills hit a save"
