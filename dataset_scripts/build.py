"""Builds a dataset from its sources: `python -m dataset_scripts build fusionrs|rs5m --help`."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import tyro

from .build_fusionrs import FusionRSConfig, build_fusionrs
from .build_rs5m import RS5MConfig, build_rs5m
from .build_run import EmptyBuildError
from .engine import TaskFailedError, WorkerLostError
from .journal import BuildLockedError
from .source_options import source_list

_USAGE = """\
usage: python -m dataset_scripts build fusionrs|rs5m --source NAME[:FOLDER] ... --output DIR [options]

Takes rows of one or several sources to Parquet shards with images inside, a manifest and a card. What was finished
before a crash, a kill or a full disk is kept: run the same command again. `build fusionrs --help` lists the options.

sources:
"""
_DESCRIPTIONS = {
    "fusionrs": "Build FusionRS: RGB-infrared pairs with scene captions and infrared-aware captions. For example\n"
    "  --source simulator --num-scenes 2000\n"
    "  --source folder:photos --sources.infrared-folder infrared --sources.infrared-band nir\n"
    "  --source rsicd:RSICD --translator.name luminance",
    "rs5m": "Build RS5M: remote-sensing images with captions. For example\n"
    "  --source cc3m:cc3m_metadata laion2b:laion2b_metadata fmow:fmow-full --relevance.clip clip-vit-base-patch32",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    dataset, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if dataset not in ("fusionrs", "rs5m"):
        print(_USAGE + source_list())
        if dataset not in ("", "--help", "-h"):
            raise SystemExit(f"{dataset!r} is no dataset of this program; it builds fusionrs and rs5m.")
        return
    try:
        with _stopped_by_signals():
            _build(dataset, rest)
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        _leave(
            f"\nstopped by {number.name}. What is finished is kept: run the same command again to go on.", 128 + number
        )
    except WorkerLostError as error:
        _leave(str(error), 1)
    except (BuildLockedError, EmptyBuildError, TaskFailedError, FileExistsError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from error
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def _leave(message: str, code: int) -> NoReturn:
    """Say why and end. Not by SystemExit: cut off in its work, the engine aborts as the interpreter goes down."""
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM, as cluster schedulers send it, end the build in the way of Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number))

    # Python allows handlers in the main thread only.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build(dataset: str, rest: Sequence[str]) -> None:
    prog = f"python -m dataset_scripts build {dataset}"
    description = f"{_DESCRIPTIONS[dataset]}\n\nsources:\n{source_list()}"
    if dataset == "fusionrs":
        build_fusionrs(tyro.cli(FusionRSConfig, prog=prog, args=rest, description=description))
    else:
        build_rs5m(tyro.cli(RS5MConfig, prog=prog, args=rest, description=description))
