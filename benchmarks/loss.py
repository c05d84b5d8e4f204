"""Time and memory of the three-pair contrastive loss, forward and backward, beside a plain one and open_clip's.

python -m benchmarks.loss --output benchmarks/results/loss.json --batches 4096 8192

Every measurement has a process of its own. The memory is the peak resident size during the steps over that before
them: gradients of the three embeddings included, the embeddings not. Linux only (/proc/self/status). open_clip is
read from .cache/open_clip.
"""

import json
import multiprocessing
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro

from train.clip.tiled_loss import tiled_pair_loss

REPOSITORY = Path(__file__).parents[1]
PAIRS = ((0, 2), (1, 2), (0, 1))
PairLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    batches: tuple[int, ...] = (4096,)
    """Rows of a batch; all contenders run each of them."""
    ours_alone: tuple[int, ...] = ()
    """Rows of a batch that only the tiled loss runs."""
    width: int = 512
    """Width of the embeddings."""
    rounds: int = 3
    """Rounds; in each, every contender runs once, so that a noisy moment hits all of them."""
    threads: int = 1
    """Threads of each process; more than the cores that are free make all times meaningless."""


def main(config: Config) -> None:
    """Runs contenders in turn and writes the best time, largest peak and ratios within a round."""
    results = [measure_batch(batch, ("rsclip_tiled", "plain", "open_clip"), config) for batch in config.batches]
    results += [measure_batch(batch, ("rsclip_tiled",), config) for batch in config.ours_alone]
    record = {
        "what": "three-pair softmax loss, forward and backward, float32: best CPU and wall seconds, peak extra MiB",
        "results": results,
        "width": config.width,
        "rounds": config.rounds,
        "threads": config.threads,
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"torch": version("torch"), "open_clip": _open_clip_version()},
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    config.output.parent.mkdir(parents=True, exist_ok=True)
    config.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def measure_batch(batch: int, names: tuple[str, ...], config: Config) -> dict[str, Any]:
    """Every contender once a round, each time in a new process."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(config.rounds):
        for name in names:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                runs[name].append(pool.apply(measure, (name, batch, config.width, config.threads)))
            print(batch, name, runs[name][-1], file=sys.stderr, flush=True)
    result: dict[str, Any] = {"batch": batch}
    for name in names:
        result[name] = {
            "cpu_seconds": round(min(run["cpu_seconds"] for run in runs[name]), 3),
            "wall_seconds": round(min(run["wall_seconds"] for run in runs[name]), 3),
            "extra_mib": round(max(run["extra_mib"] for run in runs[name]), 1),
            "loss": runs[name][0]["loss"],
            "gradient_norm": runs[name][0]["gradient_norm"],
        }
    for name in names[1:]:
        pairs = list(zip(runs[name], runs["rsclip_tiled"], strict=True))
        ratios: dict[str, Any] = {"extra_mib": min(peer["extra_mib"] / ours["extra_mib"] for peer, ours in pairs)}
        for clock in ("cpu_seconds", "wall_seconds"):
            times = [peer[clock] / ours[clock] for peer, ours in pairs]
            ratios[clock] = {"median": statistics.median(times), "min": min(times), "max": max(times)}
        result[f"{name}_over_rsclip_tiled"] = ratios
    return result


def measure(name: str, batch: int, width: int, threads: int) -> dict[str, float]:
    """One step of a contender in this process, after a small one that loads kernels."""
    torch.set_num_threads(threads)
    pair_loss = CONTENDERS[name]()
    three_pair_step(pair_loss, *three_modalities(64, width))
    embeddings, scale = three_modalities(batch, width)
    before = _resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start, cpu_start = time.perf_counter(), time.process_time()
    loss = three_pair_step(pair_loss, embeddings, scale)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    extra = _resident_mib("VmHWM") - before
    norms = [tensor.grad.norm() for tensor in (*embeddings, scale) if tensor.grad is not None]
    return {
        "cpu_seconds": cpu_seconds,
        "wall_seconds": seconds,
        "extra_mib": extra,
        "loss": loss.item(),
        "gradient_norm": torch.stack(norms).norm().item(),
    }


def three_modalities(batch: int, width: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Unit embeddings of one scene each, with noise, and the scale that CLIP ends with."""
    generator = torch.Generator().manual_seed(batch)
    scene = torch.randn(batch, width, generator=generator)
    embeddings = [
        F.normalize(scene + 2 * torch.randn(batch, width, generator=generator), dim=-1).requires_grad_()
        for _ in range(3)
    ]
    return embeddings, torch.tensor(100.0, requires_grad=True)


def three_pair_step(pair_loss: PairLoss, embeddings: list[torch.Tensor], scale: torch.Tensor) -> torch.Tensor:
    """RGB with text, infrared with text, RGB with infrared: their sum, and its gradients."""
    loss = sum((pair_loss(embeddings[i], embeddings[j], scale) for i, j in PAIRS), torch.zeros(()))
    loss.backward()
    return loss.detach()


def _load_tiled() -> PairLoss:
    return lambda first, second, scale: tiled_pair_loss("softmax", first, second, scale, None)


def _load_plain() -> PairLoss:
    def plain(first: torch.Tensor, second: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        logits, target = scale * first @ second.t(), torch.arange(len(first))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2

    return plain


def _load_open_clip() -> PairLoss:
    """open_clip imports torchvision, whose builds may not match torch; the loss uses none of its operators."""
    folder = REPOSITORY / ".cache" / "open_clip"
    if not (folder / "open_clip").is_dir():
        raise FileNotFoundError(f"open_clip is not in {folder}; `make setup` puts it there.")
    sys.path.insert(0, str(folder))
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.define(f"_{name}_backward(Tensor x) -> Tensor")
    from open_clip.loss import ClipLoss

    loss: PairLoss = ClipLoss()
    return loss


CONTENDERS: dict[str, Callable[[], PairLoss]] = {
    "rsclip_tiled": _load_tiled,
    "plain": _load_plain,
    "open_clip": _load_open_clip,
}


def _resident_mib(field: str) -> float:
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, f"/proc/self/status has no {field}"
    return int(match[1]) / 1024


def _open_clip_version() -> str:
    return next((REPOSITORY / ".cache" / "open_clip").glob("open_clip_torch-*.dist-info")).stem.split("-")[1]


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
