"""Uses the pipelines that are shipped with the weights, where nothing of ours is installed, for `test_pipelines.py`.

Run `python -I pipelines_worker.py JOB.json`, in an empty folder.
"""

import importlib.abc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import pipeline

PACKAGES = ("modeling_rsclip", "processing", "model_cards", "evaluation")
LABELS = ["airport", "harbor with ships", "photo"]
SCENES = {"window": 32, "stride": 16}


class RefusePackages(importlib.abc.MetaPathFinder):
    """Our packages cannot be imported, however the project is installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}: refused by the test", name=fullname)


def use_clip(folder: str, pictures: Path) -> dict[str, Any]:
    rgb, infrared = pictures / "rgb.png", pictures / "infrared.png"
    pair, other = {"image": rgb, "infrared": infrared}, {"image": pictures / "other.png"}
    classify = pipeline("rgb-infrared-classification", model=folder, trust_remote_code=True)
    retrieve = pipeline("rgb-infrared-retrieval", model=folder, trust_remote_code=True)
    localize = pipeline("semantic-localization", model=folder, trust_remote_code=True)
    gallery = [pair, other, {"infrared": infrared}, "an airport", {"image": rgb}]
    embedded = retrieve.embed(gallery, batch_size=2)
    scene = torch.load(pictures / "scene.pt", weights_only=False)
    found = {
        "classes": [f"{type(pipe).__module__}.{type(pipe).__name__}" for pipe in (classify, retrieve, localize)],
        "classified": classify(pair, candidate_labels=LABELS),
        "classified by": {view: classify(pair, LABELS, view=view) for view in ("rgb", "infrared", "fused")},
        "classified in a list": classify([pair, other], candidate_labels=LABELS, hypothesis_template="a {}"),
        "embedded": embedded,
        "retrieved": retrieve("ships in a harbor", gallery=gallery, top_k=4),
        "retrieved for a list": retrieve([pair, other], gallery=embedded),
        "localized": localize(scene, LABELS[:2], **SCENES),
        "localized in infrared": localize({"infrared": scene["infrared"]}, LABELS[:2], encode_batch_size=3, **SCENES),
        "localized in rgb": localize({"image": scene["image"]}, LABELS[:2], **SCENES),
        "errors": errors(classify, retrieve, localize, pair, scene),
    }
    classify.model.save_pretrained("again")
    found["saved again"] = json.loads(Path("again/config.json").read_text()).get("custom_pipelines")
    return found


def errors(classify: Any, retrieve: Any, localize: Any, pair: dict[str, Any], scene: dict[str, Any]) -> dict[str, str]:
    """What wrong calls say."""
    calls = {
        "no labels": lambda: classify(pair),
        "labels as text": lambda: classify(pair, "airport"),
        "picture alone": lambda: classify(Image.open(pair["image"]), LABELS),
        "path as text": lambda: classify({"image": str(pair["image"])}, LABELS),
        "empty": lambda: classify({}, LABELS),
        "unknown key": lambda: classify({"rgb": pair["image"]}, LABELS),
        "template": lambda: classify(pair, LABELS, hypothesis_template="x"),
        "view": lambda: classify(pair, LABELS, view="both"),
        "missing view": lambda: classify({"image": pair["image"]}, LABELS, view="infrared"),
        "batch": lambda: classify([pair], LABELS, batch_size=2),
        "no gallery": lambda: retrieve(pair),
        "empty gallery": lambda: retrieve(pair, gallery=[]),
        "top": lambda: retrieve(pair, gallery=[pair], top_k=0),
        "large window": lambda: localize(scene, LABELS, window=500),
        "two grids": lambda: localize({"image": scene["image"][:40], "infrared": scene["infrared"]}, LABELS),
        "stride": lambda: localize(scene, LABELS, window=32, stride=0),
        "gaps": lambda: localize(scene, LABELS, window=32, stride=64),
    }
    said = {}
    for name, call in calls.items():
        try:
            call()
        except (ValueError, TypeError) as error:
            said[name] = str(error)
    return said


def use_captioner(folder: str, pictures: Path) -> dict[str, Any]:
    pair = {"image": pictures / "rgb.png", "infrared": pictures / "infrared.png"}
    say = pipeline("rgb-infrared-captioning", model=folder, trust_remote_code=True)
    inferred = pipeline(model=folder, trust_remote_code=True)
    return {
        "caption": say(pair, max_new_tokens=8),
        "caption of infrared": say({"infrared": pair["infrared"]}, instruction="Infrared?", max_new_tokens=8),
        "captions": say([pair, {"image": pair["image"]}], generate_kwargs={"max_new_tokens": 8, "num_beams": 2}),
        "inferred task": inferred.task,
    }


def try_without_trust(folder: str) -> str:
    try:
        pipeline("rgb-infrared-classification", model=folder, trust_remote_code=False)
    except ValueError as error:
        return str(error)
    return "loaded"


def main(job_path: str) -> None:
    sys.meta_path.insert(0, RefusePackages())
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text())
    pictures = Path(job["pictures"])
    found = {"clip": use_clip(job["clip"], pictures), "captioner": use_captioner(job["captioner"], pictures)}
    torch.save(found | {"without trust": try_without_trust(job["clip"])}, job["results"])


if __name__ == "__main__":
    main(*sys.argv[1:])
