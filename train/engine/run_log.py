"""The numbers of every step: one line each in `log.jsonl`, a progress bar, and trackers; the first process writes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from accelerate import Accelerator
from tqdm import tqdm

from .config import LogConfig
from .run_config import flat

LOG = "log.jsonl"
Entry = dict[str, Any]


def check_trackers(log: LogConfig) -> None:
    """Refuses a tracker that is not installed, which accelerate would leave out without a word."""
    missing = [name for name in log.to if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"log.to asks for {', '.join(missing)}, which is not installed. Run `pip install {' '.join(missing)}`, or "
            f"leave it out: {LOG} is written in any case."
        )


class RunLog:
    """Takes the entry of each step."""

    def __init__(self, accelerator: Accelerator, file: TextIO | None, bar: Any) -> None:
        self.accelerator, self.file, self.bar = accelerator, file, bar

    def write(self, entry: Entry) -> None:
        """Record what a step gave; on other processes than the first this does nothing."""
        if self.file is None:
            return
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        self.accelerator.log({name: value for name, value in entry.items() if name != "step"}, step=entry["step"])
        self.bar.update()
        self.bar.set_postfix(loss=f"{entry['loss']:.3f}")


@contextmanager
def open_log(
    accelerator: Accelerator, output: Path, config: Any, log: LogConfig, first_step: int, steps: int
) -> Iterator[RunLog]:
    """The log of a run from a step on; steps that will be taken again are removed from `log.jsonl`."""
    is_main = accelerator.is_main_process
    if log.to:
        accelerator.init_trackers(
            log.project,
            config=flat(config),
            init_kwargs={"tensorboard": {"purge_step": first_step + 1}} if "tensorboard" in log.to else {},
        )
    opened = _open_file(output / LOG, first_step) if is_main else nullcontext()
    with (
        opened as file,
        tqdm(total=steps, initial=first_step, desc="train", unit="step", disable=not is_main) as bar,
    ):
        yield RunLog(accelerator, file, bar)


def read_log(path: Path) -> list[Entry]:
    """The entries of a log, by step."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def _open_file(path: Path, first_step: int) -> TextIO:
    kept = []
    if first_step and path.exists():
        # A kill may have cut the last line off; that step is taken again.
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= first_step]
    path.write_text("".join(kept))
    return path.open("a")
