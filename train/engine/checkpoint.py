"""Checkpoints that are whole or absent: written beside their place, hashed, flushed, and renamed when complete.

A manifest of sizes and SHA-256 is written last. A checkpoint counts only if every file is as its manifest says; the
newest one that does is resumed from, so a kill, a full disk or a damaged byte costs one save at most.
"""

import errno
import hashlib
import json
import os
import re
import resource
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{9})")
_TEMPORARY = ".part"
_ROOM_BYTES = 2**20

Writers = Mapping[str, Callable[[Path], None]]


class CheckpointDiskFullError(OSError):
    """No space was left for a checkpoint; those before it are untouched."""


class BrokenCheckpointWarning(UserWarning):
    """A checkpoint was passed over because a file of it is not what was written."""


def save_checkpoint(folder: Path, step: int, writers: Writers, *, keep: int = 2) -> Path:
    """Write a checkpoint, and then remove all but the last `keep` whole ones.

    Args:
        folder: where the checkpoints of a run are.
        step: number of optimizer steps that are done.
        writers: for each file name a function that writes it to the path it is given.
        keep: whole checkpoints to keep, at least 1.

    Raises:
        CheckpointDiskFullError: the disk is full.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; the last good checkpoint must stay, so it must be at least 1.")
    if MANIFEST in writers or not writers:
        raise ValueError(f"a checkpoint needs files, none of them named {MANIFEST}; got {sorted(writers)}.")
    final = folder / f"step-{step:09d}"
    temporary = folder / f".step-{step:09d}.{os.getpid()}{_TEMPORARY}"
    folder.mkdir(parents=True, exist_ok=True)
    if final.exists() and find_damage(final) is None:  # a run that was resumed from before it comes by again
        return final
    try:
        _write_files(temporary, writers)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _flush(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if _is_disk_full(error):
            raise CheckpointDiskFullError(
                errno.ENOSPC,
                f"no space is left to write checkpoint {final.name} in {folder}. Checkpoints before it are whole: free "
                "some space and run the same command with --save.resume.",
            ) from error
        raise
    _prune(folder, keep, newest=final)
    return final


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint, or None where there is none; broken ones are named in a warning."""
    for path in sorted(_checkpoints(folder), reverse=True):
        problem = find_damage(path)
        if problem is None:
            return path
        warnings.warn(
            f"checkpoint {path} is not used: {problem}. The one before it is tried.",
            BrokenCheckpointWarning,
            stacklevel=2,
        )
    return None


def find_damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, None if every file is as it was written."""
    try:
        recorded = json.loads((checkpoint / MANIFEST).read_bytes())
        text = json.dumps(recorded["files"], sort_keys=True)
        seal, files = recorded["sha256"], recorded["files"]
    except FileNotFoundError:
        return f"it has no {MANIFEST}, so its writing was cut off"
    except (ValueError, KeyError, TypeError):
        return f"its {MANIFEST} cannot be read"
    if hashlib.sha256(text.encode()).hexdigest() != seal:
        return f"its {MANIFEST} is damaged"
    found = {path.name for path in checkpoint.iterdir()} - {MANIFEST}
    if found != set(files):
        return f"its files are {sorted(found)}, its manifest names {sorted(files)}"
    for name, facts in files.items():
        size = (checkpoint / name).stat().st_size
        if size != facts["bytes"]:
            return f"{name} has {size} bytes, {facts['bytes']} were written"
        if _sha256(checkpoint / name) != facts["sha256"]:
            return f"the content of {name} is not what was written"
    return None


def step_of(checkpoint: Path) -> int:
    """The optimizer steps behind a checkpoint."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint.name!r} is not the name of a checkpoint.")
    return int(match[1])


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed save left."""
    for path in folder.glob(f".step-*{_TEMPORARY}"):
        shutil.rmtree(path, ignore_errors=True)


def _write_files(temporary: Path, writers: Writers) -> None:
    """Write and flush every file, the manifest last."""
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    files = {}
    for name, write in writers.items():
        path = temporary / name
        try:
            write(path)
        except (RuntimeError, SafetensorError) as error:  # neither torch nor safetensors raises OSError
            raise OSError(_errno_of(error, path), str(error)) from error
        _flush(path)
        files[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    seal = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    manifest = temporary / MANIFEST
    manifest.write_text(json.dumps({"files": files, "sha256": seal}, indent=2, sort_keys=True) + "\n")
    _flush(manifest)
    _flush(temporary)


def _errno_of(error: Exception, path: Path) -> int:
    """safetensors writes the number into its text; torch none, so there a disk without room is a full one."""
    number = re.search(r"os error (\d+)", str(error))
    if number is not None:
        return int(number[1])
    return errno.ENOSPC if _is_at_limit(path) else errno.EIO


def _is_at_limit(path: Path) -> bool:
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    is_largest = largest != resource.RLIM_INFINITY and path.exists() and path.stat().st_size >= largest
    return is_largest or shutil.disk_usage(path.parent).free < _ROOM_BYTES


def _prune(folder: Path, keep: int, newest: Path) -> None:
    """Remove older checkpoints; the newest was hashed as it was written, the others are verified before they count."""
    kept = 0
    for path in sorted(_checkpoints(folder), reverse=True):
        if path > newest or kept >= keep:  # one is beyond the newest if a run went further and was then resumed
            shutil.rmtree(path)
        elif path == newest or find_damage(path) is None:
            kept += 1


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("step-*") if path.is_dir() and _NAME.fullmatch(path.name)]


def _is_disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
