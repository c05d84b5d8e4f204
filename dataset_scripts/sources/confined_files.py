"""Reads files of a source folder by the names that a listing gives, and never a file outside that folder."""

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..stages.rejects import RefusedError

# One image is held in memory at a time; a mosaic of many gigabytes would end the process instead of the row.
MAX_FILE_BYTES = 512 * 2**20
_MAX_NAME_BYTES = 255


def confined_name(name: str) -> str:
    """Return a relative name in one spelling: forward slashes, no `./`, no `//`.

    Raises:
        RefusedError: the name is absolute or climbs out by `..`, or no file can have it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise RefusedError("outside_source_folder", f"{name!a} leads out of the folder of the source")
    if "\0" in name or not is_encodable(name) or any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in path.parts):
        raise RefusedError("missing_image", f"no file can have the name {ascii(name)[:200]}")
    return path.as_posix()


def is_encodable(text: str) -> bool:
    """Whether the text has no lone surrogates, as the names of files have that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else True


def read_confined(folder: Path, name: str, *, missing: str = "missing_image") -> bytes:
    """Read a file below a folder; links are followed as long as they stay below it.

    Args:
        folder: the folder of the source.
        name: what `confined_name` returned.
        missing: the reason to give where there is no such file.

    Raises:
        RefusedError: the file is absent, elsewhere, not a file, too large, or cannot be read.
    """
    path = Path(os.path.realpath(folder / name))
    if not path.is_relative_to(os.path.realpath(folder)):
        raise RefusedError("outside_source_folder", f"{name!r} is a link that leads out of the folder of the source")
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise RefusedError(missing, f"{name!r} is not a regular file")
        if facts.st_size > MAX_FILE_BYTES:
            raise RefusedError(
                "file_too_large", f"{name!r} has {facts.st_size} bytes, at most {MAX_FILE_BYTES}; cut it into tiles"
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RefusedError(missing, f"there is no {name!r}") from error
    except OSError as error:
        raise RefusedError("unreadable_image", f"{name!r}: {error.strerror}") from error


def file_state(folder: Path, name: str) -> str:
    """Name, size and time of change of a file, for fingerprints; a file that is absent has a state too."""
    try:
        facts = (folder / name).stat()
    except (OSError, ValueError):
        return f"{name!a} absent\n"
    return f"{name!a} {facts.st_size} {facts.st_mtime_ns}\n"


def is_file_below(folder: Path, name: str) -> bool:
    """Whether there is such a file; no error where its path is too long or a folder on the way may not be entered."""
    try:
        return (folder / name).is_file()
    except OSError:
        return False


def existing_folder(folder: Path, what: str) -> Path:
    """Return the folder.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{what}: {str(folder)!r} is not a folder. Give the folder that holds the data.")
    return folder
