"""One contender of `benchmarks.input`, in a process of its own: batches of (B, 3, 224, 224) floats from encoded images.

python -m pip install --no-deps --target .cache/input_peers webdataset==1.0.2 braceexpand==0.1.7 torchvision==0.28.0
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch.utils.data import DataLoader

PEERS_FOLDER = Path(__file__).parents[1] / ".cache" / "input_peers"
BATCH = 64
# One pass over all images: ids and pixels of each batch.
Pass = Callable[[], Iterable[tuple[list[str], torch.Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which contender, on what."""

    contender: str
    """A key of `CONTENDERS`."""
    data: Path
    """Folder with data/train-*.parquet and images.tar, both of the same images."""
    workers: int = 0
    """Worker processes of the loader."""
    pixels: Path | None = None
    """Write the pixels of every image here, by id, in place of measuring."""


def main(config: Config) -> None:
    """Runs a pass for every line of standard input, and prints its seconds as JSON; or writes pixels once."""
    torch.set_num_threads(1)
    batches = CONTENDERS[config.contender](config.data, config.workers)
    if config.pixels is not None:
        found = {name: values.numpy() for names, batch in batches() for name, values in zip(names, batch, strict=True)}
        np.savez(config.pixels, **found)
        return
    for _ in sys.stdin:
        start, cpu_start = time.perf_counter(), _cpu_seconds()
        images = sum(len(names) for names, _ in batches())
        wall, cpu = time.perf_counter() - start, _cpu_seconds() - cpu_start
        print(json.dumps({"images": images, "wall": wall, "cpu": cpu}), flush=True)


def peer_versions(folder: Path) -> dict[str, str]:
    """Versions of the peers that are there."""
    return {found.metadata["Name"]: found.version for found in distributions(path=[str(folder)])}


def _cpu_seconds() -> float:
    """Of this process and of the workers that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _transformers(data: Path, workers: int, processor: Callable[..., Any]) -> Pass:
    """What a user of transformers writes: rows of `datasets`, and the processor where a batch is made."""
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=[str(path) for path in _shards(data)], split="train")

    def collate(batch: list[dict[str, Any]]) -> tuple[list[str], torch.Tensor]:
        pixels = processor([row["rgb"] for row in batch], return_tensors="pt")["pixel_values"]
        return [row["id"] for row in batch], pixels

    return lambda: DataLoader(rows, batch_size=BATCH, shuffle=True, num_workers=workers, collate_fn=collate)


def transformers_pil(data: Path, workers: int) -> Pass:
    """CLIP's processor on Pillow and NumPy: the one that works wherever transformers does."""
    from transformers import CLIPImageProcessorPil

    return _transformers(data, workers, CLIPImageProcessorPil())


def transformers_torchvision(data: Path, workers: int) -> Pass:
    """CLIP's processor on torchvision: what `AutoProcessor` returns where torchvision is installed."""
    _import_torchvision()
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor()
    if processor.backend != "torchvision":
        raise RuntimeError(f"the backend is {processor.backend}; install torchvision for this contender.")
    return _transformers(data, workers, processor)


def webdataset_torchvision(data: Path, workers: int) -> Pass:
    """A tar read in its order, with the image transform that open_clip trains with."""
    _import_torchvision()
    webdataset = importlib.import_module("webdataset")
    transforms = importlib.import_module("torchvision.transforms")
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    transform = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
        ]
    )
    samples = webdataset.WebDataset(str(data / "images.tar"), shardshuffle=False).decode("pil")
    samples = samples.to_tuple("__key__", "jpg").map_tuple(lambda name: name, transform).batched(BATCH)
    return lambda: webdataset.WebLoader(samples, batch_size=None, num_workers=workers)


def _rsclip(data: Path, workers: int, *, streaming: bool = False, **settings: Any) -> Pass:
    """The loader of our training programs, in its order."""
    from processing import RSImageProcessor
    from train.data.config import DataConfig
    from train.data.loader import make_loader, make_order, open_rows
    from train.data.order import RankBatches

    config = DataConfig(path=str(data), workers=workers, streaming=streaming)
    rows = open_rows(config.path, config.train_split, streaming)
    order = make_order(rows, BATCH, seed=0)
    processor = RSImageProcessor(**settings)

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        levels = processor([row["rgb"]["bytes"] for row in batch], do_rescale=False, do_normalize=False)
        return {**levels, "ids": [row["id"] for row in batch]}

    def finish(batch: dict[str, Any]) -> tuple[list[str], torch.Tensor]:
        done = processor.normalise(batch)
        return done["ids"], done["pixel_values"]

    sampler = RankBatches(order, 0, order.steps_per_epoch, 0, 1)
    return lambda: map(finish, make_loader(rows, sampler, config, collate))


def _shards(data: Path) -> Iterator[Path]:
    return iter(sorted((data / "data").glob("train-*.parquet")))


def _import_torchvision() -> None:
    """Imports torchvision also where its compiled part was built for another torch.

    Image transforms do not use that part; the import only wants its two detection operators to be declared.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        global _library
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


_library: torch.library.Library | None = None

CONTENDERS: dict[str, Callable[[Path, int], Pass]] = {
    "transformers_pil": transformers_pil,
    "transformers_torchvision": transformers_torchvision,
    "webdataset_torchvision": webdataset_torchvision,
    "rsclip": _rsclip,
    "rsclip_streaming": lambda data, workers: _rsclip(data, workers, streaming=True),
    "rsclip_scaled": lambda data, workers: _rsclip(data, workers, jpeg_decoding="scaled"),
}

if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
