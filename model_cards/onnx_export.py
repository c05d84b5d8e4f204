"""Exports the towers of an RSCLIP to ONNX: texts, RGB and infrared images to unit embeddings.

python -m model_cards.onnx_export MODEL --output DIR

Needs `pip install rsclip[onnx]`. Each file is run with ONNX Runtime and compared with the model.
"""

import copy
import json
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import nn
from transformers import AutoConfig

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

OPSET = 20
# The largest difference of an embedding's value; embeddings have length 1.
TOLERANCE = 1e-4
TOWERS = ("text", "rgb", "infrared")
NEEDED = ("onnxscript", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One file and how it was found to agree with the model."""

    tower: str
    file: str
    inputs: dict[str, list[str | int]]
    """Name to shape; names stand for sizes that may vary."""
    output: str
    largest_difference: float
    """Of any value of the embeddings of the compared batches."""


class TextTower(nn.Module):
    """Tokens (B, L), padded on the right, and their mask to unit embeddings (B, D)."""

    def __init__(self, model: RSCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # Given positions, the model does not move left-padded rows to the front, which ONNX cannot say.
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        return F.normalize(self.model.get_text_features(input_ids, attention_mask, positions).pooler_output, dim=-1)


class FullTextTower(nn.Module):
    """Tokens (B, L) of full length, as SigLIP reads them, to unit embeddings (B, D)."""

    def __init__(self, model: RSCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.model.get_text_features(input_ids).pooler_output, dim=-1)


class RgbTower(nn.Module):
    """Images (B, 3, H, W) to unit embeddings (B, D)."""

    def __init__(self, model: RSCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.model.get_image_features(pixel_values).pooler_output, dim=-1)


class InfraredTower(nn.Module):
    """Images (B, C, H, W) to unit embeddings (B, D)."""

    def __init__(self, model: RSCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, infrared_values: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.model.get_infrared_features(infrared_values).pooler_output, dim=-1)


@torch.inference_mode()
def export_towers(
    model: RSCLIPModel, processor: RSCLIPProcessor, output: Path, towers: tuple[str, ...] = TOWERS
) -> list[Exported]:
    """Writes `text.onnx`, `rgb.onnx`, `infrared.onnx` and `export.json` into a new folder.

    Args:
        model: The model; it stays as it is.
        processor: Its processor; says how long texts are, and of how many channels infrared images.
        output: Folder that does not exist, or is empty.
        towers: Which towers.

    Raises:
        ValueError: A tower is unknown.
        FileExistsError: The folder holds something.
        ImportError: The exporter is not installed.
        RuntimeError: A written file does not give the embeddings of the model.
    """
    if absent := [name for name in NEEDED if find_spec(name) is None]:
        raise ImportError(f'{", ".join(absent)} not installed. Run `pip install "rsclip[onnx]"`.')
    if unknown := set(towers) - set(TOWERS):
        raise ValueError(f"unknown towers {sorted(unknown)}; wanted some of {TOWERS}.")
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty; choose another folder.")
    output.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(model).to("cpu", torch.float32).eval()
    exported = [_export(tower, model, processor, output) for tower in towers]
    record = {
        "towers": [entry.__dict__ for entry in exported],
        "opset": OPSET,
        "embedding_dim": model.config.embedding_dim,
        "logit_scale": model.clamped_logit_scale.item(),
        "logit_bias": None if model.logit_bias is None else model.logit_bias.item(),
    }
    (output / "export.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return exported


def _export(tower: str, model: RSCLIPModel, processor: RSCLIPProcessor, output: Path) -> Exported:
    module, example, varying = _prepare(tower, model, processor)
    module.eval()
    file = output / f"{tower}.onnx"
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = {name: {0: batch, **dims} for name, dims in zip(example, varying, strict=True)}
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):  # of the exporter's own parts
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            module,
            kwargs=example,
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=[f"{tower}_embeds"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(file))
    difference = _largest_difference(file, module, example)
    if difference > TOLERANCE:
        file.unlink()
        raise RuntimeError(f"{file} differs from the model by {difference:.2g}; at most {TOLERANCE:g} was expected.")
    names = [{0: "batch", **{axis: str(dim.__name__) for axis, dim in dims.items()}} for dims in varying]
    inputs = {
        name: [dims.get(axis, int(size)) for axis, size in enumerate(value.shape)]
        for (name, value), dims in zip(example.items(), names, strict=True)
    }
    return Exported(tower=tower, file=file.name, inputs=inputs, output=f"{tower}_embeds", largest_difference=difference)


def _prepare(
    tower: str, model: RSCLIPModel, processor: RSCLIPProcessor
) -> tuple[nn.Module, dict[str, torch.Tensor], list[dict[int, Any]]]:
    """The module, inputs of two rows, and which of their sizes vary beside the batch."""
    side = model.config.vision_config.image_size
    generator = torch.Generator().manual_seed(0)
    if tower == "text":
        tokens = dict(processor(text=["a photo of an airport seen from above", "ships"]))
        if "attention_mask" not in tokens:
            return FullTextTower(model), {"input_ids": tokens["input_ids"]}, [{}]
        length = torch.export.Dim("length", min=2, max=model.config.text_config.max_position_embeddings)
        example = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        return TextTower(model), example, [{1: length}, {1: length}]
    if tower == "rgb":
        return RgbTower(model), {"pixel_values": torch.randn(2, 3, side, side, generator=generator)}, [{}]
    channels = len(processor.image_processor.infrared_mean)
    return InfraredTower(model), {"infrared_values": torch.randn(2, channels, side, side, generator=generator)}, [{}]


def _largest_difference(file: Path, module: nn.Module, example: dict[str, torch.Tensor]) -> float:
    """Between ONNX Runtime and the model, over a single row, the rows of the export, and a larger batch."""
    import onnxruntime  # type: ignore[import-not-found, import-untyped]

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    for rows in ([0], [0, 1], [1, 0, 1, 1, 0]):
        inputs = {name: value[rows] for name, value in example.items()}
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
        wanted = module(**inputs).numpy()
        largest = max(largest, float(np.abs(found - wanted).max()))
    return largest


def main(model: Annotated[str, tyro.conf.Positional], output: Path, towers: tuple[str, ...] = TOWERS) -> None:
    """Exports a model.

    Args:
        model: Folder or repository of an RSCLIP.
        output: New folder.
        towers: Which towers: text, rgb, infrared.
    """
    try:
        model_type = AutoConfig.from_pretrained(model).model_type
        if model_type != "rsclip":
            sys.exit(f"{model} holds a {model_type!r}; wanted an 'rsclip'. Captioners are served with transformers.")
        processor = RSCLIPProcessor.from_pretrained(model)
        exported = export_towers(RSCLIPModel.from_pretrained(model), processor, output, towers)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"cannot export {model}: {error}")
    for entry in exported:
        print(f"{output / entry.file}: {entry.inputs} -> {entry.output}, differs by {entry.largest_difference:.1e}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
