"""Time and memory of the captioner: the loss in parts, image tokens merged, and parts of similar length.

python -m benchmarks.captioner --output benchmarks/results/captioner.json

Every measurement has a process of its own. Times are CPU seconds, so that other work on the machine counts little;
memory is the peak resident size during the step over that before it. Linux only (/proc/self/status).
"""

import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import Accelerator

from modeling_rsclip import RSCaptionerConfig, RSCaptionerForConditionalGeneration
from modeling_rsclip.losses_rscaptioner import chunked_causal_loss
from train.captioner.step import captioning_step, split_rows

from .record import provenance, write_record

IMAGE, WORD = 4, 10


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    output: Path
    """JSON file to write."""
    rows: int = 8
    """Rows of the batch of the loss."""
    tokens: int = 256
    """Tokens of a row of the loss."""
    answer_tokens: int = 48
    """Of them, tokens with a label."""
    vocabulary: int = 64_000
    """Vocabulary of the loss."""
    width: int = 256
    """Width of the hidden states of the loss."""
    new_tokens: int = 24
    """Tokens that a caption has."""
    rounds: int = 3
    """Rounds; in each, every contender runs once."""


def main(config: Config) -> None:
    """Runs contenders in turn; writes the best CPU time and the largest peak of each."""
    record: dict[str, Any] = {
        "what": "captioner on a CPU, one thread, float32: best CPU seconds and largest peak extra MiB",
        "config": {name: value for name, value in vars(config).items() if name != "output"},
    }
    for name, contenders in CONTENDERS.items():
        runs: dict[str, list[dict[str, float]]] = {one: [] for one in contenders}
        for _ in range(config.rounds):
            for one in contenders:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    runs[one].append(pool.apply(measure, (name, one, config)))
                print(name, one, runs[one][-1], file=sys.stderr, flush=True)
        record[name] = {one: _best(found) for one, found in runs.items()}
    generation = record["generation_16_pairs"]
    for found in generation.values():
        found["captions_per_cpu_second"] = round(16 / found["cpu_seconds"], 2)
    write_record(config.output, record | provenance(("torch", "transformers")))


def _best(runs: list[dict[str, float]]) -> dict[str, float]:
    best = {name: value for name, value in runs[0].items() if name not in ("cpu_seconds", "extra_mib")}
    best["cpu_seconds"] = round(min(run["cpu_seconds"] for run in runs), 3)
    best["extra_mib"] = round(max(run["extra_mib"] for run in runs), 1)
    return best


def measure(name: str, contender: str, config: Config) -> dict[str, float]:
    """One contender in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    work, facts = CONTENDERS[name][contender](config)
    before = _resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.process_time()
    value = work()
    return {
        "cpu_seconds": time.process_time() - start,
        "extra_mib": _resident_mib("VmHWM") - before,
        "value": value,
        **facts,
    }


Work = tuple[Callable[[], float], dict[str, float]]


def _loss(config: Config, *, in_parts: bool) -> Work:
    head = torch.nn.Linear(config.width, config.vocabulary, bias=False)
    states = torch.randn(config.rows, config.tokens, config.width, requires_grad=True)
    labels = torch.randint(config.vocabulary, (config.rows, config.tokens))
    labels[:, : -config.answer_tokens] = -100

    def work() -> float:
        if in_parts:
            loss = chunked_causal_loss(head, states, labels, config.vocabulary)
        else:
            logits = head(states)[:, :-1].float().flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
        loss.backward()
        return float(loss)

    return work, {}


def _captioner(reduction: int, vocabulary: int = 4000) -> RSCaptionerForConditionalGeneration:
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 6}
    text = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8}
    config = RSCaptionerConfig(
        vision_config={**vision, "model_type": "clip_vision_model", "image_size": 224, "patch_size": 16},
        text_config={**text, "model_type": "llama", "vocab_size": vocabulary},
        image_token_id=IMAGE,
        projector_reduction=reduction,
    )
    model = RSCaptionerForConditionalGeneration(config).eval()
    model.generation_config.update(pad_token_id=1, eos_token_id=None)
    return model


def _generation(config: Config, *, reduction: int) -> Work:
    model = _captioner(reduction)
    tokens = model.config.num_image_tokens
    ids = torch.tensor([[2, *[IMAGE] * tokens, *[IMAGE] * tokens, *[WORD] * 12]] * 16)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(32, 3, 224, 224),
        "image_modalities": torch.tensor([[0, 1]] * 16),
    }

    def work() -> float:
        return float(model.generate(**inputs, max_new_tokens=config.new_tokens, do_sample=False).shape[1])

    return work, {"image_tokens_of_a_pair": 2 * tokens, "patches_of_one_image": 196}


def _step(config: Config, *, chunks: int, by_length: bool) -> Work:
    """A step of 32 rows: half pairs, a quarter single images, a quarter text, with answers of 10 to 60 tokens."""
    model = _captioner(2).train()
    model.model.vision_tower.requires_grad_(requires_grad=False)
    tokens = model.config.num_image_tokens
    images = [2, 1, 2, 0] * 8
    answers = torch.randint(10, 61, (32,)).tolist()
    rows = [
        [2, *[IMAGE] * tokens * shown, *[WORD] * (12 + answer)] for shown, answer in zip(images, answers, strict=True)
    ]
    length = max(map(len, rows))
    labels = torch.full((32, length), -100)
    for row, answer in enumerate(answers):
        labels[row, len(rows[row]) - answer : len(rows[row])] = WORD
    batch = {
        "input_ids": torch.tensor([row + [1] * (length - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
        "labels": labels,
        "pixel_values": torch.randn(sum(images), 3, 224, 224),
        "image_modalities": torch.tensor([[0] * shown + [-1] * (2 - shown) for shown in images]),
    }
    accelerator = Accelerator(cpu=True)
    if not by_length:  # rows of one length cannot be told apart: each part is as long as the longest row of the step
        batch["attention_mask"][:] = 1

    def work() -> float:
        return float(captioning_step(accelerator, model, batch, chunks))

    used = sum(part["input_ids"].numel() for part in split_rows(batch, chunks))
    return work, {"tokens_through_the_model": used, "tokens_without_padding": sum(map(len, rows))}


CONTENDERS: dict[str, dict[str, Callable[[Config], Work]]] = {
    "loss": {"in_parts": partial(_loss, in_parts=True), "plain": partial(_loss, in_parts=False)},
    "generation_16_pairs": {
        "reduction_1": partial(_generation, reduction=1),
        "reduction_2": partial(_generation, reduction=2),
    },
    "step_of_32_rows_8_at_once": {
        "by_length": partial(_step, chunks=4, by_length=True),
        "padded_to_the_longest": partial(_step, chunks=4, by_length=False),
    },
}


def _resident_mib(field: str) -> float:
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, f"/proc/self/status has no {field}"
    return int(match[1]) / 1024


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
