"""Tiny models as runs and saved folders, and results of them, for the tests of publishing."""

import json
from pathlib import Path
from typing import Any

import torch
from test_remote_code import CLIPS, build_captioner, build_clip, build_processor

from evaluation.results import Metric, weights_sha256, write_results
from model_cards.publish import PublishModel
from modeling_rsclip import RSTranslatorConfig, RSTranslatorModel
from processing import RSImageProcessor

KINDS = ("clip", "captioner", "translator")
HEAD = "mean_recall_of_12"


def save_model(kind: str, folder: Path) -> Path:
    """A model as training saves it."""
    if kind == "translator":
        torch.manual_seed(0)
        config = RSTranslatorConfig(base_channels=8, max_channels=16, depth=2, norm_groups=4, infrared_band="nir")
        RSTranslatorModel(config).save_pretrained(folder)
        RSImageProcessor(do_resize=False, do_center_crop=False, do_normalize=False).save_pretrained(folder)
        return folder
    name = {"clip": "adapted", "captioner": "captioner"}[kind]
    model = build_captioner() if kind == "captioner" else build_clip(**CLIPS[name])
    model.save_pretrained(folder)
    build_processor(name).save_pretrained(folder)
    return folder


def save_run(kind: str, folder: Path, **config: Any) -> Path:
    """A run with its record, as `train` writes it."""
    save_model(kind, folder / "model")
    record = {
        "config": {
            "output": str(folder),
            "seed": 0,
            "data": {"path": "ORG/fusionrs"},
            "model": {"source": None, "clip": None, "language_model": None},
            "optim": {"steps": 220, "batch_size": 64, "learning_rate": 5e-4},
            **config,
        },
        "rows": 2080,
        "final": {"step": 220, "loss": 3.25},
        "seconds": 5400.0,
        "date": "2026-01-02T03:04:05+00:00",
        "hardware": "CPU x86_64",
        "versions": {"torch": "2.13.0"},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def save_results(weights: Path, path: Path, *, protocol: str = "retrieval-fusionrs", **changes: Any) -> Path:
    """A results file of these weights."""
    metrics = [
        Metric(name=HEAD, value=0.12345, low=0.101, high=0.149, n=260),
        Metric(name="rgb_to_text/recall_at_10", value=0.3141, low=0.2718, high=0.3679, n=260),
        Metric(name="chance/rgb_to_text/recall_at_10", value=0.0385, low=0.0385, high=0.0385, n=260),
        Metric(name="rgb_to_text/recall_at_1", value=0.0577, low=0.03, high=0.09, n=260),
    ]
    fields: dict[str, Any] = {
        "benchmark": protocol,
        "protocol": protocol,
        "metrics": metrics,
        "model": {"id": str(weights), "weights_sha256": weights_sha256(weights)},
        "dataset": {"id": "/somewhere/else/fusionrs", "listing_sha256": "ab" * 32},
        "config": {"model": str(weights), "rows": 7},
        **changes,
    }
    write_results(path, **fields)
    return path


def publication(path: Path, **changes: Any) -> PublishModel:
    """What a user would type for a run on published data."""
    return PublishModel(**{"path": path, "repo": f"ORG/{path.name}", "license": "apache-2.0", **changes})


def known_outputs(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Answers for tests that are about sending; `test_publish.py` runs the fresh process that computes them."""
    scores = [{"label": label, "score": 0.5 / (1 + number)} for number, label in enumerate(job["labels"])]
    return {"rgb": scores, "pair": scores}
