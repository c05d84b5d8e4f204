"""Whole runs of `train.train_clip` on small towers, in processes of their own, as a launcher would start them."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
SMALL = {
    "model.size.image-size": 32,
    "model.size.width": 32,
    "model.size.vision-layers": 1,
    "model.size.text-layers": 1,
    "model.size.heads": 2,
    "model.size.vocabulary": 400,
    "optim.batch-size": 9,
    "optim.steps": 9,
    "optim.warmup-steps": 2,
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": "1",
        "MASTER_PORT": str(free_port()),
        "ACCELERATE_USE_CPU": "true",
    }


def ranks_of(command: list[str], ranks: int, **options: object) -> list[subprocess.Popen]:
    shared = environment()
    return [
        subprocess.Popen(
            [*command, str(rank), str(ranks)] if command[1].endswith("/train_ranks.py") else command,
            env={
                **shared,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1",
            },
            **options,
        )
        for rank in range(ranks)
    ]


def finish(processes: list[subprocess.Popen], expected: int = 0, timeout_seconds: float = 500) -> None:
    """Wait for all; none is left behind when one hangs."""
    deadline = time.monotonic() + timeout_seconds
    try:
        codes = [process.wait(timeout=max(0.0, deadline - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [expected] * len(processes)


def arguments(data: Path, output: Path, *options: str, workers: int = 0) -> list[str]:
    """The command line of a small run; options replace what is small by default."""
    small = [part for name, value in SMALL.items() for part in (f"--{name}", str(value)) if f"--{name}" not in options]
    return [
        *("debug", *small),
        *("--data.path", str(data), "--data.workers", str(workers), "--output", str(output), *options),
    ]


def launch(data: Path, output: Path, ranks: int, *options: str, workers: int = 0) -> list[subprocess.Popen]:
    return ranks_of(
        [sys.executable, "-m", "train.train_clip", *arguments(data, output, *options, workers=workers)],
        ranks,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def entries(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def losses(output: Path) -> list[float]:
    return [entry["loss"] for entry in entries(output)]


def assert_same_run(found: Path, wanted: Path) -> None:
    """Every logged number and every weight, to the bit."""
    assert entries(found) == entries(wanted)
    wanted_weights = weights(wanted)
    assert weights(found).keys() == wanted_weights.keys()
    assert all(torch.equal(value, wanted_weights[name]) for name, value in weights(found).items())
