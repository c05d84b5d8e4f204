"""The whole mission on one laptop, with the commands a user would type; the result is a report.

python -m model_cards.demo --output demo

Exit code 0 means that every step did its job: `Check` says what that is.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from tqdm import tqdm

from .demo_checks import Check, run_checks
from .demo_reload import reload_in_fresh_process
from .demo_report import write_report

CORES = os.cpu_count() or 1
ARMS = {"tri-modal": "debug", "RGB only": "debug-rgb-only"}
# Where minutes count, more steps at a higher rate tell infrared apart better than a third layer does, and Muon learns
# faster than AdamW.
FAST_CLIP = {"model.size.vision-layers": 2, "optim.optimizer": "muon", "optim.learning-rate": 2e-3}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """How large the demo is. The defaults take about seven minutes on two cores."""

    output: Path = Path("demo")
    """Folder of the report, the runs and the results."""
    data: Path = Path("fusionrs")
    """Folder of the simulated dataset; afterwards `load_dataset("fusionrs")` works here."""
    rows: int = 3700
    """Scenes to simulate; 27 % of them are held out for retrieval."""
    size: int = 128
    """Side of the simulated images in pixels."""
    clip_steps: int = 320
    """Training steps of each CLIP."""
    captioner_steps: int = 220
    """Training steps of the captioner."""
    caption_rows: int = 64
    """Held-out rows to caption in all ways."""
    seed: int = 0
    """Seed of data and training."""
    overwrite: bool = False
    """Replace an earlier demo and its dataset."""


def main() -> None:
    """Runs all steps, writes the report, and fails if a step did not do its job."""
    config = tyro.cli(DemoConfig, description=__doc__)
    started = time.time()
    if config.output.exists():
        if not config.overwrite:
            sys.exit(f"{config.output} exists. Choose another --output, or pass --overwrite.")
        shutil.rmtree(config.output)
    (config.output / "logs").mkdir(parents=True)

    simulate(config)
    train_arms(config)
    evaluate_arms(config)
    train_captioner(config)
    evaluate_captions(config)
    reload = reload_in_fresh_process(config.output, config.data)
    (config.output / "reload.json").write_text(json.dumps(reload, indent=2) + "\n")

    checks = run_checks(config.output, config.data)
    report = write_report(config.output, config.data, checks, time.time() - started)
    finish(checks, report, time.time() - started)


def simulate(config: DemoConfig) -> None:
    """Simulated scenes as a FusionRS folder."""
    print("1/6  simulate scenes", flush=True)
    options = {
        "source": "simulator",
        "output": config.data,
        "num_scenes": config.rows,
        "sources.scene-size": config.size,
        "sources.scene-seed": config.seed,
        "splits.validation": 0.03,
        "splits.test": 0.27,
        "workers": CORES,
    }
    overwrite = ["--overwrite"] if config.overwrite else []
    command = python("dataset_scripts", "build", "fusionrs", *flags(**options), *overwrite)
    subprocess.run(command, check=True)


def train_arms(config: DemoConfig) -> None:
    """The tri-modal CLIP and its control, one after the other, so that the time of each is its own."""
    print("2/6  train two CLIPs: tri-modal, and RGB only", flush=True)
    for name, preset in ARMS.items():
        output = config.output / folder_of(name)
        options = {
            "data.path": config.data,
            "output": output,
            "seed": config.seed,
            "optim.steps": config.clip_steps,
            **FAST_CLIP,
        }
        command = accelerate("train.train_clip", preset, *flags(**options))
        follow({name: command}, config, config.clip_steps, "step", partial(count_lines, output / "log.jsonl"))


def evaluate_arms(config: DemoConfig) -> None:
    """Retrieval of both CLIPs on held-out scenes."""
    print("3/6  retrieve held-out scenes", flush=True)
    commands, results = {}, []
    for name in ARMS:
        results.append(config.output / "results" / f"{folder_of(name)}.json")
        options = {
            "model": config.output / folder_of(name) / "model",
            "data": config.data,
            "output": results[-1].parent,
            "name": results[-1].stem,
        }
        commands[f"evaluate {name}"] = python("evaluation", "run", "retrieval-fusionrs", *flags(**options))
    follow(commands, config, len(results), "model", lambda: sum(path.exists() for path in results))


def train_captioner(config: DemoConfig) -> None:
    """A captioner on the towers of the tri-modal CLIP."""
    print("4/6  train the captioner", flush=True)
    output = config.output / "captioner"
    options = {
        "model.clip": config.output / folder_of("tri-modal") / "model",
        "data.path": config.data,
        "output": output,
        "seed": config.seed,
        "optim.steps": config.captioner_steps,
    }
    commands = {"captioner": accelerate("train.train_captioner", "debug", *flags(**options))}
    follow(commands, config, config.captioner_steps, "step", lambda: count_lines(output / "log.jsonl"))


def evaluate_captions(config: DemoConfig) -> None:
    """Captions of held-out scenes from RGB, infrared and the pair."""
    print("5/6  caption held-out scenes", flush=True)
    options = {
        "model": config.output / "captioner" / "model",
        "data": config.data,
        "rows": config.caption_rows,
        "output": config.output / "results",
    }
    subprocess.run(python("evaluation", "run", "captions", *flags(**options)), check=True, env=environment(CORES))


def finish(checks: list[Check], report: Path, seconds: float) -> None:
    """Says what each step showed; exits with 1 if one did not do its job."""
    for check in checks:
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.what}: {check.found}")
    print(f"{report} in {seconds:.0f} s")
    if not all(check.passed for check in checks):
        sys.exit(1)


def follow(commands: dict[str, list[str]], config: DemoConfig, total: int, unit: str, done: Callable[[], int]) -> None:
    """Runs commands side by side under one progress bar, their output in log files.

    Raises:
        RuntimeError: A command failed; the message ends with the end of its log.
    """
    share = max(1, CORES // len(commands))
    logs = {name: config.output / "logs" / f"{name.replace(' ', '-')}.log" for name in commands}
    running = {}
    for name, command in commands.items():
        with logs[name].open("w") as log:
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment(share))
    try:
        with tqdm(total=total, unit=unit) as bar:
            while any(process.poll() is None for process in running.values()):
                bar.update(done() - bar.n)
                time.sleep(0.3)
            bar.update(done() - bar.n)
    finally:
        for process in running.values():
            process.terminate()
    for name, process in running.items():
        if process.wait() != 0:
            raise RuntimeError(f"{name} failed with exit code {process.returncode}:\n{logs[name].read_text()[-3000:]}")


def python(module: str, *arguments: str) -> list[str]:
    """A module of this repository as a command."""
    return [sys.executable, "-m", module, *arguments]


def accelerate(module: str, *arguments: str) -> list[str]:
    """A training program under `accelerate launch`, one process."""
    launch = ["--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return python("accelerate.commands.launch", *launch, "-m", module, *arguments)


def flags(**options: object) -> list[str]:
    """Command-line options; underscores become dashes."""
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def environment(threads: int) -> dict[str, str]:
    """The environment of a step: its share of the cores, without spinning while others work, and no network."""
    threading = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **threading, "HF_HUB_OFFLINE": "1"}


def folder_of(arm: str) -> str:
    """The folder name of an arm."""
    return f"clip-{arm.lower().replace(' ', '-')}"


def count_lines(path: Path) -> int:
    """Lines of a file that may not exist yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    main()
