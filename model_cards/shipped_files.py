"""What is uploaded beside the weights to serve them: the endpoint's handler, and pipelines of our own.

The files lie flat in the repository, found by name; their relative imports are those of transformers' remote code.
"""

import json
import shutil
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

HANDLER_FILES = (
    "handler.py",
    "endpoint_handler.py",
    "clip_handler.py",
    "captioner_handler.py",
    "request_handler.py",
    "images_handler.py",
    "fetch_handler.py",
    "addresses_handler.py",
    "limits_handler.py",
)
# The endpoint's image may be older than the model's code; lower bounds as in pyproject.toml.
HANDLER_REQUIREMENTS = ("transformers>=5.17", "safetensors>=0.8", "numpy>=2.2", "pillow>=13.0")

PIPELINE_FILES = {
    "rsclip": ("pair_pipeline.py", "classification_pipeline.py", "retrieval_pipeline.py", "localization_pipeline.py"),
    "rscaptioner": ("pair_pipeline.py", "captioning_pipeline.py"),
}
PIPELINES: dict[str, dict[str, tuple[str, str]]] = {
    "rsclip": {
        "rgb-infrared-classification": ("classification_pipeline.PairClassificationPipeline", "AutoModel"),
        "rgb-infrared-retrieval": ("retrieval_pipeline.CrossModalRetrievalPipeline", "AutoModel"),
        "semantic-localization": ("localization_pipeline.SemanticLocalizationPipeline", "AutoModel"),
    },
    "rscaptioner": {
        "rgb-infrared-captioning": ("captioning_pipeline.PairCaptioningPipeline", "AutoModelForImageTextToText"),
    },
}


def ship_handler(folder: Path) -> list[Path]:
    """Puts the handler and its requirements beside the weights in `folder`; returns the files written."""
    _model_type(folder)
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(HANDLER_REQUIREMENTS) + "\n", encoding="utf-8")
    return [*_copy(HANDLER_FILES, folder), requirements]


def ship_pipelines(folder: Path) -> list[Path]:
    """Puts the pipelines of the model beside its weights, and names them in its `config.json`."""
    model_type = _model_type(folder)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["custom_pipelines"] = {
        task: {"impl": implementation, "pt": [auto_class], "type": "multimodal"}
        for task, (implementation, auto_class) in PIPELINES[model_type].items()
    }
    written = _copy(PIPELINE_FILES[model_type], folder)
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return [*written, config_file]


def _model_type(folder: Path) -> str:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ValueError(f"{folder} holds no config.json; wanted a folder that `save_pretrained` wrote.")
    config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
    model_type = str(config.get("model_type"))
    if model_type not in PIPELINES:
        raise ValueError(f"{folder} holds a {model_type!r}; wanted one of {sorted(PIPELINES)}.")
    return model_type


def _copy(names: tuple[str, ...], folder: Path) -> list[Path]:
    return [Path(shutil.copyfile(HERE / name, folder / name)) for name in names]
