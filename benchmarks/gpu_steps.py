"""Step time, model FLOP utilisation and peak memory of CLIP training, on a GPU, or small batches on a CPU.

python -m benchmarks.gpu_steps --output benchmarks/results/gpu.json

Random weights, random pixels and texts that are already on the device: no reading, no decoding. A step is forward,
backward, clipping and AdamW, as the training program takes it.
"""

import gc
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import Accelerator
from transformers import CLIPTextConfig, CLIPVisionConfig

from benchmarks.record import provenance, write_record
from modeling_rsclip import RSCLIPConfig, RSCLIPModel
from train.clip.step import ContrastiveObjective, contrastive_step
from train.engine.config import OptimConfig
from train.engine.optimizer import make_optimizer
from train.engine.sharding import layers_of

LIBRARIES = ("torch", "transformers", "accelerate")
# Dense bf16 peak of the data sheets, in TFLOP/s, by a part of the device's name.
PEAKS = {"B200": 2250.0, "H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 4090": 165.2}
TEXT_TOKENS, VOCABULARY = 77, 49408


@dataclass(frozen=True, kw_only=True)
class Towers:
    """The sizes of a CLIP."""

    width: int
    layers: int
    heads: int
    patch: int
    text_width: int
    text_layers: int
    text_heads: int
    embedding: int
    image: int = 224

    @property
    def image_tokens(self) -> int:
        """Patches and the class token."""
        return (self.image // self.patch) ** 2 + 1


MODELS = {
    "B/32": Towers(
        width=768, layers=12, heads=12, patch=32, text_width=512, text_layers=12, text_heads=8, embedding=512
    ),
    "L/14": Towers(
        width=1024, layers=24, heads=16, patch=14, text_width=768, text_layers=12, text_heads=12, embedding=768
    ),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to train."""

    model: str
    batch: int
    chunks: int = 1
    """Parts of a step under gradient caching; 1 takes the batch whole."""
    compiled: bool = False


GPU_CASES = (
    Case(model="B/32", batch=1024),
    Case(model="B/32", batch=1024, compiled=True),
    Case(model="B/32", batch=8192, chunks=8, compiled=True),
    Case(model="L/14", batch=256),
    Case(model="L/14", batch=256, compiled=True),
    Case(model="L/14", batch=2048, chunks=8, compiled=True),
)
CPU_CASES = (
    Case(model="B/32", batch=8),
    Case(model="B/32", batch=8, chunks=2),
    Case(model="L/14", batch=2),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    output: Path = Path("benchmarks/results/gpu.json")
    """JSON file to write."""
    steps: int | None = None
    """Steps of which the median is taken; 20 on a GPU, 2 on a CPU."""
    models: tuple[str, ...] = tuple(MODELS)
    """Models to measure."""


def main(config: Config) -> None:
    """Measures every case, writes the record and prints its table."""
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    on_gpu = accelerator.device.type == "cuda"
    steps = config.steps or (20 if on_gpu else 2)
    matmul = matmul_tflops(accelerator.device)
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    sheet = next((peak for part, peak in PEAKS.items() if on_gpu and part in name), None)
    record: dict[str, Any] = {
        **provenance(LIBRARIES),
        "device": name,
        "precision": accelerator.mixed_precision if on_gpu else "float32",
        "threads": None if on_gpu else torch.get_num_threads(),
        "matmul_tflops": round(matmul, 4),
        "data_sheet_tflops": sheet,
        "steps": steps,
        "cases": [],
    }
    for case in GPU_CASES if on_gpu else CPU_CASES:
        if case.model in config.models:
            record["cases"].append({**asdict(case), **measured(accelerator, case, steps, sheet or matmul)})
            write_record(config.output, record)
    print(table(record))


def measured(accelerator: Accelerator, case: Case, steps: int, peak: float) -> dict[str, Any]:
    """The figures of a case, or that it does not fit."""
    try:
        seconds, memory, loss = time_steps(accelerator, case, steps)
    except torch.cuda.OutOfMemoryError:
        return {"out_of_memory": True}
    finally:
        accelerator.free_memory()
        gc.collect()
        torch._dynamo.reset()
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
    median = statistics.median(seconds)
    tflops = step_flops(MODELS[case.model], case.batch) / 1e12
    return {
        "seconds": {"median": median, "min": min(seconds), "max": max(seconds)},
        "pairs_per_second": case.batch / median,
        "model_tflop_per_step": tflops,
        "utilisation": tflops / median / peak,
        "peak_memory_gib": memory,
        "loss": loss,
    }


def time_steps(accelerator: Accelerator, case: Case, steps: int) -> tuple[list[float], float, float]:
    """Seconds of each step after those that warm up or compile, the peak of memory in GiB, and the last loss."""
    warm_up = 3 if accelerator.device.type == "cuda" else 1
    torch.manual_seed(0)
    model = build(MODELS[case.model]).train()
    if case.compiled:
        for layer in layers_of(model):
            layer.compile()
    optim = OptimConfig(steps=steps + 10, warmup_steps=1, learning_rate=1e-5)
    optimizer, _ = make_optimizer(model, optim)
    objective, optimizer = accelerator.prepare(ContrastiveObjective(model), optimizer)
    batch = random_batch(MODELS[case.model], case.batch, accelerator.device)
    seconds, loss = [], 0.0
    reset_peak_memory(accelerator.device)
    for _ in range(warm_up + steps):
        start = time.perf_counter()
        result = contrastive_step(accelerator, objective, batch, case.chunks)
        accelerator.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss = result.loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return seconds[warm_up:], peak_memory_gib(accelerator.device), loss


def build(towers: Towers) -> RSCLIPModel:
    """A CLIP of RGB and text, with random weights."""
    vision = CLIPVisionConfig(
        hidden_size=towers.width,
        intermediate_size=4 * towers.width,
        num_hidden_layers=towers.layers,
        num_attention_heads=towers.heads,
        image_size=towers.image,
        patch_size=towers.patch,
    )
    text = CLIPTextConfig(
        hidden_size=towers.text_width,
        intermediate_size=4 * towers.text_width,
        num_hidden_layers=towers.text_layers,
        num_attention_heads=towers.text_heads,
        vocab_size=VOCABULARY,
        max_position_embeddings=TEXT_TOKENS,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
    )
    return RSCLIPModel(
        RSCLIPConfig(
            text_config=text,
            vision_config=vision,
            projection_dim=towers.embedding,
            infrared_tower="shared",
            fusion="none",
            loss_weights={"rgb_text": 1.0},
        )
    )


def random_batch(towers: Towers, rows: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Pixels and texts of full length."""
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(1, VOCABULARY - 2, (rows, TEXT_TOKENS), generator=generator)
    text[:, -1] = VOCABULARY - 1
    batch = {
        "input_ids": text,
        "attention_mask": torch.ones_like(text),
        "pixel_values": torch.randn(rows, 3, towers.image, towers.image, generator=generator),
    }
    return {name: value.to(device) for name, value in batch.items()}


def step_flops(towers: Towers, rows: int) -> float:
    """FLOPs that a step cannot do without: three times the forward pass; what is computed again does not count."""
    patches = 2 * (towers.image_tokens - 1) * 3 * towers.patch**2 * towers.width
    image = (
        patches + tower_flops(towers.width, towers.layers, towers.image_tokens) + 2 * towers.width * towers.embedding
    )
    text = tower_flops(towers.text_width, towers.text_layers, TEXT_TOKENS) + 2 * towers.text_width * towers.embedding
    loss = 2 * rows * towers.embedding
    return 3.0 * rows * (image + text + loss)


def tower_flops(width: int, layers: int, tokens: int) -> int:
    """FLOPs of transformer layers on one sequence: four projections, an MLP four times as wide, and attention."""
    return layers * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width)


def matmul_tflops(device: torch.device) -> float:
    """What a large matrix product reaches here, in TFLOP/s: the best of five."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = min(_seconds(lambda: (first @ second).sum().item()) for _ in range(6))
    return 2 * side**3 / best / 1e12


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def reset_peak_memory(device: torch.device) -> None:
    """The peak starts anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_gib(device: torch.device) -> float:
    """What tensors took on a GPU at most; on a CPU what the process took (Linux)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, "/proc/self/status has no VmHWM"
    return int(match[1]) / 2**20


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    against = "the data sheet" if record["data_sheet_tflops"] else "a large matrix product here"
    threads = f", {record['threads']} threads" if record["threads"] else ""
    lines = [
        f"Device: {record['device']}{threads}, {record['precision']}, {record['date'][:10]}; a large matrix product "
        f"reaches {record['matmul_tflops']:.3g} TFLOP/s. MFU is against {against}.",
        "",
        "| model | pairs a step | in parts of | compiled | step (s) | pairs/s | MFU | peak memory (GiB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(case) for case in record["cases"]]
    return "\n".join(lines) + "\n"


def _line(case: dict[str, Any]) -> str:
    cells: Sequence[str] = ("out of memory", "", "", "")
    if "seconds" in case:
        cells = (
            f"{case['seconds']['median']:.3g}",
            f"{case['pairs_per_second']:.3g}",
            f"{case['utilisation']:.1%}",
            f"{case['peak_memory_gib']:.3g}",
        )
    parts = case["batch"] // case["chunks"]
    head = (case["model"], case["batch"], parts, "yes" if case["compiled"] else "no")
    return f"| {' | '.join(map(str, (*head, *cells)))} |"


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
