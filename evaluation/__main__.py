"""Evaluates a model.

python -m evaluation retrieval-fusionrs --model runs/clip/model --data fusionrs --output results/retrieval.json
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from modeling_rsclip import RSCLIPModel
from processing import RSCLIPProcessor

from . import retrieval_fusionrs
from .embedding import embed
from .results import write_results
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


def main(config: RetrievalFusionRS) -> None:
    """Embeds, scores, writes."""
    rows = load_split(str(config.data), config.split)
    model = RSCLIPModel.from_pretrained(config.model).eval()
    processor = RSCLIPProcessor.from_pretrained(config.model)
    bundle = embed(model, processor, rows, config.batch_size)
    metrics = retrieval_fusionrs.score(bundle)
    write_results(
        config.output,
        benchmark="fusionrs",
        protocol="retrieval-fusionrs",
        metrics=metrics,
        model=config.model,
        data=config.data,
        config={name: str(value) for name, value in asdict(config).items()},
    )
    bundle.save(config.output.with_suffix(".npz"))
    for metric in metrics:
        if not metric.name.startswith("chance/"):
            print(f"{metric.name:42} {metric.value:6.1%}  [{metric.low:.1%}, {metric.high:.1%}]  n={metric.n}")


if __name__ == "__main__":
    main(tyro.extras.subcommand_cli_from_dict({"retrieval-fusionrs": RetrievalFusionRS}, description=__doc__))
