"""One rank of small training runs, for test_train_ranks: gradients of a step, or whole runs with the real program.

python tests/train_ranks.py gradients FOLDER RANK RANKS     writes FOLDER/gradients-RANKS.pt on rank 0
"""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

CASES = [("softmax", 1), ("softmax", 2), ("sigmoid", 1)]
ROWS = 11


def build(loss: str) -> Any:
    """A tri-modal model in double precision; the same on every rank."""
    from transformers import CLIPTextConfig, CLIPVisionConfig

    from modeling_rsclip import RSCLIPConfig, RSCLIPModel

    torch.manual_seed(0)
    tower = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RSCLIPConfig(
        text_config=CLIPTextConfig(
            vocab_size=30, max_position_embeddings=8, bos_token_id=1, eos_token_id=2, **tower
        ).to_dict(),
        vision_config=CLIPVisionConfig(image_size=16, patch_size=8, **tower).to_dict(),
        projection_dim=12,
        infrared_tower="adapted",
        fusion="gated",
        loss=loss,
        loss_weights=dict.fromkeys(
            ("rgb_text", "infrared_text", "infrared_infrared_text", "rgb_infrared", "fused_text"), 1.0
        ),
    )
    model = RSCLIPModel(config).double()
    return model.train()


def batch_of(rows: slice) -> dict[str, torch.Tensor]:
    """Rows of one batch: some captions are equal, some modalities missing."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(3, 29, (ROWS, 8), generator=generator)
    text[:, -1] = 2
    infrared_text = torch.randint(3, 29, (ROWS, 8), generator=generator)
    infrared_text[:, -1] = 2
    number = torch.arange(ROWS)
    batch = {
        "input_ids": text,
        "attention_mask": torch.ones_like(text),
        "pixel_values": torch.randn(ROWS, 3, 16, 16, generator=generator, dtype=torch.float64),
        "infrared_values": torch.randn(ROWS, 1, 16, 16, generator=generator, dtype=torch.float64),
        "infrared_input_ids": infrared_text,
        "infrared_attention_mask": torch.ones_like(text),
        "caption_keys": number // 2,
        "infrared_caption_keys": number % 7,
        "image_present": number % 5 != 0,
        "infrared_present": number % 4 != 1,
        "infrared_text_present": number % 3 != 2,
    }
    return {name: value[rows] for name, value in batch.items()}


def gradients(folder: Path, rank: int, ranks: int) -> None:
    """Gradients of every case, as the optimizer would see them."""
    from train.clip.step import ContrastiveObjective, contrastive_step

    kwargs = DistributedDataParallelKwargs(find_unused_parameters=False)
    accelerator = Accelerator(cpu=True, kwargs_handlers=[kwargs])
    results = {}
    for loss, chunks in CASES:
        model = build(loss)
        objective = accelerator.prepare(ContrastiveObjective(model))
        rows = slice(ROWS * rank // ranks, ROWS * (rank + 1) // ranks)
        losses = contrastive_step(accelerator, objective, batch_of(rows), chunks)
        found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        results[loss, chunks] = (losses.loss.detach(), found)
        del objective, model
        gc.collect()
    if rank == 0:
        torch.save(results, folder / f"gradients-{ranks}.pt")
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    what, place, own, world = sys.argv[1:]
    os.environ |= {"RANK": own, "LOCAL_RANK": own, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    gradients(Path(place), int(own), int(world))
