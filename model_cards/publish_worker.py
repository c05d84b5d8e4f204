"""Loads an assembled folder as a user would who has transformers and not this repository, and computes its examples.

Run as `python -I publish_worker.py FOLDER JOB.json`; the last line of its output is JSON. It imports nothing of ours.
"""

import base64
import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("modeling_rsclip", "processing", "dataset_scripts", "train", "evaluation", "model_cards")


class RefusePackages(importlib.abc.MetaPathFinder):
    """Our packages cannot be imported, however the project is installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}: users do not have it", name=fullname)


def try_clip(folder: str, job: dict[str, Any]) -> dict[str, Any]:
    """Labels of the example pair: stock pipeline, our pipeline, endpoint."""
    import torch
    from PIL import Image
    from transformers import AutoModel, AutoProcessor, pipeline

    labels, rgb, infrared = job["labels"], Image.open(job["rgb"]), Image.open(job["infrared"])
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        output = model(**processor(images=rgb, infrared=infrared, text=labels))
    for name in ("image_embeds", "infrared_embeds", "text_embeds"):
        norms = output[name].float().norm(dim=-1)
        if not torch.allclose(norms, torch.ones_like(norms), atol=1e-2):
            raise SystemExit(f"{name} are not of unit length: {norms.tolist()}")
    stock = pipeline("zero-shot-image-classification", model=folder, trust_remote_code=True)
    pair = pipeline("rgb-infrared-classification", model=folder, trust_remote_code=True)
    view = None if job["fuses"] else "rgb"
    both = pair({"image": rgb, "infrared": infrared}, labels, **({"view": view} if view else {}))
    sent = {"image": encoded(job["rgb"]), "infrared": encoded(job["infrared"])}
    parameters = {"candidate_labels": labels, "view": view or "fused"}
    answer = endpoint(folder)({"inputs": sent, "parameters": parameters})
    if [one["label"] for one in answer] != [one["label"] for one in both]:
        raise SystemExit(f"the endpoint ranks the labels {answer}, the pipeline {both}")
    return {"rgb": stock(rgb, candidate_labels=labels, hypothesis_template="{}"), "pair": both}


def try_captioner(folder: str, job: dict[str, Any]) -> dict[str, Any]:
    """Captions of the example: RGB through the stock pipeline, each image and the pair through ours, the endpoint."""
    from PIL import Image
    from transformers import pipeline

    rgb, infrared = Image.open(job["rgb"]), Image.open(job["infrared"])
    greedy = {"max_new_tokens": job["max_new_tokens"], "do_sample": False}
    stock = pipeline("image-text-to-text", model=folder, trust_remote_code=True)
    content = [{"type": "image", "image": rgb}, {"type": "text", "text": job["instruction"]}]
    said = stock(text=[{"role": "user", "content": content}], return_full_text=False, generate_kwargs=greedy)
    caption = pipeline("rgb-infrared-captioning", model=folder, trust_remote_code=True)
    options = {"instruction": job["instruction"], "max_new_tokens": job["max_new_tokens"]}
    shown = {"infrared": {"infrared": infrared}, "pair": {"image": rgb, "infrared": infrared}}
    texts = {name: caption(images, **options)["generated_text"] for name, images in shown.items()}
    sent = {"image": encoded(job["rgb"]), "infrared": encoded(job["infrared"]), "text": job["instruction"]}
    answer = endpoint(folder)({"inputs": sent, "parameters": {"max_new_tokens": job["max_new_tokens"]}})
    if answer["generated_text"] != texts["pair"]:
        raise SystemExit(f"the endpoint says {answer['generated_text']!r}, the pipeline {texts['pair']!r}")
    return {"rgb": said[0]["generated_text"].strip(), **texts}


def try_translator(folder: str, job: dict[str, Any]) -> dict[str, Any]:
    """The example's RGB image as infrared, saved as pixels of the sensor."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel

    rgb = Image.open(job["rgb"])
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    images = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        infrared = model(**images(images=rgb)).infrared
    if infrared.shape[-2:] != (rgb.height, rgb.width) or not 0 <= infrared.min() <= infrared.max() <= 1:
        raise SystemExit(f"the translated image is {tuple(infrared.shape)}; wanted {rgb.size} in the range 0 to 1")
    pixels = model.to_pixels(infrared)[0, 0].numpy()
    Image.fromarray(pixels.astype("uint16" if model.config.output_bits == 16 else "uint8")).save(job["translated"])
    return {"size": list(rgb.size)}


def endpoint(folder: str) -> Any:
    """The handler, loaded as the toolkit of Inference Endpoints does: alone, by its path."""
    spec = importlib.util.spec_from_file_location("handler", Path(folder) / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(folder)


def encoded(path: str) -> str:
    """An image file as clients send it."""
    return base64.b64encode(Path(path).read_bytes()).decode()


def main(folder: str, job_path: str) -> None:
    """Tries what the kind of model can, and prints what came out."""
    sys.meta_path.insert(0, RefusePackages())
    job = json.loads(Path(job_path).read_text())
    kinds = {"rsclip": try_clip, "rscaptioner": try_captioner, "rstranslator": try_translator}
    found = kinds[job["model_type"]](folder, job)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
