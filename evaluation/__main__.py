"""Evaluates a model.

python -m evaluation retrieval-fusionrs --model runs/clip/model --data fusionrs --output results/retrieval.json
python -m evaluation captions --model runs/captioner/model --data fusionrs --output results/captions.json
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from modeling_rsclip import RSCaptionerForConditionalGeneration, RSCLIPModel
from processing import RSCaptionerProcessor, RSCLIPProcessor

from . import retrieval_fusionrs
from .captioning import INFRARED_PROMPT, SCENE_PROMPT, Caption, caption, facts, rouge_l
from .embedding import embed
from .results import Metric, write_results
from .retrieval import mean_interval
from .rows import load_split


@dataclass(frozen=True, kw_only=True)
class RetrievalFusionRS:
    """Retrieval between RGB, infrared, fused pairs and texts on a split of FusionRS."""

    model: Path
    """Folder of an RSCLIP model and its processor."""
    data: Path = Path("fusionrs")
    """Folder the dataset builder wrote."""
    split: str = "test"
    """Split to score."""
    output: Path
    """Results JSON to write; the embeddings go beside it as .npz."""
    batch_size: int = 64
    """Rows embedded at once."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Captions of a split from RGB, infrared and the pair: overlap with the references, and facts that are right."""

    model: Path
    """Folder of a captioner and its processor."""
    data: Path = Path("fusionrs")
    """Folder the dataset builder wrote."""
    split: str = "test"
    """Split to caption."""
    rows: int = 100
    """Rows to caption, from the start of the split."""
    output: Path
    """Results JSON to write; the captions go beside it as .jsonl."""


def main(config: RetrievalFusionRS | Captions) -> None:
    """Runs the protocol that was asked for."""
    match config:
        case RetrievalFusionRS():
            evaluate_retrieval(config)
        case Captions():
            evaluate_captions(config)


def evaluate_retrieval(config: RetrievalFusionRS) -> None:
    """Embeds, scores, writes."""
    rows = load_split(str(config.data), config.split)
    model = RSCLIPModel.from_pretrained(config.model).eval()
    bundle = embed(model, RSCLIPProcessor.from_pretrained(config.model), rows, config.batch_size)
    metrics = retrieval_fusionrs.score(bundle)
    _finish(config, "retrieval-fusionrs", metrics)
    bundle.save(config.output.with_suffix(".npz"))


def evaluate_captions(config: Captions) -> None:
    """Captions the rows in every way the captioner reads them, scores, writes."""
    rows = load_split(str(config.data), config.split)
    rows = rows.select(range(min(config.rows, len(rows))))
    model = RSCaptionerForConditionalGeneration.from_pretrained(config.model).eval()
    processor = RSCaptionerProcessor.from_pretrained(config.model)
    metrics: list[Metric] = []
    said: list[Caption] = []
    for shown in ("rgb", "infrared", "pair"):
        scene = caption(model, processor, rows, shown, SCENE_PROMPT)
        infrared = caption(model, processor, rows, shown, INFRARED_PROMPT)
        overlap = [rouge_l(c.text, references) for c, references in zip(scene, rows["captions"], strict=True)]
        metrics += [
            _mean(f"{shown}/rouge_l", overlap),
            _mean(f"{shown}/class_named", facts(rows, scene)["class_named"]),
            _mean(f"{shown}/time_right", facts(rows, infrared)["time_right"]),
        ]
        said += scene + infrared
    _finish(config, "captions", metrics)
    lines = (json.dumps(vars(one)) for one in said)
    config.output.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")


def _mean(name: str, values: list[float] | list[bool]) -> Metric:
    if not values:
        raise ValueError(f"No row of the split states what {name} asks for.")
    low, high = mean_interval(np.asarray(values, dtype=np.float64))
    return Metric(name=name, value=float(np.mean(values)), low=low, high=high, n=len(values))


def _finish(config: RetrievalFusionRS | Captions, protocol: str, metrics: list[Metric]) -> None:
    write_results(
        config.output,
        benchmark="fusionrs",
        protocol=protocol,
        metrics=metrics,
        model=config.model,
        data=config.data,
        config={name: str(value) for name, value in asdict(config).items()},
    )
    for metric in metrics:
        if not metric.name.startswith("chance/"):
            print(f"{metric.name:42} {metric.value:6.1%}  [{metric.low:.1%}, {metric.high:.1%}]  n={metric.n}")


if __name__ == "__main__":
    commands: dict[str, Callable[..., Any]] = {"retrieval-fusionrs": RetrievalFusionRS, "captions": Captions}
    main(tyro.extras.subcommand_cli_from_dict(commands, description=__doc__))
